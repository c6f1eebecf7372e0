"""Images from files: cubes, one extension per band, one file per band, SDSS frames."""

import os
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData, StdDevUncertainty

from photospec.errors import InputError
from photospec.image.frames import read_frames
from photospec.image.headers import band_of, celestial, deviation, open_fits, role_of
from photospec.image.units import (
    NANOMAGGY,
    band_names,
    parse_unit,
    pixel_scales,
    sky_position,
    target_pixel,
    to_nanomaggies,
)

__all__ = ["read_image"]


def read_image(path, *, position=None, bands=None, size=None):
    """Read the image of one galaxy in several bands.

    Parameters
    ----------
    path : path-like or sequence of path-like
        A FITS file: a cube (n_bands, ny, nx) with the band names in the header card BANDS
        (or `bands`), or one image extension per band (named by EXTNAME or FILTER). Or
        several files, or a folder, with one image per band, such as five SDSS
        ``frame-*.fits.bz2``; these need a `position`.
    position : SkyCoord or (ra, dec) in degrees, optional
        The target. For cubes: default is RA_OBJ and DEC_OBJ of the header, else the centre.
    bands : str or sequence of str, optional
        Names of the planes of a cube whose header does not say; otherwise the bands to
        keep, in this order.
    size : int, optional
        Cut to so many pixels around the target (default: all of a file, 96 of frames).

    Returns
    -------
    NDData (n_bands, ny, nx) of float32
        In nanomaggies, with WCS, mask and uncertainty where the file has them, and ``meta``:
        ``bands``, ``pixel_scale`` (Quantity), ``position`` (ra, dec in degrees, where known),
        ``name``.

    Raises
    ------
    InputError
        If a file is missing, damaged, no FITS, or does not say its bands, unit or scale.
    """
    if size is not None and not (isinstance(size, int | np.integer) and size > 0):
        raise InputError(f"size: expected a positive whole number of pixels, got {size!r}")
    paths = _list_files(path)
    try:
        if len(paths) == 1:
            return _read_file(paths[0], position, bands, size)
        return read_frames(paths, position, bands, size)
    except InputError:
        raise
    except (fits.VerifyError, ValueError, TypeError, KeyError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:100]
        raise InputError(
            f"path: expected an intact image, got {paths[0]} with a header or data that make no "
            f"sense ({reason}); is the file damaged?"
        ) from None


def _list_files(path):
    if not isinstance(path, str | os.PathLike):
        paths = [Path(item) for item in path]
        if not paths:
            raise InputError("path: expected at least one file, got an empty list")
        return paths
    path = Path(path)
    if not path.is_dir():
        return [path]
    paths = sorted(path.glob("frame-*.fits*")) or sorted(path.glob("*.fits*"))
    if not paths:
        raise InputError(f"path: expected FITS files in the folder, got none in {path}")
    return paths


