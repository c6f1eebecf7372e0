"""Run a survey so that it survives: partitions written whole, killed workers, second starts.

LSDB's ``to_hats(resume=True)`` knows which partitions of an output are done, from a marker and a
histogram per partition, and finishes the catalogue. The loop over partitions is our own, because
there one partition that fails ends the run, a file half written by a killed process is found only
by its missing marker, and progress is not counted in galaxies.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from importlib.metadata import version
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from photospec.errors import InputError
from photospec.survey.cluster import (
    Connected,
    check_state,
    check_threads,
    check_workers,
    weights_digest,
)
from photospec.survey.columns import SurveySettings, all_columns
from photospec.survey.output import (
    SurveyOutput,
    merge_pieces,
    name_of,
    write_partition,
    write_piece,
)
from photospec.survey.partition import predict_partition
from photospec.survey.progress import Progress, to_stderr

if TYPE_CHECKING:
    from distributed import Client

    from photospec.spectrograph import PhotoSpectrograph
    from photospec.survey.catalogue import Catalogue

__all__ = ["SurveyReport", "run_survey"]

_ATTEMPTS = 3  # of a partition: two failures may be a machine's, three are the partition's
# Pieces of work in flight per worker: one that runs, one that waits.
_IN_FLIGHT = 2
# Seconds between two messages of a worker: thousands of workers have one scheduler.
_TELL = 5.0


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
    catalogue: Catalogue | str | PathLike,
    output: str | PathLike,
    *,
    spectrograph: PhotoSpectrograph | None = None,
    settings: SurveySettings | None = None,
    scheduler: str | None = None,
    n_workers: int | None = None,
    client: Client | None = None,
    say: Callable[[str], object] | None = None,
    **options: object,
) -> SurveyReport:
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
    from photospec.survey.catalogue import needed, open_catalogue, predict_catalogue
    from photospec.survey.columns import SurveySettings

    start = time.monotonic()
    say = say or to_stderr
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
    state = SurveyOutput(output, run, settings, predicted)
    if state.complete and not state.failed_before:
        say(f"{output}: complete already, {state.n_rows} galaxies; nothing to do")
        n = len(predicted.get_healpix_pixels())
        return SurveyReport(output, state.n_rows, n, n, {}, time.monotonic() - start)
    state.prepare()
    frames = needed(catalogue.catalog, spectrograph, catalogue.source, settings)
    predict = partial(predict_partition, source=catalogue.source, settings=settings)
    with Connected(client, scheduler, n_workers, say) as connected:
        n_workers = check_workers(connected, spectrograph, run, wait=client is None)
        work = _Work(connected, catalogue, frames, spectrograph, predict, state, run, say)
        n_left = len(state.pixels) - state.n_before
        say(f"{n_workers} workers ready, {n_left} of {len(state.pixels)} partitions to do")
        failed = work.run()
    state.finish(failed)
    n_rows = state.n_rows
    return SurveyReport(
        output, n_rows, len(state.pixels), state.n_before, failed, time.monotonic() - start
    )


def _describe(catalogue, spectrograph, settings, predicted):
    """Return what two starts must agree in to be the same run."""
    pixels = " ".join(name_of(pixel) for pixel in predicted.get_healpix_pixels())
    return {
        "input": catalogue.description,
        "partitions": hashlib.sha256(pixels.encode()).hexdigest()[:16],
        "weights": weights_digest(spectrograph),
        "photospec": version("photospec"),
        "dtype": spectrograph.dtype,
        "device": spectrograph.device.type,
        **{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(settings).items()},
    }


@dataclass(frozen=True)
class _Job:
    """What one task does: all of a partition, some of its rows, or the merging of those."""

    pixel: object
    first: int | None = None
    last: int | None = None
    merge: bool = False


@dataclass(frozen=True)
class _Part:
    """The rows of a partition, without images, and how they are read.

    By the task that works on them: were they a task of their own, Dask would give all pieces to
    the worker that has read them, and others would wait until they may steal one.
    """

    key: tuple
    read: Callable = field(compare=False)


class _Work:
    """All that is not done yet, task by task."""

    def __init__(self, client, catalogue, frames, spectrograph, predict, state, run, say):
        from dask.utils import ensure_dict

        self.client, self.state, self.say = client, state, say
        self.predict, self.expected = predict, (run["photospec"], run["weights"])
        # As it pickles: the scheduler unpickles tasks too, and has no use for the weights.
        self.spectrograph = spectrograph.__reduce__()
        self.parts = dict(zip(map(name_of, state.pixels), frames.to_delayed(), strict=True))
        self.metadata = {column.name: column.metadata for column in all_columns(state.settings)}
        for name in state.settings.keep:
            self.metadata[name] = catalogue.column_metadata(name)
        self.topic = f"photospec-{time.time_ns()}"
        self.graph = ensure_dict(next(iter(self.parts.values())).dask)  # one, of all partitions
        self.attempts, self.failed = {}, {}
        # Rows of pieces of a partition, in order, and how many of them are not done.
        self.pieces, self.open_pieces = {}, {}
        self.queue = self._plan(catalogue)
        total = catalogue.catalog.hc_structure.catalog_info.total_rows or 0
        self.progress = Progress(say, total, self._rows_before())

    def _plan(self, catalogue):
        """Return jobs that are left, the last one first."""
        done, jobs = self.state.done(), []
        lengths = catalogue.lengths or [[]] * len(self.state.pixels)
        # The shortest at the end, so that no worker waits long for the others then.
        partitions = zip(self.state.pixels, lengths, strict=True)
        for pixel, groups in sorted(partitions, key=lambda one: -sum(one[1])):
            if name_of(pixel) in done:
                continue
            if sum(groups) <= catalogue.partition_rows:
                jobs.append(_Job(pixel))
                continue
            rows = list(pairwise(_edges(groups, catalogue.partition_rows)))
            left = [one for one in rows if not self.state.piece(pixel, *one).is_file()]
            self.pieces[pixel], self.open_pieces[pixel] = rows, len(left)
            jobs += [_Job(pixel, *one) for one in left] or [_Job(pixel, merge=True)]
        return jobs[::-1]

    def _rows_before(self):
        import pyarrow.parquet as pq

        done = self.state.done()
        files = [self.state.file(pixel) for pixel in self.state.pixels if name_of(pixel) in done]
        for pixel, rows in self.pieces.items():
            files += [self.state.piece(pixel, *one) for one in rows]
        return sum(pq.ParquetFile(file).metadata.num_rows for file in files if file.is_file())

    def run(self):
        """Do it; reasons of partitions that failed."""
        from distributed import as_completed

        self.running, self.jobs = as_completed(), {}
        self.client.subscribe_topic(self.topic, self.progress.hear)
        try:
            self._top_up()
            while self.jobs:
                self.progress.maybe()
                try:
                    future = next(self.running)
                except StopIteration:
                    break
                self._ended(future, self.jobs.pop(future.key))
                future.release()
                self._top_up()
        finally:
            if self.client.status == "running":
                self.client.unsubscribe_topic(self.topic)
        self.progress.maybe(last=True)
        return self.failed

    def _top_up(self):
        # Counted again each time: workers may come and go, and clusters grow by what waits.
        try:
            n_workers = max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))
        except (OSError, TimeoutError):
            _lost_scheduler(self.client, self.state)
            n_workers = 1
        while self.queue and len(self.jobs) < _IN_FLIGHT * n_workers:
            self._submit(self.queue.pop())

    def _submit(self, job):
        import dask
        from dask import delayed
        from dask.optimization import cull

        state, pixel = self.state, job.pixel
        where = (state.file(pixel), pixel, state.order)
        if job.merge:
            pieces = [state.piece(pixel, *rows) for rows in self.pieces[pixel]]
            task = delayed(merge_pieces, pure=False)(pieces, *where, state.path)
        else:
            rows = None if job.first is None else slice(job.first, job.last)
            write = partial(write_partition, path=where[0], pixel=pixel, order=state.order)
            write = partial(write, metadata=self.metadata, root=state.path)
            if rows is not None:
                path = state.piece(pixel, job.first, job.last)
                write = partial(write_piece, path=path, metadata=self.metadata)
            key = self.parts[name_of(pixel)].key
            part = _Part((self.topic, key), partial(dask.get, cull(self.graph, key)[0], key))
            task = delayed(_predict_and_write, pure=False)(
                part,
                rows,
                self.spectrograph,
                self.predict,
                write,
                self.expected,
                self.topic,
            )
        future = self.client.compute(task, allow_other_workers=True, retries=0)
        self.jobs[future.key] = job
        self.running.add(future)

    def _ended(self, future, job):
        """Count what is done, and find out what becomes of what is not."""
        self.progress.ended(future.key)
        name = name_of(job.pixel)
        if future.status == "finished":
            return self._done(job, future.result() or 0)
        _lost_scheduler(self.client, self.state)
        error = future.exception() if future.status == "error" else None
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise error
        if isinstance(error, InputError) and str(error).startswith("workers:"):
            raise error
        if job.merge and name in self.state.done():  # by a worker that was given up too early
            return None
        self.attempts[job] = self.attempts.get(job, 0) + 1
        # Dask gives a task whose worker dies to four workers before that counts as one attempt:
        # workers are also killed by what has nothing to do with it.
        if self.attempts[job] < _ATTEMPTS:
            return self._submit(job)
        reason = _one_line(error)
        rows = "" if job.first is None else f", rows {job.first} to {job.last - 1},"
        self.say(f"partition {name}{rows} failed {_ATTEMPTS} times: {reason}")
        self.failed[name] = reason
        return None

    def _done(self, job, n):
        self.progress.add(n)
        if job.first is None:
            return
        self.open_pieces[job.pixel] -= 1
        if not self.open_pieces[job.pixel]:
            self.queue.append(_Job(job.pixel, merge=True))


def _edges(groups, at_most):
    """Return where pieces of at most so many rows begin and end, at row groups where they can.

    To read some rows of a row group, those before them are decoded too.
    """
    edges = [0]
    for first, n in zip(np.cumsum([0, *groups]).tolist(), groups):
        if first + n - edges[-1] > at_most and first > edges[-1]:
            edges.append(first)
        edges += range(first + at_most, first + n, at_most)
    return [*edges, sum(groups)]


@lru_cache(maxsize=1)
def _rows_of(part):
    """Read once what the next piece probably needs too."""
    return part.read()


def _predict_and_write(part, rows, spectrograph, predict, write, expected, topic):
    """Work on a partition, or some of its rows: the task that workers run."""
    read, arguments = spectrograph
    _check_this_worker(read, tuple(arguments), *expected)
    frame = _rows_of(part)
    frame = frame if rows is None else frame.iloc[rows]
    return write(predict(frame, read(*arguments), progress=_teller(topic)))


@lru_cache(maxsize=8)
def _check_this_worker(read, arguments, photospec, weights):
    """Refuse to work with another version or other weights: workers may join late."""
    from distributed import get_worker

    from photospec.survey.cluster import worker_state

    check_threads("a worker that joined", get_worker().state.nthreads)
    state = worker_state(read, arguments)
    check_state("a worker that joined", state, photospec, weights)


def _teller(topic):
    """Return function that tells the client how many rows of the task that runs here are done."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    count, last = 0, time.monotonic()

    def tell(n):
        nonlocal count, last
        count += n
        if time.monotonic() - last > _TELL:
            last = time.monotonic()
            worker.log_event(topic, [key, count])

    return tell


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
