"""The smooth correction that brings the templates onto the colours of real galaxies."""

from __future__ import annotations

import numpy as np

__all__ = ["CORRECTION_MAGNITUDE", "CORRECTION_WAVELENGTH", "template_correction"]

CORRECTION_WAVELENGTH = np.array([2800.0, 3400, 3900, 4300, 4800, 5500, 6200, 7000, 8000, 9500])
"""Rest-frame knots, Angstrom."""

CORRECTION_MAGNITUDE = np.array(
    [0.25, -0.043, -0.004, -0.019, -0.06, 0.054, -0.008, 0.018, 0.021, 0.041]
)
"""Correction at the knots, mag (positive makes the templates fainter)."""


def template_correction(wavelength):
    """Return the factor on the templates at rest-frame wavelengths in Angstrom.

    As in template-fitting photometric redshifts (e.g. Ilbert et al. 2006, A&A 457, 841, sect. 4),
    residuals between templates and galaxies of known redshift become a smooth vector: here a
    piecewise linear one in log wavelength, fitted by benchmarks/simulation_calibration.py.
    """
    magnitude = np.interp(np.log(wavelength), np.log(CORRECTION_WAVELENGTH), CORRECTION_MAGNITUDE)
    return 10 ** (-0.4 * magnitude)
