"""The list of galaxies: columns, SQL, and the answers of SkyServer; or a user's own table.

The measurements of the MPA-JHU group (Kauffmann et al. 2003; Brinchmann et al. 2004;
Tremonti et al. 2004) come along for evaluation. They have their own tables and are asked for
one table at a time: the query travels in the address, and servers refuse addresses much
longer than 2000 characters.

Pages of the catalogue are cut by identifier (``specObjID > last ... ORDER BY specObjID``),
not by row number: a page is then the same whenever it is asked for, so that a download that
was stopped goes on where it was, and the server reads only the page.
"""

import csv
import hashlib
import io
import math
import re
import time

import requests

from photospec.archive.transfer import html_summary, is_unreachable, short_reason
from photospec.errors import InputError
from photospec.utils.optional import optional_imports

__all__ = [
    "IDENTIFIERS",
    "MEASUREMENTS",
    "PHOTOMETRY",
    "SkyServer",
    "catalogue_sql",
    "check_catalogue",
    "count_sql",
    "fields_near_sql",
    "kind_of",
    "measurement_sql",
]

#: Name of an identifier here -> (expression in SQL, kind).
IDENTIFIERS = {
    "specobjid": ("s.specObjID", "id"),
    "objid": ("p.objID", "id"),
    "plate": ("s.plate", "int"),
    "mjd": ("s.mjd", "int"),
    "fiberid": ("s.fiberID", "int"),
    "run2d": ("s.run2d", "str"),
    "run": ("p.run", "int"),
    "rerun": ("p.rerun", "int"),
    "camcol": ("p.camcol", "int"),
    "field": ("p.field", "int"),
    "ra": ("p.ra", "float"),
    "dec": ("p.dec", "float"),
    "redshift": ("s.z", "float"),
}

PHOTOMETRY = {
    "redshift_error": ("s.zErr", "float"),
    "velocity_dispersion": ("s.velDisp", "float"),
    "velocity_dispersion_error": ("s.velDispErr", "float"),
    "sn_median": ("s.snMedian", "float"),
    **{f"petro_mag_{band}": (f"p.petroMag_{band}", "float") for band in "ugriz"},
    **{f"model_mag_{band}": (f"p.modelMag_{band}", "float") for band in "ugriz"},
    **{f"extinction_{band}": (f"p.extinction_{band}", "float") for band in "ugriz"},
    "fiber_mag_r": ("p.fiberMag_r", "float"),
    "petro_r50_r": ("p.petroR50_r", "float"),
}

# fmt: off
_LINES = (
    "oii_3726", "oii_3729", "h_delta", "h_gamma", "h_beta", "oiii_4959", "oiii_5007",
    "oi_6300", "h_alpha", "nii_6548", "nii_6584", "sii_6717", "sii_6731",
)
_LICK = (
    "cn1", "cn2", "ca4227", "g4300", "fe4383", "ca4455", "fe4531", "c4668", "hb", "fe5015",
    "mg1", "mg2", "mgb", "fe5270", "fe5335", "fe5406", "fe5709", "fe5782", "nad", "tio1",
    "tio2", "hd_a", "hg_a", "hd_f", "hg_f",
)
# fmt: on
_ENDS = ("", "_err")


def _measured(alias, names, *, kind="float"):
    return {f"mpa_{name}": (f"{alias}.{name}", kind) for name in names}


