"""Emission lines: groups of lines (`model`), their fit (`fit`), fluxes and widths (`measure`)."""

from photospec.analysis.emission.measure import LineFluxes, measure_lines

__all__ = ["LineFluxes", "measure_lines"]
