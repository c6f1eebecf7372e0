"""PIT values and coverage of distributions that are right, too narrow, too wide, or off."""

import numpy as np
import pytest

from photospec.errors import InputError
from photospec.evaluation.calibration import coverage, coverage_distance
from photospec.utils.stats import ks_distance, pit


def sets(width, n=3000, n_draws=25, n_dim=None, offset=0.0):
    """Draws and truths that agree where the width is one and the offset nothing."""
    rng = np.random.default_rng(1)
    shape = (n,) if n_dim is None else (n, n_dim)
    centre = rng.standard_normal(shape)
    truth = centre + rng.standard_normal(shape)
    noise = rng.standard_normal((n, n_draws, *shape[1:]))
    return centre[:, None] + offset + width * noise, truth


def test_right_distributions_are_uniform():
    values = pit(*sets(1.0))
    assert ks_distance(values) < 0.03
    assert values.min() >= 0
    assert values.max() <= 1


def test_narrow_ones_pile_up_at_the_ends_and_wide_ones_in_the_middle():
    narrow, wide = pit(*sets(0.4)), pit(*sets(2.5))
    assert ks_distance(narrow) > 0.1
    assert ks_distance(wide) > 0.1
    assert np.mean((narrow < 0.1) | (narrow > 0.9)) > 0.3
    assert np.mean((wide < 0.1) | (wide > 0.9)) < 0.1


def test_draws_that_a_selection_of_the_truths_rules_out_do_not_count():
    draws, truth = sets(1.0, n=12000)
    chosen = np.abs(truth) < 1
    draws, truth = draws[chosen], truth[chosen]
    inside = np.abs(draws) < 1
    assert ks_distance(pit(draws, truth, counts=inside)) < 0.03
    assert ks_distance(coverage(draws[..., None], truth[:, None], counts=inside)) < 0.03
    # the same draws and truths look wrong where all of them count
    assert ks_distance(coverage(draws[..., None], truth[:, None])) > 0.1


def test_nothing_is_known_of_a_truth_without_draws():
    assert ks_distance(pit(*sets(0.1), counts=np.zeros((3000, 25)))) < 0.03


def test_ties_are_shared_out():
    assert ks_distance(pit(np.zeros((4000, 9)), np.zeros(4000))) < 0.03


def test_distance_of_a_point_mass():
    assert ks_distance(np.full(10, 0.5)) == pytest.approx(0.5)


@pytest.mark.parametrize("n_dim", [1, 12])
def test_coverage_of_right_draws_lies_on_the_diagonal(n_dim):
    assert coverage_distance(coverage(*sets(1.0, n_dim=n_dim))) < 0.03


@pytest.mark.parametrize("options", [{"width": 0.4}, {"width": 2.5}, {"width": 1, "offset": 1.0}])
def test_coverage_of_wrong_draws_does_not(options):
    assert coverage_distance(coverage(*sets(n_dim=12, **options))) > 0.08


def test_too_narrow_sets_cover_too_little():
    """Below credibility 0.9 lie fewer truths than that."""
    assert np.mean(coverage(*sets(0.4, n_dim=4)) < 0.9) < 0.8


def test_shapes():
    draws, truth = sets(1.0, n=10, n_dim=2)
    with pytest.raises(InputError, match=r"draws: expected \(n, n_draws, n_dim\)"):
        coverage(draws, truth[:5])
    with pytest.raises(InputError, match="at least two galaxies"):
        coverage(draws[:1], truth[:1])
