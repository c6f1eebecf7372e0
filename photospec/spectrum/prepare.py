"""The one gate through which spectra enter the networks."""

import numpy as np

from photospec.dust import ASSUMED_EBV, attenuate, check_ebv, galactic_extinction
from photospec.errors import InputError
from photospec.spectrum.arrays import SpectrumArrays, to_arrays
from photospec.spectrum.wavelengths import WAVELENGTH, to_training_grid

__all__ = ["prepare_spectra"]


def prepare_spectra(spectrum, *, galactic_ebv=None):
    """Put spectra on the training grid, bad samples bridged, divided by their mean.

    Parameters
    ----------
    spectrum : specutils.Spectrum or SpectrumArrays
        One or n spectra that cover 4000 to 8499 Angstrom in the observed frame. On another
        grid than `photospec.spectrum.WAVELENGTH` they are smoothed as the training spectra.
    galactic_ebv : float, optional
        E(B-V) of the Milky Way, mag, that the spectra are brought to; as they are by default.

    Returns
    -------
    ndarray (n, 4500) of float32

    Raises
    ------
    InputError
        If spectra do not cover the grid or have no light.
    """
    arrays = spectrum if isinstance(spectrum, SpectrumArrays) else to_arrays(spectrum)
    flux, wavelength = arrays.flux, arrays.wavelength
    bad = arrays.mask | ~np.isfinite(flux)
    if bad.any():
        flux = flux.astype(float)
        for row, hidden in zip(flux, bad):
            if not hidden.all():
                row[hidden] = np.interp(wavelength[hidden], wavelength[~hidden], row[~hidden])
    if not np.array_equal(wavelength, WAVELENGTH):
        flux = to_training_grid(wavelength, flux)
    if galactic_ebv is not None:
        added = galactic_ebv - _spectrum_ebv(getattr(spectrum, "meta", None) or {}, len(flux))
        flux = attenuate(flux, galactic_extinction(WAVELENGTH), added)
    level = flux.mean(axis=-1)
    if not np.all(level > 0):
        worst = int(np.flatnonzero(~(level > 0))[0])
        raise InputError(
            f"spectrum: expected light, got a mean flux of {level[worst]:.3g} in spectrum "
            f"number {worst} of {len(flux)}; is all of it masked?"
        )
    return np.ascontiguousarray(flux / level[:, None], dtype=np.float32)


def _spectrum_ebv(meta, n):
    """Return E(B-V) (n,) whose dust spectra come with, by what they say of themselves."""
    if meta.get("galactic_extinction") == "removed":
        return np.zeros(n)
    ebv = meta.get("galactic_ebv")
    if ebv is None:
        return np.full(n, ASSUMED_EBV)
    values = [check_ebv(value) for value in (ebv if np.ndim(ebv) else [ebv])]
    if len(values) not in (1, n):
        raise InputError(
            f'meta["galactic_ebv"]: expected one number or one for each of {n} spectra, got '
            f"{len(values)}"
        )
    return np.broadcast_to(np.array(values, float), n)
