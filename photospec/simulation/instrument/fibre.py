"""Through the fibre: aperture light, line spread, noise, and the training grid.

Everything after the fibre is linear in the flux, so it is two sparse matrices made once:
`to_pixels` spreads the light by the instrument's line-spread function over the detector's
logarithmic pixels, `to_grid` takes those pixels to the common wavelength grid as
`photospec.spectrum.to_training_grid` does for real spectra. Noise is drawn per detector pixel
and passes through the second matrix, so that it is correlated as in a real, resampled spectrum.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.sparse
from scipy.interpolate import CubicSpline
from scipy.special import erf

from photospec.config import setting, validate
from photospec.errors import InputError
from photospec.photometry.filters import AB_FACTOR, band_weights, effective_wavelength
from photospec.simulation.galaxies.sed import OBSERVED_WAVELENGTH
from photospec.spectrum.wavelengths import WAVELENGTH, to_training_grid
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["InstrumentConfig", "band_basis", "fibre_spectra", "observe"]

_LOG_STEP = 1e-4  # of log10(wavelength) per pixel: the grid of SDSS spectra

# Strong airglow lines of OH, vacuum Angstrom, to about 1 A (Hanuschik 2003, A&A 407, 1157).
_OH_LINES = np.array(
    [
        *(7279, 7286, 7318, 7331, 7343, 7361, 7371, 7404, 7440, 7526, 7573, 7714),
        *(7718, 7753, 7796, 7811, 7823, 7843, 7855, 7872, 7893, 7916, 7923, 7951),
        *(7967, 7995, 8028, 8054, 8064, 8290, 8301, 8313, 8347, 8355, 8370, 8385),
        *(8402, 8418, 8433, 8455, 8468, 8496, 8507, 8550, 8763, 8770, 8781, 8794),
        *(8813, 8830, 8838, 8852, 8870, 8888, 8906, 8922, 8946, 8961, 8991, 9004),
        *(9041, 9053, 9105, 9155),
    ],
    float,
)
_OTHER_LINES = np.array([5578.9, 5891.6, 5897.6, 6302.0, 6365.5])
_OTHER_STRENGTH = np.array([5.0, 0.8, 0.4, 0.6, 0.25])


@dataclass(frozen=True)
class InstrumentConfig:
    """A fibre spectrograph.

    The SDSS numbers give the errors of ten galaxy spectra of plates 266, 268 and 1045, median
    flux 13 to 90, within about 10 % (script benchmarks/simulation_images.py).

    `Survey.write` writes each field with its meaning; tuples of one kind are linear in between.
    """

    fibre_radius: float = setting(1.5, "arcsec", min=0.1, max=10)
    wavelength_range: tuple[float, ...] = setting(
        (3800.0, 9200.0), "first and last detector pixel, vacuum Angstrom", min=2950, max=11150
    )
    lsf_wavelength: tuple[float, ...] = setting(
        (3800.0, 4200.0, 5000.0, 5900.0, 6500.0, 8000.0, 9200.0), "Angstrom of lsf_sigma", min=2000
    )
    lsf_sigma: tuple[float, ...] = setting(
        (83.0, 72.0, 63.0, 63.0, 63.0, 58.0, 57.0),
        "standard deviation of the line-spread function, km/s",
        min=10,
        max=1000,
    )
    noise_wavelength: tuple[float, ...] = setting(
        (
            *(3800.0, 3850.0, 4000.0, 4200.0, 4500.0, 5000.0, 5500.0, 5700.0, 6000.0, 6300.0),
            *(7000.0, 7700.0, 8200.0, 8600.0, 9000.0, 9200.0),
        ),
        "Angstrom of noise_sigma",
        min=2000,
    )
    noise_sigma: tuple[float, ...] = setting(
        (
            *(2.5, 2.1, 1.38, 1.0, 0.76, 0.62, 0.58, 0.62, 0.52, 0.45),
            *(0.42, 0.45, 0.5, 0.56, 0.8, 1.0),
        ),
        "standard deviation of a detector pixel (69 km/s) of a faint object away from sky lines, "
        "1e-17 erg/s/cm2/A",
        min=0,
        max=1000,
    )
    noise_scatter: float = setting(
        0.12, "scatter of its logarithm from plate to plate", min=0, max=2
    )
    source_noise: float = setting(
        0.016, "variance per unit flux at least sky noise; grows as sky noise^1.5", min=0, max=100
    )
    flat_error: float = setting(
        0.013, "noise over flux, from flat fields and resampling", min=0, max=1
    )
    sky_residual: float = setting(
        0.7, "residuals of subtracted sky lines over their extra noise", min=0, max=10
    )
    gray_error: float = setting(
        0.04,
        "scatter of the flux calibration in ln(flux) (Adelman-McCarthy 2008: 4 %)",
        min=0,
        max=1,
    )
    tilt_error: float = setting(0.03, "the same from 4000 to 9000 A (ibid.)", min=0, max=1)

    def __post_init__(self):
        validate(self)
        low, high = WAVELENGTH[0] - 15, WAVELENGTH[-1] + 15
        span = self.wavelength_range
        if len(span) != 2 or not (span[0] <= low and span[1] >= high):
            raise InputError(
                f"wavelength_range: expected two numbers around {low:.0f} to "
                f"{high:.0f} Angstrom, the grid of the spectra, got {span!r}"
            )
        for kind in ("lsf", "noise"):
            wave, value = getattr(self, f"{kind}_wavelength"), getattr(self, f"{kind}_sigma")
            if len(wave) != len(value) or not np.all(np.diff(wave) > 0):
                raise InputError(
                    f"{kind}_wavelength: expected increasing numbers, one per "
                    f"{kind}_sigma ({len(value)}), got {wave!r}"
                )


@dataclass(frozen=True)
class _Operators:
    """What `observe` needs; see `_operators`."""

    pixel: np.ndarray  # (n_pix,) Angstrom
    to_pixels: scipy.sparse.csr_array  # (n_pix, n_w)
    to_grid: scipy.sparse.csr_array  # (n_wave, n_pix)
    variance: scipy.sparse.csr_array  # squared elements of to_grid
    sky_sigma: np.ndarray  # (n_pix,) without lines
    line_sigma: np.ndarray  # (n_pix,) extra at sky lines


def _line_spread(wavelength, pixel, sigma):
    """Return sparse matrix (n_pix, n_w): mean over each detector pixel after Gaussian blurring."""
    log_wave, log_pixel = np.log(wavelength), np.log(pixel)
    half = 0.5 * _LOG_STEP * np.log(10)
    width = sigma / SPEED_OF_LIGHT
    edges = np.concatenate([log_wave[:1], 0.5 * (log_wave[1:] + log_wave[:-1]), log_wave[-1:]])
    reach = 5 * width + half
    first = np.searchsorted(edges, log_pixel - reach) - 1
    last = np.searchsorted(edges, log_pixel + reach)
    n_tap = (last - first).max()
    column = np.clip(first[:, None] + np.arange(n_tap), 0, len(wavelength) - 1)
    # Mean over the pixel of the Gaussian's integral over each sample's own interval.
    nodes, weights = np.polynomial.legendre.leggauss(3)
    value = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        target = (log_pixel + half * node)[:, None]
        upper = erf((edges[column + 1] - target) / (np.sqrt(2) * width[:, None]))
        lower = erf((edges[column] - target) / (np.sqrt(2) * width[:, None]))
        value = value + 0.5 * weight * 0.5 * (upper - lower)
    value[first[:, None] + np.arange(n_tap) != column] = 0.0
    value /= value.sum(axis=1, keepdims=True)
    row = np.broadcast_to(np.arange(len(pixel))[:, None], column.shape)
    shape = (len(pixel), len(wavelength))
    return scipy.sparse.coo_array((value.ravel(), (row.ravel(), column.ravel())), shape).tocsr()


def _grid_matrix(pixel):
    """Return the linear map of `to_training_grid`, column by column."""
    blocks = []
    for start in range(0, len(pixel), 256):
        unit = np.zeros((min(256, len(pixel) - start), len(pixel)))
        unit[np.arange(len(unit)), start + np.arange(len(unit))] = 1.0
        block = np.asarray(to_training_grid(pixel, unit))
        block[np.abs(block) < 1e-7] = 0.0
        blocks.append(scipy.sparse.csr_array(block))
    return scipy.sparse.vstack(blocks).T.tocsr()


@lru_cache(maxsize=4)
def _operators(config, wavelength):
    wavelength = np.frombuffer(wavelength)
    low, high = np.log10(config.wavelength_range)
    pixel = 10 ** np.arange(low, high, _LOG_STEP)
    sigma = np.interp(pixel, config.lsf_wavelength, config.lsf_sigma)
    to_grid = _grid_matrix(pixel)
    lines = np.exp(-0.5 * ((pixel[:, None] - _OTHER_LINES) / 2.2) ** 2) @ _OTHER_STRENGTH
    bands = np.exp(-0.5 * ((pixel[:, None] - _OH_LINES) / 2.5) ** 2).sum(axis=1)
    return _Operators(
        pixel=pixel,
        to_pixels=_line_spread(wavelength, pixel, sigma).astype(np.float32),
        to_grid=to_grid.astype(np.float32),
        variance=to_grid.power(2).astype(np.float32),
        sky_sigma=np.interp(pixel, config.noise_wavelength, config.noise_sigma),
        line_sigma=lines + 0.5 * bands * pixel / 8000,
    )


@lru_cache(maxsize=8)
def band_basis(wavelength, responses):
    """Smooth curves (n_bands, n_w), each 1 at its own band's wavelength and 0 at the others'."""
    wavelength = np.frombuffer(wavelength)
    nodes = np.log([effective_wavelength(name) for name in responses])
    if len(nodes) == 1:
        return np.ones((1, len(wavelength)))
    order = np.argsort(nodes)
    nodes = nodes[order]
    spline = CubicSpline(nodes, np.eye(len(nodes))[order], bc_type="clamped")
    return spline(np.clip(np.log(wavelength), nodes[0], nodes[-1])).T


def fibre_spectra(spectra, totals, apertures, other, responses):
    """Return the light that enters the fibre, consistent with the images' aperture fluxes.

    Each component's spectrum is scaled, smoothly in wavelength, by the part of its light inside
    the aperture; unrelated light comes as a smooth spectrum through its band fluxes. What is
    left of the difference to the aperture fluxes is divided out, again smoothly.

    Parameters
    ----------
    spectra : ComponentSpectra
        Spectra (n, n_w) of bulge and disk, 1e-17 erg/s/cm2/A.
    totals, apertures : ndarray
        Shape (2, n, n_bands): flux of bulge and disk in total and inside the fibre, nanomaggies.
    other : ndarray
        Shape (n, n_bands): neighbours' flux inside the fibre, nanomaggies.
    responses : tuple of str
        Names of the bands' response curves for `photospec.photometry.filters`.

    Returns
    -------
    ndarray
        Shape (n, n_w), 1e-17 erg/s/cm2/A, before the spectrograph. Its synthetic photometry
        equals the sum of the aperture fluxes within 0.1 %.
    """
    wavelength = np.ascontiguousarray(spectra.wavelength, float)
    basis = band_basis(wavelength.tobytes(), tuple(responses))
    weights, _ = band_weights(wavelength, tuple(responses))
    basis32, weights = basis.astype(np.float32), weights.astype(np.float32)
    share = (apertures / np.maximum(totals, 1e-12)).astype(np.float32)
    total = (share[0] @ basis32) * spectra.bulge
    total += (share[1] @ basis32) * spectra.disk
    smooth = basis * (AB_FACTOR / wavelength**2)
    total += np.maximum(other @ smooth, 0).astype(np.float32)
    wanted = (apertures.sum(axis=0) + other).astype(np.float32)
    for _ in range(3):
        ratio = wanted / np.maximum(total @ weights, 1e-12)
        total *= np.clip(ratio, 0.1, 10.0) @ basis32
    return total


def _variance(ops, native, config, factor):
    """Return variance of the detector's pixels, and the standard deviation that sky lines add."""
    line = ops.line_sigma * factor
    sky = np.hypot(ops.sky_sigma * factor, line)
    throughput = (ops.sky_sigma / ops.sky_sigma.min()) ** 1.5
    source = config.source_noise * np.maximum(native, 0) * throughput
    return (sky**2 + source + (config.flat_error * native) ** 2).astype(np.float32), line


