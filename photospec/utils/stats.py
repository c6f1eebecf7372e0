"""Robust scatter, and whether predicted distributions are as wide as the errors."""

import numpy as np
from astropy.stats import mad_std
from scipy.special import ndtri

__all__ = ["MAD_TO_STD", "ks_distance", "pit", "robust_std"]

#: Standard deviation of a Gaussian over its median absolute deviation, 1.4826. For medians that
#: are not taken about the median of the same numbers; `robust_std` is for those that are.
MAD_TO_STD = float(1 / ndtri(0.75))


def robust_std(values, axis=None, *, about=None):
    """Return the standard deviation that a Gaussian of the same MAD has, ignoring NaN.

    Parameters
    ----------
    values : array_like
    axis : int or None
        Along which; None takes all values together.
    about : float, optional
        Deviations are taken from this number, and an offset from it counts as scatter;
        by default from the median.

    Returns
    -------
    float or ndarray
        1.4826 times the median absolute deviation (as `astropy.stats.mad_std`).

    Examples
    --------
    >>> round(float(robust_std([1.0, 2.0, 3.0, 4.0, 100.0])), 4)
    1.4826
    """
    values = np.asarray(values, float)
    if about is None:
        return mad_std(values, axis=axis, ignore_nan=True)
    return MAD_TO_STD * np.nanmedian(np.abs(values - about), axis=axis)


def pit(draws, truth, *, counts=None, seed=0):
    """Rank the truth among draws, between 0 and 1; ties and ends are randomised.

    Uniform for a calibrated distribution (probability integral transform, Dawid 1984).

    Parameters
    ----------
    draws : array_like, shape (n, n_draws)
    truth : array_like, shape (n,)
    counts : array_like of bool, shape (n, n_draws), optional
        Draws to rank the truth among. Where truths were selected, say by redshift, draws that the
        selection would not have let through are no alternatives to them.
    seed : int

    Returns
    -------
    ndarray, shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> draws = np.tile(np.arange(99.0), (2, 1))
    >>> np.round(pit(draws, [-1.0, 200.0]), 1)
    array([0., 1.])
    """
    draws, truth = np.asarray(draws, float), np.asarray(truth, float)[:, None]
    counts = np.ones(draws.shape, bool) if counts is None else np.asarray(counts, bool)
    below = np.sum((draws < truth) & counts, axis=1)
    equal = np.sum((draws == truth) & counts, axis=1)
    u = np.random.default_rng(seed).uniform(size=below.shape)
    return (below + u * (equal + 1)) / (counts.sum(axis=1) + 1)


def ks_distance(values):
    """Return the Kolmogorov-Smirnov distance of values from the uniform distribution on 0 to 1.

    Parameters
    ----------
    values : array_like

    Returns
    -------
    float

    Examples
    --------
    >>> round(ks_distance([0.125, 0.375, 0.625, 0.875]), 3)
    0.125
    """
    from scipy.stats import kstest  # half a second to import, which few need

    return float(kstest(np.ravel(values), "uniform").statistic)
