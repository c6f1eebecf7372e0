"""Sky, source noise, and the interpolation of every band onto one pixel grid."""

from dataclasses import dataclass

import numpy as np

from photospec.config import setting, validate
from photospec.simulation.instrument.images import spline_kernel

__all__ = ["NoiseConfig", "add_noise", "draw_shifts", "draw_sky", "sky_rms_of_depth"]


@dataclass(frozen=True)
class NoiseConfig:
    """Noise of corrected, sky-subtracted frames.

    The SDSS numbers were measured on the frames 001043-5-0025 and 001992-1-0087 and on 35
    cutouts of five runs (script benchmarks/simulation_images.py).

    `Survey.write` writes each field with its meaning.
    """

    sky_rms: tuple[float, ...] = setting(
        (0.042, 0.0158, 0.0284, 0.0465, 0.177),
        "median standard deviation of a sky pixel of each band, nanomaggies",
        min=0,
        max=100,
    )
    sky_rms_scatter: tuple[float, ...] = setting(
        (0.18, 0.09, 0.05, 0.10, 0.07),
        "scatter of its natural logarithm between fields",
        min=0,
        max=2,
    )
    electron: tuple[float, ...] = setting(
        (0.0042, 0.0009, 0.0010, 0.00135, 0.0053),
        "nanomaggies per photo-electron of each band: calibration over gain",
        min=0,
        max=10,
    )
    sky_offset: float = setting(
        0.04, "error of the subtracted sky level over sky_rms", min=0, max=10
    )
    resample: bool = setting(
        True,
        "bands other than r were interpolated (cubic splines) from pixel grids shifted by a "
        "fraction of a pixel, as multi-band cutouts of drift-scan frames are",
    )

    def __post_init__(self):
        validate(self)


def sky_rms_of_depth(depth, fwhm, pixel_scale):
    """Return the noise of sky pixels of images of a published depth.

    A point source fitted with its point spread function covers 2.266 (FWHM / pixel)^2 pixels of
    noise (Ivezic et al. 2019, ApJ 873, 111, sect. 3.2).

    Parameters
    ----------
    depth : sequence of float
        Magnitude of a point source at 5 sigma, each band.
    fwhm : sequence of float
        Arcsec, each band.
    pixel_scale : float
        Arcsec.

    Returns
    -------
    tuple of float
        Nanomaggies, three digits.

    Examples
    --------
    >>> from photospec.simulation.instrument.noise import sky_rms_of_depth
    >>> sky_rms_of_depth((24.65, 23.9), (1.29, 1.18), 0.262)
    (0.00372, 0.00812)
    """
    limit = 10 ** (0.4 * (22.5 - np.asarray(depth, float)))
    n_pixels = 2.266 * (np.asarray(fwhm, float) / pixel_scale) ** 2
    return tuple(float(f"{value:.3g}") for value in limit / 5 / np.sqrt(n_pixels))


def draw_shifts(config, rng, n, bands):
    """Draw sub-pixel shifts (n, n_bands, 2) of the bands' pixel grids in pixels, or return None."""
    if not config.resample:
        return None
    shifts = rng.uniform(-0.5, 0.5, (n, len(bands), 2))
    shifts[:, [band == "r" for band in bands]] = 0.0
    return shifts


def draw_sky(config, rng, n):
    """Draw the sky noise (n, n_bands): standard deviation of a pixel in nanomaggies."""
    scatter = np.asarray(config.sky_rms_scatter)
    return np.asarray(config.sky_rms) * np.exp(scatter * rng.standard_normal((n, len(scatter))))


def _interpolation(shifts, size):
    """Return matrices (n, n_bands, size, size + 12) that interpolate padded rows at a shift."""
    offset, taps = spline_kernel(shifts)
    matrix = np.zeros((*np.shape(shifts), size, size + 12), np.float32)
    rows = np.arange(size)
    for j, step in enumerate(offset):
        matrix[..., rows, rows + step + 6] = taps[..., j, None]
    return matrix


def add_noise(images, sky_rms, shifts, config, rng):
    """Observe noiseless images.

    Parameters
    ----------
    images : ndarray of float32
        Shape (n, n_bands, size, size), nanomaggies.
    sky_rms : ndarray
        Shape (n, n_bands).
    shifts : ndarray or None
        As `draw_shifts` returns them.
    config : NoiseConfig
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32
        Same shape.
    """
    n, n_bands, size, _ = images.shape
    pad = 0 if shifts is None else 6
    electron = np.asarray(config.electron, np.float32)[:, None, None]
    observed = np.empty_like(images)
    offset = (config.sky_offset * sky_rms * rng.standard_normal((n, n_bands))).astype(np.float32)
    for i in range(n):
        sigma = np.maximum(images[i], 0)
        sigma *= electron
        sigma += (sky_rms[i] ** 2).astype(np.float32)[:, None, None]
        np.sqrt(sigma, out=sigma)
        if pad:
            sigma = np.pad(sigma, ((0, 0), (pad, pad), (pad, pad)), mode="edge")
        noise = rng.standard_normal(sigma.shape, np.float32)
        noise *= sigma
        if pad:
            across = _interpolation(shifts[i, :, 0], size)
            down = _interpolation(shifts[i, :, 1], size)
            noise = down @ noise @ across.swapaxes(1, 2)
        observed[i] = images[i] + noise + offset[i, :, None, None]
    return observed
