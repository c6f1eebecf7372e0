"""Measure spectra as a user would, in processes, with the results kept on disk.

The same measurement on predicted and on true noiseless spectra, so that what the analysis
itself gets wrong does not count against the prediction: many at once, as spectra without noise
are measured.
"""

from contextlib import suppress

import numpy as np
from tqdm import tqdm

from photospec.evaluation.draws import Store, arrays_of, key_of
from photospec.utils.parallel import map_in_processes

__all__ = ["LINES", "QUANTITIES", "measure_spectra"]

#: Lines whose flux, equivalent width and width are measured.
LINES = ("hbeta", "oiii_5007", "halpha", "nii_6584", "sii_6716", "sii_6731")
#: Numbers measured on a spectrum.
QUANTITIES = (
    "dn4000",
    "age_light_weighted",
    "metallicity_light_weighted",
    "ebv",
    "velocity_dispersion",
    *(f"{line}_{what}" for line in LINES for what in ("flux", "ew", "width", "snr")),
)
_AT_ONCE, _CHUNK = 32, 64


def measure_spectra(flux, redshift, lsf, *, store=None, n_processes=1, progress=False):
    """Measure `QUANTITIES`.

    Parameters
    ----------
    flux : ndarray (..., n_wave)
        1e-17 erg/s/cm2/A, on `photospec.spectrum.WAVELENGTH`.
    redshift : ndarray (...,)
        Where to measure; NaN leaves a spectrum out.
    lsf : ndarray (n_wave,)
        Line-spread function, standard deviation in Angstrom.
    store : Store, optional
    n_processes : int
    progress : bool

    Returns
    -------
    dict of str to ndarray (...,)
        Line fluxes in 1e-17 erg/s/cm2, equivalent widths in rest-frame Angstrom (emission
        positive), widths in km/s without the instrument's, ages in Gyr; NaN where not measured.
    """
    redshift = np.asarray(redshift, float)
    flat, z = np.asarray(flux).reshape(-1, np.shape(flux)[-1]), redshift.ravel()
    store = store or Store()
    parts = []
    for start in tqdm(range(0, len(z), _CHUNK), disable=not progress, desc="measure"):
        rows = slice(start, start + _CHUNK)
        spectra, places = flat[rows].astype(np.float32), z[rows]
        parts.append(
            store.get(
                f"measured-{key_of(spectra, places)}",
                lambda spectra=spectra, places=places: {
                    "value": _measure(spectra, places, lsf, n_processes)
                },
            )["value"]
        )
    table = np.concatenate(parts) if parts else np.empty((0, len(QUANTITIES)))
    return {name: table[:, i].reshape(redshift.shape) for i, name in enumerate(QUANTITIES)}


def _measure(flux, redshift, lsf, n_processes):
    tasks = [
        (flux[i : i + _AT_ONCE], redshift[i : i + _AT_ONCE], lsf)
        for i in range(0, len(flux), _AT_ONCE)
    ]
    if n_processes > 1:
        return np.concatenate(list(map_in_processes(_rows, tasks, n_processes, _no_rows)))
    return np.concatenate([_rows(*task) for task in tasks])


def _no_rows(flux, redshift, lsf):
    return np.full((len(flux), len(QUANTITIES)), np.nan)


def _rows(flux, redshift, lsf):
    """Measured numbers (n, n_quantities)."""
    from photospec.analysis.bulk import fit_populations_bulk, reason_not_bulk
    from photospec.utils.parallel import one_thread

    found = _no_rows(flux, redshift, lsf)
    with one_thread():
        rows = {
            i: arrays_of(one, lsf)
            for i, (one, z) in enumerate(zip(flux, redshift))
            if np.isfinite(z) and z > 0
        }
        alike = [i for i, arrays in rows.items() if not reason_not_bulk(arrays)]
        fits = {}
        if alike:
            together = fit_populations_bulk([rows[i] for i in alike], np.asarray(redshift)[alike])
            fits = dict(zip(alike, together))
        for i, arrays in rows.items():
            # Whatever happens to one spectrum must not stop the rest.
            with suppress(Exception):
                values = _one(arrays, float(redshift[i]), fits.get(i))
                found[i] = [values[name] for name in QUANTITIES]
    return found


def _one(arrays, redshift, fit=None):
    from photospec.analysis import fit_populations, measure_indices, measure_lines

    if fit is None:
        fit = fit_populations(arrays, redshift)
    lines = measure_lines(fit)
    values = {name: getattr(fit, name, np.nan) for name in QUANTITIES}
    indices = measure_indices(arrays, redshift=redshift, indices=("dn4000",))
    values["dn4000"] = indices["dn4000"][0]
    for line in LINES:
        i = lines.index(line)
        for what in ("flux", "ew", "width", "snr"):
            values[f"{line}_{what}"] = getattr(lines, what)[i]
    return values
