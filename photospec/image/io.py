"""Images from files and into files: cubes, one extension per band, one file per band, frames.

Own files are cubes: bands, unit, position and pixel scale in the header, uncertainty and mask
in extensions, as other programs read them; what is left of ``meta`` is in an extension META as
JSON text, as in this package's files of spectra.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import NDData, StdDevUncertainty
from astropy.wcs import WCS

from photospec.config import whole_number
from photospec.errors import InputError
from photospec.image.bricks import bad_bits, brick_of, camera_at, read_brick
from photospec.image.frames import read_frames
from photospec.image.headers import (
    bad_pixels,
    band_of,
    deviation,
    is_legacy_cutout,
    role_of,
    text_card,
)
from photospec.image.units import (
    NANOMAGGY,
    band_label,
    band_names,
    parse_unit,
    sigma_to_nanomaggies,
    to_nanomaggies,
)
from photospec.image.wcs import (
    celestial,
    fitted_wcs,
    header_wcs,
    moved_wcs,
    pixel_scales,
    pixel_to_sky,
    sky_position,
    sky_to_pixel,
    target_pixel,
)
from photospec.utils.files import replacing
from photospec.utils.fits import open_fits
from photospec.utils.reading import reading
from photospec.utils.validity import standard_deviation, usable

__all__ = ["read_image", "write_image"]

_FORMAT = "photospec-image-1"
_EBV_CARD = "GAL_EBV"
# What the image itself and its header say: never in the JSON.
_OWN_META = {"bands", "pixel_scale", "position", "galactic_ebv", "name", "RA_OBJ", "DEC_OBJ"}


def read_image(
    path: str | PathLike | Sequence[str | PathLike],
    *,
    position: SkyCoord | tuple[float, float] | None = None,
    bands: str | Sequence[str] | None = None,
    size: int | None = None,
) -> NDData:
    """Read the image of one galaxy in several bands.

    Parameters
    ----------
    path : path-like or sequence of path-like
        A FITS file: a cube (n_bands, ny, nx) with the band names in the header card BANDS
        (or `bands`), or one image extension per band (named by EXTNAME or FILTER). Or
        several files, or a folder, with one image per band, such as five SDSS
        ``frame-*.fits.bz2`` or the ``legacysurvey-*-image-*.fits.fz`` of a brick; these need a
        `position`.
    position : SkyCoord or (ra, dec) in degrees, optional
        The target. For cubes: default is RA_OBJ and DEC_OBJ of the header, else the centre.
    bands : str or sequence of str, optional
        Names of the planes of a cube whose header does not say; otherwise the bands to
        keep, in this order.
    size : int, optional
        Cut to so many pixels around the target (default: all of a file, 96 of frames and
        bricks).

    Returns
    -------
    NDData (n_bands, ny, nx) of float32
        In nanomaggies, with WCS, mask and uncertainty (standard deviations) where the file has
        them, and ``meta``: ``bands``, ``pixel_scale`` (Quantity), ``position`` (ra, dec in
        degrees, where known), ``name``, of the Legacy Surveys ``camera``, and whatever
        `write_image` put there. Pixels without
        information (`photospec.utils.validity.usable`) are in the mask.

    Raises
    ------
    InputError
        If a file is missing, damaged, no FITS, or does not say its bands, unit or scale.

    See Also
    --------
    write_image : Write an image so that it is read back as it was.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from photospec.image import read_image
    >>> header = fits.Header({"BANDS": "grz", "BUNIT": "nanomaggy", "PIXSCALE": 0.262})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "cutout.fits"
    ...     fits.writeto(path, np.ones((3, 64, 64), np.float32), header)
    ...     image = read_image(path)
    >>> image.data.shape, image.meta["bands"], image.meta["pixel_scale"]
    ((3, 64, 64), ('g', 'r', 'z'), <Quantity 0.262 arcsec>)
    """
    if size is not None:
        size = whole_number("size", size, 1)
    paths = _list_files(path)
    with reading(paths[0], "an intact image"):
        if all(brick_of(item) for item in paths):
            return read_brick(paths, position, bands, size)
        if len(paths) == 1:
            return _read_file(paths[0], position, bands, size)
        return read_frames(paths, position, bands, size)


def write_image(path: str | PathLike, image: NDData, *, overwrite: bool = False) -> None:
    """Write an image so that `read_image` gives it back.

    Parameters
    ----------
    path : path-like
        A FITS file; it appears only when it is complete.
    image : NDData (n_bands, ny, nx)
        With a flux unit, ``meta["bands"]``, and a celestial WCS or ``meta["pixel_scale"]``.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    InputError
        If the image does not say its bands, unit or scale, or the file exists.

    Notes
    -----
    The file holds a cube in nanomaggies and, where the image has them, standard deviations in
    the extension UNCERT and the mask in the extension MASK, with checksums. ``position``,
    ``galactic_ebv`` and ``name`` are in the header; other entries of ``meta`` that JSON can
    hold are in the extension META, and those that it cannot are left out. A WCS that is not of
    FITS is written as the tangential projection that fits it best.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.nddata import NDData
    >>> from photospec.image import read_image, write_image
    >>> meta = {"bands": "grz", "pixel_scale": 0.262 * u.arcsec, "galactic_ebv": 0.03}
    >>> image = NDData(np.eye(96)[None] * np.ones((3, 1, 1)), unit=u.nmgy, meta=meta)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "galaxy.fits"
    ...     write_image(path, image)
    ...     back = read_image(path)
    >>> back.meta["bands"], back.meta["galactic_ebv"]
    (('g', 'r', 'z'), 0.03)
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError(f"path: expected a new file, got {path} which exists; allow overwrite")
    if not isinstance(image, NDData) or np.ndim(image.data) != 3:
        raise InputError(
            "image: expected an astropy NDData of shape (n_bands, ny, nx), got "
            f"{type(image).__name__} of shape {np.shape(getattr(image, 'data', image))}"
        )
    meta = dict(image.meta)
    if meta.get("bands") is None:
        raise InputError("meta['bands']: expected the names of the bands, got none")
    bands = band_names(meta["bands"], "meta['bands']")
    if len(bands) != len(image.data):
        raise InputError(
            f"image: expected {len(bands)} bands ({', '.join(bands)}) along the first axis, got "
            f"shape {image.data.shape}"
        )
    wcs = celestial(image.wcs)
    center = target_pixel(image.data.shape, wcs, meta)
    scale = pixel_scales(wcs, meta, center)
    header = _header_of(wcs, image.data.shape)
    header["FORMAT"] = (_FORMAT, "layout of this file")
    header["BUNIT"], header["BANDS"] = "nanomaggy", band_label(bands)
    header["PIXSCALE"] = (float(np.mean(scale)), "arcsec")
    if meta.get("position") is not None:
        header["RA_OBJ"], header["DEC_OBJ"] = sky_position(meta["position"])
    if meta.get("galactic_ebv") is not None:
        header[_EBV_CARD] = (float(meta["galactic_ebv"]), "Milky Way E(B-V), mag, SFD scale")
    if isinstance(meta.get("name"), str):
        header["OBJECT"] = meta["name"]
    area = scale[0] * scale[1] * u.arcsec**2
    data = to_nanomaggies(_floating(image.data), image.unit, bands, area)
    hdus = [fits.PrimaryHDU(data, header)]
    if image.uncertainty is not None:
        sigma, unit = standard_deviation(image.uncertainty)
        unit = image.unit if unit is None else unit
        sigma = np.broadcast_to(sigma, data.shape)
        sigma = sigma_to_nanomaggies(sigma, unit, data, bands, area)
        dtype = _floating(image.uncertainty.array).dtype
        hdus.append(fits.ImageHDU(sigma.astype(dtype), name="UNCERT"))
        hdus[-1].header["BUNIT"] = "nanomaggy"
        hdus[-1].header["UTYPE"] = "StdDevUncertainty"
    if image.mask is not None:
        mask = np.broadcast_to(np.asarray(image.mask, bool), data.shape)
        hdus.append(fits.ImageHDU(mask.astype(np.uint8), name="MASK"))
    hdus.append(_meta_hdu({key: meta[key] for key in meta if key not in _OWN_META}))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        fits.HDUList([hdu for hdu in hdus if hdu is not None]).writeto(temporary, checksum=True)


