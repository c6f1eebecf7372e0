"""One spectrum in its rest frame on logarithmic pixels, as the fits need it."""

from dataclasses import dataclass

import numpy as np

from photospec.analysis.emission.model import WIDE_STEP
from photospec.analysis.gate import good_pixels
from photospec.dust import galactic_transmission
from photospec.errors import InputError
from photospec.spectrum import SpectrumArrays, fill_missing, rebin, to_arrays
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["LogSpectrum", "OwnPixels", "is_logarithmic", "one_spectrum", "to_log_spectrum"]

SDSS_STEP = 1e-4 * np.log(10)  # of ln(wavelength): 69 km/s


@dataclass(frozen=True, eq=False)
class OwnPixels:
    """A spectrum on the pixels it came on, Galactic extinction removed.

    Attributes
    ----------
    wavelength : ndarray, shape (n_pixels,)
        Observed, vacuum, Angstrom.
    flux : ndarray, shape (n_pixels,)
    sigma : ndarray, shape (n_pixels,) or None
        Inf in bad pixels; None where no errors came with the spectrum.
    mask : ndarray of bool, shape (n_pixels,)
        True where bad.
    lsf_sigma : ndarray, shape (n_pixels,) or None
        Angstrom, without the width of the pixels.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray | None
    mask: np.ndarray
    lsf_sigma: np.ndarray | None


@dataclass(frozen=True)
class LogSpectrum:
    """Rest-frame spectrum, uniform in ln(wavelength).

    Attributes
    ----------
    wavelength : ndarray, shape (n_pixels,)
        Rest vacuum, Angstrom.
    flux, sigma : ndarray, shape (n_pixels,)
        As observed (not multiplied by 1 + z), divided by `scale`; sigma is inf in bad pixels.
    mask : ndarray of bool, shape (n_pixels,)
        True where bad.
    lsf_sigma : ndarray, shape (n_pixels,) or None
        Rest-frame Angstrom.
    scale : float
        Median of the good flux.
    redshift : float
    has_sigma : bool
        False where no errors came with the spectrum; `sigma` is one then.
    pixel_box : float
        Standard deviation of the pixels that the spectrum was shared out from, km/s; zero where
        it came on logarithmic pixels.
    own_pixels : OwnPixels or None
        Where they are wider than `WIDE_STEP` and not logarithmic.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray
    mask: np.ndarray
    lsf_sigma: np.ndarray | None
    scale: float
    redshift: float
    has_sigma: bool
    pixel_box: float = 0.0
    own_pixels: OwnPixels | None = None

    @property
    def step(self):
        """Pixel in ln(wavelength)."""
        return np.log(self.wavelength[-1] / self.wavelength[0]) / (self.wavelength.size - 1)


def one_spectrum(spectrum):
    """Return a SpectrumArrays of exactly one spectrum from a Spectrum or SpectrumArrays."""
    arrays = spectrum if isinstance(spectrum, SpectrumArrays) else to_arrays(spectrum)
    arrays = fill_missing(arrays)
    if len(arrays.flux) != 1:
        raise InputError(
            f"spectrum: expected one spectrum, got {len(arrays.flux)};"
            " fit them one by one or use measure_properties"
        )
    if not np.all(np.diff(arrays.wavelength) > 0):
        raise InputError(
            "spectrum.wavelength: expected increasing numbers, got some that are not;"
            " sort the pixels and join repeated ones"
        )
    return arrays


def is_logarithmic(wavelength):
    """Tell whether pixels (n_wave,) are even in the logarithm, to 2 % of a pixel."""
    ln_wave = np.log(wavelength)
    uniform = np.linspace(ln_wave[0], ln_wave[-1], ln_wave.size)
    off = np.abs(ln_wave - uniform).max()
    return bool(ln_wave.size <= 2 or off <= 0.02 * np.median(np.diff(ln_wave)))


