"""Fluxes in apertures and through filters."""

from photospec.photometry.apertures import aperture_flux, aperture_weights
from photospec.photometry.filters import (
    RESPONSES,
    SDSS_BANDS,
    band_coverage,
    band_flux,
    band_weights,
    effective_wavelength,
    load_band,
)

__all__ = [
    "RESPONSES",
    "SDSS_BANDS",
    "aperture_flux",
    "aperture_weights",
    "band_coverage",
    "band_flux",
    "band_weights",
    "effective_wavelength",
    "load_band",
]
