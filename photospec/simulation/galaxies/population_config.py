"""The numbers that define the population, with their sources."""

from __future__ import annotations

from dataclasses import dataclass

from photospec.errors import InputError
from photospec.simulation.settings import check_limits, setting

__all__ = ["PopulationConfig"]


def _number(default, text, low=-20.0, high=20.0):
    return setting(default, text, low, high)


def _share(default, text):
    return setting(default, text, 0.0, 1.0)


def _width(default, text):
    return setting(default, text, 0.0, 10.0)


@dataclass(frozen=True)
class PopulationConfig:
    """Selection, cosmology and scaling relations of the simulated galaxies.

    Each field's meaning and source is its ``help`` metadata. "fit" marks numbers fitted to the
    real catalogues by benchmarks/simulation_fit.py, starting from the source named.
    """

    redshift_min: float = _number(0.02, "lowest redshift", 0.0, 0.5)
    redshift_max: float = _number(0.3, "highest redshift", 0.0, 0.5)
    r_limit: float = _number(
        17.77, "faint limit, r mag without Galactic extinction (Strauss 2002)", 10.0, 21.0
    )
    r_bright: float = _number(14.0, "bright limit, r mag", 10.0, 21.0)
    h0: float = _number(70.0, "Hubble constant, km/s/Mpc", 20.0, 200.0)
    omega_m: float = _number(0.3, "matter density, flat universe", 0.01, 1.0)

    mass_min: float = _number(8.0, "lowest stellar mass, log10 solar masses")
    mass_max: float = _number(12.0, "highest stellar mass, log10 solar masses")
    schechter_mass: float = _number(10.66, "knee of the mass function (Baldry 2012, eq. 6)")
    schechter_phi1: float = _share(3.96e-3, "first density, 1/Mpc3/dex-e (Baldry 2012)")
    schechter_alpha1: float = _number(-0.35, "first slope (Baldry 2012)")
    schechter_phi2: float = _share(0.79e-3, "second density (Baldry 2012)")
    schechter_alpha2: float = _number(-1.47, "second slope (Baldry 2012)")

    quiescent_mass: float = _number(10.18, "log mass where half are quiescent (Baldry 2006); fit")
    quiescent_width: float = _width(0.411, "width of that transition, dex; fit")
    quiescent_max: float = _share(0.93, "quiescent fraction at high mass; fit")
    green_fraction: float = _share(0.3, "share of the quiescent in the green valley; fit")

    star_forming_bulge: float = _number(-0.979, "logit of the bulge share at 10^10.5, star-forming")
    quiescent_bulge: float = _number(0.835, "logit of the bulge share at 10^10.5, quiescent")
    ms_slope: float = _number(
        0.804, "main sequence, log SFR against log mass (Renzini & Peng 2015)"
    )
    ms_zero: float = _number(-0.108, "log SFR at 1e10 solar masses, z = 0.05 (ibid.)")
    ms_bend: float = _number(-0.087, "slope of the main sequence above 10^10.5 (Lee 2015); fit")
    ms_scatter: float = _width(0.279, "scatter, dex (ibid.); fit")
    ms_evolution: float = _number(2.5, "SFR ~ (1+z)^this (Speagle 2014)")
    quiescent_ssfr: float = _number(-12.67, "log SSFR of the quiescent, 1/yr; fit")
    frost_scatter: float = _width(0.416, "its scatter, dex; fit")
    green_ssfr: float = _number(-11.19, "middle of log SSFR in the green valley, 1/yr; fit")
    green_range: float = _width(1.11, "full width of that, dex; fit")
    quiescent_tau: float = _width(1.25, "decline of the disks of the quiescent, Gyr; fit")
    burst_fraction: float = _share(0.004, "share of star-forming galaxies with a burst; fit")
    burst_mass: float = _number(-1.8, "median log share of the mass in a burst")
    recent_scatter: float = _width(0.245, "scatter of the rate in the last 25 Myr, dex; fit")

    quiescent_onset: float = _number(11.12, "first stars of the quiescent at 10^10.8, Gyr ago; fit")
    quiescent_onset_slope: float = _number(0.639, "its change per dex of mass (Gallazzi 2005); fit")
    quiescent_onset_scatter: float = _width(1.11, "its scatter, Gyr; fit")
    star_forming_onset: float = _number(11.63, "first stars of star-forming disks, Gyr ago; fit")
    star_forming_onset_scatter: float = _width(1.3, "its scatter, Gyr; fit")

    metallicity_offset: float = _number(-0.146, "added to Gallazzi 2005, dex; fit")
    metallicity_slope: float = _number(-0.152, "added slope per dex above 10^10.8; fit")
    metallicity_scatter: float = _width(0.16, "scatter between galaxies, dex; fit")
    metallicity_spread: float = _width(0.241, "spread within a component, dex")
    quiescent_metallicity: float = _number(0.0595, "excess of the quiescent, dex; fit")
    gradient: float = _number(-0.11, "disk minus bulge metallicity, dex (Goddard 2017)")
    gradient_scatter: float = _width(0.0646, "its scatter, dex")

    dust_av: float = _width(0.272, "face-on disk A_V at 1e10 solar masses, mag; fit")
    dust_slope: float = _number(0.363, "its log slope with mass (Garn & Best 2010); fit")
    dust_scatter: float = _width(0.12, "its scatter, dex; fit")
    dust_inclination: float = _width(0.398, "A_V ~ axis ratio^-this (Wild 2011); fit")
    dust_quiescent: float = _width(0.0949, "mean A_V of the quiescent, mag; fit")
    dust_bulge: float = _width(0.461, "bulge A_V over disk A_V")
    birth_cloud: float = _width(0.303, "added A_V of young stars over disk A_V (Calzetti 2000)")
    cardelli_fraction: float = _share(0.297, "share of galaxies with the Cardelli law")

    gas_offset: float = _number(-0.105, "added to the gas metallicity of Tremonti 2004, dex; fit")
    gas_scatter: float = _width(0.1, "its scatter, dex (ibid.)")
    log_u_zero: float = _number(-3.19, "ionisation parameter at solar gas metallicity; fit")
    log_u_slope: float = _number(-0.4, "its slope with log gas metallicity (Carton 2017); fit")
    log_u_scatter: float = _width(0.2, "its scatter, dex; fit")
    nitrogen: float = _number(-0.27, "nitrogen lines over the Cloudy grid, dex; fit")
    sulphur: float = _number(-0.29, "sulphur lines over the Cloudy grid, dex; fit")

    ionising_boost: float = _number(-0.555, "ionising light over BC03's, dex (Eldridge 2017); fit")

    seyfert_fraction: float = _share(0.12, "Seyferts at 10^10.8 solar masses; fit")
    liner_fraction: float = _share(0.27, "LINERs at 10^10.8 solar masses; fit")
    retired_ew: float = _number(0.7, "H-alpha EW of gas ionised by old stars, A (Cid F. 2011)")
    extinction_median: float = _share(0.03, "median Galactic E(B-V), mag (SDSS footprint)")

    def __post_init__(self):
        if not 0 < self.redshift_min < self.redshift_max <= 0.5:
            raise InputError(
                "redshift range: expected 0 < redshift_min < redshift_max <= 0.5, got "
                f"{self.redshift_min} and {self.redshift_max}"
            )
        if not 10 <= self.r_bright < self.r_limit <= 21:
            raise InputError(
                "magnitude range: expected 10 <= r_bright < r_limit <= 21, got "
                f"{self.r_bright} and {self.r_limit}"
            )
        if not 5 <= self.mass_min < self.mass_max <= 13:
            raise InputError(
                "mass range: expected 5 <= mass_min < mass_max <= 13, got "
                f"{self.mass_min} and {self.mass_max}; logarithms of solar masses"
            )
        check_limits(self)
