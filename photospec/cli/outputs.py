"""Output files are refused before the work starts."""

import tempfile
from pathlib import Path

from photospec.errors import InputError
from photospec.utils.optional import optional_imports

__all__ = ["check_folder", "check_outputs"]


def check_outputs(outputs, *, suffixes=None, overwrite=False, inputs=()):
    """Make sure that every output can be written, before any work is done.

    Parameters
    ----------
    outputs : dict
        Option name -> path, or None for an output that was not asked for.
    suffixes : dict, optional
        Option name -> tuple of accepted file name endings.
    overwrite : bool
        Whether existing files may be replaced.
    inputs : iterable of path
        Files that are read, and so must not be replaced.

    Raises
    ------
    InputError
        If an output exists, is a folder, has an ending of another format, is
        named twice or is an input, or if its folder is missing or not writable.
    MissingPackageError
        If its format needs a package that is not installed.
    """
    seen = {Path(path).resolve(): f"the input {path}" for path in inputs}
    for option, path in outputs.items():
        if path is None:
            continue
        path = Path(path)
        endings = (suffixes or {}).get(option)
        if endings and not path.name.lower().endswith(endings):
            raise InputError(
                f"{option}: expected a file name ending in {' or '.join(endings)}, got {path}"
            )
        if path.suffix.lower() == ".parquet":
            with optional_imports():
                import pyarrow as pa  # noqa: F401 - what is missing is told before the work
        other = seen.setdefault(path.resolve(), option)
        if other != option:
            raise InputError(f"{option}: {path} is also {other}; give it another name")
        if path.is_dir():
            raise InputError(f"{option}: expected a file name, got the folder {path}")
        if path.exists() and not overwrite:
            raise InputError(f"{option}: {path} exists already; give another name or --overwrite")
        check_folder(path.parent, option)


def check_folder(folder, option):
    """Make sure that files can be written into a folder.

    Parameters
    ----------
    folder : path
        An existing folder.
    option : str
        Option to name in the error.

    Raises
    ------
    InputError
        If the folder is missing, is a file, or does not take new files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{option}: the folder {folder} {state}; make it first")
    try:
        # Only trying tells: permission bits say little on network and read-only disks.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exception:
        raise InputError(
            f"{option}: cannot write into the folder {folder}: {exception.strerror or exception}"
        ) from None
