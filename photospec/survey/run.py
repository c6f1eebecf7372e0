"""Run a survey so that it survives: partitions written whole, killed workers, second starts.

LSDB's ``to_hats(resume=True)`` knows which partitions of an output are done, from a marker and a
histogram per partition, and finishes the catalogue. The loop over partitions is our own, because
there one partition that fails ends the run, a file half written by a killed process is found only
by its missing marker, and nobody knows how many galaxies are done.
"""

import errno
import hashlib
import json
import os
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

from photospec.errors import InputError, PhotospecError
from photospec.survey.columns import all_columns
from photospec.utils.files import replacing

__all__ = ["SurveyReport", "run_survey"]

_RUN_FILE = "photospec_run.json"
_ATTEMPTS = 3
# Partitions in flight per worker: one that runs, one that waits.
_IN_FLIGHT = 2
_CONNECT = 20  # seconds to wait for a scheduler


class SurveyReport:
    """What became of a run.

    Attributes
    ----------
    path : pathlib.Path
        The HATS catalogue.
    n_rows : int
        Rows in it.
    n_partitions, n_done_before : int
        Partitions of the catalogue; those that an earlier start had done.
    failed : dict
        Reasons of partitions that failed three times, by their name.
    seconds : float
    """

    def __init__(self, path, n_rows, n_partitions, n_done_before, failed, seconds):
        self.path, self.n_rows, self.n_partitions = path, n_rows, n_partitions
        self.n_done_before, self.failed, self.seconds = n_done_before, failed, seconds

    def __repr__(self):
        return (
            f"<SurveyReport: {self.n_rows} rows, {self.n_partitions} partitions, "
            f"{self.n_done_before} done before, {len(self.failed)} failed, {self.seconds:.0f} s>"
        )


def run_survey(
    catalogue,
    output,
    *,
    spectrograph=None,
    settings=None,
    scheduler=None,
    n_workers=None,
    client=None,
    say=None,
    **options,
):
    """Predict for all images of a catalogue and write the result as a HATS catalogue.

    A second start with the same arguments goes on where the first one ended.

    Parameters
    ----------
    catalogue : Catalogue or path-like
        From `photospec.survey.open_catalogue`, or its argument.
    output : path-like
        Folder of the catalogue that is written.
    spectrograph : PhotoSpectrograph, optional
        Read by `PhotoSpectrograph.load`; the bundled weights by default.
    settings : SurveySettings, optional
        Or its attributes as keyword arguments.
    scheduler : str, optional
        Address of a Dask scheduler, ``tcp://host:8786``.
    n_workers : int, optional
        Worker processes on this machine, of one thread each; by default one per core.
    client : distributed.Client, optional
        Instead of the two.
    say : callable, optional
        Called with lines of progress; they go to stderr by default.

    Returns
    -------
    SurveyReport

    Raises
    ------
    InputError
        If the output is of another run, the scheduler cannot be reached or is lost, workers
        are of another version or lack the weights.
    OSError
        If the disk is full. What is done stays done.
    """
    from photospec.survey.catalogue import open_catalogue, predict_catalogue
    from photospec.survey.columns import SurveySettings

    start = time.monotonic()
    say = say or _to_stderr
    if isinstance(catalogue, str | os.PathLike):
        catalogue = open_catalogue(catalogue)
    if spectrograph is None:
        from photospec import PhotoSpectrograph

        spectrograph = PhotoSpectrograph.load()
    info = catalogue.catalog.hc_structure.catalog_info
    if settings is None:
        options = {"identifier": catalogue.identifier, "ra": info.ra_column} | options
        settings = SurveySettings(**{"dec": info.dec_column} | options)
    predicted = predict_catalogue(
        catalogue.catalog, spectrograph, source=catalogue.source, settings=settings
    )
    output = Path(output).resolve()
    run = _describe(catalogue, spectrograph, settings, predicted)
    state = _Output(output, run, settings, predicted)
    if state.complete and not state.failed_before:
        say(f"{output}: complete already, {state.n_rows} galaxies; nothing to do")
        n = len(predicted.get_healpix_pixels())
        return SurveyReport(output, state.n_rows, n, n, {}, time.monotonic() - start)
    state.prepare()
    with _connected(client, scheduler, n_workers, say) as connected:
        _check_workers(connected, spectrograph, run)
        total = catalogue.catalog.hc_structure.catalog_info.total_rows or 0
        failed = _work(connected, predicted, state, settings, total, say)
    state.finish(failed)
    n_rows = state.n_rows
    return SurveyReport(
        output, n_rows, len(state.pixels), state.n_before, failed, time.monotonic() - start
    )


