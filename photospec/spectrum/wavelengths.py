"""Wavelength grids and the arithmetic of spectra on them; plain arrays in, plain arrays out.

Everything is Angstrom. Samples that were taken out of a spectrum (a gap between detectors,
bad pixels that a pipeline dropped) leave a step that is larger than its neighbours: such a gap
holds no information, and nothing here interpolates across it.
"""

from functools import lru_cache

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from specutils.utils.wcs_utils import air_to_vac, vac_to_air

from photospec.errors import InputError

__all__ = [
    "BASE_WAVELENGTH",
    "SMOOTHING",
    "WAVELENGTH",
    "air_to_vacuum",
    "fill_gaps",
    "pixel_edges",
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

# A step is a gap if it is so many times the steps on both sides of it. One sample taken out
# makes it 2; grids that change their step do so on one side only.
_GAP = 1.7
# So many steps on a side are looked at, and the upper quartile of them counts: wavelengths
# rounded to whole numbers (steps of 1 and 2 for 1.4) are no row of gaps.
_NEIGHBOURS = 20
# At most so many samples are put into gaps, per sample of the spectrum, at the spacing of their
# surroundings. Larger ones (one stray wavelength) are filled coarsely, so that a file of a few
# kilobytes cannot ask for any amount of memory.
_FILL_LIMIT = 10


def air_to_vacuum(wavelength: ArrayLike) -> float | np.ndarray:
    """Turn air wavelengths into vacuum wavelengths (Morton 2000, ApJS 130, 403; specutils).

    Parameters
    ----------
    wavelength : array_like
        Angstrom. Below 2000 Angstrom air is not used by convention: no change there.

    Returns
    -------
    ndarray, same shape

    Examples
    --------
    >>> from photospec.spectrum import air_to_vacuum
    >>> air_to_vacuum([1215.67, 6562.80]).round(2)  # H-alpha
    array([1215.67, 6564.61])
    """
    return _convert(wavelength, lambda w: air_to_vac(w, scheme="iteration"))


def vacuum_to_air(wavelength: ArrayLike) -> float | np.ndarray:
    """Turn vacuum wavelengths into air wavelengths (Morton 2000, ApJS 130, 403; specutils).

    Parameters
    ----------
    wavelength : array_like
        Angstrom. Below 2000 Angstrom there is no change.

    Returns
    -------
    ndarray, same shape

    Examples
    --------
    >>> from photospec.spectrum import vacuum_to_air
    >>> vacuum_to_air([5008.24]).round(2)  # [O III] 5007
    array([5006.84])
    """
    return _convert(wavelength, vac_to_air)


def _convert(wavelength, function):
    wavelength = np.array(wavelength, dtype=float)
    dense = wavelength >= 2000
    if np.any(dense):
        wavelength[dense] = function(wavelength[dense] * u.AA).to_value(u.AA)
    return wavelength


def pixel_edges(wavelength: np.ndarray) -> np.ndarray:
    """Return the borders of pixels, half-way between their centres.

    Parameters
    ----------
    wavelength : ndarray, shape (n_wave,)
        Increasing, Angstrom; at least two.

    Returns
    -------
    ndarray, shape (n_wave + 1,)
        The first and last pixel reach as far outwards as inwards.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.spectrum.wavelengths import pixel_edges
    >>> pixel_edges(np.array([5000.0, 5001.0, 5003.0]))
    array([4999.5, 5000.5, 5002. , 5004. ])
    """
    middle = 0.5 * (wavelength[1:] + wavelength[:-1])
    first, last = 2 * wavelength[0] - middle[0], 2 * wavelength[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])


