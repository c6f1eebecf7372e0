"""Run a survey so that it survives: partitions written whole, killed workers, second starts.

LSDB's ``to_hats(resume=True)`` knows which partitions of an output are done, from a marker and a
histogram per partition, and finishes the catalogue. The loop over partitions is our own, because
there one partition that fails ends the run, a file half written by a killed process is found only
by its missing marker, and nobody knows how many galaxies are done.
"""

import errno
import hashlib
import os
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

from photospec.errors import InputError
from photospec.survey.cluster import Connected, check_workers, weights_digest
from photospec.survey.columns import all_columns
from photospec.survey.output import SurveyOutput, name_of, write_partition

__all__ = ["SurveyReport", "run_survey"]

_ATTEMPTS = 3  # of a partition: two failures may be a machine's, three are the partition's
# Partitions in flight per worker: one that runs, one that waits.
_IN_FLIGHT = 2


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
    state = SurveyOutput(output, run, settings, predicted)
    if state.complete and not state.failed_before:
        say(f"{output}: complete already, {state.n_rows} galaxies; nothing to do")
        n = len(predicted.get_healpix_pixels())
        return SurveyReport(output, state.n_rows, n, n, {}, time.monotonic() - start)
    state.prepare()
    with Connected(client, scheduler, n_workers, say) as connected:
        n_workers = check_workers(connected, spectrograph, run)
        n_left = len(state.pixels) - state.n_before
        say(f"{n_workers} workers ready, {n_left} of {len(state.pixels)} partitions to do")
        total = catalogue.catalog.hc_structure.catalog_info.total_rows or 0
        failed = _work(connected, predicted, state, settings, total, say)
    state.finish(failed)
    n_rows = state.n_rows
    return SurveyReport(
        output, n_rows, len(state.pixels), state.n_before, failed, time.monotonic() - start
    )


def _to_stderr(line):
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress of a long run


def _describe(catalogue, spectrograph, settings, predicted):
    """What two starts must agree in to be the same run."""
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


def _work(client, predicted, state, settings, total, say):
    """Run all partitions that are not done; reasons of those that failed."""
    from distributed import as_completed

    done = state.done()
    parts = dict(zip(map(name_of, state.pixels), predicted.to_delayed(), strict=True))
    waiting = [pixel for pixel in state.pixels if name_of(pixel) not in done]
    shown = _Progress(say, total, len(state.pixels), len(done), state)
    metadata = {column.name: column.metadata for column in all_columns(settings)}
    attempts, failed, running = {}, {}, as_completed()
    queue = list(reversed(waiting))

    def submit(pixel):
        from dask import delayed

        task = delayed(write_partition, pure=False)(
            parts[name_of(pixel)], state.file(pixel), pixel, state.order, metadata, state.path
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
            # Dask gives a partition whose worker dies to four workers before that counts as one
            # attempt: workers are also killed by what has nothing to do with it.
            if attempts[pixel] < _ATTEMPTS:
                submit(pixel)
                continue
            failed[name_of(pixel)] = reason
            say(f"partition {name_of(pixel)} failed {_ATTEMPTS} times: {reason}")
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
                if name_of(pixel) in done and state.file(pixel).is_file():
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
