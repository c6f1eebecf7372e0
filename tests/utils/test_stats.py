import numpy as np
import pytest

from photospec.utils.stats import ks_distance, robust_std


def test_robust_std_is_that_of_a_gaussian():
    values = np.random.default_rng(1).normal(3, 2, 200_000)
    assert robust_std(values) == pytest.approx(2, rel=0.01)
    values[:1000] = 1e6
    assert robust_std(values) == pytest.approx(2, rel=0.02)


def test_robust_std_along_an_axis_ignores_nan():
    values = np.random.default_rng(1).normal(0, [[1], [5]], (2, 50_000))
    values[:, ::7] = np.nan
    assert robust_std(values, axis=1) == pytest.approx([1, 5], rel=0.03)


def test_ks_distance_of_uniform_and_of_one_value():
    assert ks_distance((np.arange(1000) + 0.5) / 1000) == pytest.approx(0.0005)
    assert ks_distance(np.full(100, 0.5)) == pytest.approx(0.5)


def test_robust_std_about_a_number_counts_an_offset():
    values = np.random.default_rng(0).normal(5.0, 0.1, (2, 5001))
    assert robust_std(values) < 0.12
    assert robust_std(values, about=0.0) == pytest.approx(5 * 1.4826, rel=0.01)
    mirrored = robust_std(np.append(values[0], -values[0]))
    assert robust_std(values, axis=1, about=0.0)[0] == pytest.approx(mirrored)
