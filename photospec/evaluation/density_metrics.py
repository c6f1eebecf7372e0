"""Scores of redshift densities: PIT, CDE loss and CRPS, through qp where qp has them."""

import numpy as np

from photospec.evaluation.value import Value, bootstrap
from photospec.utils.stats import ks_distance

__all__ = ["GRID_STEP", "cde_loss", "crps", "pit_values", "redshift_grid", "to_ensemble"]

#: Spacing of the grids on which densities are tabulated, a third of the narrowest components.
GRID_STEP = 0.002
# Galaxies that are tabulated at once.
_AT_ONCE = 512
# Parts of the galaxies whose differences give errors.
_N_PARTS = 20


def redshift_grid(redshift, mixtures):
    """Return redshifts (m,) that hold the densities of a comparison and all truths.

    Parameters
    ----------
    redshift : ndarray (n,)
    mixtures : sequence of photospec.evaluation.answers.Mixture
    """
    top = max(float(np.max(redshift)) + 0.05, 0.2)
    for mixture in mixtures:
        reach = np.percentile(mixture.centre + 3 * mixture.width, 99)
        top = max(top, float(np.expm1(reach) if mixture.logarithmic else reach))
    return np.arange(0.0, min(top, 2.0) + GRID_STEP, GRID_STEP)


def to_ensemble(mixture, grid):
    """Return densities as a qp ensemble, tabulated and renormalised on a grid (m,)."""
    import qp

    return qp.Ensemble(qp.interp, {"xvals": grid, "yvals": mixture.pdf(grid) + 1e-12})


def _parts(n, least=1):
    """Return rows in at least so many parts of at most `_AT_ONCE`, two each where there are two."""
    number = max(int(np.ceil(n / _AT_ONCE)), min(least, n // 2), 1)
    return np.array_split(np.arange(n), number)


def _ensemble(mixture, rows, grid):
    # qp drops the first axis of an ensemble of one: two of the same have the same means.
    return to_ensemble(mixture.take(np.resize(rows, max(2, len(rows)))), grid)


def pit_values(mixture, redshift, grid):
    """Return the probability (n,) below each true redshift, of a qp ensemble.

    The samples of ``qp.metrics.PIT``, without the table of their quantiles that it makes, which few
    galaxies have not.

    Parameters
    ----------
    mixture : photospec.evaluation.answers.Mixture
    redshift : ndarray (n,)
    grid : ndarray (m,)
    """
    found = []
    for rows in _parts(len(redshift)):
        true = np.resize(redshift[rows], max(2, len(rows)))
        values = _ensemble(mixture, rows, grid).cdf(true[:, None])
        found.append(np.ravel(values)[: len(rows)])
    return np.concatenate(found)


def cde_loss(mixture, redshift, grid):
    """Return the conditional density loss, ``qp.metrics.CDELossMetric``: the less the better.

    The mean of the integral of p^2, less twice the mean density at the truths (Izbicki & Lee 2017,
    arXiv:1704.08095). Its error is that of means over twenty parts of the galaxies, by jackknife.

    Parameters
    ----------
    mixture : photospec.evaluation.answers.Mixture
    redshift : ndarray (n,)
    grid : ndarray (m,)

    Returns
    -------
    Value
    """
    from qp.metrics.concrete_metric_classes import CDELossMetric

    metric, sums = CDELossMetric(grid), []
    for rows in _parts(len(redshift), _N_PARTS):
        true = np.resize(redshift[rows], max(2, len(rows)))
        sums.append(metric.accumulate(_ensemble(mixture, rows, grid), true))
    value = float(metric.finalize(sums))
    if len(sums) < 2:
        return Value(value, np.nan)
    without = [metric.finalize(sums[:k] + sums[k + 1 :]) for k in range(len(sums))]
    spread = np.var(without) * (len(sums) - 1)
    return Value(value, float(np.sqrt(spread)))


def crps(mixture, redshift, grid):
    """Return continuous ranked probability scores (n,): the less the better, in units of redshift.

    The integral of (F(z) - [z >= true])^2 (Matheson & Winkler 1976; Gneiting & Raftery 2007, eq.
    20), which is the absolute error where all is known. qp 1.1 does not have it.

    Parameters
    ----------
    mixture : photospec.evaluation.answers.Mixture
    redshift : ndarray (n,)
    grid : ndarray (m,)

    Returns
    -------
    ndarray (n,)
    """
    found = np.empty(len(redshift))
    for start in range(0, len(redshift), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(redshift)))
        density = mixture.take(rows).pdf(grid)
        step = 0.5 * (density[:, 1:] + density[:, :-1]) * np.diff(grid)
        below = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(step, axis=1)], axis=1)
        below /= np.maximum(below[:, -1:], 1e-12)
        # The truth divides its interval: the part of each interval that lies beyond it.
        share = np.clip((grid[None, 1:] - redshift[rows, None]) / np.diff(grid), 0, 1)
        middle = 0.5 * (below[:, 1:] + below[:, :-1])
        square = middle**2 * (1 - share) + (1 - middle) ** 2 * share
        found[rows] = (square * np.diff(grid)).sum(axis=1)
    return found


def density_row(name, mixture, redshift, grid):
    """Return one row of a table of scores, with the PIT values (n,) behind it."""
    pit = pit_values(mixture, redshift, grid)
    row = {
        "density": name,
        "PIT: KS distance": bootstrap(ks_distance, pit),
        "PIT: beyond 0.01 and 0.99": bootstrap(lambda p: np.mean((p < 0.01) | (p > 0.99)), pit),
        "CDE loss": cde_loss(mixture, redshift, grid),
        "CRPS": bootstrap(np.mean, crps(mixture, redshift, grid)),
        "galaxies": len(redshift),
    }
    return row, pit
