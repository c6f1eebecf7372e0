"""Scaling relations from published fits, as functions of the drawn quantities."""

from __future__ import annotations

import numpy as np

from photospec.simulation.galaxies.cosmology import kpc_per_arcsec
from photospec.simulation.galaxies.evolution import relation_shifts

__all__ = [
    "agn_line_ratios", "agn_log_ew", "agn_type", "disk_av", "disk_axis_ratio", "gas_metallicity",
    "main_sequence", "quiescent_fraction", "shapes", "stellar_metallicity", "velocity_dispersion",
]  # fmt: skip

BULGE_SERSIC = np.array([1.5, 2.0, 3.0, 4.0, 5.0, 6.0])
"""Sersic indices that bulges have: few, so that their profiles can be cached."""

DISK_THICKNESS = 0.2
"""Axis ratio of disks that are seen edge on."""

_EARLY_MASS = [8.0, 9.2, 9.8, 10.25, 10.75, 11.25, 12.0]
_EARLY_RADIUS = [0.20, 0.28, 0.27, 0.35, 0.64, 0.98, 1.50]  # log10 kpc


def quiescent_fraction(c, logm):
    """Return the quiescent fraction at a stellar mass (form of Baldry et al. 2006, fig. 11)."""
    return c.quiescent_max / (1 + np.exp(-(logm - c.quiescent_mass) / c.quiescent_width))


def main_sequence(c, logm, redshift, bend_shift=0.0):
    """Return log10 SFR of the main sequence.

    Renzini & Peng (2015, ApJ 801, L29, eq. 1), flatter at high mass (Lee et al. 2015, ApJ 801, 80):
    above 10^(10.5 + bend_shift) solar masses.
    """
    bend = 10.5 + bend_shift
    mass = c.ms_slope * (np.minimum(logm, bend) - 10) + c.ms_bend * np.maximum(logm - bend, 0)
    return c.ms_zero + mass + c.ms_evolution * np.log10((1 + redshift) / 1.05)


def stellar_metallicity(logm):
    """Return log10 Z/Zsun (Gallazzi et al. 2005, MNRAS 362, 41, table 2, medians)."""
    mass = 8.91 + 0.2 * np.arange(16)
    median = [-0.60, -0.61, -0.65, -0.61, -0.52, -0.41, -0.23, -0.11, -0.01, 0.04, 0.07, 0.10]
    return np.interp(logm, mass, [*median, 0.12, 0.13, 0.14, 0.15])


def gas_metallicity(logm):
    """Return log10 Z/Zsun of the gas (Tremonti et al. 2004, ApJ 613, 898, eq. 3; sun 8.69)."""
    m = np.clip(logm, 8.5, 11.5)
    return -1.492 + 1.847 * m - 0.08026 * m**2 - 8.69


def disk_axis_ratio(inclination):
    """Return the apparent axis ratio of an oblate disk of thickness 0.2 (Hubble 1926)."""
    q0 = DISK_THICKNESS**2
    return np.sqrt(q0 + (1 - q0) * np.cos(np.radians(inclination)) ** 2)


def disk_av(c, logm, axis_ratio):
    """Return the V-band attenuation of star-forming disks, mag.

    A power law of mass (as Garn & Best 2010, MNRAS 409, 421) and of axis ratio (Wild et al. 2011,
    MNRAS 417, 1760).
    """
    return c.dust_av * 10 ** (c.dust_slope * (logm - 10)) * axis_ratio**-c.dust_inclination


def velocity_dispersion(logm):
    """Return km/s at a stellar mass (Zahid et al. 2016, ApJ 832, 203, eq. 5)."""
    x = logm - 10.26
    return 10 ** (2.073 + np.where(x < 0, 0.403, 0.293) * x)


def agn_type(c, logm, quiescent, green, u):
    """Return indices into `AGN_TYPES`; massive and green galaxies host more (Kauffmann 2003)."""
    rise = 1 / (1 + np.exp(-(logm - 10.5) / 0.25)) / 0.77
    seyfert = c.seyfert_fraction * rise * np.where(quiescent & ~green, 0.2, 1.0)
    liner = c.liner_fraction * rise
    return np.where(u < seyfert, 1, np.where(u < seyfert + liner, 2, 3))


