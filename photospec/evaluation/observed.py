"""What pairs themselves say: true spectra, or observed ones, and the photometry of the images."""

import numpy as np

from photospec.errors import InputError
from photospec.evaluation import agn
from photospec.evaluation.answers import spectrum_numbers
from photospec.evaluation.measured import QUANTITIES, measure_spectra
from photospec.evaluation.records import collect
from photospec.spectrum import WAVELENGTH

__all__ = [
    "bridged",
    "brightness_and_colour",
    "check_pairs",
    "measure_observed",
    "reference_spectra",
]


def check_pairs(pairs):
    """Raise `InputError` unless the spectra are on the grid that the networks draw on."""
    if pairs.wavelength.shape != WAVELENGTH.shape or not np.allclose(pairs.wavelength, WAVELENGTH):
        raise InputError(
            f"pairs: expected {WAVELENGTH.size} samples from {WAVELENGTH[0]:.0f} to "
            f"{WAVELENGTH[-1]:.0f} Angstrom, got {pairs.wavelength.size} in {pairs.path}; "
            "was the file written by photospec download or simulate?"
        )


def reference_spectra(pairs, rows):
    """Return the spectra that predictions are compared with.

    Parameters
    ----------
    pairs : PairsFile
    rows : ndarray of int (n,)

    Returns
    -------
    flux : ndarray (n, n_wave)
        Noiseless where pairs are simulated; else observed, NaN where bad.
    ivar : ndarray (n, n_wave) or None
        Of observed spectra.
    """
    if pairs.has_truth:
        return pairs.truth_flux(rows), None
    flux, ivar = pairs.flux(rows).astype(float), pairs.ivar(rows)
    return np.where(ivar > 0, flux, np.nan), ivar


def bridged(flux, ivar):
    """Return the spectra (n, n_wave) without gaps: bad samples interpolated; as `reference_spectra`
    gives.
    """
    if ivar is None:
        return flux
    flux = np.array(flux)
    for one in flux:
        good = np.isfinite(one)
        if good.any() and not good.all():
            one[~good] = np.interp(WAVELENGTH[~good], WAVELENGTH[good], one[good])
    return flux


def brightness_and_colour(photometry, bands):
    """Return the r magnitude within 6.5 arcsec and the colour across r's blue side, of images.

    Parameters
    ----------
    photometry : photospec.evaluation.features.Photometry
    bands : sequence of str

    Returns
    -------
    magnitude, colour : ndarray (n,)
    name : str
        Of the colour, such as ``"g - r"``.
    """
    r = max(list(bands).index("r") - 1, 0)
    return (
        photometry.compact[:, -2],
        photometry.compact[:, r],
        f"{bands[r]} - {bands[r + 1]}",
    )


def measure_observed(pairs, index, lsf, settings, store):
    """Measure the pairs' own spectra.

    Parameters
    ----------
    pairs : PairsFile
    index : ndarray of int (n,)
        Rows of the pairs that are used.
    lsf : ndarray (n_wave,)
    settings : photospec.evaluation.on_pairs.Settings
    store : photospec.evaluation.draws.ResultStore

    Returns
    -------
    dict of ndarray (n, ...)
        ``g_r``, ``r_i``, ``dn4000``; ``measured`` (n_measured, n_quantities); ``seen``, whether
        the four BPT lines would stand out in the pair's own noise (simulated pairs).
    """
    redshift = np.asarray(pairs.object["redshift"], float)
    truth = pairs.truth
    lines = [f"{name}_flux" for name in agn.BPT_LINES]
    has_lines = set(lines) <= set(truth.colnames)

    def measure(rows):
        chosen = index[rows]
        flux, ivar = reference_spectra(pairs, chosen)
        z = redshift[chosen]
        found = spectrum_numbers(flux, z, lsf)
        few = rows < settings.n_measured
        if few.any():
            values = measure_spectra(
                np.nan_to_num(flux[few]),
                z[few],
                lsf,
                ivar=None if ivar is None else ivar[few],
                method=settings.method,
                n_processes=settings.n_processes,
            )
            found["measured"] = np.stack([values[name] for name in QUANTITIES], axis=-1)
        if has_lines:
            columns = {name: np.asarray(truth[name][chosen]) for name in lines}
            found["seen"] = agn.measurable(columns, pairs, chosen)
        return found

    return collect(
        measure, len(index), store, progress=settings.progress, description="true spectra"
    )
