"""The one door for FITS files."""

import io
import warnings
from pathlib import Path

from astropy.io import fits

from photospec.errors import InputError
from photospec.utils.reading import one_line, unpack

__all__ = ["open_fits"]


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
            with fits.open(io.BytesIO(source), memmap=False, lazy_load_hdus=False) as hdus:
                for hdu in hdus:
                    _ = hdu.data
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
