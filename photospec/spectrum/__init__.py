"""Spectra: `~specutils.Spectrum` to plain arrays and back, wavelength grids, files."""

from photospec.spectrum import loader as _loader  # noqa: F401 - registers our files with specutils
from photospec.spectrum.arrays import (
    FIBRE_RADIUS,
    SpectrumArrays,
    fill_missing,
    from_arrays,
    to_arrays,
)
from photospec.spectrum.headers import FLUX_UNIT
from photospec.spectrum.io import read_spectrum, write_spectra
from photospec.spectrum.products import write_product
from photospec.spectrum.wavelengths import (
    BASE_WAVELENGTH,
    SMOOTHING,
    WAVELENGTH,
    air_to_vacuum,
    fill_gaps,
    rebin,
    smooth,
    to_base_grid,
    to_training_grid,
    vacuum_to_air,
)

__all__ = [
    "BASE_WAVELENGTH",
    "FIBRE_RADIUS",
    "FLUX_UNIT",
    "SMOOTHING",
    "WAVELENGTH",
    "SpectrumArrays",
    "air_to_vacuum",
    "fill_gaps",
    "fill_missing",
    "from_arrays",
    "read_spectrum",
    "rebin",
    "smooth",
    "to_arrays",
    "to_base_grid",
    "to_training_grid",
    "vacuum_to_air",
    "write_product",
    "write_spectra",
]
