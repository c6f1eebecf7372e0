"""Attenuation curves as A(lambda) / A_V, and the Milky Way's extinction."""

from __future__ import annotations

import numpy as np

from photospec.dust import calzetti00, cardelli89, galactic_extinction

__all__ = ["attenuation_curve", "galactic_transmission"]

_CURVES = {"calzetti00": (calzetti00, 4.05), "cardelli89": (cardelli89, 3.1)}


def attenuation_curve(law, wavelength):
    """Return A(lambda) / A_V of one of `galaxies.DUST_LAWS` at rest wavelengths in Angstrom."""
    curve, rv = _CURVES[law]
    return curve(wavelength) / rv


def galactic_transmission(wavelength, ebv):
    """Return the share of light that the Milky Way lets through, see `photospec.dust`.

    Parameters
    ----------
    wavelength : ndarray, shape (n_w,)
        Observed, Angstrom.
    ebv : ndarray, shape (n,)
        E(B-V), mag, on the scale of the SFD map.

    Returns
    -------
    ndarray, shape (n, n_w)
    """
    magnitude = np.atleast_1d(ebv)[:, None] * galactic_extinction(wavelength)
    return np.exp(-0.4 * np.log(10) * magnitude)
