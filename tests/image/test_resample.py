"""Cutting, filling and the noise of the sky, each against the plain way to do it."""

import itertools

import numpy as np
import pytest

from photospec.image.resample import crop, fill_bad, sky_noise

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("size", [3, 6])
def test_crop_is_pixel_by_pixel(size):
    """At every place on, over and beyond each edge."""
    data = RNG.normal(size=(2, 5, 7))
    for x, y in itertools.product(range(-9, 10), range(-9, 9)):
        want = np.full((2, size, size), -7.0)
        for i, j in itertools.product(range(size), range(size)):
            if 0 <= y + i < 5 and 0 <= x + j < 7:
                want[:, i, j] = data[:, y + i, x + j]
        found = crop(data, (x, y), size, -7.0)
        np.testing.assert_array_equal(found, want)
        found[:] = 0
    assert data.all()  # what comes is a copy


def test_bad_pixels_are_filled_from_their_surroundings():
    ramp = np.tile(np.arange(40.0), (1, 40, 1))
    mask = np.zeros(ramp.shape, bool)
    mask[0, 18:21, 10:13] = True
    filled = fill_bad(np.where(mask, 1e6, ramp), mask)
    np.testing.assert_array_equal(filled[~mask], ramp[~mask])
    np.testing.assert_allclose(filled[mask], ramp[mask], atol=1.5)
    # From the nearest side, over any distance.
    mask[0, :, 5:] = True
    filled = fill_bad(np.where(mask, 1e6, ramp), mask)
    assert np.all(filled[0, 5:35, 5:30] > 1.0)
    assert np.all(filled[0, :, 5:] < 4.1)


def test_what_is_too_far_is_filled_with_the_median():
    data = np.full((2, 50, 50), 9.0)
    mask = np.ones(data.shape, bool)
    mask[0, 3, 4] = False
    filled = fill_bad(data, mask)
    np.testing.assert_allclose(filled[0], 9.0)
    np.testing.assert_array_equal(filled[1], 0.0)  # a band without a good pixel


def test_noise_of_the_sky():
    sigma = np.array([0.5, 2.0, 7.0])[:, None, None]
    noise = sigma * RNG.standard_normal((3, 90, 110))
    mask = np.zeros(noise.shape, bool)
    np.testing.assert_allclose(sky_noise(noise), sigma.ravel(), rtol=0.04)
    np.testing.assert_array_equal(sky_noise(noise, mask), sky_noise(noise))
    mask[0, :40] = True  # a third of a band is a star
    noise[0, :40] += 1000 * RNG.random((40, 110))
    mask[2] = True
    np.testing.assert_allclose(sky_noise(noise, mask), [0.5, 2.0, 0.0], rtol=0.06)
    # Galaxies are smooth.
    y, x = np.indices((90, 110))
    light = 30 * np.exp(-np.hypot(x - 50, y - 45) / 20)
    assert sky_noise(noise[1:2] + light)[0] == pytest.approx(2.0, rel=0.1)
