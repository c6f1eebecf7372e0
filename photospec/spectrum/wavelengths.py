"""Wavelength grids and the arithmetic of spectra on them; plain arrays in, plain arrays out.

Everything is Angstrom. `photospec.spectrum` offers these names too.
"""

from functools import lru_cache

import numpy as np
from astropy import units as u
from scipy.sparse import csr_array
from specutils.utils.wcs_utils import air_to_vac, vac_to_air

from photospec.errors import InputError

__all__ = [
    "BASE_WAVELENGTH",
    "SMOOTHING",
    "WAVELENGTH",
    "air_to_vacuum",
    "rebin",
    "smooth",
    "to_base_grid",
    "to_training_grid",
    "vacuum_to_air",
]

#: The grid of the networks: 4000 to 8499 Angstrom in steps of 1, vacuum, observed frame.
WAVELENGTH = np.arange(4000.0, 8500.0)
WAVELENGTH.flags.writeable = False
#: Every eighth bin of it.
BASE_WAVELENGTH = WAVELENGTH[::8]
#: Standard deviation of the Gaussian that spectra on `WAVELENGTH` were smoothed with, Angstrom.
SMOOTHING = 2.0

_REACH = 5.0  # Gaussians are cut off at so many standard deviations


def air_to_vacuum(wavelength):
    """Turn air wavelengths into vacuum wavelengths (Morton 2000; specutils).

    Parameters
    ----------
    wavelength : array_like
        Angstrom. Below 2000 Angstrom air is not used by convention: no change there.

    Returns
    -------
    ndarray
    """
    return _convert(wavelength, lambda w: air_to_vac(w, scheme="iteration"))


def vacuum_to_air(wavelength):
    """Turn vacuum wavelengths into air wavelengths (Morton 2000; specutils).

    Parameters
    ----------
    wavelength : array_like
        Angstrom. Below 2000 Angstrom there is no change.

    Returns
    -------
    ndarray
    """
    return _convert(wavelength, vac_to_air)


def _convert(wavelength, function):
    wavelength = np.array(wavelength, dtype=float)
    dense = wavelength >= 2000
    if np.any(dense):
        wavelength[dense] = function(wavelength[dense] * u.AA).to_value(u.AA)
    return wavelength


def _edges(wavelength):
    middle = (wavelength[1:] + wavelength[:-1]) / 2
    first = wavelength[0] - (middle[0] - wavelength[0])
    last = wavelength[-1] + (wavelength[-1] - middle[-1])
    return np.concatenate([[first], middle, [last]])


def _check(wavelength, flux):
    wavelength = np.asarray(wavelength, dtype=float)
    flux = np.asarray(flux)
    if wavelength.ndim != 1 or wavelength.size < 2 or not np.all(np.diff(wavelength) > 0):
        raise InputError(
            "wavelength: expected a one-dimensional increasing array, got shape "
            f"{wavelength.shape}; are the spectra in descending order or two-dimensional?"
        )
    if flux.ndim == 0 or flux.shape[-1] != wavelength.size:
        raise InputError(
            f"flux: expected {wavelength.size} samples on the last axis, got shape {flux.shape}; "
            "do wavelength and flux belong together?"
        )
    if flux.dtype.kind != "f":
        flux = flux.astype(float)
    return wavelength, flux


