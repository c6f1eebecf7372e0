"""Are predicted distributions as wide as the errors? PIT and expected coverage."""

import numpy as np
from scipy.stats import kstest

from photospec.errors import InputError

__all__ = ["coverage", "coverage_distance", "ks_distance", "pit"]


def pit(draws, truth, *, counts=None, seed=0):
    """Rank of the truth among draws, between 0 and 1; ties and ends are randomised.

    Uniform for a calibrated distribution (probability integral transform, Dawid 1984).

    Parameters
    ----------
    draws : array_like (n, n_draws)
    truth : array_like (n,)
    counts : array_like of bool (n, n_draws), optional
        Draws to rank the truth among. Where truths were selected, say by redshift, draws that the
        selection would not have let through are no alternatives to them.
    seed : int

    Returns
    -------
    ndarray (n,)
    """
    draws, truth = np.asarray(draws, float), np.asarray(truth, float)[:, None]
    counts = np.ones(draws.shape, bool) if counts is None else np.asarray(counts, bool)
    below = np.sum((draws < truth) & counts, axis=1)
    equal = np.sum((draws == truth) & counts, axis=1)
    u = np.random.default_rng(seed).uniform(size=below.shape)
    return (below + u * (equal + 1)) / (counts.sum(axis=1) + 1)


def ks_distance(values):
    """Kolmogorov-Smirnov distance of values from the uniform distribution on 0 to 1."""
    return float(kstest(np.ravel(values), "uniform").statistic)


def coverage(draws, truth, *, counts=None, seed=0):
    """Credibility at which each truth is just covered, by tests with random points.

    Around a random reference point, the ball that reaches to the truth holds some part of the
    draws. Calibrated draws make that part uniform (TARP: Lemos et al. 2023, arXiv:2302.03026,
    section 3): below credibility alpha lie the truths that the regions of alpha cover. References
    are truths of other galaxies, so that they lie where spectra lie.

    The package ``tarp`` does this too, but seeds the global random state, changes its input and
    resamples one galaxy at a time for its errors.

    Parameters
    ----------
    draws : array_like (n, n_draws, n_dim)
        In units in which distances mean something: dimensions are not scaled here.
    truth : array_like (n, n_dim)
    counts : array_like of bool (n, n_draws), optional
        Draws that count, see `pit`.
    seed : int

    Returns
    -------
    ndarray (n,)
    """
    draws, truth = np.asarray(draws, float), np.asarray(truth, float)
    if draws.ndim != 3 or truth.shape != (draws.shape[0], draws.shape[2]):
        raise InputError(
            f"draws: expected (n, n_draws, n_dim) and truth (n, n_dim), got {draws.shape} and "
            f"{truth.shape}"
        )
    if len(truth) < 2:
        raise InputError("truth: expected at least two galaxies, got fewer; references are others")
    rng = np.random.default_rng(seed)
    other = (np.arange(len(truth)) + rng.integers(1, len(truth), len(truth))) % len(truth)
    reference = truth[other]
    of_draws = np.linalg.norm(draws - reference[:, None], axis=-1)
    distance = np.linalg.norm(truth - reference, axis=-1)
    return pit(of_draws, distance, counts=counts, seed=rng.integers(2**31))


def coverage_distance(values):
    """Largest distance of expected coverage from the diagonal, given `coverage` values."""
    return ks_distance(values)