# One entry for each query. Lick indices are those with emission lines taken out ("_sub");
# equivalent widths have the sign of the tables: emission is negative.
MEASUREMENTS = {
    "line fluxes": _measured("l", [f"{line}_flux{end}" for line in _LINES for end in _ENDS]),
    "equivalent widths": _measured("l", [f"{line}_eqw{end}" for line in _LINES for end in _ENDS]),
    "indices": _measured("x", ["d4000_n", "d4000_n_err", *(f"lick_{i}_sub" for i in _LICK)]),
    # best_model_z is the stellar metallicity of the best of three: 0.2, 1 or 2.5 solar.
    "index errors": _measured(
        "x", [*(f"lick_{i}_sub_err" for i in _LICK), "best_model_z", "tauv_cont"]
    ),
    "derived": _measured(
        "e", [f"{name}_p{p}" for name in ("lgm_tot", "sfr_tot", "oh") for p in (16, 50, 84)]
    )
    | _measured("e", ["bptclass"], kind="int"),
    "reliability": _measured("i", ["reliable"], kind="int"),
}

ALIASES = {"l": "galSpecLine", "x": "galSpecIndx", "e": "galSpecExtra", "i": "galSpecInfo"}


def kind_of(name):
    """Return the kind of a column ("id", "int", "float", "str"); unknown ones are "float"."""
    tables = (IDENTIFIERS, PHOTOMETRY, *MEASUREMENTS.values())
    for table in tables:
        if name in table:
            return table[name][1]
    return "float"


def catalogue_sql(config, after, n_rows):
    """Return the query for one page of galaxies.

    Parameters
    ----------
    config : DownloadConfig
        Its ``where`` is the selection.
    after : int
        Identifier (specObjID) of the last galaxy of the page before; 0 at the beginning.
    n_rows : int
        Galaxies on a page.

    Returns
    -------
    str
        SQL in the dialect of SkyServer.
    """
    columns = _select(IDENTIFIERS | PHOTOMETRY)
    return (
        f"SELECT TOP {n_rows} {columns} {_tables(config.where)}"
        f" WHERE s.specObjID > {after} AND ({config.where}) ORDER BY s.specObjID"
    )


def measurement_sql(config, columns, first, last):
    """Return the query for the measurements of one page of galaxies.

    Parameters
    ----------
    config : DownloadConfig
        Its ``where`` is the selection.
    columns : dict
        Name -> (expression, kind); all expressions begin with the alias of one table.
    first, last : int
        Range of identifiers, both included.

    Returns
    -------
    str
        SQL; galaxies that were not measured have no row.
    """
    alias = next(iter(columns.values()))[0].split(".")[0]
    return (
        f"SELECT s.specObjID AS specobjid, {_select(columns)} {_tables(config.where, alias)}"
        f" WHERE s.specObjID BETWEEN {first} AND {last} AND ({config.where})"
        " ORDER BY s.specObjID"
    )


def count_sql(config):
    """Return the query for the numbers of galaxies and of fields that they lie on."""
    return (
        "SELECT COUNT(*) AS n_galaxies, COUNT(DISTINCT p.fieldID) AS n_fields"
        f" {_tables(config.where)} WHERE {config.where}"
    )


def fields_near_sql(ra, dec, radius):
    """Return the query for the fields with primary objects near a position, nearest first.

    Parameters
    ----------
    ra, dec : float
        ICRS position, degrees.
    radius : float
        Arcminutes.

    Returns
    -------
    str
        SQL; one row for each field.
    """
    return (
        "SELECT p.run, p.rerun, p.camcol, p.field, MIN(n.distance) AS distance"  # noqa: S608
        f" FROM dbo.fGetNearbyObjEq({ra:.7f}, {dec:.7f}, {radius:g}) AS n"
        " JOIN PhotoPrimary AS p ON p.objID = n.objID"
        " GROUP BY p.run, p.rerun, p.camcol, p.field ORDER BY distance"
    )


def _select(columns):
    return ", ".join(f"{expression} AS {name}" for name, (expression, _) in columns.items())


def _tables(where, *wanted):
    """Write the FROM clause; a table of measurements joins in only where the selection names it."""
    text = "FROM SpecObj AS s JOIN PhotoObj AS p ON p.objID = s.bestObjID"
    for alias, table in ALIASES.items():
        if alias in wanted or re.search(rf"\b{alias}\.", where):
            text += f" JOIN {table} AS {alias} ON {alias}.specObjID = s.specObjID"
    return text


