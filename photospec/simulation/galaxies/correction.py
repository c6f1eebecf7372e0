"""The smooth correction that brings the templates onto the colours of real galaxies."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

__all__ = [
    "CORRECTION_MAGNITUDE", "CORRECTION_WAVELENGTH", "YOUNG_MAGNITUDE", "YOUNG_WAVELENGTH",
    "template_correction", "youth",
]  # fmt: skip

CORRECTION_WAVELENGTH = np.array(
    [2700.0, 3300, 3700, 4100, 4500, 5000, 5600, 6300, 7100, 8000, 9000, 10500]
)
"""Rest-frame knots, Angstrom."""

CORRECTION_MAGNITUDE = np.array(
    [0.301, 0.160, 0.064, -0.007, -0.031, 0.018, 0.024, 0.003, -0.014, -0.013, -0.033, 0.026]
)
"""Correction at the knots, mag (positive makes the templates fainter)."""

YOUNG_WAVELENGTH = np.array(
    [2800.0, 3300, 3800, 4400, 5000, 5700, 6300, 6900, 7500, 8100, 8800, 10000]
)
"""Rest-frame knots of what young stars have besides, Angstrom."""

YOUNG_MAGNITUDE = np.array(
    [-0.018, -0.006, 0.026, 0.021, -0.008, -0.009, -0.021, -0.035, 0.030, 0.067, 0.033, 0.000]
)
"""The same for stars of less than 600 Myr, mag; none for those older than 6 Gyr."""


def template_correction(wavelength, age=1e10):
    """Return the factor on the templates.

    As in template-fitting photometric redshifts (e.g. Ilbert et al. 2006, A&A 457, 841, sect. 4),
    residuals between templates and galaxies of known redshift become a smooth vector: here
    natural cubic splines in log wavelength, constant beyond their knots, fitted by
    benchmarks/simulation_fit.py.

    Parameters
    ----------
    wavelength : ndarray
        Rest frame, Angstrom.
    age : float
        Of the stars, yr.

    Returns
    -------
    ndarray
    """
    magnitude = _spline(CORRECTION_WAVELENGTH, CORRECTION_MAGNITUDE, wavelength)
    magnitude = magnitude + youth(age) * _spline(YOUNG_WAVELENGTH, YOUNG_MAGNITUDE, wavelength)
    return 10 ** (-0.4 * magnitude)


def youth(age):
    """Return 1 for stars of less than 600 Myr, 0 for more than 6 Gyr, straight in log age."""
    return np.clip(np.log10(6e9) - np.log10(age), 0, 1)


def _spline(knots, values, wavelength):
    knots = np.log(knots)
    at = np.clip(np.log(wavelength), knots[0], knots[-1])
    return CubicSpline(knots, values, bc_type="natural")(at)
