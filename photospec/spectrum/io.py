"""Spectra on disk: this package's own files, survey files, and what specutils reads.

What own files hold: `photospec.spectrum.own_files`.
"""

import warnings
from os import PathLike
from pathlib import Path

from astropy import units as u
from astropy.io import fits, registry
from specutils import Spectrum, SpectrumCollection, SpectrumList

from photospec.errors import InputError, PhotospecError
from photospec.spectrum.arrays import to_arrays
from photospec.spectrum.formats import GivenUnits, image_spectrum, known_kind, table_spectrum
from photospec.spectrum.headers import given_unit
from photospec.spectrum.own_files import is_own, own_hdus, own_spectrum
from photospec.spectrum.text import text_spectrum
from photospec.utils.files import replacing
from photospec.utils.fits import open_fits
from photospec.utils.reading import one_line, reading

__all__ = ["read_spectrum", "write_spectra"]

# Readers of specutils that guess, from units alone: ours ask names and headers first.
_NO_SCIENCE = {"SKY", "MODEL", "TELLURIC", "BACKGROUND"}  # tables beside those of the object
_GENERIC = {"tabular-fits", "wcs1d-fits", "ECSV", "ASCII", "IPAC", "iraf"}


def read_spectrum(
    path: str | PathLike,
    *,
    wavelength_medium: str | None = None,
    flux_unit: str | u.UnitBase | None = None,
    wavelength_unit: str | u.UnitBase | None = None,
) -> Spectrum | SpectrumList:
    """Read one or more spectra from a file.

    Parameters
    ----------
    path : path-like
        SDSS ``spec-*.fits``, ``spSpec-*.fit`` and ``spPlate-*.fits``, LAMOST, DESI coadds; a file
        of `write_spectra`; FITS tables with columns for wavelength, flux and errors; FITS images
        with a spectral axis, those of IRAF too; text: ECSV, IPAC tables, or columns of numbers
        with or without a header (`photospec.spectrum.text`); or anything that specutils knows,
        as `Spectrum` or as `SpectrumList`.
    wavelength_medium : {"air", "vacuum"}, optional
        Where the file does not say, or is wrong.
    flux_unit, wavelength_unit : str or Unit, optional
        Of tables, images and text that do not say them.

    Returns
    -------
    specutils.Spectrum or specutils.SpectrumList
        A list where the file holds spectra on different wavelengths. Medium and frame of the
        wavelengths as the header says are in ``meta["wavelength_medium"]`` and
        ``meta["spectral_frame"]``. For SDSS files there are the resolution in
        ``meta["lsf_sigma"]``, the position, and what the survey itself measured in
        ``meta["sdss"]`` (a reference, not a hint).

    Raises
    ------
    InputError
        If the file is not there, damaged, holds no spectrum, contradicts itself or the units given,
        or says no units and none are given; if those given are not of a spectrum.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from photospec.spectrum import from_arrays, read_spectrum, write_spectra
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/spectrum.fits"
    ...     write_spectra(path, from_arrays(np.arange(4000.0, 5000.0), np.ones(1000)))
    ...     read_spectrum(path).flux.shape
    (1000,)
    """
    path = Path(path)
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "is no file"
        state = state if path.exists() else "does not exist"
        raise InputError(f"path: expected a spectrum file, got {path} which {state}")
    if wavelength_medium not in (None, "air", "vacuum"):
        raise InputError(
            f"wavelength_medium: expected 'air' or 'vacuum', got {wavelength_medium!r}"
        )
    units = GivenUnits(
        flux=given_unit(flux_unit, "flux", "flux_unit"),
        axis=given_unit(wavelength_unit, "axis", "wavelength_unit"),
    )
    try:
        with reading(path, "a spectrum"), warnings.catch_warnings():
            # Readers warn of units and cards that are put right here.
            warnings.simplefilter("ignore")
            found = _read(path, units)
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}") from None
    for spectrum in found if isinstance(found, SpectrumList) else [found]:
        if wavelength_medium is not None:
            spectrum.meta["wavelength_medium"] = wavelength_medium
    return found


def _read(path, units):
    if _is_fits(path):
        hdus = open_fits(path)
        found = _by_survey(path, hdus)
        if found is None:
            by_names = _by_names(hdus, units)
            if by_names is not None:
                return by_names
    else:
        found = text_spectrum(path, units)
        if found is not None:
            return found
    if found is None:
        formats = registry.identify_format("read", Spectrum, str(path), None, (), {})
        found = _by_specutils(path, [(Spectrum, name) for name in formats] or [(Spectrum, None)])
    if units:
        raise InputError(
            "flux_unit, wavelength_unit: expected neither for a format that fixes its units or "
            f"says them, got {units.flux or units.axis} for {path}"
        )
    return found


