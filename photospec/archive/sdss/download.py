"""Galaxies from the SDSS to a folder: catalogue, frames, cutouts, spectra, pairs.

The state lives in ``state.sqlite`` (see `Store`); whatever stops a download, the same call
goes on with it. Work is split by field: a thread fetches the frames of one field, cuts all
its galaxies out, fetches their spectra. A frame is so fetched once, and memory holds one
frame for each connection, however many galaxies there are.
"""

import csv
import errno
import json
import sqlite3
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from astropy.table import Table

from photospec.archive.sdss.addresses import servers
from photospec.archive.sdss.assemble import assemble
from photospec.archive.sdss.catalogue import SkyServer, check_catalogue
from photospec.archive.sdss.estimate import Estimate, estimate, require_space
from photospec.archive.sdss.fields import FieldFetcher
from photospec.archive.sdss.progress import Progress
from photospec.archive.sdss.settings import DownloadConfig
from photospec.archive.sdss.store import Store
from photospec.archive.transfer import Client
from photospec.errors import InputError

try:
    import fcntl
except ImportError:  # Windows: two downloads in one folder are not kept apart there
    fcntl = None

__all__ = ["DownloadReport", "download"]


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
    folder,
    *,
    catalogue=None,
    config=None,
    dry_run=False,
    retry_failed=False,
    progress=True,
    **settings,
):
    """Download galaxies from the SDSS and write them as pairs.

    Parameters
    ----------
    folder : path-like
        Where everything goes. A download that was stopped in it goes on.
    catalogue : Table or path-like, optional
        Galaxies to take, with the columns that `photospec.archive.sdss.columns.IDENTIFIERS`
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
        progress = Progress(pending, sys.stderr if self._verbose else None)
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
