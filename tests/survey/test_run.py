"""Runs that are written, interrupted and gone on with, on real clusters."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from photospec.cli import main
from photospec.errors import InputError
from photospec.survey import open_catalogue, predict_catalogue, run_survey

from .conftest import write_pairs
from .test_catalogue import assert_same, rows

# What Dask and LSDB say about themselves while processes die around them.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def inline():
    """A client whose tasks run in this process: no cluster to start."""
    from distributed import Client

    with Client(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as client:
        yield client


def read(path):
    import lsdb

    return rows(lsdb.open_catalog(path))


@pytest.fixture(scope="module")
def opened(pairs_path):
    return open_catalogue(pairs_path, partition_rows=20)


def test_written_and_opened_again(opened, spectrograph, inline, tmp_path):
    said = []
    options = {"spectrograph": spectrograph, "client": inline, "say": said.append, "what": "photoz"}
    report = run_survey(opened, tmp_path / "out", **options)
    assert report.n_rows == 60
    assert not report.failed
    assert "60 of 60 galaxies" in said[-1]
    found = read(tmp_path / "out")
    wanted = predict_catalogue(opened.catalog, spectrograph, source=opened.source, what="photoz")
    assert_same(found, rows(wanted))
    # every column has unit and description
    schema = pq.read_schema(tmp_path / "out/dataset/_common_metadata")
    for field in schema:
        if field.name != "_healpix_29":
            assert field.metadata[b"description"]
            assert b"unit" in field.metadata
    properties = (tmp_path / "out/hats.properties").read_text()
    assert "photospec_seed=0" in properties
    assert "photospec_weights=" in properties
    # a second start has nothing to do; another run is refused
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.parquet")}
    again = run_survey(opened, tmp_path / "out", **options)
    assert again.n_done_before == again.n_partitions == report.n_partitions
    assert {p: p.stat().st_mtime_ns for p in before} == before
    with pytest.raises(InputError, match=r"made with seed = 0 where now it is 1; choose another"):
        run_survey(opened, tmp_path / "out", seed=1, **options)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(InputError, match="which holds something else"):
        run_survey(opened, tmp_path / "other", **options)
    (tmp_path / "out/photospec_run.json").write_text("{")
    with pytest.raises(InputError, match="got a damaged one"):
        run_survey(opened, tmp_path / "out", **options)


def test_failing_partitions_are_told_and_tried_again(
    opened, spectrograph, inline, tmp_path, monkeypatch
):
    """Three attempts; the rest goes on; the same call tries the failed ones again."""
    from photospec.survey import run

    attempts = tmp_path / "attempts"  # functions travel as copies, even within one process
    write = run.write_partition
    first = opened.catalog.get_healpix_pixels()[0]

    def fails(frame, path, pixel, **more):
        if pixel == first:
            with attempts.open("a") as file:
                file.write("x")
            raise MemoryError("no memory for this one")
        return write(frame, path, pixel, **more)

    said = []
    options = {"spectrograph": spectrograph, "client": inline, "say": said.append, "what": "photoz"}
    monkeypatch.setattr(run, "write_partition", fails)
    report = run_survey(opened, tmp_path / "out", **options)
    assert attempts.read_text() == "xxx"
    assert list(report.failed) == [f"{first.order}_{first.pixel}"]
    assert any("failed 3 times: MemoryError: no memory for this one" in line for line in said)
    assert 0 < len(read(tmp_path / "out")) < 60
    monkeypatch.setattr(run, "write_partition", write)
    report = run_survey(opened, tmp_path / "out", **options)
    assert report.n_done_before == report.n_partitions - 1
    assert len(read(tmp_path / "out")) == 60


def test_full_disk_ends_the_run(opened, spectrograph, inline, tmp_path, monkeypatch):
    from photospec.survey import run

    write = run.write_partition

    def full(frame, path, pixel, **more):
        if len(list(tmp_path.rglob("*_done"))) >= 2:
            raise OSError(28, "No space left on device", str(path))
        return write(frame, path, pixel, **more)

    options = {"spectrograph": spectrograph, "client": inline, "say": print, "what": "photoz"}
    monkeypatch.setattr(run, "write_partition", full)
    with pytest.raises(OSError, match="No space left on device"):
        run_survey(opened, tmp_path / "out", **options)
    monkeypatch.setattr(run, "write_partition", write)
    report = run_survey(opened, tmp_path / "out", **options)
    assert report.n_done_before >= 2
    assert len(read(tmp_path / "out")) == 60


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system of its own cannot be mounted here: {error}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_disk_that_is_really_full(pairs_path, survey_weights, inline, small_disk, capsys):
    """Full wherever it is: one line, nothing lost, and the same command goes on."""
    filling = small_disk / "filling"
    with pytest.raises(OSError, match="No space left"):
        filling.write_bytes(bytes(2**21))
    command = ["survey", str(pairs_path), "--weights", str(survey_weights), "--what", "photoz"]
    command += ["--partition-rows", "20", "--scheduler", inline.scheduler.address]
    out, ends = small_disk / "out", []
    while main([*command, "-o", str(out)]) != 0:
        said = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
        assert len(said) == 1
        assert "No space left on device" in said[0]
        ends.append(len(list((out / "done").glob("*_done"))))
        os.truncate(filling, filling.stat().st_size - 48_000)
    assert ends == sorted(ends)
    assert ends[0] == 0
    assert ends[-1] > 1
    capsys.readouterr()
    assert main([*command, "-o", str(small_disk.parent / "wanted")]) == 0
    assert_same(read(out), read(small_disk.parent / "wanted"))


@pytest.mark.parametrize(
    ("groups", "edges"),
    [
        ([500, 500, 41], [0, 500, 1000, 1041]),
        ([200, 200, 200, 30], [0, 400, 630]),
        ([1001, 700, 30], [0, 500, 1000, 1001, 1501, 1731]),
        ([0, 500, 0, 1], [0, 500, 501]),
    ],
)
def test_pieces_end_where_row_groups_do(groups, edges):
    """By hand: at most 500 rows; only groups that are longer are cut."""
    from photospec.survey.run import _edges

    assert _edges(groups, 500) == edges


def test_long_partitions_in_pieces(pairs_path, spectrograph, inline, tmp_path, monkeypatch):
    """A HATS partition is worked on in pieces; those of an interrupted run stay done."""
    import lsdb

    from photospec.survey import run

    whole = open_catalogue(pairs_path, partition_rows=1000)
    frame = whole.catalog.compute(progress_bar=False)
    frame = frame.reset_index(drop=True).assign(magnitude=17.5)
    hats = lsdb.from_dataframe(frame, margin_threshold=None)
    hats.write_catalog(tmp_path / "hats", catalog_name="hats", progress_bar=False)
    opened = open_catalogue(tmp_path / "hats", images=str(pairs_path), partition_rows=25)
    assert opened.lengths == [[60]]
    write, said = run.write_piece, []
    out = tmp_path / "out"

    def full(frame, path, **more):
        if path.name == "25-50.parquet":
            raise OSError(28, "No space left on device", str(path))
        return write(frame, path, **more)

    options = {"spectrograph": spectrograph, "client": inline, "say": said.append, "what": "photoz"}
    options["keep"] = ("magnitude",)
    monkeypatch.setattr(run, "write_piece", full)
    with pytest.raises(OSError, match="No space left on device"):
        run_survey(opened, out, **options)
    wait_for(lambda: list((out / "pieces").rglob("*-*.parquet")))
    kept = {p.name: p.stat().st_mtime_ns for p in (out / "pieces").rglob("[0-9]*.parquet")}
    assert "25-50.parquet" not in kept

    def late(frame, path, **more):
        assert path.name not in kept, "a piece that was done is done again"
        return write(frame, path, **more)

    monkeypatch.setattr(run, "write_piece", late)
    report = run_survey(opened, out, **options)
    assert not report.failed
    assert report.n_rows == 60
    assert any("5 of 60 galaxies are done already" in line for line in said)
    assert not (out / "pieces").exists()
    wanted = predict_catalogue(whole.catalog, spectrograph, source=whole.source, what="photoz")
    found = read(out)
    assert (found["magnitude"] == 17.5).all()
    assert_same(found.drop(columns="magnitude"), rows(wanted))
    [file] = out.rglob("Npix=*.parquet")
    field = pq.read_schema(file).field("magnitude")
    assert field.metadata[b"unit"] == b"as in the input, which does not tell it"


def test_progress_in_galaxies(capsys):
    from photospec.survey.progress import Progress, duration, to_stderr

    progress = Progress(to_stderr, 1000, before=100)
    progress.add(200)
    progress.hear((0.0, ["a", 64]))
    progress.hear((0.0, ["a", 128]))
    progress.hear((0.0, ["b", 72]))
    assert progress.text(10.0) == "500 of 1000 galaxies, 40 per second, 12 s left"
    progress.ended("b")
    assert progress.text(10.0).startswith("428 of 1000 galaxies, 32.8 per second")
    assert progress.text(10.0, last=True) == "300 of 1000 galaxies, 20 per second"
    assert capsys.readouterr().err == "100 of 1000 galaxies are done already\n"
    assert [duration(s) for s in (90, 600, 86400)] == ["90 s", "10 min", "24.0 h"]


def test_half_done_states_are_mended(opened, spectrograph, inline, tmp_path):
    """A process may be killed between any two of its writes."""
    options = {"spectrograph": spectrograph, "client": inline, "say": print, "what": "photoz"}
    out = tmp_path / "out"
    run_survey(opened, out, **options)
    wanted = read(out)
    pixels = opened.catalog.get_healpix_pixels()
    record = json.loads((out / "photospec_run.json").read_text())
    # as if killed before the end: one histogram without marker, one marker without histogram,
    # one half-written file
    (out / "photospec_run.json").write_text(json.dumps({"run": record["run"]}))
    for name in ("hats.properties", "properties", "dataset/_metadata"):
        (out / name).unlink(missing_ok=True)
    (out / "done").mkdir()
    (out / "hists").mkdir()
    a, b = pixels[:2]
    (out / f"hists/{a.order}_{a.pixel}_histogram.npz").write_bytes(b"half")
    (out / f"done/{b.order}_{b.pixel}_done").touch()
    file = next((out / "dataset").rglob("*.parquet"))
    file.with_name(f".partial-1-{file.name}").write_bytes(file.read_bytes()[:100])
    report = run_survey(opened, out, **options)
    assert report.n_done_before == 1
    assert not list(out.rglob(".partial*"))
    assert_same(read(out), wanted)


def test_workers_of_another_kind(opened, spectrograph, inline, tmp_path, monkeypatch):
    from photospec.survey import cluster

    options = {"spectrograph": spectrograph, "client": inline, "say": print, "what": "photoz"}
    for state, message in (
        ({"photospec": "0.0.1", "weights": "x"}, r"workers: expected photospec .* got 0\.0\.1"),
        ({"photospec": cluster.version("photospec"), "weights": "x"}, "workers: expected weights"),
        ({"photospec": cluster.version("photospec"), "problem": "no folder"}, "got: no folder"),
    ):
        monkeypatch.setattr(cluster, "worker_state", lambda *_, state=state: state)
        with pytest.raises(InputError, match=message):
            run_survey(opened, tmp_path / "out", **options)
    with pytest.raises(InputError, match=r"workers: expected one thread in each, got 4 on tcp:"):
        cluster.check_threads("tcp://far:1", 4)


def test_workers_that_join_late(opened, spectrograph, inline, tmp_path, monkeypatch):
    """Each worker is asked once more when its first task comes."""
    from photospec.survey import cluster, run

    run._check_this_worker.cache_clear()
    state = {"photospec": cluster.version("photospec"), "weights": "x"}
    monkeypatch.setattr(run, "check_workers", lambda *_, **more: 0)
    monkeypatch.setattr(cluster, "worker_state", lambda *_: state)
    with pytest.raises(InputError, match=r"workers: expected weights .* on a worker that"):
        run_survey(
            opened,
            tmp_path / "out",
            spectrograph=spectrograph,
            client=inline,
            say=print,
            what="photoz",
        )
    run._check_this_worker.cache_clear()


def test_no_scheduler(opened, spectrograph, tmp_path, monkeypatch):
    from photospec.survey import cluster

    monkeypatch.setattr(cluster, "_CONNECT", 1)
    with pytest.raises(InputError, match="scheduler: expected one that answers, got tcp://127"):
        run_survey(
            opened, tmp_path / "out", spectrograph=spectrograph, scheduler="tcp://127.0.0.1:1"
        )


def workers_of(process):
    """Worker processes of a local cluster: those that have spawned from multiprocessing."""
    found = []
    for child in process.children(recursive=True):
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def wait_for(condition, seconds=900):  # starts take minutes on a machine that is busy
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"nothing after {seconds} s")
        time.sleep(0.05)


def test_an_interruption_while_workers_start_is_one_line(tmp_path):
    """As from a terminal: every process of the group gets the signal."""
    code = """
