"""From pairs to a PhotoSpectrograph: contrastive network, base and super-resolution stage.

Settings (`settings`) say what is trained; `runs` takes them from pairs to weights: pairs are
streamed (`data`), a `stages` object knows the loss of a batch, `trainer` takes a step, `loop` all
of them with what happens in between (`handlers`), `run_folder` keeps what is written, and `pack`
joins three finished runs to a spectrograph.
"""

from importlib import import_module

from photospec.utils.optional import optional_imports

__all__ = [
    "DataSettings",
    "FineTuning",
    "Optimisation",
    "RunSettings",
    "TrainConfig",
    "TrainingFailed",
    "pack",
    "register_architecture",
    "register_preset",
    "train",
    "train_all",
]

# Loaded on first use: settings need no PyTorch Ignite, which is an optional dependency.
_LAZY = {
    "photospec.training.settings": (
        "DataSettings",
        "FineTuning",
        "Optimisation",
        "RunSettings",
        "TrainConfig",
    ),
    "photospec.training.extensions": ("register_architecture", "register_preset"),
    "photospec.training.loop": ("TrainingFailed",),
    "photospec.training.packing": ("pack",),
    "photospec.training.runs": ("train", "train_all"),
}
_HOME = {name: module for module, names in _LAZY.items() for name in names}


def __getattr__(name):
    if name in _HOME:
        with optional_imports():
            return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
