"""Line spread, noise and the flux calibration that image and spectrum share."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from photospec.photometry.apertures import aperture_flux
from photospec.photometry.filters import band_flux
from photospec.simulation import Survey
from photospec.simulation.instrument.fibre import InstrumentConfig, fibre_spectra, observe
from photospec.spectrum.wavelengths import SMOOTHING, WAVELENGTH, to_training_grid

GRID = 10 ** (np.log10(2900.0) + 1e-4 * np.arange(5869))
PERFECT = replace(InstrumentConfig(), gray_error=0.0, tilt_error=0.0, sky_residual=0.0)


def test_spectrum_and_image_agree_through_the_fibre(batch):
    """Both sides of a pair are on one flux scale."""
    synthetic = band_flux(batch.fibre_wavelength, batch.fibre_flux, "ugriz")
    aperture = aperture_flux(batch.truth_image, 1.5)
    # Spectra are AB, images have the zero points of frames.
    ratio = synthetic * Survey.sdss_main().band_factor / aperture
    assert np.abs(ratio - 1).max() < 1e-3
    for b, band in enumerate("ugriz"):
        np.testing.assert_allclose(batch.truth[f"fibre_flux_{band}"], aperture[:, b], rtol=1e-4)


def test_fibre_light_of_a_known_mixture():
    bulge = np.full((1, GRID.size), 3.0, np.float32)
    disk = np.linspace(1, 2, GRID.size, dtype=np.float32)[None]
    spectra = SimpleNamespace(wavelength=GRID, bulge=bulge, disk=disk)
    totals = np.stack([band_flux(GRID, s, "ugriz") for s in (bulge, disk)])
    inside = totals * np.array([0.5, 0.2])[:, None, None]
    flux = fibre_spectra(spectra, totals, inside, np.zeros((1, 5)), tuple("ugriz"))
    np.testing.assert_allclose(flux, 0.5 * bulge + 0.2 * disk, rtol=1e-3)


def test_neighbours_light_enters_as_a_smooth_spectrum():
    zero = np.zeros((1, GRID.size), np.float32)
    spectra = SimpleNamespace(wavelength=GRID, bulge=zero, disk=zero)
    other = np.array([[1.0, 2.0, 4.0, 5.0, 6.0]])
    totals = np.zeros((2, 1, 5))
    flux = fibre_spectra(spectra, totals, totals, other, tuple("ugriz"))
    np.testing.assert_allclose(band_flux(GRID, flux, "ugriz"), other, rtol=1e-3)
    assert np.abs(np.diff(np.log(flux[0]), 2)).max() < 1e-4


@pytest.mark.parametrize("centre", [4500.0, 6500.0, 8000.0])
def test_line_spread_and_smoothing_add_in_quadrature(centre):
    pixel = np.abs(GRID - centre).argmin()
    flux = np.zeros((1, GRID.size))
    flux[0, pixel] = 1.0
    line_flux = GRID[pixel] * np.log(10) * 1e-4
    truth = observe(GRID, flux, PERFECT, np.random.default_rng(0))[0][0].astype(float)
    assert truth.sum() == pytest.approx(line_flux, rel=2e-3)
    mean = (truth * WAVELENGTH).sum() / truth.sum()
    assert mean == pytest.approx(GRID[pixel], abs=0.1)
    width = np.sqrt((truth * (WAVELENGTH - mean) ** 2).sum() / truth.sum())
    kms = np.interp(centre, PERFECT.lsf_wavelength, PERFECT.lsf_sigma)
    instrument = kms / 299792.458 * centre
    pixels = line_flux**2 / 12 * 2  # the source's and the detector's pixel, both boxes
    assert width == pytest.approx(np.sqrt(instrument**2 + SMOOTHING**2 + pixels), rel=0.03)


def test_continuum_level_survives():
    truth = observe(GRID, np.full((2, GRID.size), 7.0), PERFECT, np.random.default_rng(0))[0]
    np.testing.assert_allclose(truth, 7.0, rtol=1e-5)


def test_noise_is_what_the_inverse_variance_says():
    flux = np.full((400, GRID.size), 8.0)
    truth, observed, ivar, columns = observe(GRID, flux, PERFECT, np.random.default_rng(1))
    pull = (observed - truth) * np.sqrt(ivar)
    assert pull.std(axis=0) == pytest.approx(1.0, abs=0.17)
    assert pull.std() == pytest.approx(1.0, abs=0.01)
    assert pull.mean() == pytest.approx(0.0, abs=0.01)
    # The smoothing of the grid correlates neighbours.
    assert (pull[:, 1:] * pull[:, :-1]).mean() > 0.8
    assert 4 < np.median(columns["median_sn"]) < 16


def test_noise_grows_in_the_blue_and_at_sky_lines():
    flux = np.full((1, GRID.size), 8.0)
    sigma = observe(GRID, flux, PERFECT, np.random.default_rng(1))[2][0] ** -0.5
    at = dict(zip(WAVELENGTH, sigma, strict=True))
    assert at[4050.0] > 1.7 * at[6800.0]
    assert at[5579.0] > 2.5 * at[5620.0]
    assert at[8346.0] > 1.05 * at[8230.0]


def test_calibration_errors_move_the_observed_flux_alone():
    config = replace(
        PERFECT, gray_error=0.2, noise_sigma=(1e-3,) * 16, source_noise=0.0, flat_error=0.0
    )
    flux = np.full((200, GRID.size), 8.0)
    truth, observed, _, columns = observe(GRID, flux, config, np.random.default_rng(1))
    np.testing.assert_allclose(truth, 8.0, rtol=1e-5)
    level = np.log(np.median(observed, axis=1) / 8)
    np.testing.assert_allclose(level, columns["gray_error"], atol=2e-3)
    assert level.std() == pytest.approx(0.2, rel=0.15)


def test_grid_is_that_of_real_spectra():
    """The operator is `to_training_grid` itself."""
    from photospec.simulation.instrument.fibre import _operators

    ops = _operators(PERFECT, GRID.tobytes())
    values = np.random.default_rng(0).standard_normal(ops.pixel.size) + 5
    np.testing.assert_allclose(ops.to_grid @ values, to_training_grid(ops.pixel, values), rtol=1e-4)
