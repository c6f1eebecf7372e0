"""Drawing galaxies: a volume-limited population cut in magnitude and redshift."""

from __future__ import annotations

import numpy as np

from photospec.errors import InputError
from photospec.simulation.galaxies import gas, relations
from photospec.simulation.galaxies.basis import AGE_EDGES
from photospec.simulation.galaxies.cosmology import (
    luminosity_distance,
    redshift_mass_sampler,
    universe_age,
)
from photospec.simulation.galaxies.galaxies import Galaxies
from photospec.simulation.galaxies.photometry import photometry_table
from photospec.simulation.galaxies.population_config import PopulationConfig
from photospec.simulation.galaxies.star_formation import (
    delayed_tau,
    metallicity_shares,
    tau_from_ssfr,
    top_hat,
    weights,
)

__all__ = ["PopulationConfig", "draw_galaxies"]

_BLOCK = 512
_PATIENCE = 100  # blocks without one galaxy before giving up
_GYR = 1e9


def draw_galaxies(config, rng, n) -> Galaxies:
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


def _draw_block(config, rng, n):
    c = config
    z, logm = redshift_mass_sampler(c)(rng.random(n), rng.random(n))
    draw = {name: rng.standard_normal(n) for name in _NORMAL}
    flat = {name: rng.random(n) for name in _UNIFORM}
    table = photometry_table((c.redshift_min, c.redshift_max))
    distance = luminosity_distance(c, z)

    g = _structure(c, z, logm, draw, flat)
    g |= _populations(c, table.basis, g, draw, flat)
    g |= _gas(c, table.basis, g, draw, flat)
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


def _structure(c, z, logm, draw, flat):
    """Draw what the stars' histories depend on."""
    quiescent = flat["quiescent"] < relations.quiescent_fraction(c, logm)
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


def _populations(c, basis, g, draw, flat):
    """Draw histories, metallicities and dust; return them with the weights on the basis."""
    logm, quiescent, bulge = g["stellar_mass"], g["quiescent"], g["bulge_fraction"]
    cosmic = universe_age(c, g["redshift"])
    old = c.quiescent_onset + c.quiescent_onset_slope * (logm - 10.8)
    old = old + c.quiescent_onset_scatter * draw["onset"]
    new = c.star_forming_onset + c.star_forming_onset_scatter * draw["onset"]
    onset = _GYR * np.clip(np.where(quiescent, old, new), 2.0, cosmic - 0.4)
    onset_bulge = _GYR * np.clip(onset / _GYR + 0.5, 2.5, cosmic - 0.3)
    bulge_ages = delayed_tau(
        onset_bulge, _GYR * np.where(quiescent, 0.6, 1.2) * 10 ** (0.2 * draw["tau"])
    )

    main = relations.main_sequence(c, logm, g["redshift"]) + c.ms_scatter * draw["ssfr"]
    # per mass formed in the disk: the sequence counts living mass, about 0.6 of it
    ssfr = main - logm - 0.22 - np.log10(1 - np.minimum(bulge, 0.95))
    decline = _GYR * c.quiescent_tau * 10 ** (0.15 * draw["tau"])
    tau = np.where(quiescent, decline, tau_from_ssfr(onset, ssfr))
    disk_ages = delayed_tau(onset, tau)
    low = np.where(
        g["_green"],
        c.green_ssfr + c.green_range * (flat["green_ssfr"] - 0.5),
        c.quiescent_ssfr + c.frost_scatter * draw["ssfr"],
    )
    frost = np.where(quiescent, np.clip(10.0**low * _GYR, 0, 0.3), 0.0)
    zero = np.zeros(len(logm))
    disk_ages = _mix(disk_ages, top_hat(zero + _GYR, zero), frost)
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
    rate = disk_mass * disk_ages[:, AGE_EDGES[1:] <= 1e8].sum(1) / 1e8

    av = relations.disk_av(c, logm, g["disk_axis_ratio"]) * 10 ** (c.dust_scatter * draw["dust"])
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


def _gas(c, basis, g, draw, flat):
    """Draw the ionised gas and its line luminosities after dust."""
    logm, quiescent = g["stellar_mass"], g["quiescent"]
    metallicity = relations.gas_metallicity(logm) + c.gas_offset + c.gas_scatter * draw["gas"]
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
