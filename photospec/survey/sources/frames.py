"""Images at positions on SDSS frames, or on bricks of the Legacy Surveys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.coordinates import SkyCoord

from photospec.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from astropy.nddata import NDData

__all__ = ["FrameSource", "find_fields", "frame_fields", "holds_fields"]

_FRAME = re.compile(r"frame-(?P<band>[ugriz])-(?P<field>\d{6}-\d-\d{4})\.fits(\.bz2|\.gz)?$")
# Frames, and images of bricks.
_PATTERNS = ("**/frame-*.fits*", "**/legacysurvey-*-image-*.fits*")


@dataclass(frozen=True)
class FrameSource:
    """Positions on images of whole fields below one folder.

    SDSS frames, ``frame-<band>-<run>-<camcol>-<field>.fits``, or bricks of the Legacy Surveys,
    ``legacysurvey-<brick>-image-<band>.fits.fz``.

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

    def order(self, frame: pd.DataFrame) -> np.ndarray:
        """Order the rows field by field, as unpacking a field takes seconds."""
        ra, dec = (np.asarray(frame[name], float) for name in (self.ra, self.dec))
        return np.argsort(find_fields(self.folder, ra, dec), kind="stable")

    def read(self, row: Mapping) -> NDData:
        """Read the image of a row, see `ImageColumn.read`."""
        from photospec.image import read_image

        position = float(row[self.ra]), float(row[self.dec])
        [number] = find_fields(self.folder, *(np.array([x]) for x in position))
        if number < 0:
            raise InputError(
                f"position: expected one on the frames in {self.folder}, got ra={position[0]:.5f} "
                f"dec={position[1]:+.5f}, which is on none"
            )
        return read_image(frame_fields(self.folder)[number], position=position)


def holds_fields(folder: str | PathLike) -> bool:
    """Tell whether there are SDSS frames or bricks of the Legacy Surveys below a folder.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    bool
    """
    return any(True for pattern in _PATTERNS for _ in Path(folder).glob(pattern))


@lru_cache(maxsize=8)
def frame_fields(folder: str | PathLike) -> list[list[Path]]:
    """Return files of each SDSS field, or images of each brick of the Legacy Surveys, below a
    folder.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    list of list of pathlib.Path
    """
    from photospec.image.bricks import brick_of

    fields = {}
    frames, bricks = (sorted(Path(folder).glob(pattern)) for pattern in _PATTERNS)
    for path in frames:
        found = _FRAME.search(path.name)
        if found:
            fields.setdefault((path.parent, found["field"]), []).append(path)
    for path in bricks:
        if brick_of(path):
            fields.setdefault((path.parent, brick_of(path)), []).append(path)
    if not fields:
        raise InputError(
            "path: expected frame-<band>-*.fits or legacysurvey-*-image-*.fits.fz files, got none "
            f"in {folder}"
        )
    return [fields[key] for key in sorted(fields)]


def _header(path):
    """Return the header of the image in a file; that of a compressed image is in its first
    extension.
    """
    from astropy.io import fits

    header = fits.getheader(path)
    return header if header.get("NAXIS") else fits.getheader(path, 1)


@lru_cache(maxsize=8)
def _footprints(folder):
    """Return celestial WCS and shape of the r-band frame of each field (or of the first band)."""
    from photospec.image.wcs import header_wcs

    found = []
    for paths in frame_fields(folder):
        path = next((p for p in paths if p.name.startswith("frame-r") or "-r." in p.name), paths[0])
        header = _header(path)
        wcs = header_wcs(header)
        if wcs is None:
            raise InputError(f"path: expected a celestial WCS, got none in {path}")
        found.append((wcs, (header["NAXIS2"], header["NAXIS1"])))
    return found


def find_fields(folder: str | PathLike, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Tell which field each position is on, the one that it is deepest inside.

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
