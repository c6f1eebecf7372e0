"""Dust curves k(lambda) = A(lambda) / E(B-V), and the Milky Way's dust in front of everything.

The curves come in the same normalisation, so `attenuate` takes each of them; divide by the
curve's R_V for A(lambda)/A_V.

E(B-V) of the Milky Way is on the scale of the map of Schlegel, Finkbeiner & Davis (1998, SFD),
as archives and map readers give it. Schlafly & Finkbeiner (2011) found that map too high and the
curve of Fitzpatrick (1999) right: `BAND_EXTINCTION` holds their coefficients for images,
`galactic_extinction` the curve for spectra that belongs to them.
"""

import numbers
from collections.abc import Sequence

import numpy as np
from astropy import units as u
from dust_extinction.parameter_averages import CCM89, F99
from numpy.typing import ArrayLike

from photospec.errors import InputError

__all__ = [
    "ASSUMED_EBV",
    "BAND_EXTINCTION",
    "MAX_EBV",
    "attenuate",
    "attenuation_curve",
    "band_extinction",
    "calzetti00",
    "cardelli89",
    "check_ebv",
    "galactic_extinction",
    "galactic_transmission",
    "response_camera",
    "response_extinction",
    "transmission",
]

CALZETTI_RV = 4.05  # Calzetti et al. (2000, ApJ 533, 682), equation 5
CARDELLI_RV = 3.1  # the mean of the diffuse medium: Cardelli et al. (1989, ApJ 345, 245)

#: A_band / E(B-V)_SFD of each camera's bands: Schlafly & Finkbeiner (2011, ApJ 737, 103),
#: table 6, R_V = 3.1; "decam" is their DES set.
BAND_EXTINCTION = {
    "sdss": {"u": 4.239, "g": 3.303, "r": 2.285, "i": 1.698, "z": 1.263},
    "decam": {"g": 3.237, "r": 2.176, "i": 1.595, "z": 1.217, "Y": 1.058},
}
#: E(B-V) assumed for images without one, mag: the median over the SDSS footprint.
ASSUMED_EBV = 0.03
#: Above this no galaxy is seen in the optical: a larger number is in another unit.
MAX_EBV = 5.0
# E(B-V) over that of the SFD map in the coefficients above: table 6 has A_B = 3.626 and
# A_V = 2.742 for Landolt's bands. (The 0.86 of their abstract is measured on spectra.)
_RECALIBRATION = 0.884
# Groups of response curves whose coefficients are published.
_PUBLISHED = {"sdss2010": "sdss", "decam2014": "decam"}


def check_ebv(value: float | u.Quantity, name: str = "galactic_ebv") -> float:
    """Return E(B-V) as a float, mag, or refuse it.

    Parameters
    ----------
    value : float or Quantity
        Mag, on the scale of the map of Schlegel, Finkbeiner & Davis (1998).
    name : str
        What to call it in an error.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If it is not one number from 0 to 5.

    Examples
    --------
    >>> from photospec.dust import check_ebv
    >>> check_ebv(0.12)
    0.12
    """
    given = value
    if isinstance(value, u.Quantity):
        try:
            value = value.to_value(u.mag)
        except u.UnitConversionError:
            raise InputError(f"{name}: expected E(B-V) in mag, got {given}") from None
    if isinstance(value, np.ndarray) and value.ndim == 0 and not np.ma.is_masked(value):
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise InputError(
            f"{name}: expected one number, E(B-V) in mag, got {given!r}; give one per image"
        )
    if not 0 <= value <= MAX_EBV:
        raise InputError(
            f"{name}: expected E(B-V) from 0 to {MAX_EBV:g} mag, got {value:g}; is it another "
            "quantity, or a mark for a missing one?"
        )
    return float(value)


def _in_range(wavelength, low, high, paper):
    wavelength = np.asarray(wavelength, dtype=float)
    if wavelength.size and not (wavelength.min() >= low and wavelength.max() <= high):
        raise InputError(
            f"wavelength: expected {low:g} to {high:g} Angstrom for the curve of {paper}, got "
            f"{wavelength.min():g} to {wavelength.max():g}; is it in another unit?"
        )
    return wavelength


def calzetti00(wavelength: ArrayLike, *, rv: float = CALZETTI_RV) -> np.ndarray:
    """Return the attenuation of starlight in star-forming galaxies (Calzetti et al. 2000, eq. 4).

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


def cardelli89(wavelength: ArrayLike, *, rv: float = CARDELLI_RV) -> np.ndarray:
    """Return the extinction law of the Milky Way (Cardelli, Clayton & Mathis 1989, eq. 1 to 5).

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


def galactic_extinction(wavelength: ArrayLike) -> np.ndarray:
    """Return the extinction by the Milky Way per unit of E(B-V) of the SFD map.

    Fitzpatrick (1999) with R_V = 3.1, with the normalisation of table 6 of Schlafly &
    Finkbeiner (2011): through the bands it gives `BAND_EXTINCTION` within 1.5 %.

    Parameters
    ----------
    wavelength : array_like
        Observed frame, Angstrom, 1000 to 33333.

    Returns
    -------
    ndarray
        A(lambda) / E(B-V)_SFD, same shape.

    Raises
    ------
    InputError
        Outside the range of the paper.

    Examples
    --------
    >>> from photospec.dust import galactic_extinction
    >>> galactic_extinction([4000.0, 6000.0, 8000.0]).round(2)
    array([3.9 , 2.38, 1.52])
    """
    wavelength = _in_range(wavelength, 1000, 33333, "Fitzpatrick (1999)")
    inverse = np.atleast_1d(1e4 / wavelength)
    curve = F99(Rv=3.1).evaluate(inverse, 3.1).reshape(wavelength.shape)
    return _RECALIBRATION * 3.1 * curve


