"""Drawing galaxies: a volume-limited population cut in magnitude and redshift."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from photospec.config import setting, validate
from photospec.errors import InputError
from photospec.simulation.galaxies import gas, relations
from photospec.simulation.galaxies.cosmology import (
    differential_volume,
    luminosity_distance,
    universe_age,
)
from photospec.simulation.galaxies.evolution import (
    EvolutionConfig,
    mass_function,
    relation_shifts,
)
from photospec.simulation.galaxies.photometry import photometry_table
from photospec.simulation.galaxies.stars import (
    AGE_EDGES,
    DEEP_REDSHIFT,
    delayed_tau,
    metallicity_shares,
    tau_from_ssfr,
    top_hat,
    weights,
)
from photospec.simulation.galaxies.table import Galaxies

__all__ = ["PopulationConfig", "draw_galaxies", "redshift_mass_sampler", "surface_density"]


def _number(default, text, low=-20.0, high=20.0):
    return setting(default, text, min=low, max=high)


def _share(default, text):
    return setting(default, text, min=0.0, max=1.0)


def _width(default, text):
    return setting(default, text, min=0.0, max=10.0)


@dataclass(frozen=True)
class PopulationConfig:
    """Selection, cosmology and scaling relations of the simulated galaxies.

    `Survey.write` writes each field with its meaning and source. "fit" marks numbers fitted to the
    real catalogues by benchmarks/simulation_fit.py, starting from the source named.
    """

    redshift_min: float = _number(0.02, "lowest redshift", 0.0, 0.8)
    redshift_max: float = _number(0.3, "highest redshift", 0.0, 0.8)
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
    quiescent_ssfr_scatter: float = _width(0.416, "its scatter, dex; fit")
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
    evolution: EvolutionConfig | None = None

    def __post_init__(self):
        if not 0 < self.redshift_min < self.redshift_max:
            raise InputError(
                "redshift range: expected 0 < redshift_min < redshift_max, got "
                f"{self.redshift_min} and {self.redshift_max}"
            )
        if self.evolution is None and self.redshift_max > DEEP_REDSHIFT:
            raise InputError(
                f"redshift_max: expected at most 0.5 without evolution, got {self.redshift_max}; "
                "the local relations do not hold there: add a table [population.evolution]"
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
        validate(self)


_SUN_R = 4.65  # absolute r magnitude of the Sun (Willmer 2018, ApJS 236, 47)
# r-band mass-to-light ratio, observed band, that no simulated galaxy falls below; those of high
# redshift are younger, and their r band is bluer in the rest frame.
_LOWEST_ML = {False: 0.25, True: 0.2}

_BLOCK = 512  # galaxies drawn between two looks at how many were kept
_PATIENCE = 100  # blocks without one galaxy before giving up
_GYR = 1e9  # yr


def draw_galaxies(config: PopulationConfig, rng: np.random.Generator, n: int) -> Galaxies:
    """Draw n galaxies that pass the selection of the survey.

    Parameters
    ----------
    config : PopulationConfig
        Selection and relations.
    rng : numpy.random.Generator
        The only source of randomness: the same state gives the same galaxies.
    n : int
        Number of galaxies after selection.

    Returns
    -------
    Galaxies

    Raises
    ------
    InputError
        If no galaxy passes the selection.
    """
    kept, found, tried = [], 0, 0
    while found < n:
        part = _draw_block(config, rng, _BLOCK)
        kept.append(part)
        found += len(part)
        tried += 1
        if not found and tried == _PATIENCE:
            raise InputError(
                "population: expected limits that some galaxies pass, got none of "
                f"{tried * _BLOCK} between redshift {config.redshift_min} and "
                f"{config.redshift_max}, r {config.r_bright} and {config.r_limit}; too narrow?"
            )
    return Galaxies.concatenate(kept)[:n]


@lru_cache(maxsize=8)
def redshift_mass_sampler(config):
    """Return a function from two uniform numbers to (redshift, log10 mass).

    The density is dV/dz times `mass_function`, without the masses that no plausible galaxy could
    have at that redshift and still pass the magnitude limit.
    """
    z, mass, density = _light_cone(config)
    running = np.zeros_like(density)
    running[:, 1:] = np.cumsum(0.5 * (density[:, 1:] + density[:, :-1]), axis=1)
    marginal = running[:, -1]
    if not marginal.any():
        raise InputError(
            "population: expected limits that some galaxies pass, got no mass bright enough for "
            f"r < {config.r_limit} between redshift {config.redshift_min} and "
            f"{config.redshift_max}"
        )
    redshift_cdf = np.append(0, np.cumsum(0.5 * (marginal[1:] + marginal[:-1])))
    redshift_cdf /= redshift_cdf[-1]
    # a tiny slope keeps the inverse defined where the density is zero
    mass_cdf = running / np.maximum(marginal[:, None], 1e-300) + 1e-9 * np.arange(len(mass))
    mass_cdf /= mass_cdf[:, -1:]

    def sample(u, v):
        redshift = np.interp(u, redshift_cdf, z)
        row = np.clip(np.rint((redshift - z[0]) / (z[1] - z[0])).astype(int), 0, len(z) - 1)
        flat = (mass_cdf + 2.0 * np.arange(len(z))[:, None]).ravel()
        i = np.searchsorted(flat, v + 2.0 * row) - 1 - row * len(mass)
        i = np.clip(i, 0, len(mass) - 2)
        low, high = mass_cdf[row, i], mass_cdf[row, i + 1]
        return redshift, mass[i] + (v - low) / (high - low) * (mass[1] - mass[0])

    return sample


def _light_cone(config):
    """Return redshifts, masses, and the density of galaxies between them that may be selected.

    The density, shape (n_z, n_mass), is per unit redshift, steradian and e-fold of mass.
    """
    c = config
    z = np.linspace(c.redshift_min, c.redshift_max, 400)
    mass = np.linspace(c.mass_min, c.mass_max, 801)
    absolute = c.r_limit - 5 * np.log10(luminosity_distance(c, z) * 1e5)
    lowest = np.log10(_LOWEST_ML[c.evolution is not None]) - 0.4 * (absolute - _SUN_R)
    inside = np.clip((mass - lowest[:, None]) / (mass[1] - mass[0]) + 1, 0, 1)
    return z, mass, mass_function(c, mass, z) * inside * differential_volume(c, z)[:, None]


def surface_density(config, rng, n_blocks=20):
    """Estimate how many galaxies per square degree the selection lets through.

    Parameters
    ----------
    config : PopulationConfig
    rng : numpy.random.Generator
    n_blocks : int
        Blocks of 512 galaxies to draw before the selection; the relative error is about
        (512 n_blocks f / (1 - f))^-0.5 with f the share that passes.

    Returns
    -------
    float

    Examples
    --------
    The SDSS main sample has 92 galaxies per square degree (Strauss et al. 2002).

    >>> import numpy as np
    >>> from photospec.simulation import PopulationConfig
    >>> from photospec.simulation.galaxies.population import surface_density
    >>> bool(50 < surface_density(PopulationConfig(), np.random.default_rng(1), 4) < 150)
    True
    """
    z, mass, density = _light_cone(config)
    per_steradian = np.trapezoid(np.trapezoid(density, mass * np.log(10), axis=1), z)
    passed = sum(len(_draw_block(config, rng, _BLOCK)) for _ in range(n_blocks))
    return per_steradian * passed / (n_blocks * _BLOCK) * np.radians(1) ** 2


def _draw_block(config, rng, n):
    """Draw n galaxies of the volume and return those that pass the selection."""
    c = config
    z, logm = redshift_mass_sampler(c)(rng.random(n), rng.random(n))
    draw = {name: rng.standard_normal(n) for name in _NORMAL}
    flat = {name: rng.random(n) for name in _UNIFORM}
    epoch = None if c.evolution is None else c.evolution.template_magnitude
    table = photometry_table((c.redshift_min, c.redshift_max), epoch=epoch)
    distance = luminosity_distance(c, z)

    shifts = relation_shifts(c, logm, z)
    g = _structure(c, z, logm, shifts, draw, flat)
    g |= _populations(c, table.basis, g, shifts, draw, flat)
    g |= _gas(c, table.basis, g, shifts, draw, flat)
    flux = _band_flux(table, g, slice(2, 3)).sum(0)[:, 0] / distance**2
    r = 22.5 - 2.5 * np.log10(np.maximum(flux, 1e-30))
    keep = np.flatnonzero((r < c.r_limit) & (r > c.r_bright))
    g = {name: value[keep] for name, value in g.items()}
    parts = _band_flux(table, g, slice(None)) / distance[keep, None] ** 2
    total = parts.sum(0)
    g["magnitude"] = 22.5 - 2.5 * np.log10(total)
    g["bulge_light_fraction"] = parts[0] / total
    g |= relations.shapes(
        c, g, {k: v[keep] for k, v in draw.items()}, {k: v[keep] for k, v in flat.items()}
    )
    return Galaxies(**{name: g[name] for name in Galaxies.__dataclass_fields__})


_NORMAL = (  # noqa: SIM905 - reads better than a list
    "ssfr bulge onset tau metallicity gradient dust sigma rotation gas log_u nitrogen sulphur "
    "recent extinction agn_ew ratio1 ratio2 ratio3 ratio4 size bulge_size bulge_angle sersic "
    "burst_mass narrow"
).split()
_UNIFORM = (  # noqa: SIM905 - reads better than a list
    "quiescent green green_ssfr inclination law burst burst_age agn dust angle bulge_shape sersic"
).split()


def _structure(c, z, logm, shifts, draw, flat):
    """Draw what the stars' histories depend on."""
    quiescent = flat["quiescent"] < relations.quiescent_fraction(c, logm - shifts.quiescent_mass)
    green = quiescent & (flat["green"] < c.green_fraction)
    logit = np.where(quiescent, c.quiescent_bulge, c.star_forming_bulge)
    logit = logit + (logm - 10.5) + draw["bulge"]
    inclination = np.degrees(np.arccos(flat["inclination"]))
    return {
        "redshift": z,
        "stellar_mass": logm,
        "quiescent": quiescent,
        "_green": green,
        "bulge_fraction": 1 / (1 + np.exp(-logit)),
        "inclination": inclination,
        "disk_axis_ratio": relations.disk_axis_ratio(inclination),
        "galactic_ebv": np.minimum(c.extinction_median * 10 ** (0.25 * draw["extinction"]), 0.3),
    }


