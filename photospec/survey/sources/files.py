"""Images that have a file each, or that one file or folder holds for many rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

from photospec.errors import InputError
from photospec.survey.sources.column import SOURCE_ROW
from photospec.utils.optional import optional_imports

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FileSource", "MultimodalSource", "PairsSource", "ZarrSource", "open_zarr"]


@dataclass(frozen=True)
class FileSource:
    """One FITS file per image in a folder, named by the row's identifier.

    Attributes
    ----------
    folder : str
    column : str
        Column of file names.
    """

    folder: str
    column: str = "image"
    columns = ()

    def order(self, frame: pd.DataFrame) -> range:
        """Return rows in the order in which they are read fastest."""
        return range(len(frame))

    def read(self, row: Mapping) -> NDData:
        """Read the image of a row, see `ImageColumn.read`."""
        from photospec.image import read_image

        path = Path(self.folder) / str(row[self.column])
        if not path.is_file() and not path.suffix:
            path = path.with_suffix(".fits")
        return read_image(path)


class _Numbered(ABC):
    """Images that have a number: of the column ``source_row``, else that of the identifier.

    Sub-classes open their file once in each process, by ``_open``, which gives an object with
    ``identifiers``, a list of text or None.
    """

    columns = ()

    @abstractmethod
    def _open(self):
        """Open the file, or give what is open of it."""

    def order(self, frame):
        """Return rows in the order in which they are read fastest."""
        if SOURCE_ROW not in frame.columns:
            return range(len(frame))
        return np.argsort(np.asarray(frame[SOURCE_ROW], dtype=np.int64), kind="stable")

    def number(self, row):
        """Return the number of a row's image."""
        if SOURCE_ROW in row:
            return int(row[SOURCE_ROW])
        known = _numbers(self, _stamp(self.path))
        if known is None:
            raise InputError(
                f"images: expected identifiers in {self.path}, or a column {SOURCE_ROW} of the "
                "numbers of its images in the catalogue, got neither"
            )
        identifier = str(row[self.identifier])
        if identifier not in known:
            raise InputError(f"images: expected one of {identifier} in {self.path}, got none")
        return known[identifier]


def _stamp(path):
    """Tell when a file was written: what is open of it is opened anew after that."""
    return Path(path).stat().st_mtime_ns


@lru_cache(maxsize=4)
def _numbers(source, _):
    identifiers = source._open().identifiers
    if identifiers is None:
        return None
    return {name: number for number, name in enumerate(identifiers)}


@lru_cache(maxsize=4)
def _pairs(path, _):
    from photospec.pairs import PairsFile

    return PairsFile(path)


@dataclass(frozen=True)
class PairsSource(_Numbered):
    """Images of a pairs file, by the number of their row or by ``object/identifier``.

    Attributes
    ----------
    path : str
    identifier : str
        Column of the catalogue.
    """

    path: str
    identifier: str = "image"

    def _open(self):
        return _PairsIdentifiers(_pairs(self.path, _stamp(self.path)))

    def read(self, row: Mapping) -> NDData:
        """Read the image of a row, see `ImageColumn.read`."""
        from photospec.image import NANOMAGGY

        pairs = _pairs(self.path, _stamp(self.path))
        data = pairs.image(self.number(row))
        meta = {"bands": pairs.bands, "pixel_scale": pairs.pixel_scale * u.arcsec}
        return NDData(data, unit=NANOMAGGY, meta=meta)


class _PairsIdentifiers:
    def __init__(self, pairs):
        table = pairs.object
        name = identifier_column(table.colnames)
        self.identifiers = None if name is None else [str(value) for value in table[name]]


def identifier_column(names: Iterable[str]) -> str | None:
    """Return a column of identifiers of a pairs file or Zarr group; None without."""
    return next((name for name in ("identifier", "objid", "id") if name in names), None)


@dataclass(frozen=True)
class ZarrSource(_Numbered):
    """Images of a Zarr group that is laid out as a pairs file, by number or identifier.

    Attributes
    ----------
    path : str
        Folder of the group, which has the array ``image`` (n, n_bands, ny, nx), the attributes
        ``bands``, ``pixel_scale`` (arcsec) and ``unit`` (nanomaggies if not given), and in the
        group ``object`` columns (n,), ``identifier`` among them.
    identifier : str
        Column of the catalogue.
    """

    path: str
    identifier: str = "image"

    def _open(self):
        return open_zarr(self.path)

    def read(self, row: Mapping) -> NDData:
        """Read the image of a row, see `ImageColumn.read`."""
        group = open_zarr(self.path)
        data = np.asarray(group.image[self.number(row)], np.float32)
        meta = {"bands": group.bands, "pixel_scale": group.pixel_scale * u.arcsec}
        return NDData(data, unit=group.unit, meta=meta)


class _ZarrGroup:
    """A Zarr group of images that is open."""

    def __init__(self, path):
        with optional_imports():
            import zarr
        from photospec.image.units import parse_unit

        try:
            group = zarr.open_group(path, mode="r")
            self.image = group["image"]
            self.bands = tuple(group.attrs["bands"])
            self.pixel_scale = float(group.attrs["pixel_scale"])
            unit = str(group.attrs.get("unit", "nanomaggy"))
            columns = group.get("object", {})
            self.columns = {name: columns[name] for name in columns}
        except Exception as error:  # zarr raises many kinds
            text = " ".join(str(error).split())[:150] or type(error).__name__
            raise InputError(
                f"images: expected a Zarr group with the array image and the attributes bands and "
                f"pixel_scale, got {path} ({text})"
            ) from None
        self.unit = parse_unit(unit)
        if self.image.ndim != 4 or self.image.shape[1] != len(self.bands):
            raise InputError(
                f"images: expected shape (n, {len(self.bands)}, ny, nx) in {path}, got "
                f"{self.image.shape}"
            )

    def __len__(self):
        return self.image.shape[0]

    @property
    def identifiers(self):
        """Identifiers as text; None without."""
        name = identifier_column(self.columns)
        return None if name is None else [_text(value) for value in self.columns[name][:]]


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def open_zarr(path: str | PathLike) -> object:
    """Open a Zarr group of images, once in a process.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    object
        With ``image``, ``bands``, ``pixel_scale``, ``unit``, ``columns``, ``identifiers``.
    """
    return _zarr(str(path))


@lru_cache(maxsize=4)
def _zarr(path):
    return _ZarrGroup(path)


@lru_cache(maxsize=4)
def _multimodal(path, _):
    from photospec.archive.multimodal import MultimodalImages

    return MultimodalImages(path)


@dataclass(frozen=True)
class MultimodalSource(_Numbered):
    """Images of files of the Multimodal Universe (HDF5), by ``object_id``.

    Attributes
    ----------
    path : str
        One file, or the folder of a data set.
    identifier : str
        Column of the catalogue.
    """

    path: str
    identifier: str = "image"

    def _open(self):
        return _multimodal(self.path, _stamp(self.path))

    def read(self, row: Mapping) -> NDData:
        """Read the image of a row, see `ImageColumn.read`."""
        return self._open().image(self.number(row))
