"""All properties of one spectrum or of thousands, as a table with one row per spectrum."""

import os
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from photospec.analysis.bulk.frames import reason_not_bulk
from photospec.analysis.gate import gather, notes
from photospec.analysis.property_row import Options, failed_rows, measure_rows
from photospec.analysis.property_table import assemble
from photospec.errors import InputError
from photospec.utils.parallel import one_thread

__all__ = ["measure_properties"]

# Spectra per task: few, so that the progress bar moves and all cores end together; and fewer
# spectra in all than are worth starting processes for. On the exact path, and in bulk.
CHUNK, CHUNK_BULK = 4, 32
SERIAL_MAX, SERIAL_MAX_BULK = 8, 256


def measure_properties(
    spectrum,
    *,
    redshift=None,
    redshift_range=(0.0, 0.8),
    templates="bc03",
    galactic_ebv=0.0,
    n_bootstrap=0,
    seed=0,
    method="auto",
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
    method : {"auto", "bulk", "ppxf"}
        ``"ppxf"``: the exact path, with pPXF. ``"bulk"``: the same quantities by the same
        definitions in a tenth of the time, for spectra without uncertainty and with a
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
        stops the rest.

    Raises
    ------
    InputError
        If there is no spectrum, or an option cannot be understood, or `method` is
        ``"bulk"`` and a spectrum needs the exact path.

    Examples
    --------
    >>> from photospec.analysis import measure_properties
    >>> from photospec.spectrum import WAVELENGTH, from_arrays
    >>> spectrum = from_arrays(WAVELENGTH, 0 * WAVELENGTH + 1, lsf=2.3)
    >>> table = measure_properties(spectrum)
    >>> print(table["flags"][0], "|", table.meta["method"])
    constant flux | bulk
    """
    rows = gather(spectrum, strict=False)
    n = len(rows)
    options = Options.checked(redshift_range, templates, n_bootstrap, seed, method)
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
    """Which spectra (n,) take the bulk path; or InputError if some cannot and should."""
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
    """Which spectra took which path, in words."""
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
        n_processes = 1 if n < serial else _n_cores()
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
