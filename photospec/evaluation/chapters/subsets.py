"""The main numbers, of subsets by any column of the pairs."""

import numpy as np

from photospec.errors import InputError
from photospec.evaluation.chapters.bins import Group, quantile_groups
from photospec.evaluation.parts import Chapter
from photospec.evaluation.redshift import outlier_fraction, sigma_mad
from photospec.evaluation.value import Section, Value, bootstrap

__all__ = ["chapter", "groups_of_column"]

# More values than these are put into bins.
_MOST_KINDS = 12


def groups_of_column(table, name):
    """Return groups by a column: its values where they are few, else five bins of equal numbers.

    Parameters
    ----------
    table : astropy.table.Table
    name : str

    Returns
    -------
    list of Group

    Raises
    ------
    InputError
        No such column, or text of too many values.
    """
    if name not in table.colnames:
        raise InputError(
            f"subsets: expected columns of the pairs, {', '.join(table.colnames[:12])} ..., got "
            f"{name!r}"
        )
    column = np.ma.asarray(table[name])
    known = ~np.ma.getmaskarray(column)
    values = np.ma.getdata(column)
    kinds = np.unique(values[known])
    if values.dtype.kind in "f" and len(kinds) > _MOST_KINDS:
        return quantile_groups(np.where(known, values, np.nan), digits=3)
    if len(kinds) > _MOST_KINDS:
        if values.dtype.kind in "iu":
            return quantile_groups(np.where(known, values.astype(float), np.nan), digits=0)
        raise InputError(
            f"subsets: expected a column of numbers, or of {_MOST_KINDS} kinds at most, got "
            f"{name!r} with {len(kinds)}"
        )
    return [Group(str(kind), np.flatnonzero(known & (values == kind))) for kind in kinds]


def chapter(comparison, names):
    """Return the chapter on subsets, a `Chapter`.

    Parameters
    ----------
    comparison : Comparison
    names : sequence of str
        Columns.
    """
    z, parts = comparison.redshift, []
    answers = [a for a in comparison.answers if a.main]
    for name in names:
        rows = []
        for group in groups_of_column(comparison.table, name):
            row = {name: group.label, "galaxies": len(group)}
            for answer in answers:
                row |= _numbers(answer, z, group.rows)
            rows.append(row)
        parts.append(
            Section(
                f"subset_{name}",
                f"By {name}",
                rows,
                "sigma_mad and outliers of the redshift; error per pixel of the spectrum (%), of "
                "answers that have one.",
            )
        )
    return Chapter("subsets", "Subsets", "The main numbers by columns of the pairs.", parts)


def _numbers(answer, z, rows):
    redshift = answer.redshift[rows]
    good = np.isfinite(redshift)
    none = Value(np.nan, np.nan)
    pair = redshift[good], z[rows][good]
    options = {"n_bootstrap": 100}
    row = {
        f"sigma_mad, {answer.name}": bootstrap(sigma_mad, *pair, **options) if good.any() else none,
        f"outliers, {answer.name}": bootstrap(outlier_fraction, *pair, **options)
        if good.any()
        else none,
    }
    if answer.errors is not None:
        error = answer.errors["all"][rows]
        error = error[np.isfinite(error)]
        row[f"error (%), {answer.name}"] = bootstrap(np.median, 100 * error, **options)
    return row
