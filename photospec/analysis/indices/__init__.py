"""Lick indices and breaks: definitions, bands, corrections, and their measurement."""

from photospec.analysis.indices.definitions import BREAKS, INDICES, LICK, Index
from photospec.analysis.indices.measure import IndexFit, measure_indices

__all__ = ["BREAKS", "INDICES", "LICK", "Index", "IndexFit", "measure_indices"]
