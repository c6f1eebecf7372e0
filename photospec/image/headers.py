"""What the extensions of a FITS file say of themselves: band, role, uncertainty, unit."""

import re

from astropy import units as u

from photospec.errors import InputError
from photospec.image.units import NANOMAGGY, band_names, parse_unit
from photospec.photometry.filters import RESPONSES
from photospec.utils.validity import to_sigma

__all__ = ["bad_pixels", "band_of", "deviation", "is_legacy_cutout", "role_of", "text_card"]

_UNCERTAINTY = {
    "UNCERT": "std", "UNCERTAINTY": "std", "ERR": "std", "ERROR": "std", "SIGMA": "std",
    "STD": "std", "STDDEV": "std", "RMS": "std", "VAR": "var", "VARIANCE": "var",
    "IVAR": "ivar", "INVVAR": "ivar", "INVERSE": "ivar",
}  # fmt: skip
_MASK = {"MASK", "DQ"}
# Weights are known up to a factor only, but what has none holds no information.
_WEIGHT = {"WHT", "WEIGHT", "WEIGHTS"}
# Of the Legacy Surveys: bits that mean another band each.
_BITS = "MASKBITS"
# SURVEY in files of the Legacy Surveys' cutout service.
_LEGACY_SURVEYS = {"DECaLS", "MzLS", "LegacySurvey"}
# CCDData of astropy says the kind of its uncertainty by the name of the class.
_CLASSES = {"StdDevUncertainty": "std", "VarianceUncertainty": "var", "InverseVariance": "ivar"}
_POWER = {"std": 1, "var": 2, "ivar": -2}
_SPACE_FILTER = re.compile(r"F\d{3,4}[A-Z]{1,2}\d?", re.IGNORECASE)  # HST, JWST, Roman


def text_card(header, card):
    """Read text from a header; nothing where the card is absent, a number, or unreadable.

    Parameters
    ----------
    header : astropy.io.fits.Header
    card : str

    Returns
    -------
    str
    """
    try:
        value = header.get(card)
    except Exception:  # astropy parses cards lazily: a broken one counts as absent
        return ""
    return value.strip() if isinstance(value, str) else ""


def role_of(hdu):
    """Tell what an extension holds beside an image, by its name or its IMAGETYP.

    Parameters
    ----------
    hdu : astropy.io.fits.ImageHDU

    Returns
    -------
    str
        "std", "var", "ivar", "mask" (of bad pixels, or weights), "bits" (MASKBITS of the Legacy
        Surveys), or "" for an image.
    """
    name = _first_word(hdu)
    if name == _BITS:
        return "bits"
    return "mask" if name in _MASK | _WEIGHT else _UNCERTAINTY.get(name, "")


def _first_word(hdu):
    name = text_card(hdu.header, "EXTNAME") or text_card(hdu.header, "IMAGETYP")
    return name.upper().replace("-", "_").split("_")[0]


def bad_pixels(hdu):
    """Read which pixels are bad from an extension that is a mask, or holds weights.

    Parameters
    ----------
    hdu : astropy.io.fits.ImageHDU

    Returns
    -------
    ndarray of bool
    """
    return ~(hdu.data > 0) if _first_word(hdu) in _WEIGHT else hdu.data != 0


def is_legacy_cutout(header):
    """Tell whether a file is of the Legacy Surveys' cutout service.

    Such files have no unit (they are in nanomaggies), and are zero where nothing was observed.

    Parameters
    ----------
    header : astropy.io.fits.Header

    Returns
    -------
    bool
    """
    return text_card(header, "SURVEY") in _LEGACY_SURVEYS and bool(text_card(header, "BANDS"))


def deviation(hdu):
    """Read standard deviations from an extension with any kind of uncertainty.

    Parameters
    ----------
    hdu : astropy.io.fits.ImageHDU

    Returns
    -------
    sigma : ndarray
        As from `photospec.utils.validity.to_sigma`.
    unit : astropy.units.Unit or None
        By BUNIT; None where there is none: then it is that of the data.

    Raises
    ------
    InputError
        If the unit is no unit, or not that of a flux, its square or its inverse square.
    """
    kind = _CLASSES.get(text_card(hdu.header, "UTYPE"), role_of(hdu))
    sigma = to_sigma(hdu.data, kind)
    unit = parse_unit(hdu.header.get("BUNIT"))
    if unit is None or kind == "std" or _is_flux(unit):
        return sigma, unit  # a variance "in nanomaggy" has the header of the data it belongs to
    root = unit ** (1 / _POWER[kind])
    if not _is_flux(root):
        power = {"var": "squared", "ivar": "to the power of minus two"}[kind]
        raise InputError(
            f"unit: expected a flux unit {power} in extension {role_of(hdu)}, got '{unit}'"
        )
    return sigma, root


def _is_flux(unit):
    if isinstance(unit, u.function.FunctionUnitBase):
        return True
    densities = (NANOMAGGY, u.Jy, u.W / u.m**3)
    areas = (u.one, u.pix**-1, u.sr**-1)
    return any(unit.is_equivalent(density * area) for density in densities for area in areas)


def band_of(hdu, asked=()):
    """Tell the band of a two-dimensional image and what it holds.

    Parameters
    ----------
    hdu : astropy.io.fits.ImageHDU
    asked : sequence of str
        Names of bands that somebody asked for. Beside these only bands that
        `photospec.photometry.RESPONSES` names, and those of HST and JWST, are known: files hold
        extensions of other kinds too.

    Returns
    -------
    band : str or None
        By EXTNAME, FILTER or BAND.
    role : str
        As in `role_of`.
    """
    role = role_of(hdu)
    name = text_card(hdu.header, "EXTNAME")
    if role:
        name = name[len(name.split("_")[0].split("-")[0]) + 1 :]
    for text in (name, *(text_card(hdu.header, card) for card in ("FILTER", "BAND"))):
        # Filter cards go on after the name: "r DECam SDSS c0002 6415.0 1480.0".
        for word in filter(None, (text, text.split(" ")[0])):
            band = _known(word, asked)
            if band is not None:
                return band, role
    return None, role


def _known(text, asked):
    for names in (asked, RESPONSES):
        if text in names:
            return text
    try:
        (band,) = band_names([text])
    except InputError:
        return None
    for names in (asked, [name for name in RESPONSES if len(name) > 1], "ugriz"):
        for name in names:
            if name.lower() == band.lower():
                return name
    return text if _SPACE_FILTER.fullmatch(text) else None
