"""Settings of a run from a file, a preset or the published code's files, and what changes them."""

from dataclasses import replace

from photospec.config import read_toml
from photospec.errors import InputError
from photospec.training.config import TrainConfig
from photospec.training.presets import preset as named

__all__ = ["settings_for"]


def settings_for(
    stage,
    *,
    config=None,
    preset="small",
    published=None,
    seed=None,
    max_steps=None,
    init=None,
    frozen=(),
):
    """Settings of one stage.

    Parameters
    ----------
    stage : {"contrastive", "base", "super-resolution"}
    config : path-like, optional
        TOML file.
    preset : str
        Used without a file.
    published : path-like, optional
        Settings file of the published code, instead of either.
    seed, max_steps : int, optional
        Instead of the one in the settings.
    init : path-like, optional
        Folder of weights to begin with; unless there is a file, their network is taken.
    frozen : sequence of str
        Parts of it that stay as they are.

    Returns
    -------
    TrainConfig

    Raises
    ------
    InputError
        Settings that cannot be used, or of another stage.
    """
    if config is not None:
        settings = read_toml(TrainConfig, config)
        if settings.stage != stage:
            raise InputError(
                f"config: expected stage {stage!r}, got {settings.stage!r} in {config}"
            )
    elif published is not None:
        from photospec.published.settings import read_published

        settings = read_published(published, stage).config
    else:
        settings = named(preset, stage)
    if init is not None or frozen:
        settings = _begin(settings, init, frozen, from_file=config is not None)
    changes = {} if seed is None else {"seed": seed}
    if max_steps is not None:
        changes |= {"max_steps": max_steps, "max_epochs": 0}
    return replace(settings, **changes)


def _begin(settings, init, frozen, *, from_file):
    if init is None or from_file:
        tuning = settings.fine_tuning
        tuning = replace(
            tuning,
            init=tuning.init if init is None else str(init),
            frozen=tuple(frozen) or tuning.frozen,
        )
        return replace(settings, fine_tuning=tuning)
    from photospec.training.fine_tuning import begin_with

    return begin_with(settings, init, frozen)
