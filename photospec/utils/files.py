"""Write a file beside its place, then rename it: readers see all of it or nothing."""

import contextlib
import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

__all__ = ["naming", "replacing"]


@contextlib.contextmanager
def naming(path: str | PathLike) -> Iterator[None]:
    """Let errors of the operating system name the output, not a temporary file or nothing.

    Parameters
    ----------
    path : path-like
        The output that is being written.
    """
    try:
        yield
    except OSError as exception:
        exception.filename = str(path)
        raise


@contextlib.contextmanager
def replacing(path: str | PathLike) -> Iterator[Path]:
    """Give a temporary name beside `path`; move it there when all went well.

    The data are forced to disk before the rename, so that a power failure leaves the old file
    or the new one, never an empty one.

    Parameters
    ----------
    path : path-like
        Where the finished file shall be; an older one is replaced.

    Yields
    ------
    pathlib.Path
        Where to write. It ends like `path`, because writers know the format by that, and names
        the process, because several may write the same file. Removed if anything goes wrong.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "note.txt"
    ...     with replacing(path) as temporary:
    ...         _ = temporary.write_text("done")
    ...     path.read_text()
    'done'
    """
    path = Path(path)
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        with naming(path):
            yield temporary
            # Writable, because Windows refuses to flush what was opened for reading.
            with open(temporary, "r+b") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
