"""Images in a column of Parquet files, read as the rows come up and never a file at once."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from photospec.errors import InputError
from photospec.survey.sources.column import SOURCE_ROW, ImageColumn

if TYPE_CHECKING:
    import pandas as pd
    from astropy.nddata import NDData

__all__ = ["HatsSource", "ParquetSource", "plain"]

# Rows that are decoded together: some MB of images.
_BATCH = 64
_INDEX = "_healpix_29"


def plain(scalar):
    """Turn a value of Arrow into NumPy arrays, and dictionaries of them.

    Parameters
    ----------
    scalar : pyarrow.Scalar

    Returns
    -------
    ndarray, dict, list or None
        Lists become arrays of as many dimensions, structures dictionaries.

    Raises
    ------
    InputError
        If lists beside each other differ in length.
    """
    if isinstance(scalar, pa.ExtensionScalar):
        return plain(scalar.value)
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.StructScalar):
        return {name: plain(scalar[name]) for name in scalar}
    if isinstance(scalar, pa.ListScalar):  # of any kind: they derive from it
        return _array(scalar.values)
    return scalar.as_py()


def _array(values):
    shape = [len(values)]
    while True:
        if isinstance(values, pa.ExtensionArray):
            values = values.storage
        if not pa.types.is_nested(values.type):
            return values.to_numpy(zero_copy_only=False).reshape(shape)
        if pa.types.is_struct(values.type):
            return values.to_pylist()
        lengths = pc.list_value_length(values).unique().to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            raise InputError(f"images: expected lists of one length, got {lengths[:5]}")
        shape.append(lengths[0])
        values = values.flatten()


class _Column:
    """A column of Parquet files one after another, by the numbers of their rows."""

    def __init__(self, path, column):
        import pyarrow.dataset as ds
        import pyarrow.parquet as pq

        self.column, self.groups = column, []
        n = 0
        files = [str(path)] if Path(path).is_file() else ds.dataset(path, format="parquet").files
        for file in files:
            data = pq.ParquetFile(file)
            for group in range(data.num_row_groups):
                self.groups.append((n, data, group))
                n += data.metadata.row_group(group).num_rows
        self.n = n
        self.starts = np.array([first for first, *_ in self.groups])
        self._begin(0)

    def _begin(self, at):
        """Read from the first row of a row group on."""
        self.at = at
        self.batches, self.batch = None, None
        self.first = self.end = self.starts[at] if len(self.starts) else 0

    def __getitem__(self, number):
        if not self.first <= number < self.end:
            self._read_to(number)
        return self.batch.column(0)[number - self.first]

    def _read_to(self, number):
        """Read on, or from the start of another row group, to the batch that has a row."""
        if not 0 <= number < self.n:
            raise InputError(f"images: expected a row below {self.n}, got {number}")
        at = int(np.searchsorted(self.starts, number, side="right")) - 1
        if at != self.at or number < self.first:
            self._begin(at)
        if self.batches is None:
            _, data, group = self.groups[at]
            # Decoded a few rows at a time: row groups of images are as large as a partition.
            self.batches = data.iter_batches(_BATCH, row_groups=[group], columns=[self.column])
        while number >= self.end:
            self.batch = next(self.batches)
            self.first, self.end = self.end, self.end + self.batch.num_rows


@lru_cache(maxsize=2)
def _column(path, column, _):
    return _Column(path, column)


@dataclass(frozen=True)
class ParquetSource:
    """Images in a column of Parquet files, by the number of the row.

    Attributes
    ----------
    path : str
        File or folder.
    images : ImageColumn
    """

    path: str
    images: ImageColumn
    columns = ()

    def order(self, frame: pd.DataFrame) -> np.ndarray:
        """Return rows in the order in which they are read fastest."""
        return np.argsort(np.asarray(frame[SOURCE_ROW], dtype=np.int64), kind="stable")

    def read(self, row: Mapping) -> NDData:
        """Read the image of a row, see `ImageColumn.read`."""
        column = _column(self.path, self.images.column, os.stat(self.path).st_mtime_ns)
        return self.images.read({self.images.column: plain(column[int(row[SOURCE_ROW])])})


@dataclass(frozen=True)
class HatsSource:
    """Images in a column of a HATS catalogue on disk, by place on the sky and identifier.

    Partitions of images may be larger than the memory of a worker: the catalogue is opened
    without them, and this reads them row after row.

    Attributes
    ----------
    path : str
        Folder of the catalogue, of one table.
    images : ImageColumn
    identifier : str
        Column that tells rows at one place apart.
    """

    path: str
    images: ImageColumn
    identifier: str
    columns = ()

    def order(self, frame: pd.DataFrame) -> np.ndarray:
        """Return rows in the order in which they are read fastest: that of the file."""
        index = np.asarray(frame.index, np.int64)
        names = frame[self.identifier].astype(str)
        return np.argsort([self._find(i, name)[1] for i, name in zip(index, names)], kind="stable")

    def read(self, row: Mapping) -> NDData:
        """Read the image of a row, see `ImageColumn.read`."""
        file, number, modified = self._find(int(row[_INDEX]), str(row[self.identifier]))
        column = _column(file, self.images.column, modified)
        return self.images.read({self.images.column: plain(column[number])})

    def _find(self, index, identifier):
        """Return the file of a row, its number in it, and when the file was written."""
        starts, files = _partitions(self.path)
        file = files[bisect_right(starts, index) - 1]
        modified = os.stat(file).st_mtime_ns
        places = _places(file, self.identifier, modified)
        number = places.number(index, identifier)
        if number is None:
            raise InputError(f"images: expected {identifier} in {file}, got none of that name")
        return file, number, modified


@lru_cache(maxsize=4)
def _partitions(path):
    """Return the first index at order 29 of each partition, in rising order, and their files."""
    import hats

    catalog = hats.read_hats(path)
    suffix = catalog.catalog_info.npix_suffix or ".parquet"
    pixels = sorted(catalog.get_healpix_pixels(), key=lambda p: p.pixel << 2 * (29 - p.order))
    starts = [p.pixel << 2 * (29 - p.order) for p in pixels]
    return starts, [str(hats.io.paths.pixel_catalog_file(path, p, None, suffix)) for p in pixels]


class _Places:
    """Which rows of a partition have an index: the number of a row."""

    def __init__(self, path, identifier):
        import pyarrow.dataset as ds

        data = ds.dataset(path, format="parquet", partitioning=None)
        table = data.to_table(columns=[_INDEX, identifier])
        index = table.column(_INDEX).to_numpy()
        self.order = np.argsort(index, kind="stable")
        self.index = index[self.order]
        self.identifier = table.column(identifier)

    def number(self, index, identifier):
        """Return the number of a row; None if it is not there."""
        first, end = np.searchsorted(self.index, [index, index + 1])
        for number in map(int, self.order[first:end]):
            if str(self.identifier[number].as_py()) == identifier:
                return number
        return None


@lru_cache(maxsize=2)
def _places(path, identifier, _):
    return _Places(path, identifier)
