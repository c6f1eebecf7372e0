"""Measurements on spectra, predicted or observed: they stand on their own, without torch."""

from importlib import import_module

from photospec.utils.optional import optional_imports

# Loaded on first use: pPXF and the model grids cost seconds and memory.
_LAZY = {
    "BPTClass": "bpt",
    "Index": "indices",
    "IndexFit": "indices",
    "LineFluxes": "emission",
    "PopulationFit": "populations",
    "RedshiftFit": "redshift",
    "RedshiftWarning": "redshift",
    "TemplateSet": "populations",
    "classify_bpt": "bpt",
    "classify_ratios": "bpt",
    "classify_whan": "bpt",
    "combine_candidates": "candidates",
    "fit_populations": "populations",
    "kauffmann03": "bpt",
    "kewley01": "bpt",
    "kewley06": "bpt",
    "load_templates": "populations",
    "measure_candidates": "candidates",
    "measure_indices": "indices",
    "measure_lines": "emission",
    "measure_properties": "properties",
    "measure_redshift": "redshift",
    "schawinski07": "bpt",
    "warning_names": "redshift",
}
__all__ = sorted(_LAZY)  # noqa: PLE0605


def __getattr__(name):
    if name in _LAZY:
        with optional_imports():
            return getattr(import_module(f"photospec.analysis.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'photospec.analysis' has no attribute {name!r}")


def __dir__():
    return __all__
