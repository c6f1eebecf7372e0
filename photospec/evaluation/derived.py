"""Masses, star-formation rates and abundances from what was measured on a spectrum.

Everything is of the light that the spectrum holds, three arcsec of the galaxy: predicted and
true spectra are treated alike, so that they can be compared, but neither is the whole galaxy.
"""

from functools import lru_cache

import numpy as np

from photospec.dust import calzetti00
from photospec.lines import LINES
from photospec.photometry.filters import band_flux, effective_wavelength

__all__ = ["DERIVED", "oxygen_abundance", "star_formation_rate", "stellar_mass"]

#: Names of the numbers that `derive` gives.
DERIVED = ("log_stellar_mass", "log_sfr", "oxygen_abundance")
# Absolute AB magnitude of the Sun in SDSS r: Willmer 2018, ApJS 236, 47.
_SOLAR_R = 4.65
# Of case B at 10,000 K (Osterbrock & Ferland 2006).
_BALMER_DECREMENT = 2.86
# Kennicutt & Evans 2012, ARA&A 50, 531, table 1: log SFR = log L(Halpha) - 41.27.
_LOG_HALPHA_PER_SFR = 41.27


@lru_cache(maxsize=1)
def _distances():
    """Return a table of luminosity distance in Mpc; H0 = 70 km/s/Mpc, Omega_m = 0.3."""
    from astropy.cosmology import FlatLambdaCDM

    grid = np.linspace(1e-5, 1.5, 3001)
    return grid, FlatLambdaCDM(H0=70.0, Om0=0.3).luminosity_distance(grid).value


def _distance(redshift):
    return np.interp(redshift, *_distances(), left=np.nan, right=np.nan)


def stellar_mass(wavelength, flux, redshift, mass_to_light, ebv):
    """Return the stellar mass of the light in a spectrum, log10 of solar masses.

    Parameters
    ----------
    wavelength : ndarray (n_wave,)
        Observed, vacuum, Angstrom.
    flux : ndarray (n, n_wave)
        1e-17 erg/s/cm2/A.
    redshift, mass_to_light, ebv : ndarray (n,)
        As of a `photospec.analysis.PopulationFit`: M/L of the unattenuated rest-frame r light,
        solar units; E(B-V) of the stars, mag (Calzetti et al. 2000).

    Returns
    -------
    ndarray (n,)
        NaN where an input is, or where the r band is not in the spectrum.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.evaluation.derived import stellar_mass
    >>> wavelength = np.arange(4000.0, 8500.0)
    >>> flux = np.full((1, 4500), 20.0)
    >>> stellar_mass(wavelength, flux, [0.1], [2.0], [0.1]).round(2)
    array([10.52])
    """
    redshift, ratio, ebv = (np.asarray(v, float) for v in (redshift, mass_to_light, ebv))
    light = np.full(redshift.shape, np.nan)
    for i, z in enumerate(redshift):
        if np.isfinite(z) and z > 0:
            rest = np.asarray(wavelength) / (1 + z)
            light[i] = band_flux(rest, np.asarray(flux[i], float) * (1 + z), ["r"], partial=True)[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        modulus = 5 * np.log10(_distance(redshift) * 1e5)
        absolute = 22.5 - 2.5 * np.log10(light) - modulus
        absolute = absolute - ebv * calzetti00(effective_wavelength("r"))
        return np.log10(ratio) - 0.4 * (absolute - _SOLAR_R)


def star_formation_rate(halpha_flux, hbeta_flux, redshift):
    """Return the star-formation rate from Halpha, log10 of solar masses a year.

    L(Halpha), freed of dust by the Balmer decrement (2.86, Calzetti et al. 2000), over
    10^41.27 erg/s (Kennicutt & Evans 2012, table 1).

    Parameters
    ----------
    halpha_flux, hbeta_flux : array_like (n,)
        1e-17 erg/s/cm2.
    redshift : array_like (n,)

    Returns
    -------
    ndarray (n,)
        NaN where a line is not in emission.

    Examples
    --------
    >>> from photospec.evaluation.derived import star_formation_rate
    >>> star_formation_rate([286.0], [100.0], [0.1]).round(2)
    array([-0.41])
    """
    halpha, hbeta, redshift = (np.asarray(v, float) for v in (halpha_flux, hbeta_flux, redshift))
    curve = {name: float(calzetti00(LINES[name].wavelength)) for name in ("halpha", "hbeta")}
    with np.errstate(invalid="ignore", divide="ignore"):
        decrement = np.log10(halpha / hbeta / _BALMER_DECREMENT)
        ebv = np.clip(2.5 * decrement / (curve["hbeta"] - curve["halpha"]), 0, None)
        area = np.log10(4 * np.pi) + 2 * np.log10(_distance(redshift) * 3.0857e24)
        luminosity = np.log10(halpha) - 17 + area + 0.4 * curve["halpha"] * ebv
    return luminosity - _LOG_HALPHA_PER_SFR


def oxygen_abundance(halpha_flux, nii_flux):
    """Return the oxygen abundance of star-forming gas, 12 + log(O/H).

    8.90 + 0.57 log [N II]6584/Halpha (Pettini & Pagel 2004, MNRAS 348, L59, eq. 1).

    Parameters
    ----------
    halpha_flux, nii_flux : array_like (n,)

    Returns
    -------
    ndarray (n,)
        NaN outside of the calibration, -2.5 to -0.3 in the ratio.

    Examples
    --------
    >>> from photospec.evaluation.derived import oxygen_abundance
    >>> oxygen_abundance([10.0, 10.0], [3.0, 9.0]).round(2)
    array([8.6, nan])
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.log10(np.asarray(nii_flux, float) / np.asarray(halpha_flux, float))
    return np.where((ratio > -2.5) & (ratio < -0.3), 8.90 + 0.57 * ratio, np.nan)


def derive(wavelength, flux, redshift, values):
    """Return all of `DERIVED` from measured numbers by name, dict of ndarray (n,)."""
    mass = stellar_mass(wavelength, flux, redshift, values["mass_to_light"], values["ebv"])
    rate = star_formation_rate(values["halpha_flux"], values["hbeta_flux"], redshift)
    abundance = oxygen_abundance(values["halpha_flux"], values["nii_6584_flux"])
    return dict(zip(DERIVED, (mass, rate, abundance), strict=True))
