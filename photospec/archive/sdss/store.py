"""The state of a download in one SQLite file: its galaxies, its files, and what is done.

SQLite commits are atomic, so a killed download finds its state as of its last commit, and
nothing of a catalogue of any size is held in memory.
"""

import csv
import json
import math
import sqlite3
import threading

from photospec.errors import InputError
from photospec.utils.files import replacing

__all__ = ["Store"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS galaxy (
    specobjid TEXT PRIMARY KEY, run INTEGER, rerun INTEGER, camcol INTEGER, field INTEGER,
    row TEXT, state TEXT DEFAULT 'pending', reason TEXT DEFAULT '');
CREATE INDEX IF NOT EXISTS by_field ON galaxy (state, run, camcol, field, rerun);
CREATE INDEX IF NOT EXISTS by_state ON galaxy (state, specobjid);
CREATE TABLE IF NOT EXISTS file (
    url TEXT PRIMARY KEY, path TEXT, size INTEGER, sha256 TEXT, date TEXT,
    n_attempts INTEGER, state TEXT, reason TEXT);
"""


def _key(specobjid):
    # Identifiers exceed SQLite's integers; zero-padded text sorts as the numbers do.
    return f"{int(specobjid):020d}"


class Store:
    """State of one download folder, safe to use from several threads.

    Parameters
    ----------
    path : Path
        SQLite file; made when it is not there.
    """

    def __init__(self, path):
        self._lock = threading.RLock()
        db = None
        try:
            db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(SCHEMA)
        except sqlite3.Error as error:
            if db is not None:
                db.close()
            raise InputError(
                f"folder: expected the state of a download in {path.name}, got {error}"
            ) from None
        self._db = db

    def close(self):
        """Close the file."""
        with self._lock:
            self._db.close()

    def get(self, key, default=None):
        """Return a value kept under a name (any JSON value)."""
        found = self._all("SELECT value FROM about WHERE key = ?", (key,))
        return json.loads(found[0][0]) if found else default

    def set(self, key, value):
        """Keep a value (any JSON value) under a name."""
        self._run("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, json.dumps(value)))

    def add_galaxies(self, rows, after=None):
        """Add a page of galaxies and, in the same commit, how far the catalogue is read.

        Parameters
        ----------
        rows : list of dict
            Galaxies with the columns of the catalogue; known ones are left as they are.
        after : int or None
            Identifier from which the catalogue goes on.
        """
        records = [
            (_key(r["specobjid"]), r["run"], r["rerun"], r["camcol"], r["field"], _json(r))
            for r in rows
        ]
        with self._lock:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT OR IGNORE INTO galaxy (specobjid, run, rerun, camcol, field, row)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                records,
            )
            if after is not None:
                self.set("catalogue_after", str(after))
            self._db.execute("COMMIT")

    def counts(self):
        """Return the number of galaxies in each state (dict)."""
        return dict(self._all("SELECT state, COUNT(*) FROM galaxy GROUP BY state"))

    def n_fields(self):
        """Return the number of fields with galaxies still to be fetched (int)."""
        return self._all(
            "SELECT COUNT(*) FROM (SELECT DISTINCT run, camcol, field, rerun FROM galaxy"
            " WHERE state = 'pending')"
        )[0][0]

    def fields(self):
        """Yield (run, rerun, camcol, field) of the fields with pending galaxies, in order."""
        last = (-1, -1, -1, -1)
        while True:
            found = self._all(
                "SELECT run, camcol, field, rerun FROM galaxy WHERE state = 'pending'"
                " AND (run, camcol, field, rerun) > (?, ?, ?, ?)"
                " ORDER BY run, camcol, field, rerun LIMIT 1",
                last,
            )
            if not found:
                return
            last = found[0]
            run, camcol, field, rerun = last
            yield run, rerun, camcol, field

    def pending(self, run, rerun, camcol, field):
        """Return the pending galaxies of one field (list of dict)."""
        found = self._all(
            "SELECT specobjid, row FROM galaxy WHERE state = 'pending'"
            " AND run = ? AND camcol = ? AND field = ? AND rerun = ?",
            (run, camcol, field, rerun),
        )
        return [_row(text) for _, text in sorted(found)]

    def galaxies(self, state):
        """Yield the galaxies in a state, in order of identifier, without holding them all."""
        last = ""
        while True:
            found = self._all(
                "SELECT specobjid, row, reason FROM galaxy WHERE state = ? AND specobjid > ?"
                " ORDER BY specobjid LIMIT 500",
                (state, last),
            )
            if not found:
                return
            for _, text, reason in found:
                yield _row(text), reason
            last = found[-1][0]

    def mark(self, outcomes):
        """Set the states of galaxies in one commit.

        Parameters
        ----------
        outcomes : iterable of (int, str, str)
            Identifier, state ('done', 'failed', 'later', 'pending'), reason.
        """
        with self._lock:
            self._db.execute("BEGIN")
            self._db.executemany(
                "UPDATE galaxy SET state = ?, reason = ? WHERE specobjid = ?",
                [(state, reason, _key(i)) for i, state, reason in outcomes],
            )
            self._db.execute("COMMIT")

    def reopen(self, *states):
        """Make the galaxies in these states pending again; returns how many."""
        marks = ", ".join("?" * len(states))
        sql = f"UPDATE galaxy SET state = 'pending' WHERE state IN ({marks})"  # noqa: S608
        with self._lock:
            return self._db.execute(sql, states).rowcount

    def add_file(self, url, path, *, state="arrived", reason="", **facts):
        """Write what is known about one file into the manifest.

        Parameters
        ----------
        url, path : str
            Address; path relative to the folder.
        state, reason : str
            'arrived', 'removed' after use, or 'failed' and why.
        **facts
            ``size``, ``sha256``, ``date``, ``n_attempts``.
        """
        values = [facts.get(name) for name in ("size", "sha256", "date", "n_attempts")]
        self._run(
            "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (url, path, *values, state, reason),
        )

    def file(self, url):
        """Return (size, sha256, state) of a file in the manifest, or None."""
        found = self._all("SELECT size, sha256, state FROM file WHERE url = ?", (url,))
        return found[0] if found else None

    def set_file_state(self, url, state):
        """Change the state of a file in the manifest."""
        self._run("UPDATE file SET state = ? WHERE url = ?", (state, url))

    def write_manifest(self, path):
        """Write the manifest as CSV: url, path, size, sha256, date, n_attempts, state, reason."""
        header = ("url", "path", "size", "sha256", "date", "n_attempts", "state", "reason")
        last = ""
        with (
            replacing(path) as partial,
            open(partial, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(header)
            while rows := self._all(
                "SELECT * FROM file WHERE url > ? ORDER BY url LIMIT 1000", (last,)
            ):
                writer.writerows(rows)
                last = rows[-1][0]

    def _all(self, sql, values=()):
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def _run(self, sql, values):
        with self._lock:
            self._db.execute(sql, values)


def _json(row):
    # JSON has no NaN; None stands for it and `_row` leaves it to the reader.
    clean = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
    return json.dumps(clean)


def _row(text):
    return json.loads(text)
