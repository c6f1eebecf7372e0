"""Where an image lies on the sky: any world coordinate system, target position, pixel scale.

A FITS WCS of any frame (ICRS, FK5, FK4, Galactic, ecliptic) and axis order is used as it is.
Any other WCS of the common interface (APE 14: `gwcs <https://gwcs.readthedocs.io>`_, sliced
ones) is asked through that interface. Positions go in and out as ICRS degrees.
"""

import warnings

import numpy as np
from astropy import units as u
from astropy.coordinates import (
    ICRS,
    BarycentricMeanEcliptic,
    Galactic,
    SkyCoord,
    Supergalactic,
    angular_separation,
)
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import fit_wcs_from_points, wcs_to_celestial_frame
from astropy.wcs.wcsapi import BaseHighLevelWCS, BaseLowLevelWCS, HighLevelWCSWrapper
from astropy.wcs.wcsapi.wrappers import SlicedLowLevelWCS

from photospec.errors import InputError
from photospec.utils.reading import one_line
from photospec.utils.validity import plain_numbers

__all__ = [
    "celestial",
    "fitted_wcs",
    "header_wcs",
    "moved_wcs",
    "pixel_scales",
    "pixel_to_sky",
    "sky_position",
    "sky_to_pixel",
    "target_pixel",
]

# Pixels to either side between which scales are measured: far enough that rounding of degrees
# to 64 bits (1e-13) does not matter, near enough that a projection is straight.
_REACH = 5.0


