"""Galaxies on either side of the Kauffmann curve."""

import numpy as np
import pytest

from photospec.evaluation import agn


def fluxes(nii, oiii):
    """Line fluxes of given log ratios."""
    one = np.ones(np.shape(nii))
    return {
        "halpha_flux": 3 * one,
        "nii_6584_flux": 3 * 10 ** np.asarray(nii, float),
        "hbeta_flux": one,
        "oiii_5007_flux": 10 ** np.asarray(oiii, float),
    }


def test_ratios_are_what_was_put_in():
    x = agn.ratios(fluxes([-0.5, 0.1], [0.2, -0.3]))
    np.testing.assert_allclose(x, [[-0.5, 0.2], [0.1, -0.3]])


def test_sides_of_the_curve():
    # The curve at log [N II]/Ha = -0.5 lies at 0.61 / (-0.55) + 1.3 = 0.191.
    found = agn.above_kauffmann(fluxes([-0.5, -0.5, 0.3, -1.5], [0.18, 0.20, -1.5, 0.0]))
    assert found.tolist() == [False, True, True, False]


def test_lines_that_are_not_there_have_no_height():
    lines = fluxes([-0.5, -0.5], [0.5, 0.5])
    lines["hbeta_flux"] = np.array([1.0, -0.1])
    assert np.isnan(agn.kauffmann_height(agn.ratios(lines))).tolist() == [False, True]


def test_balanced_accuracy_of_a_guess_and_of_knowledge():
    truth = np.arange(400) % 4 == 0
    assert agn.balanced_accuracy(truth, truth).value == 1
    assert agn.balanced_accuracy(np.zeros(400, bool), truth).value == 0.5
    half_right = truth & (np.arange(400) % 8 == 0)
    assert agn.balanced_accuracy(half_right, truth).value == pytest.approx(0.75)


def test_thresholds_come_from_other_galaxies():
    rng = np.random.default_rng(1)
    truth = rng.random(2000) < 0.3
    shifted = truth + 0.5 * rng.standard_normal(2000) + 7.0  # zero would be far off
    decision = agn.crossed_decision(shifted, truth)
    assert agn.balanced_accuracy(decision, truth).value > 0.8
    # Nothing is learned from noise, although a threshold chosen on the same galaxies would.
    noise = agn.crossed_decision(rng.standard_normal(2000), truth)
    assert agn.balanced_accuracy(noise, truth).value == pytest.approx(0.5, abs=0.04)


def test_missing_heights_count_as_none():
    truth = np.array([True, False] * 50)
    height = np.where(truth, 1.0, np.nan)
    assert agn.crossed_decision(height, truth)[1::2].sum() == 0


def test_bright_lines_are_measurable_and_faint_ones_not(pairs):
    index = np.arange(6)
    lines = {f"{name}_flux": np.full(6, 1e4) for name in agn.BPT_LINES}
    assert agn.measurable(lines, pairs, index).all()
    lines["hbeta_flux"] = np.array([1e4, 1e4, 1e-3, 1e4, 1e4, 1e-3])
    assert agn.measurable(lines, pairs, index).tolist() == [True, True, False] * 2


def test_height_above_the_pipelines_curve():
    from photospec.evaluation.agn import sdss_height

    # on the curve, a Seyfert, an HII region, no line
    x = np.array([[-0.4, 0.7], [0.0, 1.0], [-0.6, -0.2], [np.nan, 1.0], [3.0, 3.0]])
    found = sdss_height(x)
    np.testing.assert_allclose(found[[0, 1, 2, 4]], [0.0, 0.78, -1.14, 2.0], atol=1e-9)
    assert np.isnan(found[3])
