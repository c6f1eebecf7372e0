"""Verify downloaded files: whether they are whole, and the files that were asked for.

Four questions, in this order: is it FITS at all (not an HTML page), has it the length that
its headers announce, do its checksums hold (bzip2 carries one for every block; FITS has
DATASUM), and does it name the object that was asked for.

astropy answers the second one with a warning, and filters of warnings are shared by all
threads; so the headers are walked here.
"""

import bz2
import io
import math
import re
from contextlib import contextmanager

from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from photospec.archive.transfer import FileRefused, html_summary

__all__ = ["expect", "open_verified"]

BLOCK = 2880  # bytes: every FITS file is a whole number of these
END = b"END".ljust(80)


@contextmanager
def open_verified(path):
    """Open a FITS file, plain or bzip2, after checking that every byte of it is there.

    Parameters
    ----------
    path : Path
        The file; what its name ends in does not matter.

    Yields
    ------
    hdus : HDUList
        Held in memory; closed at the end of the block.
    proven : bool
        Whether a checksum inside the file vouches for its bytes.

    Raises
    ------
    FileRefused
        The file is empty, an HTML page, truncated, corrupt, or no FITS file.
    """
    raw = path.read_bytes()
    proven = raw[:3] == b"BZh"
    if proven:
        raw = _decompress(raw)
    if not raw.startswith(b"SIMPLE  ="):
        raise FileRefused(_what_it_is(raw))
    _check_length(raw)
    try:
        hdus = fits.open(io.BytesIO(raw), memmap=False)
        sums = [hdu.verify_datasum() if "DATASUM" in hdu.header else 2 for hdu in hdus]
    except (VerifyError, OSError, ValueError, TypeError, KeyError) as error:
        raise FileRefused(f"damaged FITS file: {' '.join(str(error).split())[:100]}") from None
    with hdus:
        if 0 in sums:
            raise FileRefused(f"damaged FITS file: the checksum of HDU {sums.index(0)} fails")
        yield hdus, proven or 2 not in sums


def expect(header, path, **values):
    """Refuse a file whose header names another object.

    Parameters
    ----------
    header : Header or dict
        Where the file says what it is.
    path : Path
        The file, for the message.
    **values
        Keyword and expected value.

    Raises
    ------
    FileRefused
        A value is missing or different.
    """
    for key, value in values.items():
        found = header.get(key)
        found = found.strip() if isinstance(found, str) else found
        if found != value:
            name = re.sub(r"^\.partial-\d+-", "", path.name)  # checked before it is renamed
            raise FileRefused(
                f"{name} is another object inside: expected {key} = {value}, got {found}"
            )


def _decompress(raw):
    decoder = bz2.BZ2Decompressor()
    try:
        data = decoder.decompress(raw)
    except (OSError, ValueError):
        raise FileRefused("damaged bzip2 file: its checksum does not hold") from None
    if not decoder.eof:
        raise FileRefused("truncated bzip2 file")
    if decoder.unused_data:
        raise FileRefused(f"{len(decoder.unused_data)} bytes after the end of the bzip2 file")
    return data


def _check_length(raw):
    """Walk the headers and compare the length that they announce with that of the file."""
    position = 0
    while position < len(raw):
        header, position = _header(raw, position)
        try:
            axes = [int(header[f"NAXIS{i + 1}"]) for i in range(int(header["NAXIS"]))]
            size = abs(int(header["BITPIX"])) // 8 * int(header.get("GCOUNT", 1))
            size *= int(header.get("PCOUNT", 0)) + (math.prod(axes) if axes else 0)
        except (KeyError, ValueError, TypeError, VerifyError):
            raise FileRefused("damaged FITS file: a header without sizes") from None
        position += -(-size // BLOCK) * BLOCK
    if position != len(raw):
        raise FileRefused(f"truncated FITS file: {len(raw)} of {position} bytes")


def _header(raw, start):
    """Return the header that begins at `start` and where it ends."""
    position = start
    while position + BLOCK <= len(raw):
        block = raw[position : position + BLOCK]
        position += BLOCK
        if any(byte < 32 or byte > 126 for byte in block):
            raise FileRefused("damaged FITS file: a header is no text")
        if any(block[i : i + 80] == END for i in range(0, BLOCK, 80)):
            return fits.Header.fromstring(raw[start:position]), position
    raise FileRefused(f"truncated FITS file: {len(raw)} bytes, a header has no end")


def _what_it_is(raw):
    if not raw:
        return "an empty file where FITS was expected"
    page = html_summary(raw[:4096].decode("utf-8", errors="replace"))
    if page:
        return f"an HTML page ({page}) where FITS was expected"
    return f"no FITS file: it begins with {raw[:8]!r}"
