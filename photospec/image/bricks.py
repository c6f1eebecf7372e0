"""Cut one galaxy out of bricks of the Legacy Surveys: images, inverse variances, MASKBITS.

A brick is 3600 x 3600 pixels of 0.262 arcsec, one compressed file per band and kind,
``legacysurvey-<brick>-image-<band>.fits.fz`` and so on (www.legacysurvey.org/dr10/files, "Image
stacks"). All are on one grid of pixels, so nothing is resampled, and of the compressed tiles
only those around the galaxy are unpacked.
"""

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from photospec.errors import InputError
from photospec.image.frames import Grid, combine
from photospec.image.headers import text_card
from photospec.image.units import band_names, parse_unit, to_nanomaggies
from photospec.image.wcs import header_wcs, pixel_scales, sky_position, target_pixel
from photospec.utils.fits import open_fits
from photospec.utils.reading import reading
from photospec.utils.validity import to_sigma

__all__ = ["NORTH", "bad_bits", "brick_of", "camera_at", "read_brick"]

_FILE = re.compile(
    r"legacysurvey-(?P<brick>\d{4}[pm]\d{3})-(?P<kind>image|invvar|maskbits)"
    r"(-(?P<band>\w+))?\.fits(\.fz|\.gz)?$"
)
# Bits of MASKBITS that say that a pixel of a band is saturated or bad in all exposures
# (www.legacysurvey.org/dr10/bitmasks). Others are about what lies nearby.
_BAD_BITS = {"g": (2, 5), "r": (3, 6), "z": (4, 7), "i": (14, 15)}
#: Cameras of the northern part (BASS and MzLS), whose filters are not DECam's.
NORTH = "90prime, mosaic3"
# Where images of the northern part are taken: declination above this, north of the Galactic
# plane (www.legacysurvey.org/dr9/description, "Contents of DR9").
_NORTH_FROM = 32.375
# Bands whose corners differ by more are not of one brick, pixels.
_TOLERANCE = 0.1


def brick_of(path):
    """Tell the brick that a file is of, by its name.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    str or None
        Such as "1857p082"; None for files of another kind. Those of a brick that are no images,
        inverse variances or MASKBITS (models, depths) are of another kind too.
    """
    found = _FILE.search(Path(path).name)
    return found["brick"] if found else None


def bad_bits(bands):
    """Return bits of MASKBITS by which a pixel is bad, for each band.

    Parameters
    ----------
    bands : sequence of str

    Returns
    -------
    ndarray of int (n_bands,)
    """
    return np.array([sum(1 << bit for bit in _BAD_BITS.get(band, ())) for band in bands])


def camera_at(ra, dec):
    """Return the camera whose images the Legacy Surveys show at a place.

    Parameters
    ----------
    ra, dec : float
        Degrees.

    Returns
    -------
    str
        "decam", or `NORTH`.
    """
    north = dec > _NORTH_FROM and SkyCoord(ra, dec, unit="deg").galactic.b.deg > 0
    return NORTH if north else "decam"


