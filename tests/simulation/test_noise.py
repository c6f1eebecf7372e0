"""Noise has the variance it says, before and after interpolation."""

import numpy as np
import pytest

from photospec.simulation.instrument.images import spline_kernel
from photospec.simulation.instrument.noise import NoiseConfig, add_noise, draw_shifts, draw_sky

CONFIG = NoiseConfig(
    sky_rms=(0.02, 0.1),
    sky_rms_scatter=(0.1, 0.2),
    electron=(0.001, 0.01),
    sky_offset=0.0,
    resample=False,
)


def test_sky_and_source_variance():
    rng = np.random.default_rng(0)
    images = np.zeros((40, 2, 64, 64), np.float32)
    images[..., 32:, :] = 0.5
    sky = np.broadcast_to(CONFIG.sky_rms, (40, 2))
    noise = add_noise(images, sky, None, CONFIG, rng) - images
    variance = noise.var(axis=(0, 3)).reshape(2, 2, 32).mean(axis=2)
    expected = np.array([[4e-4, 4e-4 + 5e-4], [1e-2, 1e-2 + 5e-3]])
    np.testing.assert_allclose(variance, expected, rtol=0.02)
    assert np.abs(noise.mean(axis=(0, 2, 3))).max() < 0.1 * 0.02


def test_interpolated_noise_is_that_of_the_spline():
    rng = np.random.default_rng(1)
    shifts = np.broadcast_to([[0.0, 0.0], [0.5, -0.25]], (60, 2, 2))
    sky = np.broadcast_to(CONFIG.sky_rms, (60, 2))
    noise = add_noise(np.zeros((60, 2, 48, 48), np.float32), sky, shifts, CONFIG, rng)
    taps = spline_kernel([0.5, -0.25])[1]
    expected = 0.1**2 * (taps**2).sum(axis=1).prod()
    variance = noise.var(axis=(0, 2, 3))
    assert variance[0] == pytest.approx(4e-4, rel=0.02)
    assert variance[1] == pytest.approx(expected, rel=0.02)
    neighbour = (noise[:, 1, :, 1:] * noise[:, 1, :, :-1]).mean() / variance[1]
    lag_one = (taps[0, 1:] * taps[0, :-1]).sum() / (taps[0] ** 2).sum()
    assert neighbour == pytest.approx(lag_one, abs=0.02)


def test_drawn_sky_follows_the_configuration():
    sky = draw_sky(CONFIG, np.random.default_rng(2), 5000)
    assert np.median(sky, axis=0) == pytest.approx(CONFIG.sky_rms, rel=0.02)
    assert np.log(sky).std(axis=0) == pytest.approx(CONFIG.sky_rms_scatter, rel=0.05)


def test_the_reference_band_is_not_shifted():
    shifts = draw_shifts(NoiseConfig(), np.random.default_rng(0), 10, "ugriz")
    assert np.all(shifts[:, 2] == 0)
    assert np.abs(shifts).max() <= 0.5
    assert np.all(shifts[:, [0, 1, 3, 4]].std(axis=0) > 0)
    assert draw_shifts(CONFIG, np.random.default_rng(0), 10, "ug") is None
