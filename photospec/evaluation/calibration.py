"""Are predicted distributions as wide as the errors? PIT and expected coverage."""

import numpy as np

from photospec.errors import InputError
from photospec.utils.stats import ks_distance, pit

__all__ = ["coverage", "coverage_distance"]


def coverage(draws, truth, *, reference=None, counts=None, seed=0):
    """Return the credibility at which each truth is just covered, by tests with random points.

    Around a random reference point, the ball that reaches to the truth holds some part of the
    draws. Calibrated draws make that part uniform (TARP: Lemos et al. 2023, arXiv:2302.03026,
    section 3): below credibility alpha lie the truths that the regions of alpha cover. References
    are truths of other galaxies, so that they lie where spectra lie.

    The package ``tarp`` (0.1.1 of November 2023, its last) does this too, but seeds NumPy's global
    random state, changes its input and holds all draws of all galaxies in memory at once.

    Parameters
    ----------
    draws : array_like (n, n_draws, n_dim)
        In units in which distances mean something: dimensions are not scaled here.
    truth : array_like (n, n_dim)
    reference : array_like (n, n_dim), optional
        Points that distances are measured from, which must not depend on the truths; by default
        the truth of another of the galaxies.
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
    rng = np.random.default_rng(seed)
    if reference is None:
        if len(truth) < 2:
            raise InputError(
                "truth: expected at least two galaxies, got fewer; references are others"
            )
        other = (np.arange(len(truth)) + rng.integers(1, len(truth), len(truth))) % len(truth)
        reference = truth[other]
    reference = np.asarray(reference, float)
    if reference.shape != truth.shape:
        raise InputError(f"reference: expected shape {truth.shape}, got {reference.shape}")
    of_draws = np.linalg.norm(draws - reference[:, None], axis=-1)
    distance = np.linalg.norm(truth - reference, axis=-1)
    return pit(of_draws, distance, counts=counts, seed=rng.integers(2**31))


def coverage_distance(values):
    """Return largest distance of expected coverage from the diagonal, given `coverage` values."""
    return ks_distance(values)
