"""PIT values of distributions that are right, too narrow, too wide."""

import numpy as np
import pytest

from photospec.evaluation.calibration import ks_distance, pit


def draw(width, n=3000, n_draws=25):
    rng = np.random.default_rng(1)
    centre = rng.standard_normal(n)
    truth = centre + rng.standard_normal(n)
    draws = centre[:, None] + width * rng.standard_normal((n, n_draws))
    return pit(draws, truth)


def test_right_distributions_are_uniform():
    values = draw(1.0)
    assert ks_distance(values) < 0.03
    assert values.min() >= 0
    assert values.max() <= 1


def test_narrow_ones_pile_up_at_the_ends_and_wide_ones_in_the_middle():
    narrow, wide = draw(0.4), draw(2.5)
    assert ks_distance(narrow) > 0.1
    assert ks_distance(wide) > 0.1
    assert np.mean((narrow < 0.1) | (narrow > 0.9)) > 0.3
    assert np.mean((wide < 0.1) | (wide > 0.9)) < 0.1


def test_ties_are_shared_out():
    assert ks_distance(pit(np.zeros((4000, 9)), np.zeros(4000))) < 0.03


def test_distance_of_a_point_mass():
    assert ks_distance(np.full(10, 0.5)) == pytest.approx(0.5)
