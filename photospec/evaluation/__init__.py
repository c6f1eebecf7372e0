"""Predicted against observed, over pairs: redshifts, spectra, properties, calibration."""

from importlib import import_module

from photospec.utils.optional import optional_imports

_LAZY = {
    "Card": "card",
    "Section": "value",
    "Settings": "on_pairs",
    "compare_colours": "colours",
    "evaluate": "card",
    "model_card": "full_card",
    "pairs_card": "on_pairs",
    "photometry_card": "photometry",
    "read_catalogue": "photometry",
    "redshift_quality": "redshift",
    "survey_card": "survey_card",
    "ood_card": "ood",
    "write_sections": "value",
}
__all__ = sorted(_LAZY)  # noqa: PLE0605


def __getattr__(name):
    if name in _LAZY:
        with optional_imports():
            return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
