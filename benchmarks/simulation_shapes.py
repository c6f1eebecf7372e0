"""Sizes, Sersic indices and axis ratios of simulated galaxies against those of a catalogue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import gamma, gammainc, gammaincinv
from scipy.stats import wasserstein_distance

from photospec.simulation.galaxies.cosmology import kpc_per_arcsec
from photospec.simulation.galaxies.population import draw_galaxies


def sersic_profile(x, n):
    """Return a Sersic profile of unit flux and unit half-light radius."""
    b = gammaincinv(2 * n, 0.5)
    return b ** (2 * n) / (2 * np.pi * n * gamma(2 * n)) * np.exp(-b * x ** (1 / n))


def single_sersic(galaxies):
    """Return radius (kpc, major axis), index and axis ratio of one profile fitted to the r light.

    Least squares of the circularised profiles over area, as for noise from the sky.
    """
    indices = np.concatenate([np.arange(0.5, 3, 0.25), np.arange(3, 6.3, 0.5)])
    factors, x = np.geomspace(0.5, 2.2, 26), np.geomspace(0.08, 5, 48)
    weight = np.gradient(x) * x
    label = [(n, k) for n in indices for k in factors]
    grid = np.array([sersic_profile(x / k, n) / k**2 for n, k in label])
    norm = (grid**2 * weight).sum(1)
    g, f = galaxies, galaxies.bulge_light_fraction[:, 2]
    axis_ratio = g.bulge_axis_ratio**f * g.disk_axis_ratio ** (1 - f)
    bulge = g.bulge_radius_kpc * np.sqrt(g.bulge_axis_ratio)
    disk = g.disk_radius_kpc * np.sqrt(g.disk_axis_ratio)
    radius = np.geomspace(0.05, 100, 1500)
    found = np.empty((len(f), 2))
    for i, n in enumerate(g.bulge_sersic):
        b = gammaincinv(2 * n, 0.5)
        inside = f[i] * gammainc(2 * n, b * (radius / bulge[i]) ** (1 / n))
        inside += (1 - f[i]) * gammainc(2, gammaincinv(2, 0.5) * radius / disk[i])
        half = np.interp(0.5, inside, radius)
        light = f[i] * sersic_profile(x * half / bulge[i], n) / bulge[i] ** 2
        light += (1 - f[i]) * sersic_profile(x * half / disk[i], 1.0) / disk[i] ** 2
        index, factor = label[np.argmax((grid * (light * weight)).sum(1) ** 2 / norm)]
        found[i] = factor * half, index
    return found[:, 0] / np.sqrt(axis_ratio), found[:, 1], axis_ratio


def compare_shapes(t, config, seed, n):
    """Print the comparison with the NASA-Sloan Atlas at given stellar mass (h = 0.7)."""
    rng = np.random.default_rng(seed)
    mass = np.array(t["nsa_elpetro_mass"], float) / 0.49
    good = (mass > 1e9) & (mass < 5e11) & (t["nsa_z"] > 0.01) & (t["nsa_sersic_th50"] > 0)
    mass, t = np.log10(mass[good]), t[good]
    size = np.array(t["nsa_sersic_th50"]) * kpc_per_arcsec(config, np.array(t["nsa_z"]))
    near = replace(config, redshift_min=0.01, redshift_max=0.15)
    galaxies = draw_galaxies(near, rng, n)
    order = np.argsort(galaxies.stellar_mass)
    place = np.searchsorted(galaxies.stellar_mass[order], mass) + rng.integers(-8, 9, len(mass))
    galaxies = galaxies[order[np.clip(place, 0, n - 1)]]
    fake = single_sersic(galaxies)
    real = size, np.array(t["nsa_sersic_n"], float), np.array(t["nsa_sersic_ba"], float)
    distance = wasserstein_distance(np.log10(real[0]), np.log10(fake[0]))
    print(f"  {'log half-light radius':22s} {distance:.3f} dex (0.1)")
    print(f"  {'Sersic index':22s} {wasserstein_distance(real[1], fake[1]):.3f} (0.6)")
    print(f"  {'axis ratio':22s} {wasserstein_distance(real[2], fake[2]):.3f} (0.08)")
    return mass, real, fake
