"""The measurements of one spectrum, one after the other, each allowed to fail alone."""

from dataclasses import dataclass, replace

import numpy as np

from photospec.analysis.bulk.frames import reason_not_bulk
from photospec.analysis.bulk.indices import indices_of_block
from photospec.analysis.gate import reason_unusable
from photospec.analysis.property_table import INDEX_COLUMNS, LINE_RATIOS, POPULATION_COLUMNS
from photospec.analysis.redshift import RedshiftWarning, measure_redshift
from photospec.analysis.redshift.measure import warning_names
from photospec.analysis.redshift.scan import chi2_near_minima, chi2_scan
from photospec.analysis.residual_noise import residual_sigma
from photospec.dust import cardelli89
from photospec.errors import InputError

__all__ = ["Options", "failed_rows", "measure_rows"]

BPT_LINES = ("halpha", "hbeta", "nii_6584", "oiii_5007")
METHODS = ("auto", "bulk", "ppxf")
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
    method : {"auto", "bulk", "ppxf"}
    """

    redshift_range: tuple
    templates: object
    n_bootstrap: int
    seed: int
    method: str = "ppxf"

    @classmethod
    def checked(cls, redshift_range, templates, n_bootstrap, seed, method):
        """Options that every spectrum can use, or an InputError."""
        from photospec.analysis.populations.templates import load_templates
        from photospec.analysis.redshift.measure import checked_range

        for name, value in (("n_bootstrap", n_bootstrap), ("seed", seed)):
            if not isinstance(value, (int, np.integer)) or value < 0:
                raise InputError(f"{name}: expected a whole number, not negative, got {value!r}")
        if method not in METHODS:
            raise InputError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
        if method == "bulk" and n_bootstrap:
            raise InputError(
                f"n_bootstrap: expected 0 with method='bulk', got {n_bootstrap}; wild bootstraps"
                " need the exact path, method='ppxf'"
            )
        load_templates(templates)
        return cls(checked_range(redshift_range), templates, int(n_bootstrap), int(seed), method)

    def bulk(self, arrays):
        """Whether a spectrum takes the bulk path.

        Parameters
        ----------
        arrays : SpectrumArrays or str
            One row, or the reason why it could not be read.

        Returns
        -------
        bool
        """
        if self.method == "ppxf" or self.n_bootstrap or isinstance(arrays, str):
            return False
        return not reason_not_bulk(arrays)


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
    measured = [
        _begin(arrays, float(z), float(ebv), options)
        for arrays, z, ebv in zip(rows, redshift, galactic_ebv, strict=True)
    ]
    at_redshift = [item for item in measured if np.isfinite(item.redshift)]
    _spectral_fits(at_redshift, options)
    _indices(at_redshift)
    return [item.row for item in measured]


def failed_rows(rows, *_):
    """Rows for spectra whose process died."""
    reason = "the process that measured it died: out of memory?"
    return [{"flags": [reason]} for _row in rows]


@dataclass
class _Measured:
    """A row so far.

    Attributes
    ----------
    row : dict
    arrays : SpectrumArrays or None
        Without Galactic extinction; with errors from the residuals once there are some.
    redshift : float
        To measure at; NaN if there is none.
    """

    row: dict
    arrays: object = None
    redshift: float = np.nan


def _begin(arrays, redshift, galactic_ebv, options):
    """Refuse what cannot be used, take extinction off, and find the redshift."""
    row = {"flags": []}
    why = arrays if isinstance(arrays, str) else reason_unusable(arrays)
    if why:
        row["flags"].append(why)
        return _Measured(row)
    row["flags"] += arrays.meta.get("notes", ())
    if galactic_ebv:
        arrays = _dereddened(arrays, galactic_ebv)
    try:
        redshift = _redshift(row, arrays, redshift, options)
    except Exception as error:  # whatever happens to one spectrum must not stop the rest
        row["flags"].append(f"redshift: {_one_line(error)}")
        redshift = np.nan
    return _Measured(row, arrays, redshift)


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
    scan = chi2_near_minima if options.bulk(arrays) else chi2_scan
    fit = measure_redshift(arrays, redshift_range=options.redshift_range, scan=scan)
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


def _spectral_fits(measured, options):
    """Populations and kinematics, then emission lines on what the stars leave."""
    together = [item for item in measured if options.bulk(item.arrays)]
    fits = {}
    if together:
        from photospec.analysis.bulk import fit_populations_bulk

        found = fit_populations_bulk(
            [item.arrays for item in together],
            _redshifts(together),
            templates=options.templates,
            seed=options.seed,
        )
        fits = {id(item): fit for item, fit in zip(together, found, strict=True)}
    for item in measured:
        try:
            _spectral_fit(item, fits.get(id(item)), options)
        except Exception as error:  # whatever happens to one spectrum must not stop the rest
            item.row["flags"].append(f"spectral_fit: {_one_line(error)}")


def _spectral_fit(item, fit, options):
    """Row of one spectrum, whose populations were fitted in bulk or are fitted now."""
    from photospec.analysis.emission.fit import gauss_newton
    from photospec.analysis.emission.measure import measure_lines
    from photospec.analysis.populations import fit_populations

    row, nonlinear = item.row, gauss_newton
    if fit is None:
        nonlinear = None
        fit = fit_populations(
            item.arrays,
            item.redshift,
            templates=options.templates,
            n_bootstrap=options.n_bootstrap,
            seed=options.seed,
        )
    for name in POPULATION_COLUMNS:
        row[name] = (getattr(fit, name), getattr(fit, f"{name}_error"))
    row["flags"] += [f"populations: {flag}" for flag in fit.flags]
    if item.arrays.sigma is None:  # errors only: good pixels and values stay what they are
        sigma = residual_sigma(fit, item.arrays.wavelength)
        if sigma is not None:
            item.arrays = replace(item.arrays, sigma=sigma[None])
    _lines(row, measure_lines(fit, nonlinear), options)


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
        row["bpt_class"] = classify_bpt(lines, n_draws=1, seed=options.seed).bpt_class.name


def _indices(measured):
    """Indices, of all spectra on a grid together, into their rows."""
    columns, definitions = zip(*INDEX_COLUMNS.items(), strict=True)
    grids = {}
    for item in measured:
        grid = np.asarray(item.arrays.wavelength, float).tobytes()
        grids.setdefault((grid, item.arrays.sigma is None), []).append(item)
    for alike in grids.values():
        found = zip(*indices_of_block(_stacked(alike), _redshifts(alike), definitions), strict=True)
        for item, (value, error, reason) in zip(alike, found, strict=True):
            missing = {}
            for i, name in enumerate(columns):
                item.row[name] = (value[i], error[i])
                if reason[i]:
                    missing.setdefault(reason[i], []).append(name)
            item.row["flags"] += [f"{', '.join(names)}: {why}" for why, names in missing.items()]


def _redshifts(measured):
    return np.array([item.redshift for item in measured])


def _stacked(measured):
    """SpectrumArrays of several spectra on one grid, as far as indices need them."""
    arrays = [item.arrays for item in measured]
    sigma = mask = None
    if arrays[0].sigma is not None:
        sigma = np.concatenate([one.sigma for one in arrays])
    if any(one.mask is not None for one in arrays):
        nothing = np.zeros(arrays[0].flux.shape, bool)
        mask = np.concatenate([nothing if one.mask is None else one.mask for one in arrays])
    flux = np.concatenate([one.flux for one in arrays])
    return replace(arrays[0], flux=flux, sigma=sigma, mask=mask, lsf=None, redshift=None)
