"""Pairs files from the simulator: same bytes always, never half a pair."""

import hashlib
import multiprocessing
import shutil
import signal
import time
from collections import namedtuple

import numpy as np
import pytest

from photospec.errors import InputError
from photospec.pairs import PairsFile, PairsWriter
from photospec.simulation import Survey, simulate_pairs
from photospec.utils.parallel import _Worker

SURVEY = Survey.sdss_main(seed=21)


@pytest.fixture(autouse=True)
def one_block_at_a_time(monkeypatch):
    monkeypatch.setattr("photospec.simulation.write._GROUP", 1)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """150 pairs made in one process: two blocks and a part of a third."""
    path = tmp_path_factory.mktemp("reference") / "pairs.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("photospec.simulation.write._GROUP", 1)
        simulate_pairs(150, path, SURVEY, n_processes=1)
    return path


def test_grouping_blocks_changes_no_pair(reference, tmp_path, monkeypatch):
    monkeypatch.setattr("photospec.simulation.write._GROUP", 2)
    path, calls = tmp_path / "grouped.h5", []
    simulate_pairs(100, path, SURVEY, n_processes=1)
    simulate_pairs(
        150, path, SURVEY, n_processes=1, resume=True, progress=lambda *a: calls.append(a)
    )
    assert calls == [(128, 150), (150, 150)]
    with PairsFile(path) as pairs, PairsFile(reference) as whole:
        np.testing.assert_array_equal(pairs.image(), whole.image())
        np.testing.assert_array_equal(pairs.truth["redshift"], whole.truth["redshift"])


def test_file_holds_what_the_survey_simulates(reference):
    batch = SURVEY.simulate(150)
    with PairsFile(reference) as pairs:
        assert len(pairs) == 150
        assert pairs.bands == SURVEY.bands
        assert pairs.pixel_scale == SURVEY.pixel_scale
        np.testing.assert_array_equal(pairs.image(slice(60, 70)), batch.image[60:70])
        np.testing.assert_array_equal(pairs.flux(slice(0, 150)), batch.flux)
        np.testing.assert_array_equal(pairs.truth_flux(149), batch.truth_flux[149])
        np.testing.assert_array_equal(pairs.object["redshift"], batch.object["redshift"])
        np.testing.assert_array_equal(pairs.truth["halpha_ew"], batch.truth["halpha_ew"])
        assert pairs.provenance["survey"]["seed"] == 21


def test_same_bytes_in_two_processes(reference, tmp_path):
    path = tmp_path / "two.h5"
    calls = []
    simulate_pairs(150, path, SURVEY, n_processes=2, progress=lambda *a: calls.append(a))
    assert digest(path) == digest(reference)
    assert calls == [(64, 150), (128, 150), (150, 150)]


@pytest.mark.slow
def test_a_killed_run_resumes(reference, tmp_path):
    path = tmp_path / "killed.h5"
    process = multiprocessing.get_context("spawn").Process(
        target=simulate_pairs, args=(150, path, SURVEY, 1)
    )
    process.start()
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        if path.exists():
            try:
                with PairsFile(path) as pairs:
                    if len(pairs):
                        break
            except InputError:
                pass
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode in (-signal.SIGKILL, 0)
    with PairsFile(path) as pairs:
        n = len(pairs)
        assert n % 64 == 0 or n == 150
        with PairsFile(reference) as whole:
            np.testing.assert_array_equal(pairs.image(slice(0, n)), whole.image(slice(0, n)))
    simulate_pairs(150, path, SURVEY, n_processes=1, resume=True)
    with PairsFile(path) as pairs, PairsFile(reference) as whole:
        assert len(pairs) == 150
        np.testing.assert_array_equal(pairs.image(), whole.image())
        np.testing.assert_array_equal(pairs.flux(), whole.flux())


def test_resume_continues_inside_a_block(reference, tmp_path):
    path = tmp_path / "more.h5"
    simulate_pairs(100, path, SURVEY, n_processes=1)
    simulate_pairs(150, path, SURVEY, n_processes=1, resume=True)
    with PairsFile(path) as pairs, PairsFile(reference) as whole:
        np.testing.assert_array_equal(pairs.image(), whole.image())
        np.testing.assert_array_equal(pairs.object["simulation_id"], np.arange(150))


def test_finished_file_is_left_alone(reference, tmp_path):
    path = tmp_path / "copy.h5"
    shutil.copy(reference, path)
    simulate_pairs(150, path, SURVEY, n_processes=1, resume=True)
    with PairsFile(path) as pairs:
        assert len(pairs) == 150


def test_resume_refuses_another_survey(reference, tmp_path):
    path = tmp_path / "copy.h5"
    shutil.copy(reference, path)
    with pytest.raises(InputError, match="provenance"):
        simulate_pairs(200, path, Survey.sdss_main(seed=22), n_processes=1, resume=True)


def test_existing_output(tmp_path):
    path = tmp_path / "there.h5"
    path.write_text("precious")
    with pytest.raises(InputError, match="exists; pass resume"):
        simulate_pairs(10, path, SURVEY)
    assert path.read_text() == "precious"
    with pytest.raises(InputError):
        simulate_pairs(10, path, SURVEY, resume=True, n_processes=1)
    simulate_pairs(10, path, SURVEY, overwrite=True, n_processes=1)
    with PairsFile(path) as pairs:
        assert len(pairs) == 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n": 0}, "n: expected"),
        ({"n": 1e3}, "n: expected a whole number"),
        ({"n": 10, "n_processes": 0}, "n_processes: expected"),
        ({"n": 10, "resume": True, "overwrite": True}, "at most one"),
        ({"n": 10, "path": "nowhere/pairs.h5"}, "existing folder"),
    ],
)
def test_bad_arguments(arguments, words, tmp_path):
    arguments = {"path": "pairs.h5", "survey": SURVEY} | arguments
    arguments["path"] = tmp_path / arguments["path"]
    with pytest.raises(InputError, match=words):
        simulate_pairs(**arguments)
    assert not arguments["path"].exists()


def test_too_little_room_is_seen_before_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 0, 10_000_000))
    with pytest.raises(InputError, match="free disk space") as caught:
        simulate_pairs(1000, tmp_path / "pairs.h5", SURVEY)
    assert "\n" not in str(caught.value)


def test_disk_that_fills_up_leaves_whole_pairs(reference, tmp_path, monkeypatch):
    path = tmp_path / "full.h5"
    append, calls = PairsWriter.append, []

    def full(self, *args, **kwargs):
        calls.append(0)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return append(self, *args, **kwargs)

    monkeypatch.setattr(PairsWriter, "append", full)
    with pytest.raises(InputError, match="No space left on device; free disk space and resume"):
        simulate_pairs(150, path, SURVEY, n_processes=1)
    monkeypatch.undo()
    with PairsFile(path) as pairs:
        assert len(pairs) == 64
    simulate_pairs(150, path, SURVEY, n_processes=1, resume=True)
    with PairsFile(path) as pairs, PairsFile(reference) as whole:
        np.testing.assert_array_equal(pairs.image(), whole.image())


def test_a_worker_that_dies_is_told(tmp_path, monkeypatch):
    work = _Worker.__call__

    def die(self, task):
        self.process.kill()
        return work(self, task)

    monkeypatch.setattr(_Worker, "__call__", die)
    with pytest.raises(InputError, match="got one that died"):
        simulate_pairs(150, tmp_path / "pairs.h5", SURVEY, n_processes=2)
