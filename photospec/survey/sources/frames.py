"""Images at positions on SDSS frames."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord

from photospec.errors import InputError

__all__ = ["FrameSource", "find_fields", "frame_fields"]

_FRAME = re.compile(r"frame-(?P<band>[ugriz])-(?P<field>\d{6}-\d-\d{4})\.fits(\.bz2|\.gz)?$")


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