def read_brick(paths, position, bands=None, size=None):
    """Read one galaxy from the files of a brick.

    Parameters
    ----------
    paths : sequence of path-like
        Images of the bands, of one brick. Inverse variances and MASKBITS that lie beside them
        are used too, whether they are among these or not.
    position : SkyCoord or (ra, dec) in degrees
        The target.
    bands : str or sequence of str, optional
        Bands wanted, in this order (default: those there are, in the order of wavelength).
    size : int, optional
        Side of the cutout in pixels, default 96.

    Returns
    -------
    NDData (n_bands, size, size)
        As from `photospec.image.frames.combine`. Masked where a band was not observed, and where
        MASKBITS says that it is saturated or bad in all exposures.

    Raises
    ------
    InputError
        If a band is missing, files are of several bricks or damaged, or the position is not on
        the brick.
    """
    if position is None:
        raise InputError(
            f"position: expected the sky position of the target in the brick {brick_of(paths[0])}, "
            "got none"
        )
    files = _files_of(paths)
    images = files["image"]
    known = [band for band in "ugrizY" if band in images]
    known += [band for band in images if band not in known]
    wanted = known if bands is None else band_names(bands)
    missing = [band for band in wanted if band not in images]
    if missing or not images:
        raise InputError(
            f"path: expected image files of the bands {', '.join(wanted) or 'g, r, z'} in "
            f"{Path(paths[0]).parent}, got none of {', '.join(missing) or 'any'}"
        )
    opened = {band: _open(images[band]) for band in wanted}
    first = opened["r" if "r" in wanted else wanted[0]]
    wcs, shape = header_wcs(first.header), first.shape
    if wcs is None:
        raise InputError(f"path: expected a celestial WCS, got none in {images[wanted[0]]}")
    ra, dec = sky_position(position)
    target_pixel(shape, wcs, {}, (ra, dec))  # refuses a place off the brick
    grid = Grid.around(wcs, ra, dec, 96 if size is None else int(size))
    bits = _bits(files["maskbits"], grid, shape)
    area = np.prod(pixel_scales(wcs, {}, (shape[1] / 2, shape[0] / 2))) * u.arcsec**2
    pieces = {}
    for band, hdu in opened.items():
        _check_grid(hdu, wcs, shape, images[band])
        data = _box(hdu, grid, images[band])
        sigma = np.full(data.shape, np.nan)
        if band in files["invvar"]:
            path = files["invvar"][band]
            other = _open(path)
            _check_grid(other, wcs, shape, path)
            sigma = to_sigma(_box(other, grid, path), "ivar")
        data[(data == 0) | ((bits & bad_bits([band])[0]) != 0)] = np.nan
        unit = parse_unit(hdu.header.get("BUNIT", "nanomaggy"))
        scale = to_nanomaggies(np.ones(1), unit, [band], area)[0]
        pieces[band] = data * scale, sigma * scale
    if not any(np.isfinite(data).any() for data, _ in pieces.values()):
        raise InputError("position: expected a place that was observed, got one without images")
    camera = text_card(first.header, "INSTRUME").lower() or camera_at(ra, dec)
    image = combine(
        pieces, grid, wcs, {"name": f"{brick_of(paths[0])}-{ra:.5f}{dec:+.5f}", "camera": camera}
    )
    if not image.mask.any():
        image.mask = None
    return image


def _files_of(paths):
    """Return the files of one brick by kind and band, with those that lie beside them."""
    bricks = {brick_of(path) for path in paths}
    if len(bricks) > 1:
        raise InputError(
            f"path: expected files of one brick, got some of {', '.join(sorted(map(str, bricks)))}"
        )
    files = {"image": {}, "invvar": {}, "maskbits": {}}
    beside = {path for one in {Path(path).parent for path in paths} for path in one.iterdir()}
    [brick] = bricks
    given = set(map(Path, paths))
    for path in sorted(beside | given):
        found = _FILE.search(path.name)
        if found and found["brick"] == brick and (found["kind"] != "image" or path in given):
            files[found["kind"]][found["band"]] = path
    return files


def _open(path):
    return _opened(path, path.stat().st_mtime_ns if path.is_file() else 0)


# The files of one brick, packed: some 10 MB each.
@lru_cache(maxsize=9)
def _opened(path, _):
    """Return the image in a file, its pixels not unpacked."""
    images = [hdu for hdu in open_fits(path, load=False) if hdu.is_image and len(hdu.shape) == 2]
    if not images:
        raise InputError(f"path: expected an image in one band, got none in {path}")
    return images[0]


def _box(hdu, grid, path):
    """Return pixels of a grid, float64 (integers stay so); NaN, or integer zero, off the brick."""
    ny, nx = hdu.shape
    x0, x1 = max(grid.x0, 0), min(grid.x0 + grid.size, nx)
    y0, y1 = max(grid.y0, 0), min(grid.y0 + grid.size, ny)
    with reading(path, "an intact image"):
        part = np.asarray(hdu.section[y0:y1, x0:x1])
    whole = part.dtype.kind in "iu"
    box = np.full((grid.size,) * 2, 0 if whole else np.nan, np.int64 if whole else float)
    box[y0 - grid.y0 : y1 - grid.y0, x0 - grid.x0 : x1 - grid.x0] = part
    return box


def _bits(files, grid, shape):
    """Return bits (size, size) of MASKBITS; zero without the file."""
    if not files:
        return np.zeros((grid.size,) * 2, np.int64)
    [path] = files.values()
    hdu = _open(path)
    box = _box(hdu, grid, path)
    if hdu.shape != shape or box.dtype.kind != "i":
        raise InputError(f"path: expected MASKBITS of shape {shape}, got {hdu.shape} in {path}")
    return box


def _check_grid(hdu, wcs, shape, path):
    """Refuse an image that is not on the pixels of the others."""
    own, (ny, nx) = header_wcs(hdu.header), shape
    corners = np.array([[0, 0], [nx - 1, ny - 1]], float)
    shift = np.inf
    if own is not None and hdu.shape == shape:
        shift = np.abs(own.all_world2pix(wcs.all_pix2world(corners, 0), 0) - corners).max()
    if not shift <= _TOLERANCE:
        raise InputError(f"path: expected all files of a brick on one pixel grid, got {path}")
