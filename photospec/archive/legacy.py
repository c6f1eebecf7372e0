"""Cutouts of the DESI Legacy Imaging Surveys, from their cutout service or on disk."""

import contextlib
import tempfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import InverseVariance, NDData

from photospec.archive.galactic_dust import galactic_ebv_at
from photospec.archive.sdss.settings import DownloadConfig
from photospec.archive.transfer import Client, FileRefused, GiveUp
from photospec.archive.verify import open_verified
from photospec.errors import InputError
from photospec.image import NANOMAGGY, band_names, read_image, sky_position
from photospec.image.bricks import bad_bits, brick_of, camera_at
from photospec.image.wcs import header_wcs, pixel_scales, pixel_to_sky
from photospec.utils.validity import to_sigma, usable

__all__ = ["legacy_image", "read_legacy"]

URL = "https://www.legacysurvey.org/viewer/fits-cutout"
PIXEL_SCALE = 0.262  # arcsec, native
LARGEST = 512  # pixels, a limit of the service
_OFF = "off the footprint"


def legacy_image(
    coord: SkyCoord | tuple[float, float],
    *,
    size: int = 160,
    bands: str | Sequence[str] = "griz",
    layer: str = "ls-dr10",
    path: str | PathLike | None = None,
    url: str = URL,
    config: DownloadConfig | None = None,
) -> NDData:
    """Fetch the image of a place from the Legacy Surveys.

    Parameters
    ----------
    coord : SkyCoord or (float, float)
        One position; a pair is right ascension and declination in degrees (ICRS).
    size : int
        Side, in native pixels of 0.262 arcsec; at most 512.
    bands : str or sequence of str
        Bands; which there are depends on the layer.
    layer : str
        Data release, as the service names it.
    path : path-like, optional
        Where the file is kept; fetched only when it is not there.
    url : str
        Address of the service.
    config : DownloadConfig, optional
        Time-outs and numbers of attempts.

    Returns
    -------
    NDData
        (n_bands, size, size) in nanomaggies; `photospec.image.prepare_image` brings it to
        another pixel scale.

    Raises
    ------
    InputError
        Position, size or bands are wrong, or off the footprint; or no network.
    """
    ra, dec = sky_position(coord)
    bands = band_names(bands)
    if not 8 <= size <= LARGEST:
        raise InputError(f"size: expected 8 to {LARGEST} pixels, got {size}")
    query = {
        "ra": f"{ra:.6f}", "dec": f"{dec:.6f}", "layer": layer,
        "pixscale": PIXEL_SCALE, "bands": "".join(bands), "size": size,
        "invvar": "", "maskbits": "",
    }  # fmt: skip
    address = f"{url}?{urlencode(query)}"
    config = (config or DownloadConfig(n_attempts=4, max_backoff=10.0)).replace(confirm=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(path) if path is not None else Path(folder) / "cutout.fits"
        if not path.exists():
            client = Client(config)
            client.reach(url)
            try:
                client.fetch(address, path, lambda p: (_check(p, bands, size), False))
            except GiveUp as error:
                raise InputError(f"position: no Legacy Surveys image: {error}") from None
        image = read_legacy(path, position=(ra, dec))
        with contextlib.suppress(InputError):  # where there is a map
            image.meta["galactic_ebv"] = galactic_ebv_at(ra, dec)
        return image


def read_legacy(
    path: str | PathLike,
    *,
    position: tuple[float, float] | None = None,
    size: int | None = None,
) -> NDData:
    """Read a FITS file of the cutout service, or cut a galaxy out of a brick.

    Parameters
    ----------
    path : path-like
        Cube (n_bands, ny, nx) with the header card BANDS, or an image of one band. Another
        cube of the same shape, of floating-point numbers, is the inverse variance, an image of
        whole numbers the bits of MASKBITS. Or a folder with the files of a brick,
        ``legacysurvey-<brick>-image-<band>.fits.fz`` with ``invvar`` and ``maskbits`` beside them.
    position : (float, float), optional
        The target, degrees; the centre by default. A brick needs one.
    size : int, optional
        Side of the cutout from a brick, pixels of 0.262 arcsec (default: 96).

    Returns
    -------
    NDData
        In nanomaggies, masked where a band was not observed (exactly zero there), and where the
        bits say that it is saturated or bad in every exposure. ``meta["camera"]`` is "decam", or
        in the north, which has other filters, that of BASS and MzLS.

    Raises
    ------
    InputError
        The file is damaged or no such cutout, or nothing was observed at this place.
    """
    path = Path(path)
    if path.is_dir() or brick_of(path):
        return read_image(path, position=position, size=size)
    try:
        with open_verified(path) as (hdus, _):
            # Some layers are compressed: behind an empty first unit.
            first = hdus[0] if "BANDS" in hdus[0].header else hdus[1]
            header = first.header
            bands = band_names(str(header["BANDS"]), "BANDS")
            if first.data is None:  # the service says OVERLAP = F
                raise InputError(f"path: expected an image, got none in {path.name}; {_OFF}")
            if "BRICK_X0" in header:
                raise InputError(
                    f"path: expected a cutout in all bands, got pieces of bricks in {path.name}; "
                    "was it asked for with subimage?"
                )
            data = first.data[None] if first.data.ndim == 2 else first.data
            data = data.astype(np.float32)
            others = [hdu.data for hdu in hdus if hdu is not first]
            ivar, bits = _planes(others, data.shape)
            wcs = header_wcs(header)
    except (FileRefused, OSError, KeyError, AttributeError, IndexError) as error:
        raise InputError(
            f"path: expected a Legacy Surveys cutout, got {path.name}"
            f" ({' '.join(str(error).split())[:100]})"
        ) from None
    if data.ndim != 3 or len(data) != len(bands):
        raise InputError(f"path: expected {len(bands)} bands in {path.name}, got {data.shape}")
    sigma = None if ivar is None else to_sigma(ivar, "ivar")
    mask = ~usable(data, sigma, data == 0, axis=(-2, -1))
    if bits is not None:
        mask |= (bits & bad_bits(bands)[:, None, None]) != 0
    if mask.all():
        raise InputError(f"path: expected an image, got none in {path.name}; {_OFF}")
    if wcs is None:
        raise InputError(f"path: expected a celestial WCS, got none in {path.name}")
    center = (data.shape[-1] / 2, data.shape[-2] / 2)
    meta = {
        "bands": bands,
        "pixel_scale": float(np.mean(pixel_scales(wcs, {}, center))) * u.arcsec,
        "name": path.stem,
        "camera": camera_at(*np.ravel(pixel_to_sky(wcs, *center))),
    }
    if position is not None:
        meta["position"] = tuple(position)
    return NDData(
        data,
        uncertainty=None if ivar is None else InverseVariance(ivar, unit=NANOMAGGY**-2),
        mask=mask,
        wcs=wcs,
        unit=NANOMAGGY,
        meta=meta,
    )


def _planes(others, shape):
    """Return inverse variance, as the image, and MASKBITS (ny, nx), out of the other extensions."""
    ivar = bits = None
    for data in others:
        kind, size = getattr(getattr(data, "dtype", None), "kind", ""), getattr(data, "shape", ())
        if (
            kind == "f"
            and ivar is None
            and size in (shape, shape[1:])
            and data.size == np.prod(shape)
        ):
            ivar = data.reshape(shape).astype(np.float32)
        elif kind in "iu" and kind and bits is None and size[-2:] == shape[-2:]:
            plane = data if data.ndim == 2 else data[0]
            bits = plane.astype(np.int64)
    return ivar, bits


def _check(path, bands, size):
    with open_verified(path) as (hdus, _):
        found = str(hdus[0].header.get("BANDS", "")).strip()
        shape = getattr(hdus[0].data, "shape", ())
        if found != "".join(bands) or tuple(shape[-2:]) != (size, size):
            raise FileRefused(
                f"expected bands {''.join(bands)} and {size} pixels, got {found or 'none'}, {shape}"
            )
