"""Cut one galaxy out of images of whole fields, one per band, onto one pixel grid.

The bands of an SDSS field are shifted by some pixels against each other and turned a
little. They are brought onto the grid of the r band by bicubic interpolation: pixels have
the same size in all bands, so interpolation conserves flux but for their ratio in area,
which is applied.
"""

import warnings

import numpy as np
from astropy import units as u
from astropy.nddata import NDData, StdDevUncertainty
from astropy.wcs.utils import proj_plane_pixel_area
from reproject import reproject_interp

from photospec.errors import InputError
from photospec.image_units import (
    NANOMAGGY,
    parse_unit,
    pixel_scales,
    target_pixel,
    to_nanomaggies,
)

__all__ = ["cut_frames"]

_MARGIN = 12  # pixels around the cutout that interpolation may look at


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
    for index, band in enumerate(bands):
        data[index] = _onto(planes[band], out_wcs, size, band)
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
        uncertainty=_uncertainty(data, planes),
        meta=meta,
    )


def _name(header, position):
    if {"RUN", "CAMCOL", "FIELD"} <= set(header):
        return f"sdss-{header['RUN']:06d}-{header['CAMCOL']}-{header['FIELD']:04d}"
    return f"{position[0]:.5f}{position[1]:+.5f}"


def _onto(plane, out_wcs, size, band):
    image, wcs, header, _ = plane
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
    part = to_nanomaggies(
        image[None, low[1] : high[1], low[0] : high[0]].astype(float), unit, [band], area
    )[0]
    part_wcs = wcs.deepcopy()
    part_wcs.wcs.crpix -= low
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other astropy versions warn about equinox cards
        result, _ = reproject_interp(
            (part, part_wcs), out_wcs, (size, size), order="bicubic", parallel=False
        )
    return result * (proj_plane_pixel_area(out_wcs) / proj_plane_pixel_area(part_wcs))


def _uncertainty(data, planes):
    return None
    return StdDevUncertainty(data)
