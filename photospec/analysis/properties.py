"""All properties of one spectrum or of thousands, as a table with one row per spectrum.

The order: `measure_properties` reads the spectra and shares them out, `measure_rows` measures a
few of them one after the other, each measurement being allowed to fail alone, and `assemble`
makes the rows a table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked
from numpy.typing import ArrayLike
from scipy.ndimage import uniform_filter1d
from specutils import Spectrum

from photospec.analysis.bulk.frames import reason_not_bulk
from photospec.analysis.bulk.indices import indices_of_block
from photospec.analysis.columns import describe
from photospec.analysis.emission.model import BROAD_GROUPS, LINE_NAMES, line_groups
from photospec.analysis.gate import gather, notes, reason_unusable
from photospec.analysis.indices.definitions import INDICES, LICK, Index, index_definitions
from photospec.analysis.redshift import RedshiftWarning, measure_redshift
from photospec.analysis.redshift.fit import SURE_DELTA
from photospec.analysis.redshift.measure import warning_names
from photospec.config import whole_number
from photospec.dust import galactic_transmission
from photospec.errors import InputError
from photospec.lines import Line
from photospec.spectrum import FLUX_UNIT
from photospec.utils.parallel import n_cores, one_thread
from photospec.utils.reading import one_line

if TYPE_CHECKING:
    from photospec.analysis.populations.templates import TemplateSet

from photospec.utils.progress import progress_bar

__all__ = [
    "COLUMNS",
    "INDEX_COLUMNS",
    "Options",
    "assemble",
    "masked_column",
    "measure_properties",
    "measure_rows",
    "residual_sigma",
]

# Spectra per task: few, so that the progress bar moves and all cores end together; and fewer
# spectra in all than are worth starting processes for. On the exact path, and in bulk.
CHUNK, CHUNK_BULK = 4, 32
SERIAL_MAX, SERIAL_MAX_BULK = 8, 256
# Which model of the lines is taken hangs on thresholds: broad lines of three sigma, a quarter of
# the lines missed. Somewhat below them the exact path decides, so that both paths take the same.
BROAD_SNR_BULK, MISFIT_BULK = 2.5, 0.2
METHODS = ("auto", "bulk", "ppxf")
BLOCK = 20  # pixels summed, so that noise correlated between neighbours counts fully
N_BLOCKS = 15  # averaged, to follow the noise along the spectrum
BPT_LINES = ("halpha", "hbeta", "nii_6584", "oiii_5007")
# With these the redshift is not known well enough to measure anything at it.
FATAL = (
    RedshiftWarning.SMALL_DELTA_CHI2
    | RedshiftWarning.NEGATIVE_MODEL
    | RedshiftWarning.POOR_FIT
    | RedshiftWarning.OUT_OF_RANGE
    | RedshiftWarning.QUASAR
)
_INDEX_UNITS = {"angstrom": u.AA, "mag": u.mag, "break": None}

#: Indices measured by default.
INDEX_NAMES = ("dn4000", *LICK)
#: Column name -> Index, of these.
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
#: Columns of line ratios -> lines above and below the bar.
LINE_RATIOS = {
    "log_nii_ha": ("nii_6584", "halpha"),
    "log_oiii_hb": ("oiii_5007", "hbeta"),
    "log_sii_ha": (("sii_6716", "sii_6731"), "halpha"),
    "log_oi_ha": ("oi_6300", "halpha"),
}
#: Lines that may have a broad component.
BROAD_LINES = tuple(group.names[0] for group in BROAD_GROUPS)


def columns(indices, lines):
    """Return unit, or None, of every measured number, in order; each has a column of errors too.

    Parameters
    ----------
    indices : mapping of str to Index
        By column name.
    lines : tuple of str
    """
    return {
        "redshift": None,
        **POPULATION_COLUMNS,
        **{name: _INDEX_UNITS[index.kind] for name, index in indices.items()},
        **{f"{name}_flux": FLUX_UNIT * u.AA for name in lines},
        **{f"{name}_ew": u.AA for name in lines},
        **{f"{name}_broad_flux": FLUX_UNIT * u.AA for name in BROAD_LINES if name in lines},
        "broad_width": u.km / u.s,
        **dict.fromkeys(LINE_RATIOS, u.dex),
    }


#: The default columns.
COLUMNS = columns(INDEX_COLUMNS, LINE_NAMES)


def measure_properties(
    spectrum: Spectrum | Iterable[Spectrum],
    *,
    redshift: ArrayLike | None = None,
    redshift_range: tuple[float, float] = (0.0, 0.8),
    templates: str | PathLike | TemplateSet = "bc03",
    galactic_ebv: ArrayLike = 0.0,
    indices: Sequence = (...,),
    lines: Sequence = (...,),
    n_bootstrap: int = 0,
    seed: int = 0,
    method: str = "auto",
    n_processes: int | None = None,
    progress: bool | Callable[[int], object] = False,
) -> QTable:
    """Measure redshift, populations, kinematics, indices and emission lines.

    Parameters
    ----------
    spectrum : Spectrum, SpectrumList, SpectrumCollection or list of Spectrum
        One spectrum or many, predicted or observed, with or without uncertainty and mask.
    redshift : float or array_like (n,), optional
        Skips the redshift search; NaN entries are searched.
    redshift_range : tuple of float
        Of the search.
    templates : str, path or TemplateSet
        Of the population fit: see `photospec.analysis.fit_populations`.
    galactic_ebv : float or array_like (n,)
        Foreground E(B-V) in mag, removed first (`photospec.dust.galactic_extinction`).
    indices : sequence of str or Index
        Names of `photospec.analysis.indices.INDICES` or `photospec.analysis.Index` objects; ``...``
        among them stands for Dn4000 and the 25 Lick indices. An index has the column
        ``lick_<name>``, a break ``<name>``.
    lines : sequence of str or Line
        Names of `photospec.lines.LINES` or `photospec.lines.Line` objects; ``...`` among them
        stands for the default lines.
    n_bootstrap : int
        Wild bootstraps behind the errors of the populations; 0 for the quick errors.
    seed : int
        Of the random draws behind the errors; every spectrum gets the same numbers
        whatever the number of processes or the other spectra.
    method : {"auto", "bulk", "ppxf"}
        ``"ppxf"``: the exact path, with pPXF. ``"bulk"``: the same quantities by the same
        definitions in a fraction of the time, for spectra without uncertainty and with a
        line-spread function, such as predicted ones (`photospec.analysis.bulk`).
        ``"auto"``: in bulk what can be, the rest exactly; ``meta["method"]`` says which.
    n_processes : int, optional
        Default: one for fewer than eight spectra (256 in bulk), else one per core.
    progress : bool or callable
        Show a progress bar; or a function to call with the number of spectra just measured.

    Returns
    -------
    astropy.table.QTable
        One row per spectrum. Every measured number has a column ``<column>_error``. What
        cannot be measured is masked, with the reason in ``flags``; one bad spectrum never
        stops the rest. Columns have units and descriptions; `photospec.utils.tables.write_table`
        writes them for other programs.

    Raises
    ------
    InputError
        If there is no spectrum, or an option cannot be understood, or `method` is
        ``"bulk"`` and a spectrum needs the exact path.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.analysis import Index, load_templates, measure_properties
    >>> from photospec.spectrum import from_arrays
    >>> templates = load_templates("bc03")
    >>> old = templates.spectra[:, -5, 4]
    >>> spectrum = from_arrays(templates.wavelength * 1.05, old, sigma=np.full(old.size, 0.02))
    >>> mine = Index("mg_wide", (5040, 5060), (5070, 5200), (5210, 5230))
    >>> table = measure_properties(spectrum, indices=(..., mine))
    >>> print(f"{table['redshift'][0]:.3f} {table['dn4000'][0]:.0f} {table['lick_mg_wide'].unit}")
    0.050 2 Angstrom
    """
    rows = gather(spectrum, strict=False)
    n = len(rows)
    options = Options.checked(redshift_range, templates, n_bootstrap, seed, indices, lines, method)
    redshift = _per_spectrum("redshift", np.nan if redshift is None else redshift, n)
    galactic_ebv = _per_spectrum("galactic_ebv", galactic_ebv, n)
    if not np.all(galactic_ebv >= 0):
        raise InputError(
            f"galactic_ebv: expected no negative number, got {galactic_ebv.min():g}; is it A_V?"
        )
    # What else a spectrum carries (headers, a WCS) need not, and may not, travel to a worker.
    arrays = [
        row if isinstance(row, str) else replace(row, meta={"notes": notes(row)}) for row in rows
    ]
    bulk = _take_bulk(arrays, options)
    chunk, serial = (CHUNK_BULK, SERIAL_MAX_BULK) if bulk.all() else (CHUNK, SERIAL_MAX)
    tasks = [
        (arrays[i : i + chunk], redshift[i : i + chunk], galactic_ebv[i : i + chunk], options)
        for i in range(0, n, chunk)
    ]
    results = []
    n_processes = _process_count(n_processes, len(tasks), n, serial)
    with one_thread(), _reporting(n, progress) as report:
        for done in _run(tasks, n_processes):
            results += done
            report(len(done))
    table = assemble(results, options)
    table.meta["method"] = _method(bulk)
    return table


def _take_bulk(arrays, options):
    """Tell which spectra (n,) take the bulk path; raise InputError if some cannot and should."""
    bulk = np.array([options.bulk(one) for one in arrays])
    if options.method == "bulk":
        for i in np.flatnonzero(~bulk):
            if not isinstance(arrays[i], str):  # what cannot be read is flagged, as ever
                raise InputError(
                    f"method: expected 'auto' or 'ppxf' for spectrum {i}, got 'bulk', but "
                    f"{reason_not_bulk(arrays[i])}; 'auto' measures such spectra exactly"
                )
    return bulk


def _method(bulk):
    """Tell which spectra took which path, in words."""
    if bulk.all() or not bulk.any():
        return "bulk" if bulk.all() else "ppxf"
    return f"bulk for {bulk.sum()} spectra, ppxf for {np.sum(~bulk)}"


def _run(tasks, n_processes):
    if n_processes == 1:
        return (measure_rows(*task) for task in tasks)
    from photospec.utils.parallel import map_in_processes

    return map_in_processes(measure_rows, tasks, n_processes, failed_rows)


def _per_spectrum(name, values, n):
    try:
        values = np.ma.filled(np.ma.asarray(values, float), np.nan)
        return np.broadcast_to(values, (n,)).astype(float)
    except (TypeError, ValueError):
        raise InputError(
            f"{name}: expected one number or {n} numbers, got {values!r}; one per spectrum?"
        ) from None


def _process_count(n_processes, n_tasks, n, serial):
    if n_processes is None:
        n_processes = 1 if n < serial else n_cores()
    n_processes = whole_number("n_processes", n_processes, 1)
    if os.name != "posix":
        return 1  # pipes to the workers are passed on as file descriptors
    return min(n_processes, n_tasks)


@contextmanager
def _reporting(n, progress):
    """Return a function to call with the number of spectra just measured."""
    if callable(progress):
        yield progress
        return
    with progress_bar(n, "measure", show=progress) as bar:
        yield bar.update


@dataclass(frozen=True)
class Options:
    """What `measure_properties` was asked for.

    Attributes
    ----------
    redshift_range : tuple of float
    templates : str, path or TemplateSet
    n_bootstrap, seed : int
    indices : dict of str to Index
        By column name.
    lines : tuple of str or Line
    method : {"auto", "bulk", "ppxf"}
    """

    redshift_range: tuple
    templates: object
    n_bootstrap: int
    seed: int
    indices: dict = field(default_factory=lambda: INDEX_COLUMNS)
    lines: tuple = (...,)
    method: str = "ppxf"

    def bulk(self, arrays):
        """Tell whether a spectrum takes the bulk path.

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

    @property
    def columns(self):
        """Columns of the table -> unit."""
        return columns(self.indices, line_groups(self.lines)[1])

    @classmethod
    def checked(
        cls,
        redshift_range,
        templates,
        n_bootstrap,
        seed,
        indices=(...,),
        lines=(...,),
        method="auto",
    ):
        """Check the options; return them as every spectrum can use them, or raise an InputError."""
        from photospec.analysis.populations.templates import load_templates
        from photospec.analysis.redshift.measure import checked_range

        for name, value in (("n_bootstrap", n_bootstrap), ("seed", seed)):
            whole_number(name, value, 0)
        if method not in METHODS:
            raise InputError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
        if method == "bulk" and n_bootstrap:
            raise InputError(
                f"n_bootstrap: expected 0 with method='bulk', got {n_bootstrap}; wild bootstraps"
                " need the exact path, method='ppxf'"
            )
        load_templates(templates)
        lines = (lines,) if isinstance(lines, (str, Line)) else tuple(lines)
        line_groups(lines)
        return cls(
            checked_range(redshift_range),
            templates,
            int(n_bootstrap),
            int(seed),
            _index_columns(indices),
            lines,
            method,
        )


