"""Fields of the simulator's settings: a default, what it means, and what is possible.

`photospec.config` turns the same metadata into the comments and checks of TOML files.
"""

from dataclasses import field, fields

import numpy as np

from photospec.errors import InputError

__all__ = ["check_limits", "setting"]


def setting(default, text, low=None, high=None):
    """Dataclass field with a default, a one-line explanation, and inclusive limits."""
    limits = {"min": low, "max": high}
    return field(
        default=default,
        metadata={"help": text} | {k: v for k, v in limits.items() if v is not None},
    )


def check_limits(settings):
    """Refuse numbers outside the limits of their fields.

    Parameters
    ----------
    settings : dataclass
        Made of `setting` fields; tuples are checked item by item.

    Raises
    ------
    InputError
        Naming the field, its limits and the value.
    """
    for item in fields(settings):
        low = item.metadata.get("min", -np.inf)
        high = item.metadata.get("max", np.inf)
        if not np.isfinite([low, high]).any():
            continue
        value = getattr(settings, item.name)
        try:
            numbers = np.atleast_1d(np.asarray(value, float))
        except (TypeError, ValueError):
            numbers = np.array([np.nan])
        if not np.all((numbers >= low) & (numbers <= high)):
            raise InputError(
                f"{type(settings).__name__}.{item.name}: expected {low:g} to {high:g}, got "
                f"{value!r}; {item.metadata['help']}"
            )
