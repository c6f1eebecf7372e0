"""Diagnostic diagrams: curves against typed-in values, classes, probabilities."""

import numpy as np
import pytest

from photospec.analysis.bpt import (
    BPTClass,
    WHANClass,
    cidfernandes11,
    classify_bpt,
    classify_ratios,
    classify_whan,
    kauffmann03,
    kewley01,
    kewley06,
    schawinski07,
)
from photospec.errors import InputError

# Worked out by hand from the equations of the papers.
CURVES = [
    (kauffmann03, (-1.0,), 0.719048),
    (kauffmann03, (-0.5,), 0.190909),
    (kauffmann03, (0.0,), -10.9),
    (kewley01, (-1.0, "nii"), 0.775034),
    (kewley01, (0.0, "nii"), -0.107872),
    (kewley01, (-0.5, "sii"), 0.421951),
    (kewley01, (0.0, "sii"), -0.95),
    (kewley01, (-1.5, "oi"), 0.527802),
    (kewley01, (-0.8, "oi"), -2.14619),
    (kewley06, (-0.3, "sii"), 0.193),
    (kewley06, (-1.0, "oi"), 0.12),
    (schawinski07, (0.2,), 0.66),
    (schawinski07, (-0.3,), 0.135),
]


@pytest.mark.parametrize(("curve", "arguments", "value"), CURVES)
def test_curves(curve, arguments, value):
    assert curve(*arguments) == pytest.approx(value, abs=2e-5)


@pytest.mark.parametrize(
    ("curve", "beyond"),
    [
        (kauffmann03, 0.05),
        (kewley01, 0.47),
        (lambda x: kewley01(x, "sii"), 0.4),
        (lambda x: kewley01(x, "oi"), -0.5),
    ],
)
def test_curves_end_at_their_asymptote(curve, beyond):
    assert np.isnan(curve(beyond))


@pytest.mark.parametrize(
    ("x", "y", "diagram", "expected"),
    [
        (-0.6, -0.2, "nii", BPTClass.STAR_FORMING),
        (-0.2, -0.2, "nii", BPTClass.COMPOSITE),
        (0.0, 0.9, "nii", BPTClass.SEYFERT),
        (0.1, 0.2, "nii", BPTClass.LINER),
        (0.6, 0.3, "nii", BPTClass.LINER),
        (0.6, 1.3, "nii", BPTClass.SEYFERT),
        (-0.6, 0.0, "sii", BPTClass.STAR_FORMING),
        (-0.2, 0.8, "sii", BPTClass.SEYFERT),
        (0.0, 0.2, "sii", BPTClass.LINER),
        (-2.0, 0.2, "oi", BPTClass.STAR_FORMING),
        (-1.0, 0.8, "oi", BPTClass.SEYFERT),
        (-0.5, 0.2, "oi", BPTClass.LINER),
        (np.nan, 0.2, "nii", BPTClass.UNCLASSIFIED),
        (0.1, np.nan, "sii", BPTClass.UNCLASSIFIED),
    ],
)
def test_classes(x, y, diagram, expected):
    assert classify_ratios(x, y, diagram)[()] is expected


def test_classes_of_arrays():
    classes = classify_ratios([-0.6, 0.0], [-0.2, 0.9])
    assert list(classes) == [BPTClass.STAR_FORMING, BPTClass.SEYFERT]


@pytest.mark.parametrize(
    ("x", "w", "expected"),
    [
        (-0.6, 20.0, WHANClass.STAR_FORMING),
        (-0.2, 20.0, WHANClass.STRONG_AGN),
        (-0.2, 4.0, WHANClass.WEAK_AGN),
        (-0.2, 1.5, WHANClass.RETIRED),
        (np.nan, 0.2, WHANClass.PASSIVE),
        (np.nan, 9.0, WHANClass.UNCLASSIFIED),
        (-0.2, np.nan, WHANClass.UNCLASSIFIED),
    ],
)
def test_whan(x, w, expected):
    assert cidfernandes11(x, w)[()] is expected


def _lines(log_nii_ha, log_oiii_hb, snr):
    flux = {"halpha": 300.0, "hbeta": 100.0}
    flux["nii_6584"] = flux["halpha"] * 10**log_nii_ha
    flux["oiii_5007"] = flux["hbeta"] * 10**log_oiii_hb
    return {name: (value, value / snr) for name, value in flux.items()}


def test_probabilities_follow_the_errors():
    sure = classify_bpt(_lines(-0.6, -0.3, 100))
    assert sure.bpt_class is BPTClass.STAR_FORMING
    assert sure.probability[BPTClass.STAR_FORMING] == 1
    # On the curve itself half of the draws fall on either side.
    edge = classify_bpt(_lines(-0.5, float(kauffmann03(-0.5)), 50), n_draws=20000)
    assert edge.probability[BPTClass.STAR_FORMING] == pytest.approx(0.5, abs=0.02)
    assert edge.probability[BPTClass.COMPOSITE] == pytest.approx(0.5, abs=0.02)
    assert sum(edge.probability.values()) == pytest.approx(1)


def test_probability_is_that_of_a_gaussian():
    """Only the [O III] error counts: the share beyond a horizontal distance is analytic."""
    from scipy.stats import norm

    lines = _lines(-0.5, 0.1, 1e6)
    flux = lines["oiii_5007"][0]
    lines["oiii_5007"] = (flux, 0.2 * flux)
    limit = 10 ** (float(kauffmann03(-0.5)) - 0.1)
    result = classify_bpt(lines, n_draws=40000, seed=5)
    want = norm.cdf((limit - 1) / 0.2)
    assert result.probability[BPTClass.STAR_FORMING] == pytest.approx(want, abs=0.01)


def test_seeded():
    lines = _lines(-0.3, 0.0, 5)
    assert classify_bpt(lines, seed=1).probability == classify_bpt(lines, seed=1).probability
    assert classify_bpt(lines, seed=1).probability != classify_bpt(lines, seed=2).probability


@pytest.mark.parametrize("name", ["halpha", "hbeta", "nii_6584", "oiii_5007"])
@pytest.mark.parametrize("value", [(np.nan, np.nan), (2.0, 1.0), (-5.0, 1.0)])
def test_missing_and_faint_lines_are_unclassified(name, value):
    result = classify_bpt(_lines(-0.6, -0.3, 100) | {name: value})
    assert result.bpt_class is BPTClass.UNCLASSIFIED
    assert np.isnan(result.x)


def test_sulphur_lines_count_together():
    lines = _lines(-0.6, 0.9, 100) | {"sii_6716": (45.0, 1.0), "sii_6731": (45.0, 1.0)}
    result = classify_bpt(lines, "sii")
    assert result.x == pytest.approx(np.log10(90 / 300))
    assert result.bpt_class is BPTClass.SEYFERT


def test_whan_with_errors():
    lines = _lines(-0.2, 0.0, 20)
    result = classify_whan(lines, 6.0, 0.3)
    assert result.probability[WHANClass.STRONG_AGN] == pytest.approx(0.5, abs=0.06)
    assert classify_whan(lines | {"halpha": (1.0, 1.0)}, 0.2).bpt_class is WHANClass.PASSIVE


def test_unknown_diagram():
    for call in (
        lambda: classify_ratios(0, 0, "niii"),
        lambda: kewley06(0.0, "nii"),
        lambda: classify_bpt(_lines(0, 0, 9), "whan"),
    ):
        with pytest.raises(InputError, match="diagram: expected"):
            call()