def header_wcs(header):
    """Read the celestial WCS of a FITS header.

    Parameters
    ----------
    header : astropy.io.fits.Header

    Returns
    -------
    astropy.wcs.WCS or None
        Two-dimensional; None where there is none, or a broken one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(header).celestial
        except Exception:  # a broken WCS is as good as none; the pixel scale check follows
            return None
    return wcs if wcs.has_celestial else None


def celestial(wcs):
    """Reduce the WCS of an image ``(n_bands, ny, nx)`` to its two celestial axes.

    Parameters
    ----------
    wcs : astropy.wcs.WCS or any APE 14 WCS or None
        With two or three pixel axes; the third is that of the bands.

    Returns
    -------
    astropy.wcs.WCS or astropy.wcs.wcsapi.HighLevelWCSWrapper or None
        Two-dimensional; None where the WCS has no sky coordinates.

    Raises
    ------
    InputError
        If it is no WCS, or its celestial axes cannot be separated.
    """
    if wcs is None:
        return None
    low = wcs.low_level_wcs if isinstance(wcs, BaseHighLevelWCS) else wcs
    if isinstance(low, WCS):
        if not low.has_celestial:
            return None
        return low if low.naxis == 2 else low.celestial
    if not isinstance(low, BaseLowLevelWCS):
        raise InputError(
            "image.wcs: expected an astropy WCS or another one of APE 14 such as gwcs, got "
            f"{type(wcs).__name__}"
        )
    types = [str(kind).startswith("pos.") for kind in low.world_axis_physical_types]
    if sum(types) != 2:
        return None
    if low.pixel_n_dim == 3 and not low.axis_correlation_matrix[types, 2].any():
        low = SlicedLowLevelWCS(low, 0)
    if low.pixel_n_dim != 2:
        raise InputError(
            f"image.wcs: expected a WCS with two celestial axes beside that of the bands, got a "
            f"{type(wcs).__name__} with {low.pixel_n_dim} pixel axes that belong together"
        )
    return HighLevelWCSWrapper(low)


def _frame(wcs):
    """Return the celestial frame of a two-dimensional FITS WCS."""
    kind = wcs.world_axis_physical_types[wcs.wcs.lng]
    if kind == "pos.galactic.lon":
        return Galactic()
    if kind == "pos.supergalactic.lon":
        return Supergalactic()
    if kind == "pos.ecliptic.lon":  # FITS paper II: mean ecliptic and equinox of EQUINOX
        equinox = wcs.wcs.equinox
        return BarycentricMeanEcliptic(equinox=f"J{equinox if np.isfinite(equinox) else 2000.0}")
    try:
        if kind != "pos.eq.ra":
            raise ValueError(str(kind))
        return wcs_to_celestial_frame(wcs)
    except ValueError as error:
        raise InputError(
            "image.wcs: expected equatorial, Galactic or ecliptic coordinates, got "
            f"{', '.join(wcs.wcs.ctype)} with RADESYS {wcs.wcs.radesys!r} ({one_line(error)})"
        ) from None


def sky_to_pixel(wcs, ra, dec):
    """Find sky positions on an image.

    Parameters
    ----------
    wcs : astropy.wcs.WCS or HighLevelWCSWrapper
        As from `celestial`.
    ra, dec : float or ndarray, shape (n,)
        ICRS, degrees.

    Returns
    -------
    x, y : ndarray
        Pixels, 0 at the centre of the first one; NaN where a projection does not reach.
    """
    if isinstance(wcs, WCS):
        frame = _frame(wcs)
        if not isinstance(frame, ICRS):
            found = SkyCoord(ra, dec, unit="deg").transform_to(frame).spherical
            ra, dec = found.lon.deg, found.lat.deg
        world = np.empty((np.size(ra), 2))
        world[:, wcs.wcs.lng], world[:, wcs.wcs.lat] = ra, dec
        x, y = wcs.all_world2pix(world, 0).T
    else:
        here = np.atleast_1d(np.array(wcs.pixel_to_world(0, 0), dtype=object)).tolist()
        sky = SkyCoord(np.atleast_1d(ra), np.atleast_1d(dec), unit="deg")
        x, y = wcs.world_to_pixel(
            *(sky.transform_to(item) if isinstance(item, SkyCoord) else item for item in here)
        )
    return np.reshape(x, np.shape(ra)), np.reshape(y, np.shape(ra))


def pixel_to_sky(wcs, x, y):
    """Find the sky positions of pixels.

    Parameters
    ----------
    wcs : astropy.wcs.WCS or HighLevelWCSWrapper
        As from `celestial`.
    x, y : float or ndarray, shape (n,)
        Pixels, 0 at the centre of the first one.

    Returns
    -------
    ra, dec : ndarray
        ICRS, degrees.
    """
    if isinstance(wcs, WCS):
        world = wcs.all_pix2world(np.column_stack([np.ravel(x), np.ravel(y)]), 0)
        ra, dec = world[:, wcs.wcs.lng], world[:, wcs.wcs.lat]
        frame = _frame(wcs)
        if not isinstance(frame, ICRS):
            sky = SkyCoord(ra, dec, unit="deg", frame=frame).icrs
            ra, dec = sky.ra.deg, sky.dec.deg
    else:
        found = wcs.pixel_to_world(np.ravel(x), np.ravel(y))
        found = found if isinstance(found, list | tuple) else [found]
        sky = next(item for item in found if isinstance(item, SkyCoord)).icrs
        ra, dec = sky.ra.deg, sky.dec.deg
    return np.reshape(ra, np.shape(x)), np.reshape(dec, np.shape(x))


def pixel_scales(wcs, meta, center):
    """Measure the pixel scale along x and y at a place of an image, arcsec.

    Parameters
    ----------
    wcs : WCS or None
        As from `celestial`; it has precedence.
    meta : mapping
        With ``pixel_scale`` (Quantity) where there is no WCS.
    center : tuple of float
        (x, y) in pixels. Scales differ over wide fields, and where there are distortions.

    Returns
    -------
    tuple of float

    Raises
    ------
    InputError
        If there is none, or it is no angle.
    """
    if wcs is not None:
        x, y = center
        ends = np.array([[x - _REACH, y], [x + _REACH, y], [x, y - _REACH], [x, y + _REACH]])
        ra, dec = np.deg2rad(pixel_to_sky(wcs, *ends.T))
        apart = np.rad2deg(angular_separation(ra[::2], dec[::2], ra[1::2], dec[1::2])) * 3600
        x, y = (apart / (2 * _REACH)).tolist()
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
            raise InputError(
                "meta['pixel_scale']: expected one angle such as 0.396 * astropy.units.arcsec, "
                f"got {scale!r}"
            ) from None
    if not (0 < x < np.inf and 0 < y < np.inf):
        raise InputError(f"pixel_scale: expected a positive number of arcsec, got {x}, {y}")
    return x, y


def sky_position(
    position: SkyCoord | tuple[float, float] | tuple[u.Quantity, u.Quantity],
) -> tuple[float, float]:
    """Read a sky position as ICRS right ascension and declination in degrees.

    Parameters
    ----------
    position : SkyCoord or pair of float or Quantity
        Numbers are degrees, ICRS.

    Returns
    -------
    tuple of float
        Right ascension in [0, 360), declination.

    Raises
    ------
    InputError
        If it is no position on the sky, or more than one.

    Examples
    --------
    >>> from astropy.coordinates import SkyCoord
    >>> ra, dec = sky_position(SkyCoord("10h00m00s +02d00m00s"))
    >>> round(ra, 6), round(dec, 6)
    (150.0, 2.0)
    """
    try:
        if isinstance(position, SkyCoord):
            if position.size != 1:
                raise InputError(f"position: expected one sky position, got {position.size}")
            position = position.icrs
            position = (position.ra.deg.item(), position.dec.deg.item())
        ra, dec = (float(plain_numbers(value, u.deg)) for value in position)
    except InputError:
        raise
    except Exception as error:  # frames that cannot be turned into ICRS raise many kinds
        raise InputError(
            f"position: expected a SkyCoord or (ra, dec) in degrees, got "
            f"{one_line(position, 60)} ({one_line(error, 60)})"
        ) from None
    if not (-360 <= ra <= 360 and -90 <= dec <= 90):
        raise InputError(
            f"position: expected right ascension and declination in degrees, got {ra}, {dec}; "
            "are they swapped or in hours?"
        )
    return ra % 360, dec


def target_pixel(shape, wcs, meta, position=None):
    """Find the pixel position (x, y) of the target.

    Parameters
    ----------
    shape : tuple of int
        (..., ny, nx).
    wcs : WCS or None
        As from `celestial`.
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
    asked = position is not None
    if position is None and wcs is not None:
        position = meta.get("position")
        if position is None and meta.get("RA_OBJ") is not None:
            position = (meta.get("RA_OBJ"), meta.get("DEC_OBJ"))
    if position is None:
        return float(nx // 2), float(ny // 2)
    if wcs is None:
        raise InputError(
            "position: expected an image with a celestial WCS to find it on, got one without; "
            "cut the image so that the target is at its centre"
        )
    ra, dec = sky_position(position)
    try:
        x, y = (value.item() for value in sky_to_pixel(wcs, ra, dec))
    except InputError:
        raise
    except Exception as error:  # of distortions that do not converge, or have no inverse
        raise InputError(
            f"position: expected a place that the WCS of the image finds, got ({ra:.5f}, "
            f"{dec:.5f}) ({one_line(error)}); is it another field?"
        ) from None
    if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
        where = "position" if asked else "meta['position']"
        raise InputError(
            f"{where}: expected a position on the {nx} x {ny} image, got "
            f"({ra:.5f}, {dec:.5f}) at pixel ({x:.0f}, {y:.0f}); is it another field?"
        )
    return x, y


def moved_wcs(wcs, start, step, size):
    """Give the celestial WCS of pixels that were cut out, or of other pixels.

    Parameters
    ----------
    wcs : WCS or None
        As from `celestial`.
    start : tuple of float
        (x, y) of the old grid on which the first new pixel lies.
    step : tuple of float
        Size of a new pixel in old ones, along x and y.
    size : int
        Side of the new image in pixels.

    Returns
    -------
    astropy.wcs.WCS or None
        Two-dimensional. A WCS that is not of FITS, or has distortions and other pixels, is
        replaced by the tangential projection that fits it best over the new image.
    """
    if wcs is None:
        return None
    step = tuple(float(value) for value in step)
    if not isinstance(wcs, WCS):
        return fitted_wcs(wcs, (size, size), start, step)
    distorted = any(item is not None for item in (wcs.sip, wcs.cpdis1, wcs.det2im1))
    if step == (1.0, 1.0) and distorted:
        return wcs.slice(tuple(slice(value, None) for value in start[::-1]))
    if distorted:
        return fitted_wcs(wcs, (size, size), start, step)
    new = wcs.deepcopy()
    new.pixel_shape = None
    if step == (1.0, 1.0):
        new.wcs.crpix -= start
    else:
        # Pixel p of the old grid is (p - start) / step on the new one; FITS counts from one.
        new.wcs.crpix = (new.wcs.crpix - 1 - start) / step + 1
        if new.wcs.has_cd():
            new.wcs.cd = new.wcs.cd * step
        else:
            new.wcs.pc = new.wcs.get_pc() * step
    new.wcs.set()
    return new


def fitted_wcs(wcs, shape, start=(0, 0), step=(1, 1)):
    """Fit a tangential projection to any WCS over an image.

    Parameters
    ----------
    wcs : WCS
        As from `celestial`.
    shape : tuple of int
        (..., ny, nx) of the image.
    start, step : tuple of float
        Where its first pixel lies on the pixels of `wcs`, and how large its pixels are there.

    Returns
    -------
    astropy.wcs.WCS or None
        Through 9 x 9 places; None where the WCS does not reach.
    """
    ny, nx = shape[-2:]
    x, y = (
        grid.ravel() for grid in np.meshgrid(np.linspace(0, nx - 1, 9), np.linspace(0, ny - 1, 9))
    )
    ra, dec = pixel_to_sky(wcs, start[0] + x * step[0], start[1] + y * step[1])
    on_sky = np.isfinite(ra) & np.isfinite(dec)  # some end at their bounding box
    if on_sky.sum() < 9:
        return None
    sky = SkyCoord(ra[on_sky], dec[on_sky], unit="deg")
    return fit_wcs_from_points((x[on_sky], y[on_sky]), sky, projection="TAN")
