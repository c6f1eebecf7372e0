"""All properties of one spectrum or of thousands, as a table with one row per spectrum."""

import os
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from photospec.analysis.gate import gather
from photospec.analysis.property_row import Options, failed_rows, measure_rows
from photospec.analysis.property_table import assemble
from photospec.errors import InputError
from photospec.utils.parallel import one_thread

__all__ = ["measure_properties"]

CHUNK = 4  # spectra per task: small, so that the progress bar moves and both cores end together
SERIAL_MAX = 8  # fewer spectra than this are not worth starting processes for


def measure_properties(
    spectrum,
    *,
    redshift=None,
    redshift_range=(0.0, 0.8),
    templates="bc03",
    galactic_ebv=0.0,
    n_bootstrap=0,
    seed=0,
    n_processes=None,
    progress=False,
):
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
        Foreground E(B-V) in mag, removed first (Cardelli et al. 1989).
    n_bootstrap : int
        Wild bootstraps behind the errors of the populations; 0 for the quick errors.
    seed : int
        Of the random draws behind the errors; every spectrum gets the same numbers
        whatever the number of processes or the other spectra.
    n_processes : int, optional
        Default: one for fewer than eight spectra, else one per core.
    progress : bool or callable
        Show a progress bar; or a function to call with the number of spectra just measured.

    Returns
    -------
    astropy.table.QTable
        One row per spectrum. Every measured number has a column ``<column>_error``. What
        cannot be measured is masked, with the reason in ``flags``; one bad spectrum never
        stops the rest.

    Raises
    ------
    InputError
        If there is no spectrum, or an option cannot be understood.
    """
    rows = gather(spectrum, strict=False)
    n = len(rows)
    options = Options.checked(redshift_range, templates, n_bootstrap, seed)
    redshift = _per_spectrum("redshift", np.nan if redshift is None else redshift, n)
    galactic_ebv = _per_spectrum("galactic_ebv", galactic_ebv, n)
    if not np.all(galactic_ebv >= 0):
        raise InputError(
            f"galactic_ebv: expected no negative number, got {galactic_ebv.min():g}; is it A_V?"
        )
    # What else a spectrum carries (headers, a WCS) need not, and may not, travel to a worker.
    arrays = [row if isinstance(row, str) else replace(row, meta={}) for row in rows]
    tasks = [
        (arrays[i : i + CHUNK], redshift[i : i + CHUNK], galactic_ebv[i : i + CHUNK], options)
        for i in range(0, n, CHUNK)
    ]
    results = []
    n_processes = _process_count(n_processes, len(tasks), n)
    with one_thread(), _reporting(n, progress) as report:
        for chunk in _run(tasks, n_processes):
            results += chunk
            report(len(chunk))
    return assemble(results, options)


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


def _process_count(n_processes, n_tasks, n):
    if n_processes is None:
        n_processes = 1 if n < SERIAL_MAX else _n_cores()
    if not isinstance(n_processes, (int, np.integer)) or n_processes < 1:
        raise InputError(f"n_processes: expected a positive whole number, got {n_processes!r}")
    if os.name != "posix":
        return 1  # pipes to the workers are passed on as file descriptors
    return min(int(n_processes), n_tasks)


def _n_cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _reporting(n, progress):
    """Function to call with the number of spectra just measured."""
    if callable(progress):
        yield progress
        return
    from tqdm import tqdm

    with tqdm(total=n, unit="spectrum", disable=not progress) as bar:
        yield bar.update
