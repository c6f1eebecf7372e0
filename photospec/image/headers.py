"""FITS files of images: opening them, and what their headers say."""

import bz2
import gzip
import io
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from photospec.errors import InputError
from photospec.image.units import band_names

__all__ = ["band_of", "celestial", "deviation", "open_fits", "role_of"]

_UNCERTAINTY = {
    "UNCERT": "std", "UNCERTAINTY": "std", "ERR": "std", "ERROR": "std", "SIGMA": "std",
    "STD": "std", "VAR": "var", "VARIANCE": "var", "IVAR": "ivar", "INVVAR": "ivar",
}  # fmt: skip
_MASK = {"MASK", "DQ"}


def open_fits(path):
    """Open a FITS file whole into memory, or say in one line why not.

    Parameters
    ----------
    path : path-like
        May be compressed by gzip or bzip2.

    Returns
    -------
    astropy.io.fits.HDUList
        Closed, with all data loaded.

    Raises
    ------
    InputError
        If it is missing, empty, truncated or no FITS file.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"path: expected a FITS file, got {path} which does not exist")
    if path.is_dir():
        raise InputError(f"path: expected a FITS file, got the folder {path}")
    if path.stat().st_size == 0:
        raise InputError(f"path: expected a FITS file, got the empty file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*")
            # In memory: astropy would leave a damaged file open, and seeking in a
            # compressed stream would unpack it anew each time.
            source = path.read_bytes()
            for magic, unpack in ((b"BZh", bz2.decompress), (b"\x1f\x8b", gzip.decompress)):
                if source.startswith(magic):
                    source = unpack(source)
            with fits.open(io.BytesIO(source), memmap=False, lazy_load_hdus=False) as hdus:
                for hdu in hdus:
                    _ = hdu.data
    except Exception as error:  # astropy raises many kinds on damaged files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        cause = "is it another kind of file?"
        if not isinstance(error, OSError) or "truncated" in reason or "SIMPLE" not in reason:
            cause = "is the download incomplete?"
        raise InputError(
            f"path: expected a FITS file, got {path} which cannot be read ({reason[:80]}); {cause}"
        ) from None
    return hdus


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
