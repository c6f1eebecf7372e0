"""What the headers of FITS images say."""

import warnings

import numpy as np
from astropy.wcs import WCS, FITSFixedWarning

from photospec.errors import InputError
from photospec.image.units import band_names

__all__ = ["band_of", "celestial", "deviation", "role_of"]

_UNCERTAINTY = {
    "UNCERT": "std", "UNCERTAINTY": "std", "ERR": "std", "ERROR": "std", "SIGMA": "std",
    "STD": "std", "VAR": "var", "VARIANCE": "var", "IVAR": "ivar", "INVVAR": "ivar",
}  # fmt: skip
_MASK = {"MASK", "DQ"}


def celestial(header):
    """Celestial WCS of a header.

    Parameters
    ----------
    header : astropy.io.fits.Header

    Returns
    -------
    astropy.wcs.WCS or None
        Two-dimensional; None where there is none, or a broken one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(header).celestial
        except Exception:  # a broken WCS is as good as none; the pixel scale check follows
            return None
    return wcs if wcs.has_celestial else None


def role_of(hdu):
    """Tell what an extension holds beside an image, by its name.

    Parameters
    ----------
    hdu : astropy.io.fits.ImageHDU

    Returns
    -------
    str
        "std", "var", "ivar", "mask", or "" for an image.
    """
    name = hdu.name.upper().replace("-", "_").split("_")[0]
    return "mask" if name in _MASK else _UNCERTAINTY.get(name, "")


def deviation(hdu):
    """Read standard deviations from an extension with any kind of uncertainty.

    Parameters
    ----------
    hdu : astropy.io.fits.ImageHDU

    Returns
    -------
    ndarray
    """
    kind = {"StdDevUncertainty": "std", "VarianceUncertainty": "var", "InverseVariance": "ivar"}
    kind = kind.get(hdu.header.get("UTYPE"), role_of(hdu))
    values = hdu.data.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "var":
            return np.sqrt(values)
        return 1 / np.sqrt(values) if kind == "ivar" else values


def band_of(hdu):
    """Tell the band of a two-dimensional image and what it holds.

    Parameters
    ----------
    hdu : astropy.io.fits.ImageHDU

    Returns
    -------
    band : str or None
    role : str
        As in `role_of`.
    """
    role = role_of(hdu)
    name = hdu.name
    if role:
        name = name[len(name.split("_")[0].split("-")[0]) + 1 :]
    for text in (name, hdu.header.get("FILTER"), hdu.header.get("BAND")):
        if text:
            try:
                found = band_names([text])
            except InputError:
                continue
            return found[0], role
    return None, role
