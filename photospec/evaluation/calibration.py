"""Are predicted distributions as wide as the errors? (PIT and its distance from uniform.)"""

import numpy as np
from scipy.stats import kstest

__all__ = ["ks_distance", "pit"]


def pit(draws, truth, *, seed=0):
    """Rank of the truth among draws, between 0 and 1; ties and ends are randomised.

    Uniform for a calibrated distribution (probability integral transform, Dawid 1984).

    Parameters
    ----------
    draws : array_like (n, n_draws)
    truth : array_like (n,)
    seed : int

    Returns
    -------
    ndarray (n,)
    """
    draws, truth = np.asarray(draws, float), np.asarray(truth, float)[:, None]
    below = np.sum(draws < truth, axis=1)
    equal = np.sum(draws == truth, axis=1)
    u = np.random.default_rng(seed).uniform(size=below.shape)
    return (below + u * (equal + 1)) / (draws.shape[1] + 1)


def ks_distance(values):
    """Kolmogorov-Smirnov distance of values from the uniform distribution on 0 to 1."""
    return float(kstest(np.ravel(values), "uniform").statistic)