def _gaussian(wavelength, centre, sigma):
    """Sparse (n_wave, n_centre) matrix whose columns are Gaussians of area ~1 on `wavelength`."""
    width = np.diff(_edges(wavelength))
    sigma = np.broadcast_to(np.asarray(sigma, dtype=float), centre.shape)
    # A Gaussian much narrower than a pixel falls between the samples: it is the pixel itself.
    sigma = np.maximum(sigma, 1e-3 * np.interp(centre, wavelength, width))
    low = np.searchsorted(wavelength, centre - _REACH * sigma)
    high = np.searchsorted(wavelength, centre + _REACH * sigma, side="right")
    nearest = np.clip(np.rint(np.interp(centre, wavelength, np.arange(wavelength.size))), 0, None)
    low = np.minimum(low, nearest.astype(int))
    high = np.maximum(high, nearest.astype(int) + 1)
    count = high - low
    start = np.concatenate([[0], np.cumsum(count)])
    column = np.repeat(np.arange(centre.size), count)
    row = np.arange(start[-1]) - np.repeat(start[:-1] - low, count)
    offset = (wavelength[row] - centre[column]) / sigma[column]
    # Floor the exponent, so that a lone far sample keeps a weight that can be normalised.
    value = np.exp(-0.5 * np.minimum(offset**2, 600.0)) * width[row]
    value /= np.add.reduceat(value, start[:-1])[column]
    return csr_array((value, row, start), shape=(centre.size, wavelength.size)).T


def smooth(flux, wavelength, sigma, *, new_wavelength=None):
    """Convolve spectra with a Gaussian, on any increasing grid.

    The convolution integral is taken as a sum over the samples, so the second moments
    add exactly once `sigma` is above about 0.8 pixels; weights are normalised at the ends.

    Parameters
    ----------
    flux : array_like (..., n_wave)
        Flux density, any unit.
    wavelength : array_like (n_wave,)
        Increasing, Angstrom.
    sigma : float or array_like (n_new,)
        Standard deviation in Angstrom, at the new wavelengths. Zero leaves things alone.
    new_wavelength : array_like (n_new,), optional
        Where to evaluate the result (default: `wavelength`).

    Returns
    -------
    ndarray (..., n_new)

    Raises
    ------
    InputError
        If shapes do not match or `sigma` is negative.
    """
    wavelength, flux = _check(wavelength, flux)
    centre = wavelength if new_wavelength is None else np.asarray(new_wavelength, dtype=float)
    sigma = np.asarray(sigma, dtype=float)
    if not np.all(sigma >= 0) or sigma.ndim > 1 or sigma.size not in (1, centre.size):
        raise InputError(
            f"sigma: expected a number or {centre.size} numbers, none negative, in Angstrom, got "
            f"shape {sigma.shape}; is it one per spectrum, or does it hold NaN?"
        )
    return _apply(_gaussian(wavelength, centre, sigma), flux)


def _apply(matrix, flux):
    flat = flux.reshape(-1, flux.shape[-1])
    result = (matrix.T.astype(flux.dtype) @ flat.T).T
    return np.ascontiguousarray(result).reshape(*flux.shape[:-1], -1)


def rebin(flux, wavelength, new_wavelength):
    """Put spectra into new bins, conserving the integral over wavelength.

    Each sample stands for a bin that ends half-way to its neighbours; a new bin gets the
    mean over the part that the old ones cover (the rule of Carnall 2017, SpectRes).

    Parameters
    ----------
    flux : array_like (..., n_wave)
        Flux density, any unit.
    wavelength, new_wavelength : array_like (n_wave,), (n_new,)
        Increasing bin centres.

    Returns
    -------
    ndarray (..., n_new)
        NaN in bins that are not covered in full.

    Raises
    ------
    InputError
        If shapes do not match or wavelengths do not increase.
    """
    wavelength, flux = _check(wavelength, flux)
    new_wavelength = np.asarray(new_wavelength, dtype=float)
    _check(new_wavelength, new_wavelength)
    old, new = _edges(wavelength), _edges(new_wavelength)
    # Mean over a bin = difference of the running integral, linear inside each old bin.
    integral = np.zeros((*flux.shape[:-1], old.size))
    np.cumsum(flux * np.diff(old), axis=-1, out=integral[..., 1:])
    left = np.clip(np.searchsorted(old, new, side="right") - 1, 0, wavelength.size - 1)
    at_edge = integral[..., left] + flux[..., left] * (new - old[left])
    result = np.diff(at_edge, axis=-1) / np.diff(new)
    slack = 1e-6 * (old[1] - old[0])
    covered = (new[:-1] >= old[0] - slack) & (new[1:] <= old[-1] + slack)
    return np.where(covered, result, np.nan).astype(flux.dtype)


