"""From pairs to weights: one stage in its run folder, or all three and the spectrograph."""

import os
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from photospec.config import from_dict, to_dict
from photospec.errors import InputError, PhotospecWarning
from photospec.networks.devices import check_device
from photospec.training.distributed import is_rank_zero, process_group, run_on_rank_zero
from photospec.training.launch import launch
from photospec.training.loop import run
from photospec.training.packing import describe, pack
from photospec.training.run_folder import (
    BEST,
    CHECKPOINT,
    WEIGHTS,
    check_folder,
    load_checkpoint,
    weights_metadata,
)
from photospec.training.settings import STAGES, TrainConfig
from photospec.weights import save_module

__all__ = ["run_stage", "train", "train_all"]


def train(
    config: TrainConfig,
    pairs: str | PathLike | Sequence,
    output: str | PathLike,
    *,
    resume: bool = False,
    device: str = "cpu",
    progress: bool = False,
    processes: int = 1,
) -> Path | None:
    """Train one stage and write its weights.

    Parameters
    ----------
    config : TrainConfig
        Settings: `TrainConfig.preset`, `~TrainConfig.read` (a file), `~TrainConfig.fine_tune`
        (finished weights to begin with) or `~TrainConfig.from_published`.
    pairs : path-like or sequence of path-like
        Pairs files.
    output : path-like
        Run folder. Gets ``config.toml``, ``provenance.json``, ``checkpoint.pt``, ``best.pt``,
        ``log.jsonl`` and, when finished, ``weights.safetensors``.
    resume : bool
        Go on from the run folder's checkpoint; a run that was stopped before its first one
        starts again.
    device : str
        ``"cpu"`` or ``"cuda"``.
    progress : bool
        Show a progress bar.
    processes : int
        Processes to start on this machine, which train together: each with a batch of its
        own, on ``"cuda"`` each with a GPU of its own. Not under torchrun or SLURM, which
        start them.

    Returns
    -------
    pathlib.Path or None
        The weights; None in other processes than the first of those that torchrun or SLURM
        started.

    Raises
    ------
    InputError
        Unusable settings or pairs; a run folder that is not empty, or of other settings.
    TrainingFailed
        The loss is no number; see `photospec.training.loop`.
    PhotospecError
        A process died.
    SystemExit
        With status 143, after SIGTERM and a last checkpoint.

    Warns
    -----
    PhotospecWarning
        When there is no run yet that could be resumed.

    Examples
    --------
    >>> from photospec.training import TrainConfig, train
    >>> config = TrainConfig.preset("tiny", "base", seed=1)
    >>> train(config, "pairs.h5", "run/base")  # doctest: +SKIP
    """
    device, output = _check(config, device, processes), Path(output)
    with process_group(device) as device:
        found = run_on_rank_zero(lambda: check_folder(config, output, resume=resume))
        if resume and not found:
            warnings.warn(
                f"resume: expected a run in {output}, got none; it starts from the beginning",
                PhotospecWarning,
                stacklevel=2,
            )
        _train_stage(config, pairs, output, resume, device, progress, processes)
        return output / WEIGHTS if is_rank_zero() else None


def train_all(
    configs: str | Mapping[str, TrainConfig],
    pairs: str | PathLike | Sequence[str | PathLike],
    output: str | PathLike,
    *,
    resume: bool = False,
    device: str = "cpu",
    progress: bool = False,
    processes: int = 1,
) -> Path | None:
    """Train all three stages one after the other and join them to a spectrograph.

    Parameters
    ----------
    configs : str or dict of TrainConfig
        Name of a preset, or the settings of each stage by its name.
    pairs : path-like or sequence of path-like
        Pairs files.
    output : path-like
        Gets a run folder for each stage, and ``spectrograph`` when all are finished.
    resume, device, progress, processes
        As for `train`; stages that are finished are left as they are.

    Returns
    -------
    pathlib.Path or None
        The spectrograph, which `photospec.PhotoSpectrograph.load` takes; None in other
        processes than the first of those that torchrun or SLURM started.

    Raises
    ------
    InputError, TrainingFailed, PhotospecError, SystemExit
        As `train`.

    Examples
    --------
    >>> from photospec.training import train_all
    >>> train_all("tiny", "pairs.h5", "run")  # doctest: +SKIP
    """
    if isinstance(configs, str):
        configs = {stage: TrainConfig.preset(configs, stage) for stage in STAGES}
    stages = {stage: getattr(config, "stage", None) for stage, config in dict(configs).items()}
    if stages != {stage: stage for stage in STAGES}:
        raise InputError(
            f"configs: expected a preset, or the settings of each of {', '.join(STAGES)} by its "
            f"name, got those of {', '.join(map(str, stages.values()))}"
        )
    pairs, output = [pairs] if isinstance(pairs, str | Path) else list(pairs), Path(output)
    if not pairs:
        raise InputError("pairs: expected at least one file, got none")
    for config in configs.values():
        device = _check(config, device, processes)
    runs = {stage: output / stage for stage in STAGES}

    def check():
        for stage in STAGES:
            check_folder(configs[stage], runs[stage], resume=resume)

    with process_group(device) as device:
        describe(pairs[0])  # what only packing would find, before hours of work
        run_on_rank_zero(check)
        for stage in STAGES:
            _train_stage(configs[stage], pairs, runs[stage], resume, device, progress, processes)
        made = output / "spectrograph"
        run_on_rank_zero(lambda: pack(runs, made, pairs=pairs, overwrite=resume) and None)
        return made if is_rank_zero() else None


def _check(config, device, processes):
    """Return the device by its full name, once settings, device and processes can be used."""
    if not isinstance(config, TrainConfig):
        raise InputError(
            f"config: expected a TrainConfig, got {type(config).__name__}; TrainConfig.preset and "
            ".read make one"
        )
    if not isinstance(processes, int) or processes < 1:
        raise InputError(f"processes: expected 1 or more, got {processes!r}")
    if processes > 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            f"processes: expected none beside those that torchrun started, got {processes}"
        )
    return str(check_device(device))


def _train_stage(config, pairs, output, resume, device, progress, processes):
    """Train one stage in its folder, in this process (or group) or in new ones."""
    options = {"resume": resume, "progress": progress}
    if processes == 1:
        run_stage(config, pairs, output, device=device, **options)
        return
    pairs = [pairs] if isinstance(pairs, str | Path) else pairs
    options |= {
        "config": to_dict(config),
        "pairs": [str(path) for path in pairs],
        "output": str(output),
    }
    launch(processes, "photospec.training.runs:run_stage", device, options)


def run_stage(config, pairs, output, **options):
    """Train one stage in this process and write its weights.

    Parameters
    ----------
    config : TrainConfig or dict
    pairs, output, **options
        As of `photospec.training.loop.run`.
    """
    config = from_dict(TrainConfig, config) if isinstance(config, dict) else config
    output = Path(output)
    network = run(config, pairs, output, **options)
    kept = BEST if config.run.keep == "best" else CHECKPOINT

    def save():
        metadata = weights_metadata(output, load_checkpoint(output / kept)["step"])
        save_module(network, output / WEIGHTS, half=False, metadata=metadata)

    run_on_rank_zero(save)
