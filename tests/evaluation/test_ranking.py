"""Rules of choosing, where one of them is right."""

import numpy as np
import pytest

from photospec.evaluation.draws import Draws
from photospec.evaluation.ranking import choice_names, choices, medoid, ranking_rows
from photospec.evaluation.redshift_table import density_mode, redshift_rows
from photospec.evaluation.spectra import pixel_errors
from photospec.spectrum import WAVELENGTH


@pytest.fixture(scope="module")
def made():
    """Candidates whose similarity tells exactly how good they are."""
    rng = np.random.default_rng(0)
    n, m = 60, 8
    z = rng.uniform(0.05, 0.15, n)
    truth = np.repeat(np.linspace(1, 2, WAVELENGTH.size)[None], n, axis=0)
    error = rng.standard_normal((n, m))
    redshift = z[:, None] + 0.02 * error
    flux = truth[:, None] * (1 + 0.1 * error[..., None] * np.linspace(-1, 1, WAVELENGTH.size))
    draws = Draws(flux, -np.abs(error), redshift, np.zeros((n, m), int))
    return draws, z, truth


def test_medoid_is_the_middle_one():
    tilt = np.array([[0.0, 0.1, 0.2, 0.21, 0.4]])
    flux = 1 + tilt[..., None] * np.linspace(-1, 1, WAVELENGTH.size)
    assert medoid(flux).tolist() == [2]


def test_more_candidates_help_a_ranking_that_knows(made):
    draws, z, truth = made
    answers = choices(draws)
    assert list(answers) == choice_names(8)
    values = [
        np.stack([redshift, *(pixel_errors(flux, truth, z)[m] for m in ("continuum", "line"))], 1)
        for redshift, flux in answers.values()
    ]
    rows = ranking_rows(np.stack(values, axis=1), 8, z)
    found = {(row["candidates"], row["rule"]): row for row in rows}
    assert {n for n, _ in found} == {1, 2, 4, 8}
    one = found[1, "the only one"]["sigma_mad"].value
    best = found[8, "most similar"]["sigma_mad"].value
    median = found[8, "median redshift, mean spectrum"]["sigma_mad"].value
    assert best < 0.3 * one
    assert best < median < one
    middle = found[8, "candidate of median redshift"]["continuum error (%)"].value
    assert middle < found[1, "the only one"]["continuum error (%)"].value


def test_peak_of_the_density():
    rng = np.random.default_rng(1)
    redshift = np.concatenate(
        [0.1 + 0.004 * rng.standard_normal((5, 40)), 0.25 + 0.004 * rng.standard_normal((5, 15))],
        axis=1,
    )
    np.testing.assert_allclose(density_mode(redshift), 0.1, atol=0.004)


def test_redshift_rows_name_every_estimate(made):
    draws, z, _ = made
    rows = redshift_rows(draws, z, {"a baseline": z + 0.01 * (1 + z)})
    by_name = {row["redshift from"]: row for row in rows}
    assert by_name["a baseline"]["bias"].value == pytest.approx(0.01)
    assert by_name["best candidate"]["sigma_mad"].value < 0.01
    assert by_name["one candidate, unranked"]["galaxies"] == 60