def _by_survey(path, hdus):
    """Read spectra from a FITS file of a format that is known; None if it is of none."""
    if is_own(hdus):
        return own_spectrum(hdus)
    found = known_kind(hdus)
    return _by_specutils(path, _specific_formats(path)) if found is None else found


def _by_names(hdus, units):
    """Read spectra from the tables whose columns are named, or from an image; None if neither."""
    spectra = []
    for hdu in hdus:
        if isinstance(hdu, fits.BinTableHDU | fits.TableHDU) and hdu.name not in _NO_SCIENCE:
            found = table_spectrum(hdu, hdus[0].header, given=units)
            spectra += [] if found is None else found if isinstance(found, list) else [found]
    if spectra:
        return spectra[0] if len(spectra) == 1 else SpectrumList(spectra)
    return image_spectrum(hdus, units)


def _is_fits(path):
    with open(path, "rb") as file:
        start = file.read(6)
    suffixes = {suffix.lower() for suffix in path.suffixes}
    return start == b"SIMPLE" or bool(suffixes & {".fits", ".fit"})


def _specific_formats(path):
    """Return formats of specutils, with the class to read, that fit a file for more than its
    suffix.
    """
    kinds = []
    for cls in (Spectrum, SpectrumList):
        for name in registry.identify_format("read", cls, str(path), None, (), {}):
            if name not in _GENERIC and name not in {known for _, known in kinds}:
                kinds.append((cls, name))
    return kinds


def _by_specutils(path, kinds):
    """Read spectra by the first reader of specutils that does not fail; None if none is given."""
    reasons = []
    for cls, name in kinds:
        try:
            if name == "iraf":  # rows (apertures, orders) on grids of their own
                return _as_spectrum(SpectrumCollection.read(str(path), format=name))
            return _as_spectrum(cls.read(str(path), format=name))
        except PhotospecError:
            raise
        except Exception as error:  # specutils loaders raise anything
            reasons.append(one_line(error))
    if reasons:
        raise InputError(
            f"path: expected a spectrum that specutils can read, got {path} ({reasons[0]})"
        )
    return None


def _as_spectrum(found):
    """Return one Spectrum, or a list of several: science spectra only."""
    if isinstance(found, Spectrum):
        return found
    if isinstance(found, SpectrumCollection):
        found = [found[i] for i in range(len(found.flux))] if found.flux.ndim > 1 else [found[:]]
    spectra = [spectrum for spectrum in found if isinstance(spectrum, Spectrum)]
    # Files of Data Central hold sky and unreduced spectra too, and say so; where the exposures were
    # combined the combination is the spectrum of the object.
    for purpose in ("combined", "reduced"):
        science = [s for s in spectra if s.meta.get("purpose", "reduced") == purpose]
        if science:
            spectra = science
            break
    if not spectra:
        raise InputError("path: expected at least one spectrum, got a file without any")
    return spectra[0] if len(spectra) == 1 else SpectrumList(spectra)


def write_spectra(path: str | PathLike, spectrum: Spectrum, overwrite: bool = False) -> None:
    """Write one or more spectra to a FITS table that specutils and `read_spectrum` read.

    Parameters
    ----------
    path : path-like
        Output file.
    spectrum : specutils.Spectrum
        Flux (n_wave,) or (n, n_wave), with units that `to_arrays` takes. Uncertainties become
        standard deviations; flux, axis and units are kept as they are. ``meta["spread"]`` (a
        Quantity in the shape of the flux) becomes a column of its own.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    InputError
        If the file exists and `overwrite` is false, the folder does not, or what would be
        written is no spectrum that could be used when it is read back.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from photospec.spectrum import from_arrays, read_spectrum, write_spectra
    >>> spectra = from_arrays(np.arange(4000.0, 5000.0), np.ones((3, 1000)), sigma=0.1, lsf=1.2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_spectra(f"{folder}/spectra.fits", spectra)
    ...     back = read_spectrum(f"{folder}/spectra.fits")
    >>> back.flux.shape, float(back.uncertainty.array[2, 5]), float(back.meta["lsf_sigma"][0])
    ((3, 1000), 0.1, 1.2)
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError(f"path: expected a new file, got {path} which exists; allow overwrite")
    if not path.parent.is_dir():
        raise InputError(f"path: expected an existing folder, got {path.parent}; create it first")
    to_arrays(spectrum)  # what cannot be read back is not written
    with replacing(path) as temporary:
        own_hdus(spectrum).writeto(temporary, overwrite=True)
