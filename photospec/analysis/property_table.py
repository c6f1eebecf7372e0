"""Columns of the property table and how rows become it."""

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked

from photospec.analysis.emission.model import GROUPS
from photospec.analysis.indices.definitions import INDICES, LICK
from photospec.lines import LINES
from photospec.spectrum import FLUX_UNIT

__all__ = [
    "COLUMNS",
    "INDEX_COLUMNS",
    "LINE_RATIOS",
    "POPULATION_COLUMNS",
    "assemble",
    "masked_column",
]

_INDEX_UNITS = {"angstrom": u.AA, "mag": u.mag, "break": None}

#: Column name -> Index.
INDEX_COLUMNS = {"dn4000": INDICES["dn4000"], **{f"lick_{name}": INDICES[name] for name in LICK}}
#: Columns that the population fit measures -> unit.
POPULATION_COLUMNS = {
    "age_light_weighted": u.Gyr,
    "age_mass_weighted": u.Gyr,
    "metallicity_light_weighted": u.dex,
    "metallicity_mass_weighted": u.dex,
    "ebv": u.mag,
    "velocity_dispersion": u.km / u.s,
}
#: Emission lines measured, by wavelength.
LINE_NAMES = tuple(
    sorted((n for g in GROUPS for n in g.names), key=lambda name: LINES[name].wavelength)
)
#: Columns of line ratios -> lines above and below the bar.
LINE_RATIOS = {
    "log_nii_ha": ("nii_6584", "halpha"),
    "log_oiii_hb": ("oiii_5007", "hbeta"),
    "log_sii_ha": (("sii_6716", "sii_6731"), "halpha"),
    "log_oi_ha": ("oi_6300", "halpha"),
}
#: Every measured number, in order -> unit or None; each has a column of errors too.
COLUMNS = {
    "redshift": None,
    **POPULATION_COLUMNS,
    **{name: _INDEX_UNITS[index.kind] for name, index in INDEX_COLUMNS.items()},
    **{f"{name}_flux": FLUX_UNIT * u.AA for name in LINE_NAMES},
    **{f"{name}_ew": u.AA for name in LINE_NAMES},
    **dict.fromkeys(LINE_RATIOS, u.dex),
}


def assemble(rows, options):
    """Table from rows of ``{column: (value, error)}`` and flags.

    Parameters
    ----------
    rows : list of dict
    options : Options
        Goes into ``meta``.

    Returns
    -------
    astropy.table.QTable
    """
    table = QTable()
    nothing = (np.nan, np.nan)
    for name, unit in COLUMNS.items():
        pairs = np.array([row.get(name, nothing) for row in rows], float).reshape(-1, 2)
        value, error = pairs.T
        error = np.where(np.isfinite(value) & (error >= 0), error, np.nan)
        table[name] = masked_column(value, unit)
        table[f"{name}_error"] = masked_column(error, unit)
    classes = [row.get("bpt_class", "") for row in rows]
    table["bpt_class"] = MaskedColumn(classes, mask=[not name for name in classes], dtype="U12")
    table["flags"] = ["; ".join(row["flags"]) for row in rows]
    for name in table.colnames:
        if table[name].dtype.kind == "f":
            table[name].info.format = ".6f" if name.startswith("redshift") else ".5g"
    table.meta["redshift_range"] = list(options.redshift_range)
    table.meta["templates"] = str(options.templates)
    return table


def masked_column(values, unit):
    """Column of a table, masked where values are not finite.

    Parameters
    ----------
    values : ndarray (n,)
    unit : Unit or None

    Returns
    -------
    Masked Quantity, or MaskedColumn if there is no unit
    """
    mask = ~np.isfinite(values)
    values = np.where(mask, np.nan, values)
    if unit is None:
        return MaskedColumn(values, mask=mask)
    return Masked(values * unit, mask=mask)
