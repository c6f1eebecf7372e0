"""SDSS ``lite`` spectra: check them, and put them on the grid of the networks."""

import numpy as np

from photospec.archive.transfer import FileRefused
from photospec.archive.verify import expect, open_verified
from photospec.errors import InputError

__all__ = ["check_spectrum", "training_spectrum"]

NEEDED = {"flux", "loglam", "ivar", "and_mask", "wdisp"}
# Bits of and_mask (bad in every exposure) that make a sample no measurement of the object:
# 18 FULLREJECT, 22 NOSKY, 23 BRIGHTSKY, 24 NODATA.
BAD = (1 << 18) | (1 << 22) | (1 << 23) | (1 << 24)


def check_spectrum(path, plate, mjd, fiberid):
    """Check that a file is the whole spectrum of one fibre.

    Parameters
    ----------
    path : Path
        The file.
    plate, mjd, fiberid : int
        Expected plate, date and fibre.

    Returns
    -------
    content : None
        Spectra are read again when pairs are made.
    proven : bool
        Whether checksums inside vouch for its bytes.

    Raises
    ------
    FileRefused
        The file is damaged or of another object.
    """
    with open_verified(path) as (hdus, proven):
        expect(hdus[0].header, path, PLATEID=plate, MJD=mjd, FIBERID=fiberid)
        tables = [getattr(hdu, "columns", None) for hdu in hdus[1:3]]
        whole = len(tables) == 2 and all(tables)
        if not (whole and {name.lower() for name in tables[0].names} >= NEEDED):
            raise FileRefused("no SDSS spectrum: columns flux, loglam, ivar ... are missing")
        loglam = hdus[1].data[_name(hdus[1], "loglam")]
        if not np.all(np.diff(loglam) > 0):
            raise FileRefused("damaged spectrum: its wavelengths do not increase")
        row = {name.upper(): hdus[2].data[name][0] for name in hdus[2].columns.names}
        inside = {name: row.get(name) for name in ("PLATE", "MJD", "FIBERID")}
        expect(inside, path, PLATE=plate, MJD=mjd, FIBERID=fiberid)
    return None, proven


def training_spectrum(path):
    """Read a spectrum and put it on `photospec.spectrum.WAVELENGTH`.

    Parameters
    ----------
    path : Path
        SDSS spectrum file.

    Returns
    -------
    flux, ivar : ndarray (4500,)
        Smoothed as all training spectra are, in 1e-17 erg/s/cm2/A and its inverse square.
    lsf_sigma : float
        Standard deviation of the spectrograph's line-spread function, Angstrom, before that
        smoothing: median over the grid.

    Raises
    ------
    InputError
        The spectrum does not cover the grid, or holds nothing.
    """
    from photospec.spectrum import WAVELENGTH, read_spectrum, to_arrays, to_training_grid

    arrays = to_arrays(read_spectrum(path))
    ivar = np.where(arrays.mask | ~np.isfinite(arrays.sigma), 0.0, arrays.sigma**-2.0)[0]
    ivar[_bad(path)] = 0.0
    # All SDSS spectra share one grid in log10 wavelength, but begin and end anywhere. Cut to
    # what is needed they are on the very same samples, and the smoothing is set up once.
    pixel = np.rint(1e4 * np.log10(arrays.wavelength)).astype(int)
    first, last = np.rint(1e4 * np.log10([WAVELENGTH[0] - 15, WAVELENGTH[-1] + 15])).astype(int)
    inside = (pixel >= first) & (pixel <= last)
    wavelength = 10 ** (1e-4 * pixel[inside])
    if np.abs(wavelength / arrays.wavelength[inside] - 1).max(initial=0) > 1e-5:
        wavelength = arrays.wavelength[inside]
    if not inside.any() or not np.any(ivar[inside] > 0):
        raise InputError(
            f"spectrum: expected flux at 4000 to 8500 Angstrom, got none in {path.name}"
        )
    flux, ivar = to_training_grid(wavelength, arrays.flux[0, inside], ivar[inside])
    lsf = np.nan if arrays.lsf is None else float(np.median(arrays.lsf[..., inside]))
    return flux, ivar, lsf


def _bad(path):
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        return (hdus[1].data[_name(hdus[1], "and_mask")] & BAD) != 0


def _name(hdu, wanted):
    return next(name for name in hdu.columns.names if name.lower() == wanted)
