"""Chunks of columns: bounded, resumable, in order."""

import numpy as np
import pytest

from photospec.evaluation.draws import ResultStore
from photospec.evaluation.records import collect, scattered


class Work:
    """Squares of rows; may be stopped."""

    def __init__(self, stop_at=None):
        self.stop_at, self.done = stop_at, []

    def __call__(self, rows):
        if self.stop_at is not None and rows[0] >= self.stop_at:
            raise KeyboardInterrupt
        self.done.append(len(rows))
        found = {"square": rows**2, "pair": np.stack([rows, -rows], axis=1)}
        return found | ({"first": rows + 0.5} if rows[0] == 0 else {})


def test_chunks_come_in_order_and_are_small():
    work = Work()
    found = collect(work, 11, ResultStore(), chunk=4)
    assert work.done == [4, 4, 3]
    assert found["square"].tolist() == [i**2 for i in range(11)]
    assert found["pair"].shape == (11, 2)
    assert found["first"].tolist() == [0.5, 1.5, 2.5, 3.5]


def test_a_stopped_run_goes_on_and_a_second_one_computes_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        collect(Work(stop_at=8), 11, ResultStore(tmp_path), chunk=4)
    assert len(list(tmp_path.iterdir())) == 2
    rest, again = Work(), Work()
    found = collect(rest, 11, ResultStore(tmp_path), chunk=4)
    assert rest.done == [3]
    second = collect(again, 11, ResultStore(tmp_path), chunk=4)
    assert again.done == []
    np.testing.assert_array_equal(found["square"], second["square"])


def test_more_rows_keep_the_full_chunks(tmp_path):
    collect(Work(), 8, ResultStore(tmp_path), chunk=4)
    more = Work()
    collect(more, 12, ResultStore(tmp_path), chunk=4)
    assert more.done == [4]


def test_rows_without_an_answer_are_nan():
    found = scattered({"x": np.array([[1.0], [2.0]])}, np.array([0, 2]), 3)["x"]
    np.testing.assert_array_equal(found, [[1.0], [np.nan], [2.0]])
    assert scattered({"x": np.array([1, 2])}, np.array([0, 1]), 2)["x"].dtype.kind == "i"
