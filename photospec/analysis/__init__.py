"""Measurements on spectra, predicted or observed: they stand on their own, without torch."""

from photospec.utils.optional import lazy_names

# Loaded on first use: pPXF and the model grids cost seconds and memory.
_HOMES = {
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

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
