"""What reader and writer of pairs files share: format, opening, row datasets."""

from pathlib import Path

import h5py

from photospec.errors import InputError

__all__ = ["FORMAT", "check_lengths", "damaged", "open_pairs", "row_datasets"]

#: Value of the attribute ``format``; the number changes when old readers would go wrong.
FORMAT = "photospec-pairs-1"


def open_pairs(path):
    """Open a pairs file for reading and check that it is one.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    h5py.File

    Raises
    ------
    InputError
        If it is missing, damaged, or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"path: expected a pairs file, got {path} which does not exist")
    try:
        if not h5py.is_hdf5(path):
            raise InputError(f"path: expected an HDF5 file of pairs, got {path} which is no HDF5")
        if _is_being_written(path):
            # Now, or by a writer that was killed: whole all the same.
            file = h5py.File(path, "r", libver="latest", swmr=True, locking=False)
        else:
            file = h5py.File(path, "r", locking=False)
    except (OSError, RuntimeError) as error:
        raise damaged(path, error) from None
    try:
        found = file.attrs.get("format", "none")
        if found != FORMAT:
            raise InputError(f"path: expected format {FORMAT}, got {found!s:.40} in {path}")
        if "n_pairs" not in file.attrs:
            raise InputError(f"path: expected a count of pairs, got none in {path}")
    except BaseException as error:
        file.close()
        if isinstance(error, OSError | RuntimeError | KeyError | UnicodeDecodeError):
            raise damaged(path, error) from None
        raise
    return file


def _is_being_written(path):
    """Tell from the superblock whether the file is marked as open for writing.

    Raises OSError where the file is shorter than it says: HDF5 itself would wait for the
    rest for ever, in the mode that reads files which are being written.
    """
    with open(path, "rb") as file:
        block = file.read(48)
    if len(block) < 48 or block[8] < 2:
        return False  # an older superblock; pairs files have version 3
    end = int.from_bytes(block[28:36], "little")
    size = path.stat().st_size
    if size < end:
        raise OSError(f"{size} of {end} bytes are there")
    return bool(block[11] & 1)


def row_datasets(file):
    """Datasets with one row per pair.

    Parameters
    ----------
    file : h5py.File

    Yields
    ------
    h5py.Dataset
    """
    for group in (file, file.get("spectrum"), file.get("object"), file.get("truth")):
        for item in (group or {}).values():
            if isinstance(item, h5py.Dataset) and item.name != "/spectrum/wavelength":
                yield item


def check_lengths(file, n_pairs):
    """Refuse a file whose datasets are shorter than its count.

    Parameters
    ----------
    file : h5py.File
    n_pairs : int

    Raises
    ------
    InputError
    """
    for dataset in row_datasets(file):
        if len(dataset) < n_pairs:
            raise InputError(
                f"path: expected {n_pairs} pairs in {file.filename}, got {len(dataset)} in "
                f"{dataset.name}; the file is damaged"
            )


def damaged(path, error):
    """Error for a file that HDF5 cannot read.

    Parameters
    ----------
    path : path-like
    error : Exception
        What HDF5 said.

    Returns
    -------
    InputError
        To be raised.
    """
    reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
    return InputError(
        f"path: expected a whole pairs file, got {path} which cannot be read ({reason}); "
        "was writing or downloading it interrupted?"
    )
