"""Dust curves k(lambda) = A(lambda) / E(B-V).

Both curves come in the same normalisation, so `attenuate` takes either; divide by the
curve's R_V for A(lambda)/A_V.
"""

import numpy as np
from dust_extinction.parameter_averages import CCM89

from photospec.errors import InputError

__all__ = ["attenuate", "calzetti00", "cardelli89"]

CALZETTI_RV = 4.05


def _in_range(wavelength, low, high, paper):
    wavelength = np.asarray(wavelength, dtype=float)
    if wavelength.size and not (wavelength.min() >= low and wavelength.max() <= high):
        raise InputError(
            f"wavelength: expected {low:g} to {high:g} Angstrom for the curve of {paper}, got "
            f"{wavelength.min():g} to {wavelength.max():g}; is it in another unit?"
        )
    return wavelength


def calzetti00(wavelength, *, rv=CALZETTI_RV):
    """Attenuation of starlight in star-forming galaxies (Calzetti et al. 2000, eq. 4).

    Parameters
    ----------
    wavelength : array_like
        Rest frame, Angstrom, 1200 to 22000.
    rv : float
        A_V / E(B-V), 4.05 in the paper.

    Returns
    -------
    ndarray
        A(lambda) / E(B-V) of the stellar continuum, same shape.

    Raises
    ------
    InputError
        Outside the range of the paper.
    """
    micron = _in_range(wavelength, 1200, 22000, "Calzetti et al. (2000)") / 1e4
    inverse = 1 / micron
    red = 2.659 * (-1.857 + 1.040 * inverse)
    blue = 2.659 * (-2.156 + inverse * (1.509 + inverse * (-0.198 + 0.011 * inverse)))
    return np.where(micron >= 0.63, red, blue) + rv


def cardelli89(wavelength, *, rv=3.1):
    """Extinction law of the Milky Way (Cardelli, Clayton & Mathis 1989, eq. 1 to 5).

    Parameters
    ----------
    wavelength : array_like
        Rest frame, Angstrom, 1000 to 33333.
    rv : float
        A_V / E(B-V), 2 to 6.

    Returns
    -------
    ndarray
        A(lambda) / E(B-V), same shape.

    Raises
    ------
    InputError
        Outside the range of the paper.
    """
    wavelength = _in_range(wavelength, 1000, 33333, "Cardelli et al. (1989)")
    if not 2 <= rv <= 6:
        raise InputError(f"rv: expected a number between 2 and 6, got {rv!r}; is it E(B-V)?")
    inverse = np.atleast_1d(1e4 / wavelength)
    return rv * CCM89.evaluate(inverse, rv).reshape(wavelength.shape)


def attenuate(flux, curve, ebv):
    """Dim spectra by dust: flux * 10^(-0.4 E(B-V) k).

    Parameters
    ----------
    flux : array_like (..., n_wave)
        Any unit.
    curve : array_like (n_wave,)
        k(lambda) from one of the functions here.
    ebv : array_like (...)
        Colour excess in magnitudes, one per spectrum.

    Returns
    -------
    ndarray (..., n_wave)
    """
    return np.asarray(flux) * 10 ** (-0.4 * np.asarray(ebv)[..., None] * np.asarray(curve))
