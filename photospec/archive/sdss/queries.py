"""The SQL that is sent to SkyServer. Nothing here talks to a server.

Pages of the catalogue are cut by identifier (``specObjID > last ... ORDER BY specObjID``),
not by row number: a page is then the same whenever it is asked for, so that a download that
was stopped goes on where it was, and the server reads only the page.
"""

import re

from photospec.archive.sdss.columns import ALIASES, IDENTIFIERS, PHOTOMETRY

__all__ = ["catalogue_sql", "count_sql", "fields_near_sql", "measurement_sql"]


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
    """FROM clause; a table of measurements joins in only where the selection names it."""
    text = "FROM SpecObj AS s JOIN PhotoObj AS p ON p.objID = s.bestObjID"
    for alias, table in ALIASES.items():
        if alias in wanted or re.search(rf"\b{alias}\.", where):
            text += f" JOIN {table} AS {alias} ON {alias}.specObjID = s.specObjID"
    return text