import argparse, signal, threading
from photospec.cli.console import run_command
from photospec.survey.cluster import Connected

def run(args):
    with Connected(None, None, 2, lambda text: None):
        threading.Event().wait(600)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background
    raise SystemExit(run_command(run, argparse.Namespace(debug=False, verbose=False, quiet=True)))
"""
    script = tmp_path / "start_workers.py"
    script.write_text(code)
    started = subprocess.Popen(
        [sys.executable, script], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_for(lambda: workers_of(psutil.Process(started.pid)) or started.poll() is not None)
        os.killpg(started.pid, signal.SIGINT)
        _, told = started.communicate(timeout=900)
    finally:
        started.kill()
    assert (started.returncode, told) == (130, "photospec: error: interrupted\n")


def test_killed_worker_and_client(tmp_path, survey_weights, spectrograph, capsys):
    """SIGKILL of a worker, then of the client: the same catalogue to the last bit."""
    pairs = write_pairs(tmp_path / "many.h5", 240, seed=1)
    out = tmp_path / "out"
    command = ["survey", str(pairs), "-o", str(out), "--weights", str(survey_weights)]
    command += ["--workers", "2", "--partition-rows", "30", "--seed", "4", "--n-candidates", "2"]
    log = (tmp_path / "log").open("w")
    started = subprocess.Popen(
        [sys.executable, "-m", "photospec", *command],
        stderr=log,
        stdout=log,
        start_new_session=True,
    )
    process = psutil.Process(started.pid)

    def n_done():
        return len(list((out / "done").glob("*_done"))) if (out / "done").is_dir() else 0

    try:
        wait_for(lambda: n_done() >= 1 or started.poll() is not None)
        assert started.poll() is None, (tmp_path / "log").read_text()
        victims = workers_of(process)
        assert victims
        victims[0].send_signal(signal.SIGKILL)
        before = n_done()
        wait_for(lambda: n_done() > before + 1 or started.poll() is not None)
    finally:
        family = [*process.children(recursive=True)] if started.poll() is None else []
        if started.poll() is None:
            os.kill(started.pid, signal.SIGKILL)
        started.wait()
        for child in family:  # workers of a dead client end by themselves, but not at once
            if child.is_running():
                child.kill()
        log.close()
    done = n_done()
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "240 galaxies" in printed.out
    assert f"of {240} galaxies are done already" in printed.err or done == 0
    opened = open_catalogue(pairs, partition_rows=240)
    options = {"seed": 4, "n_candidates": 2}
    wanted = predict_catalogue(opened.catalog, spectrograph, source=opened.source, **options)
    found = read(out)
    assert len(found) == 240
    assert found["image"].is_unique
    dtype = json.loads((out / "photospec_run.json").read_text())["run"]["dtype"]
    if dtype == "float32":
        assert_same(found, rows(wanted))
    else:
        from photospec import PhotoSpectrograph

        same = PhotoSpectrograph.load(survey_weights, dtype=dtype)
        wanted = predict_catalogue(opened.catalog, same, source=opened.source, **options)
        assert_same(found, rows(wanted))
    assert np.isfinite(found["redshift_mean"].astype(float)).all()
    shutil.rmtree(out)
