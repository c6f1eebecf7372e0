"""Cut one galaxy out of images of whole fields, one per band, onto one pixel grid.

The bands of an SDSS field are shifted by some pixels against each other and turned a
little. They are brought onto the grid of the r band by bicubic interpolation: pixels have
the same size in all bands, so interpolation conserves flux but for their ratio in area,
which is applied.
"""

import warnings
from functools import lru_cache

import numpy as np
from astropy import units as u
from astropy.nddata import NDData, StdDevUncertainty
from astropy.wcs.utils import proj_plane_pixel_area
from reproject import reproject_interp

from photospec.errors import InputError
from photospec.image.frame_noise import frame_variance
from photospec.image.headers import band_of, celestial, open_fits, role_of
from photospec.image.units import (
    NANOMAGGY,
    band_names,
    parse_unit,
    pixel_scales,
    sky_position,
    target_pixel,
    to_nanomaggies,
)
from photospec.photometry.filters import SDSS_BANDS

__all__ = ["cut_frames", "read_frames"]

_MARGIN = 12  # pixels around the cutout that interpolation may look at


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

    Raises
    ------
    InputError
        If a file or band is missing, or the position is not on the frames.
    """
    if position is None:
        raise InputError(
            f"position: expected the sky position of the target in {len(paths)} frames, got none"
        )
    # Unpacking a field takes seconds: the last one is kept, for the next galaxy in it.
    planes = _planes(
        tuple((path, path.stat().st_mtime_ns if path.is_file() else 0) for path in paths)
    )
    wanted = band_names(bands) if bands is not None else tuple(b for b in SDSS_BANDS if b in planes)
    missing = [band for band in wanted if band not in planes]
    if missing:
        raise InputError(
            f"path: expected files for the bands {', '.join(wanted)}, got none for "
            f"{', '.join(missing)}; is the folder complete?"
        )
    return cut_frames(
        {band: planes[band] for band in wanted},
        sky_position(position),
        96 if size is None else size,
    )


@lru_cache(maxsize=1)
def _planes(paths):
    """Images by band: (ny, nx) array, celestial WCS, header, HDUList."""
    planes = {}
    for path, _ in paths:
        hdus = open_fits(path)
        images = [hdu for hdu in hdus if hdu.is_image and hdu.data is not None]
        images = [hdu for hdu in images if hdu.data.ndim == 2 and not role_of(hdu)]
        if not images:
            raise InputError(f"path: expected an image in one band, got none in {path}")
        band, _ = band_of(images[0])
        if band is None:
            raise InputError(f"bands: expected the card FILTER in the header, got none in {path}")
        if band in planes:
            raise InputError(
                f"path: expected one file per band, got two of {band}, among them {path}; "
                "are there several fields in the folder?"
            )
        wcs = celestial(images[0].header)
        if wcs is None:
            raise InputError(f"path: expected a celestial WCS, got none in {path}")
        planes[band] = (images[0].data, wcs, images[0].header, hdus)
    return planes


def cut_frames(planes, position, size):
    """Cut a cube around a position out of one large image per band.

    Parameters
    ----------
    planes : dict of str to tuple
        By band: image (ny, nx), celestial WCS, header, HDUList of the file.
    position : tuple of float
        (ra, dec), degrees.
    size : int
        Side of the cutout in pixels.

    Returns
    -------
    NDData (n_bands, size, size)
        Nanomaggies; pixels outside a frame are masked and NaN. With uncertainties where
        the files are SDSS frames.

    Raises
    ------
    InputError
        If the position is not on the frames or a unit is no flux.
    """
    bands = tuple(planes)
    reference = "r" if "r" in planes else bands[len(bands) // 2]
    image, wcs, header, _ = planes[reference]
    x, y = target_pixel(image.shape, wcs, {}, position)
    start = (round(x) - size // 2, round(y) - size // 2)
    out_wcs = wcs.deepcopy()
    out_wcs.wcs.crpix -= start
    scale = pixel_scales(out_wcs, {})
    data = np.empty((len(bands), size, size))
    variance = np.full(data.shape, np.nan)
    for index, band in enumerate(bands):
        data[index], there = _onto(planes[band], out_wcs, size, band)
        if there is not None:
            variance[index] = there
    known = np.isfinite(variance).any(axis=(1, 2)).all()
    meta = {
        "bands": bands,
        "pixel_scale": float(np.mean(scale)) * u.arcsec,
        "position": tuple(position),
        "name": _name(header, position),
    }
    mask = ~np.isfinite(data)
    return NDData(
        data.astype(np.float32),
        unit=NANOMAGGY,
        wcs=out_wcs,
        mask=mask if mask.any() else None,
        uncertainty=StdDevUncertainty(np.sqrt(variance)) if known else None,
        meta=meta,
    )


def _name(header, position):
    if {"RUN", "CAMCOL", "FIELD"} <= set(header):
        return f"sdss-{header['RUN']:06d}-{header['CAMCOL']}-{header['FIELD']:04d}"
    return f"{position[0]:.5f}{position[1]:+.5f}"


def _onto(plane, out_wcs, size, band):
    image, wcs, header, hdus = plane
    unit = parse_unit(header.get("BUNIT"))
    scale = pixel_scales(wcs, {})
    area = scale[0] * scale[1] * u.arcsec**2
    corner = np.array([[0, 0], [size, 0], [0, size], [size, size]]) - 0.5
    found = wcs.all_world2pix(out_wcs.all_pix2world(corner, 0), 0)
    low = np.floor(found.min(axis=0)).astype(int) - _MARGIN
    high = np.ceil(found.max(axis=0)).astype(int) + _MARGIN
    low = np.maximum(low, 0)
    high = np.minimum(high, image.shape[::-1])
    if np.any(high - low < 4):
        raise InputError(
            f"position: expected a position on all frames, got one off the {band} band; "
            "is it at the edge of the field?"
        )
    box = np.s_[low[1] : high[1], low[0] : high[0]]
    part = to_nanomaggies(image[box][None].astype(float), unit, [band], area)[0]
    part_wcs = wcs.deepcopy()
    part_wcs.wcs.crpix -= low
    ratio = proj_plane_pixel_area(out_wcs) / proj_plane_pixel_area(part_wcs)
    result = ratio * _interpolate(part, part_wcs, out_wcs, size, "bicubic")
    variance = frame_variance(part, hdus, box)
    if variance is not None:
        # Of a pixel, not of the interpolated value: neighbours then need no covariance.
        variance = _interpolate(variance, part_wcs, out_wcs, size, "bilinear")
    return result, variance


def _interpolate(image, wcs, out_wcs, size, order):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy warns about odd equinox cards here
        result, _ = reproject_interp((image, wcs), out_wcs, (size, size), order=order)
    return result
