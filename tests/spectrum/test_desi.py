"""Joining the arms of DESI."""

import numpy as np

from photospec.spectrum.desi import join_arms


def joined(*arms):
    """Spectrum of arms: first sample, and one flux, inverse variance and resolution each."""
    rows = [
        (5000 + first, np.full(25, flux), np.full(25, ivar), np.full(25, sigma))
        for first, flux, ivar, sigma in arms
    ]
    spectrum = join_arms(rows, {"name": "x"})
    assert spectrum.meta["name"] == "x"
    np.testing.assert_allclose(np.diff(spectrum.spectral_axis.value), 0.8)
    return spectrum.flux.value, spectrum.uncertainty.array, spectrum.meta["lsf_sigma"]


def three(first, both, second):
    return np.r_[np.full(15, first), np.full(10, both), np.full(15, second)]


def test_overlaps_are_weighted_means():
    flux, sigma, lsf = joined((0, 2.0, 1.0, 0.8), (15, 5.0, 3.0, 1.0))
    np.testing.assert_allclose(flux, three(2.0, 17 / 4, 5.0))
    np.testing.assert_allclose(sigma, three(1.0, 0.5, 3**-0.5))
    np.testing.assert_allclose(lsf, three(0.8, 0.9, 1.0))


def test_samples_without_weight_keep_the_plain_mean_and_no_weight():
    """A filler that can be looked at: of one arm, or of both where both are dead."""
    flux, sigma, lsf = joined((0, 2.0, 0.0, 0.8), (15, 5.0, 0.0, 1.0))
    np.testing.assert_allclose(flux, three(2.0, 3.5, 5.0))
    assert np.isinf(sigma).all()
    np.testing.assert_allclose(lsf, three(0.8, 0.9, 1.0))
    flux, sigma, lsf = joined((0, 2.0, 0.0, 0.8), (15, 5.0, 4.0, 1.0))
    np.testing.assert_allclose(flux, three(2.0, 5.0, 5.0))
    np.testing.assert_allclose(lsf, three(0.8, 1.0, 1.0))
