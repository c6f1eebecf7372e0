"""Radial light profiles in Fourier space, from lookup tables.

A Sersic profile has no closed Fourier transform; GalSim computes it once per
index and the curve is kept on a fine logarithmic grid of k times half-light
radius. An image is then one table look-up per k, stretched by the ellipse.
The last row of the table is a point source. Moffat profiles (the point spread
functions) are treated the same way, with one row per value of beta.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import gamma, jn, kv

from photospec.utils.optional import optional_imports

__all__ = ["POINT", "RadialTable", "moffat_table", "sersic_table", "spiral_tables"]

POINT = -1.0
"""The `sersic_index` that stands for a point source."""

PITCH_ANGLES = (12.0, 16.0, 20.0, 25.0, 30.0)
"""Pitch angles of spiral arms with a table, degrees."""

TRUNCATION = 8.0
"""Radius, in half-light radii, where profiles of index above 2 end, as in SDSS's photo pipeline.

Stoughton et al. 2002 (AJ 123, 485) smooth the de Vaucouleurs profile to zero
between 7 and 8 half-light radii.
"""

_N_TABLE = 32768  # steps of 0.05 % in k
_LOG_K2 = np.log([1e-6, 1e8])  # limits of ln (k r)^2; below, the transform is 1


@dataclass(frozen=True)
class RadialTable:
    """Fourier transforms of round profiles of unit flux and unit radius, one per row.

    Attributes
    ----------
    parameters : tuple of float
        Profile parameter (Sersic index, Moffat beta) of each row.
    values : ndarray
        Shape (n_rows, n_k), equally spaced in ln k^2.
    """

    parameters: tuple
    values: np.ndarray

    def rows(self, parameters):
        """Return row numbers, shape as `parameters`, of the nearest tabulated profiles."""
        nodes = np.asarray(self.parameters)
        return np.abs(np.asarray(parameters)[..., None] - nodes).argmin(axis=-1)

    def look_up(self, rows, k_squared):
        """Return transforms at squared, radius-scaled frequencies.

        Parameters
        ----------
        rows : ndarray of int
            Shape (n,).
        k_squared : ndarray of float32
            Shape (n, ...), dimensionless; overwritten.
        """
        n_k = self.values.shape[1]
        index = np.log(k_squared, out=k_squared)
        step = (_LOG_K2[1] - _LOG_K2[0]) / (n_k - 1)
        index -= np.float32(_LOG_K2[0] - 0.5 * step)
        index *= np.float32(1 / step)
        np.clip(index, 0, n_k - 1, out=index)
        index = index.astype(np.int32)
        index += np.asarray(rows, np.int32).reshape(-1, *[1] * (index.ndim - 1)) * np.int32(n_k)
        return self.values.ravel().take(index)


def _table(parameters, curves, origin=1.0):
    nodes = np.linspace(*_LOG_K2, curves.shape[1])
    fine = CubicSpline(nodes, curves, axis=1)(np.linspace(*_LOG_K2, _N_TABLE))
    fine[:, 0] = origin
    return RadialTable(tuple(parameters), np.ascontiguousarray(fine, np.float32))


@lru_cache(maxsize=4)
def sersic_table(indices):
    """Return a table of Sersic profiles of unit half-light radius.

    Parameters
    ----------
    indices : tuple of float
        Sersic indices, 0.3 to 6.2; `POINT` for a point source.

    Returns
    -------
    RadialTable
    """
    with optional_imports():
        import galsim

    k = np.exp(0.5 * np.linspace(*_LOG_K2, 700))
    curves = np.ones((len(indices), k.size))
    for curve, index in zip(curves, indices, strict=True):
        if index == POINT:
            continue
        trunc = TRUNCATION if index > 2 else 0.0
        profile = galsim.Sersic(n=index, half_light_radius=1.0, trunc=trunc)
        curve[:] = [profile.kValue(value, 0.0).real for value in k]
    return _table(indices, curves)


@lru_cache(maxsize=1)
def moffat_table():
    """Return a table of Moffat profiles of unit scale radius, beta 1.8 to 6.

    The transform is 2^(2-beta)/Gamma(beta-1) x^(beta-1) K_(beta-1)(x) with x = k times the scale
    radius (Trujillo et al. 2001, MNRAS 328, 977).
    """
    betas = np.linspace(1.8, 6.0, 43)
    k = np.exp(0.5 * np.linspace(*_LOG_K2, 700))
    x, order = np.minimum(k, 600.0), betas[:, None] - 1
    curves = 2 ** (1 - order) / gamma(order) * x**order * kv(order, x)
    return _table(betas, curves)


@lru_cache(maxsize=1)
def spiral_tables():
    """Return tables of two-armed logarithmic spirals in exponential disks of unit half-light
    radius.

    The arms I(r) t(r) cos(2 theta - a ln r), with I the disk of unit flux, a = 2 / tan(pitch) and
    t = r^2 / (r^2 + 1/4) that clears the centre, have the transform
    -[C(k) cos(2 theta_k) + S(k) sin(2 theta_k)], C and S the Hankel transforms of order two of
    I t cos(a ln r) and I t sin(a ln r). Their net flux is zero.

    Returns
    -------
    tuple of RadialTable
        C and S, one row per pitch angle.
    """
    scale = 1 / 1.6783469900166605  # half the light lies inside 1.678 scale lengths
    radius = np.linspace(0, 14 * scale, 6001)[1:]
    ring = np.exp(-radius / scale) / scale**2 * radius * (radius[1] - radius[0])
    ring *= radius**2 / (radius**2 + 0.25)
    k = np.exp(0.5 * np.linspace(*_LOG_K2, 700))
    bessel = np.zeros((k.size, radius.size))
    seen = (k > 1e-2) & (k < 100)
    bessel[seen] = jn(2, k[seen, None] * radius)
    winding = 2 / np.tan(np.deg2rad(PITCH_ANGLES))[:, None] * np.log(radius)
    return tuple(
        _table(PITCH_ANGLES, (ring * wave(winding)) @ bessel.T, 0.0) for wave in (np.cos, np.sin)
    )
