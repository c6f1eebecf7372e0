"""Mask cosmic rays and hot pixels, which look like emission lines.

A spike of a few pixels looks to a least-squares fit like the strongest line there is. What tells
it from a line is that its own redshift explains nothing else. So every spectrum with narrow
features is scanned twice, with them and without, and the best redshifts of both scans are
compared by a chi-square in which no pixel counts for more than `CUT` squared: a spike costs so
much wherever it lies, and real lines gain so much for each of their pixels. The narrow features
that the winner does not explain are left out, and the search goes on as if they were masked.
"""

import numpy as np
from scipy.ndimage import median_filter

from photospec.analysis.redshift.scan import chi2_at_shifts, line_parts
from photospec.utils.stats import robust_std

__all__ = ["narrow_features", "unexplained"]

WINDOW = 13  # pixels of the median that narrow features are seen against: up to 6 of them bad
SEEN = 6.0  # sigmas above or below it, more than noise does in a million spectra
CUT = 8.0  # sigmas that one pixel counts for at most
# Lines have widths of their own where the template has one for all: this share of the line may be
# left over without being an outlier. A single hot pixel leaves 77 % of itself.
LINE_SHAPE = 0.3


def narrow_features(flux, inverse_variance):
    """Return pixels that stand out of their neighbours, whatever they are.

    Parameters
    ----------
    flux, inverse_variance : ndarray, shape (n, n_wave)

    Returns
    -------
    ndarray of bool, shape (n, n_wave)
    """
    jump = flux - median_filter(flux, (1, WINDOW), mode="nearest")
    out = np.zeros(flux.shape, bool)
    for row, (offset, weight) in enumerate(zip(jump, inverse_variance, strict=True)):
        good = weight > 0
        if good.any():
            pull = offset * np.sqrt(weight)
            out[row] = good & (np.abs(pull) > SEEN * max(1.0, robust_std(pull[good])))
    return out


def unexplained(spectra, row, doubtful, shifts):
    """Return doubtful pixels that the best of a few redshifts does not explain.

    Parameters
    ----------
    spectra : LogSpectra
        With a factor of one, all pixels included.
    row : int
    doubtful : ndarray of bool, shape (n_pixels,)
        Pixels with a narrow feature.
    shifts : sequence of int
        Candidates, in pixels of `spectra`.

    Returns
    -------
    ndarray of bool, shape (n_pixels,)
    """
    best, left = np.inf, doubtful
    for shift in shifts:
        cost, outlier = _bounded_chi2(spectra, row, doubtful, int(shift))
        if cost < best:
            best, left = cost, outlier
    return left & doubtful


def _bounded_chi2(spectra, row, doubtful, shift):
    """Return the chi-square with at most `CUT` squared per pixel, and the pixels that reach it."""
    flux, weight = spectra.flux[row], spectra.weight[row]
    # Doubtful pixels are fitted where a line of this redshift may explain them.
    use = weight * ~(doubtful & ~line_parts(spectra, shift).any(axis=0))
    for _ in range(2):
        trial = type(spectra)(spectra.first, spectra.factor, spectra.flux, spectra.weight.copy())
        trial.weight[row] = use
        _, model, lines = chi2_at_shifts(trial, row, np.array([shift]), with_lines=True)
        variance = np.divide(1.0, weight, out=np.ones_like(weight), where=weight > 0)
        square = (flux - model[0]) ** 2 / (variance + (LINE_SHAPE * lines[0]) ** 2) * (weight > 0)
        outlier = square > CUT**2
        use = weight * ~(outlier & doubtful)
    return float(np.minimum(square, CUT**2).sum()), outlier
