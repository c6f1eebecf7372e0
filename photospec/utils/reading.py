"""How files from others are read: sizes are checked first, and every failure is one line.

Files may be damaged, of another kind, or made to do harm. Readers check what a file claims
of its size with `check_size` before memory is taken, unpack with `unpack`, and stand within
`reading`, which turns whatever a library raises into an `~photospec.errors.InputError`.
"""

import bz2
import contextlib
import zlib

from photospec.errors import InputError, PhotospecError
from photospec.utils.conf import conf

__all__ = ["check_size", "one_line", "reading", "unpack"]


def one_line(error, length=100):
    """Return the first line of an error's message, or its kind where it has none.

    Parameters
    ----------
    error : Exception or object
        Other objects are told as they print.
    length : int
        Longest text.

    Returns
    -------
    str

    Examples
    --------
    >>> one_line(KeyError("BANDS"))
    "'BANDS'"
    >>> one_line(ValueError())
    'ValueError'
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return "".join(c if c.isprintable() else "?" for c in lines[0][:length])


@contextlib.contextmanager
def reading(path, what, *, argument="path", cause="is the file damaged?"):
    """Turn whatever a block raises into an `InputError` of one line.

    Files of others are broken in more ways than one can list, and the libraries that read
    them raise nearly every kind of exception. Errors of this package pass through.

    Parameters
    ----------
    path : path-like
        The file, for the message.
    what : str
        What it should have been, such as "an image".
    argument : str
        What the caller calls the file.
    cause : str
        The likely cause.

    Raises
    ------
    InputError
        For any exception but those of this package.

    Examples
    --------
    >>> with reading("cube.fits", "an image"):
    ...     {}["BANDS"]
    Traceback (most recent call last):
    ...
    photospec.errors.InputError: path: expected an image, got cube.fits which cannot be \
read (KeyError: 'BANDS'); is the file damaged?
    """
    try:
        yield
    except PhotospecError:
        raise
    except FileNotFoundError:
        raise InputError(f"{argument}: expected {what}, got {path} which does not exist") from None
    except MemoryError:
        raise InputError(
            f"{argument}: expected {what} that fits into memory, got {path} which does not; are "
            "the sizes that it declares wrong?"
        ) from None
    except Exception as error:
        kind, text = type(error).__name__, one_line(error)
        reason = kind if text == kind else f"{kind}: {text}"
        raise InputError(
            f"{argument}: expected {what}, got {path} which cannot be read ({reason}); {cause}"
        ) from None


def check_size(n_bytes, what, path, *, argument="path"):
    """Refuse what claims more memory than ``photospec.conf.max_bytes``.

    Parameters
    ----------
    n_bytes : int
        Size that the file claims.
    what : str
        What has it: "the image".
    path : path-like
    argument : str

    Raises
    ------
    InputError
        If it is larger, or negative.

    Examples
    --------
    >>> check_size(2**50, "the image", "x.fits")
    Traceback (most recent call last):
    ...
    photospec.errors.InputError: path: expected at most 4 GiB, got 1048576 GiB for the image of \
x.fits; is the file damaged? photospec.conf.max_bytes sets the limit
    """
    if not 0 <= n_bytes <= conf.max_bytes:
        raise InputError(
            f"{argument}: expected at most {conf.max_bytes / 2**30:.3g} GiB, got "
            f"{n_bytes / 2**30:.7g} GiB for {what} of {path}; is the file damaged? "
            "photospec.conf.max_bytes sets the limit"
        )


def unpack(source, path):
    """Unpack bytes that gzip or bzip2 packed, within the limit of `check_size`.

    Parameters
    ----------
    source : bytes
        Returned as they are where neither packed them.
    path : path-like
        The file, for the message.

    Returns
    -------
    bytes

    Raises
    ------
    InputError
        If more comes out than ``photospec.conf.max_bytes``.
    """
    if source.startswith(b"\x1f\x8b"):

        def start():
            return zlib.decompressobj(wbits=31)
    elif source.startswith(b"BZh"):
        start = bz2.BZ2Decompressor
    else:
        return source
    parts, size = [], 0
    while source:  # a packed file may be several, one behind the other
        machine = start()
        part = machine.decompress(source, conf.max_bytes - size + 1)
        size += len(part)
        check_size(size, "the unpacked data", path)
        parts.append(part)
        if not machine.eof:
            raise EOFError("packed data end too early")
        source = machine.unused_data
        # Zeros and other filling behind the data are not packed data.
        if not source.startswith((b"\x1f\x8b", b"BZh")):
            break
    return b"".join(parts)
