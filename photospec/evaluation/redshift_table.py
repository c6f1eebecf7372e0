"""Redshifts of the spectrograph and of the baselines, in one table."""

import numpy as np

from photospec.evaluation.redshift import bias, outlier_fraction, sigma_mad
from photospec.evaluation.value import bootstrap

__all__ = ["density_mode", "redshift_row", "redshift_rows"]

#: Of the grid on which the peak of a density is looked for: a tenth of the narrowest scatter.
MODE_STEP = 0.0005


def redshift_row(name, z_phot, z_spec):
    """Return bias, scatter and outliers of redshifts (n,) with bootstrap errors, a table row."""
    z_phot, z_spec = np.asarray(z_phot, float), np.asarray(z_spec, float)
    good = np.isfinite(z_phot)
    pair = z_phot[good], z_spec[good]
    return {
        "redshift from": name,
        "bias": bootstrap(bias, *pair),
        "sigma_mad": bootstrap(sigma_mad, *pair),
        "outliers (0.05)": bootstrap(outlier_fraction, *pair),
        "galaxies": int(good.sum()),
    }


def density_mode(redshift):
    """Return the peak (n,) of the density over candidates (n, m): a mixture of equal Gaussians.

    Each is as wide as Silverman's rule says for the set, and no narrower than 0.002.

    Parameters
    ----------
    redshift : ndarray (n, m)

    Returns
    -------
    ndarray (n,)
        As qp's mixture densities have it, which are used where qp is installed.
    """
    deviation = np.std(redshift, axis=1)
    spread = np.subtract(*np.percentile(redshift, [75, 25], axis=1)) / 1.349
    width = 0.9 * np.minimum(deviation, spread) * redshift.shape[1] ** -0.2
    width = np.maximum(np.broadcast_to(width[:, None], redshift.shape), 0.002)
    grid = np.arange(0.0, max(0.4, redshift.max() + 0.05), MODE_STEP)
    try:
        import qp
    except ImportError:
        scaled = (grid[:, None, None] - redshift) / width
        density = (np.exp(-0.5 * scaled**2) / width).sum(axis=-1)
        return grid[density.argmax(axis=0)]
    data = {"means": redshift, "stds": width, "weights": np.full(width.shape, 1 / width.shape[1])}
    return np.ravel(qp.Ensemble(qp.mixmod, data).mode(grid))


def redshift_rows(draws, z_spec, others):
    """Return rows of the table.

    Parameters
    ----------
    draws : Draws
    z_spec : ndarray (n,)
    others : dict of str to ndarray (n,)
        Redshifts of the baselines.

    Returns
    -------
    list of dict
    """
    found = {
        "best candidate": draws.of_best("redshift"),
        "one candidate, unranked": draws.redshift[:, 0],
        "candidate set: median": np.median(draws.redshift, axis=1),
        "candidate set: mean": np.mean(draws.redshift, axis=1),
        "mean of the density drawn from": draws.expected,
        "candidate set: peak of the density": density_mode(draws.redshift),
        **others,
    }
    return [redshift_row(name, z_phot, z_spec) for name, z_phot in found.items()]
