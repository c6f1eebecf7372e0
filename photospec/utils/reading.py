"""One place that turns any failure of a reader into one line."""

import contextlib

from photospec.errors import InputError, PhotospecError

__all__ = ["one_line", "reading"]


def one_line(error, length=100):
    """Return the first line of an error's message, or its kind where it has none.

    Parameters
    ----------
    error : Exception
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
    text = str(error).strip().splitlines()
    return text[0][:length] if text else type(error).__name__


@contextlib.contextmanager
def reading(path, what, *, argument="path"):
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
    photospec.errors.InputError: path: expected an image, got cube.fits whose header or data make \
no sense (KeyError: 'BANDS'); is the file damaged?
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
            f"{argument}: expected {what}, got {path} whose header or data make no sense "
            f"({reason}); is the file damaged?"
        ) from None
