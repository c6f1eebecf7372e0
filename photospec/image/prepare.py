"""The one gate through which images enter.

`prepare_image` turns any `~astropy.nddata.NDData` into the array that networks take, or says in
one line why it cannot. In this order: bands, unit, position and pixel scale, one rule for bad
pixels (`photospec.utils.validity.usable`), cutting or resampling, filling, flags. Axes are
``(n_bands, ny, nx)`` with y up; the target lies on pixel ``(size // 2, size // 2)``.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Self

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import NDData
from scipy.ndimage import gaussian_filter

from photospec.dust import ASSUMED_EBV, band_extinction, check_ebv
from photospec.errors import InputError, PhotospecWarning
from photospec.image.resample import crop, fill_bad, resample, sky_noise, sky_noise_limit
from photospec.image.units import (
    NANOMAGGY,
    band_label,
    band_names,
    sigma_to_nanomaggies,
    to_nanomaggies,
)
from photospec.image.wcs import celestial, moved_wcs, pixel_scales, target_pixel
from photospec.photometry.apertures import aperture_weights
from photospec.photometry.filters import SDSS_BANDS
from photospec.utils.validity import HUGE, SIGMA_RANGE, plain_numbers, standard_deviation, usable

__all__ = ["EBV_ASSUMED", "MISSING_BAND", "ImageArray", "prepare_image"]

# Pixel scales this close to the wanted one (relative) are taken as equal: over the 64 pixels
# of a cutout that is a third of a pixel, and resampling would cost more than it mends.
SAME_SCALE = 0.005
# Least part of the crop that must be on the image, and of each band that must be good. What is
# missing is filled from its surroundings; beyond a half that is invention.
_LEAST_COVERED = 0.5
_LEAST_GOOD = 0.5
# The target counts as seen above this signal-to-noise ratio within the fibre.
_LOW_SIGNAL = 5.0
_FIBRE_RADIUS = 1.5  # arcsec, of the SDSS spectrographs
# Something brighter within 5 arcsec, half as bright again as the target in smoothed light, is
# likely what the user meant. The target may be 1.2 arcsec off, the usual error of a position.
_NEIGHBOUR_RADIUS = 5.0
_TARGET_RADIUS = 1.2
_BRIGHTER = 1.5
# Beyond this a flux is a broken pixel, whatever its unit was: it overflows in single precision.
_OVERFLOW = 1e30
# Pixels around the crop that resampling looks at. The influence of a pixel on a cubic spline
# falls by 3.7 with each pixel, so that of pixels further away is below 1e-18.
_MARGIN = 32
#: Flag of images that do not say how much dust of the Milky Way lies before them.
EBV_ASSUMED = "galactic_ebv_assumed"
#: Begins the flag of a band that is missing; its name follows.
MISSING_BAND = "missing_band_"
# A zero point beyond is a mark for a missing one.
_LARGEST_ZERO_POINT = 60.0


@dataclass(frozen=True, eq=False)
class ImageArray:
    """An image as the networks take it.

    Attributes
    ----------
    data : ndarray (n_bands, size, size) of float32
        Nanomaggies per pixel, bad pixels filled, corrected for Galactic extinction if known.
    mask : ndarray of bool, same shape
        True where a pixel was bad or outside the image.
    uncertainty : ndarray of float32 or None
        Standard deviations, infinite where masked.
    bands : tuple of str
    pixel_scale : float
        Arcsec.
    wcs : astropy.wcs.WCS or None
        Celestial, two-dimensional.
    flags : tuple of str
        Out of ``"padded"``, ``"masked_pixels"``, ``"masked_core"`` (within the fibre radius of
        the target), ``"resampled"``, ``"target_off_centre"`` (something brighter lies within
        5 arcsec), ``"low_signal"`` (below 5 sigma within the fibre in every band),
        ``"galactic_ebv_assumed"`` (the image did not say its Galactic extinction),
        ``"missing_band_<name>"`` (a band that is not there, NaN throughout in `data`).
    meta : dict
        ``center``: (x, y) of the target in pixels, ``galactic_ebv``: E(B-V) of the Milky Way, mag,
        `photospec.dust.ASSUMED_EBV` where the image does not say; and what the image brought.
    remaining_ebv : float
        E(B-V) whose dust is left in the image, mag: 0 where it was corrected, else all of it.
    missing : tuple of str
        Bands that are not there.
    extinction : ndarray (n_bands,) or None
        A_band / E(B-V) on the SFD scale; None for that of the camera in ``meta``.
    """

    data: np.ndarray
    mask: np.ndarray
    uncertainty: np.ndarray | None
    bands: tuple
    pixel_scale: float
    wcs: object = None
    flags: tuple = ()
    meta: dict = field(default_factory=dict)
    remaining_ebv: float = ASSUMED_EBV
    missing: tuple = ()
    extinction: np.ndarray | None = None

    @property
    def galactic_ebv(self) -> float:
        """E(B-V) of the Milky Way before the target, mag."""
        return self.meta.get("galactic_ebv", ASSUMED_EBV)

    @property
    def center(self) -> tuple[float, float]:
        """Position (x, y) of the target in pixels."""
        return self.meta.get("center", (self.data.shape[-1] // 2, self.data.shape[-2] // 2))

    def with_extinction(self, ebv: float) -> Self:
        """Return the same with the dust of another E(B-V) left in it, mag.

        Parameters
        ----------
        ebv : float

        Returns
        -------
        ImageArray
        """
        if ebv == self.remaining_ebv:
            return self
        camera = str(self.meta.get("camera", "sdss")).lower()
        try:
            extinction = self.extinction
            if extinction is None:
                extinction = band_extinction(self.bands, camera)
        except InputError:
            if EBV_ASSUMED in self.flags:  # neither E(B-V) nor the bands' coefficients are known
                return self
            raise
        factor = 10 ** (0.4 * (self.remaining_ebv - ebv) * extinction)
        factor = factor.astype(np.float32)[:, None, None]
        changes = {"data": self.data * factor, "remaining_ebv": float(ebv)}
        if self.uncertainty is not None:
            changes["uncertainty"] = self.uncertainty * factor
        return replace(self, **changes)

    def check(
        self, bands: Sequence[str], pixel_scale: float, size: int, may_miss: Sequence[str] = ()
    ) -> None:
        """Make sure that the image was prepared for these networks.

        Parameters
        ----------
        bands : tuple of str
        pixel_scale : float
            Arcsec.
        size : int
            Pixels.
        may_miss : sequence of str
            Bands without which the networks can do.

        Raises
        ------
        InputError
            If bands, shape or pixel scale differ, or pixels are not finite.
        """
        shape = (len(bands), size, size)
        if tuple(self.bands) != tuple(bands) or self.data.shape != shape:
            raise InputError(
                f"image: expected bands {','.join(bands)} and shape {shape}, got "
                f"{','.join(self.bands)} and {self.data.shape}; was it prepared for other weights?"
            )
        if not np.isclose(self.pixel_scale, pixel_scale, rtol=0.005):
            raise InputError(
                f"image: expected {pixel_scale} arcsec per pixel, got {self.pixel_scale}; was it "
                "prepared for other weights?"
            )
        refused = [band for band in self.missing if band not in may_miss]
        if refused:
            raise InputError(
                f"image: expected bands {','.join(bands)}, got one without {','.join(refused)}; "
                "was it prepared for other weights?"
            )
        there = [band not in self.missing for band in bands]
        if not np.isfinite(self.data[there]).all():
            raise InputError("image: expected bad pixels to be filled, got some that are not")

    def __repr__(self):
        return (
            f"<ImageArray {band_label(self.bands)}, {self.data.shape[-1]} x {self.data.shape[-2]}, "
            f"{self.pixel_scale:g} arcsec, flags {', '.join(self.flags) or 'none'}>"
        )


def prepare_image(
    image: NDData,
    *,
    bands: Sequence[str] = SDSS_BANDS,
    pixel_scale: float = 0.396,
    size: int = 64,
    position: SkyCoord | tuple[float, float] | None = None,
    may_miss: Sequence[str] = (),
    extinction: Sequence[float] | None = None,
    max_resampling: float | None = None,
) -> ImageArray:
    """Check an image and bring it into the form that networks take.

    Orders the bands, converts the unit to nanomaggies, resamples the pixel scale
    conserving flux (only when it differs by more than 0.5 %), cuts ``size`` x ``size``
    pixels around the target, masks and fills what is bad, and corrects for the Milky Way's
    dust (`photospec.dust`) where the image says how much there is. Orientation is left alone.

    Parameters
    ----------
    image : NDData or CCDData (n_bands, ny, nx)
        With a flux unit, ``meta["bands"]``, and a celestial WCS (of FITS, or any other of
        APE 14) or ``meta["pixel_scale"]``. ``meta["galactic_ebv"]``: E(B-V) of the Milky Way,
        mag, on the scale of the SFD map; without it the pixels stay as they are, and the image
        is flagged. ``meta["camera"]``: whose bands they are, "sdss" (default) or "decam".
        ``meta["zero_point"]``: of images in counts (``u.adu``, ``u.ct``, ``u.electron``), the AB
        magnitude of one of them in a pixel, one number or one per band.
    bands : str or sequence of str
        Bands wanted, in this order; others in the image are left out. Any names.
    pixel_scale : float
        Arcsec per pixel wanted.
    size : int
        Side of the result in pixels.
    position : SkyCoord or (ra, dec) in degrees, optional
        The target. Default: ``meta["position"]``, else the centre of the image.
    may_miss : sequence of str
        Bands without which the image can be used. One that is not there, is constant or has
        less than half of its pixels good is NaN throughout, and a flag says so.
    extinction : sequence of float, optional
        A_band / E(B-V) of the bands wanted; by default that of the image's camera.
    max_resampling : float, optional
        Refuse an image whose pixels are larger or smaller than those wanted by more than this
        factor.

    Returns
    -------
    ImageArray
        Pixels that are masked, not finite, or whose uncertainty says that they hold no
        information (see `photospec.utils.validity.usable`), are in ``mask`` and filled.

    Raises
    ------
    InputError
        If the image cannot be used: no image, wrong shape, bands, unit or pixel scale, no
        finite pixel, a constant band, less than half of the crop covered or good; an E(B-V)
        that is not one number from 0 to 5 mag.

    Warns
    -----
    PhotospecWarning
        If not-finite pixels were filled or the image was padded.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.nddata import NDData
    >>> y, x = np.indices((80, 80)) - 40
    >>> galaxy = np.exp(-np.hypot(x, y) / 4)
    >>> meta = {"bands": "gr", "pixel_scale": 0.396 * u.arcsec, "galactic_ebv": 0.0}
    >>> image = NDData(np.array([galaxy, 2 * galaxy]), unit=u.nmgy, meta=meta)
    >>> prepared = prepare_image(image, bands="rg")
    >>> prepared
    <ImageArray rg, 64 x 64, 0.396 arcsec, flags none>
    >>> prepared.data[:, 32, 32]
    array([2., 1.], dtype=float32)
    """
    data, mask, sigma, sigma_unit = _image_arrays(image)
    bands = band_names(bands)
    may_miss = frozenset(may_miss)
    order, absent, name = _order_bands(image, data.shape, bands, may_miss)
    data, mask, sigma = data[order], mask[order], None if sigma is None else sigma[order]
    if absent:
        data, mask = _take_away(data, mask, absent, bands)
    meta = dict(image.meta)
    counts = _counts(image, bands, order)
    ebv, assumed = _image_ebv(meta)
    wcs = celestial(image.wcs)
    center = target_pixel(data.shape, wcs, meta, position)
    scale = pixel_scales(wcs, meta, center)
    factor = max(max(value / pixel_scale, pixel_scale / value) for value in scale)
    if max_resampling is not None and factor > max_resampling:
        raise InputError(
            f"pixel_scale: expected {pixel_scale / max_resampling:.3g} to "
            f"{pixel_scale * max_resampling:.3g} arcsec, got {scale[0]:.3g} x {scale[1]:.3g}; "
            "is it an image of another survey?"
        )

    def to_flux(data, sigma):
        if counts is not None:
            return data * counts, None if sigma is None else sigma * counts
        if sigma is None and image.unit is NANOMAGGY:  # most images: no units are compared
            return data, None
        area = scale[0] * scale[1] * u.arcsec**2
        flux = to_nanomaggies(data, image.unit, bands, area)
        if sigma is not None:
            sigma = sigma_to_nanomaggies(sigma, sigma_unit, flux, bands, area)
        return flux, sigma

    arrays = (data, mask, sigma, to_flux)
    if all(abs(value / pixel_scale - 1) <= SAME_SCALE for value in scale):
        flags, put = [], _cut(*arrays, center, size, bands, may_miss)
    else:
        step = tuple(pixel_scale / value for value in scale)
        flags, put = ["resampled"], _resample(*arrays, center, step, size, bands, may_miss)
    data, mask, sigma = put.data, put.mask, put.sigma
    there = slice(None)
    if put.missing:
        there = np.array([band not in put.missing for band in bands])
        data[~there], mask[~there] = np.nan, True

    if put.outside.any():
        flags.append("padded")
        _warn(f"image{name} does not cover all of the {size} x {size} crop: padded as masked")
    if (mask[there] & ~put.outside).any():
        flags.append("masked_pixels")
    if put.repaired:
        _warn(
            f"image{name} has pixels that are not finite, or marks such as -999: masked, and "
            "filled from the pixels around them"
        )
    if sigma is not None:
        sigma = np.where(mask, np.inf, sigma).astype(np.float32)
    seen = tuple(band for band in bands if band not in put.missing)
    flags += _quality(data[there], mask[there], put.center, pixel_scale, seen)
    if assumed:
        flags.append(EBV_ASSUMED)
    flags += [MISSING_BAND + band for band in put.missing]
    wcs = moved_wcs(wcs, put.start, put.step, size)
    meta.update(center=put.center, bands=bands, galactic_ebv=ebv)
    scale = float(pixel_scale)
    extinction = None if extinction is None else np.array(extinction, float)
    state = {"missing": put.missing, "extinction": extinction}
    made = ImageArray(data, mask, sigma, bands, scale, wcs, tuple(flags), meta, ebv, **state)
    return made if assumed else made.with_extinction(0.0)


def _image_ebv(meta):
    """Return E(B-V) (mag) of ``meta["galactic_ebv"]``, and whether it is only assumed.

    Parameters
    ----------
    meta : mapping

    Returns
    -------
    ebv : float
    assumed : bool
        True where there is none: then it is `photospec.dust.ASSUMED_EBV`.
    """
    value = meta.get("galactic_ebv")
    if value is None:
        return ASSUMED_EBV, True
    return check_ebv(value, 'meta["galactic_ebv"]'), False


def _warn(text):
    warnings.warn(text, PhotospecWarning, stacklevel=3)


def _image_arrays(image):
    """Return data, mask, standard deviations and their unit out of an NDData of the right shape."""
    if not isinstance(image, NDData):
        raise InputError(
            f"image: expected an astropy NDData, got {type(image).__name__}; "
            "wrap arrays as NDData(data, unit='nmgy', meta={'bands': 'ugriz', 'pixel_scale': ...})"
        )
    data = np.asarray(image.data)
    if data.dtype.kind not in "fiu":
        raise InputError(f"image: expected real numbers, got {data.dtype}")
    if data.ndim != 3 or 0 in data.shape:
        cause = "is it a single band?" if data.ndim == 2 else "give one galaxy at a time"
        raise InputError(f"image: expected shape (n_bands, ny, nx), got {data.shape}; {cause}")
    if data.dtype.kind != "f" or not data.dtype.isnative:
        data = data.astype(data.dtype.newbyteorder("=") if data.dtype.kind == "f" else float)
    mask = np.zeros(data.shape, bool)
    if image.mask is not None:
        try:
            mask |= np.asarray(image.mask, dtype=bool)
        except ValueError:
            raise InputError(
                f"image.mask: expected shape {data.shape}, got {np.shape(image.mask)}"
            ) from None
    if image.uncertainty is None:
        return data, mask, None, None
    try:
        sigma, unit = standard_deviation(image.uncertainty)
        sigma = np.broadcast_to(sigma, data.shape)
    except (TypeError, ValueError):
        raise InputError(
            "image.uncertainty: expected a standard deviation, variance or inverse variance "
            f"of shape {data.shape} in the unit of the image, got "
            f"{type(image.uncertainty).__name__} of shape {np.shape(image.uncertainty.array)}"
        ) from None
    return data, mask, sigma, image.unit if unit is None else unit


def _take_away(data, mask, absent, bands):
    """Mask the bands that are not there, and put nothing into their pixels."""
    data = data.astype(float) if data.dtype.kind != "f" else data.copy()
    rows = [bands.index(band) for band in absent]
    data[rows], mask[rows] = np.nan, True
    return data, mask


def _counts(image, bands, order):
    """Return nanomaggies per count (n_bands, 1, 1), None for images in another unit."""
    if image.unit is None or image.unit is NANOMAGGY:  # comparing units takes long
        return None
    unit = u.Unit(image.unit)
    if unit not in (u.adu, u.ct, u.electron):
        return None
    zero_point = image.meta.get("zero_point")
    if zero_point is None:
        raise InputError(
            "unit: expected a flux unit or counts and meta['zero_point'], AB magnitude of one, "
            f"got {unit} without; are these uncalibrated counts?"
        )
    if isinstance(zero_point, u.Magnitude):
        zero_point = zero_point.value
    try:
        zero_point = plain_numbers(zero_point, u.mag).astype(float)
        wanted = np.broadcast_to(zero_point, np.shape(image.data)[:1])[order]
    except (TypeError, ValueError):
        raise InputError(
            f'meta["zero_point"]: expected one number or one for each of {len(image.data)} bands, '
            f"got {image.meta['zero_point']!r}"
        ) from None
    if not np.isfinite(wanted).all() or (np.abs(wanted) > _LARGEST_ZERO_POINT).any():
        raise InputError(
            f'meta["zero_point"]: expected AB magnitudes, got {image.meta["zero_point"]!r}'
        )
    return (10 ** (0.4 * (22.5 - wanted)))[:, None, None]


def _order_bands(image, shape, bands, may_miss):
    """Tell where the bands wanted are in the image, which are not, and its name for messages."""
    there = image.meta.get("bands") if image.meta is not None else None
    if there is None:
        raise InputError(
            f"meta['bands']: expected the names of the {shape[0]} bands, got none; "
            "set it, for example to ('u', 'g', 'r', 'i', 'z')"
        )
    there = band_names(there, "meta['bands']")
    if len(there) != shape[0]:
        last = " (bands come first, not last)" if shape[-1] == len(there) else ""
        raise InputError(
            f"image: expected {len(there)} bands ({', '.join(there)}) along the first axis, got "
            f"shape {shape}{last}"
        )
    absent = [band for band in bands if band not in there]
    missing = [band for band in absent if band not in may_miss]
    if missing or len(absent) == len(bands):
        missing = missing or absent
        raise InputError(
            f"image: expected bands {', '.join(bands)}, got {', '.join(there)}: no "
            f"{', '.join(missing)}; predictions need all bands that the weights were trained on"
        )
    name = image.meta.get("name")
    # Any other band stands in for an absent one until its pixels are taken away.
    order = [there.index(band) if band in there else 0 for band in bands]
    order = slice(None) if there == bands else order
    return order, absent, f" {name}" if isinstance(name, str) else ""


def _check_coverage(bad, outside, bands, may_miss):
    """Return the bands that are missing; refuse a crop mostly off the image, or mostly bad in
    another band.
    """
    size = outside.size
    covered = 1 - np.count_nonzero(outside) / size
    if covered < _LEAST_COVERED:
        raise InputError(
            f"image: expected at least {_LEAST_COVERED:.0%} of the crop on the image, got "
            f"{covered:.0%} of {outside.shape[0]} x {outside.shape[1]} pixels; is the image too "
            "small or the target at its edge?"
        )
    missing = []
    good_fraction = 1 - np.count_nonzero(bad & ~outside, axis=(1, 2)) / (size * covered)
    for band, good in zip(bands, good_fraction):
        if good < _LEAST_GOOD and band in may_miss:
            missing.append(band)
        elif good < 1e-9:
            raise InputError(
                f"image: expected numbers, got none in band {band} (all NaN or masked, or without "
                "a usable uncertainty); is the target outside the survey, or the band missing? "
                f"Bands that may be: {', '.join(b for b in bands if b in may_miss) or 'none'}"
            )
        elif good < _LEAST_GOOD:
            raise InputError(
                f"image: expected at least {_LEAST_GOOD:.0%} good pixels, got {good:.0%} in band "
                f"{band}; is the target at the edge of the survey?"
            )
    return missing


def _check_signal(data, bad, bands, may_miss):
    """Return bands that are constant; refuse an image of which one is that may not be missing."""
    missing = []
    for band, values, hidden in zip(bands, data, bad):
        use = values[~hidden] if hidden.any() else values
        if not use.size or use.min() != use.max():
            continue
        if band in may_miss:
            missing.append(band)
        else:
            raise InputError(
                f"image: expected a signal, got {use.flat[0]:g} in every pixel of band {band}; "
                "is the band missing?"
            )
    return missing


def _missing(bands, *found):
    """Return names of bands that are missing for one reason or another; refuse it if all are."""
    missing = tuple(band for band in bands if any(band in names for names in found))
    if len(missing) == len(bands):
        raise InputError(
            f"image: expected numbers in one band at least, got none in {', '.join(bands)} "
            "(masked, NaN or constant)"
        )
    return missing


@dataclass
class _Regridded:
    """Pixels on the grid of the networks; its start and step in pixels of the old grid."""

    data: np.ndarray
    mask: np.ndarray
    sigma: np.ndarray | None
    outside: np.ndarray
    center: tuple
    start: tuple
    step: tuple
    repaired: bool
    missing: tuple


def _any(broken, bands, missing):
    """Tell whether pixels are no numbers, other than those of missing bands."""
    return bool(broken[[band not in missing for band in bands]].any())


def _good_flux(data, mask, sigma, to_flux):
    """Return the nanomaggies of pixels in another unit, what is bad of them, and what is no number.

    Fill values are known in the unit in which they came, so pixels are judged before.
    """
    if sigma is None:
        broken = ~usable(data, axis=(-2, -1))
    else:
        broken = ~(np.abs(data) < HUGE)
    bad = broken | mask
    if sigma is not None:  # which may be in another unit than the data
        bad = ~usable(np.where(broken, np.nan, 0.0), sigma, mask, axis=(-2, -1))
    with np.errstate(over="ignore", invalid="ignore"):
        given, (data, sigma) = data, to_flux(data, sigma)
        if data is not given:
            broken |= ~(np.abs(data) < _OVERFLOW)
        if sigma is not None:
            bad |= data < -SIGMA_RANGE * sigma
    if broken.any():
        data, bad = np.where(broken, 0, data), bad | broken
    return data, bad, sigma, broken


def _cut(data, mask, sigma, to_flux, center, size, bands, may_miss):
    """Cut whole pixels; they keep their values."""
    start = tuple(round(value) - size // 2 for value in center)
    outside = crop(np.zeros(data.shape[1:], bool), start, size, True)
    data, mask = crop(data, start, size, 0), crop(mask, start, size, True)
    sigma = None if sigma is None else crop(sigma, start, size, np.inf)
    data, mask, sigma, broken = _good_flux(data, mask, sigma, to_flux)
    covered = _check_coverage(mask, outside, bands, may_miss)
    missing = _missing(bands, covered, _check_signal(data, mask, bands, may_miss))
    data = data.astype(np.float32)
    if mask.any():
        data = fill_bad(data, mask)
        data[:, outside] = 0
    center = (center[0] - start[0], center[1] - start[1])
    return _Regridded(
        data, mask, sigma, outside, center, start, (1.0, 1.0), _any(broken, bands, missing), missing
    )


def _resample(data, mask, sigma, to_flux, center, step, size, bands, may_miss):
    """Put the target on the middle of a grid with other pixels."""
    start = tuple(value - (size // 2) * width for value, width in zip(center, step))
    # Work on the neighbourhood only: what lies beyond neither helps nor harms.
    box, corner = [], []
    for first, width, n in zip(start, step, data.shape[:0:-1]):
        low = max(int(np.floor(first - width / 2)) - _MARGIN, 0)
        high = min(int(np.ceil(first + (size - 0.5) * width)) + 1 + _MARGIN, n)
        box.append(slice(low, high))
        corner.append(low)
    box = (slice(None), *box[::-1])
    data, mask = data[box], mask[box]
    sigma = None if sigma is None else sigma[box]
    data, mask, sigma, broken = _good_flux(data, mask, sigma, to_flux)
    constant = _check_signal(data, mask, bands, may_miss)
    filled = fill_bad(data.astype(float), mask)
    if sigma is not None:
        sigma = np.where(mask, 0, sigma)
    near = tuple(value - low for value, low in zip(center, corner))
    data, mask, sigma, outside = resample(filled, mask, sigma, near, step, size)
    missing = _missing(bands, constant, _check_coverage(mask, outside, bands, may_miss))
    center = (float(size // 2),) * 2
    data = data.astype(np.float32)
    return _Regridded(
        data, mask, sigma, outside, center, start, step, _any(broken, bands, missing), missing
    )


@lru_cache(maxsize=64)
def _surroundings(shape, center, pixel_scale):
    """Return a box around the target, and masks of target and surroundings in it."""
    reach = int(np.ceil(_NEIGHBOUR_RADIUS / pixel_scale))
    x, y = (round(value) for value in center)
    box = np.s_[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
    rows, columns = np.indices(np.empty(shape)[box].shape)
    distance = np.hypot(rows + box[0].start - center[1], columns + box[1].start - center[0])
    target = distance <= _TARGET_RADIUS / pixel_scale
    return box, target, ~target & (distance <= reach)


def _quality(data, mask, center, pixel_scale, bands):
    """Return flags of an image in its final form."""
    flags = []
    shape, radius = data.shape[-2:], _FIBRE_RADIUS / pixel_scale
    try:
        weights = aperture_weights(shape, radius, center)
    except InputError:
        return ["target_off_centre"]
    fibre = weights > 0.5
    if mask[:, fibre].any():
        flags.append("masked_core")
    width = np.sqrt(np.sum(weights**2))
    flux = np.einsum("byx,yx->b", data, weights)
    # The median that the noise is made from takes as long as all else here: most targets stand out
    # of the largest that it can be.
    if not np.any(flux > _LOW_SIGNAL * width * sky_noise_limit(data)) and not np.any(
        flux > _LOW_SIGNAL * width * sky_noise(data, mask)
    ):
        flags.append("low_signal")
    # Is there something brighter than the target close by, in the band that sees it best?
    if "r" in bands:
        best = bands.index("r")
    else:
        best = int(np.argmax(flux / np.maximum(sky_noise(data, mask), 1e-30)))
    box, target, around = _surroundings(shape, tuple(map(float, center)), float(pixel_scale))
    smooth = gaussian_filter(data[best][box], 1.0, mode="nearest")
    near = smooth[target].max()
    far = smooth[around].max(initial=-np.inf)
    if far > _BRIGHTER * max(near, 0):
        flags.append("target_off_centre")
    return flags