def _index_columns(indices):
    """Return the Index of each column, for the indices asked for."""
    asked = []
    for item in (indices,) if isinstance(indices, (str, Index)) else indices:
        asked += INDEX_NAMES if item is ... else (item,)
    found = {}
    for index in index_definitions(asked):
        name = index.name if index.kind == "break" else f"lick_{index.name}"
        if found.setdefault(name, index) != index:
            raise InputError(f"indices: expected different names, got two named {index.name!r}")
    return found


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
        _begin(arrays, float(ebv), options) for arrays, ebv in zip(rows, galactic_ebv, strict=True)
    ]
    _redshifts(measured, redshift, options)
    at_redshift = [item for item in measured if np.isfinite(item.redshift)]
    _spectral_fits(at_redshift, options)
    _classes(at_redshift)
    _indices(at_redshift, options)
    return [item.row for item in measured]


def failed_rows(rows, *_):
    """Return rows for spectra whose process died."""
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
    lines : LineFluxes or None
    bulk : bool
        Takes the bulk path.
    """

    row: dict
    arrays: object = None
    redshift: float = np.nan
    lines: object = None
    bulk: bool = False


def _begin(arrays, galactic_ebv, options):
    """Refuse what cannot be used, choose the path, and take extinction off."""
    row = {"flags": []}
    why = arrays if isinstance(arrays, str) else reason_unusable(arrays)
    if why:
        row["flags"].append(why)
        return _Measured(row)
    row["flags"] += arrays.meta.get("notes", ())
    if galactic_ebv:
        arrays = _dereddened(arrays, galactic_ebv)
    return _Measured(row, arrays, bulk=options.bulk(arrays))


def _dereddened(arrays, galactic_ebv):
    brighter = galactic_transmission(arrays.wavelength, -galactic_ebv)
    sigma = None if arrays.sigma is None else arrays.sigma * brighter
    return replace(arrays, flux=arrays.flux * brighter, sigma=sigma)


def _redshifts(measured, given, options):
    """Put the redshifts to measure at into their rows: those given, or found."""
    searched = {}
    for item, redshift in zip(measured, given, strict=True):
        if item.arrays is None:
            continue
        if np.isfinite(redshift):
            item.redshift = _given_redshift(item.row, float(redshift))
        else:
            grid = np.asarray(item.arrays.wavelength, float).tobytes()
            searched.setdefault(grid if item.bulk else id(item), []).append(item)
    for alike in searched.values():
        _search(alike, options)


def _given_redshift(row, redshift):
    """Return the redshift to measure at; NaN if no galaxy has it."""
    low, high = -0.01, 10.0
    if not low <= redshift <= high:
        row["flags"].append(f"redshift: {redshift:g} is not from {low:g} to {high:g}")
        return np.nan
    row["redshift"] = (redshift, np.nan)
    return redshift


def _search(alike, options):
    """Search the redshifts of spectra on one grid, into their rows; alone if one of them fails."""
    search = measure_redshift
    if alike[0].bulk:
        from photospec.analysis.bulk import measure_redshift_bulk as search
    try:
        fit = search(_stacked(alike), redshift_range=options.redshift_range)
    except Exception as error:  # whatever happens to one spectrum must not stop the rest
        if len(alike) == 1:
            alike[0].row["flags"].append(f"redshift: {type(error).__name__} {one_line(error, 140)}")
        else:
            for item in alike:
                _search([item], options)
        return
    for i, item in enumerate(alike):
        item.redshift = _found_redshift(item.row, fit, i)


def _found_redshift(row, fit, i):
    """Return redshift to measure at, of row `i` of a RedshiftFit; NaN if there is none to trust."""
    warning = int(fit.warning[i])
    if fit.reason[i]:
        row["flags"].append(f"redshift: {fit.reason[i]}")
        return np.nan
    if warning:
        best, second = fit.redshift[i], fit.second_redshift[i]
        row["flags"].append(f"redshift: {warning_names(warning)} ({best:.4f} or {second:.4f})")
    error = float(fit.error[i])
    if fit.solutions.correlation[i] > 1:
        # Without noise a poor fit says that parts of a spectrum disagree; the error holds that.
        warning &= ~RedshiftWarning.POOR_FIT
        error = float(fit.solutions.spread()[i])
    if warning & RedshiftWarning.POOR_FIT and fit.delta_chi2[i] >= SURE_DELTA:
        warning &= ~RedshiftWarning.POOR_FIT  # a flag, but no doubt about which redshift is best
    if warning & FATAL:
        return np.nan
    if not warning & RedshiftWarning.ZERO_REDSHIFT:
        row["redshift"] = (float(fit.redshift[i]), error)
    return float(fit.redshift[i])


def _spectral_fits(measured, options):
    """Fit populations and kinematics, then emission lines on what the stars leave."""
    together = [item for item in measured if item.bulk]
    found = {}
    if together:
        from photospec.analysis.bulk import fit_populations_bulk, measure_lines_bulk

        fits = fit_populations_bulk(
            [item.arrays for item in together],
            _at(together),
            templates=options.templates,
            seed=options.seed,
        )
        lines = measure_lines_bulk(fits, options.lines, templates=options.templates)
        found = {id(item): both for item, *both in zip(together, fits, lines, strict=True)}
    for item in measured:
        try:
            _spectral_fit(item, *found.get(id(item), (None, None)), options)
        except Exception as error:  # whatever happens to one spectrum must not stop the rest
            item.row["flags"].append(f"spectral_fit: {type(error).__name__} {one_line(error, 140)}")


def _spectral_fit(item, fit, lines, options):
    """Fill the row of one spectrum from what was fitted in bulk; what was not is fitted now."""
    from photospec.analysis.emission.fit import gauss_newton
    from photospec.analysis.emission.measure import measure_lines
    from photospec.analysis.populations import fit_populations

    row = item.row
    if fit is not None and lines is None:
        lines = measure_lines(fit, options.lines, nonlinear=gauss_newton, broad_snr=BROAD_SNR_BULK)
        if _in_doubt(lines):
            fit = None
    if fit is None:
        fit = fit_populations(
            item.arrays,
            item.redshift,
            templates=options.templates,
            n_bootstrap=options.n_bootstrap,
            seed=options.seed,
        )
        lines = measure_lines(fit, options.lines)
    for name in POPULATION_COLUMNS:
        row[name] = (getattr(fit, name), getattr(fit, f"{name}_error"))
    row["flags"] += [f"populations: {flag}" for flag in fit.flags]
    if item.arrays.sigma is None:  # errors only: good pixels and values stay what they are
        sigma = residual_sigma(fit, item.arrays.wavelength)
        if sigma is not None:
            item.arrays = replace(item.arrays, sigma=sigma[None])
    _lines(row, lines)
    item.lines = lines


def _in_doubt(lines):
    """Tell whether the exact path has to say which model of the lines is taken."""
    two = any("two velocity components" in flag for flag in lines.flags)
    return two or lines.broad_line or lines.misfit > MISFIT_BULK


def _lines(row, lines):
    missing = {}
    for i, name in enumerate(lines.names):
        row[f"{name}_flux"] = (lines.flux[i], lines.flux_error[i])
        row[f"{name}_ew"] = (lines.ew[i], lines.ew_error[i])
        row[f"{name}_broad_flux"] = (lines.broad_flux[i], lines.broad_flux_error[i])
        if lines.reason[i]:
            missing.setdefault(lines.reason[i], []).append(name)
    row["broad_width"] = (lines.broad_width, lines.broad_width_error)
    row["broad_line"] = lines.broad_line
    for name, (upper, lower) in LINE_RATIOS.items():
        sides = [(side,) if isinstance(side, str) else side for side in (upper, lower)]
        if all(line in lines.names for side in sides for line in side):
            row[name] = lines.log_ratio(upper, lower)
        if not np.isfinite(row.get(name, (np.nan,))[0]):
            missing.setdefault("not all lines above 3 sigma", []).append(name)
    row["flags"] += [f"{', '.join(names)}: {why}" for why, names in missing.items()]
    row["flags"] += [f"lines: {flag}" for flag in lines.flags if not lines.mask.all()]


def _classes(measured):
    """Put the classes by [N II] into the rows: `classify_bpt` of the best fluxes, all in one go."""
    from photospec.analysis.bpt import BPTClass, classify_ratios

    items = [item for item in measured if _has_bpt_lines(item.lines)]
    if not items:
        return
    ratios = [[item.row[name][0] for item in items] for name in ("log_nii_ha", "log_oiii_hb")]
    for item, found in zip(items, classify_ratios(*ratios), strict=True):
        if not item.lines.gaussian:
            item.row["flags"].append("bpt_class: lines are no Gaussians")
            continue
        if item.lines.broad_line and found is BPTClass.STAR_FORMING:
            # A broad-line region is no star formation, whatever its narrow lines look like.
            item.row["flags"].append("bpt_class: broad lines, but narrow ones as of star formation")
            found = BPTClass.UNCLASSIFIED
        item.row["bpt_class"] = found.name


def _has_bpt_lines(lines):
    return lines is not None and all(
        name in lines.names and np.isfinite(lines[name][0]) for name in BPT_LINES
    )


def _indices(measured, options):
    """Measure the indices of all spectra on a grid together, into their rows."""
    definitions = tuple(options.indices.values())
    grids = {}
    for item in measured:
        grid = np.asarray(item.arrays.wavelength, float).tobytes()
        grids.setdefault((grid, item.arrays.sigma is None), []).append(item)
    for alike in grids.values():
        found = zip(*indices_of_block(_stacked(alike), _at(alike), definitions), strict=True)
        for item, (value, error, reason) in zip(alike, found, strict=True):
            missing = {}
            for i, name in enumerate(options.indices):
                item.row[name] = (value[i], error[i])
                if reason[i]:
                    missing.setdefault(reason[i], []).append(name)
            item.row["flags"] += [f"{', '.join(names)}: {why}" for why, names in missing.items()]


def _at(measured):
    return np.array([item.redshift for item in measured])


def _stacked(measured):
    """Stack several spectra on one grid into SpectrumArrays, as far as redshift and indices need
    them.
    """
    arrays = [item.arrays for item in measured]
    sigma = mask = None
    if arrays[0].sigma is not None:
        sigma = np.concatenate([one.sigma for one in arrays])
    if any(one.mask is not None for one in arrays):
        nothing = np.zeros(arrays[0].flux.shape, bool)
        mask = np.concatenate([nothing if one.mask is None else one.mask for one in arrays])
    flux = np.concatenate([one.flux for one in arrays])
    return replace(arrays[0], flux=flux, sigma=sigma, mask=mask, lsf=None, redshift=None)


def residual_sigma(fit, wavelength):
    """Return the standard error per pixel, from the residuals of a population fit.

    Residuals are summed over blocks before they are squared: sums over bands of an index
    then have the right error even if neighbouring residuals are alike, as they are in
    smoothed spectra and where the templates do not match.

    Parameters
    ----------
    fit : PopulationFit
    wavelength : ndarray (n_wave,)
        Pixels to give errors for; observed frame, Angstrom.

    Returns
    -------
    ndarray (n_wave,) or None
        None if the fit left too few pixels to tell.
    """
    good = fit.fitted & np.isfinite(fit.best_fit)
    n_blocks = int(good.sum()) // BLOCK
    if n_blocks < N_BLOCKS:
        return None
    pixels = np.flatnonzero(good)[: n_blocks * BLOCK]
    residual = (fit.flux - fit.best_fit)[pixels].reshape(n_blocks, BLOCK)
    square = uniform_filter1d(residual.sum(axis=1) ** 2 / BLOCK, N_BLOCKS, mode="nearest")
    centre = fit.wavelength[pixels].reshape(n_blocks, BLOCK).mean(axis=1)
    sigma = np.interp(wavelength, centre, np.sqrt(square))
    # White noise per Angstrom: a pixel half as wide is noisier by the root of two.
    width = np.interp(wavelength, fit.wavelength, np.gradient(fit.wavelength))
    return sigma * np.sqrt(width / np.gradient(wavelength))


def assemble(rows, options):
    """Make a table from rows of ``{column: (value, error)}`` and flags.

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
    for name, unit in options.columns.items():
        pairs = np.array([row.get(name, nothing) for row in rows], float).reshape(-1, 2)
        value, error = pairs.T
        error = np.where(np.isfinite(value) & (error >= 0), error, np.nan)
        table[name] = masked_column(value, unit)
        table[f"{name}_error"] = masked_column(error, unit)
    table["broad_line"] = MaskedColumn(
        [row.get("broad_line", False) for row in rows],
        mask=["broad_line" not in row for row in rows],
        dtype=bool,
    )
    classes = [row.get("bpt_class", "") for row in rows]
    table["bpt_class"] = MaskedColumn(classes, mask=[not name for name in classes], dtype="U12")
    table["flags"] = ["; ".join(row["flags"]) for row in rows]
    for name in table.colnames:
        if table[name].dtype.kind == "f":
            table[name].info.format = ".6f" if name.startswith("redshift") else ".5g"
    describe(table, options.indices, options.lines)
    table.meta["redshift_range"] = list(options.redshift_range)
    table.meta["templates"] = str(options.templates)
    return table


def masked_column(values, unit):
    """Make a column of a table, masked where values are not finite.

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
