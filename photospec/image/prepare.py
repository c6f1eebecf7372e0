"""The one gate through which images enter.

`read_image` turns files into `~astropy.nddata.NDData`; `prepare_image` turns any NDData
into the array that networks take, or says in one line why it cannot. Axes are
``(n_bands, ny, nx)`` with y up; the target lies on pixel ``(size // 2, size // 2)``.
"""

import warnings
from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter

from photospec.errors import InputError, PhotospecWarning
from photospec.image.checks import check_values, choose_bands, image_arrays
from photospec.image.io import read_image
from photospec.image.resample import crop, fill_bad, resample, sky_noise
from photospec.image.units import NANOMAGGY, band_names, pixel_scales, target_pixel, to_nanomaggies
from photospec.photometry.apertures import aperture_flux, aperture_weights
from photospec.photometry.filters import SDSS_BANDS

__all__ = [
    "NANOMAGGY",
    "ImageArray",
    "aperture_flux",
    "prepare_image",
    "read_image",
]

# Pixel scales this close to the wanted one (relative) are taken as equal.
_SAME_SCALE = 0.005
# The target counts as seen above this signal-to-noise ratio within the fibre.
_LOW_SIGNAL = 5.0
_FIBRE_RADIUS = 1.5  # arcsec
# Beyond this a number is no flux but a broken pixel (and would overflow in single precision).
_HUGE = 1e30


