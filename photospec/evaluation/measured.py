"""Measure spectra as a user would, in processes, with the results kept on disk.

The same measurement on predicted and on true spectra, so that what the analysis itself gets
wrong does not count against the prediction.
"""

from contextlib import suppress

import numpy as np

from photospec.evaluation.derived import DERIVED, derive
from photospec.evaluation.draws import ResultStore, arrays_of, key_of
from photospec.spectrum import WAVELENGTH
from photospec.utils.parallel import map_in_processes, one_thread
from photospec.utils.progress import progress_bar

__all__ = ["LINES", "QUANTITIES", "measure_spectra"]

#: Lines whose flux, equivalent width, width and signal-to-noise ratio are measured.
LINES = ("hbeta", "oiii_5007", "oi_6300", "halpha", "nii_6584", "sii_6716", "sii_6731")
_MEASURED = (
    "dn4000",
    "age_light_weighted",
    "metallicity_light_weighted",
    "ebv",
    "velocity_dispersion",
    "mass_to_light",
    *(f"{line}_{what}" for line in LINES for what in ("flux", "ew", "width", "snr")),
)
#: Numbers measured on a spectrum.
QUANTITIES = (*_MEASURED, *DERIVED)
_AT_ONCE, _CHUNK = 4, 64  # spectra per task; galaxies between two writes to disk
# Spectra that are fitted together when no process shares them out.
_TOGETHER = 32


def measure_spectra(
    flux, redshift, lsf, *, ivar=None, method="auto", store=None, n_processes=1, progress=False
):
    """Measure `QUANTITIES`.

    Parameters
    ----------
    flux : ndarray (..., n_wave)
        1e-17 erg/s/cm2/A, on `photospec.spectrum.WAVELENGTH`.
    redshift : ndarray (...,)
        Where to measure; NaN leaves a spectrum out.
    lsf : ndarray (n_wave,)
        Line-spread function, standard deviation in Angstrom.
    ivar : ndarray (..., n_wave), optional
        Inverse variances of observed spectra, zero where bad.
    method : {"auto", "bulk", "ppxf"}
        ``"ppxf"`` fits populations on the exact path; the others in bulk, a tenth of the time,
        where spectra are without noise.
    store : ResultStore, optional
    n_processes : int
    progress : bool

    Returns
    -------
    dict of str to ndarray (...,)
        Line fluxes in 1e-17 erg/s/cm2, equivalent widths in rest-frame Angstrom (emission
        positive), widths in km/s without the instrument's, ages in Gyr; for the rest see
        `photospec.evaluation.derived`. NaN where not measured.
    """
    redshift = np.asarray(redshift, float)
    flat, z = np.asarray(flux).reshape(-1, np.shape(flux)[-1]), redshift.ravel()
    noise = None if ivar is None else np.asarray(ivar).reshape(flat.shape)
    store = store or ResultStore()
    parts = []
    with progress_bar(len(z), "measure", show=progress) as bar:
        for start in range(0, len(z), _CHUNK):
            rows = slice(start, start + _CHUNK)
            spectra, places = flat[rows].astype(np.float32), z[rows]
            errors = None if noise is None else noise[rows].astype(np.float32)
            options = errors, lsf, method != "ppxf", n_processes
            found = store.get(
                f"measured-{key_of(QUANTITIES, spectra, places, errors, options[2])}",
                lambda spectra=spectra, places=places, options=options: {
                    "value": _measure(spectra, places, *options)
                },
            )
            parts.append(found["value"])
            bar.update(len(places))
    table = np.concatenate(parts) if parts else np.empty((0, len(QUANTITIES)))
    return {name: table[:, i].reshape(redshift.shape) for i, name in enumerate(QUANTITIES)}


def _measure(flux, redshift, ivar, lsf, bulk, n_processes):
    size = _AT_ONCE if n_processes > 1 else _TOGETHER
    tasks = [
        (flux[part], redshift[part], None if ivar is None else ivar[part], lsf, bulk)
        for part in (slice(i, i + size) for i in range(0, len(flux), size))
    ]
    if n_processes > 1:
        return np.concatenate(list(map_in_processes(_rows, tasks, n_processes, _no_rows)))
    return np.concatenate([_rows(*task) for task in tasks])


def _no_rows(flux, redshift, ivar, lsf, bulk):
    return np.full((len(flux), len(QUANTITIES)), np.nan)


def _rows(flux, redshift, ivar, lsf, bulk):
    """Return measured numbers (n, n_quantities)."""
    found = _no_rows(flux, redshift, ivar, lsf, bulk)
    wanted = np.flatnonzero(np.isfinite(redshift) & (redshift > 0))
    with one_thread():
        spectra = [_arrays(flux[i], ivar if ivar is None else ivar[i], lsf) for i in wanted]
        for i, arrays, fit in zip(wanted, spectra, _fits(spectra, redshift[wanted], bulk)):
            # Whatever happens to one spectrum must not stop the rest.
            with suppress(Exception):
                values = _numbers(arrays, fit or _fit(arrays, redshift[i]), float(redshift[i]))
                found[i] = [values[name] for name in QUANTITIES]
    return found


def _arrays(flux, ivar, lsf):
    return arrays_of(flux, lsf, None if ivar is None else ivar[None])


def _fits(spectra, redshift, bulk):
    """Return fits of all, together; None for each where that cannot be."""
    from photospec.analysis.bulk import fit_populations_bulk, reason_not_bulk

    if bulk and spectra and not any(reason_not_bulk(one) for one in spectra):
        with suppress(Exception):
            return fit_populations_bulk(spectra, redshift)
    return [None] * len(spectra)


def _fit(arrays, redshift):
    from photospec.analysis import fit_populations

    return fit_populations(arrays, float(redshift))


def _numbers(arrays, fit, redshift):
    from photospec.analysis import measure_indices, measure_lines

    lines = measure_lines(fit)
    values = {name: getattr(fit, name, np.nan) for name in _MEASURED}
    indices = measure_indices(arrays, redshift=redshift, indices=("dn4000",))
    values["dn4000"] = indices["dn4000"][0]
    for line in LINES:
        i = lines.index(line)
        for what in ("flux", "ew", "width", "snr"):
            values[f"{line}_{what}"] = getattr(lines, what)[i]
    flux = np.where(arrays.mask, np.nan, arrays.flux)
    good = np.isfinite(flux[0])
    flux[0, ~good] = np.interp(WAVELENGTH[~good], WAVELENGTH[good], flux[0, good])
    columns = {name: np.array([value], float) for name, value in values.items()}
    derived = derive(WAVELENGTH, flux, np.array([redshift]), columns)
    return values | {name: column[0] for name, column in derived.items()}
