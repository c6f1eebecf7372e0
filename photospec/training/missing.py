"""Missing pixels of images and bad bins of spectra: told, bridged, weighted."""

import numpy as np

from photospec.image.resample import fill_bad
from photospec.networks.scaling import NORMALISATION

__all__ = ["bridge", "fill_images", "usable"]

# A pair with more missing than this part of an image, or of a spectrum, is not usable.
_MOST = 0.5


def _bad_bins(flux, ivar):
    return (ivar <= 0) | ~np.isfinite(ivar) | ~np.isfinite(flux)


def usable(image, flux, ivar=None):
    """Whether pairs can be learnt from, ``(n,)`` of bool.

    Parameters
    ----------
    image : ndarray (n, n_bands, ny, nx)
    flux : ndarray (n, n_wave)
    ivar : ndarray (n, n_wave), optional
        Where bins may be bad; without, every one has to be finite.

    Returns
    -------
    ndarray of bool
        False for pairs without light at 5600 to 6900 Angstrom, or of which more than half is
        missing.
    """
    n = len(flux)
    bad = ~np.isfinite(flux) if ivar is None else _bad_bins(flux, ivar)
    good = bad.mean(axis=1) <= (0 if ivar is None else _MOST)
    missing = ~np.isfinite(image.reshape(n, -1))
    good &= missing.mean(axis=1) <= (0 if ivar is None else _MOST)
    with np.errstate(invalid="ignore"):
        light = np.where(bad, 0, flux)[:, NORMALISATION].sum(axis=1)
    return good & (light > 0)


def fill_images(image):
    """Images with their missing pixels, which are no numbers, filled as in prediction."""
    missing = ~np.isfinite(image)
    if not missing.any():
        return image
    image = image.copy()
    for number in np.flatnonzero(missing.any(axis=(1, 2, 3))):
        image[number] = fill_bad(image[number], missing[number])
    return image


def bridge(flux, ivar):
    """Bridge bad bins by straight lines, the ends by their last good bin.

    Parameters
    ----------
    flux, ivar : ndarray (n, n_wave)

    Returns
    -------
    flux, ivar : ndarray (n, n_wave)
        All flux finite, `ivar` 0 where it was bad. Spectra without a good bin stay as they are.
    """
    bad = _bad_bins(flux, ivar)
    if not bad.any():
        return flux, ivar
    flux, ivar = flux.copy(), np.where(bad, 0, ivar)
    bins = np.arange(flux.shape[1])
    for number in np.flatnonzero(bad.any(axis=1) & ~bad.all(axis=1)):
        lost = bad[number]
        flux[number, lost] = np.interp(bins[lost], bins[~lost], flux[number, ~lost])
    return flux, ivar