def _populations(c, basis, g, shifts, draw, flat):
    """Draw histories, metallicities and dust; return them with the weights on the basis."""
    logm, quiescent, bulge = g["stellar_mass"], g["quiescent"], g["bulge_fraction"]
    cosmic = universe_age(c, g["redshift"])
    old = c.quiescent_onset + c.quiescent_onset_slope * (logm - 10.8)
    old = old + c.quiescent_onset_scatter * draw["onset"]
    new = c.star_forming_onset + c.star_forming_onset_scatter * draw["onset"]
    local = np.where(quiescent, old, new)
    onset = _GYR * np.clip(local + shifts.onset, 2.0, cosmic - 0.4)
    onset_bulge = _GYR * np.clip(onset / _GYR + 0.5, 2.5, cosmic - 0.3)
    bulge_ages = delayed_tau(
        onset_bulge, _GYR * np.where(quiescent, 0.6, 1.2) * 10 ** (0.2 * draw["tau"])
    )

    main = relations.main_sequence(c, logm, g["redshift"], shifts.ms_bend_mass)
    main = main + shifts.log_sfr + c.ms_scatter * draw["ssfr"]
    # per mass formed in the disk: the sequence counts living mass, about 0.6 of it
    ssfr = main - logm - 0.22 - np.log10(1 - np.minimum(bulge, 0.95))
    decline = _GYR * c.quiescent_tau * 10 ** (0.15 * draw["tau"] + shifts.log_tau)
    # Quiescent means little star formation for the age, at every redshift.
    decline = decline * np.clip((local + shifts.onset) / local, 0.1, 1.0)
    tau = np.where(quiescent, decline, tau_from_ssfr(onset, ssfr))
    disk_ages = delayed_tau(onset, tau)
    low = np.where(
        g["_green"],
        c.green_ssfr + c.green_range * (flat["green_ssfr"] - 0.5),
        c.quiescent_ssfr + c.quiescent_ssfr_scatter * draw["ssfr"],
    )
    recent = np.where(quiescent, np.clip(10.0**low * _GYR, 0, 0.3), 0.0)
    zero = np.zeros(len(logm))
    disk_ages = _mix(disk_ages, top_hat(zero + _GYR, zero), recent)
    burst_start = 10 ** (7.3 + 1.9 * flat["burst_age"])
    burst = 10 ** (c.burst_mass + 0.4 * draw["burst_mass"])
    burst = np.where(~quiescent & (flat["burst"] < c.burst_fraction), burst, 0)
    disk_ages = _mix(disk_ages, top_hat(burst_start, 0.5 * burst_start), np.minimum(burst, 0.2))
    recent = 10 ** (c.recent_scatter * draw["recent"])
    disk_ages[:, AGE_EDGES[1:] <= 2.5e7] *= recent[:, None]
    disk_ages /= disk_ages.sum(1, keepdims=True)

    mean = relations.stellar_metallicity(logm) + c.metallicity_offset
    mean = mean + c.metallicity_slope * (logm - 10.8) + c.metallicity_scatter * draw["metallicity"]
    mean = mean + c.quiescent_metallicity * quiescent
    mean = mean + np.where(quiescent, 0.0, shifts.stellar_metallicity)
    gradient = c.gradient + c.gradient_scatter * draw["gradient"]
    metallicity = {"bulge": mean - (1 - bulge) * gradient, "disk": mean + bulge * gradient}
    shares = {
        part: metallicity_shares(value, c.metallicity_spread, basis.metallicity)
        for part, value in metallicity.items()
    }
    live = basis.live_mass_fraction.reshape(len(basis.metallicity), -1)
    living = bulge * np.einsum("nm,na,ma->n", shares["bulge"], bulge_ages, live)
    living += (1 - bulge) * np.einsum("nm,na,ma->n", shares["disk"], disk_ages, live)
    formed = 10**logm / living
    disk_mass = formed * (1 - bulge)
    recent_ages = AGE_EDGES[1:] <= 1e8
    rate = disk_mass * disk_ages[:, recent_ages].sum(1) / 1e8
    rate = rate + formed * bulge * bulge_ages[:, recent_ages].sum(1) / 1e8

    scatter = 10 ** (c.dust_scatter * draw["dust"] + shifts.log_av)
    av = relations.disk_av(c, logm, g["disk_axis_ratio"]) * scatter
    av = np.where(quiescent, -c.dust_quiescent * np.log(1 - flat["dust"]), av)
    av = np.clip(av, 0, 3.0)
    gyr = basis.age / _GYR
    return {
        "star_formation_rate": np.log10(np.maximum(rate, 1e-6)),
        "bulge_age": bulge_ages @ gyr,
        "disk_age": disk_ages @ gyr,
        "bulge_metallicity": metallicity["bulge"],
        "disk_metallicity": metallicity["disk"],
        "metallicity_gradient": gradient,
        "dust_law": (flat["law"] < c.cardelli_fraction).astype(int),
        "disk_av": av,
        "bulge_av": c.dust_bulge * av,
        "birth_cloud_av": c.birth_cloud * av,
        "bulge_weights": weights(formed * bulge, shares["bulge"], bulge_ages),
        "disk_weights": weights(disk_mass, shares["disk"], disk_ages),
    }


