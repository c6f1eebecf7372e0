"""Band names and flux units of images."""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from astropy import units as u

from photospec.errors import InputError
from photospec.photometry.filters import SDSS_BANDS, effective_wavelength

__all__ = [
    "NANOMAGGY",
    "band_label",
    "band_names",
    "parse_unit",
    "sigma_to_nanomaggies",
    "to_nanomaggies",
]

#: Flux unit of all images: 1e-9 of the AB reference source, 3.631e-6 Jy.
NANOMAGGY = u.nmgy
_AB_JANSKY = 3631.0  # of magnitude zero: Oke & Gunn (1983, ApJ 266, 713)
_SPELLINGS = {
    "nanomaggy": "nmgy", "nanomaggies": "nmgy", "nanomaggys": "nmgy", "nmgy": "nmgy",
    "maggy": "mgy", "maggies": "mgy", "jansky": "Jy", "microjansky": "uJy",
}  # fmt: skip
# Bands whose names are one letter: text without commas or blanks is read letter by letter
# when it has these only, and each once ("ugriz", "grzY", "YJH"), else as one name ("VIS").
_LETTERS = set("ugrizyYJHK")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
# The SDSS bands may carry the survey's name, and capitals.
_SDSS = {
    spelling: band
    for band in SDSS_BANDS
    for spelling in (band, *(f"sdss{joint}{band}" for joint in ("", "_", "-", " ", ".")))
}


def band_names(bands: str | Sequence[str], argument: str = "bands") -> tuple[str, ...]:
    """Read band names: ``"ugriz"``, ``"u,g,VIS"``, ``("SDSS_u", "W1")`` -> ``("u", "W1")``.

    Parameters
    ----------
    bands : str or sequence of str
        Any names. A leading "SDSS" is dropped, and "UGRIZ" are read as "ugriz"; all others
        are taken as they are.
    argument : str
        What to call it in an error.

    Returns
    -------
    tuple of str

    Raises
    ------
    InputError
        If there is no name, something is none, or one is given twice.

    Examples
    --------
    >>> band_names("grz")
    ('g', 'r', 'z')
    >>> band_names("VIS, Y, J, H")
    ('VIS', 'Y', 'J', 'H')
    """
    try:
        return _band_names(bands if isinstance(bands, str) else tuple(bands), argument)
    except TypeError:  # neither text nor a sequence of names: to be told as it was given
        return _band_names.__wrapped__(bands, argument)


@lru_cache(maxsize=256)  # every image brings its bands, most of them the same
def _band_names(bands, argument):
    given = bands
    if isinstance(bands, str):
        text = bands.replace(";", ",").strip()
        bands = [part.strip() for part in text.split(",")] if "," in text else text.split()
        if len(bands) == 1 and bands[0].lower() not in _SDSS:
            word = bands[0] if set(bands[0]) <= _LETTERS else bands[0].lower()
            if set(word) <= _LETTERS and len(set(word)) == len(word):
                bands = list(word)
    try:
        names = [band.decode() if isinstance(band, bytes) else band for band in bands]
    except (TypeError, UnicodeDecodeError):
        names = []
    names = [name.strip() if isinstance(name, str) else name for name in names]
    # Capitals are SDSS bands where all are ("UGRIZ"); among others they are other bands ("UBVRI").
    capitals = all(str(name).lower() in _SDSS for name in names)
    names = [
        _SDSS.get(str(name).lower(), name) if capitals or len(str(name)) > 1 else name
        for name in names
    ]
    wrong = [name for name in names if not (isinstance(name, str) and _NAME.fullmatch(name))]
    if wrong or not names:
        raise InputError(
            f"{argument}: expected band names such as 'ugriz' or ('g', 'VIS', 'W1'), got "
            f"{', '.join(map(repr, wrong)) or repr(given)}"
        )
    if len(set(names)) < len(names):
        raise InputError(f"{argument}: expected each band once, got {', '.join(names)}")
    return tuple(names)


def band_label(bands):
    """Write band names as `band_names` reads them: ``"ugriz"``, or ``"g,VIS,W1"``.

    Parameters
    ----------
    bands : sequence of str

    Returns
    -------
    str

    Examples
    --------
    >>> band_label(("g", "r", "z")), band_label(("VIS", "Y"))
    ('grz', 'VIS,Y')
    """
    return ("" if set(bands) <= _LETTERS else ",").join(bands)


