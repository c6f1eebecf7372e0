"""Photometry of images that were made to have it."""

import numpy as np
import pytest

from photospec.errors import InputError
from photospec.evaluation.features import measure_photometry

SCALE = 0.396


def gaussian(sigma, axis_ratio=1.0, flux=(100.0, 200.0, 400.0, 500.0, 600.0)):
    """Images (1, 5, 64, 64) of an elliptical Gaussian; sigma in arcsec."""
    y, x = (np.indices((64, 64)) - 32) * SCALE
    profile = np.exp(-0.5 * ((x / sigma) ** 2 + (y / (sigma * axis_ratio)) ** 2))
    profile /= profile.sum()
    return (np.array(flux)[:, None, None] * profile)[None]


def measure(image):
    return measure_photometry(image.__getitem__, len(image))


def test_colours_magnitude_and_size_of_a_gaussian():
    compact = measure(gaussian(2.0)).compact[0]
    np.testing.assert_allclose(
        compact[:4], 2.5 * np.log10([2, 2, 1.25, 1.2]), atol=0.01
    )  # flux of the redder band over the bluer
    # Within 6.5 arcsec lies all but exp(-r^2 / 2 sigma^2).
    inside = 1 - np.exp(-0.5 * (6.5 / 2.0) ** 2)
    assert compact[4] == pytest.approx(22.5 - 2.5 * np.log10(400 * inside), abs=0.005)
    assert 10 ** compact[5] == pytest.approx(2.0 * np.sqrt(2 * np.log(2)), rel=0.02)


def test_axis_ratio_tells_round_from_flat():
    round_, flat = (measure(gaussian(1.5, q)).features[0, -1] for q in (1.0, 0.5))
    assert round_ == pytest.approx(1, abs=0.01)
    assert flat < 0.75


def test_features_are_finite_without_light():
    rng = np.random.default_rng(0)
    photometry = measure(0.01 * rng.standard_normal((3, 5, 64, 64)))
    assert np.isfinite(photometry.features).all()
    assert np.isfinite(photometry.compact).all()


def test_r_is_needed():
    with pytest.raises(InputError, match="bands: expected r among them"):
        measure_photometry(lambda rows: None, 1, bands=("g", "i"))


def test_apertures_shrink_where_the_largest_would_not_fit():
    """Cutouts of finer pixels, as those of the Legacy Surveys: as if the pixels were larger."""
    image = np.random.default_rng(0).normal(1, 0.1, (2, 4, 64, 64)).astype(np.float32)
    found = [
        measure_photometry(image.__getitem__, 2, bands=tuple("griz"), pixel_scale=scale).features
        for scale in (0.262, 11.5 / 31)
    ]
    np.testing.assert_array_equal(*found)
