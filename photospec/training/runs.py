"""A run and its folder: what may go on there, one stage from pairs to weights."""

import warnings
from dataclasses import replace
from pathlib import Path

from photospec.config import from_dict, read_toml, to_dict
from photospec.errors import InputError, PhotospecWarning
from photospec.training.checkpoint import load_checkpoint
from photospec.training.config import TrainConfig
from photospec.training.distributed import on_first
from photospec.training.loop import run
from photospec.training.provenance import weights_metadata
from photospec.weights import save_module

__all__ = ["check_folder", "run_stage", "train_stage"]

WEIGHTS = "weights.safetensors"


def check_folder(config, output, *, resume):
    """Refuse a folder with something else in it.

    Parameters
    ----------
    config : TrainConfig
    output : pathlib.Path
    resume : bool

    Returns
    -------
    bool
        Whether there is a run to go on with.

    Raises
    ------
    InputError
        A folder with other files, or with a run of other settings.
    """
    settings = output / "config.toml"
    if resume and settings.is_file():
        before = read_toml(type(config), settings)
        # A run may be made longer or shorter and be looked at in other ways; anything else
        # would be another run.
        length = {"max_steps": config.max_steps, "max_epochs": config.max_epochs}
        if replace(before, **length, run=config.run) != config:
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


def train_stage(config, pairs, output, *, resume, device, progress, processes=1, begun=False):
    """Train one stage in its folder, in this process (or these) or in new ones.

    Parameters
    ----------
    config : TrainConfig
    pairs : path-like or sequence of path-like
    output : pathlib.Path
    resume, progress : bool
    device : str
    processes : int
        Processes to start; 1 starts none.
    begun : bool
        Say nothing where there is no run yet that could be resumed.

    Warns
    -----
    PhotospecWarning
        When there is none.
    """
    if not on_first(lambda: check_folder(config, output, resume=resume)) and resume and not begun:
        warnings.warn(
            f"resume: expected a run in {output}, got none; it starts from the beginning",
            PhotospecWarning,
            stacklevel=3,
        )
    if processes == 1:
        run_stage(config, pairs, output, resume=resume, device=device, progress=progress)
        return
    from photospec.training.launch import launch

    pairs = [pairs] if isinstance(pairs, str | Path) else pairs
    launch(
        processes,
        {
            "config": to_dict(config),
            "pairs": [str(path) for path in pairs],
            "output": str(output),
            "resume": resume,
            "device": device,
            "progress": progress,
        },
    )


def run_stage(config, pairs, output, **options):
    """Train one stage and write its weights.

    Parameters
    ----------
    config : TrainConfig or dict
    pairs, output, **options
        As of `photospec.training.loop.run`.
    """
    config = from_dict(TrainConfig, config) if isinstance(config, dict) else config
    output = Path(output)
    network = run(config, pairs, output, **options)
    kept = "best.pt" if config.run.keep == "best" else "checkpoint.pt"

    def save():
        metadata = weights_metadata(output, load_checkpoint(output / kept)["step"])
        save_module(network, output / WEIGHTS, half=False, metadata=metadata)

    on_first(save)
