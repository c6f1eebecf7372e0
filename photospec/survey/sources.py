"""Where the images of a catalogue's rows come from.

A source is small and picklable; it opens files in the process that reads. Its ``read`` takes the
row's columns as a dictionary and returns an NDData.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import InverseVariance, NDData

from photospec.errors import InputError

__all__ = ["FileSource", "FrameSource", "ImageColumn", "PairsSource", "ParquetSource"]

#: Column that tells a source which of its images belongs to a row.
SOURCE_ROW = "source_row"
_FRAME = re.compile(r"frame-(?P<band>[ugriz])-(?P<field>\d{6}-\d-\d{4})\.fits(\.bz2|\.gz)?$")


@dataclass(frozen=True)
class ImageColumn:
    """Images in a column of the catalogue: fixed-size or nested lists of pixels.

    Or structures of ``flux``, ``band`` and, where they are there, ``scale`` and ``ivar``, as the
    Multimodal Universe has them, which tell bands and scale themselves.

    Attributes
    ----------
    column : str
    bands : tuple of str
    unit : str
    pixel_scale : float
        Arcsec.
    shape : tuple of int, optional
        Of a flat list; square images of the bands by default.
    """

    column: str = "pixels"
    bands: tuple = tuple("ugriz")
    unit: str = "nanomaggy"
    pixel_scale: float = 0.396
    shape: tuple | None = None

    @property
    def columns(self):
        """Columns that are images, and not wanted in the output."""
        return (self.column,)

    def order(self, frame):
        """Rows in the order in which they are read fastest."""
        return range(len(frame))

    def read(self, row):
        """Image of a row.

        Parameters
        ----------
        row : dict

        Returns
        -------
        NDData
        """
        from photospec.image.units import parse_unit

        value = row[self.column]
        if value is None:
            raise InputError(f"{self.column}: expected pixels, got none")
        if isinstance(value, pd.DataFrame | dict):
            return self._structure(value)
        try:
            data = np.asarray(value, np.float32)
        except (ValueError, TypeError):
            data = np.array([[list(line) for line in band] for band in value], np.float32)
        n_bands = len(self.bands)
        shape = self.shape
        if shape is None and data.ndim == 1:
            side = round((data.size / n_bands) ** 0.5)
            shape = (n_bands, side, side)
        if shape is not None:
            if data.size != int(np.prod(shape)):
                raise InputError(
                    f"{self.column}: expected {' x '.join(map(str, shape))} pixels, got {data.size}"
                )
            data = data.reshape(shape)
        meta = {"bands": tuple(self.bands), "pixel_scale": self.pixel_scale * u.arcsec}
        return NDData(data, unit=parse_unit(self.unit), meta=meta)

    def _structure(self, value):
        """Image of a structure of bands."""
        from photospec.image.units import parse_unit

        if not {"flux", "band"} <= set(value):
            raise InputError(
                f"{self.column}: expected flux and band in it, got {', '.join(map(str, value))}"
            )

        def planes(name):
            return np.array([np.array(list(plane), np.float32) for plane in value[name]])

        # "DES-G" is the band g.
        bands = tuple(str(band).rsplit("-", 1)[-1].lower() for band in value["band"])
        scale = self.pixel_scale
        if "scale" in value:
            scale = float(np.mean([float(x) for x in value["scale"]]))
        data, unit = planes("flux"), parse_unit(self.unit)
        mask, uncertainty = ~np.isfinite(data), None
        if "ivar" in value:
            ivar = planes("ivar")
            mask |= ~(ivar > 0)
            uncertainty = InverseVariance(np.where(mask, 0, ivar), unit=unit**-2)
        return NDData(
            np.where(mask, 0, data),
            uncertainty=uncertainty,
            mask=mask,
            unit=unit,
            meta={"bands": bands, "pixel_scale": scale * u.arcsec},
        )


@lru_cache(maxsize=4)
def _pairs(path, _):
    from photospec.pairs import PairsFile

    return PairsFile(path)


class _ByRow:
    columns = ()

    def order(self, frame):
        """Rows in the order in which they are read fastest."""
        return np.argsort(np.asarray(frame[SOURCE_ROW], dtype=np.int64), kind="stable")


@dataclass(frozen=True)
class PairsSource(_ByRow):
    """Images of a pairs file, by the number of their row.

    Attributes
    ----------
    path : str
    """

    path: str

    def read(self, row):
        """Image of a row, see `ImageColumn.read`."""
        from photospec.image import NANOMAGGY

        path = Path(self.path)
        pairs = _pairs(path, path.stat().st_mtime_ns)
        data = pairs.image(int(row[SOURCE_ROW]))
        meta = {"bands": pairs.bands, "pixel_scale": pairs.pixel_scale * u.arcsec}
        return NDData(data, unit=NANOMAGGY, meta=meta)


@lru_cache(maxsize=2)
def _row_groups(path, _):
    """Files of a Parquet dataset, with the number of the first row of each row group."""
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    places, first = [], 0
    for file in ds.dataset(path, format="parquet").files:
        data = pq.ParquetFile(file)
        for group in range(data.num_row_groups):
            places.append((first, file, group))
            first += data.metadata.row_group(group).num_rows
    return places


@lru_cache(maxsize=2)
def _row_group(file, group, columns, _):
    import pyarrow.parquet as pq

    return pq.ParquetFile(file).read_row_group(group, columns=list(columns))


@dataclass(frozen=True)
class ParquetSource(_ByRow):
    """Images in a column of Parquet files, read row group by row group.

    Attributes
    ----------
    path : str
        File or folder.
    images : ImageColumn
    """

    path: str
    images: ImageColumn

    def read(self, row):
        """Image of a row, see `ImageColumn.read`."""
        stamp = Path(self.path).stat().st_mtime_ns
        places = _row_groups(self.path, stamp)
        number = int(row[SOURCE_ROW])
        at = int(np.searchsorted([first for first, *_ in places], number, side="right")) - 1
        first, file, group = places[at]
        table = _row_group(file, group, self.images.columns, stamp)
        value = table.column(self.images.column)[number - first].as_py()
        return self.images.read({self.images.column: value})


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

    def order(self, frame):
        """Rows in the order in which they are read fastest."""
        return range(len(frame))

    def read(self, row):
        """Image of a row, see `ImageColumn.read`."""
        from photospec.image import read_image

        path = Path(self.folder) / str(row[self.column])
        if not path.is_file() and not path.suffix:
            path = path.with_suffix(".fits")
        return read_image(path)


@dataclass(frozen=True)
class FrameSource:
    """Positions on SDSS frames: ``frame-<band>-<run>-<camcol>-<field>.fits`` in one folder.

    Attributes
    ----------
    folder : str
    ra, dec : str
        Columns of the positions, degrees (ICRS).
    """

    folder: str
    ra: str = "ra"
    dec: str = "dec"
    columns = ()

    def order(self, frame):
        """Rows field by field, as unpacking a field takes seconds."""
        ra, dec = (np.asarray(frame[name], float) for name in (self.ra, self.dec))
        return np.argsort(find_fields(self.folder, ra, dec), kind="stable")

    def read(self, row):
        """Image of a row, see `ImageColumn.read`."""
        from photospec.image import read_image

        position = float(row[self.ra]), float(row[self.dec])
        [number] = find_fields(self.folder, *(np.array([x]) for x in position))
        if number < 0:
            raise InputError(
                f"position: expected one on the frames in {self.folder}, got ra={position[0]:.5f} "
                f"dec={position[1]:+.5f}, which is on none"
            )
        return read_image(frame_fields(self.folder)[number], position=position)


@lru_cache(maxsize=8)
def frame_fields(folder):
    """Files of each SDSS field in a folder.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    list of list of pathlib.Path
    """
    fields = {}
    for path in sorted(Path(folder).glob("**/frame-*.fits*")):
        found = _FRAME.search(path.name)
        if found:
            fields.setdefault((path.parent, found["field"]), []).append(path)
    if not fields:
        raise InputError(f"path: expected frame-<band>-*.fits files, got none in {folder}")
    return [fields[key] for key in sorted(fields)]


@lru_cache(maxsize=8)
def _footprints(folder):
    """Celestial WCS and shape of the r-band frame of each field (or of the first band)."""
    from astropy.io import fits

    from photospec.image.wcs import header_wcs

    found = []
    for paths in frame_fields(folder):
        path = next((p for p in paths if p.name.startswith("frame-r")), paths[0])
        header = fits.getheader(path)
        wcs = header_wcs(header)
        if wcs is None:
            raise InputError(f"path: expected a celestial WCS, got none in {path}")
        found.append((wcs, (header["NAXIS2"], header["NAXIS1"])))
    return found


def find_fields(folder, ra, dec):
    """Which field each position is on, the one that it is deepest inside.

    Parameters
    ----------
    folder : path-like
    ra, dec : ndarray (n,)
        Degrees.

    Returns
    -------
    ndarray of int (n,)
        Numbers of `frame_fields`; -1 for none.
    """
    position = SkyCoord(ra, dec, unit="deg")
    best, depth = np.full(len(ra), -1), np.zeros(len(ra))
    for number, (wcs, (ny, nx)) in enumerate(_footprints(folder)):
        x, y = wcs.world_to_pixel(position)
        inside = np.min([x + 0.5, nx - 0.5 - x, y + 0.5, ny - 0.5 - y], axis=0)
        # On the other side of the sky the projection is not defined.
        better = np.isfinite(inside) & (inside > depth)
        best[better], depth[better] = number, inside[better]
    return best