@lru_cache(maxsize=64)  # surveys ask for the same one image by image
def parse_unit(text):
    """Turn a header's BUNIT into a unit, knowing the spellings surveys use.

    Parameters
    ----------
    text : str or Unit or None
        Such as ``"nanomaggies"``, or ``"1/nanomaggy**2"`` of an inverse variance.

    Returns
    -------
    astropy.units.Unit or None
        None when there is none.

    Raises
    ------
    InputError
        If the text is no unit.
    """
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    if not isinstance(text, str):
        return u.Unit(text)
    words = re.sub(r"\s*/\s*pix(el)?$", "", text.strip())
    words = re.sub(r"[A-Za-z]+", lambda word: _SPELLINGS.get(word[0].lower(), word[0]), words)
    try:
        return u.Unit(words)
    except (ValueError, TypeError):
        raise InputError(
            f"unit: expected a flux unit that astropy knows, got {text!r}; "
            "set BUNIT, for example to 'nanomaggy' or 'uJy'"
        ) from None


def to_nanomaggies(data, unit, bands, pixel_area=None):
    """Convert images to nanomaggies.

    Parameters
    ----------
    data : ndarray (n_bands, ...)
        Any numbers, in `unit`.
    unit : astropy.units.Unit
        Nanomaggies, flux density per frequency or wavelength, AB magnitudes, or one of the
        linear ones per solid angle.
    bands : sequence of str
        For per-wavelength units: taken at the effective wavelength.
    pixel_area : Quantity, optional
        Solid angle of a pixel, for units of surface brightness.

    Returns
    -------
    ndarray (n_bands, ...)

    Raises
    ------
    InputError
        If the unit is missing or is no flux.
    """
    if unit is None:
        raise InputError(
            "unit: expected a flux unit such as nanomaggy or Jy, got none; "
            "give it as NDData(data, unit=...) or as BUNIT in the file"
        )
    if unit is NANOMAGGY:
        return data
    unit = u.Unit(unit)
    if isinstance(unit, u.function.FunctionUnitBase):
        with np.errstate(over="ignore", invalid="ignore"):
            linear = u.Magnitude(data, unit).physical if unit.is_equivalent(u.mag(u.AB)) else None
        if linear is None:
            raise _no_flux(unit)
        return to_nanomaggies(linear.value, linear.unit, bands, pixel_area)
    if unit == NANOMAGGY:
        return data
    factors = np.array([_factor(unit, band, pixel_area) for band in bands])
    return data * factors.reshape(-1, *[1] * (np.ndim(data) - 1))


def _factor(unit, band, pixel_area):
    per_pixel = [1 * unit, 1 * unit * u.pix]
    if pixel_area is not None:
        per_pixel.append(unit * pixel_area)
    for value in per_pixel:
        if value.unit.is_equivalent(NANOMAGGY):
            return value.to_value(NANOMAGGY)
        if value.unit.is_equivalent(u.Jy):
            return value.to_value(u.Jy) * 1e9 / _AB_JANSKY
        if value.unit.is_equivalent(u.W / u.m**3):
            # Only here does the wavelength of the band matter.
            density = u.spectral_density(effective_wavelength(band) * u.AA)
            return value.to_value(u.Jy, density) * 1e9 / _AB_JANSKY
    raise _no_flux(unit)


def _no_flux(unit):
    return InputError(
        f"unit: expected a flux unit such as nanomaggy, Jy or erg/s/cm2/Angstrom, got "
        f"'{unit}'; are these uncalibrated counts?"
    )


def sigma_to_nanomaggies(sigma, unit, flux, bands, pixel_area=None):
    """Convert standard deviations of images to nanomaggies.

    Parameters
    ----------
    sigma : ndarray (n_bands, ...)
        Standard deviations, in `unit`.
    unit : astropy.units.Unit
        Any unit of `to_nanomaggies`, not necessarily that of the data, or magnitudes.
    flux : ndarray, same shape
        The images in nanomaggies: an error in magnitudes is one relative to the flux.
    bands : sequence of str
        As in `to_nanomaggies`.
    pixel_area : Quantity, optional
        As in `to_nanomaggies`.

    Returns
    -------
    ndarray (n_bands, ...)
    """
    unit = None if unit is None else u.Unit(unit)
    if unit == u.mag or isinstance(unit, u.MagUnit):
        return 0.4 * np.log(10) * np.abs(flux) * sigma  # first order, dm = 2.5 / ln(10) df / f
    return to_nanomaggies(sigma, unit, bands, pixel_area)
