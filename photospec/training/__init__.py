"""From pairs to a PhotoSpectrograph: contrastive network, base and super-resolution stage."""

import os
from pathlib import Path

from photospec.errors import InputError

__all__ = ["train"]

_STAGES = ("contrastive", "base", "super-resolution")


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
    processes=1,
    published=None,
    init=None,
    frozen=(),
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
        Run folder. Gets ``config.toml``, ``provenance.json``, ``checkpoint.pt``, ``best.pt``,
        ``log.jsonl`` and, when finished, ``weights.safetensors``.
    config : path-like, optional
        TOML file of a `photospec.training.config.TrainConfig`; not together with "all".
    preset : str
        Settings without `config`: ``"small"`` (the shipped weights), ``"tiny"`` (trials) or
        ``"published"`` (the published method).
    seed, max_steps : int, optional
        Instead of the one in the settings.
    resume : bool
        Go on from the run folder's checkpoint; a run that was stopped before its first one
        starts again.
    device : str
        ``"cpu"`` or ``"cuda"``.
    progress : bool
        Show progress bars.
    processes : int
        Processes to start on this machine, which train together: each with a batch of its
        own, on ``"cuda"`` each with a GPU of its own. Not under torchrun or SLURM, which
        start them.
    published : path-like, optional
        Settings file of the published code, instead of `config` and `preset`.
    init : path-like, optional
        Spectrograph, or finished run of the stage, whose weights to begin with.
    frozen : sequence of str
        Parts of the network that keep those weights, see
        `photospec.training.settings_fine_tuning.PARTS`.

    Returns
    -------
    pathlib.Path or None
        The weights, or the spectrograph of "all"; None in other processes than the first of
        those that torchrun or SLURM started.

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
    """
    from photospec.networks.devices import check_device
    from photospec.training.distributed import is_first, joined
    from photospec.training.settings import settings_for

    device = str(check_device(device))
    _check_processes(processes)
    with joined(device) as device:
        options = {"device": device, "progress": progress, "processes": processes}
        changes = {"seed": seed, "max_steps": max_steps, "init": init}
        if stage == "all":
            for name, value in (("config", config), ("published", published), ("frozen", frozen)):
                if value:
                    raise InputError(f"{name}: expected none with stage 'all', whose stages differ")
            settings = {name: settings_for(name, preset=preset, **changes) for name in _STAGES}
            made = _train_all(settings, pairs, Path(output), resume, options)
        else:
            one = settings_for(
                stage, config=config, preset=preset, published=published, frozen=frozen, **changes
            )
            made = _train_one(one, pairs, Path(output), resume, options)
        return made if is_first() else None


def _check_processes(processes):
    if not isinstance(processes, int) or processes < 1:
        raise InputError(f"processes: expected 1 or more, got {processes!r}")
    if processes > 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            f"processes: expected none beside those that torchrun started, got {processes}"
        )


def _train_one(settings, pairs, output, resume, options):
    from photospec.training.runs import WEIGHTS, train_stage

    train_stage(settings, pairs, output, resume=resume, **options)
    return output / WEIGHTS


def _train_all(settings, pairs, output, resume, options):
    from photospec.training.distributed import on_first
    from photospec.training.pack import describe, pack
    from photospec.training.runs import check_folder, train_stage

    first = pairs if isinstance(pairs, str | Path) else next(iter(pairs), None)
    if first is None:
        raise InputError("pairs: expected at least one file, got none")
    describe(first)  # what only packing would find, before hours of work
    runs = {stage: output / stage for stage in _STAGES}

    def check():
        for stage in _STAGES:
            check_folder(settings[stage], runs[stage], resume=resume)

    on_first(check)
    for stage in _STAGES:
        train_stage(settings[stage], pairs, runs[stage], resume=resume, begun=True, **options)
    made = output / "spectrograph"
    on_first(lambda: pack(runs, made, pairs=pairs, overwrite=resume) and None)
    return made