def to_log_spectrum(arrays, redshift, galactic_ebv=0.0):
    """Bring a spectrum to the rest frame and logarithmic pixels, Galactic extinction removed.

    A spectrum that has logarithmic pixels already (SDSS) is not resampled.

    Parameters
    ----------
    arrays : SpectrumArrays
        One spectrum.
    redshift : float
    galactic_ebv : float
        E(B-V) of the Milky Way, mag; `photospec.dust.galactic_extinction`.

    Returns
    -------
    LogSpectrum
    """
    wavelength = np.asarray(arrays.wavelength, dtype=float)
    flux = np.asarray(arrays.flux[0], dtype=float)
    has_sigma = arrays.sigma is not None
    sigma = np.asarray(arrays.sigma[0], dtype=float) if has_sigma else np.ones(flux.size)
    mask = ~good_pixels(arrays)[0]
    lsf = arrays.lsf
    if lsf is not None:
        lsf = np.broadcast_to(lsf[0] if np.ndim(lsf) == 2 else lsf, wavelength.shape)
    if galactic_ebv:
        brighter = galactic_transmission(wavelength, -galactic_ebv)
        flux = flux * brighter
        sigma = sigma * brighter if has_sigma else sigma
    ln_wave, pixel_box, own = np.log(wavelength), 0.0, None
    steps = np.diff(ln_wave)
    if not is_logarithmic(wavelength):
        step = max(float(np.median(steps)), SDSS_STEP)
        count = int((ln_wave[-1] - ln_wave[0]) / step) - 1
        new = np.exp(ln_wave[0] + step * (1 + np.arange(count)))
        pixel_box = float(np.median(steps)) * SPEED_OF_LIGHT / np.sqrt(12)
        width, new_width = np.gradient(wavelength), np.gradient(new)
        if np.median(steps) > WIDE_STEP:
            noise = np.where(mask, np.inf, sigma) if has_sigma else None
            own = OwnPixels(wavelength, flux, noise, mask, _without_pixels(lsf, width))
        filled = np.where(mask, np.interp(wavelength, wavelength[~mask], flux[~mask]), flux) if (
            not mask.all()) else np.zeros(flux.size)  # fmt: skip
        # Sum of f d / D has the variance sum of s^2 d^2 / D^2: the mean of s^2 d, over D.
        variance = rebin(np.where(mask, 0, sigma) ** 2 * width, wavelength, new) / new_width
        mask = ~(rebin(mask.astype(float), wavelength, new) <= 0.01)
        flux = rebin(filled, wavelength, new)
        sigma = np.sqrt(variance) if has_sigma else np.ones(count)
        if lsf is not None:
            # A sample stands for its whole pixel while it is shared out: a box more.
            lsf = np.sqrt(
                np.interp(new, wavelength, lsf) ** 2 + np.interp(new, wavelength, width) ** 2 / 12
            )
        wavelength = new
    else:
        wavelength = np.exp(np.linspace(ln_wave[0], ln_wave[-1], ln_wave.size))
    mask = mask | ~np.isfinite(flux) | ~np.isfinite(sigma) | (sigma <= 0)
    level = float(np.median(flux[~mask])) if not mask.all() else np.nan
    scale = level if np.isfinite(level) and level > 0 else 1.0
    return LogSpectrum(
        wavelength=wavelength / (1 + redshift),
        flux=np.where(mask, 0.0, flux / scale),
        sigma=np.where(mask, np.inf, sigma / scale if has_sigma else 1.0),
        mask=mask,
        lsf_sigma=None if lsf is None else np.asarray(lsf) / (1 + redshift),
        scale=scale,
        redshift=float(redshift),
        has_sigma=has_sigma,
        pixel_box=pixel_box,
        own_pixels=own,
    )


def _without_pixels(lsf, width):
    """Take pixels of some width out of a line-spread function, where it is broader than they are.

    The standard deviation of a pixel is its width over the root of 12. A line-spread function
    below that was given without the pixels.
    """
    if lsf is None:
        return None
    square = lsf**2 - width**2 / 12
    return np.where(square > 0, np.sqrt(np.abs(square)), lsf)