def _read_file(path, position, bands, size):
    hdus = open_fits(path)
    images = [hdu for hdu in hdus if hdu.is_image and hdu.data is not None]
    if not images:
        raise InputError(f"path: expected an image, got none in {path}; is it a table?")
    cubes = [hdu for hdu in images if hdu.data.ndim == 3 and not role_of(hdu)]
    if cubes:
        parts = _from_cube(cubes[0], images, bands, path)
    else:
        parts = _from_extensions(images, path)
        if bands is not None:
            parts = _select(parts, band_names(bands), path)
    data, mask, uncertainty, names, unit, header = parts
    wcs = celestial(header)
    meta = {"bands": names, "name": path.name.split(".fits")[0]}
    if header.get("PIXSCALE") is not None:
        meta["pixel_scale"] = float(header["PIXSCALE"]) * u.arcsec
    scale = pixel_scales(wcs, meta)
    meta["pixel_scale"] = float(np.mean(scale)) * u.arcsec
    if position is not None:
        meta["position"] = sky_position(position)
    elif header.get("RA_OBJ") is not None and header.get("DEC_OBJ") is not None:
        meta["position"] = sky_position((header["RA_OBJ"], header["DEC_OBJ"]))
    center = target_pixel(data.shape, wcs, meta, position)
    area = scale[0] * scale[1] * u.arcsec**2
    data = to_nanomaggies(data, unit, names, area)
    if uncertainty is not None:
        uncertainty = to_nanomaggies(uncertainty, unit, names, area)
    if size is not None:
        ny, nx = data.shape[-2:]
        x, y = (max(round(value) - size // 2, 0) for value in center)
        box = np.s_[..., y : min(y + size, ny), x : min(x + size, nx)]
        data, mask = data[box], mask[box]
        uncertainty = None if uncertainty is None else uncertainty[box]
        wcs = None if wcs is None else wcs.slice((slice(y, None), slice(x, None)))
    return NDData(
        _single(data),
        unit=NANOMAGGY,
        wcs=wcs,
        mask=mask if mask.any() else None,
        uncertainty=None if uncertainty is None else StdDevUncertainty(uncertainty),
        meta=meta,
    )


def _single(data):
    with np.errstate(over="ignore", invalid="ignore"):  # broken pixels become infinite
        return data.astype(np.float32)


def _from_cube(hdu, images, bands, path):
    data = hdu.data.astype(float)
    given = hdu.header.get("BANDS", hdu.header.get("FILTERS"))
    if given is None and bands is None:
        raise InputError(
            f"bands: expected the card BANDS in the header or bands=..., got neither for {path}"
        )
    names = band_names(given, "BANDS") if given is not None else band_names(bands)
    if len(names) != len(data):
        last = " (bands come first, not last)" if data.shape[-1] == len(names) else ""
        raise InputError(
            f"image: expected {len(names)} bands ({', '.join(names)}) along the first axis, got "
            f"shape {data.shape} in {path}{last}"
        )
    mask, uncertainty = ~np.isfinite(data), None
    for other in images:
        role = role_of(other)
        if not role or other.data.shape not in (data.shape, data.shape[1:]):
            continue
        if role == "mask":
            mask |= other.data != 0
        else:
            uncertainty = np.broadcast_to(deviation(other), data.shape)
    unit = parse_unit(hdu.header.get("BUNIT"))
    parts = (data, mask, uncertainty, names, unit, hdu.header)
    if bands is not None and given is not None:
        return _select(parts, band_names(bands), path)
    return parts


def _select(parts, bands, path):
    data, mask, uncertainty, names, unit, header = parts
    missing = [band for band in bands if band not in names]
    if missing:
        raise InputError(
            f"bands: expected some of {', '.join(names)}, got {', '.join(missing)} which "
            f"{path} has not"
        )
    order = [names.index(band) for band in bands]
    uncertainty = None if uncertainty is None else uncertainty[order]
    return data[order], mask[order], uncertainty, bands, unit, header


def _from_extensions(images, path):
    planes = {"": {}, "mask": {}, "std": {}}
    for hdu in images:
        band, role = band_of(hdu)
        if hdu.data.ndim != 2 or band is None:
            continue
        kind = role if role in ("", "mask") else "std"
        if band in planes[kind]:
            raise InputError(f"path: expected one image per band, got two of {band} in {path}")
        planes[kind][band] = hdu
    if not planes[""]:
        shapes = ", ".join(str(hdu.data.shape) for hdu in images[:3])
        raise InputError(
            f"image: expected a cube (n_bands, ny, nx) or extensions named by band, got shape "
            f"{shapes} in {path}; is it a single band, or do the extensions lack names?"
        )
    names = tuple(planes[""])
    first = planes[""][names[0]]
    units = {parse_unit(planes[""][band].header.get("BUNIT")) for band in names}
    shapes = {planes[""][band].data.shape for band in names}
    if len(units) > 1 or len(shapes) > 1:
        what = "units" if len(units) > 1 else "shapes"
        raise InputError(
            f"image: expected the same unit and shape in all bands, got different {what} in {path}"
        )
    _same_grid([planes[""][band] for band in names], path)
    data = np.array([planes[""][band].data for band in names], dtype=float)
    mask = ~np.isfinite(data)
    for index, band in enumerate(names):
        if band in planes["mask"]:
            mask[index] |= planes["mask"][band].data != 0
    uncertainty = None
    if set(planes["std"]) >= set(names):
        uncertainty = np.array([deviation(planes["std"][band]) for band in names])
    return data, mask, uncertainty, names, units.pop(), first.header


def _same_grid(hdus, path):
    """Refuse bands whose WCS differ by more than a tenth of a pixel."""
    reference = celestial(hdus[0].header)
    if reference is None:
        return
    ny, nx = hdus[0].data.shape
    corners = np.array([[0, 0], [nx - 1, 0], [0, ny - 1], [nx - 1, ny - 1]], dtype=float)
    sky = reference.all_pix2world(corners, 0)
    for hdu in hdus[1:]:
        wcs = celestial(hdu.header)
        if wcs is not None:
            shift = np.abs(wcs.all_world2pix(sky, 0) - corners).max()
            if shift > 0.1:
                raise InputError(
                    f"image: expected all bands on one pixel grid, got {shift:.1f} pixels between "
                    f"extensions of {path}; give them as one file per band to have them aligned"
                )
