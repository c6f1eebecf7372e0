"""Galaxies in bins of brightness, colour, redshift, type."""

from dataclasses import dataclass

import numpy as np

from photospec.evaluation.agn import BPT_LINES, above_kauffmann

__all__ = ["Group", "axes_of", "galaxy_types", "quantile_groups"]

_N_BINS = 5
#: Galaxies of which numbers are worth having.
LEAST = 8
# Equivalent width of Halpha, Angstrom, below which gas is not ionised by young stars: Cid
# Fernandes et al. 2011, MNRAS 413, 1687.
_RETIRED = 3.0


@dataclass(frozen=True, eq=False)
class Group:
    """Some of the galaxies.

    Attributes
    ----------
    label : str
    rows : ndarray of int
    middle : float
        Median of what they were grouped by; NaN for kinds.
    """

    label: str
    rows: np.ndarray
    middle: float = np.nan

    def __len__(self):
        return len(self.rows)


def quantile_groups(values, n=_N_BINS, *, digits=2):
    """Return groups of equal size by a number, `LEAST` galaxies each or fewer groups.

    Parameters
    ----------
    values : ndarray (n,)
        NaN belong to no group.
    n, digits : int

    Returns
    -------
    list of Group
    """
    values = np.asarray(values, float)
    known = values[np.isfinite(values)]
    n = max(1, min(n, len(known) // LEAST))
    if not len(known):
        return []
    edges = np.unique(np.quantile(known, np.linspace(0, 1, n + 1)))
    if len(edges) < 2:
        edges = np.array([edges[0], edges[0]])
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    groups = []
    for k in range(len(edges) - 1):
        rows = np.flatnonzero(np.isfinite(values) & (place == k))
        if len(rows):
            label = f"{edges[k]:.{digits}f} to {edges[k + 1]:.{digits}f}"
            groups.append(Group(label, rows, float(np.median(values[rows]))))
    return groups


def axes_of(comparison):
    """Return what redshifts are binned by: (label, file name, groups)."""
    z = comparison.redshift
    return (
        ("r magnitude", "magnitude", quantile_groups(comparison.table["magnitude"])),
        (f"{comparison.colour_name} (mag)", "colour", quantile_groups(comparison.table["colour"])),
        ("true redshift", "redshift", quantile_groups(z, digits=3)),
    )


def galaxy_types(comparison):
    """Return types of galaxies by the lines of the true spectra, and how they were told.

    Where simulated pairs tell the true line fluxes, of all galaxies; else of those measured.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    list of Group
    str
    """
    flux = {f"{name}_flux": comparison.line_flux(name) for name in BPT_LINES}
    if "halpha_ew" in comparison.table.colnames:
        ew = np.asarray(comparison.table["halpha_ew"], float)
    else:
        ew = comparison.truth["halpha_ew"]
    agn = above_kauffmann(flux)
    kinds = {
        "quiescent": ew <= _RETIRED,
        "star forming": (ew > _RETIRED) & ~agn,
        "composite or AGN": (ew > _RETIRED) & agn,
    }
    groups = [Group(name, np.flatnonzero(mine)) for name, mine in kinds.items() if mine.any()]
    return groups, (
        "quiescent: equivalent width of Hα up to 3 Å (Cid Fernandes et al. 2011); star forming and "
        "composite or AGN: below and above the curve of Kauffmann et al. (2003)"
    )