def _mix(ages, others, share):
    return ages * (1 - share[:, None]) + others * share[:, None]


def _gas(c, basis, g, shifts, draw, flat):
    """Draw the ionised gas and its line luminosities after dust."""
    logm, quiescent = g["stellar_mass"], g["quiescent"]
    metallicity = relations.gas_metallicity(logm) + c.gas_offset + c.gas_scatter * draw["gas"]
    metallicity = metallicity + shifts.gas_metallicity
    metallicity = np.clip(metallicity, -1.5, 0.4)
    log_u = c.log_u_zero + c.log_u_slope * metallicity + c.log_u_scatter * draw["log_u"]
    log_u = np.clip(log_u, -4.0, -1.5)
    hbeta = g["disk_weights"].astype(float) @ basis.hbeta_luminosity
    hbeta *= 10**c.ionising_boost
    disk = gas.star_forming_lines(
        hbeta,
        metallicity,
        log_u,
        c.nitrogen + 0.06 * draw["nitrogen"],
        c.sulphur + 0.05 * draw["sulphur"],
    )
    disk *= gas.line_transmission(g["dust_law"], g["disk_av"] + g["birth_cloud_av"])

    kind = relations.agn_type(c, logm, quiescent, g["_green"], flat["agn"])
    log_ew = relations.agn_log_ew(c, kind, draw["agn_ew"])
    continuum = gas.halpha_continuum(g["bulge_weights"], g["dust_law"], g["bulge_av"])
    bulge = gas.agn_ratios(*relations.agn_line_ratios(kind, [draw[f"ratio{i}"] for i in "1234"]))
    bulge *= (continuum * 10**log_ew)[:, None]
    return {
        "gas_metallicity": metallicity,
        "log_u": log_u,
        "agn_type": kind,
        "agn_halpha_ew": 10**log_ew,
        "disk_line_luminosity": disk,
        "bulge_line_luminosity": bulge,
    }


def _band_flux(table, g, bands):
    """Return bulge and disk band fluxes at one megaparsec, shape (2, n, n_bands)."""
    law, z = g["dust_law"], g["redshift"]
    young, old = table.basis.young, ~table.basis.young
    bulge = table.band_flux(g["bulge_weights"], z, g["bulge_av"], law, bands=bands)
    disk = table.band_flux(
        g["disk_weights"][:, old], z, g["disk_av"], law, bands=bands, rows=old
    ) + table.band_flux(
        g["disk_weights"][:, young],
        z,
        g["disk_av"] + g["birth_cloud_av"],
        law,
        bands=bands,
        rows=young,
    )
    bulge = bulge + table.line_flux(g["bulge_line_luminosity"], z, bands=bands)
    disk = disk + table.line_flux(g["disk_line_luminosity"], z, bands=bands)
    return np.stack([bulge, disk])
