"""What an image says about itself: bands, unit, pixel scale, target."""

import re

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from photospec.errors import InputError
from photospec.photometry.filters import SDSS_BANDS, effective_wavelength

__all__ = [
    "NANOMAGGY",
    "band_names",
    "parse_unit",
    "pixel_scales",
    "sky_position",
    "target_pixel",
    "to_nanomaggies",
]

#: Flux unit of all images: 1e-9 of the AB reference source, 3.631e-6 Jy.
NANOMAGGY = u.nmgy
_AB_JANSKY = 3631.0
_SPELLINGS = {
    "nanomaggy": "nmgy", "nanomaggies": "nmgy", "nanomaggys": "nmgy", "nmgy": "nmgy",
    "maggy": "mgy", "maggies": "mgy", "jansky": "Jy", "microjansky": "uJy",
}  # fmt: skip


def band_names(bands, argument="bands"):
    """Read band names: ``"ugriz"``, ``"u,g,r"``, ``("SDSS_u", "g")`` -> ``("u", "g", ...)``.

    Parameters
    ----------
    bands : str or sequence of str
        Names; case matters not, a leading "SDSS" neither.
    argument : str
        What to call it in an error.

    Returns
    -------
    tuple of str

    Raises
    ------
    InputError
        If a name is unknown or given twice.
    """
    if isinstance(bands, str):
        text = bands.replace(";", ",").strip()
        bands = [part.strip() for part in text.split(",")] if "," in text else text.split()
        if len(bands) == 1 and bands[0].lower() not in _KNOWN:
            bands = list(bands[0])
    try:
        names = tuple(_KNOWN.get(str(band).strip().lower(), str(band)) for band in bands)
    except TypeError:
        raise InputError(f"{argument}: expected band names, got {bands!r}") from None
    unknown = [name for name in names if name not in SDSS_BANDS]
    if unknown or not names:
        raise InputError(
            f"{argument}: expected names out of {', '.join(SDSS_BANDS)}, got "
            f"{', '.join(map(repr, unknown)) or 'none'}; is it another survey's filter?"
        )
    if len(set(names)) < len(names):
        raise InputError(f"{argument}: expected each band once, got {', '.join(names)}")
    return names


_KNOWN = {
    spelling: band
    for band in SDSS_BANDS
    for spelling in (band, *(f"sdss{joint}{band}" for joint in ("", "_", "-", " ", ".")))
}


def parse_unit(text):
    """Turn a header's BUNIT into a unit, knowing the spellings surveys use.

    Parameters
    ----------
    text : str or Unit or None
        Such as ``"nanomaggies"``.

    Returns
    -------
    astropy.units.Unit or None
        None when there is none.

    Raises
    ------
    InputError
        If the text is no unit.
    """
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    if not isinstance(text, str):
        return u.Unit(text)
    words = re.sub(r"\s*/\s*pix(el)?$", "", text.strip())
    try:
        return u.Unit(_SPELLINGS.get(words.lower(), words))
    except (ValueError, TypeError):
        raise InputError(
            f"unit: expected a flux unit that astropy knows, got {text!r}; "
            "set BUNIT, for example to 'nanomaggy' or 'uJy'"
        ) from None


def to_nanomaggies(data, unit, bands, pixel_area=None):
    """Convert images to nanomaggies.

    Parameters
    ----------
    data : ndarray (n_bands, ...)
        Any numbers, in `unit`.
    unit : astropy.units.Unit
        Nanomaggies, flux density per frequency or wavelength, AB magnitudes, or one of the
        linear ones per solid angle.
    bands : sequence of str
        For per-wavelength units: taken at the effective wavelength.
    pixel_area : Quantity, optional
        Solid angle of a pixel, for units of surface brightness.

    Returns
    -------
    ndarray (n_bands, ...)

    Raises
    ------
    InputError
        If the unit is missing or is no flux.
    """
    if unit is None:
        raise InputError(
            "unit: expected a flux unit such as nanomaggy or Jy, got none; "
            "give it as NDData(data, unit=...) or as BUNIT in the file"
        )
    unit = u.Unit(unit)
    if isinstance(unit, u.function.FunctionUnitBase):
        with np.errstate(over="ignore", invalid="ignore"):
            linear = u.Magnitude(data, unit).physical if unit.is_equivalent(u.mag(u.AB)) else None
        if linear is None:
            raise _no_flux(unit)
        return to_nanomaggies(linear.value, linear.unit, bands, pixel_area)
    if unit == NANOMAGGY:
        return data
    factors = np.array([_factor(unit, band, pixel_area) for band in bands])
    return data * factors.reshape(-1, *[1] * (np.ndim(data) - 1))


