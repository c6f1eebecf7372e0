"""Closed forms of the densities of redshifts against sums over a fine grid."""

import numpy as np
import pytest

from photospec.errors import InputError
from photospec.redshift_density import ImageRedshiftDensity

GRID = np.linspace(0, 0.6, 60_001)


@pytest.fixture(scope="module")
def density():
    rng = np.random.default_rng(0)
    weight = rng.dirichlet(np.ones(6), 5)
    # Some of the probability lies below zero, as of nearby galaxies.
    centre = np.log1p(rng.uniform(-0.005, 0.3, (5, 6)))
    return ImageRedshiftDensity(weight, centre, rng.uniform(0.003, 0.03, (5, 6)))


def test_moments_are_those_of_the_density(density):
    pdf = density.pdf(GRID)
    np.testing.assert_allclose(np.trapezoid(pdf, GRID), 1, atol=1e-5)
    mean = np.trapezoid(pdf * GRID, GRID)
    np.testing.assert_allclose(density.mean, mean, atol=1e-6)
    variance = np.trapezoid(pdf * GRID**2, GRID) - mean**2
    np.testing.assert_allclose(density.std, np.sqrt(variance), atol=1e-6)
    np.testing.assert_allclose(density.mode, GRID[pdf.argmax(axis=1)], atol=2e-5)
    running = np.cumsum(0.5 * (pdf[:, 1:] + pdf[:, :-1]), axis=1) * 1e-5
    np.testing.assert_allclose(density.cdf(GRID)[:, 1:], running, atol=1e-5)


def test_quantiles_undo_the_cumulative_probability(density):
    probability = np.array([0.0, 0.025, 0.5, 0.975, 1.0])
    quantile = density.quantile(probability)
    assert quantile.shape == (5, 5)
    for one, q in enumerate(quantile):
        np.testing.assert_allclose(density[one].cdf(q)[0], probability, atol=1e-9)
        np.testing.assert_allclose(density.pit(np.full(5, q[2]))[one], 0.5, atol=1e-9)
    np.testing.assert_array_equal(density.quantile(0.5), quantile[:, 2])
    np.testing.assert_array_equal(density.median, quantile[:, 2])


def test_density_at_own_redshifts(density):
    own = np.array([0.05, 0.1, 0.2, 0.3, 0.7])
    np.testing.assert_allclose(density.pdf_at(own), np.diag(density.pdf(own)))
    with pytest.raises(InputError, match=r"expected shape \(5,\)"):
        density.pdf_at([0.1])


def test_nothing_lies_outside_of_the_range(density):
    assert (density.pdf([-0.1, -1e-9, 0.61, 3.0]) == 0).all()
    np.testing.assert_array_equal(density.cdf([-2.0, 0.0, 0.6, 4.0])[0], [0, 0, 1, 1])
    low, high = density.quantile([0, 1]).T
    np.testing.assert_allclose(low, 0, atol=1e-9)
    np.testing.assert_allclose(high, 0.6, atol=1e-9)


def test_qp_says_the_same(density):
    pytest.importorskip("qp")
    ensemble = density.to_qp()
    assert ensemble.npdf == 5
    np.testing.assert_allclose(np.ravel(ensemble.mean()), density.mean, atol=1e-4)
    np.testing.assert_allclose(np.ravel(ensemble.std()), density.std, atol=2e-4)
    at = np.array([0.05, 0.1, 0.21])
    np.testing.assert_allclose(ensemble.cdf(at), density.cdf(at), atol=2e-3)
    np.testing.assert_allclose(ensemble.ancil["zmode"], density.mode)
    with pytest.raises(InputError, match="rising"):
        density.to_qp([0.2, 0.1])


def test_rows(density):
    flagged = ImageRedshiftDensity(
        density.weight, density.centre, density.width, flags=list("abcde")
    )
    assert flagged[3].flags == ["d"]
    assert flagged[1:3].flags == ["b", "c"]
    np.testing.assert_allclose(flagged[[4, 0]].mean, density.mean[[4, 0]])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda d: d.pdf(0.1), "shape"),
        (lambda d: d.cdf([np.nan]), "expected numbers"),
        (lambda d: d.quantile(1.5), "from 0 to 1, got 1.5"),
        (lambda d: d.pit([0.1]), r"expected shape \(5,\)"),
        (lambda d: ImageRedshiftDensity(d.weight, d.centre[:2], d.width), "one shape"),
        (lambda d: ImageRedshiftDensity(d.weight, d.centre, -d.width), "positive"),
    ],
)
def test_refusals(density, make, match):
    with pytest.raises(InputError, match=match):
        make(density)
