"""Resolution of indices: smoothing to the Lick/IDS system and velocity-dispersion corrections."""

from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

from photospec.analysis.indices.bands import index_value, vacuum_bands
from photospec.spectrum import smooth
from photospec.spectrum.wavelengths import pixel_edges
from photospec.stellar_grids import stellar_grid
from photospec.utils.constants import FWHM, SPEED_OF_LIGHT

__all__ = ["broadening_correction", "lick_smoothing"]

# Worthey & Ottaviani 1997, table 8: wavelength and full width at half maximum, Angstrom.
LICK_WAVELENGTH = (4000.0, 4400.0, 4900.0, 5400.0, 6000.0)
LICK_FWHM = (11.5, 9.2, 8.4, 8.4, 9.8)
# Ages (Gyr) and metallicities (solar) of the populations the corrections are averaged over.
POPULATION_AGES = (2.0, 5.0, 10.0)
POPULATION_METALLICITIES = (0.4, 1.0, 2.5)
ADDITIVE = ("hdelta", "hgamma", "hbeta")  # indices that pass through zero
DISPERSIONS = np.arange(0.0, 501.0, 50.0)


def lick_sigma(rest_wavelength):
    """Return the standard deviation of the Lick/IDS resolution, Angstrom, at rest wavelengths."""
    return np.interp(rest_wavelength, LICK_WAVELENGTH, LICK_FWHM) / FWHM


def _line_spread(arrays):
    """Return the line-spread function (n_wave,) of a one-row SpectrumArrays, zero where unknown."""
    if arrays.lsf is None:
        return np.zeros_like(arrays.wavelength)
    return np.broadcast_to(np.atleast_2d(arrays.lsf)[0], arrays.wavelength.shape)


def lick_smoothing(arrays, redshift):
    """Return a sparse matrix (n_wave, n_wave) that takes a spectrum to the Lick/IDS resolution.

    Parameters
    ----------
    arrays : SpectrumArrays
        One row; its line-spread function counts as zero where it has none.
    redshift : float

    Returns
    -------
    scipy.sparse.csr_array
    """
    wavelength = arrays.wavelength
    target = lick_sigma(wavelength / (1 + redshift)) * (1 + redshift)
    sigma = np.sqrt(np.clip(target**2 - _line_spread(arrays) ** 2, 1e-6, None))
    width = np.diff(pixel_edges(wavelength))
    low = np.searchsorted(wavelength, wavelength - 5 * sigma)
    count = np.searchsorted(wavelength, wavelength + 5 * sigma, side="right") - low
    start = np.concatenate([[0], np.cumsum(count)])
    row = np.repeat(np.arange(wavelength.size), count)
    column = np.arange(start[-1]) - np.repeat(start[:-1] - low, count)
    weight = np.exp(-0.5 * ((wavelength[column] - wavelength[row]) / sigma[row]) ** 2)
    weight *= width[column]
    weight /= np.add.reduceat(weight, start[:-1])[row]
    return csr_array((weight, column, start), shape=(wavelength.size, wavelength.size))


def broadening_correction(index, velocity_dispersion, arrays, redshift, resolution):
    """Return factor and offset that take an index measured at some dispersion to zero dispersion.

    Parameters
    ----------
    index : Index
        Atomic indices are scaled, molecular and Balmer ones shifted (Kuntschner 2004,
        A&A 426, 737, section 3.3).
    velocity_dispersion : float
        km/s, cut at 500.
    arrays : SpectrumArrays
        One row, for its line-spread function.
    redshift : float
    resolution : {"native", "lick"}

    Returns
    -------
    factor, offset : float
        Corrected value = factor * value + offset.
    """
    blue, _, red = vacuum_bands(index)
    centre = 0.5 * (blue[0] + red[1])
    if resolution == "lick":
        resolved = lick_sigma(centre)
    else:
        observed = np.interp(centre * (1 + redshift), arrays.wavelength, _line_spread(arrays))
        resolved = observed / (1 + redshift)
    table = _correction_table(index, round(float(resolved), 1))
    correction = np.interp(velocity_dispersion, DISPERSIONS, table)
    if _is_additive(index):
        return 1.0, correction
    return correction, 0.0


def _is_additive(index):
    return index.kind == "mag" or index.name.startswith(ADDITIVE)


@lru_cache(maxsize=256)
def _correction_table(index, resolved):
    """Return the mean correction over old populations at each of `DISPERSIONS`."""
    grid = stellar_grid((3500.0, 9000.0))
    ages = [np.argmin(np.abs(grid.age - 1e9 * age)) for age in POPULATION_AGES]
    metals = [np.argmin(np.abs(grid.metallicity - 0.02 * z)) for z in POPULATION_METALLICITIES]
    low, high = index.limits
    near = (grid.wavelength > low - 60) & (grid.wavelength < high + 60)
    wavelength = grid.wavelength[near]
    spectra = grid.flux[np.ix_(metals, ages)][..., near].reshape(-1, wavelength.size).astype(float)
    edges, good = pixel_edges(wavelength), np.zeros(wavelength.size, bool)
    base = np.sqrt(np.clip(resolved**2 - grid.lsf_sigma[near] ** 2, 0, None))
    values = []
    for dispersion in DISPERSIONS:
        sigma = np.sqrt(base**2 + (wavelength * dispersion / SPEED_OF_LIGHT) ** 2)
        broadened = smooth(spectra, wavelength, sigma, bridge_gaps=True)
        values.append([index_value(edges, flux, good, index)[0] for flux in broadened])
    values = np.array(values)
    if _is_additive(index):
        return np.mean(values[0] - values, axis=1)
    return np.sum(values[0]) / np.sum(values, axis=1)
