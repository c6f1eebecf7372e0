"""Fit numbers of `PopulationConfig` and the template correction to SDSS colours.

    python benchmarks/simulation_fit.py CATALOGUE [--rows even] [--steps 4] [--seed 1]

Gauss-Newton steps on the moments of the joint distribution of colours at given redshift
(simulation_colour_space.py), between the catalogue and simulated galaxies matched to it in redshift
and r with errors added: once the catalogue's with their floor of 2 %, once with 1 % in its place.
Random numbers are common to all trials. Numbers are held near where they were, the template
correction is kept smooth. Prints new values; a person puts them in. Line strengths are then set by
hand until benchmarks/simulation_calibration.py is content: ionising_boost from the equivalent
widths of the Balmer lines, gas_offset, log_u_*, nitrogen and sulphur from the line ratios,
seyfert_fraction and liner_fraction from the share above the curve of Kauffmann et al. (2003).
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree
from simulation_calibration import add_errors, find_catalogues, other_floor, real_photometry
from simulation_colour_space import ColourSpace

from photospec.photometry.filters import effective_wavelength
from photospec.simulation.galaxies import stars
from photospec.simulation.galaxies.cosmology import luminosity_distance
from photospec.simulation.galaxies.photometry import photometry_table
from photospec.simulation.galaxies.population import PopulationConfig, _band_flux, draw_galaxies

STEP = {
    "quiescent_mass": 0.1, "quiescent_width": 0.07, "quiescent_max": 0.03, "green_fraction": 0.07,
    "ms_zero": 0.1, "ms_slope": 0.07, "ms_bend": 0.15, "ms_scatter": 0.05, "quiescent_ssfr": 0.25,
    "quiescent_ssfr_scatter": 0.1, "green_ssfr": 0.15, "green_range": 0.3, "quiescent_tau": 0.2,
    "burst_fraction": 0.04, "quiescent_onset": 0.5, "quiescent_onset_slope": 0.3,
    "quiescent_onset_scatter": 0.3, "star_forming_onset": 1.0, "star_forming_onset_scatter": 0.5,
    "metallicity_offset": 0.05, "metallicity_slope": 0.05, "metallicity_scatter": 0.03,
    "quiescent_metallicity": 0.05, "metallicity_spread": 0.05, "gradient": 0.05,
    "gradient_scatter": 0.04, "dust_av": 0.05, "dust_slope": 0.08, "dust_scatter": 0.05,
    "dust_inclination": 0.12, "dust_quiescent": 0.03, "dust_bulge": 0.2, "birth_cloud": 0.2,
    "cardelli_fraction": 0.15, "star_forming_bulge": 0.3, "quiescent_bulge": 0.4,
    "recent_scatter": 0.05,
}  # fmt: skip
"""Numbers that are fitted, each with the step by which it is tried."""

REDSHIFT = (0.04, 0.17)
READINGS = ((0.02, 0.7), (0.01, 0.7))
"""Floors of the errors, and how much each counts."""

TAIL = 0.12  # mag; what a percentile may be off before it counts as much as a moment

KNOT = 0.02  # mag, step of the correction
_N_OLD = len(stars.CORRECTION_WAVELENGTH)
_OLD = np.array(stars.CORRECTION_MAGNITUDE)
_YOUNG = np.array(stars.YOUNG_MAGNITUDE)


class Problem:
    """Residuals of a trial: moments, and what holds the numbers."""

    def __init__(self, table, n):
        z, magnitude, relative = real_photometry(table, REDSHIFT)
        colour = -np.diff(magnitude, axis=1)
        usual = ((colour > [0, 0, -0.1, -0.15]) & (colour < [3, 1.8, 0.8, 0.6])).all(1)
        self.n, self.z, self.r = n, z[usual], magnitude[usual, 2]
        self.relative = relative[usual]
        self.space = ColourSpace(colour[usual], self.z, self.r)
        self.tails = _tails(colour[usual], self.z)
        self.base = replace(PopulationConfig(), redshift_min=0.035, redshift_max=0.175)

    def config(self, x):
        """Return the configuration at a point, and its changes; limits are kept."""
        limit = {f.name: f.metadata for f in fields(PopulationConfig)}
        change = {}
        for (name, step), offset in zip(STEP.items(), x, strict=False):
            value = getattr(self.base, name) + step * offset
            low, high = limit[name]["min"], limit[name]["max"]
            change[name] = float(np.clip(value, low + 0.1 * step, high - 0.1 * step))
        return replace(self.base, **change), change

    def draw(self, x, seed):
        """Return magnitudes (n, 3, 5) of matches and their response to the correction's knots."""
        config, _ = self.config(x)
        galaxies = draw_galaxies(config, np.random.default_rng(seed), self.n)
        scale = np.array([0.005, 0.1])
        tree = cKDTree(np.c_[galaxies.redshift, galaxies.magnitude[:, 2]] / scale)
        near = tree.query(np.c_[self.z, self.r] / scale, k=3)[1]
        band = np.array([effective_wavelength(b) for b in "ugriz"])
        rest = band / (1 + galaxies.redshift[:, None])
        old = _response(stars.CORRECTION_WAVELENGTH, rest)
        young = _response(stars.YOUNG_WAVELENGTH, rest)
        young = young * _young_share_of_light(config, galaxies)[..., None]
        return galaxies.magnitude[near], np.concatenate([old, young], axis=-1)[near]

    def residuals(self, drawn, x):
        """Return the vector whose square is minimised."""
        magnitude, response = drawn
        knots = KNOT * x[len(STEP) :]
        magnitude = magnitude + response @ knots
        z, out = np.repeat(self.z, magnitude.shape[1]), []
        for floor, weight in READINGS:
            relative = other_floor(self.relative, floor)[:, None]
            seen = add_errors(magnitude, relative, np.random.default_rng(5)).reshape(-1, 5)
            lack = self.space.difference(-np.diff(seen, axis=1), z, seen[:, 2])
            out.append(weight * lack)
            out.append(weight * (_tails(-np.diff(seen, axis=1), z) - self.tails) / TAIL)
        old, young = _OLD + knots[:_N_OLD], _YOUNG + knots[_N_OLD:]
        hold = [x[: len(STEP)] / 40, 1.5 * np.diff(old, 2), 0.4 * (old - old.mean())]
        return np.concatenate([*out, *hold, [3 * knots.mean()], 1.5 * np.diff(young, 2), young])


