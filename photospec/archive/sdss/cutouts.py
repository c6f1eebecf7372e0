"""Cutouts around galaxies, all bands on one pixel grid.

The common grid is that of the r-band frame, so r is never resampled; the other bands are
shifted onto it (they lie some pixels off, and by fractions of one) with cubic splines, which
keep positions and fluxes: the pixels of all bands have the same area to 1e-4, and that ratio
is put in. The noise of a resampled pixel is that of the pixel nearest to it: the spline
correlates neighbours and the noise in apertures stays what it was.
"""

import os
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData, StdDevUncertainty
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_area
from scipy.ndimage import map_coordinates

from photospec.errors import InputError

__all__ = ["Cutout", "Grid", "cut", "local_wcs", "read_cutout", "write_cutout"]

PIXEL_SCALE = 0.396  # arcsec, of all SDSS frames
# The spline of a pixel hardly feels pixels further away than this.
MARGIN = 12


@dataclass(frozen=True)
class Grid:
    """Pixels of the r-band frame around one galaxy: `size` of them from (x0, y0) on."""

    x0: int
    y0: int
    size: int
    ra: float
    dec: float

    @classmethod
    def around(cls, wcs, ra, dec, size):
        """Put a grid around a position, the galaxy on pixel ``size // 2`` to half a pixel."""
        x, y = (float(v) for v in wcs.world_to_pixel_values(ra, dec))
        x0, y0 = round(x) - size // 2, round(y) - size // 2
        return cls(x0, y0, size, float(ra), float(dec))

    def outside(self, shape):
        """Return how many pixels the galaxy lies outside of a frame (float; 0 = on it)."""
        x, y = self.x0 + self.size // 2, self.y0 + self.size // 2
        return float(max(0, -x, x - shape[1] + 1, -y, y - shape[0] + 1))


@dataclass(frozen=True, eq=False)
class Cutout:
    """One galaxy in all bands.

    Attributes
    ----------
    data : ndarray (n_bands, size, size) of float32
        Nanomaggies; NaN outside the frame.
    sigma : ndarray (n_bands, size, size) of float32
        Standard deviation; NaN outside the frame.
    bands : tuple of str
        Their names.
    wcs : WCS
        Coordinates of the pixels.
    position : tuple of float
        Right ascension and declination that were asked for, degrees.
    meta : dict
        ``run``, ``camcol``, ``field``, ``date``, identifiers.
    """

    data: np.ndarray
    sigma: np.ndarray
    bands: tuple
    wcs: WCS
    position: tuple
    meta: dict

    @property
    def mask(self):
        """True where a pixel is bad (n_bands, size, size)."""
        return ~(np.isfinite(self.data) & np.isfinite(self.sigma))

    def to_nddata(self):
        """Return the cutout as NDData in nanomaggies, with WCS, mask and uncertainty."""
        meta = dict(self.meta) | {
            "bands": self.bands,
            "pixel_scale": PIXEL_SCALE * u.arcsec,
            "position": self.position,
        }
        from photospec.image import NANOMAGGY

        mask = self.mask
        return NDData(
            np.where(mask, 0, self.data).astype(np.float32),
            uncertainty=StdDevUncertainty(np.where(mask, 0, self.sigma).astype(np.float32)),
            mask=mask,
            wcs=self.wcs,
            unit=NANOMAGGY,
            meta=meta,
        )


def cut(frame, reference, grids):
    """Cut galaxies out of one frame, onto the pixels of the r-band frame.

    Parameters
    ----------
    frame : Frame
        The frame of one band.
    reference : WCS
        World coordinates of the r-band frame.
    grids : list of Grid
        Where the galaxies are on that frame.

    Returns
    -------
    list of (ndarray, ndarray)
        Data and noise (size, size) of each galaxy, nanomaggies.
    """
    if frame.band == "r":
        return [frame.box(g.x0, g.x0 + g.size, g.y0, g.y0 + g.size) for g in grids]
    area = proj_plane_pixel_area(reference) / proj_plane_pixel_area(frame.wcs)
    return [_resampled(frame, reference, grid, float(area)) for grid in grids]


def _resampled(frame, reference, grid, area):
    yy, xx = np.mgrid[grid.y0 : grid.y0 + grid.size, grid.x0 : grid.x0 + grid.size]
    x, y = frame.wcs.world_to_pixel_values(*reference.pixel_to_world_values(xx, yy))
    x0, y0 = int(np.floor(x.min())) - MARGIN, int(np.floor(y.min())) - MARGIN
    x1, y1 = int(np.ceil(x.max())) + MARGIN + 1, int(np.ceil(y.max())) + MARGIN + 1
    data, sigma = frame.box(x0, x1, y0, y1)
    bad = ~np.isfinite(data)
    # A spline spreads NaN over everything: fill, and take out again what was filled.
    data = map_coordinates(np.where(bad, 0.0, data), [y - y0, x - x0], order=3) * area
    touched = map_coordinates(bad.astype(float), [y - y0, x - x0], order=1) > 0
    sigma = sigma[np.rint(y - y0).astype(int), np.rint(x - x0).astype(int)] * area
    lost = touched | ~np.isfinite(sigma)
    data[lost] = sigma[lost] = np.nan
    return data, sigma


def local_wcs(reference, grid):
    """Return the world coordinates of a grid cut from a frame (WCS)."""
    wcs = reference.deepcopy()
    wcs.wcs.crpix -= (grid.x0, grid.y0)
    wcs.array_shape = (grid.size, grid.size)
    return wcs


def write_cutout(path, cutout, **identifiers):
    """Write a cutout: a FITS cube with noise and mask in extensions, and checksums.

    Parameters
    ----------
    path : Path
        The file; it appears only when it is complete.
    cutout : Cutout
        What to write.
    **identifiers
        Header keywords, at most eight letters.
    """
    header = cutout.wcs.to_header()
    header["BUNIT"] = "nanomaggy"
    header["BANDS"] = "".join(cutout.bands)
    header["PIXSCALE"] = (PIXEL_SCALE, "arcsec")
    header["RA_OBJ"], header["DEC_OBJ"] = cutout.position
    for name in ("run", "rerun", "camcol", "field"):
        if name in cutout.meta:
            header[name] = cutout.meta[name]
    header["OBSDATE"] = (cutout.meta.get("date", ""), "date of the r-band exposure")
    for name, value in identifiers.items():
        header[name] = value
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(cutout.data.astype(np.float32), header),
            fits.ImageHDU(cutout.sigma.astype(np.float32), name="UNCERT"),
            fits.ImageHDU(cutout.mask.astype(np.uint8), name="MASK"),
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    hdus.writeto(partial, overwrite=True, checksum=True)
    os.replace(partial, path)


def read_cutout(path):
    """Read what `write_cutout` wrote.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    cutout : Cutout
        The cutout.
    header : Header
        With the identifiers.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            header = hdus[0].header
            meta = {
                name: header[name.upper()]
                for name in ("run", "rerun", "camcol", "field")
                if name.upper() in header
            }
            return (
                Cutout(
                    hdus[0].data.astype(np.float32),
                    hdus["UNCERT"].data.astype(np.float32),
                    tuple(header["BANDS"]),
                    WCS(header).celestial,
                    (header["RA_OBJ"], header["DEC_OBJ"]),
                    meta,
                ),
                header,
            )
    except (OSError, KeyError, TypeError) as error:
        raise InputError(
            f"path: expected a cutout of photospec.archive, got {path.name} ({error})"
        ) from None
