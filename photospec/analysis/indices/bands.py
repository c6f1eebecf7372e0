"""One index on one spectrum: exact integrals over fractions of pixels, and their gradient.

A sample is the mean over its pixel, so integrals of flux over a band are sums over pixels
weighted with the share inside the band. Value and gradient with respect to every sample
come together; the gradient gives the error (bands that share pixels included) and passes
through any linear operation done to the spectrum before, such as smoothing.
"""

from functools import lru_cache

import numpy as np

from photospec.spectrum import air_to_vacuum

__all__ = ["BAD_SHARE", "index_value", "vacuum_bands"]

BAD_SHARE = 0.2  # of a band that may be bad, and is interpolated, before the index is refused


@lru_cache(maxsize=256)
def vacuum_bands(index):
    """Return the blue, index and red band of an `Index` in vacuum, Angstrom; None for a missing
    band.
    """
    bands = (index.blue, index.band, index.red)
    return tuple(None if band is None else tuple(air_to_vacuum(band)) for band in bands)


def _overlap(edges, low, high):
    """Return pixels that overlap a band, and the borders of their overlaps clipped to it."""
    first = np.searchsorted(edges, low, side="right") - 1
    last = np.searchsorted(edges, high, side="left")
    borders = np.clip(edges[first : last + 1], low, high)
    return slice(first, last), borders[:-1], borders[1:]


def index_value(edges, flux, bad, index, factor=1.0):
    """Return the value of an index and its gradient, or the reason why there is none.

    Parameters
    ----------
    edges : ndarray (n_wave + 1,)
        Pixel borders, Angstrom, vacuum.
    flux : ndarray (n_wave,)
        Per wavelength, any unit; finite everywhere (bad pixels interpolated).
    bad : ndarray (n_wave,) of bool
        True for interpolated pixels.
    index : Index
    factor : float
        1 + redshift; equivalent widths are in the rest frame.

    Returns
    -------
    value : float
        NaN if there is a reason.
    gradient : ndarray (n_wave,) or None
        Derivative of the value by each sample.
    reason : str
    """
    blue, band, red = vacuum_bands(index)
    used = [item for item in (blue, band, red) if item is not None]
    low, high = min(item[0] for item in used) * factor, max(item[1] for item in used) * factor
    if low < edges[0] or high > edges[-1]:
        return np.nan, None, "outside the spectrum"
    for item in used:
        pixels, left, right = _overlap(edges, item[0] * factor, item[1] * factor)
        if np.sum((right - left) * bad[pixels]) > BAD_SHARE * (item[1] - item[0]) * factor:
            return np.nan, None, "bad pixels"
    if band is None:
        return _break(edges, flux, blue, red, factor)
    return _absorption(edges, flux, blue, band, red, factor, index.kind)


def _mean(edges, flux, band, factor):
    """Return the mean flux in a band, the pixels used and their weights (sum one)."""
    pixels, left, right = _overlap(edges, band[0] * factor, band[1] * factor)
    weight = (right - left) / np.sum(right - left)
    return weight @ flux[pixels], pixels, weight


def _break(edges, flux, blue, red, factor):
    """Return ratio of the mean F_nu, red over blue (Bruzual 1983, eq. 1: means over wavelength)."""
    squared = (0.5 * (edges[1:] + edges[:-1])) ** 2
    level_blue, blue_pixels, blue_weight = _mean(edges, flux * squared, blue, factor)
    level_red, red_pixels, red_weight = _mean(edges, flux * squared, red, factor)
    if not (level_blue > 0 and level_red > 0):
        return np.nan, None, "mean flux not positive"
    value = level_red / level_blue
    gradient = np.zeros_like(flux)
    gradient[red_pixels] = red_weight * squared[red_pixels] / level_blue
    gradient[blue_pixels] -= value * blue_weight * squared[blue_pixels] / level_blue
    return value, gradient, ""


def _absorption(edges, flux, blue, band, red, factor, kind):
    """Return the atomic or molecular index (Worthey et al. 1994, eq. 1 to 3)."""
    level_blue, blue_pixels, blue_weight = _mean(edges, flux, blue, factor)
    level_red, red_pixels, red_weight = _mean(edges, flux, red, factor)
    at_blue, at_red = (0.5 * factor * (item[0] + item[1]) for item in (blue, red))
    slope = (level_red - level_blue) / (at_red - at_blue)
    pixels, left, right = _overlap(edges, band[0] * factor, band[1] * factor)
    middle, width = 0.5 * (left + right), right - left
    along = (middle - at_blue) / (at_red - at_blue)
    continuum = level_blue + slope * (middle - at_blue)
    if not np.all(continuum > 0):
        return np.nan, None, "continuum not positive"
    # Integral of 1 / continuum over each pixel: ln((1 + x/2) / (1 - x/2)) / x in its series.
    x = slope * width / continuum
    share = width / continuum * (1 + x**2 / 12 + x**4 / 80)
    ratio = flux[pixels] * share
    total, full = ratio.sum(), (band[1] - band[0]) * factor
    gradient = np.zeros_like(flux)
    gradient[pixels] = share
    gradient[blue_pixels] -= np.sum(ratio / continuum * (1 - along)) * blue_weight
    gradient[red_pixels] -= np.sum(ratio / continuum * along) * red_weight
    if kind == "angstrom":
        return (full - total) / factor, gradient / -factor, ""
    if not total > 0:
        return np.nan, None, "flux in the band not positive"
    return -2.5 * np.log10(total / full), gradient * (-2.5 / np.log(10) / total), ""
