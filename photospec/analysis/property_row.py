"""The measurements of one spectrum, one after the other, each allowed to fail alone."""

from dataclasses import dataclass, replace

import numpy as np

from photospec.analysis.gate import reason_unusable
from photospec.analysis.indices.measure import indices_of_row
from photospec.analysis.property_table import INDEX_COLUMNS, LINE_RATIOS, POPULATION_COLUMNS
from photospec.analysis.redshift import RedshiftWarning, measure_redshift
from photospec.analysis.redshift.measure import warning_names
from photospec.analysis.residual_noise import residual_sigma
from photospec.dust import cardelli89
from photospec.errors import InputError

__all__ = ["Options", "failed_rows", "measure_rows"]

BPT_LINES = ("halpha", "hbeta", "nii_6584", "oiii_5007")
# With these the redshift is not known well enough to measure anything at it.
FATAL = (
    RedshiftWarning.SMALL_DELTA_CHI2
    | RedshiftWarning.NEGATIVE_MODEL
    | RedshiftWarning.POOR_FIT
    | RedshiftWarning.OUT_OF_RANGE
    | RedshiftWarning.QUASAR
)


@dataclass(frozen=True)
class Options:
    """What `measure_properties` was asked for.

    Attributes
    ----------
    redshift_range : tuple of float
    templates : str, path or TemplateSet
    n_bootstrap, seed : int
    """

    redshift_range: tuple
    templates: object
    n_bootstrap: int
    seed: int

    @classmethod
    def checked(cls, redshift_range, templates, n_bootstrap, seed):
        """Options that every spectrum can use, or an InputError."""
        from photospec.analysis.populations.templates import load_templates
        from photospec.analysis.redshift.measure import checked_range

        for name, value in (("n_bootstrap", n_bootstrap), ("seed", seed)):
            if not isinstance(value, (int, np.integer)) or value < 0:
                raise InputError(f"{name}: expected a whole number, not negative, got {value!r}")
        load_templates(templates)
        return cls(checked_range(redshift_range), templates, int(n_bootstrap), int(seed))


def measure_rows(rows, redshift, galactic_ebv, options):
    """Measure a few spectra.

    Parameters
    ----------
    rows : list of SpectrumArrays or str
        One-row arrays, or the reason why a spectrum could not be read.
    redshift : ndarray (n,)
        NaN where it is to be found.
    galactic_ebv : ndarray (n,)
        mag.
    options : Options

    Returns
    -------
    list of dict
        ``{column: (value, error)}`` and ``"flags"``, a list of str.
    """
    return [
        _measure(arrays, float(z), float(ebv), options)
        for arrays, z, ebv in zip(rows, redshift, galactic_ebv, strict=True)
    ]


def failed_rows(rows, *_):
    """Rows for spectra whose process died."""
    reason = "the process that measured it died: out of memory?"
    return [{"flags": [reason]} for _row in rows]


def _measure(arrays, redshift, galactic_ebv, options):
    row = {"flags": []}
    why = arrays if isinstance(arrays, str) else reason_unusable(arrays)
    if why:
        row["flags"].append(why)
        return row
    if galactic_ebv:
        arrays = _dereddened(arrays, galactic_ebv)
    stages = (_spectral_fit, _indices)
    try:
        redshift = _redshift(row, arrays, redshift, options)
    except Exception as error:  # whatever happens to one spectrum must not stop the rest
        row["flags"].append(f"redshift: {_one_line(error)}")
        redshift = np.nan
    if np.isfinite(redshift):
        for stage in stages:
            try:
                stage(row, arrays, redshift, options)
            except Exception as error:
                row["flags"].append(f"{stage.__name__[1:]}: {_one_line(error)}")
    return row


def _one_line(error):
    return " ".join(f"{type(error).__name__} {error}".split())[:160]


def _dereddened(arrays, galactic_ebv):
    brighter = 10 ** (0.4 * galactic_ebv * cardelli89(arrays.wavelength))
    sigma = None if arrays.sigma is None else arrays.sigma * brighter
    return replace(arrays, flux=arrays.flux * brighter, sigma=sigma)


def _redshift(row, arrays, redshift, options):
    """Redshift to measure at; NaN if there is none to trust."""
    if np.isfinite(redshift):
        low, high = -0.01, 10.0
        if not low <= redshift <= high:
            row["flags"].append(f"redshift: {redshift:g} is not from {low:g} to {high:g}")
            return np.nan
        row["redshift"] = (redshift, np.nan)
        return redshift
    fit = measure_redshift(arrays, redshift_range=options.redshift_range)
    warning = int(fit.warning[0])
    if fit.reason[0]:
        row["flags"].append(f"redshift: {fit.reason[0]}")
        return np.nan
    if warning:
        best, second = fit.redshift[0], fit.second_redshift[0]
        row["flags"].append(f"redshift: {warning_names(warning)} ({best:.4f} or {second:.4f})")
    error = float(fit.error[0])
    if fit.solutions.correlation[0] > 1:
        # Without noise a poor fit says that parts of a spectrum disagree; the error holds that.
        warning &= ~RedshiftWarning.POOR_FIT
        error = float(fit.solutions.spread()[0])
    if warning & FATAL:
        return np.nan
    if not warning & RedshiftWarning.ZERO_REDSHIFT:
        row["redshift"] = (float(fit.redshift[0]), error)
    return float(fit.redshift[0])


def _spectral_fit(row, arrays, redshift, options):
    """Populations and kinematics, then emission lines on what the stars leave."""
    from photospec.analysis.emission import measure_lines
    from photospec.analysis.populations import fit_populations

    fit = fit_populations(
        arrays,
        redshift,
        templates=options.templates,
        n_bootstrap=options.n_bootstrap,
        seed=options.seed,
    )
    for name in POPULATION_COLUMNS:
        row[name] = (getattr(fit, name), getattr(fit, f"{name}_error"))
    row["flags"] += [f"populations: {flag}" for flag in fit.flags]
    if arrays.sigma is None:
        row["_sigma"] = residual_sigma(fit, arrays.wavelength)
    _lines(row, measure_lines(fit), options)


def _lines(row, lines, options):
    from photospec.analysis.bpt import classify_bpt

    missing = {}
    for i, name in enumerate(lines.names):
        row[f"{name}_flux"] = (lines.flux[i], lines.flux_error[i])
        row[f"{name}_ew"] = (lines.ew[i], lines.ew_error[i])
        if lines.reason[i]:
            missing.setdefault(lines.reason[i], []).append(name)
    for name, ratio in LINE_RATIOS.items():
        row[name] = lines.log_ratio(*ratio)
        if not np.isfinite(row[name][0]):
            missing.setdefault("not all lines above 3 sigma", []).append(name)
    row["flags"] += [f"{', '.join(names)}: {why}" for why, names in missing.items()]
    if np.isfinite([lines.flux[lines.index(name)] for name in BPT_LINES]).all():
        row["bpt_class"] = classify_bpt(lines, seed=options.seed).bpt_class.name


def _indices(row, arrays, redshift, options):
    sigma = row.pop("_sigma", None)
    if sigma is not None:  # errors only: good pixels and values stay what they are
        arrays = replace(arrays, sigma=sigma[None])
    columns, definitions = zip(*INDEX_COLUMNS.items(), strict=True)
    value, error, reason = indices_of_row(arrays, redshift, definitions)
    missing = {}
    for i, name in enumerate(columns):
        row[name] = (value[i], error[i])
        if reason[i]:
            missing.setdefault(reason[i], []).append(name)
    row["flags"] += [f"{', '.join(names)}: {why}" for why, names in missing.items()]