@lru_cache(maxsize=8)
def _training_matrix(wavelength):
    return _gaussian(np.frombuffer(wavelength), WAVELENGTH, SMOOTHING)


def to_training_grid(wavelength, flux, ivar=None):
    """Put spectra on `WAVELENGTH`, smoothed with a Gaussian of `SMOOTHING` Angstrom.

    The convolution is evaluated at the new wavelengths directly, so that the
    line-spread function is the old one and the Gaussian in quadrature, nothing more.

    Parameters
    ----------
    wavelength : array_like (n_wave,)
        Increasing, Angstrom, vacuum, observed; covers 4000 to 8499 in steps of at most 2.5.
    flux : array_like (..., n_wave)
        Any flux density unit.
    ivar : array_like (..., n_wave), optional
        Inverse variance; samples with 0 are left out of the weighted mean.

    Returns
    -------
    flux : ndarray (..., 4500)
    ivar : ndarray (..., 4500)
        Only when `ivar` was given: of the smoothed flux, neighbours being correlated;
        0 where more than half of the weight was missing.

    Raises
    ------
    InputError
        If the spectrum does not cover the grid or is sampled too coarsely.
    """
    wavelength, flux = _check(wavelength, flux)
    if wavelength[0] > WAVELENGTH[0] or wavelength[-1] < WAVELENGTH[-1]:
        raise InputError(
            f"wavelength: expected coverage of {WAVELENGTH[0]:.0f} to {WAVELENGTH[-1]:.0f} "
            f"Angstrom, got {wavelength[0]:.1f} to {wavelength[-1]:.1f}; is it in the rest frame "
            "or in another unit?"
        )
    inside = (wavelength >= WAVELENGTH[0]) & (wavelength <= WAVELENGTH[-1])
    step = np.diff(wavelength[inside]).max(initial=0)
    if step > 1.25 * SMOOTHING:
        raise InputError(
            f"wavelength: expected steps of at most {1.25 * SMOOTHING:g} Angstrom, got {step:.2f}; "
            "is the resolution of these spectra too low for the training grid?"
        )
    matrix = _training_matrix(wavelength.tobytes())
    if ivar is None:
        return _apply(matrix, flux)
    ivar = np.broadcast_to(np.asarray(ivar, dtype=float), flux.shape)
    good = (ivar > 0) & np.isfinite(flux) & np.isfinite(ivar)
    weight = _apply(matrix, good.astype(float))
    usable = weight > 0.5
    scale = np.where(weight > 0, weight, 1)
    smoothed = _apply(matrix, np.where(good, flux, 0).astype(float)) / scale
    # Where everything is missing the plain mean is the least wrong filler; ivar says so.
    plain = _apply(matrix, np.where(np.isfinite(flux), flux, 0).astype(float))
    smoothed = np.where(usable, smoothed, plain)
    variance = np.divide(1, ivar, out=np.zeros(flux.shape), where=good)
    variance = _apply(matrix.power(2), variance) / scale**2
    new_ivar = np.divide(1, variance, out=np.zeros(variance.shape), where=usable & (variance > 0))
    return smoothed.astype(flux.dtype), new_ivar


def to_base_grid(flux):
    """Average spectra over the eight bins that start at each base bin (four at the last).

    Parameters
    ----------
    flux : array_like (..., 4500)
        On `WAVELENGTH`.

    Returns
    -------
    ndarray (..., 563)
        On `BASE_WAVELENGTH`; the centre of a bin lies 3.5 Angstrom further.
    """
    flux = np.asarray(flux)
    if flux.ndim == 0 or flux.shape[-1] != WAVELENGTH.size:
        raise InputError(
            f"flux: expected {WAVELENGTH.size} samples on the last axis, got shape {flux.shape}; "
            "is it not on the training grid yet?"
        )
    whole = flux[..., :4496].reshape(*flux.shape[:-1], 562, 8).mean(axis=-1)
    return np.concatenate([whole, flux[..., 4496:].mean(axis=-1, keepdims=True)], axis=-1)
