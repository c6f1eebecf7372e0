"""From pairs to a PhotoSpectrograph: contrastive network, base and super-resolution stage.

Settings (`settings`) say what is trained; `runs` takes them from pairs to weights: pairs are
streamed (`data`), a `stages` object knows the loss of a batch, `trainer` takes a step, `loop` all
of them with what happens in between (`handlers`), `run_folder` keeps what is written, and `pack`
joins three finished runs to a spectrograph.
"""

from photospec.utils.optional import lazy_names

# Loaded on first use: settings need no PyTorch Ignite, which is an optional dependency.
_HOMES = {
    "DataSettings": "settings",
    "FineTuning": "settings",
    "Optimisation": "settings",
    "RunSettings": "settings",
    "TrainConfig": "settings",
    "register_architecture": "extensions",
    "register_preset": "extensions",
    "TrainingFailed": "loop",
    "pack": "packing",
    "train": "runs",
    "train_all": "runs",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
