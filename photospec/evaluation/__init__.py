"""Predicted against observed, over pairs: redshifts, spectra, properties, calibration."""

from importlib import import_module

from photospec.utils.optional import optional_imports

_LAZY = {
    "Answer": "answers",
    "Card": "card",
    "Chapter": "parts",
    "Comparison": "on_pairs",
    "Panel": "parts",
    "Plot": "parts",
    "Section": "value",
    "Settings": "on_pairs",
    "compare_colours": "colours",
    "compare_pairs": "on_pairs",
    "evaluate": "card",
    "model_card": "full_card",
    "photometry_card": "photometry",
    "plot_bpt": "comparisons",
    "plot_colour_bimodality": "comparisons",
    "plot_confusion": "comparisons",
    "plot_one_to_one": "comparisons",
    "plot_relation": "comparisons",
    "plot_roc": "comparisons",
    "read_catalogue": "photometry",
    "redshift_quality": "redshift",
    "survey_card": "survey_card",
    "ood_card": "ood",
    "report": "reporting",
    "write_sections": "value",
}
__all__ = sorted(_LAZY)  # noqa: PLE0605


def __getattr__(name):
    if name in _LAZY:
        with optional_imports():
            return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