def _factor(unit, band, pixel_area):
    wavelength = effective_wavelength(band) * u.AA
    per_pixel = [1 * unit, 1 * unit * u.pix]
    if pixel_area is not None:
        per_pixel.append(unit * pixel_area)
    for value in per_pixel:
        for target, equivalencies, factor in (
            (NANOMAGGY, [], 1.0),
            (u.Jy, u.spectral_density(wavelength), 1e9 / _AB_JANSKY),
        ):
            try:
                return value.to_value(target, equivalencies) * factor
            except u.UnitConversionError:
                continue
    raise _no_flux(unit)


def _no_flux(unit):
    return InputError(
        f"unit: expected a flux unit such as nanomaggy, Jy or erg/s/cm2/Angstrom, got "
        f"'{unit}'; are these uncalibrated counts?"
    )


def pixel_scales(wcs, meta):
    """Pixel scale along x and y, arcsec.

    Parameters
    ----------
    wcs : astropy.wcs.WCS or None
        Celestial; it has precedence.
    meta : mapping
        With ``pixel_scale`` (Quantity) where there is no WCS.

    Returns
    -------
    tuple of float

    Raises
    ------
    InputError
        If there is none, or it is no angle.
    """
    if isinstance(wcs, WCS) and wcs.has_celestial:
        flat = wcs if wcs.naxis == 2 else wcs.celestial
        x, y = (proj_plane_pixel_scales(flat) * 3600).tolist()
    else:
        scale = meta.get("pixel_scale")
        if scale is None:
            raise InputError(
                "pixel_scale: expected a celestial WCS or meta['pixel_scale'] (Quantity, arcsec), "
                "got neither; without it the size of the galaxy is unknown"
            )
        try:
            x = y = float(u.Quantity(scale).to_value(u.arcsec))
        except (TypeError, ValueError, u.UnitConversionError):
            x = y = None
        if x is None:
            raise InputError(
                f"meta['pixel_scale']: expected one angle such as 0.396 * astropy.units.arcsec, "
                f"got {scale!r}"
            )
    if not (0 < x < np.inf and 0 < y < np.inf):
        raise InputError(f"pixel_scale: expected a positive number of arcsec, got {x}, {y}")
    return x, y


def sky_position(position):
    """Read a sky position as ICRS right ascension and declination in degrees.

    Parameters
    ----------
    position : SkyCoord or pair of float or Quantity
        Numbers are degrees, ICRS.

    Returns
    -------
    tuple of float

    Raises
    ------
    InputError
        If it is no position on the sky.
    """
    if isinstance(position, SkyCoord):
        position = position.icrs
        if position.size != 1:
            raise InputError(f"position: expected one sky position, got {position.size}")
        position = (position.ra.deg.item(), position.dec.deg.item())
    try:
        ra, dec = (float(u.Quantity(value, u.deg).value) for value in position)
    except (TypeError, ValueError, u.UnitConversionError):
        raise InputError(
            f"position: expected a SkyCoord or (ra, dec) in degrees, got {position!r}"
        ) from None
    if not (-360 <= ra <= 360 and -90 <= dec <= 90):
        raise InputError(
            f"position: expected right ascension and declination in degrees, got {ra}, {dec}; "
            "are they swapped or in hours?"
        )
    return ra, dec


def target_pixel(shape, wcs, meta, position=None):
    """Pixel position (x, y) of the target.

    Parameters
    ----------
    shape : tuple of int
        (..., ny, nx).
    wcs : astropy.wcs.WCS or None
        Celestial.
    meta : mapping
        ``position`` or ``RA_OBJ`` and ``DEC_OBJ`` (degrees) are used with the WCS.
    position : SkyCoord or pair, optional
        Has precedence.

    Returns
    -------
    tuple of float
        0 at the centre of the first pixel. Without any position: pixel (nx // 2, ny // 2).

    Raises
    ------
    InputError
        If the target is outside the image, or a position came without WCS.
    """
    ny, nx = shape[-2:]
    known = isinstance(wcs, WCS) and wcs.has_celestial
    asked = position is not None
    if position is None and known:
        position = meta.get("position")
        if position is None and meta.get("RA_OBJ") is not None:
            position = (meta.get("RA_OBJ"), meta.get("DEC_OBJ"))
    if position is None:
        return float(nx // 2), float(ny // 2)
    if not known:
        raise InputError(
            "position: expected an image with a celestial WCS to find it on, got one without; "
            "cut the image so that the target is at its centre"
        )
    ra, dec = sky_position(position)
    flat = wcs if wcs.naxis == 2 else wcs.celestial
    x, y = (value.item() for value in flat.all_world2pix([[ra, dec]], 0)[0])
    if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
        where = "position" if asked else "meta['position']"
        raise InputError(
            f"{where}: expected a position on the {nx} x {ny} image, got "
            f"({ra:.5f}, {dec:.5f}) at pixel ({x:.0f}, {y:.0f}); is it another field?"
        )
    return x, y