MISSING = ("", "null", "nan", "none")


class SkyServer:
    """Sends queries one at a time, slowly enough, and again when they fail.

    Parameters
    ----------
    config : DownloadConfig
        Release, limits, time-outs.
    sleep : callable
        Waits so many seconds; raises to interrupt.
    """

    def __init__(self, config, sleep=time.sleep):
        self.config = config
        self._sleep = sleep
        self._next = 0.0
        self._reached = False
        self._down_since = None

    def rows(self, sql, columns):
        """Send one query.

        Parameters
        ----------
        sql : str
            Query in the dialect of SkyServer.
        columns : dict
            Name -> kind ("id", "int", "float", "str") of the columns expected back.

        Returns
        -------
        list of dict
            One for each row; None or NaN where the server has nothing.

        Raises
        ------
        InputError
            The server refuses the query, or does not answer with a table.
        """
        config, seen, reason, n_failed = self.config, set(), "", 0
        while n_failed < config.n_attempts:
            try:
                text = self._ask(sql)
                rows = _parse(text, columns)
            except _NotATable as error:
                reason = str(error)
            except requests.RequestException as error:
                reason = short_reason(error)
                if is_unreachable(error):
                    self._outage(reason)
                    continue
            else:
                self._down_since = None
                # No checksum to verify against: accept a page once two answers are the same.
                digest = hashlib.sha256(text.encode()).hexdigest()
                if not config.confirm or digest in seen:
                    self._reached = True
                    return rows
                seen.add(digest)
                if len(seen) == 1:
                    continue
                reason = "two answers to the same query differ"
            n_failed += 1
            if n_failed < config.n_attempts:
                self._sleep(min(config.backoff * 2.0 ** (n_failed - 1), config.max_backoff))
        raise InputError(f"catalogue: expected a table from SkyServer, got {reason}")

    def _outage(self, reason):
        """Wait when the network went away in the middle; give up at once when it never was."""
        now = time.monotonic()
        self._down_since = self._down_since or now
        down = now - self._down_since
        if not self._reached or down > self.config.max_outage:
            raise InputError(
                f"network: expected to reach SkyServer, got {reason}; no network, a wrong"
                " address, or the server is down"
            )
        self._sleep(min(max(self.config.backoff, down), self.config.max_backoff))

    def count(self):
        """Return the numbers of galaxies and of fields that the selection holds (int, int)."""
        row = self.rows(count_sql(self.config), {"n_galaxies": "int", "n_fields": "int"})[0]
        return row["n_galaxies"], row["n_fields"]

    def page(self, after, n_rows):
        """Return the next page of the catalogue with its measurements joined by identifier.

        Parameters
        ----------
        after : int
            Identifier of the last galaxy before the page.
        n_rows : int
            Galaxies on a page.

        Returns
        -------
        list of dict
            Galaxies in order of their identifier; empty at the end.
        """
        columns = {name: kind_of(name) for name in (*IDENTIFIERS, *PHOTOMETRY)}
        page = self.rows(catalogue_sql(self.config, after, n_rows), columns)
        if not page:
            return page
        by_id = {row["specobjid"]: row for row in page}
        first, last = min(by_id), max(by_id)
        for group in MEASUREMENTS.values():
            kinds = {"specobjid": "id"} | {name: kind for name, (_, kind) in group.items()}
            missing = {name: None if kind == "int" else math.nan for name, kind in kinds.items()}
            for row in page:
                row.update({name: value for name, value in missing.items() if name not in row})
            for row in self.rows(measurement_sql(self.config, group, first, last), kinds):
                if row["specobjid"] in by_id:
                    by_id[row["specobjid"]].update(row)
        return page

    def _ask(self, sql):
        """Return the text of one answer, keeping to the number of queries per minute."""
        with optional_imports():
            from astroquery.sdss import SDSS

        wait = self._next - time.monotonic()
        if wait > 0:
            self._sleep(wait)
        self._next = time.monotonic() + 60.0 / self.config.queries_per_minute
        response = SDSS.query_sql_async(
            sql,
            timeout=(self.config.connect_timeout, self.config.query_timeout),
            data_release=self.config.release,
            cache=False,
        )
        text = response.text
        if response.status_code >= 400 and "error_message" not in text:
            page = html_summary(text)
            raise _NotATable(f"HTTP {response.status_code}" + (f" ({page})" if page else ""))
        return text


