"""How good redshifts are: the usual three numbers of photometric redshifts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from photospec.errors import InputError
from photospec.utils.stats import robust_std

__all__ = ["RedshiftQuality", "bias", "outlier_fraction", "redshift_quality", "sigma_mad"]


def _residual(z_phot, z_spec):
    z_phot, z_spec = np.asarray(z_phot, float), np.asarray(z_spec, float)
    if z_phot.shape != z_spec.shape or z_spec.size == 0:
        raise InputError(
            f"z_phot: expected the shape of z_spec and at least one galaxy, got {z_phot.shape} "
            f"and {z_spec.shape}"
        )
    return (z_phot - z_spec) / (1 + z_spec)


def bias(z_phot, z_spec):
    """Return the median of dz / (1 + z); shapes (n,)."""
    return float(np.median(_residual(z_phot, z_spec)))


def sigma_mad(z_phot, z_spec):
    """Return 1.4826 times the median absolute deviation of dz / (1 + z) from its median."""
    return float(robust_std(_residual(z_phot, z_spec)))


def outlier_fraction(z_phot, z_spec, threshold=0.05):
    """Return the part of the galaxies with abs(dz) / (1 + z) above `threshold`."""
    return float(np.mean(np.abs(_residual(z_phot, z_spec)) > threshold))


@dataclass(frozen=True)
class RedshiftQuality:
    """Bias, scatter and outliers with bootstrap errors.

    Attributes
    ----------
    bias, sigma_mad, outlier_fraction : float
    bias_error, sigma_mad_error, outlier_fraction_error : float
        Standard deviation over bootstrap resamplings.
    n : int
        Galaxies.
    """

    bias: float
    sigma_mad: float
    outlier_fraction: float
    bias_error: float
    sigma_mad_error: float
    outlier_fraction_error: float
    n: int

    def __str__(self):
        return (
            f"bias {self.bias:+.4f} +- {self.bias_error:.4f}, "
            f"sigma_mad {self.sigma_mad:.4f} +- {self.sigma_mad_error:.4f}, "
            f"outliers {self.outlier_fraction:.3f} +- {self.outlier_fraction_error:.3f}"
        )


def redshift_quality(
    z_phot: ArrayLike,
    z_spec: ArrayLike,
    *,
    threshold: float = 0.05,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> RedshiftQuality:
    """Compute `RedshiftQuality` of redshifts (n,) against spectroscopic ones."""
    z_phot, z_spec = np.asarray(z_phot, float), np.asarray(z_spec, float)
    rng = np.random.default_rng(seed)

    def numbers(rows):
        pair = z_phot[rows], z_spec[rows]
        return bias(*pair), sigma_mad(*pair), outlier_fraction(*pair, threshold=threshold)

    value = numbers(slice(None))
    draws = [numbers(rng.integers(z_spec.size, size=z_spec.size)) for _ in range(n_bootstrap)]
    error = np.std(draws, axis=0)
    return RedshiftQuality(*value, *map(float, error), z_spec.size)