def _to_stderr(line):
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress of a long run


def weights_digest(spectrograph):
    """SHA-256 over the files of the weights, the first 16 digits.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph

    Returns
    -------
    str
    """
    folder = spectrograph.folder
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix in (".toml", ".safetensors"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _describe(catalogue, spectrograph, settings, predicted):
    """What two starts must agree in to be the same run."""
    pixels = " ".join(_name(pixel) for pixel in predicted.get_healpix_pixels())
    return {
        "input": catalogue.description,
        "partitions": hashlib.sha256(pixels.encode()).hexdigest()[:16],
        "weights": weights_digest(spectrograph),
        "photospec": version("photospec"),
        "dtype": spectrograph.dtype,
        "device": spectrograph.device.type,
        **{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(settings).items()},
    }


def _name(pixel):
    return f"{pixel.order}_{pixel.pixel}"


class _Output:
    """Folder of the output: what is done in it, and whether it belongs to this run."""

    def __init__(self, path, run, settings, predicted):
        self.path, self.run, self.settings, self.predicted = path, run, settings, predicted
        self.pixels = predicted.get_healpix_pixels()
        self.failed_before, self.complete, self.n_rows = [], False, 0
        self.n_before = 0
        record = path / _RUN_FILE
        if not record.is_file():
            if path.exists() and any(path.iterdir()):
                raise InputError(
                    f"output: expected a new folder or that of the same run, got {path}, which "
                    "holds something else"
                )
            return
        try:
            found = json.loads(record.read_text())
            before = dict(found["run"])
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"output: expected a readable {_RUN_FILE} in {path}, got a damaged one; remove "
                "the folder or choose another"
            ) from None
        other = [key for key in run if before.get(key) != run[key]]
        if other:
            key = other[0]
            raise InputError(
                f"output: expected a new folder or that of the same run, got {path}, made with "
                f"{key} = {before.get(key)!r} where now it is {run[key]!r}; choose another -o"
            )
        self.complete = bool(found.get("complete"))
        self.failed_before = list(found.get("failed", []))
        self.n_rows = int(found.get("rows", 0))

    def record(self, **more):
        """Write what run this is, whole or not at all."""
        with replacing(self.path / _RUN_FILE) as temporary:
            temporary.write_text(json.dumps({"run": self.run, **more}, indent=1))

    def prepare(self):
        """Bring the folder into a state that LSDB can resume from."""
        from lsdb.io.to_hats import DONE_DIR_NAME, HISTOGRAM_DIR_NAME

        self.path.mkdir(parents=True, exist_ok=True)
        self.done_dir, self.hist_dir = self.path / DONE_DIR_NAME, self.path / HISTOGRAM_DIR_NAME
        if self.complete:
            # All but some partitions: the markers, which a finished catalogue has no more.
            for pixel in self.pixels:
                if _name(pixel) not in self.failed_before and self.file(pixel).is_file():
                    mark_done(self.file(pixel), self.path, pixel, self.order)
            self.complete = False
        self.record()
        for folder in (self.done_dir, self.hist_dir):
            folder.mkdir(exist_ok=True)
        for file in self.path.rglob(".partial-*"):
            file.unlink(missing_ok=True)
        self._repair()
        self.n_before = len(self.done())

    def _repair(self):
        """Make markers and histograms agree: a process may be killed between the two."""
        done = self.done()
        for file in self.hist_dir.iterdir():
            if file.name.removesuffix("_histogram.npz") not in done:
                file.unlink(missing_ok=True)
        for pixel in self.pixels:
            name = _name(pixel)
            if name in done and not (self.hist_dir / f"{name}_histogram.npz").is_file():
                file = self.file(pixel)
                mark_done(file if file.is_file() else None, self.path, pixel, self.order)

    @property
    def order(self):
        """Order of the histograms, as LSDB chooses it."""
        info = self.predicted.hc_structure.catalog_info
        if info.skymap_order is not None:
            return info.skymap_order
        return max(self.predicted.hc_structure.pixel_tree.get_max_depth(), 8)

    def file(self, pixel):
        """Parquet file of a partition."""
        import hats

        return Path(str(hats.io.paths.pixel_catalog_file(self.path, pixel)))

    def done(self):
        """Names of the partitions that are done."""
        return {file.name.removesuffix("_done") for file in self.done_dir.glob("*_done")}

    def finish(self, failed):
        """Write what makes the partitions a catalogue."""
        import lsdb

        # A worker of an earlier start may have lived a little longer than its client.
        self._repair()
        done = self.done()
        pixels = [pixel for pixel in self.pixels if _name(pixel) in done]
        if not pixels:
            raise PhotospecError(
                f"all {len(failed)} partitions failed: {next(iter(failed.values()), 'no reason')}"
            )
        catalog = self.predicted
        if len(pixels) < len(self.pixels):
            catalog = catalog.partitions[pixels]
        said = {f"photospec_{key}": _plain(value) for key, value in self.run.items()}
        for column in all_columns(self.settings):
            said[f"photospec_column_{column.name}"] = _sentence(column)
        lsdb.io.to_hats(
            catalog,
            base_catalog_path=self.path,
            catalog_name=self.path.name,
            resume=True,
            progress_bar=False,
            histogram_order=self.order,
            addl_hats_properties=said,
            error_if_empty=False,
        )
        self.n_rows = int(lsdb.open_catalog(self.path).hc_structure.catalog_info.total_rows)
        self.record(complete=True, rows=self.n_rows, failed=sorted(failed))


