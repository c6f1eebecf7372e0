"""Open FITS files of others, whole or damaged, without taking more memory than is allowed."""

import io
import re
import warnings
from pathlib import Path

from astropy.io import fits

from photospec.errors import InputError
from photospec.utils.reading import one_line, unpack

__all__ = ["open_fits"]

# Longest header, in bytes: 200,000 cards. Where no header ends within this there is none: astropy
# would look through all that follows, a minute for each gigabyte of zeros.
LONGEST_HEADER = 2**24
_END = b"END" + b" " * 77
# astropy makes a list of so many axes or columns before it looks at the data.
_COUNTS = re.compile(rb"(NAXIS   |TFIELDS )= *0*([0-9]+)")


def open_fits(path, *, load=True):
    """Open a FITS file whole into memory, or say in one line why not.

    Parameters
    ----------
    path : path-like
        May be compressed by gzip or bzip2.
    load : bool
        Whether to unpack the data. Without, compressed images are unpacked where they are looked
        at: for a part of a large one, see ``section`` of astropy's HDUs.

    Returns
    -------
    astropy.io.fits.HDUList
        With all data loaded, or in memory as they are in the file.

    Raises
    ------
    InputError
        If it is missing, empty, truncated or no FITS file.

    Examples
    --------
    >>> open_fits("nowhere.fits")
    Traceback (most recent call last):
    ...
    photospec.errors.InputError: path: expected a FITS file, got nowhere.fits which does not exist
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
            source = unpack(path.read_bytes(), path)
            hdus = _read_all(source, load)
    except InputError:
        raise
    except Exception as error:  # astropy raises many kinds on damaged files
        reason = one_line(error, 80)
        cause = "is it another kind of file?"
        if not isinstance(error, OSError) or "truncated" in reason or "SIMPLE" not in reason:
            cause = "is the download incomplete?"
        raise InputError(
            f"path: expected a FITS file, got {path} which cannot be read ({reason}); {cause}"
        ) from None
    return hdus


def _read_all(source, load):
    """Read the HDUs of a file into memory; what follows the last header is left alone."""
    found, position = [], 0
    if not _header_at(source, position):
        raise OSError("no SIMPLE card, or a header without end")
    hdus = fits.open(io.BytesIO(source), memmap=False, lazy_load_hdus=True)
    while _header_at(source, position):
        try:
            hdu = hdus[len(found)]
        except IndexError:
            break
        if load:
            _ = hdu.data
        found.append(hdu)
        place = hdu.fileinfo()
        position = place["datLoc"] + place["datSpan"]
    if load:
        hdus.close()
    return fits.HDUList(found)


def _header_at(source, position):
    """Tell whether a header of bounded length begins there; OSError where it declares too much."""
    end = source.find(_END, position, position + LONGEST_HEADER)
    for name, number in _COUNTS.findall(source, position, max(end, position)):
        if len(number) > 3:
            raise OSError(f"{name.decode().strip()} is more than 999, the most that FITS has")
    return end >= 0
