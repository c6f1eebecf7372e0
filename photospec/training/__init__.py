"""From pairs to a PhotoSpectrograph: contrastive network, base and super-resolution stage."""

import warnings
from dataclasses import replace
from pathlib import Path

from photospec.errors import InputError, PhotospecWarning

__all__ = ["train"]


def train(
    stage,
    pairs,
    output,
    *,
    config=None,
    preset="small",
    seed=None,
    max_steps=None,
    resume=False,
    device="cpu",
    progress=False,
):
    """Train one stage, or all of them, and write the weights.

    Parameters
    ----------
    stage : {"contrastive", "base", "super-resolution", "all"}
        ``"all"`` trains the three in folders below `output` and joins them in
        ``output/spectrograph``.
    pairs : path-like or sequence of path-like
        Pairs files.
    output : path-like
        Run folder. Gets ``config.toml``, ``checkpoint.pt``, ``log.jsonl`` and, when finished,
        ``weights.safetensors``.
    config : path-like, optional
        TOML file of a `photospec.training.config.TrainConfig`; not together with "all".
    preset : str
        Settings without `config`: ``"small"`` (the shipped weights) or ``"tiny"`` (trials).
    seed, max_steps : int, optional
        Instead of the one in the settings.
    resume : bool
        Go on from the run folder's checkpoint; a run that was stopped before its first one
        starts again.
    device : str
        ``"cpu"`` or ``"cuda"``.
    progress : bool
        Show progress bars.

    Raises
    ------
    InputError
        Unusable settings or pairs; a run folder that is not empty, or of other settings.
    TrainingFailed
        The loss is no number; see `photospec.training.loop`.
    SystemExit
        With status 143, after SIGTERM and a last checkpoint.

    Warns
    -----
    PhotospecWarning
        When there is no run yet that could be resumed.
    """
    from photospec.config import read_toml
    from photospec.networks.devices import check_device

    from .config import TrainConfig
    from .presets import preset as named

    device = str(check_device(device))
    options = {"resume": resume, "device": device, "progress": progress}
    if stage == "all":
        if config is not None:
            raise InputError("config: expected none with stage 'all', whose stages differ")
        _train_all(named, preset, seed, max_steps, pairs, Path(output), options)
        return
    settings = named(preset, stage) if config is None else read_toml(TrainConfig, config)
    if settings.stage != stage:
        raise InputError(f"config: expected stage {stage!r}, got {settings.stage!r} in {config}")
    _train(_changed(settings, seed, max_steps), pairs, Path(output), **options)


def _train_all(named, preset, seed, max_steps, pairs, output, options):
    from .pack import describe, pack

    first = pairs if isinstance(pairs, str | Path) else next(iter(pairs), None)
    if first is None:
        raise InputError("pairs: expected at least one file, got none")
    describe(first)  # what only packing would find, before hours of work
    stages = ("contrastive", "base", "super-resolution")
    runs = {stage: output / stage for stage in stages}
    for stage in stages:
        _check_folder(_changed(named(preset, stage), seed, max_steps), runs[stage], **options)
    for stage in stages:
        settings = _changed(named(preset, stage), seed, max_steps)
        _train(settings, pairs, runs[stage], **options, begun=True)
    pack(runs, output / "spectrograph", pairs=pairs, overwrite=options["resume"])


def _changed(config, seed, max_steps):
    changes = {"seed": seed, "max_steps": max_steps}
    return replace(config, **{k: v for k, v in changes.items() if v is not None})


def _check_folder(config, output, *, resume, **_):
    """Refuse a folder with something else in it; whether there is a run to go on with."""
    from photospec.config import read_toml

    settings = output / "config.toml"
    if resume and settings.is_file():
        before = read_toml(type(config), settings)
        # A run may be made longer or shorter; anything else would be another run.
        if replace(before, max_steps=config.max_steps) != config:
            raise InputError(
                f"resume: expected the settings of {settings}, got others; "
                "use another run folder or the same --config, --preset and --seed"
            )
        return True
    # A run killed early on may leave the beginning of a file, and nothing to lose.
    if output.is_dir() and any(path.suffix != ".partial" for path in output.iterdir()):
        expected = "a run" if resume else "a new or empty folder"
        raise InputError(
            f"output: expected {expected}, got {output} with "
            f"{'other ' if resume else ''}files in it; resume that run or choose another folder"
        )
    return False


def _train(config, pairs, output, *, resume, device, progress, begun=False):
    from photospec.weights import save_module

    from .loop import run

    if not _check_folder(config, output, resume=resume) and resume and not begun:
        warnings.warn(
            f"resume: expected a run in {output}, got none; it starts from the beginning",
            PhotospecWarning,
            stacklevel=3,
        )
    network = run(config, pairs, output, resume=resume, device=device, progress=progress)
    save_module(network, output / "weights.safetensors", half=False)