def _tails(colour, redshift):
    inside = (redshift > 0.05) & (redshift < 0.15)
    return np.percentile(colour[inside], [3, 10, 30, 50, 70, 90, 97], axis=0).ravel()


def _response(knots, wavelength):
    """Return the change of magnitudes per magnitude at each knot, (..., n_knots)."""
    knots = np.log(knots)
    at = np.clip(np.log(wavelength), knots[0], knots[-1])
    return CubicSpline(knots, np.eye(len(knots)), bc_type="natural")(at)


def _young_share_of_light(config, galaxies):
    """Return the mean `stars.young_weight` of the light of each galaxy in each band, (n, 5)."""
    table = photometry_table((config.redshift_min, config.redshift_max))
    basis = table.basis
    young_weight = np.tile(stars.young_weight(basis.age), len(basis.metallicity)).astype(np.float32)
    g = {f.name: getattr(galaxies, f.name) for f in fields(galaxies)}
    for part in ("bulge", "disk"):
        g[f"{part}_weights"] = g[f"{part}_weights"] * young_weight
        g[f"{part}_line_luminosity"] = 0 * g[f"{part}_line_luminosity"]
    flux = _band_flux(table, g, slice(None)).sum(0)
    flux /= luminosity_distance(config, galaxies.redshift)[:, None] ** 2
    return flux / 10 ** (0.4 * (22.5 - galaxies.magnitude))


def gauss_newton(problem, x, seed, damping, keep_correction=False):
    """Return a better point: one matrix of derivatives, a few damped steps, Broyden's updates."""
    drawn = problem.draw(x, seed)
    now = problem.residuals(drawn, x)
    slope = np.zeros((len(now), len(x)))
    for i, name in enumerate(STEP):
        offset = np.zeros(len(x))
        offset[i] = 0.7
        moved = problem.config(x + offset)[1][name] - problem.config(x)[1][name]
        if abs(moved) < 0.3 * STEP[name]:  # at a limit
            offset = -offset
        tried = problem.residuals(problem.draw(x + offset, seed), x + offset)
        slope[:, i] = (tried - now) / offset[i]
    for i in range(len(STEP), len(STEP) if keep_correction else len(x)):
        offset = np.zeros(len(x))
        offset[i] = 0.5
        slope[:, i] = (problem.residuals(drawn, x + offset) - now) / 0.5
    scale = np.where(np.arange(len(x)) < len(STEP), 0.02, 0.005)
    for _ in range(5):
        change = np.linalg.solve(slope.T @ slope + np.diag(damping * scale), -slope.T @ now)
        change = np.clip(change, -2, 2)
        change[len(STEP) :] *= not keep_correction
        tried = problem.residuals(problem.draw(x + change, seed), x + change)
        slope += np.outer(tried - now - slope @ change, change) / (change @ change)
        if (tried**2).sum() < (now**2).sum():
            x, now, damping = x + change, tried, damping / 2
        else:
            damping *= 4
        print(f"  cost {(tried**2).sum():.4f}", flush=True)
    return x, damping


def _show(problem, x):
    for name, value in problem.config(x)[1].items():
        print(f"{name} = {value:.4g}")
    knots = KNOT * x[len(STEP) :]
    old = _OLD + knots[:_N_OLD]
    print("CORRECTION_MAGNITUDE =", np.round(old - old[4:9].mean(), 3).tolist())
    print("YOUNG_MAGNITUDE =", np.round(_YOUNG + knots[_N_OLD:], 3).tolist())


def main():
    """Run the fit and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalogue", help="FITS table of SDSS photometry, or the folder it is in")
    parser.add_argument("--rows", choices=("even", "odd"), help="use half of the catalogue")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep-correction", action="store_true", help="fit the population alone")
    parser.add_argument("-n", type=int, default=4000, help="galaxies drawn per trial")
    arguments = parser.parse_args()
    rows = {None: slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}
    problem = Problem(
        find_catalogues([arguments.catalogue], rows[arguments.rows])["colours"], arguments.n
    )
    x, damping = np.zeros(len(STEP) + len(_OLD) + len(_YOUNG)), 0.5
    for step in range(arguments.steps):
        print(f"step {step}", flush=True)
        damping = min(max(damping, 0.05), 2.0)
        x, damping = gauss_newton(
            problem, x, arguments.seed + step, damping, arguments.keep_correction
        )
        _show(problem, x)


if __name__ == "__main__":
    main()
