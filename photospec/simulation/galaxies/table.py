"""The table of a drawn galaxy population."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

__all__ = ["AGN_TYPES", "DUST_LAWS", "Galaxies"]

AGN_TYPES = ("none", "seyfert", "liner", "retired")
"""Meaning of `Galaxies.agn_type`: no AGN-like lines, Seyfert, LINER, gas ionised by old stars."""

DUST_LAWS = ("calzetti00", "cardelli89")
"""Meaning of `Galaxies.dust_law`."""


@dataclass(frozen=True, repr=False)
class Galaxies:
    """Parameters of n galaxies; every array has n as its first axis.

    Attributes
    ----------
    redshift : ndarray
        Cosmological redshift.
    magnitude : ndarray, shape (n, 5)
        Total observed u, g, r, i, z magnitudes: AB, emission lines included, Galactic extinction
        not.
    stellar_mass : ndarray
        Living stars and remnants, log10 of solar masses.
    star_formation_rate : ndarray
        log10 of solar masses per year, mean over the last 100 Myr (floor at -6).
    quiescent : ndarray of bool
        Drawn from the quiescent population.
    bulge_fraction : ndarray
        Share of the bulge in the mass ever formed.
    bulge_light_fraction : ndarray, shape (n, 5)
        Share of the bulge in the observed u, g, r, i, z flux.
    bulge_age, disk_age : ndarray
        Mass-weighted ages, Gyr.
    bulge_metallicity, disk_metallicity : ndarray
        Mean stellar metallicity, log10 of Z / 0.02.
    metallicity_gradient : ndarray
        Disk minus bulge metallicity, dex.
    gas_metallicity : ndarray
        log10 of Z / 0.02 of the ionised gas.
    log_u : ndarray
        Ionisation parameter of the star-forming gas.
    dust_law : ndarray of int
        Index into `DUST_LAWS`.
    disk_av, bulge_av, birth_cloud_av : ndarray
        V-band attenuation, mag, of the disk's and bulge's stars, and the additional attenuation of
        stars younger than 10 Myr and of the star-forming gas.
    inclination : ndarray
        Of the disk, degrees; 0 is face-on.
    bulge_velocity_dispersion, disk_velocity_dispersion, gas_velocity_dispersion : ndarray
        Gaussian standard deviations in km/s of bulge stars, disk stars (rotation included), lines.
    narrow_line_velocity_dispersion : ndarray
        Of the nuclear (AGN or retired) gas, km/s.
    agn_type : ndarray of int
        Index into `AGN_TYPES`.
    agn_halpha_ew : ndarray
        Rest equivalent width of nuclear H-alpha over the bulge continuum, Angstrom.
    bulge_weights, disk_weights : ndarray, shape (n, n_basis)
        Mass formed, solar masses, per element of the stellar basis.
    bulge_line_luminosity, disk_line_luminosity : ndarray, shape (n, n_lines)
        Observed (after dust in the galaxy) luminosities of the basis' lines, solar luminosities.
    galactic_ebv : ndarray
        E(B-V) of the Milky Way on the line of sight, mag.
    bulge_radius_kpc, disk_radius_kpc : ndarray
        Half-light radii along the major axis, kpc.
    bulge_radius, disk_radius : ndarray
        The same in arcsec.
    bulge_sersic, disk_sersic : ndarray
        Sersic indices; the bulge's come from a short list.
    bulge_axis_ratio, disk_axis_ratio : ndarray
        Minor over major axis on the sky.
    bulge_position_angle, disk_position_angle : ndarray
        Of the major axis, degrees, 0 to 180, from north through east. Simulated images have north
        up and east to the left, so this is counter-clockwise from the image's y axis.
    """

    redshift: np.ndarray
    magnitude: np.ndarray
    stellar_mass: np.ndarray
    star_formation_rate: np.ndarray
    quiescent: np.ndarray
    bulge_fraction: np.ndarray
    bulge_light_fraction: np.ndarray
    bulge_age: np.ndarray
    disk_age: np.ndarray
    bulge_metallicity: np.ndarray
    disk_metallicity: np.ndarray
    metallicity_gradient: np.ndarray
    gas_metallicity: np.ndarray
    log_u: np.ndarray
    dust_law: np.ndarray
    disk_av: np.ndarray
    bulge_av: np.ndarray
    birth_cloud_av: np.ndarray
    inclination: np.ndarray
    bulge_velocity_dispersion: np.ndarray
    disk_velocity_dispersion: np.ndarray
    gas_velocity_dispersion: np.ndarray
    narrow_line_velocity_dispersion: np.ndarray
    agn_type: np.ndarray
    agn_halpha_ew: np.ndarray
    bulge_weights: np.ndarray
    disk_weights: np.ndarray
    bulge_line_luminosity: np.ndarray
    disk_line_luminosity: np.ndarray
    galactic_ebv: np.ndarray
    bulge_radius_kpc: np.ndarray
    disk_radius_kpc: np.ndarray
    bulge_radius: np.ndarray
    disk_radius: np.ndarray
    bulge_sersic: np.ndarray
    disk_sersic: np.ndarray
    bulge_axis_ratio: np.ndarray
    disk_axis_ratio: np.ndarray
    bulge_position_angle: np.ndarray
    disk_position_angle: np.ndarray

    def __len__(self) -> int:
        return len(self.redshift)

    def __getitem__(self, index) -> Galaxies:
        """Return the chosen galaxies; `index` is a slice or an integer or boolean array."""
        if np.ndim(index) == 0 and not isinstance(index, slice):
            index = [index]
        return Galaxies(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def __repr__(self) -> str:
        if not len(self):
            return "<Galaxies: none>"
        z, r = self.redshift, self.magnitude[:, 2]
        return (
            f"<Galaxies: {len(self)}, {z.min():.3f} < redshift < {z.max():.3f}, "
            f"{r.min():.2f} < r < {r.max():.2f}>"
        )

    @classmethod
    def concatenate(cls, parts) -> Galaxies:
        """Join tables of galaxies."""
        parts = list(parts)
        return cls(
            **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)}
        )

    def to_columns(self) -> dict[str, np.ndarray]:
        """Return the one-number-per-galaxy columns, for truth tables."""
        columns = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if value.ndim == 1:
                columns[f.name] = value
        for i, band in enumerate("ugriz"):
            columns[f"magnitude_{band}"] = self.magnitude[:, i]
            columns[f"bulge_light_fraction_{band}"] = self.bulge_light_fraction[:, i]
        return columns
