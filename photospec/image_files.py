"""Images from files: cubes, one extension per band, one file per band, SDSS frames."""

import bz2
import io
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import NDData, StdDevUncertainty
from astropy.wcs import WCS, FITSFixedWarning

from photospec.errors import InputError
from photospec.frames import cut_frames
from photospec.image_units import (
    NANOMAGGY,
    band_names,
    parse_unit,
    pixel_scales,
    sky_position,
    target_pixel,
    to_nanomaggies,
)

__all__ = ["open_fits", "read_image"]

_UNCERTAINTY = {
    "UNCERT": "std", "UNCERTAINTY": "std", "ERR": "std", "ERROR": "std", "SIGMA": "std",
    "STD": "std", "VAR": "var", "VARIANCE": "var", "IVAR": "ivar", "INVVAR": "ivar",
}  # fmt: skip
_MASK = {"MASK", "DQ"}


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
    if isinstance(path, str | Path):
        path = Path(path)
        if not path.is_dir():
            return _read_file(path, position, bands, size)
        paths = sorted(path.glob("frame-*.fits*")) or sorted(path.glob("*.fits*"))
        if not paths:
            raise InputError(f"path: expected FITS files in the folder, got none in {path}")
    else:
        paths = [Path(item) for item in path]
        if len(paths) == 1:
            return _read_file(paths[0], position, bands, size)
        if not paths:
            raise InputError("path: expected at least one file, got an empty list")
    return _read_frames(paths, position, bands, size)


def open_fits(path):
    """Open a FITS file whole into memory, or say in one line why not.

    Parameters
    ----------
    path : path-like
        May be compressed by gzip or bzip2.

    Returns
    -------
    astropy.io.fits.HDUList
        Closed, with all data loaded.

    Raises
    ------
    InputError
        If it is missing, empty, truncated or no FITS file.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"path: expected a FITS file, got {path} which does not exist")
    if path.is_dir():
        raise InputError(f"path: expected a FITS file, got the folder {path}")
    if path.stat().st_size == 0:
        raise InputError(f"path: expected a FITS file, got the empty file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*")
            # In memory: astropy would leave a damaged file open.
            source = path.read_bytes()
            if path.suffix == ".bz2":  # unpacked once: seeking in the stream unpacks it anew
                source = bz2.decompress(source)
            with fits.open(io.BytesIO(source), memmap=False, lazy_load_hdus=False) as hdus:
                for hdu in hdus:
                    _ = hdu.data
    except Exception as error:  # astropy raises many kinds on damaged files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        cause = "is it another kind of file?"
        if not isinstance(error, OSError) or "truncated" in reason or "SIMPLE" not in reason:
            cause = "is the download incomplete?"
        raise InputError(
            f"path: expected a FITS file, got {path} which cannot be read ({reason[:80]}); {cause}"
        ) from None
    return hdus


def _celestial(header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(header).celestial
        except Exception:  # a broken WCS is as good as none; the pixel scale check follows
            return None
    return wcs if wcs.has_celestial else None


def _read_file(path, position, bands, size):
    hdus = open_fits(path)
    images = [hdu for hdu in hdus if hdu.is_image and hdu.data is not None]
    if not images:
        raise InputError(f"path: expected an image, got none in {path}; is it a table?")
    cubes = [hdu for hdu in images if hdu.data.ndim == 3 and not _role(hdu)]
    if cubes:
        parts = _from_cube(cubes[0], images, bands, path)
    else:
        parts = _from_extensions(images, path)
        if bands is not None:
            parts = _select(parts, band_names(bands), path)
    data, mask, uncertainty, names, unit, header = parts
    wcs = _celestial(header)
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
        data.astype(np.float32),
        unit=NANOMAGGY,
        wcs=wcs,
        mask=mask if mask.any() else None,
        uncertainty=None if uncertainty is None else StdDevUncertainty(uncertainty),
        meta=meta,
    )


def _role(hdu):
    """What an extension holds beside an image: "std", "var", "ivar", "mask" or ""."""
    name = hdu.name.upper().replace("-", "_").split("_")[0]
    return "mask" if name in _MASK else _UNCERTAINTY.get(name, "")


def _deviation(hdu):
    kind = {"StdDevUncertainty": "std", "VarianceUncertainty": "var", "InverseVariance": "ivar"}
    kind = kind.get(hdu.header.get("UTYPE"), _role(hdu))
    values = hdu.data.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "var":
            return np.sqrt(values)
        return 1 / np.sqrt(values) if kind == "ivar" else values


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
        role = _role(other)
        if not role or other.data.shape not in (data.shape, data.shape[1:]):
            continue
        if role == "mask":
            mask |= other.data != 0
        else:
            uncertainty = np.broadcast_to(_deviation(other), data.shape)
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


def _band_of(hdu):
    """Band of a two-dimensional image and what it holds, or (None, "")."""
    role = _role(hdu)
    name = hdu.name
    if role:
        name = name[len(name.split("_")[0].split("-")[0]) + 1 :]
    for text in (name, hdu.header.get("FILTER"), hdu.header.get("BAND")):
        if text:
            try:
                found = band_names([text])
            except InputError:
                continue
            return found[0], role
    return None, role


def _from_extensions(images, path):
    planes = {"": {}, "mask": {}, "std": {}}
    for hdu in images:
        band, role = _band_of(hdu)
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
        uncertainty = np.array([_deviation(planes["std"][band]) for band in names])
    return data, mask, uncertainty, names, units.pop(), first.header


def _same_grid(hdus, path):
    """Refuse bands whose WCS differ by more than a tenth of a pixel."""
    reference = _celestial(hdus[0].header)
    if reference is None:
        return
    ny, nx = hdus[0].data.shape
    corners = np.array([[0, 0], [nx - 1, 0], [0, ny - 1], [nx - 1, ny - 1]], dtype=float)
    sky = reference.all_pix2world(corners, 0)
    for hdu in hdus[1:]:
        wcs = _celestial(hdu.header)
        if wcs is not None:
            shift = np.abs(wcs.all_world2pix(sky, 0) - corners).max()
            if shift > 0.1:
                raise InputError(
                    f"image: expected all bands on one pixel grid, got {shift:.1f} pixels between "
                    f"extensions of {path}; give them as one file per band to have them aligned"
                )


def _read_frames(paths, position, bands, size):
    if position is None:
        raise InputError(
            f"position: expected the sky position of the target in {len(paths)} frames, got none"
        )
    planes = {}
    for path in paths:
        hdus = open_fits(path)
        images = [hdu for hdu in hdus if hdu.is_image and hdu.data is not None]
        images = [hdu for hdu in images if hdu.data.ndim == 2 and not _role(hdu)]
        if not images:
            raise InputError(f"path: expected an image in one band, got none in {path}")
        band, _ = _band_of(images[0])
        if band is None:
            raise InputError(f"bands: expected the card FILTER in the header, got none in {path}")
        if band in planes:
            raise InputError(
                f"path: expected one file per band, got two of {band}, among them {path}; "
                "are there several fields in the folder?"
            )
        wcs = _celestial(images[0].header)
        if wcs is None:
            raise InputError(f"path: expected a celestial WCS, got none in {path}")
        planes[band] = (images[0].data, wcs, images[0].header, hdus)
    wanted = band_names(bands) if bands is not None else tuple(b for b in "ugriz" if b in planes)
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
