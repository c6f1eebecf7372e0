"""Draws that are kept, and found again."""

import numpy as np
import pytest

from photospec.evaluation.draws import Draws, ResultStore, draw_images, image_of


def draw(oracle, pairs, store=None, n=6, **options):
    def read(row):
        return image_of(pairs.image(row), pairs.bands, pairs.pixel_scale)

    return draw_images(oracle, read, n, 3, store=store, **options)


def test_redshifts_are_those_of_the_spectra(oracle, pairs):
    draws = draw(oracle, pairs)
    assert draws.flux.shape == (6, 3, 4500)
    z = np.asarray(pairs.object["redshift"][:6], float)
    np.testing.assert_allclose(draws.redshift, np.repeat(z[:, None], 3, axis=1), atol=3e-4)


def test_a_second_run_reads_what_the_first_drew(oracle, pairs, tmp_path):
    store = ResultStore(tmp_path)
    first = draw(oracle, pairs, store)
    before = oracle.calls
    second = draw(oracle, pairs, store)
    assert oracle.calls == before + 1  # one look at what the weights are
    np.testing.assert_array_equal(first.flux, second.flux)
    np.testing.assert_array_equal(first.redshift, second.redshift)


def test_other_weights_are_drawn_anew(make_oracle, pairs, tmp_path):
    store = ResultStore(tmp_path)
    first = draw(make_oracle(), pairs, store)
    other = make_oracle(shift=5)
    second = draw(other, pairs, store)
    assert other.calls == 7
    assert not np.allclose(first.redshift, second.redshift, atol=1e-3)


def test_a_stopped_write_leaves_nothing_that_is_read(tmp_path):
    store = ResultStore(tmp_path)
    with pytest.raises(ZeroDivisionError):
        store.get("a", lambda: {"x": 1 / 0})
    assert list(store.get("a", lambda: {"x": np.arange(3)})["x"]) == [0, 1, 2]
    assert list(store.get("a", lambda: {"x": np.zeros(3)})["x"]) == [0, 1, 2]
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


def test_best_and_ranked():
    similarity = np.array([[0.1, 0.9, 0.5], [0.7, 0.2, 0.3]])
    redshift = np.arange(6.0).reshape(2, 3)
    draws = Draws(redshift[..., None], similarity, redshift, np.zeros((2, 3), int))
    assert draws.of_best("redshift").tolist() == [1.0, 3.0]
    assert draws.ranked(2).redshift.tolist() == [[1.0, 2.0], [3.0, 5.0]]
    assert draws.ranked(2).flux.shape == (2, 2, 1)
    told = Draws(*(getattr(draws, n) for n in ("flux", "similarity", "redshift", "warning")),
                 np.array([2, 0]))  # fmt: skip
    assert told.of_best("redshift").tolist() == redshift[[0, 1], [2, 0]].tolist()
    first = told.ranked(2)
    assert first.redshift[:, 0].tolist() == told.of_best("redshift").tolist()
    assert first.of_best("redshift").tolist() == told.of_best("redshift").tolist()
    assert told.most_similar(2).redshift.tolist() == draws.ranked(2).redshift.tolist()


def test_several_processes_measure_the_same(oracle, pairs):
    one, two = draw(oracle, pairs), draw(oracle, pairs, n_processes=2)
    np.testing.assert_array_equal(one.redshift, two.redshift)
