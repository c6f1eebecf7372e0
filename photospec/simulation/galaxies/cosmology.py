"""Distances, ages and the joint draw of redshift and stellar mass."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from astropy.cosmology import FlatLambdaCDM

from photospec.errors import InputError

__all__ = ["kpc_per_arcsec", "luminosity_distance", "redshift_mass_sampler", "universe_age"]

_GRID = np.linspace(1e-4, 0.6, 1200)
_SUN_R = 4.65  # absolute r magnitude of the Sun (Willmer 2018, ApJS 236, 47)
_LOWEST_ML = 0.25  # r-band mass-to-light ratio that no simulated galaxy falls below


@lru_cache(maxsize=8)
def _tables(h0, omega_m):
    model = FlatLambdaCDM(H0=h0, Om0=omega_m)
    return (
        model.luminosity_distance(_GRID).value,
        model.age(_GRID).value,
        model.differential_comoving_volume(_GRID).value,
    )


def luminosity_distance(config, redshift):
    """Return luminosity distances in Mpc."""
    return np.interp(redshift, _GRID, _tables(config.h0, config.omega_m)[0])


def universe_age(config, redshift):
    """Return the age of the universe in Gyr."""
    return np.interp(redshift, _GRID, _tables(config.h0, config.omega_m)[1])


def kpc_per_arcsec(config, redshift):
    """Return the proper length of one arcsec in kpc."""
    z = np.asarray(redshift)
    return luminosity_distance(config, z) / (1 + z) ** 2 * 1e3 * np.pi / 180 / 3600


@lru_cache(maxsize=8)
def redshift_mass_sampler(config):
    """Return a function from two uniform numbers to (redshift, log10 mass).

    The density is dV/dz times the double Schechter mass function (Baldry et al. 2012, MNRAS 421,
    621, eq. 6), without the masses that no plausible galaxy could have at that redshift and still
    pass the magnitude limit.
    """
    c = config
    z = np.linspace(c.redshift_min, c.redshift_max, 400)
    mass = np.linspace(c.mass_min, c.mass_max, 801)
    x = 10 ** (mass - c.schechter_mass)
    phi = np.exp(-x) * (
        c.schechter_phi1 * x ** (c.schechter_alpha1 + 1)
        + c.schechter_phi2 * x ** (c.schechter_alpha2 + 1)
    )
    distance = luminosity_distance(c, z)
    volume = np.interp(z, _GRID, _tables(c.h0, c.omega_m)[2])
    absolute = c.r_limit - 5 * np.log10(distance * 1e5)
    lowest = np.log10(_LOWEST_ML) - 0.4 * (absolute - _SUN_R)
    inside = np.clip((mass - lowest[:, None]) / (mass[1] - mass[0]) + 1, 0, 1)
    density = phi * inside * volume[:, None]
    running = np.zeros_like(density)
    running[:, 1:] = np.cumsum(0.5 * (density[:, 1:] + density[:, :-1]), axis=1)
    marginal = running[:, -1]
    if not marginal.any():
        raise InputError(
            "population: expected limits that some galaxies pass, got no mass bright enough for "
            f"r < {c.r_limit} between redshift {c.redshift_min} and {c.redshift_max}"
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
