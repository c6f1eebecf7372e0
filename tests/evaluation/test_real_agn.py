"""AGN of real galaxies told by an oracle, by chance, and by trees."""

from types import SimpleNamespace

import numpy as np
import pytest

from photospec.errors import InputError
from photospec.evaluation import real_agn as module
from photospec.evaluation.real_agn import area, real_agn
from photospec.simulation import RealGalaxies

pytest.importorskip("sklearn")

THRESHOLD = -1.0
WHO = SimpleNamespace(
    config=SimpleNamespace(agn_threshold=THRESHOLD, provenance={}, image_size=64), tells_agn=False
)


def made(n, seed):
    """Galaxies whose AGN are redder by more than the scatter."""
    rng = np.random.default_rng(seed)
    kind = np.array(["agn", "starforming", "starburst", "unclassified"])[rng.integers(4, size=n)]
    r = rng.uniform(16, 17.5, n)
    colours = np.array([1.3, 0.6, 0.3, 0.2]) + 0.3 * (kind == "agn")[:, None]
    colours = colours + 0.05 * rng.standard_normal((n, 4))
    steps = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, -1, 0], [0, 0, -1, -1]])
    magnitude = r[:, None] + colours @ steps.T
    return RealGalaxies(10 ** (0.4 * (22.5 - magnitude)), rng.uniform(0.05, 0.12, n), kind)


def test_area():
    truth = np.array([False, False, True, True])
    assert area([0, 1, 2, 3], truth).value == 1
    assert area([3, 2, 1, 0], truth).value == 0
    assert area([0, 2, 1, 3], truth).value == 0.75
    assert np.isnan(area([0, 1], np.array([True, True])).value)


def test_threshold_of_the_weights_decides(monkeypatch):
    galaxies, others = made(60, 0), made(400, 1)
    known = galaxies[galaxies.kind != "unclassified"]
    truth = known.kind == "agn"
    # Right in order, off by a dex: what thresholds are for. One galaxy has no lines.
    score = np.where(truth, -0.7, -1.3)
    score[np.flatnonzero(truth)[0]] = np.nan

    def scores(spectrograph, some, n_candidates, seed, threshold, store):
        np.testing.assert_array_equal(some.flux, known.flux)
        return score

    monkeypatch.setattr(module, "_scores", scores)
    section = real_agn(WHO, galaxies, others)
    rows = {row["decided by"]: row for row in section.rows}
    n_agn = truth.sum()
    own = rows[f"agn, agn_score above {THRESHOLD:g}"]
    found = np.mean(np.nan_to_num(score, nan=-2.0)[truth] > THRESHOLD)
    assert own["of AGN found"].value == pytest.approx(found)
    assert own["area"].value == pytest.approx(1 - 1 / n_agn)
    assert rows["agn_score, threshold from other galaxies"]["balanced accuracy"].value > 0.9
    assert rows["trees, catalogue photometry"]["area"].value > 0.9
    assert "1 have no score" in section.note


def test_weights_that_tell_by_the_image(monkeypatch):
    galaxies, others = made(60, 0), made(400, 1)
    truth = galaxies.kind[galaxies.kind != "unclassified"] == "agn"

    def tell(images):
        assert len(images) == len(truth)
        return np.where(truth, THRESHOLD + 0.1, THRESHOLD - 0.1)

    who = SimpleNamespace(config=WHO.config, tells_agn=True, agn_score=tell)
    section = real_agn(who, galaxies, others)
    assert section.rows[0]["balanced accuracy"].value == 1
    assert "Told from the image" in section.note


def test_one_class_is_refused():
    galaxies = made(40, 2)
    with pytest.raises(InputError, match="expected some of the kind agn and some starforming"):
        real_agn(WHO, galaxies[galaxies.kind == "agn"], galaxies)
