"""Errors of spectra that were spoilt in known ways."""

import numpy as np
import pytest

from photospec.evaluation.spectra import line_errors, line_pixels, pixel_errors, spearman
from photospec.lines import LINES
from photospec.spectrum import WAVELENGTH


@pytest.fixture
def truth():
    return np.repeat((2 + np.sin(WAVELENGTH / 900))[None], 4, axis=0)


Z = np.array([0.06, 0.08, 0.1, 0.14])


def test_line_pixels_are_around_the_lines():
    near = line_pixels(Z)
    at = LINES["halpha"].wavelength * (1 + Z[2])
    assert near[2, np.abs(WAVELENGTH - at).argmin()]
    assert not near[2, np.abs(WAVELENGTH - at + 60).argmin()]
    assert 0.02 < near.mean() < 0.1


def test_level_does_not_count_and_a_tilt_does(truth):
    assert pixel_errors(7 * truth, truth, Z)["all"].max() < 1e-12
    tilted = truth * (1 + 0.1 * np.linspace(-1, 1, WAVELENGTH.size))
    assert pixel_errors(tilted, truth, Z)["continuum"] == pytest.approx(0.05, abs=0.01)


def test_lines_and_continuum_are_told_apart(truth):
    only_lines = np.where(line_pixels(Z), 1.3 * truth, truth)
    errors = pixel_errors(only_lines, truth, Z)
    assert errors["line"].min() > 0.25
    assert errors["continuum"].max() < 0.03


def test_lines_that_are_not_predicted_are_wholly_wrong():
    true = {
        "halpha_flux": np.array([10.0, 10.0, 10.0, 10.0]),
        "halpha_ew": np.array([5.0, 5.0, 0.5, 5.0]),
        "halpha_snr": np.array([9.0, 9.0, 9.0, 2.0]),
    }
    predicted = {"halpha_flux": np.array([12.0, np.nan, 10.0, 10.0])}
    # The third galaxy has too weak a line to count, the fourth one that is not sure.
    assert line_errors(predicted, true, "halpha", "flux").tolist() == pytest.approx([0.2, 1.0])


def test_spearman_leaves_out_what_is_missing():
    x = np.arange(50.0)
    y = x**3
    y[::10] = np.nan
    assert spearman(x, y).value == pytest.approx(1)
    assert np.isnan(spearman(x[:2], y[:2]).value)
