"""Properties of predicted spectra against those of the true noiseless ones."""

import numpy as np

from photospec.evaluation.spectra import line_errors, spearman
from photospec.evaluation.value import Value, bootstrap
from photospec.utils.stats import robust_std

__all__ = ["PROPERTIES", "line_rows", "property_rows"]

#: Quantity as measured -> name in the tables, and what is compared.
PROPERTIES = {
    "dn4000": ("Dn4000", None),
    "age_light_weighted": ("light-weighted age (dex)", "log"),
    "metallicity_light_weighted": ("metallicity (dex)", None),
    "ebv": ("E(B-V) (mag)", None),
    "velocity_dispersion": ("velocity dispersion (dex)", "log"),
    "halpha_ew": ("Hα equivalent width (asinh)", "asinh"),
}
_LINES = ("halpha", "hbeta", "oiii_5007", "nii_6584")
_NAMES = {"halpha": "Hα", "hbeta": "Hβ", "oiii_5007": "[O III] 5007", "nii_6584": "[N II] 6584"}


def comparable(name, values):
    """Return values of a quantity on the scale on which they are compared.

    Parameters
    ----------
    name : str
        Key of `PROPERTIES`.
    values : array_like

    Returns
    -------
    ndarray
        NaN where a logarithm does not exist.
    """
    values, scale = np.asarray(values, float), PROPERTIES[name][1]
    if scale == "log":
        return np.log10(np.where(values > 0, values, np.nan))
    return np.arcsinh(values) if scale == "asinh" else values


def median_of_set(measured):
    """Return medians (n,) over candidates (n, m) of all quantities; of those that were measured."""
    found = {}
    for name, values in measured.items():
        usable = np.isfinite(values).any(axis=1)
        found[name] = np.full(len(values), np.nan)
        found[name][usable] = np.nanmedian(values[usable], axis=1)
    return found


def _scatter(difference):
    difference = difference[np.isfinite(difference)]
    if difference.size < 3:
        return Value(np.nan, np.nan)
    return bootstrap(robust_std, difference)


def property_rows(estimates, truth):
    """Return two tables: Spearman correlation with the truth, and scatter about it.

    Parameters
    ----------
    estimates : dict of str to dict of ndarray (n,)
        Estimator -> quantity -> values.
    truth : dict of ndarray (n,)

    Returns
    -------
    correlation, scatter : list of dict
        One row per quantity, one column per estimator.
    """
    correlation, scatter = [], []
    for name, (label, _) in PROPERTIES.items():
        true = comparable(name, truth[name])
        values = {e: comparable(name, v[name]) for e, v in estimates.items() if name in v}
        correlation.append({"quantity": label} | {e: spearman(v, true) for e, v in values.items()})
        scatter.append(
            {"quantity": label}
            | {e: _scatter(v - true) for e, v in values.items()}
            | {"truth": _scatter(true)}
        )
    return correlation, scatter


def line_rows(estimates, truth):
    """Return a table of relative errors of line flux and width.

    Parameters
    ----------
    estimates : dict of str to dict of ndarray (n,)
    truth : dict of ndarray (n,)

    Returns
    -------
    list of dict
        Median abs(predicted / true - 1) where the true line has an equivalent width above one
        Angstrom; a line that is not predicted counts as an error of one.
    """
    rows = []
    for line in _LINES:
        for what in ("flux", "width"):
            row = {"line": f"{_NAMES[line]} {what}"}
            for name, values in estimates.items():
                errors = line_errors(values, truth, line, what)
                row[name] = bootstrap(np.median, errors)
            row["galaxies"] = len(errors)
            rows.append(row)
    return rows