class _NotATable(Exception):
    """An answer that may be a table when asked for again."""


def check_catalogue(table):
    """Check a list of galaxies that a user gives and return its rows.

    Parameters
    ----------
    table : Table
        At least the columns of `photospec.archive.sdss.IDENTIFIERS` but ``objid``.

    Yields
    ------
    dict
        One galaxy.

    Raises
    ------
    InputError
        Columns are missing, there are no rows, or identifiers or positions are impossible.
    """
    lower = {name.lower(): name for name in table.colnames}
    wanted = [name for name in IDENTIFIERS if name != "objid"]
    missing = [name for name in wanted if name not in lower]
    if missing:
        raise InputError(
            f"catalogue: expected the columns {', '.join(wanted)}, got none named"
            f" {', '.join(missing)}; query SkyServer for them, or leave the catalogue out"
        )
    if len(table) == 0:
        raise InputError("catalogue: expected at least one galaxy, got a table without rows")
    ids = set()
    for i, source in enumerate(table):
        row = {}
        for name, original in lower.items():
            try:
                row[name] = _value(str(source[original]).strip(), kind_of(name))
            except ValueError:
                raise InputError(
                    f"catalogue: expected a number ({kind_of(name)}) in column {original}, got"
                    f" {source[original]!r} in row {i}"
                ) from None
        if any(row[name] is None for name in wanted):
            raise InputError(f"catalogue: row {i} has an empty identifier")
        if not (0 <= row["ra"] <= 360 and -90 <= row["dec"] <= 90):
            raise InputError(
                f"catalogue: expected ra in 0..360 and dec in -90..90 degrees, got"
                f" {row['ra']}, {row['dec']} in row {i}"
            )
        if row["specobjid"] in ids:
            raise InputError(f"catalogue: specobjid {row['specobjid']} is there twice (row {i})")
        ids.add(row["specobjid"])
        yield row


def _parse(text, columns):
    """Read the CSV that SkyServer sends; identifiers stay whole (they exceed a double)."""
    if "error_message" in text or text.lstrip().lower().startswith("error"):
        raise InputError(f"where: SkyServer refuses the query: {' '.join(text.split())[:160]}")
    page = html_summary(text[:4096])
    if page:
        raise _NotATable(f"an HTML page ({page})")
    lines = [line for line in io.StringIO(text, newline="") if not line.startswith("#")]
    if not lines:
        raise _NotATable("an empty answer")
    if not lines[-1].endswith("\n"):
        raise _NotATable("a truncated answer")
    reader = csv.reader(lines)
    header = [name.strip().lower() for name in next(reader)]
    if any(name not in header for name in columns):
        absent = [name for name in columns if name not in header]
        raise _NotATable(f"a table without {', '.join(absent[:5])}")
    rows = []
    for fields in reader:
        if not fields:
            continue
        if len(fields) != len(header):
            raise _NotATable("a damaged table")
        record = dict(zip(header, fields))
        try:
            rows.append({name: _value(record[name], kind) for name, kind in columns.items()})
        except ValueError:
            raise _NotATable("a damaged table") from None
    return rows


def _value(text, kind):
    empty = text.strip().lower() in MISSING or text == "--"
    if kind == "str":
        return None if empty else text.strip()
    if kind == "float":
        return math.nan if empty else float(text)
    return None if empty else int(text)
