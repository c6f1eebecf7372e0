"""What reader and writer of pairs files share: format, opening, row datasets."""

import time
from pathlib import Path

import h5py
import numpy as np

from photospec.errors import InputError
from photospec.utils.reading import check_size, one_line, reading

__all__ = [
    "FORMAT",
    "check_lengths",
    "open_pairs",
    "pairs_dataset",
    "reading_pairs",
    "row_datasets",
]

#: Value of the attribute ``format``; the number changes when old readers would go wrong.
FORMAT = "photospec-pairs-1"
# Times that a superblock is looked at before it is held to be damaged and not being written.
_N_LOOKS = 5


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
    with reading_pairs(path):
        if not h5py.is_hdf5(path):
            raise InputError(f"path: expected an HDF5 file of pairs, got {path} which is no HDF5")
        if _is_being_written(path):
            # Now, or by a writer that was killed: whole all the same.
            file = h5py.File(path, "r", libver="latest", swmr=True, locking=False)
        else:
            file = h5py.File(path, "r", locking=False)
        try:
            found = file.attrs.get("format", "none")
            if not isinstance(found, str) or found != FORMAT:
                raise InputError(
                    f"path: expected format {FORMAT}, got {one_line(found, 40)} in {path}"
                )
            if "n_pairs" not in file.attrs:
                raise InputError(f"path: expected a count of pairs, got none in {path}")
        except BaseException:
            file.close()
            raise
    return file


def reading_pairs(path):
    """Return a context in which every failure of HDF5 is one line about a pairs file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    context manager
        See `photospec.utils.reading.reading`.
    """
    return reading(path, "a whole pairs file", cause="was writing or downloading it interrupted?")


def pairs_dataset(file, name, n_dim, kinds="f"):
    """Find a dataset and check that it is what the format says.

    Parameters
    ----------
    file : h5py.File
    name : str
    n_dim : int
        Number of axes.
    kinds : str
        NumPy kinds of numbers that it may hold.

    Returns
    -------
    h5py.Dataset

    Raises
    ------
    InputError
        If it is absent, a group, of other axes or numbers, or if one row of it claims more memory
        than ``photospec.conf.max_bytes``.
    """
    path = file.filename
    try:
        dataset = file.get(name)
    except (KeyError, RuntimeError):  # a link that leads nowhere, or in circles
        dataset = None
    if dataset is None:
        raise InputError(f"path: expected {name} in {path}, got none; is the file complete?")
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise InputError(f"path: expected numbers in {name} of {path}, got none")
    if dataset.ndim != n_dim or dataset.dtype.kind not in kinds:
        raise InputError(
            f"path: expected {n_dim} axes of numbers in {name} of {path}, got {dataset.ndim} of "
            f"{one_line(dataset.dtype, 40)}"
        )
    row = dataset.dtype.itemsize
    for side in dataset.shape[1:] if n_dim > 1 else dataset.shape:
        row *= int(side)
    check_size(row, f"one row of {name}" if n_dim > 1 else name, path)
    return dataset


def _is_being_written(path):
    """Tell from the superblock whether the file is marked as open for writing.

    Raises OSError where the superblock is damaged, or the file is shorter than it says: HDF5
    itself would wait for better ones for ever, in the mode that reads files being written.
    """
    for _ in range(_N_LOOKS):
        with open(path, "rb") as file:
            block = file.read(48)
        if len(block) < 48 or block[8] < 2 or not block[11] & 1:
            return False  # an older superblock, or closed; pairs files have version 3
        end = int.from_bytes(block[28:36], "little")
        size = path.stat().st_size
        sound = _checksum(block[:44]) == int.from_bytes(block[44:], "little")
        if sound and size >= end:
            return True
        time.sleep(0.02)  # a writer may be at it
    raise OSError(f"{size} of {end} bytes are there" if sound else "its superblock is damaged")


def _checksum(data):
    """Return the checksum of HDF5 metadata: Bob Jenkins' lookup3, "hashlittle" with initial value
    0.
    """

    def rotate(value, n):
        return (value << n | value >> (32 - n)) & 0xFFFFFFFF

    a = b = c = (0xDEADBEEF + len(data)) & 0xFFFFFFFF
    words = np.frombuffer(data + bytes(-len(data) % 12), "<u4").reshape(-1, 3).tolist()
    for place, (x, y, z) in enumerate(words, start=1):
        a, b, c = (a + x) & 0xFFFFFFFF, (b + y) & 0xFFFFFFFF, (c + z) & 0xFFFFFFFF
        if place < len(words):
            for n in (4, 6, 8, 16, 19, 4):
                a = ((a - c) & 0xFFFFFFFF) ^ rotate(c, n)
                c = (c + b) & 0xFFFFFFFF
                a, b, c = b, c, a
            continue
        for n in (14, 11, 25, 16, 4, 14, 24):
            c = ((c ^ b) - rotate(b, n)) & 0xFFFFFFFF
            a, b, c = b, c, a
    # The last three additions went round the names an odd number of times.
    return b


def row_datasets(file):
    """Yield datasets with one row per pair.

    Parameters
    ----------
    file : h5py.File

    Yields
    ------
    h5py.Dataset
    """
    for name in ("/", "spectrum", "object", "truth"):
        group = file.get(name)
        for item in group.values() if isinstance(group, h5py.Group) else ():
            if isinstance(item, h5py.Dataset) and item.name != "/spectrum/wavelength":
                if not item.shape:
                    raise InputError(
                        f"path: expected a row for each pair in {item.name} of {file.filename}, "
                        "got a single value"
                    )
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
