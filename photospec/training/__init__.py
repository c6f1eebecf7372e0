"""From pairs to a PhotoSpectrograph: contrastive network, base and super-resolution stage."""

from dataclasses import replace
from pathlib import Path

from photospec.errors import InputError

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
        Go on from the run folder's checkpoint.
    device : str
        ``"cpu"`` or ``"cuda"``.
    progress : bool
        Show progress bars.

    Raises
    ------
    InputError
        Unusable settings or pairs; a run folder that is not empty, or of other settings.
    """
    from photospec.config import read_toml

    from .config import preset as named

    if stage == "all":
        if config is not None:
            raise InputError("config: expected none with stage 'all', whose stages differ")
        runs = {}
        for one in ("contrastive", "base", "super-resolution"):
            runs[one] = Path(output) / one
            if not (runs[one] / "weights.safetensors").is_file():
                _train(
                    _changed(named(preset, one), seed, max_steps),
                    pairs,
                    runs[one],
                    resume=resume and (runs[one] / "checkpoint.pt").is_file(),
                    device=device,
                    progress=progress,
                )
        from .pack import pack

        first = pairs if isinstance(pairs, str | Path) else pairs[0]
        pack(runs, Path(output) / "spectrograph", pairs=first, overwrite=resume)
        return
    settings = named(preset, stage) if config is None else read_toml(_config_class(), config)
    if settings.stage != stage:
        raise InputError(f"config: expected stage {stage!r}, got {settings.stage!r} in {config}")
    _train(
        _changed(settings, seed, max_steps),
        pairs,
        Path(output),
        resume=resume,
        device=device,
        progress=progress,
    )


def _config_class():
    from .config import TrainConfig

    return TrainConfig


def _changed(config, seed, max_steps):
    changes = {"seed": seed, "max_steps": max_steps}
    return replace(config, **{k: v for k, v in changes.items() if v is not None})


def _train(config, pairs, output, *, resume, device, progress):
    from photospec.config import read_toml, write_toml
    from photospec.weights import save_module

    from .loop import run

    settings = output / "config.toml"
    if resume and settings.is_file():
        before = read_toml(type(config), settings)
        # A run may be made longer or shorter; anything else would be another run.
        if replace(before, max_steps=config.max_steps) != config:
            raise InputError(
                f"resume: expected the settings of {settings}, got others; "
                "use another run folder or the same --config, --preset and --seed"
            )
    elif output.is_dir() and any(output.iterdir()):
        raise InputError(
            f"output: expected a new or empty folder, got {output} with files in it; "
            "resume that run or choose another folder"
        )
    elif resume:
        raise InputError(f"resume: expected a run in {output}, got no config.toml there")
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_toml(config, settings)
    except OSError as error:
        raise InputError(f"output: expected a writable folder, got {output} ({error})") from None
    network = run(config, pairs, output, resume=resume, device=device, progress=progress)
    save_module(network, output / "weights.safetensors", half=False)
