"""How the population changes with redshift, for surveys that reach beyond the SDSS main sample.

The relations of `PopulationConfig` were fitted to galaxies around redshift 0.1. `EvolutionConfig`
moves them: each number is a published trend, taken relative to `reference_redshift`, so that the
local relations hold there. A population without evolution (``evolution=None``) uses the local
relations at every redshift.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from photospec.config import setting, validate
from photospec.errors import InputError
from photospec.simulation.galaxies.cosmology import universe_age
from photospec.simulation.galaxies.stars import CORRECTION_WAVELENGTH, correction_spline

__all__ = [
    "EvolutionConfig", "Shifts", "epoch_correction", "mass_function", "relation_shifts"
]  # fmt: skip

# Redshifts at which the mass function of Leja et al. (2020) is anchored.
_ANCHORS = np.array([0.2, 1.6, 3.0])


@dataclass(frozen=True)
class EvolutionConfig:
    """Change of the scaling relations with redshift.

    `Survey.write` writes each field with its meaning and source.

    Examples
    --------
    >>> from photospec.simulation import EvolutionConfig, PopulationConfig
    >>> deep = PopulationConfig(r_limit=20.5, redshift_max=0.7, evolution=EvolutionConfig())
    >>> deep.evolution.size_late
    -0.75
    """

    reference_redshift: float = setting(
        0.1, "redshift at which the relations of the population hold as they are", min=0, max=0.5
    )
    log_phi1: tuple[float, ...] = setting(
        (-2.44, -3.08, -4.14),
        "log density of the massive Schechter component at z = 0.2, 1.6, 3.0; only differences "
        "are used (Leja 2020, ApJ 893, 111, appendix B)",
        min=-20,
        max=20,
    )
    log_phi2: tuple[float, ...] = setting(
        (-2.89, -3.29, -3.51), "the same of the low-mass component (ibid.)", min=-20, max=20
    )
    log_mass: tuple[float, ...] = setting(
        (10.79, 10.88, 10.84), "the same of the mass of the knee (ibid.)", min=-20, max=20
    )
    quiescent_mass: float = setting(
        3.0,
        "mass where half are quiescent ~ (1+z)^this (Davidzon 2013, A&A 558, A23)",
        min=-10,
        max=10,
    )
    ms_bend_mass: float = setting(
        2.5,
        "mass where the main sequence bends ~ (1+z)^this (Schreiber 2015, A&A 575, A74, eq. 9)",
        min=-10,
        max=10,
    )
    ms_evolution: float = setting(
        0.5,
        "added to the power of (1+z) of the main sequence, 3 in all (Whitaker 2012, ApJ 754, L29; "
        "Lilly 2013, ApJ 772, 119)",
        min=-10,
        max=10,
    )
    gas_turnover: float = setting(
        2.64,
        "turnover mass of the gas metallicity ~ (1+z)^this (Zahid 2014, ApJ 791, 130, eq. 11)",
        min=-10,
        max=10,
    )
    stellar_metallicity: float = setting(
        -0.2,
        "change of the stars' metallicity of star-forming galaxies at given mass, dex per unit "
        "redshift; none for quiescent ones (Gallazzi 2014, ApJ 788, 72)",
        min=-5,
        max=5,
    )
    ageing: float = setting(
        1.0,
        "share of the lookback time by which stars are younger; 1 keeps the epoch of formation "
        "(passive evolution: Choi 2014, ApJ 792, 95)",
        min=0,
        max=1.5,
    )
    quiescent_tau_mass: float = setting(
        -0.4,
        "decline of star formation in the quiescent above 10^10.8 solar masses ~ mass^this "
        "(Thomas 2010, MNRAS 404, 1775, sect. 5); fit",
        min=-2,
        max=2,
    )
    template_magnitude: tuple[float, ...] = setting(
        (0.129, 0.074, 0.034, 0.04, 0.047, -0.02, -0.062, -0.051, -0.07, -0.062, -0.041, -0.017),
        "added to the template correction at the knots of `CORRECTION_WAVELENGTH` beyond redshift "
        "0.35, mag, growing from none at 0.1; fit",
        min=-2,
        max=2,
    )
    dust: float = setting(
        0.0,
        "A_V at given mass ~ (1+z)^this (Sobral 2012, MNRAS 420, 1926: none to z = 1.5)",
        min=-10,
        max=10,
    )
    size_late: float = setting(
        -0.75,
        "radius of star-forming galaxies at given mass ~ (1+z)^this (van der Wel 2014, ApJ 788, "
        "28, table 1)",
        min=-5,
        max=5,
    )
    size_early: float = setting(-1.48, "the same of the quiescent (ibid.)", min=-5, max=5)
    velocity_dispersion: float = setting(
        0.4,
        "dispersion at given mass ~ (1+z)^this (Cannarozzo 2020, MNRAS 498, 1101)",
        min=-5,
        max=5,
    )

    def __post_init__(self):
        for name, n in (("log_phi1", 3), ("log_phi2", 3), ("log_mass", 3)):
            _check_length(name, getattr(self, name), n)
        _check_length("template_magnitude", self.template_magnitude, len(CORRECTION_WAVELENGTH))
        validate(self)


def _check_length(name, value, n):
    if len(value) != n:
        raise InputError(f"{name}: expected {n} numbers, got {len(value)}")


@dataclass(frozen=True)
class Shifts:
    """What evolution adds to the local relations; arrays of shape (n,), or 0 without evolution.

    Attributes
    ----------
    quiescent_mass, ms_bend_mass : ndarray
        Dex of mass.
    log_sfr : ndarray
        Dex, beyond `PopulationConfig.ms_evolution`.
    gas_metallicity, stellar_metallicity : ndarray
        Dex.
    onset : ndarray
        Change of the lookback time of the first stars, Gyr.
    log_tau : ndarray
        Dex of the decline of the quiescent.
    log_av, log_size_late, log_size_early, log_dispersion : ndarray
        Dex.
    """

    quiescent_mass: np.ndarray = 0.0
    ms_bend_mass: np.ndarray = 0.0
    log_sfr: np.ndarray = 0.0
    gas_metallicity: np.ndarray = 0.0
    stellar_metallicity: np.ndarray = 0.0
    onset: np.ndarray = 0.0
    log_tau: np.ndarray = 0.0
    log_av: np.ndarray = 0.0
    log_size_late: np.ndarray = 0.0
    log_size_early: np.ndarray = 0.0
    log_dispersion: np.ndarray = 0.0


def relation_shifts(config, log_mass, redshift) -> Shifts:
    """Return how far the relations have moved from where `PopulationConfig` has them.

    Parameters
    ----------
    config : PopulationConfig
    log_mass, redshift : ndarray, shape (n,)
    """
    e = config.evolution
    if e is None:
        return Shifts()
    z, zero = np.asarray(redshift), e.reference_redshift
    growth = np.log10((1 + z) / (1 + zero))
    younger = universe_age(config, zero) - universe_age(config, z)
    gas = _zahid(log_mass, z, e.gas_turnover) - _zahid(log_mass, zero, e.gas_turnover)
    return Shifts(
        quiescent_mass=e.quiescent_mass * growth,
        ms_bend_mass=e.ms_bend_mass * growth,
        log_sfr=e.ms_evolution * growth,
        gas_metallicity=gas,
        stellar_metallicity=e.stellar_metallicity * (z - zero),
        onset=-e.ageing * younger,
        log_tau=e.quiescent_tau_mass * np.maximum(log_mass - 10.8, 0),
        log_av=e.dust * growth,
        log_size_late=e.size_late * growth,
        log_size_early=e.size_early * growth,
        log_dispersion=e.velocity_dispersion * growth,
    )


def _zahid(log_mass, redshift, power):
    """Return 12 + log(O/H) at a stellar mass and redshift (Zahid et al. 2014, ApJ 791, 130, eq. 5,
    11).
    """
    turnover = 9.138 + power * np.log10(1 + redshift)
    return 9.102 + np.log10(1 - np.exp(-(10 ** (0.513 * (log_mass - turnover)))))


def epoch_correction(magnitude, wavelength, redshift):
    """Return the factor on templates at an epoch, beyond what `template_correction` has.

    Models that fit passive galaxies nearby are too blue at redshift 0.3 to 0.5, longward of 4500
    Angstrom by 0.1 mag in r-i (Maraston et al. 2009, MNRAS 394, L107, find the same of several
    models). What is missing is fitted to the red galaxies of the SDSS catalogue beyond 0.2 by
    benchmarks/simulation_deep.py.

    Parameters
    ----------
    magnitude : tuple of float
        `EvolutionConfig.template_magnitude`.
    wavelength : ndarray, shape (n_w,)
        Rest frame, Angstrom.
    redshift : ndarray, shape (n,)

    Returns
    -------
    ndarray of float32, shape (n, n_w)
    """
    magnitude = correction_spline(CORRECTION_WAVELENGTH, magnitude, wavelength)
    share = np.clip((np.asarray(redshift) - 0.1) / 0.25, 0, 1)
    return np.exp(-0.4 * np.log(10) * share[:, None] * magnitude, dtype=np.float32)


def mass_function(config, log_mass, redshift):
    """Return the number density of galaxies per e-fold of mass.

    Double Schechter function (Baldry et al. 2012, MNRAS 421, 621, eq. 6), whose parameters move
    with redshift as the quadratics through the anchors of Leja et al. (2020, ApJ 893, 111).

    Parameters
    ----------
    config : PopulationConfig
    log_mass : ndarray, shape (n_mass,)
    redshift : ndarray, shape (n_z,)

    Returns
    -------
    ndarray, shape (n_z, n_mass), or (1, n_mass) without evolution
        1/Mpc^3.
    """
    c, e = config, config.evolution
    phi1, phi2, knee = c.schechter_phi1, c.schechter_phi2, c.schechter_mass
    if e is not None:
        at = np.append(redshift, e.reference_redshift)
        change = [np.polyval(np.polyfit(_ANCHORS, values, 2), at)
                  for values in (e.log_phi1, e.log_phi2, e.log_mass)]  # fmt: skip
        change = [(values[:-1] - values[-1])[:, None] for values in change]
        phi1, phi2, knee = phi1 * 10 ** change[0], phi2 * 10 ** change[1], knee + change[2]
    x = 10 ** (log_mass - knee)
    phi = np.exp(-x) * (phi1 * x ** (c.schechter_alpha1 + 1) + phi2 * x ** (c.schechter_alpha2 + 1))
    return np.atleast_2d(phi)