@dataclass(frozen=True, eq=False)
class ImageArray:
    """An image as the networks take it.

    Attributes
    ----------
    data : ndarray (n_bands, size, size) of float32
        Nanomaggies per pixel, bad pixels filled.
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
        5 arcsec), ``"low_signal"`` (below 5 sigma within the fibre in every band).
    meta : dict
        ``center``: (x, y) of the target in pixels, and what the image brought.
    """

    data: np.ndarray
    mask: np.ndarray
    uncertainty: np.ndarray | None
    bands: tuple
    pixel_scale: float
    wcs: object = None
    flags: tuple = ()
    meta: dict = field(default_factory=dict)

    @property
    def center(self):
        """Position (x, y) of the target in pixels."""
        return self.meta.get("center", (self.data.shape[-1] // 2, self.data.shape[-2] // 2))

    def __repr__(self):
        return (
            f"<ImageArray {''.join(self.bands)}, {self.data.shape[-1]} x {self.data.shape[-2]}, "
            f"{self.pixel_scale:g} arcsec, flags {', '.join(self.flags) or 'none'}>"
        )


def prepare_image(image, *, bands=SDSS_BANDS, pixel_scale=0.396, size=64, position=None):
    """Check an image and bring it into the form that networks take.

    Orders the bands, converts the unit to nanomaggies, resamples the pixel scale
    conserving flux (only when it differs by more than 0.5 %), cuts ``size`` x ``size``
    pixels around the target, and masks and fills what is bad. Orientation is left alone.

    Parameters
    ----------
    image : NDData or CCDData (n_bands, ny, nx)
        With a flux unit, ``meta["bands"]``, and a celestial WCS or ``meta["pixel_scale"]``.
    bands : str or sequence of str
        Bands wanted, in this order; others in the image are left out.
    pixel_scale : float
        Arcsec per pixel wanted.
    size : int
        Side of the result in pixels.
    position : SkyCoord or (ra, dec) in degrees, optional
        The target. Default: ``meta["position"]``, else the centre of the image.

    Returns
    -------
    ImageArray

    Raises
    ------
    InputError
        If the image cannot be used: no image, wrong shape, bands, unit or pixel scale, no
        finite pixel, a constant band, less than half of the crop covered or good.

    Warns
    -----
    PhotospecWarning
        If not-finite pixels were filled or the image was padded.
    """
    data, mask, uncertainty = image_arrays(image)
    bands = band_names(bands)
    data, mask, uncertainty, name = choose_bands(image, data, mask, uncertainty, bands)
    meta = dict(image.meta)
    wcs = image.wcs if isinstance(image.wcs, WCS) and image.wcs.has_celestial else None
    scale = pixel_scales(wcs, meta)
    area = scale[0] * scale[1] * u.arcsec**2
    data = to_nanomaggies(data, image.unit, bands, area)
    if uncertainty is not None:
        if isinstance(image.unit, u.function.FunctionUnitBase):
            uncertainty = None  # an error in magnitudes is no error in flux
        else:
            uncertainty = to_nanomaggies(uncertainty, image.unit, bands, area)
    center = target_pixel(data.shape, wcs, meta, position)
    if all(abs(value / pixel_scale - 1) <= _SAME_SCALE for value in scale):
        flags, put = [], _cut(data, mask, uncertainty, center, size, bands)
    else:
        step = tuple(pixel_scale / value for value in scale)
        flags, put = ["resampled"], _resample(data, mask, uncertainty, center, step, size, bands)
    data, mask, uncertainty = put.data, put.mask, put.uncertainty
    wcs = _moved_wcs(wcs, put.start, put.step)

    if put.outside.any():
        flags.append("padded")
        _warn(f"image{name} does not cover all of the {size} x {size} crop: padded as masked")
    if (mask & ~put.outside).any():
        flags.append("masked_pixels")
    if put.repaired:
        _warn(
            f"image{name} has pixels that are not finite: masked, and filled from the "
            "pixels around them"
        )
    if uncertainty is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            uncertainty = np.where(mask, np.inf, uncertainty).astype(np.float32)
    flags += _quality(data, mask, put.center, pixel_scale, bands)
    meta.update(center=put.center, bands=bands)
    return ImageArray(data, mask, uncertainty, bands, float(pixel_scale), wcs, tuple(flags), meta)


def _warn(text):
    warnings.warn(text, PhotospecWarning, stacklevel=3)


@dataclass
class _Put:
    """Pixels in their new place: start and step of the new grid on the old one."""

    data: np.ndarray
    mask: np.ndarray
    uncertainty: np.ndarray | None
    outside: np.ndarray
    center: tuple
    start: tuple
    step: tuple
    repaired: bool


def _cut(data, mask, uncertainty, center, size, bands):
    """Cut whole pixels; they keep their values."""
    start = tuple(round(value) - size // 2 for value in center)
    outside = crop(np.zeros(data.shape[1:], bool), start, size, True)
    data, mask = crop(data, start, size, 0), crop(mask, start, size, True)
    bad = ~(np.abs(data) < _HUGE)
    mask |= bad
    check_values(data, mask, outside, bands)
    if uncertainty is not None:
        uncertainty = crop(uncertainty, start, size, np.inf)
    data = np.where(bad, 0, data).astype(np.float32)
    if mask.any():
        data = fill_bad(data, mask)
        data[:, outside] = 0
    center = (center[0] - start[0], center[1] - start[1])
    return _Put(data, mask, uncertainty, outside, center, start, (1.0, 1.0), bad.any())


def _resample(data, mask, uncertainty, center, step, size, bands):
    """Put the target on the middle of a grid with other pixels."""
    bad = ~(np.abs(data) < _HUGE)
    mask = mask | bad
    check_values(data, mask, np.zeros(data.shape[1:], bool), bands)
    if uncertainty is not None:
        uncertainty = np.where(np.isfinite(uncertainty), uncertainty, 0)
    filled = fill_bad(np.where(bad, 0, data).astype(float), mask)
    start = tuple(value - (size // 2) * width for value, width in zip(center, step))
    data, mask, uncertainty, outside = resample(filled, mask, uncertainty, center, step, size)
    check_values(data, mask, outside, bands)
    center = (float(size // 2),) * 2
    data = data.astype(np.float32)
    return _Put(data, mask, uncertainty, outside, center, start, step, bad.any())


def _moved_wcs(wcs, start, step):
    """Celestial WCS after cutting at `start` and changing the pixels by `step`."""
    if wcs is None:
        return None
    new = (wcs if wcs.naxis == 2 else wcs.celestial).deepcopy()
    new.pixel_shape = None
    if step == (1.0, 1.0):
        new.wcs.crpix -= start
        if new.sip is not None:
            return (wcs if wcs.naxis == 2 else wcs.celestial).slice(
                tuple(slice(value, None) for value in start[::-1])
            )
        return new
    if new.sip is not None or new.cpdis1 is not None or new.det2im1 is not None:
        return None  # distortions do not scale
    # Pixel p of the old grid is (p - start) / step on the new one.
    new.wcs.crpix = (new.wcs.crpix - 1 - start) / step + 1
    if new.wcs.has_cd():
        new.wcs.cd = new.wcs.cd * step
    else:
        new.wcs.pc = new.wcs.get_pc() * step
    new.wcs.set()
    return new


def _quality(data, mask, center, pixel_scale, bands):
    flags = []
    shape, radius = data.shape[-2:], _FIBRE_RADIUS / pixel_scale
    try:
        weights = aperture_weights(shape, radius, center)
    except InputError:
        return ["target_off_centre"]
    fibre = weights > 0.5
    if mask[:, fibre].any():
        flags.append("masked_core")
    noise = sky_noise(data, mask) * np.sqrt(np.sum(weights**2))
    flux = np.einsum("byx,yx->b", data, weights)
    if not np.any(flux > _LOW_SIGNAL * noise):
        flags.append("low_signal")
    # Is there something brighter than the target close by, in the band that sees it best?
    best = bands.index("r") if "r" in bands else int(np.argmax(flux / np.maximum(noise, 1e-30)))
    reach = int(np.ceil(5 / pixel_scale))
    x, y = (round(value) for value in center)
    box = np.s_[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
    smooth = gaussian_filter(data[best][box], 1.0, mode="nearest")
    rows, columns = np.indices(smooth.shape)
    distance = np.hypot(rows + box[0].start - center[1], columns + box[1].start - center[0])
    near = smooth[distance <= 1.2 / pixel_scale].max()
    far = smooth[(distance > 1.2 / pixel_scale) & (distance <= reach)].max(initial=-np.inf)
    if far > 1.5 * max(near, 0):
        flags.append("target_off_centre")
    return flags
