"""Errors for spectra that come without: what a fit leaves over."""

import numpy as np
from scipy.ndimage import uniform_filter1d

__all__ = ["residual_sigma"]

BLOCK = 20  # pixels summed, so that noise correlated between neighbours counts fully
N_BLOCKS = 15  # averaged, to follow the noise along the spectrum


def residual_sigma(fit, wavelength):
    """Standard error per pixel, from the residuals of a population fit.

    Residuals are summed over blocks before they are squared: sums over bands of an index
    then have the right error even if neighbouring residuals are alike, as they are in
    smoothed spectra and where the templates do not match.

    Parameters
    ----------
    fit : PopulationFit
    wavelength : ndarray (n_wave,)
        Pixels to give errors for; observed frame, Angstrom.

    Returns
    -------
    ndarray (n_wave,) or None
        None if the fit left too few pixels to tell.
    """
    good = fit.fitted & np.isfinite(fit.best_fit)
    n_blocks = int(good.sum()) // BLOCK
    if n_blocks < N_BLOCKS:
        return None
    pixels = np.flatnonzero(good)[: n_blocks * BLOCK]
    residual = (fit.flux - fit.best_fit)[pixels].reshape(n_blocks, BLOCK)
    square = uniform_filter1d(residual.sum(axis=1) ** 2 / BLOCK, N_BLOCKS, mode="nearest")
    centre = fit.wavelength[pixels].reshape(n_blocks, BLOCK).mean(axis=1)
    sigma = np.interp(wavelength, centre, np.sqrt(square))
    # White noise per Angstrom: a pixel half as wide is noisier by the root of two.
    width = np.interp(wavelength, fit.wavelength, np.gradient(fit.wavelength))
    return sigma * np.sqrt(width / np.gradient(wavelength))
