"""Cut one galaxy out of images of whole fields, one per band, onto one pixel grid.

The bands of an SDSS field lie some pixels apart and are turned a little against each other.
They are brought onto the pixels of the r band, which is not resampled, by cubic splines
(`scipy.ndimage.map_coordinates`): these keep positions and surface brightness, and the ratio
of pixel areas is put in. The error of a resampled pixel is that of the nearest pixel in the
frame: the spline correlates neighbours, and the noise in apertures stays what it was.

`photospec.image.read_image` cuts from files by this module, and so does the archive.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from astropy import units as u
from astropy.nddata import NDData, StdDevUncertainty
from astropy.wcs.utils import proj_plane_pixel_area
from scipy.ndimage import map_coordinates

from photospec.errors import InputError
from photospec.image.headers import band_of, deviation, role_of, text_card
from photospec.image.units import (
    NANOMAGGY,
    band_names,
    parse_unit,
    sigma_to_nanomaggies,
    to_nanomaggies,
)
from photospec.image.wcs import (
    header_wcs,
    moved_wcs,
    pixel_scales,
    pixel_to_sky,
    sky_position,
    sky_to_pixel,
    target_pixel,
)
from photospec.photometry.filters import SDSS_BANDS
from photospec.utils.fits import open_fits
from photospec.utils.validity import usable

__all__ = ["Frame", "Grid", "combine", "cut", "frame_of", "read_frames"]

# A spline hardly feels pixels further away than this (3.7 to the power of -12 is 1e-7).
_MARGIN = 12

# Electrons per count by camera column; u of column 2 changed at run 1100.
_GAIN = {
    "u": (1.62, 1.595, 1.59, 1.6, 1.47, 2.17),
    "g": (3.32, 3.855, 3.845, 3.995, 4.05, 4.035),
    "r": (4.71, 4.6, 4.72, 4.76, 4.725, 4.895),
    "i": (5.165, 6.565, 4.86, 4.885, 4.64, 4.76),
    "z": (4.745, 5.155, 4.885, 4.775, 3.48, 4.69),
}
# Counts squared; some changed at run 1500.
_DARK_VARIANCE = {
    "u": (9.61, 12.6025, 8.7025, 12.6025, 9.3025, 7.0225),
    "g": (15.6025, 1.44, 1.3225, 1.96, 1.1025, 1.8225),
    "r": (1.8225, 1.0, 1.3225, 1.3225, 0.81, 0.9025),
    "i": (7.84, 5.76, 4.6225, 6.25, 7.84, 5.0625),
    "z": (0.81, 1.0, 1.0, 9.61, 1.8225, 1.21),
}
_NEW_GAIN = {("u", 2): 1.825}
_NEW_DARK_VARIANCE = {("i", 2): 6.25, ("i", 4): 7.5625, ("z", 4): 12.6025, ("z", 5): 2.1025}


@dataclass(frozen=True, eq=False)
class Frame:
    """Image of a whole field in one band, in memory.

    Attributes
    ----------
    band : str
        Its filter.
    data : ndarray (ny, nx)
        Sky-subtracted, nanomaggies.
    wcs : astropy.wcs.WCS
        Celestial.
    sigma : ndarray (ny, nx) or None
        Standard deviations, where the file has them.
    hdus : HDUList or None
        The file of an SDSS frame, for its noise (`frame_variance`).
    meta : dict
        What the header says: ``name`` and, for SDSS frames, ``date``.
    """

    band: str
    data: np.ndarray
    wcs: object
    sigma: np.ndarray | None = None
    hdus: object = None
    meta: dict = field(default_factory=dict)

    def box(self, x0, x1, y0, y1):
        """Return data and noise in a box; NaN where the box leaves the frame.

        Parameters
        ----------
        x0, x1, y0, y1 : int
            Pixels from x0 up to, not including, x1.

        Returns
        -------
        data, sigma : ndarray (y1 - y0, x1 - x0)
            Nanomaggies, and their standard deviation: NaN where it is not known.
        """
        shape = (y1 - y0, x1 - x0)
        data, sigma = np.full(shape, np.nan), np.full(shape, np.nan)
        ny, nx = self.data.shape
        xs, ys = slice(max(x0, 0), min(x1, nx)), slice(max(y0, 0), min(y1, ny))
        if xs.start >= xs.stop or ys.start >= ys.stop:
            return data, sigma
        place = (slice(ys.start - y0, ys.stop - y0), slice(xs.start - x0, xs.stop - x0))
        data[place] = self.data[ys, xs]
        if self.sigma is not None:
            sigma[place] = self.sigma[ys, xs]
        elif self.hdus is not None:
            variance = frame_variance(data[place], self.hdus, (ys, xs))
            if variance is not None:
                sigma[place] = np.sqrt(variance)
        return data, sigma


@dataclass(frozen=True)
class Grid:
    """Pixels of the reference frame around one galaxy: `size` of them from (x0, y0) on."""

    x0: int
    y0: int
    size: int
    ra: float
    dec: float

    @classmethod
    def around(cls, wcs, ra, dec, size):
        """Put a grid around a position, the galaxy on pixel ``size // 2`` to half a pixel."""
        x, y = (value.item() for value in sky_to_pixel(wcs, ra, dec))
        return cls(round(x) - size // 2, round(y) - size // 2, size, float(ra), float(dec))

    def outside(self, shape):
        """Return how many pixels the galaxy lies outside of a frame (float; 0 = on it)."""
        x, y = self.x0 + self.size // 2, self.y0 + self.size // 2
        return float(max(0, -x, x - shape[1] + 1, -y, y - shape[0] + 1))


def cut(frame, reference, grid):
    """Cut a galaxy out of one frame, onto the pixels of the reference frame.

    Parameters
    ----------
    frame : Frame
        The frame of one band.
    reference : astropy.wcs.WCS
        Of the reference frame. A frame with this very WCS is not resampled.
    grid : Grid
        Where the galaxy is on the reference frame.

    Returns
    -------
    data, sigma : ndarray (size, size)
        Nanomaggies and their standard deviation; NaN outside the frame, and for `sigma`
        where it is not known.
    """
    if frame.wcs is reference:
        return frame.box(grid.x0, grid.x0 + grid.size, grid.y0, grid.y0 + grid.size)
    yy, xx = np.mgrid[grid.y0 : grid.y0 + grid.size, grid.x0 : grid.x0 + grid.size]
    sky = pixel_to_sky(reference, xx.ravel(), yy.ravel())
    x, y = (value.reshape(xx.shape) for value in sky_to_pixel(frame.wcs, *sky))
    x0, y0 = int(np.floor(x.min())) - _MARGIN, int(np.floor(y.min())) - _MARGIN
    x1, y1 = int(np.ceil(x.max())) + _MARGIN + 1, int(np.ceil(y.max())) + _MARGIN + 1
    data, sigma = frame.box(x0, x1, y0, y1)
    bad = ~usable(data, axis=(-2, -1))
    # A pixel of the reference holds so much more light as it is larger.
    area = float(proj_plane_pixel_area(reference) / proj_plane_pixel_area(frame.wcs))
    # A spline spreads NaN over everything: fill, and take out again what was filled.
    data = map_coordinates(np.where(bad, 0.0, data), [y - y0, x - x0], order=3) * area
    touched = map_coordinates(bad.astype(float), [y - y0, x - x0], order=1) > 0
    sigma = sigma[np.rint(y - y0).astype(int), np.rint(x - x0).astype(int)] * area
    data[touched] = sigma[touched] = np.nan
    return data, sigma


def combine(pieces, grid, reference, meta):
    """Make one image of what was cut out of each band.

    Parameters
    ----------
    pieces : dict of str to (ndarray, ndarray)
        By band: data and sigma, as from `cut`.
    grid : Grid
        Where the galaxy is on the reference frame.
    reference : astropy.wcs.WCS
        Of the reference frame.
    meta : dict
        More to carry.

    Returns
    -------
    NDData (n_bands, size, size)
        Nanomaggies with WCS, mask and, where all bands have errors, uncertainty. Where there
        is no frame pixels are masked and zero, their uncertainty is NaN.
    """
    data, sigma = (np.array(part, dtype=np.float32) for part in zip(*pieces.values()))
    known = np.isfinite(sigma).any(axis=(1, 2)).all()
    mask = ~usable(data, sigma if known else None, axis=(-2, -1))
    wcs = moved_wcs(reference, (grid.x0, grid.y0), (1, 1), grid.size)
    wcs.array_shape = (grid.size, grid.size)
    scale = pixel_scales(wcs, {}, (grid.size // 2, grid.size // 2))
    return NDData(
        np.where(mask, np.float32(0), data),
        unit=NANOMAGGY,
        wcs=wcs,
        mask=mask,
        uncertainty=StdDevUncertainty(sigma) if known else None,
        meta={
            "bands": tuple(pieces),
            "pixel_scale": float(np.mean(scale)) * u.arcsec,
            "position": (grid.ra, grid.dec),
            **meta,
        },
    )


def frame_of(hdus, path, asked=(), wcs=None):
    """Make a frame of the image in a FITS file.

    Parameters
    ----------
    hdus : HDUList
        With one two-dimensional image; further extensions may hold its errors and its mask.
    path : path-like
        The file, for messages.
    asked : sequence of str
        Names of bands that somebody asked for.
    wcs : astropy.wcs.WCS, optional
        Celestial; by default that of the header.

    Returns
    -------
    Frame

    Raises
    ------
    InputError
        If there is no image, or it does not say its band, unit or place on the sky.
    """
    planes = [hdu for hdu in hdus if hdu.is_image and hdu.data is not None and hdu.data.ndim == 2]
    images = [hdu for hdu in planes if not role_of(hdu)]
    if not images:
        raise InputError(f"path: expected an image in one band, got none in {path}")
    hdu = images[0]
    band, _ = band_of(hdu, asked)
    if band is None:
        raise InputError(f"bands: expected the card FILTER in the header, got none in {path}")
    wcs = header_wcs(hdu.header) if wcs is None else wcs
    if wcs is None:
        raise InputError(f"path: expected a celestial WCS, got none in {path}")
    ny, nx = hdu.data.shape
    unit = parse_unit(hdu.header.get("BUNIT"))
    scale = pixel_scales(wcs, {}, (nx / 2, ny / 2))
    area = scale[0] * scale[1] * u.arcsec**2
    data = hdu.data if hdu.data.dtype.kind == "f" else hdu.data.astype(float)
    data = to_nanomaggies(data[None], unit, [band], area)[0]
    sigma = None
    for other in planes:
        role = role_of(other)
        if role and other.data.shape == data.shape:
            if role == "mask":
                data = np.where(other.data != 0, np.nan, data)
            else:
                sigma, sigma_unit = deviation(other)
                sigma_unit = unit if sigma_unit is None else sigma_unit
                sigma = sigma_to_nanomaggies(sigma[None], sigma_unit, data[None], [band], area)[0]
    header = hdu.header
    meta = {"date": text_card(header, "DATE-OBS")}
    if {"RUN", "CAMCOL", "FIELD"} <= set(header):
        meta["name"] = f"sdss-{header['RUN']:06d}-{header['CAMCOL']}-{header['FIELD']:04d}"
    return Frame(band, data, wcs, sigma, hdus, meta)


def read_frames(paths, position, bands=None, size=None):
    """Read one galaxy from files of whole fields, one band each.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Files with one image and the card FILTER each.
    position : SkyCoord or (ra, dec) in degrees
        The target.
    bands : str or sequence of str, optional
        Bands wanted (default: those there are).
    size : int, optional
        Side of the cutout in pixels, default 96.

    Returns
    -------
    NDData (n_bands, size, size)
        As from `combine`, on the pixels of the r band, or of the middle one where there is
        no r.

    Raises
    ------
    InputError
        If a file or band is missing, or the position is not on the frames.
    """
    if position is None:
        raise InputError(
            f"position: expected the sky position of the target in {len(paths)} frames, got none"
        )
    asked = () if bands is None else band_names(bands)
    # Unpacking a field takes seconds: the last one is kept, for the next galaxy in it.
    frames = _frames(
        tuple((path, path.stat().st_mtime_ns if path.is_file() else 0) for path in paths), asked
    )
    wanted = asked or (
        *(band for band in SDSS_BANDS if band in frames),
        *(band for band in frames if band not in SDSS_BANDS),
    )
    missing = [band for band in wanted if band not in frames]
    if missing:
        raise InputError(
            f"path: expected files for the bands {', '.join(wanted)}, got none for "
            f"{', '.join(missing)}; is the folder complete?"
        )
    first = frames["r" if "r" in wanted else wanted[len(wanted) // 2]]
    ra, dec = sky_position(position)
    target_pixel(first.data.shape, first.wcs, {}, (ra, dec))  # refuses a place off the frame
    grid = Grid.around(first.wcs, ra, dec, 96 if size is None else int(size))
    pieces = {band: cut(frames[band], first.wcs, grid) for band in wanted}
    for band, (data, _) in pieces.items():
        if not np.isfinite(data).any():
            raise InputError(
                f"position: expected a position on all frames, got one off the {band} band; "
                "is it at the edge of the field?"
            )
    name = first.meta.get("name", f"{ra:.5f}{dec:+.5f}")
    image = combine(pieces, grid, first.wcs, {"name": name})
    if not image.mask.any():
        image.mask = None
    return image


@lru_cache(maxsize=1)
def _frames(paths, asked):
    """Return frames by band."""
    frames = {}
    for path, _ in paths:
        frame = frame_of(open_fits(path), path, asked)
        if frame.band in frames:
            raise InputError(
                f"path: expected one file per band, got two of {frame.band}, among them {path}; "
                "are there several fields in the folder?"
            )
        frames[frame.band] = frame
    return frames


def frame_variance(image, hdus, box):
    """Tell the variance per pixel of a part of an SDSS corrected frame.

    The recipe and both tables are those of the SDSS data model (page "frame"): undo calibration
    and sky subtraction to get back counts; photon noise and dark variance add.

    Parameters
    ----------
    image : ndarray (ny, nx)
        The part, nanomaggies.
    hdus : HDUList
        The frame: calibration vector in extension 1, sky in extension 2.
    box : tuple of slice
        Where the part lies in the frame, (y, x).

    Returns
    -------
    ndarray (ny, nx) or None
        Nanomaggies squared; None when the file is no complete SDSS frame.
    """
    header = hdus[0].header
    band, column, run = header.get("FILTER"), header.get("CAMCOL"), header.get("RUN")
    try:
        gain = _GAIN[band.strip()][int(column) - 1]
        dark = _DARK_VARIANCE[band.strip()][int(column) - 1]
        calibration = np.asarray(hdus[1].data, dtype=float)[box[1]]
        sky_table = hdus[2].data[0]
        sky = np.asarray(sky_table["ALLSKY"], dtype=float)
        y = np.asarray(sky_table["YINTERP"], dtype=float)[box[0]]
        x = np.asarray(sky_table["XINTERP"], dtype=float)[box[1]]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None
    if run is not None and run > 1100:
        gain = _NEW_GAIN.get((band.strip(), int(column)), gain)
    if run is not None and run > 1500:
        dark = _NEW_DARK_VARIANCE.get((band.strip(), int(column)), dark)
    sky = map_coordinates(sky, np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest")
    counts = np.maximum(image / calibration + sky, 0)
    return (counts / gain + dark) * calibration**2