def pixel_noise(wavelength, flux, config):
    """Return noise that the spectrograph would add to a spectrum, for comparison with real ones.

    Parameters
    ----------
    wavelength, flux : ndarray
        Shape (n_w,), Angstrom and 1e-17 erg/s/cm2/A.
    config : InstrumentConfig

    Returns
    -------
    pixel, sigma : ndarray
        Shape (n_pix,): the detector's pixels, Angstrom, and their standard deviations.
    """
    ops = _operators(config, OBSERVED_WAVELENGTH.tobytes())
    native = np.interp(ops.pixel, wavelength, flux)
    return ops.pixel, np.sqrt(_variance(ops, native, config, 1.0)[0])


def observe(wavelength, flux, config, rng):
    """Take fibre spectra through the spectrograph.

    Parameters
    ----------
    wavelength : ndarray
        Shape (n_w,), vacuum Angstrom.
    flux : ndarray
        Shape (n, n_w), 1e-17 erg/s/cm2/A, light in the fibre.
    config : InstrumentConfig
    rng : numpy.random.Generator

    Returns
    -------
    truth_flux, observed_flux, ivar : ndarray of float32
        Shape (n, n_wave) on `photospec.spectrum.WAVELENGTH`: noiseless, with noise, and the
        inverse variance that a pipeline would give (photon noise only).
    truth : dict of ndarray
        Columns noise_factor, gray_error, tilt_error, median_sn (per Angstrom).
    """
    ops = _operators(config, np.ascontiguousarray(wavelength, float).tobytes())
    n = len(flux)
    native = (ops.to_pixels @ flux.T.astype(np.float32)).T
    factor = np.exp(config.noise_scatter * rng.standard_normal(n))
    gray = config.gray_error * rng.standard_normal(n)
    tilt = config.tilt_error * rng.standard_normal(n)
    variance, line = _variance(ops, native, config, factor[:, None])
    noise = np.sqrt(variance) * rng.standard_normal(native.shape, np.float32)
    # Sky lines leave residuals beyond the noise, alike over whole groups of lines.
    group = rng.standard_normal((n, 5))[:, np.digitize(ops.pixel, (6000, 7500, 8200, 8700))]
    noise += config.sky_residual * line * group * rng.standard_normal(native.shape, np.float32)
    slope = (np.log(ops.pixel) - np.log(6000.0)) / np.log(9000 / 4000)
    error = np.exp(gray[:, None] + tilt[:, None] * slope).astype(np.float32)
    truth_flux = (ops.to_grid @ native.T).T
    observed = (ops.to_grid @ (native * error + noise).T).T
    ivar = 1 / (ops.variance @ variance.T).T
    per_angstrom = np.sqrt(np.diff(ops.pixel, append=2 * ops.pixel[-1] - ops.pixel[-2]))
    inside = (ops.pixel > WAVELENGTH[0]) & (ops.pixel < WAVELENGTH[-1])
    ratio = native / np.sqrt(variance) / per_angstrom
    truth = {
        "noise_factor": factor,
        "gray_error": gray,
        "tilt_error": tilt,
        "median_sn": np.median(ratio[:, inside], axis=1),
    }
    return (
        np.ascontiguousarray(truth_flux, np.float32),
        np.ascontiguousarray(observed, np.float32),
        np.ascontiguousarray(ivar, np.float32),
        truth,
    )
