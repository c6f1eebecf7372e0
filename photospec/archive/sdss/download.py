"""Galaxies from the SDSS to a folder: catalogue, frames, cutouts, spectra, pairs.

The state lives in ``state.sqlite`` (see `Store`); whatever stops a download, the same call
goes on with it. Work is split by field: a thread fetches the frames of one field, cuts all
its galaxies out, fetches their spectra. A frame is so fetched once, and memory holds one
frame for each connection, however many galaxies there are.
"""

import csv
import errno
import json
import shutil
import sqlite3
import sys
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from astropy.table import Table

from photospec.archive.sdss.addresses import servers
from photospec.archive.sdss.assemble import assemble
from photospec.archive.sdss.catalogue import SkyServer, check_catalogue
from photospec.archive.sdss.fields import FieldFetcher
from photospec.archive.sdss.settings import DownloadConfig
from photospec.archive.sdss.store import Store
from photospec.archive.transfer import Client
from photospec.errors import InputError
from photospec.utils.optional import optional_imports

try:
    import fcntl
except ImportError:  # Windows: two downloads in one folder are not kept apart there
    fcntl = None

__all__ = ["DownloadProgress", "DownloadReport", "Estimate", "download", "estimate"]

# Typical sizes on the server (frames of runs 1043 and 1992: 3.2 to 3.8 MB).
FRAME = 3.6e6  # bytes
SPECTRUM = 1.8e5  # bytes, the "lite" file
CATALOGUE_ROW = 6e3  # a galaxy with all its measurements in the state file


@dataclass(frozen=True)
class Estimate:
    """Cost of a download.

    Attributes
    ----------
    n_galaxies, n_fields, n_requests : int
        What is fetched.
    transfer : float
        Bytes over the network.
    disk : float
        Bytes on disk at the end, and at the most while it runs.
    free : float
        Bytes free on that disk now.
    seconds : float
        Duration, from `DownloadConfig.expected_rate` and the limit on requests.
    """

    n_galaxies: int
    n_fields: int
    n_requests: int
    transfer: float
    disk: float
    free: float
    seconds: float

    def __str__(self):
        return "\n".join(
            (
                f"galaxies          {self.n_galaxies}",
                f"fields            {self.n_fields}",
                f"requests          {self.n_requests}",
                f"transfer          {volume(self.transfer)}",
                f"disk              {volume(self.disk)} (free now: {volume(self.free)})",
                f"time              about {clock(self.seconds)}",
            )
        )


def estimate(config, folder, n_galaxies, n_fields):
    """Estimate the cost of a download.

    Parameters
    ----------
    config : DownloadConfig
        Settings.
    folder : Path
        Where it goes; the nearest existing folder above counts.
    n_galaxies, n_fields : int
        Galaxies, and fields that they lie on.

    Returns
    -------
    Estimate
        Sizes in bytes, time in seconds.
    """
    n_bands = len(config.bands)
    frames, spectra = n_fields * n_bands, n_galaxies * (2 if config.confirm else 1)
    transfer = frames * FRAME + spectra * SPECTRUM
    pixels = n_bands * config.size**2
    cutout = 9 * pixels + 15 * 2880
    pair = 4 * pixels + 8 * 4500 + 2000
    kept = frames if config.keep_frames else min(frames, config.n_connections * n_bands)
    disk = n_galaxies * (SPECTRUM + cutout + pair + CATALOGUE_ROW) + kept * FRAME
    seconds = max(transfer / config.expected_rate, (frames + spectra) / config.requests_per_second)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return Estimate(n_galaxies, n_fields, frames + spectra, transfer, disk, free, seconds)


def require_space(cost, folder):
    """Raise `InputError` when the disk has less room than a download needs."""
    if cost.disk > cost.free:
        raise InputError(
            f"folder: expected {volume(cost.disk)} of free space in {folder}, got"
            f" {volume(cost.free)}; take another disk, or fewer galaxies with `limit`"
        )