def _floating(array):
    """Return an array of floating point numbers in native byte order; float32 stays float32."""
    array = np.asarray(array)
    kind = array.dtype if array.dtype.kind == "f" and array.dtype.itemsize >= 4 else np.dtype(float)
    return array.astype(kind.newbyteorder("="), copy=False)


def _header_of(wcs, shape):
    if wcs is None:
        return fits.Header()
    if not isinstance(wcs, WCS) or wcs.cpdis1 is not None or wcs.det2im1 is not None:
        wcs = fitted_wcs(wcs, shape)  # tables of distortions do not fit into a header
    return wcs.to_header(relax=True)


def _plain(value):
    """Keep what JSON can hold; raises TypeError for the rest."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError


def _meta_hdu(meta):
    kept = {}
    for key, value in meta.items():
        try:
            kept[str(key)] = json.loads(json.dumps(value, default=_plain))
        except (TypeError, ValueError):
            continue
    if not kept:
        return None
    text = json.dumps(kept, sort_keys=True).encode()
    return fits.ImageHDU(np.frombuffer(text, dtype=np.uint8).copy(), name="META")


def _list_files(path):
    if not isinstance(path, str | os.PathLike):
        try:
            paths = [Path(item) for item in path]
        except TypeError:
            raise InputError(f"path: expected one path or several, got {path!r}") from None
        if not paths:
            raise InputError("path: expected at least one file, got an empty list")
        return paths
    path = Path(path)
    if not path.is_dir():
        return [path]
    bricks = [item for item in sorted(path.glob("legacysurvey-*-image-*")) if brick_of(item)]
    paths = bricks or sorted(path.glob("frame-*.fits*")) or sorted(path.glob("*.fits*"))
    if not paths:
        raise InputError(f"path: expected FITS files in the folder, got none in {path}")
    return paths


def _read_file(path, position, bands, size):
    hdus = open_fits(path)
    images = [hdu for hdu in hdus if hdu.is_image and hdu.data is not None]
    if not images:
        raise InputError(f"path: expected an image, got none in {path}; is it a table?")
    cubes = [hdu for hdu in images if _is_cube(hdu) and not role_of(hdu)]
    if cubes:
        planes = _from_cube(cubes[0], images, bands, path)
    else:
        planes = _from_extensions(images, () if bands is None else band_names(bands), path)
        if bands is not None:
            planes = planes.select(band_names(bands), path)
    header, names = planes.header, planes.bands
    wcs = header_wcs(header)
    meta = {"bands": names, "name": path.name.split(".fits")[0]}
    if text_card(header, "FORMAT") == _FORMAT:
        meta |= _own_meta(hdus, header)
    if text_card(header, "CAMERA"):
        meta.setdefault("camera", text_card(header, "CAMERA").lower())
    if header.get("PIXSCALE") is not None:
        meta["pixel_scale"] = float(header["PIXSCALE"]) * u.arcsec
    if position is not None:
        meta["position"] = sky_position(position)
    elif header.get("RA_OBJ") is not None and header.get("DEC_OBJ") is not None:
        meta["position"] = sky_position((header["RA_OBJ"], header["DEC_OBJ"]))
    shape = planes.data.shape
    center = target_pixel(shape, wcs, meta, position)
    if is_legacy_cutout(header) and wcs is not None:
        meta.setdefault("camera", camera_at(*np.ravel(pixel_to_sky(wcs, *center))))
    scale = pixel_scales(wcs, meta, center)
    meta["pixel_scale"] = float(np.mean(scale)) * u.arcsec
    data, mask, sigma = planes.in_nanomaggies(scale[0] * scale[1] * u.arcsec**2)
    if size is not None:
        ny, nx = shape[-2:]
        x, y = (max(round(value) - size // 2, 0) for value in center)
        box = np.s_[..., y : min(y + size, ny), x : min(x + size, nx)]
        data, mask = data[box], mask[box]
        sigma = None if sigma is None else sigma[box]
        wcs = moved_wcs(wcs, (x, y), (1, 1), size)
    return NDData(
        _single(data),
        unit=NANOMAGGY,
        wcs=wcs,
        mask=mask if mask.any() else None,
        uncertainty=None if sigma is None else StdDevUncertainty(sigma),
        meta=meta,
    )


def _is_cube(hdu):
    """Tell a cube, or a cutout of the Legacy Surveys in one band, which has no axis of bands."""
    one = is_legacy_cutout(hdu.header) and len(text_card(hdu.header, "BANDS")) == 1
    return hdu.data.ndim == 3 or (hdu.data.ndim == 2 and one)


def _single(data):
    with np.errstate(over="ignore", invalid="ignore"):  # broken pixels become infinite
        return data.astype(np.float32)


def _own_meta(hdus, header):
    """Return entries of meta that `write_image` put into the header and an extension."""
    meta = {}
    if "META" in hdus:
        text = bytes(np.asarray(hdus["META"].data, dtype=np.uint8)).decode()
        meta = {key: value for key, value in json.loads(text).items() if key not in _OWN_META}
    if header.get(_EBV_CARD) is not None:
        meta["galactic_ebv"] = float(header[_EBV_CARD])
    if text_card(header, "OBJECT"):
        meta["name"] = text_card(header, "OBJECT")
    return meta


@dataclass(frozen=True)
class _Planes:
    """What a file holds: one plane per band, in the units of the file."""

    data: np.ndarray
    mask: np.ndarray
    sigma: np.ndarray | None
    bands: tuple
    unit: object
    sigma_units: tuple
    header: fits.Header

    def select(self, bands, path):
        """Keep these bands, in this order."""
        missing = [band for band in bands if band not in self.bands]
        if missing:
            raise InputError(
                f"bands: expected some of {', '.join(self.bands)}, got {', '.join(missing)} which "
                f"{path} has not"
            )
        order = [self.bands.index(band) for band in bands]
        return replace(
            self,
            data=self.data[order],
            mask=self.mask[order],
            sigma=None if self.sigma is None else self.sigma[order],
            bands=bands,
            sigma_units=tuple(self.sigma_units[index] for index in order),
        )

    def in_nanomaggies(self, area):
        """Return the data, mask and standard deviations; the area of a pixel is for surface
        brightness.
        """
        data = to_nanomaggies(self.data, self.unit, self.bands, area)
        sigma = None
        if self.sigma is not None:
            sigma = np.empty(data.shape)
            for index, unit in enumerate(self.sigma_units):
                one = slice(index, index + 1)
                sigma[one] = sigma_to_nanomaggies(
                    self.sigma[one],
                    self.unit if unit is None else unit,
                    data[one],
                    self.bands[one],
                    area,
                )
        return data, ~usable(data, sigma, self.mask, axis=(-2, -1)), sigma


def _from_cube(hdu, images, bands, path):
    data = hdu.data.astype(float)
    data = data[None] if data.ndim == 2 else data
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
    mask, sigma, sigma_unit = np.zeros(data.shape, bool), None, None
    for other in images:
        role = role_of(other)
        if not role:
            continue
        _same_shape(other, (data.shape, data.shape[1:]), path)
        if role == "mask":
            mask |= bad_pixels(other)
        elif role == "bits":
            mask |= (other.data.astype(np.int64) & bad_bits(names)[:, None, None]) != 0
        else:
            sigma, sigma_unit = deviation(other)
            sigma = np.broadcast_to(sigma, data.shape)
    unit = parse_unit(hdu.header.get("BUNIT"))
    if is_legacy_cutout(hdu.header):
        unit = NANOMAGGY if unit is None else unit
        mask |= data == 0
    units = (sigma_unit,) * len(names)
    planes = _Planes(data, mask, sigma, names, unit, units, hdu.header)
    if bands is not None and given is not None:
        return planes.select(band_names(bands), path)
    return planes


def _from_extensions(images, asked, path):
    planes = {"": {}, "mask": {}, "std": {}}
    for hdu in images:
        band, role = band_of(hdu, asked)
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
    hdus = [planes[""][band] for band in names]
    units = {parse_unit(hdu.header.get("BUNIT")) for hdu in hdus}
    shapes = {hdu.data.shape for hdu in hdus}
    if len(units) > 1 or len(shapes) > 1:
        what = "units" if len(units) > 1 else "shapes"
        raise InputError(
            f"image: expected the same unit and shape in all bands, got different {what} in {path}"
        )
    for kind in ("mask", "std"):
        for other in planes[kind].values():
            _same_shape(other, shapes, path)
    _same_grid(hdus, path)
    data = np.array([hdu.data for hdu in hdus], dtype=float)
    mask = np.zeros(data.shape, bool)
    for index, band in enumerate(names):
        if band in planes["mask"]:
            mask[index] |= bad_pixels(planes["mask"][band])
    sigma, sigma_units = None, (None,) * len(names)
    found = {band: deviation(hdu) for band, hdu in planes["std"].items()}
    if set(found) >= set(names):
        sigma = np.array([found[band][0] for band in names])
        sigma_units = tuple(found[band][1] for band in names)
    else:  # errors of some bands are none of the image, but say which of its pixels are bad
        for index, band in enumerate(names):
            if band in found:
                mask[index] |= ~usable(data[index], found[band][0], axis=(-2, -1))
    return _Planes(data, mask, sigma, names, units.pop(), sigma_units, hdus[0].header)


def _same_shape(hdu, shapes, path):
    """Refuse errors and masks that are not those of the pixels."""
    if hdu.data.shape not in shapes:
        raise InputError(
            f"image: expected shape {' or '.join(map(str, shapes))} in extension {hdu.name!r} of "
            f"{path}, as the image has, got {hdu.data.shape}; was the image cut without it?"
        )


def _same_grid(hdus, path):
    """Refuse bands whose WCS differ by more than a tenth of a pixel."""
    reference = header_wcs(hdus[0].header)
    if reference is None:
        return
    ny, nx = hdus[0].data.shape
    corners = np.array([[0, 0], [nx - 1, 0], [0, ny - 1], [nx - 1, ny - 1]], dtype=float)
    sky = pixel_to_sky(reference, *corners.T)
    for hdu in hdus[1:]:
        wcs = header_wcs(hdu.header)
        if wcs is not None:
            shift = np.abs(np.transpose(sky_to_pixel(wcs, *sky)) - corners).max()
            if not shift <= 0.1:
                raise InputError(
                    f"image: expected all bands on one pixel grid, got {shift:.1f} pixels between "
                    f"extensions of {path}; give them as one file per band to have them aligned"
                )
