"""Predicted against observed, over pairs: redshifts, spectra, colours, calibration."""

from importlib import import_module

__all__ = ["Card", "compare_colours", "evaluate", "redshift_quality"]

_LAZY = {
    "Card": "card",
    "evaluate": "card",
    "compare_colours": "colours",
    "redshift_quality": "redshift",
}


def __getattr__(name):
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
