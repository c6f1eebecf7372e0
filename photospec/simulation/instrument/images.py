"""Noiseless images: every source drawn in Fourier space, one inverse transform per band.

A source is a Sersic profile (or a point), so its transform is a table look-up; bands differ
only in flux, point spread function, and the sub-pixel shift between the pixel grids of the
detectors. The sum over sources, the product with the point spread function and the pixel
response, and the sampling are therefore done in Fourier space, where a shift is a phase.
Fluxes inside the fibre come from the same transforms by Parseval's theorem.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft

from photospec.photometry.apertures import aperture_weights
from photospec.simulation.instrument.profiles import TRUNCATION, sersic_table, spiral_tables
from photospec.simulation.instrument.psf import quadratic_form

__all__ = ["BULGE", "DISK", "OTHER", "Sources", "render_images"]

BULGE, DISK, OTHER = 0, 1, 2  # kinds of a source: the target's two, neighbours and stars


@dataclass(frozen=True)
class Sources:
    """Things that shine, one per row, in any number per image.

    Attributes
    ----------
    image : ndarray of int
        Image that each source belongs to, ascending; shape (n_sources,).
    sersic_index : ndarray
        Sersic index, or `photospec.simulation.instrument.profiles.POINT`.
    half_light_radius : ndarray
        Along the major axis, arcsec.
    axis_ratio, position_angle : ndarray
        Minor to major axis; degrees, counter-clockwise from +x.
    x, y : ndarray
        Offset from the image centre, arcsec, x to the right and y up.
    arm_pitch, arm_phase : ndarray
        Pitch angle in degrees, negative for the other handedness, and orientation in radians of
        spiral arms; pitch 0: no arms. Arms are sources of their own whose net flux is zero:
        their `flux` is that of the disk times their contrast.
    component : ndarray of int
        Whose spectrum it has: `BULGE`, `DISK` (of the target) or `OTHER`.
    flux : ndarray
        Total flux, nanomaggies; shape (n_sources, n_bands).
    """

    image: np.ndarray
    sersic_index: np.ndarray
    half_light_radius: np.ndarray
    axis_ratio: np.ndarray
    position_angle: np.ndarray
    x: np.ndarray
    y: np.ndarray
    arm_pitch: np.ndarray
    arm_phase: np.ndarray
    component: np.ndarray
    flux: np.ndarray

    def __getitem__(self, index):
        return Sources(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @classmethod
    def concatenate(cls, parts):
        """Join the sources of `parts` (sequence of Sources), sorted by image."""
        names = list(cls.__dataclass_fields__)
        merged = cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))
        return merged[np.argsort(merged.image, kind="stable")]


@lru_cache(maxsize=8)
def _grid(n_grid, pixel_scale):
    """Return frequencies (radian per arcsec) and pixel response of an n_grid-pixel square."""
    kx = (2 * np.pi * scipy.fft.rfftfreq(n_grid)).astype(np.float32)
    ky = (2 * np.pi * scipy.fft.fftfreq(n_grid)).astype(np.float32)
    response = np.sinc(kx / (2 * np.pi)) * np.sinc(ky / (2 * np.pi))[:, None]
    return kx / np.float32(pixel_scale), ky / np.float32(pixel_scale), response.astype(np.float32)


@lru_cache(maxsize=8)
def _aperture_transform(n_grid, size, pixel_scale, radius):
    """Return the conjugate transform of the aperture, weighted so that a plain sum over k is the
    flux.
    """
    padded = np.zeros((n_grid, n_grid))
    padded[:size, :size] = aperture_weights((size, size), radius / pixel_scale)
    transform = scipy.fft.rfft2(padded).conj() / n_grid**2
    transform[:, 1 : (n_grid + 1) // 2] *= 2  # the other half plane
    return transform.astype(np.complex64)


def spline_kernel(shift):
    """Return taps of a cubic-spline interpolation at `shift` pixels from the samples.

    Parameters
    ----------
    shift : array-like
        Shape (...), within [-0.5, 0.5].

    Returns
    -------
    offset : ndarray
        Shape (13,): sample minus target, in pixels, before the shift.
    taps : ndarray
        Shape (..., 13). Cardinal cubic B-spline (Unser 1999, IEEE SPM 16, 22).
    """
    offset = np.arange(-6, 7)
    pole = np.sqrt(3.0) - 2.0
    i = np.arange(-8, 9)
    prefilter = -6 * pole / (1 - pole**2) * pole ** np.abs(i)
    x = np.abs(np.asarray(shift)[..., None, None] - offset[:, None] - i)
    spline = np.where(x < 1, 2 / 3 - x**2 + x**3 / 2, np.clip(2 - x, 0, None) ** 3 / 6)
    taps = (spline * prefilter).sum(axis=-1)
    return offset, taps / taps.sum(axis=-1, keepdims=True)


@lru_cache(maxsize=8)
def _sample_phases(n_grid, full):
    """Return phases (13, n_k) of the samples around a pixel, and k in radian per pixel."""
    k = 2 * np.pi * (scipy.fft.fftfreq(n_grid) if full else scipy.fft.rfftfreq(n_grid))
    return np.exp(1j * np.outer(np.arange(-6, 7), k)).astype(np.complex64), k


def _resampling_response(taps, shift, n_grid, full):
    """Return what interpolating back bands shifted by `shift` pixels does to each frequency.

    Shapes: taps (n_bands, 13), shift (n_bands,), result (n_bands, n_k).
    """
    phases, k = _sample_phases(n_grid, full)
    return (taps @ phases) * np.exp(-1j * np.outer(shift, k)).astype(np.complex64)


def _spiral(sources, kx, ky):
    """Return transforms (n, n_y, n_x) of the arms of sources that are arms; see `spiral_tables`."""
    angle = np.deg2rad(sources.position_angle)[:, None, None]
    major = sources.half_light_radius[:, None, None]
    along = major * (np.cos(angle) * kx + np.sin(angle) * ky[:, None])
    across = np.cos(angle) * ky[:, None] - np.sin(angle) * kx
    wave = (along + 1j * sources.axis_ratio[:, None, None] * major * across).astype(np.complex64)
    k_squared = np.maximum(wave.real**2 + wave.imag**2, np.float32(1e-30))
    wave *= wave
    wave /= k_squared
    wave *= np.exp(-1j * sources.arm_phase)[:, None, None].astype(np.complex64)
    cosine, sine = spiral_tables()
    rows = cosine.rows(np.abs(sources.arm_pitch))
    sign = np.sign(sources.arm_pitch).astype(np.float32)[:, None, None]
    light = cosine.look_up(rows, k_squared.copy()) * wave.real
    light += sine.look_up(rows, k_squared) * wave.imag * sign
    return -light


def _grid_size(sources, size, pixel_scale):
    """Return the padded size that keeps the wings of the largest source from wrapping into the
    image.
    """
    extent = np.where(sources.sersic_index > 2, TRUNCATION, 5.0) * sources.half_light_radius
    extent = (extent * (sources.sersic_index > 0)).max() / pixel_scale
    needed = np.clip(extent + 0.5 * size + 16, 2 * size, 4 * size)
    return scipy.fft.next_fast_len(int(2 * np.ceil(needed / 2)) if needed <= 2 * size else 4 * size)


def render_images(sources, psf, shifts, *, size=64, pixel_scale=0.396, fibre_radius=1.5):
    """Draw noiseless images and the light of every source inside the fibre.

    Parameters
    ----------
    sources : Sources
        Sources of images 0 to n - 1.
    psf : PsfSet
        Shape (n, n_bands).
    shifts : ndarray or None
        Shape (n, n_bands, 2): sub-pixel (x, y) shift of each band's pixel grid, which was
        interpolated back to the common grid by cubic splines. None: no interpolation.
    size : int
        Pixels on a side.
    pixel_scale, fibre_radius : float
        Arcsec.

    Returns
    -------
    images : ndarray of float32
        Shape (n, n_bands, size, size), nanomaggies per pixel, y up.
    aperture : ndarray
        Shape (n_sources, n_bands): flux of each source inside the centred fibre, nanomaggies.
    """
    table = sersic_table(tuple(np.unique(sources.sersic_index).tolist()))
    rows = table.rows(sources.sersic_index)
    n, n_bands = psf.fwhm.shape
    images = np.empty((n, n_bands, size, size), np.float32)
    aperture = np.empty(sources.flux.shape)
    angle = np.deg2rad(sources.position_angle)
    major2 = sources.half_light_radius**2
    minor2 = major2 * sources.axis_ratio**2
    cos2, sin2 = np.cos(angle) ** 2, np.sin(angle) ** 2
    form = (
        major2 * cos2 + minor2 * sin2,
        major2 * sin2 + minor2 * cos2,
        (major2 - minor2) * np.sin(2 * angle),
    )
    bounds = np.searchsorted(sources.image, np.arange(n + 1))
    centre = (size // 2) * pixel_scale
    taps = None if shifts is None else spline_kernel(shifts)[1].astype(np.complex64)
    for i in range(n):
        part = slice(bounds[i], bounds[i + 1])
        n_grid = _grid_size(sources[part], size, pixel_scale)
        kx, ky, pixel = _grid(n_grid, pixel_scale)
        light = table.look_up(rows[part], quadratic_form(kx, ky, *(c[part] for c in form)))
        arms = np.flatnonzero(sources.arm_pitch[part])
        if len(arms):
            light[arms] = _spiral(sources[bounds[i] + arms], kx, ky)
        light = light * np.exp(-1j * np.outer(sources.y[part] + centre, ky))[..., None].astype(
            np.complex64
        )
        light *= np.exp(-1j * np.outer(sources.x[part] + centre, kx))[:, None].astype(np.complex64)
        optics = psf[i].transform(kx, ky)
        optics *= pixel
        if shifts is not None:
            x_part, y_part = (
                _resampling_response(taps[i, :, axis], shifts[i, :, axis], n_grid, axis == 1)
                for axis in (0, 1)
            )
            optics = (optics * x_part[:, None]) * y_part[..., None]
        light = light.reshape(len(light), -1)
        optics = optics.reshape(n_bands, -1)
        weights = _aperture_transform(n_grid, size, pixel_scale, fibre_radius).ravel()
        aperture[part] = sources.flux[part] * (light @ (optics * weights).T).real
        field = sources.flux[part].T.astype(np.complex64) @ light
        field *= optics
        field = scipy.fft.ifft(field.reshape(n_bands, n_grid, -1), axis=1)[:, :size]
        images[i] = scipy.fft.irfft(field, n=n_grid, axis=2)[..., :size]
    return images, aperture