def fill_gaps(wavelength: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Put samples where some were taken out, so that they can be marked as bad.

    Parameters
    ----------
    wavelength : array_like, shape (n_wave,)
        Increasing, positive.

    Returns
    -------
    filled : ndarray, shape (n_filled,)
        The same wavelengths, and between them those that are missing, in the spacing of their
        surroundings. It is `wavelength` itself where nothing is missing.
    place : ndarray of int, shape (n_wave,)
        Where in `filled` each of the given samples is.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.spectrum import fill_gaps
    >>> grid = np.arange(5000.0, 5100.0)
    >>> filled, place = fill_gaps(np.delete(grid, [40, 41, 42]))
    >>> np.array_equal(filled, grid), sorted(set(range(100)) - set(place.tolist()))
    (True, [40, 41, 42])
    """
    wavelength = np.ascontiguousarray(wavelength, dtype=float)
    filled, place = _filled(wavelength.tobytes())
    return (wavelength if filled is None else filled), place


@lru_cache(maxsize=32)
def _filled(buffer):
    wavelength = np.frombuffer(buffer)
    place = np.arange(wavelength.size)
    gaps = _gaps(wavelength)
    if not gaps:
        return None, place
    missing = np.zeros(wavelength.size, int)
    pieces, start = [], 0
    coarse = sum(n for *_, n in gaps) > _FILL_LIMIT * wavelength.size
    for gap, left, right, n in gaps:
        low, high = wavelength[gap], wavelength[gap + 1]
        if coarse and n > 4:
            n = min(n, 2 + wavelength.size // (4 * len(gaps)))
            new = np.concatenate(
                [[low + left], np.linspace(low + left, high - right, n)[1:-1], [high - right]]
            )
        # Steps that grow with wavelength are those of a logarithmic grid.
        elif np.log(right / left) > 0.5 * np.log(high / low):
            new = low * (high / low) ** (np.arange(1, n + 1) / (n + 1))
        else:
            new = np.linspace(low, high, n + 2)[1:-1]
        new = new[(new > low) & (new < high)]  # a step may be lost in the digits of a huge number
        pieces += [wavelength[start : gap + 1], new]
        missing[gap + 1] = new.size
        start = gap + 1
    filled = np.concatenate([*pieces, wavelength[start:]])
    place = place + np.cumsum(missing)
    filled.flags.writeable = place.flags.writeable = False
    return filled, place


def _gaps(wavelength):
    """List gaps: (sample before it, step to its left, step to its right, samples missing)."""
    step = np.diff(wavelength)
    if step.size < 3 or not (wavelength[0] > 0 and np.all(step > 0) and np.isfinite(step).all()):
        return []
    ratio = step[1:] / step[:-1]
    if ratio.max() < _GAP and ratio.min() > 1 / _GAP:
        return []  # every gap is larger than the step before or after it
    window = min(_NEIGHBOURS, step.size)
    around = np.pad(step, window, mode="reflect")
    around = np.sort(np.lib.stride_tricks.sliding_window_view(around, window), axis=1)
    upper, typical = around[:, (3 * window) // 4], around[:, window // 2]
    index = np.arange(step.size)
    left, right = index, index + window + 1
    found = []
    for i in np.flatnonzero(step > _GAP * np.maximum(upper[left], upper[right])):
        h_left, h_right = float(typical[left[i]]), float(typical[right[i]])
        n = round(step[i] / (0.5 * (h_left + h_right))) - 1
        if np.log(h_right / h_left) > 0.5 * np.log(wavelength[i + 1] / wavelength[i]):
            per_log = 0.5 * (h_left / wavelength[i] + h_right / wavelength[i + 1])
            n = round(np.log(wavelength[i + 1] / wavelength[i]) / per_log) - 1
        if n > 0:
            found.append((int(i), h_left, h_right, n))
    return found


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


def _gaussian(wavelength, centre, sigma, bridge_gaps=False):
    """Return a sparse (n_wave, n_centre) matrix whose columns are Gaussians of area ~1 on
    `wavelength`.
    """
    # A sample beside a gap stands for itself only.
    filled, place = (wavelength, slice(None)) if bridge_gaps else fill_gaps(wavelength)
    width = np.diff(pixel_edges(filled))[place]
    sigma = np.broadcast_to(np.asarray(sigma, dtype=float), centre.shape)
    # A Gaussian much narrower than a pixel falls between the samples: it is the pixel itself.
    sigma = np.maximum(sigma, 1e-3 * np.interp(centre, wavelength, width))
    low = np.searchsorted(wavelength, centre - _REACH * sigma)
    high = np.searchsorted(wavelength, centre + _REACH * sigma, side="right")
    nearest = np.rint(np.interp(centre, wavelength, np.arange(wavelength.size)))
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


def smooth(
    flux: ArrayLike,
    wavelength: ArrayLike,
    sigma: ArrayLike,
    *,
    new_wavelength: ArrayLike | None = None,
    bridge_gaps: bool = False,
) -> np.ndarray:
    """Convolve spectra with a Gaussian, on any increasing grid.

    The convolution integral is taken as a sum over the samples, so the second moments
    add exactly once `sigma` is above about 0.8 pixels; weights are normalised at the ends.

    Parameters
    ----------
    flux : array_like, shape (..., n_wave)
        Flux density, any unit.
    wavelength : array_like, shape (n_wave,)
        Increasing, Angstrom.
    sigma : float or array_like, shape (n_new,)
        Standard deviation in Angstrom, at the new wavelengths. Zero leaves things alone.
    new_wavelength : array_like, shape (n_new,), optional
        Where to evaluate the result (default: `wavelength`).
    bridge_gaps : bool
        Take a step that is larger than its neighbours for a wide sample (as in grids of
        models), not for samples that are missing.

    Returns
    -------
    ndarray, shape (..., n_new)
        NaN where the spectrum has a gap.

    Raises
    ------
    InputError
        If shapes do not match or `sigma` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.spectrum import smooth
    >>> wavelength = np.arange(5000.0, 5100.0)
    >>> line = np.where(wavelength == 5050, 1.0, 0.0)  # one pixel: its area is one
    >>> float(smooth(line, wavelength, 2.0)[50].round(4))  # 1 / (2 sqrt(2 pi))
    0.1995
    """
    wavelength, flux = _check(wavelength, flux)
    centre = wavelength if new_wavelength is None else np.asarray(new_wavelength, dtype=float)
    sigma = np.asarray(sigma, dtype=float)
    if not np.all(sigma >= 0) or sigma.ndim > 1 or sigma.size not in (1, centre.size):
        raise InputError(
            f"sigma: expected a number or {centre.size} numbers, none negative, in Angstrom, got "
            f"shape {sigma.shape}; is it one per spectrum, or does it hold NaN?"
        )
    result = _apply(_gaussian(wavelength, centre, sigma, bridge_gaps), flux)
    if bridge_gaps:
        return result
    hole = _in_gap(wavelength, centre)
    return np.where(hole, np.nan, result).astype(result.dtype) if hole.any() else result


def _in_gap(wavelength, centre):
    """Tell for places (n_centre,) whether their nearest sample was taken out."""
    filled, place = fill_gaps(wavelength)
    if filled.size == wavelength.size:
        return np.zeros(centre.shape, bool)
    missing = np.ones(filled.size, bool)
    missing[place] = False
    nearest = np.rint(np.interp(centre, filled, np.arange(filled.size))).astype(int)
    return missing[nearest]


def _apply(matrix, flux):
    flat = flux.reshape(-1, flux.shape[-1])
    result = (matrix.T.astype(flux.dtype) @ flat.T).T
    return np.ascontiguousarray(result).reshape(*flux.shape[:-1], -1)


def rebin(
    flux: ArrayLike, wavelength: ArrayLike, new_wavelength: ArrayLike, *, bridge_gaps: bool = False
) -> np.ndarray:
    """Put spectra into new bins, conserving the integral over wavelength.

    Each sample stands for a bin that ends half-way to its neighbours; a new bin gets the
    mean over the part that the old ones cover (the rule of Carnall 2017, SpectRes).

    Parameters
    ----------
    flux : array_like, shape (..., n_wave)
        Flux density, any unit.
    wavelength, new_wavelength : array_like, shape (n_wave,), (n_new,)
        Increasing bin centres, Angstrom.
    bridge_gaps : bool
        Take a step that is larger than its neighbours for a wide sample (as in grids of
        models), not for samples that are missing.

    Returns
    -------
    ndarray, shape (..., n_new)
        NaN in bins that are not covered in full, because the spectrum ends or has a gap there.

    Raises
    ------
    InputError
        If shapes do not match or wavelengths do not increase.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.spectrum import rebin
    >>> rebin([1.0, 2.0, 3.0, 4.0], [5000.0, 5001, 5002, 5003], [5000.5, 5002.5, 5004.5])
    array([1.5, 3.5, nan])
    """
    wavelength, flux = _check(wavelength, flux)
    new_wavelength = np.asarray(new_wavelength, dtype=float)
    _check(new_wavelength, new_wavelength)
    filled, place = fill_gaps(wavelength)
    if bridge_gaps or filled.size == wavelength.size:
        return _rebin(flux, wavelength, new_wavelength)
    _, (whole,) = _with_gaps_filled(wavelength, flux)
    hole = np.ones(filled.size)
    hole[place] = 0.0
    covered = _rebin(hole, filled, new_wavelength) < 1e-6
    return np.where(covered, _rebin(whole, filled, new_wavelength), np.nan).astype(flux.dtype)


def _rebin(flux, wavelength, new_wavelength):
    old, new = pixel_edges(wavelength), pixel_edges(new_wavelength)
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


def to_training_grid(
    wavelength: ArrayLike, flux: ArrayLike, ivar: ArrayLike | None = None
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Put spectra on `WAVELENGTH`, smoothed with a Gaussian of `SMOOTHING` Angstrom.

    The convolution is evaluated at the new wavelengths directly: the line-spread function of
    the result is the old one and the Gaussian, added in quadrature, and nothing more.

    Parameters
    ----------
    wavelength : array_like, shape (n_wave,)
        Increasing, Angstrom, vacuum, observed; covers 4000 to 8499 in steps of at most 2.5.
    flux : array_like, shape (..., n_wave)
        Any flux density unit.
    ivar : array_like, shape (..., n_wave), optional
        Inverse variance, in one over the square of that unit; samples with 0 are left out of
        the weighted mean, and so are those that are missing in a gap of `wavelength`.

    Returns
    -------
    flux : ndarray, shape (..., 4500)
        On `WAVELENGTH`. Where more than half of the weight was missing it is a filler.
    ivar : ndarray, shape (..., 4500)
        Only when `ivar` was given: of the smoothed flux, neighbours being correlated;
        0 where more than half of the weight was missing.

    Raises
    ------
    InputError
        If the spectrum does not cover the grid, is sampled too coarsely, or has a gap and no
        `ivar` to say so.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.spectrum import WAVELENGTH, to_training_grid
    >>> wavelength = 10 ** np.arange(3.58, 3.96, 1e-4)  # as SDSS
    >>> flux, ivar = to_training_grid(wavelength, 3 + 0 * wavelength, 4 + 0 * wavelength)
    >>> flux.shape, bool(np.allclose(flux, 3)), bool(np.all(ivar > 4))
    ((4500,), True, True)
    """
    wavelength, flux = _check(wavelength, flux)
    if wavelength[0] > WAVELENGTH[0] or wavelength[-1] < WAVELENGTH[-1]:
        raise InputError(
            f"wavelength: expected coverage of {WAVELENGTH[0]:.0f} to {WAVELENGTH[-1]:.0f} "
            f"Angstrom, got {wavelength[0]:.1f} to {wavelength[-1]:.1f}; is it in the rest frame "
            "or in another unit?"
        )
    if ivar is not None:
        ivar = np.broadcast_to(np.asarray(ivar, dtype=float), flux.shape)
        wavelength, (flux, ivar) = _with_gaps_filled(wavelength, flux, ivar)
    inside = (wavelength >= WAVELENGTH[0]) & (wavelength <= WAVELENGTH[-1])
    step = np.diff(wavelength[inside]).max(initial=0)
    if step > 1.25 * SMOOTHING:
        raise InputError(
            f"wavelength: expected steps of at most {1.25 * SMOOTHING:g} Angstrom, got {step:.2f}; "
            "is the resolution too low for the training grid, or are samples missing (then ivar is "
            "needed)?"
        )
    matrix = _training_matrix(wavelength.tobytes())
    if ivar is None:
        return _apply(matrix, flux)
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


def _with_gaps_filled(wavelength, *values):
    """Return wavelengths and values (..., n_wave) with zeros where samples are missing."""
    filled, place = fill_gaps(wavelength)
    if filled.size == wavelength.size:
        return wavelength, values
    whole = [np.zeros((*value.shape[:-1], filled.size), value.dtype) for value in values]
    for new, value in zip(whole, values, strict=True):
        new[..., place] = value
    return filled, whole


def to_base_grid(flux: ArrayLike) -> np.ndarray:
    """Average spectra over the eight bins that start at each base bin (four at the last).

    Parameters
    ----------
    flux : array_like, shape (..., 4500)
        On `WAVELENGTH`.

    Returns
    -------
    ndarray, shape (..., 563)
        On `BASE_WAVELENGTH`; the centre of a bin lies 3.5 Angstrom further.

    Raises
    ------
    InputError
        If `flux` is not on `WAVELENGTH`.

    Examples
    --------
    >>> from photospec.spectrum import WAVELENGTH, to_base_grid
    >>> to_base_grid(WAVELENGTH)[[0, 1, -1]]
    array([4003.5, 4011.5, 8497.5])
    """
    flux = np.asarray(flux)
    if flux.ndim == 0 or flux.shape[-1] != WAVELENGTH.size:
        raise InputError(
            f"flux: expected {WAVELENGTH.size} samples on the last axis, got shape {flux.shape}; "
            "is it not on the training grid yet?"
        )
    whole = flux[..., :4496].reshape(*flux.shape[:-1], 562, 8).mean(axis=-1)
    return np.concatenate([whole, flux[..., 4496:].mean(axis=-1, keepdims=True)], axis=-1)
