"""Scores of densities against qp's own and closed forms, and whether they prefer the right one."""

import numpy as np
import pytest
from scipy.stats import norm

from photospec.errors import InputError
from photospec.evaluation.answers import BINS, Mixture, binned_errors
from photospec.evaluation.density_metrics import (
    cde_loss,
    crps,
    density_row,
    pit_values,
    redshift_grid,
    to_ensemble,
)

pytest.importorskip("qp")
N, WIDTH = 600, 0.03


@pytest.fixture(scope="module")
def made():
    """Centres, and truths that scatter around them as densities of the width say."""
    rng = np.random.default_rng(0)
    centre = rng.uniform(0.2, 0.4, N)
    return centre, centre + WIDTH * rng.standard_normal(N)


def gaussians(centre, width, **options):
    one = np.ones((len(centre), 1))
    return Mixture(one, centre[:, None], width * one, **options)


def test_crps_of_a_gaussian(made):
    centre, truth = made
    mixture = gaussians(centre, WIDTH)
    pull = (truth - centre) / WIDTH
    # Gneiting & Raftery 2007, eq. 21.
    wanted = WIDTH * (pull * (2 * norm.cdf(pull) - 1) + 2 * norm.pdf(pull) - 1 / np.sqrt(np.pi))
    grid = redshift_grid(truth, [mixture])
    np.testing.assert_allclose(crps(mixture, truth, grid), wanted, atol=3e-5)


def test_scores_are_those_of_qp(made):
    from qp.metrics.concrete_metric_classes import CDELossMetric
    from qp.metrics.pit import PIT

    centre, truth = made
    mixture = gaussians(centre, WIDTH)
    grid = redshift_grid(truth, [mixture])
    ensemble = to_ensemble(mixture, grid)
    loss = cde_loss(mixture, truth, grid)
    assert loss.value == pytest.approx(CDELossMetric(grid).evaluate(ensemble, truth))
    np.testing.assert_allclose(pit_values(mixture, truth, grid), PIT(ensemble, truth).pit_samps)
    np.testing.assert_allclose(pit_values(mixture, truth, grid), norm.cdf((truth - centre) / WIDTH),
                               atol=2e-3)  # fmt: skip


def test_error_of_the_loss(made):
    """The jackknife's error is about the spread over sets of galaxies."""
    rng = np.random.default_rng(1)
    values, errors = [], []
    grid = np.arange(0, 0.6, 0.002)
    for _ in range(24):
        centre = rng.uniform(0.2, 0.4, 60)
        found = cde_loss(gaussians(centre, WIDTH), centre + WIDTH * rng.standard_normal(60), grid)
        values.append(found.value)
        errors.append(found.error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.4)


def test_the_right_density_wins(made):
    centre, truth = made
    rows = {}
    for name, width in (("narrow", 0.3), ("right", 1.0), ("wide", 3.0)):
        mixture = gaussians(centre, width * WIDTH)
        rows[name], pit = density_row(name, mixture, truth, redshift_grid(truth, [mixture]))
        assert pit.shape == (N,)
    for measure in ("CDE loss", "CRPS", "PIT: KS distance"):
        assert rows["right"][measure].value < rows["narrow"][measure].value
        assert rows["right"][measure].value < rows["wide"][measure].value
    assert rows["right"]["PIT: KS distance"].value < 0.05


def test_logarithmic_mixtures_integrate_to_one():
    weight = np.array([[0.3, 0.7]])
    mixture = Mixture(weight, np.log1p([[0.1, 0.3]]), np.array([[0.01, 0.05]]), logarithmic=True)
    grid = np.linspace(0, 1, 5001)
    assert np.trapezoid(mixture.pdf(grid)[0], grid) == pytest.approx(1, abs=1e-4)
    assert len(mixture.take(np.array([0, 0, 0]))) == 3


def test_densities_of_draws_leave_out_what_is_missing():
    draws = np.array([[0.1, 0.12, 0.14, np.nan], [0.2, 0.2, 0.2, 0.2]])
    mixture = Mixture.of_draws(draws)
    np.testing.assert_allclose(mixture.weight.sum(axis=1), 1)
    assert mixture.width[1].tolist() == [0.002] * 4
    with pytest.raises(InputError, match="expected draws of every galaxy"):
        Mixture.of_draws(np.full((1, 3), np.nan))


def test_one_galaxy_has_a_loss(made):
    centre, truth = made
    found = cde_loss(gaussians(centre[:1], WIDTH), truth[:1], np.arange(0, 0.6, 0.002))
    assert np.isfinite(found.value)
    assert np.isnan(found.error)
    assert pit_values(gaussians(centre[:1], WIDTH), truth[:1], np.arange(0, 0.6, 0.002)).shape == (
        1,
    )


def test_errors_by_wavelength():
    truth = np.ones((2, 4500))
    flux = truth.copy()
    flux[0, 2000:2125] = 1.2
    flux[1] *= 5  # level is not compared
    truth[1, :125] = np.nan
    found = binned_errors(flux, truth)
    assert found.shape == (2, len(BINS))
    assert found[0, 16] == pytest.approx(0.193, abs=0.01)
    assert np.nanmax(found[1]) < 1e-6
    assert np.isnan(found[1, 0])
