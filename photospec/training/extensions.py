"""What other packages can add to training, each by name: architectures, presets, readers.

An architecture is a set of networks with the settings that describe them; ours is
``"transformer"``. Objects may be given as ``"module:name"`` and are then imported when they are
asked for, so that a package can register them without importing PyTorch Ignite.
"""

from collections.abc import Callable

from photospec.utils.registry import Registry

__all__ = [
    "CONFIGS",
    "CONVERTERS",
    "PACKERS",
    "PRESETS",
    "SETTINGS_READERS",
    "TRAININGS",
    "register_architecture",
    "register_preset",
]

#: Subclasses of `photospec.training.TrainConfig`, by architecture.
CONFIGS = Registry("architecture")
#: Functions that make a `photospec.training.stages.StageTraining`, by architecture.
TRAININGS = Registry("architecture")
#: Functions that join finished runs to a spectrograph, by architecture.
PACKERS = Registry("architecture")
#: ``preset(stage) -> TrainConfig``, by name.
PRESETS = Registry("preset")
#: ``read(path, stage)`` of other codes' settings files, by code; the result has ``config``, a
#: `photospec.training.TrainConfig`, and ``notes``, what became of each key of the file.
SETTINGS_READERS = Registry("settings of")
#: ``convert(folder, output, wavelength=None, note=None)`` of other codes' data, by code.
CONVERTERS = Registry("data of")


def register_architecture(
    name: str, *, config: type | str, training: Callable | str, pack: Callable | str
) -> None:
    """Add an architecture, which ``TrainConfig.architecture`` can then name.

    Parameters
    ----------
    name : str
    config : type
        A subclass of `photospec.training.TrainConfig`, with a table of settings of that name.
    training : callable
        ``training(config, n_bands=, image_size=, pixel_scale=)`` gives the
        `photospec.training.stages.StageTraining` of ``config.stage``.
    pack : callable
        ``pack(runs, config, sizes, **options)`` gives the networks of three finished runs and
        their `photospec.weights.WeightsConfig`; see `photospec.training.packing.pack`.

    Raises
    ------
    InputError
        If the name is taken.

    Examples
    --------
    >>> from photospec.training import register_architecture
    >>> register_architecture(
    ...     "mine",
    ...     config="my_package.settings:MyTrainConfig",
    ...     training="my_package.training:make_training",
    ...     pack="my_package.training:pack",
    ... )
    """
    for registry, part in ((CONFIGS, config), (TRAININGS, training), (PACKERS, pack)):
        registry.register(name, part)


def register_preset(name: str, preset: Callable | str) -> None:
    """Add named settings, which `photospec.training.TrainConfig.preset` then finds.

    Parameters
    ----------
    name : str
    preset : callable
        ``preset(stage)`` gives a `photospec.training.TrainConfig`.

    Raises
    ------
    InputError
        If the name is taken.

    Examples
    --------
    >>> from photospec.training import TrainConfig, register_preset
    >>> register_preset("long", lambda stage: TrainConfig.preset("small", stage, max_steps=90_000))
    >>> TrainConfig.preset("long", "base").max_steps
    90000
    """
    PRESETS.register(name, preset)
