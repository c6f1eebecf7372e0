"""Baselines that find what can be found."""

import numpy as np
import pytest

from photospec.errors import InputError
from photospec.evaluation.baselines import TrainingPairs, boosted_trees, nearest
from photospec.evaluation.draws import ResultStore
from photospec.evaluation.features import Photometry

pytest.importorskip("sklearn")


def test_trees_learn_a_curve():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1500, 3))
    y = np.sin(3 * x[:, 0]) + x[:, 1] ** 2
    new = rng.uniform(-0.9, 0.9, (200, 3))
    wanted = np.sin(3 * new[:, 0]) + new[:, 1] ** 2
    found = boosted_trees(x, y, tune=False)(new)
    assert np.std(found - wanted) < 0.15 * np.std(wanted)


def test_trees_classify_and_leave_out_what_is_missing():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(800, 2))
    y = (x[:, 0] > 1).astype(float)
    y[:50] = np.nan
    p = boosted_trees(x, y, classify=True, tune=False)(np.array([[2.0, 0.0], [-1.0, 0.0]]))
    assert p[0] > 0.9
    assert p[1] < 0.1


def test_training_pairs_and_their_spectra(pairs_path, pairs, tmp_path):
    made = TrainingPairs.read(
        [pairs_path, pairs_path], bands=pairs.bands, skip_last=4, store=ResultStore(tmp_path)
    )
    assert len(made) == 20 + 24
    rows = np.array([43, 0, 19, 20])
    np.testing.assert_array_equal(made.flux(rows), pairs.truth_flux(np.array([23, 0, 19, 0])))
    np.testing.assert_allclose(made.redshift[rows[1:3]], pairs.object["redshift"][[0, 19]])
    assert made.truth["dn4000"].shape == (44,)
    assert len(list(tmp_path.iterdir())) == 2


def test_too_few_pairs(pairs_path, pairs):
    with pytest.raises(InputError, match="training: expected more than 512 pairs, got 24"):
        TrainingPairs.read([pairs_path], bands=pairs.bands)
    with pytest.raises(InputError, match="at least one pairs file"):
        TrainingPairs.read([], bands=pairs.bands)


def test_nearest_is_the_galaxy_itself(pairs_path, pairs):
    made = TrainingPairs.read([pairs_path], bands=pairs.bands, skip_last=0)
    rows = np.array([3, 17, 8])
    some = Photometry(made.photometry.features[rows], made.photometry.compact[rows] + 1e-4)
    assert nearest(made, some).tolist() == rows.tolist()