def agn_log_ew(c, kind, normal):
    """Return log10 rest H-alpha equivalent width over the bulge, Angstrom.

    Retired galaxies near 1 A, LINERs above, Seyferts beyond 6 A (Cid Fernandes 2011, MNRAS 413,
    1687, sect. 3).
    """
    mean = np.array([-9.0, 0.95, 0.45, np.log10(c.retired_ew)])[kind]
    return mean + np.array([0.0, 0.3, 0.25, 0.3])[kind] * normal


def agn_line_ratios(kind, normals):
    """Return log [OIII]/Hb, [NII]/Ha, [SII]/Ha, [OI]/Ha, [OII]/Hb of the nuclear gas.

    Centres and widths of the Seyfert and LINER branches of Kewley et al. (2006, MNRAS 372, 961,
    figs. 1 and 4); retired galaxies lie on the LINER branch (Stasinska 2008).
    """
    oiii = np.array([0.0, 0.80, 0.35, 0.30])[kind] + 0.15 * normals[0]
    nii = np.array([0.0, -0.05, 0.05, 0.05])[kind] + 0.10 * normals[1]
    sii = np.array([0.0, -0.30, -0.05, -0.05])[kind] + 0.10 * normals[2]
    oi = np.array([0.0, -0.95, -0.75, -0.75])[kind] + 0.10 * normals[3]
    oii = np.array([0.0, 0.45, 0.65, 0.65])[kind] + 0.10 * normals[3]
    return oiii, nii, sii, oi, oii


def shapes(c, g, normal, flat):
    """Return sizes, shapes, position angles and velocity widths of the selected galaxies.

    Sizes: van der Wel et al. (2014, ApJ 788, 28, table 1, z = 0.25), bulges below the relation of
    early types by their share of the mass. Widths: `velocity_dispersion` for bulges; disks and gas
    follow Tully-Fisher (Reyes et al. 2011, MNRAS 417, 2347) seen through an inclined disk.
    """
    logm, quiescent, bulge = g["stellar_mass"], g["quiescent"], g["bulge_fraction"]
    late = 0.53 + 0.30 * (logm - 10) + 0.16 * np.maximum(logm - 10, -1.5) ** 2
    early = np.interp(logm, _EARLY_MASS, _EARLY_RADIUS)
    shifts = relation_shifts(c, logm, g["redshift"])
    early, late = early + shifts.log_size_early, late + shifts.log_size_late
    total = np.where(quiescent, early, late) + np.where(quiescent, 0.17, 0.21) * normal["size"]
    total = 10**total
    disk = total * 1.15
    bulge_size = np.where(quiescent, total * bulge**0.3, 0.35 * total * bulge**0.2)
    bulge_size = bulge_size * 10 ** (0.1 * normal["bulge_size"])
    scale = kpc_per_arcsec(c, g["redshift"])
    thinnest = np.where(quiescent, 0.5, 0.6)
    centre = np.where(quiescent, 5.4, 4.2) + 1.8 * (logm - 10.5) + 1.2 * normal["sersic"]
    sersic = BULGE_SERSIC[np.argmin(abs(centre[:, None] - BULGE_SERSIC), axis=1)]
    angle = 180 * flat["angle"]
    rotation = 10 ** (2.13 + 0.28 * (logm - 10.0) + 0.05 * normal["rotation"])
    seen = 0.5 * rotation * np.sin(np.radians(g["inclination"]))
    pressure = velocity_dispersion(logm) * 10 ** (0.08 * normal["sigma"] + shifts.log_dispersion)
    stars = np.where(quiescent, 0.75 * pressure, np.hypot(30.0, seen))
    return {
        "bulge_radius_kpc": bulge_size,
        "disk_radius_kpc": disk,
        "bulge_radius": bulge_size / scale,
        "disk_radius": disk / scale,
        "bulge_sersic": sersic,
        "disk_sersic": np.ones(len(logm)),
        "bulge_axis_ratio": thinnest + (1 - thinnest) * flat["bulge_shape"],
        "bulge_position_angle": (angle + 15 * normal["bulge_angle"]) % 180,
        "disk_position_angle": angle,
        "bulge_velocity_dispersion": np.clip(pressure, 30, 450),
        "disk_velocity_dispersion": np.clip(stars, 30, 350),
        "gas_velocity_dispersion": np.clip(np.hypot(25.0, seen), 25, 350),
        "narrow_line_velocity_dispersion": np.clip(
            pressure * 10 ** (0.1 * normal["narrow"]), 60, 500
        ),
    }