def _plain(value):
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _sentence(column):
    return f"{column.description} [{column.unit}]" if column.unit else column.description


def write_partition(frame, path, pixel, order, metadata, root):
    """Write one partition whole, then mark it as done; the task that workers run.

    Parameters
    ----------
    frame : NestedFrame
    path : pathlib.Path
        Parquet file.
    pixel : HealpixPixel
    order : int
        Of the histogram.
    metadata : dict
        Unit and description of each column.
    root : pathlib.Path
        Of the catalogue.

    Returns
    -------
    int
        Rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from hats.io.file_io.file_io import get_parquet_write_table_kwargs

    if len(frame):
        table = frame.to_pyarrow(list_struct=False, large_list=False)
        fields = [
            field.with_metadata(metadata[field.name]) if field.name in metadata else field
            for field in table.schema
        ]
        table = table.cast(pa.schema(fields, metadata=table.schema.metadata))
        path.parent.mkdir(parents=True, exist_ok=True)
        options = get_parquet_write_table_kwargs(table.schema, write_table_kwargs={})
        with replacing(path) as temporary:
            pq.write_table(table, temporary, **options)
    mark_done(path if len(frame) else None, root, pixel, order)
    return len(frame)


def mark_done(path, root, pixel, order):
    """Write the histogram and then the marker that LSDB knows a finished partition by."""
    import pyarrow.parquet as pq
    from hats.io.file_io import get_upath
    from hats.pixel_math import spatial_index_to_healpix
    from hats.pixel_math.sparse_histogram import SparseHistogram
    from lsdb.io.to_hats import write_done_pixel, write_histogram

    where, counts = np.array([], int), np.array([], int)
    if path is not None:
        index = pq.read_table(path, columns=["_healpix_29"]).column(0).to_numpy()
        where, counts = np.unique(
            spatial_index_to_healpix(index, target_order=order), return_counts=True
        )
    root = get_upath(root)
    write_histogram(SparseHistogram(where, counts, order), root, pixel)
    write_done_pixel(root, pixel)


class _connected:
    """A client of a scheduler, given, far away, or made here."""

    def __init__(self, client, scheduler, n_workers, say):
        self.given, self.scheduler, self.n_workers, self.say = client, scheduler, n_workers, say
        self.cluster = self.client = None

    def __enter__(self):
        from distributed import Client, LocalCluster

        if self.given is not None:
            return self.given
        if self.scheduler is not None:
            try:
                self.client = Client(self.scheduler, timeout=_CONNECT)
            except (OSError, ValueError, TimeoutError) as error:
                text = " ".join(str(error).split())[:120]
                raise InputError(
                    f"scheduler: expected one that answers, got {self.scheduler} ({text}); is it "
                    "running, and its port open?"
                ) from None
        else:
            n = self.n_workers or len(os.sched_getaffinity(0))
            # One thread each: numbers depend on how many threads add them up, and images are
            # many, so that nothing is gained by sharing one among threads.
            self.cluster = LocalCluster(
                n_workers=n,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=50,
            )
            self.client = Client(self.cluster)
        self.say(f"dashboard: {self.client.dashboard_link}")
        return self.client

    def __exit__(self, *exception):
        for one in (self.client, self.cluster):
            if one is not None:
                try:
                    one.close(timeout=10)
                except (OSError, TimeoutError):
                    pass


def worker_state(path):
    """Version of photospec in a worker, and whether it finds the weights."""
    from photospec import PhotoSpectrograph

    try:
        digest = weights_digest(PhotoSpectrograph.load(path))
    except PhotospecError as error:
        return {"photospec": version("photospec"), "problem": str(error)}
    return {"photospec": version("photospec"), "weights": digest}


def _check_workers(client, spectrograph, run):
    try:
        client.wait_for_workers(1, timeout=60)
    except TimeoutError:
        raise InputError("scheduler: expected at least one worker within 60 s, got none") from None
    path = spectrograph.loaded_path
    for address, found in client.run(worker_state, path, on_error="return").items():
        if not isinstance(found, dict):
            text = " ".join(str(found).split())[:150]
            raise InputError(f"workers: expected photospec on {address}, got {text}")
        if "problem" in found:
            raise InputError(f"workers: expected the weights on {address}, got: {found['problem']}")
        for key in ("photospec", "weights"):
            if found[key] != run[key]:
                raise InputError(
                    f"workers: expected {key} {run[key]} on {address}, got {found[key]}; install "
                    "the same everywhere"
                )


def _work(client, predicted, state, settings, total, say):
    """Run all partitions that are not done; reasons of those that failed."""
    from distributed import as_completed

    done = state.done()
    parts = dict(zip(map(_name, state.pixels), predicted.to_delayed(), strict=True))
    waiting = [pixel for pixel in state.pixels if _name(pixel) not in done]
    shown = _Progress(say, total, len(state.pixels), len(done), state)
    metadata = {column.name: column.metadata for column in all_columns(settings)}
    attempts, failed, running = {}, {}, as_completed()
    queue = list(reversed(waiting))

    def submit(pixel):
        from dask import delayed

        task = delayed(write_partition, pure=False)(
            parts[_name(pixel)], state.file(pixel), pixel, state.order, metadata, state.path
        )
        future = client.compute(task, allow_other_workers=True, retries=0)
        names[future.key] = pixel
        running.add(future)

    names = {}
    n_workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    for _ in range(min(len(queue), _IN_FLIGHT * n_workers)):
        submit(queue.pop())
    while names:
        shown.maybe()
        try:
            future = next(running)
        except StopIteration:
            break
        pixel = names.pop(future.key)
        if future.status == "finished":
            shown.add(future.result())
        else:
            _lost_scheduler(client, state)
            error = future.exception() if future.status == "error" else None
            reason = _one_line(error)
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise error
            attempts[pixel] = attempts.get(pixel, 0) + 1
            # A partition that killed its worker has had its three attempts within Dask.
            fatal = type(error).__name__ == "KilledWorker"
            if attempts[pixel] < _ATTEMPTS and not fatal:
                submit(pixel)
                continue
            failed[_name(pixel)] = reason
            say(f"partition {_name(pixel)} failed {_ATTEMPTS} times: {reason}")
        future.release()
        if queue:
            submit(queue.pop())
    shown.maybe(last=True)
    return failed


def _one_line(error):
    if error is None:
        return "cancelled"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _lost_scheduler(client, state):
    """Raise if the client has no scheduler any more."""
    if client.status != "running":
        raise InputError(
            f"scheduler: expected one that stays, lost the connection; {len(state.done())} of "
            f"{len(state.pixels)} partitions are done, start the same command again"
        )


class _Progress:
    """Galaxies done, rate, time left: rewritten on a terminal, seldom lines in a log."""

    def __init__(self, say, total, n_partitions, n_before, state):
        self.say, self.total, self.n_partitions = say, total, n_partitions
        self.start = self.last = time.monotonic()
        self.before = 0
        if n_before:
            import pyarrow.parquet as pq

            done = state.done()
            for pixel in state.pixels:
                if _name(pixel) in done and state.file(pixel).is_file():
                    self.before += pq.ParquetFile(state.file(pixel)).metadata.num_rows
            say(f"{self.before} of {total} galaxies are done already")
        self.n = 0
        self.interval = 2.0 if sys.stderr.isatty() else 30.0

    def add(self, n):
        self.n += n

    def maybe(self, last=False):
        now = time.monotonic()
        if not last and now - self.last < self.interval:
            return
        self.last = now
        rate = self.n / max(now - self.start, 1e-9)
        left = (self.total - self.before - self.n) / rate if rate else float("nan")
        text = f"{self.before + self.n} of {self.total} galaxies, {rate:.3g} per second"
        if not last and np.isfinite(left):
            text += f", {_duration(left)} left"
        self.say(text)


def _duration(seconds):
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