def band_extinction(bands: Sequence[str], camera: str = "sdss") -> np.ndarray:
    """Return the extinction in bands per unit of E(B-V) of the SFD map.

    Parameters
    ----------
    bands : sequence of str
        Names of the bands. Of those without a published coefficient in `BAND_EXTINCTION` it is
        that of `galactic_extinction` at the band's effective wavelength, or at 3.3 micron beyond.
    camera : {"sdss", "decam"}
        Whose bands the letters are.

    Returns
    -------
    ndarray (n_bands,)
        A_band / E(B-V)_SFD.

    Raises
    ------
    InputError
        If camera or band is not known.

    Examples
    --------
    >>> from photospec.dust import band_extinction
    >>> band_extinction("gri")
    array([3.303, 2.285, 1.698])
    """
    if camera not in BAND_EXTINCTION:
        raise InputError(
            f"camera: expected one out of {', '.join(BAND_EXTINCTION)}, got {camera!r}; Galactic "
            "extinction is known for these"
        )
    known = BAND_EXTINCTION[camera]
    return np.array([known[b] if b in known else _of_band(b) for b in bands])


def response_camera(response: str) -> str | None:
    """Return the camera of a response curve, a key of `BAND_EXTINCTION`; None for any other.

    Parameters
    ----------
    response : str
        As in `response_extinction`.

    Examples
    --------
    >>> from photospec.dust import response_camera
    >>> response_camera("decam2014-g"), response_camera("u"), response_camera("VIS")
    ('decam', 'sdss', None)
    """
    from photospec.photometry.filters import load_band

    return _PUBLISHED.get(load_band(response).name.partition("-")[0])


def response_extinction(response: str) -> float:
    """Return the extinction through a response curve per unit of E(B-V) of the SFD map.

    The published coefficient in `BAND_EXTINCTION` for the curves of its cameras, else the mean of
    `galactic_extinction` over a flat spectrum behind E(B-V) = 0.1.

    Parameters
    ----------
    response : str
        Name of a band or response curve, see `photospec.photometry.filters.load_band`.

    Returns
    -------
    float

    Examples
    --------
    >>> from photospec.dust import response_extinction
    >>> response_extinction("decam2014-g")
    3.237
    """
    from photospec.photometry.filters import load_band

    curve = load_band(response)
    camera, _, band = curve.name.partition("-")
    if camera in _PUBLISHED and band in BAND_EXTINCTION[_PUBLISHED[camera]]:
        return BAND_EXTINCTION[_PUBLISHED[camera]][band]
    inside = curve.response > 0
    wavelength, weight = curve.wavelength[inside], curve.response[inside] / curve.wavelength[inside]
    through = 10 ** (-0.4 * galactic_extinction(wavelength) * 0.1)
    share = np.trapezoid(weight * through, wavelength) / np.trapezoid(weight, wavelength)
    return float(-25 * np.log10(share))


def _of_band(band):
    from photospec.photometry.filters import effective_wavelength

    return float(galactic_extinction(min(effective_wavelength(band), 33333.0)))


# Curves by the names that simulated galaxies have, and their R_V.
_LAWS = {"calzetti00": (calzetti00, CALZETTI_RV), "cardelli89": (cardelli89, CARDELLI_RV)}


def transmission(curve: ArrayLike, ebv: ArrayLike) -> np.ndarray:
    """Return what dust leaves of the light: 10^(-0.4 E(B-V) k).

    Parameters
    ----------
    curve : array_like (n_wave,)
        k(lambda) from one of the functions here.
    ebv : array_like (...)
        Colour excess in magnitudes, one per spectrum; negative to take dust away.

    Returns
    -------
    ndarray (..., n_wave)

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.dust import galactic_extinction, transmission
    >>> transmission(galactic_extinction(np.array([4000.0, 8000.0])), 0.1).round(3)
    array([0.698, 0.87 ])
    """
    return 10 ** (-0.4 * np.asarray(ebv)[..., None] * np.asarray(curve))


def galactic_transmission(wavelength: ArrayLike, ebv: ArrayLike) -> np.ndarray:
    """Return what the Milky Way's dust leaves of the light, by `galactic_extinction`.

    Parameters
    ----------
    wavelength : array_like (n_wave,)
        Observed, Angstrom.
    ebv : array_like (...)
        E(B-V) on the scale of the SFD map, mag; negative to take the dust away.

    Returns
    -------
    ndarray (..., n_wave)
    """
    return transmission(galactic_extinction(wavelength), ebv)


def attenuation_curve(law: str, wavelength: ArrayLike) -> np.ndarray:
    """Return A(lambda) / A_V of starlight by the name of its law.

    Parameters
    ----------
    law : {"calzetti00", "cardelli89"}
    wavelength : array_like
        Rest frame, Angstrom.

    Returns
    -------
    ndarray, same shape
    """
    curve, rv = _LAWS[law]
    return curve(wavelength) / rv


def attenuate(flux: ArrayLike, curve: ArrayLike, ebv: ArrayLike) -> np.ndarray:
    """Dim spectra by dust: flux * 10^(-0.4 E(B-V) k).

    Parameters
    ----------
    flux : array_like (..., n_wave)
        Any unit.
    curve : array_like (n_wave,)
        k(lambda) from one of the functions here.
    ebv : array_like (...)
        Colour excess in magnitudes, one per spectrum; negative to take dust away.

    Returns
    -------
    ndarray (..., n_wave)
    """
    return np.asarray(flux) * transmission(curve, ebv)
