"""Optimiser, learning rate and moving average as the settings say.

Learning rate and decay are functions of the number of the step alone, in closed form: a run can be
resumed at any step, and a finished one extended. `torch.optim.lr_scheduler` gives the same numbers,
step after step.
"""

import bisect
import math

import torch

__all__ = ["ema_decay", "learning_rate", "make_optimiser"]


def make_optimiser(parameters, config):
    """Make an Adam or AdamW on some parameters.

    Parameters
    ----------
    parameters : list of Parameter
    config : TrainConfig

    Returns
    -------
    torch.optim.Optimizer
    """
    settings = config.optimisation
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[settings.optimiser]
    return kind(
        parameters,
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
    )


def learning_rate(step, config):
    """Return the learning rate of a step: linear warm-up, then the schedule up to ``max_steps``.

    Parameters
    ----------
    step : int
        From 0; the warm-up reaches the full rate in its last step.
    config : TrainConfig

    Returns
    -------
    float
    """
    settings = config.optimisation
    top, rise = settings.learning_rate, (step + 1) / max(1, settings.warmup_steps)
    if settings.schedule == "trapezoid":
        fall = max(1, round(settings.decay_fraction * config.max_steps))
        return top * min(1.0, rise, (config.max_steps - step) / fall)
    if step < settings.warmup_steps:
        return top * rise
    part = (step - settings.warmup_steps) / max(1, config.max_steps - settings.warmup_steps)
    if part < 1:
        part = part * settings.n_cycles % 1.0
    return _SCHEDULES[settings.schedule](min(part, 1.0), top, settings)


def _polynomial(part, top, settings, power=None):
    last = settings.final_learning_rate
    return last + (top - last) * (1 - part) ** (settings.power if power is None else power)


def _cosine(part, top, settings):
    last = settings.final_learning_rate
    return last + (top - last) * (1 + math.cos(math.pi * part)) / 2


def _exponential(part, top, settings):
    return top * (settings.final_learning_rate / top) ** part


def _piecewise(part, top, settings):
    return top * settings.step_factor ** bisect.bisect_right(settings.milestones, part)


_SCHEDULES = {
    "static": lambda part, top, settings: top,
    "linear": lambda part, top, settings: _polynomial(part, top, settings, power=1),
    "polynomial": _polynomial,
    "cosine": _cosine,
    "exponential": _exponential,
    "piecewise": _piecewise,
}


def ema_decay(step, config):
    """Return the decay of the moving average in a step; with warm-up less early on."""
    settings = config.optimisation
    if not settings.ema_warmup:
        return settings.ema_decay
    return min(settings.ema_decay, (1 + step) / (10 + step))
