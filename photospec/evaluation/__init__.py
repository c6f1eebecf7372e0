"""Predicted against observed, over pairs: redshifts, spectra, properties, calibration."""

from photospec.utils.optional import lazy_names

_HOMES = {
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

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