def clock(seconds):
    """Return a duration as text, such as '2 d 03:04:05'."""
    seconds = round(seconds)
    days, seconds = divmod(seconds, 86400)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{days} d {text}" if days else text


def volume(n_bytes):
    """Return a number of bytes as text, such as '3.4 GB' (decimal)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(n_bytes) < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


class DownloadProgress:
    """Prints one line now and then; on a terminal it is rewritten in place.

    Parameters
    ----------
    total : int
        Galaxies to do.
    stream : file, optional
        Where to print, such as standard error; None for silence.
    """

    def __init__(self, total, stream=None):
        self.total = total
        self.done = 0
        self.failed = 0
        self._stream = stream
        self._live = stream is not None and stream.isatty()
        self._every = 1.0 if self._live else 60.0
        self._started = self._printed = time.monotonic()
        # The rate is that of the last ten minutes: a week has faster and slower hours.
        self._history = deque([(self._started, 0, 0)])

    def update(self, done, failed, n_bytes):
        """Count galaxies that are finished and print when it is time.

        Parameters
        ----------
        done, failed : int
            Galaxies finished well and badly since the last call.
        n_bytes : int
            Bytes received so far.
        """
        self.done += done
        self.failed += failed
        now = time.monotonic()
        self._history.append((now, self.done + self.failed, n_bytes))
        while len(self._history) > 2 and now - self._history[0][0] > 600:
            self._history.popleft()
        if self._stream is not None and now - self._printed >= self._every:
            self._printed = now
            self._print(self.line())

    def rates(self):
        """Return galaxies and bytes per second (float, float)."""
        (t0, n0, b0), (t1, n1, b1) = self._history[0], self._history[-1]
        span = max(t1 - t0, 1e-3)
        return (n1 - n0) / span, (b1 - b0) / span

    def line(self):
        """Return the line that is printed (str)."""
        galaxies, n_bytes = self.rates()
        finished = self.done + self.failed
        left = clock((self.total - finished) / galaxies) if galaxies > 0 else "unknown"
        return (
            f"{finished} of {self.total} galaxies ({100 * finished / max(self.total, 1):.1f} %),"
            f" {self.failed} failed, {galaxies:.2f}/s, {volume(n_bytes)}/s, {left} left"
        )

    def note(self, text):
        """Print one line of its own."""
        if self._stream is not None:
            self._print(text + "\n" if self._live else text)

    def close(self):
        """Print the last line."""
        if self._stream is not None and self.done + self.failed:
            self._print(self.line() + ("\n" if self._live else ""))

    def _print(self, text):
        self._stream.write(f"\r\033[K{text}" if self._live else text + "\n")
        self._stream.flush()


@dataclass(frozen=True)
class DownloadReport:
    """What became of a download.

    Attributes
    ----------
    folder : Path
        Where everything is.
    pairs : Path or None
        The pairs file; None after a dry run.
    n_galaxies, n_done, n_failed : int
        In the catalogue, with image and spectrum, given up.
    failures : dict
        Reason -> number of galaxies; the first twenty reasons.
    estimate : Estimate
        What it was expected to cost.
    """

    folder: Path
    pairs: Path | None
    n_galaxies: int
    n_done: int
    n_failed: int
    failures: dict
    estimate: Estimate

    def __str__(self):
        if self.pairs is None:
            return str(self.estimate)
        lines = [f"{self.n_done} of {self.n_galaxies} galaxies in {self.pairs}"]
        lines += [f"  {number} failed: {reason}" for reason, number in self.failures.items()]
        return "\n".join(lines)


def download(
    folder: str | PathLike,
    *,
    catalogue: Table | str | PathLike | None = None,
    config: DownloadConfig | None = None,
    dry_run: bool = False,
    retry_failed: bool = False,
    progress: bool = True,
    **settings: object,
) -> DownloadReport:
    """Download galaxies from the SDSS and write them as pairs.

    Parameters
    ----------
    folder : path-like
        Where everything goes. A download that was stopped in it goes on.
    catalogue : Table or path-like, optional
        Galaxies to take, with the columns that `photospec.archive.sdss.IDENTIFIERS`
        names (or a file of such a table); by default SkyServer is asked for those that
        ``where`` selects.
    config : DownloadConfig, optional
        All settings.
    dry_run : bool
        Only ask how many galaxies there are and estimate disk and time.
    retry_failed : bool
        Try galaxies again that an earlier run gave up for good (no such file on the server,
        on the edge of a frame).
    progress : bool
        Print progress on standard error.
    **settings
        Single settings, on top of `config`.

    Returns
    -------
    DownloadReport
        Numbers of galaxies; the pairs are in ``folder / "pairs.h5"``.

    Raises
    ------
    InputError
        Nothing is selected, settings differ from those the folder was begun with, the disk
        is too small or full, the network is not there, or SkyServer refuses the query.
    """
    config = (config or DownloadConfig()).replace(**settings)
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"folder: expected a folder, got the file {folder}")
    rows = None
    if catalogue is not None:
        rows = list(check_catalogue(_table(catalogue)))[: config.limit or None]
    with servers(config):
        if dry_run:
            return _dry_run(folder, rows, config)
        with _opened(folder, config) as store:
            try:
                return _Download(folder, config, store, progress).run(rows, retry_failed)
            except (OSError, sqlite3.OperationalError) as error:
                if _is_full(error):
                    raise InputError(
                        f"folder: no space left in {folder}; free some on that disk and run the"
                        " same command again to go on"
                    ) from None
                raise


class _Download:
    """One run over a folder."""

    def __init__(self, folder, config, store, progress):
        self.folder, self.config, self.store = folder, config, store
        self.client = Client(config, folder / "quarantine")
        self.fetch = FieldFetcher(config, folder, self.client, store)
        self._verbose = progress

    def run(self, rows, retry_failed):
        if not self.store.get("catalogue_complete", False):
            self._reach()
            if rows is None:
                self._query_catalogue()
            else:
                self.store.add_galaxies(rows)
            self.store.set("catalogue_complete", True)
        counts = self.store.counts()
        n_galaxies = sum(counts.values())
        # What failed for good stays so; what was put off, or was in flight, is tried again.
        self.store.reopen("later", *(["failed"] if retry_failed else []))
        pending = self.store.counts().get("pending", 0)
        cost = estimate(self.config, self.folder, pending, self.store.n_fields())
        require_space(cost, self.folder)
        progress = DownloadProgress(pending, sys.stderr if self._verbose else None)
        if pending:
            self._reach()
            self._fetch_all(progress)
        self.store.write_manifest(self.folder / "manifest.csv")
        failures = self._write_failures()
        pairs = assemble(self.folder, self.config, self.store, note=progress.note)
        counts = self.store.counts()
        progress.close()
        done = counts.get("done", 0)
        return DownloadReport(
            self.folder, pairs, n_galaxies, done, n_galaxies - done, failures, cost
        )

    def _reach(self):
        """Say at once when there is no network, before a week of attempts."""
        with optional_imports():
            from astroquery.sdss import conf

        self.client.reach(conf.sas_baseurl)

    def _query_catalogue(self):
        """Read page after page until the server has as many galaxies as it said."""
        server = SkyServer(self.config, self.client.sleep)
        expected = self.store.get("n_expected")
        if expected is None:
            expected, n_fields = server.count()
            _require_galaxies(expected)
            expected = min(expected, self.config.limit or expected)
            require_space(estimate(self.config, self.folder, expected, n_fields), self.folder)
            self.store.set("n_expected", expected)
        after = int(self.store.get("catalogue_after", "0"))
        have = sum(self.store.counts().values())
        while have < expected:
            page = server.page(after, min(self.config.page_size, expected - have))
            if not page:
                raise InputError(
                    f"catalogue: expected {expected} galaxies, got {have}; the server changed"
                    " while it was read: start in a new folder"
                )
            after = page[-1]["specobjid"]
            self.store.add_galaxies(page, after)
            have += len(page)

    def _fetch_all(self, progress):
        """Work through the fields; those put off come again in the next round."""
        for i in range(self.config.n_passes):
            self._fetch_round(progress)
            n_later = self.store.counts().get("later", 0)
            if not n_later:
                return
            if i + 1 < self.config.n_passes:
                progress.note(f"{n_later} galaxies were put off and are tried again")
                self.client.sleep(self.config.pass_pause)
                self.store.reopen("later")

    def _fetch_round(self, progress):
        pool = ThreadPoolExecutor(self.config.n_connections)
        running = {}
        try:
            for field in self.store.fields():
                running[pool.submit(self.fetch, *field)] = field
                # Only as many fields are read ahead as keep the threads busy.
                if len(running) >= self.config.n_connections + 2:
                    self._collect(running, progress)
            while running:
                self._collect(running, progress)
        finally:
            self.client.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            self.client.stop.clear()

    def _collect(self, running, progress):
        finished, _ = wait(running, timeout=5.0, return_when=FIRST_COMPLETED)
        for future in finished:
            field = running.pop(future)
            outcomes = future.result()
            self.store.mark(outcomes)
            states = [state for _, state, _ in outcomes]
            if "later" not in states:
                self.fetch.clear(*field)
            progress.update(states.count("done"), states.count("failed"), self.client.n_bytes)
        if not finished:
            progress.update(0, 0, self.client.n_bytes)

    def _write_failures(self):
        """Write failures.csv; returns how often each reason occurs."""
        counts = {}
        with open(self.folder / "failures.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["specobjid", "ra", "dec", "state", "reason"])
            for state in ("failed", "later"):
                for row, reason in self.store.galaxies(state):
                    writer.writerow([row["specobjid"], row["ra"], row["dec"], state, reason])
                    if reason in counts or len(counts) < 20:
                        counts[reason] = counts.get(reason, 0) + 1
        return counts


def _dry_run(folder, rows, config):
    if rows is not None:
        places = {(r["run"], r["rerun"], r["camcol"], r["field"]) for r in rows}
        n_galaxies, n_fields = len(rows), len(places)
    else:
        with optional_imports():
            from astroquery.sdss import conf

        Client(config).reach(conf.skyserver_baseurl)
        n_galaxies, n_fields = SkyServer(config).count()
        _require_galaxies(n_galaxies)
        if config.limit and config.limit < n_galaxies:
            n_galaxies, n_fields = config.limit, min(n_fields, config.limit)
    cost = estimate(config, folder, n_galaxies, n_fields)
    return DownloadReport(folder, None, n_galaxies, 0, 0, {}, cost)


@contextmanager
def _opened(folder, config):
    """Open the state of a folder, held against a second download in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"folder: another download is running in {folder}") from None
        store = Store(folder / "state.sqlite")
        try:
            _same_settings(store, folder, config)
            yield store
        finally:
            store.close()


def _same_settings(store, folder, config):
    begun, now = store.get("settings"), config.identity()
    if begun is None:
        store.set("settings", now)
        store.set("begun", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    elif begun != now:
        name = next(key for key in now if begun.get(key) != now[key])
        raise InputError(
            f"{name}: expected {json.dumps(begun.get(name))} as when {folder} was begun, got"
            f" {json.dumps(now[name])}; take another folder for other settings"
        )


def _is_full(error):
    if isinstance(error, sqlite3.OperationalError):
        return "full" in str(error)
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _require_galaxies(n_galaxies):
    if n_galaxies == 0:
        raise InputError(
            "where: expected a selection with galaxies in it, got none; is a condition too"
            " narrow, or off the SDSS footprint?"
        )


def _table(catalogue):
    if isinstance(catalogue, Table):
        return catalogue
    try:
        return Table.read(catalogue)
    except Exception as error:  # readers of astropy fail in many ways
        raise InputError(
            f"catalogue: expected a table that astropy reads, got {catalogue}"
            f" ({' '.join(str(error).split())[:80]})"
        ) from None
