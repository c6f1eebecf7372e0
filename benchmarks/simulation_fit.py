"""Fit numbers of `PopulationConfig` and the template correction to SDSS colours.

    python benchmarks/simulation_fit.py CATALOGUES [--minutes 7] [--seed 1]

An evolution strategy (CMA-ES; needs the package ``cma``) moves the numbers marked "fit"; for each
trial the best smooth template correction is solved for linearly. The cost is the mean Wasserstein
distance, in nine bins of redshift, along colours and combinations of colours, between the catalogue
and simulated galaxies matched to it in redshift and r with errors added (the catalogue's, less its
floor of 2 %). Prints new values; a person puts them in. Line strengths are then set by hand until
benchmarks/simulation_calibration.py is content: ionising_boost from the equivalent widths of the
Balmer lines, gas_offset, log_u_*, nitrogen and sulphur from the line ratios, seyfert_fraction and
liner_fraction from the share above the curve of Kauffmann et al. (2003).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import pairwise

import cma
import numpy as np
from simulation_calibration import add_errors, match, real_photometry

from photospec.filters import effective_wavelength
from photospec.simulation.correction import CORRECTION_MAGNITUDE, CORRECTION_WAVELENGTH
from photospec.simulation.population import PopulationConfig, draw_galaxies

STEP = {
    "quiescent_mass": 0.1, "quiescent_width": 0.07, "quiescent_max": 0.03, "green_fraction": 0.07,
    "ms_zero": 0.1, "ms_bend": 0.15, "ms_scatter": 0.07, "quiescent_ssfr": 0.25,
    "burst_fraction": 0.1, "quiescent_onset": 0.5, "quiescent_onset_scatter": 0.4,
    "star_forming_onset": 1.0, "star_forming_onset_scatter": 0.5, "metallicity_offset": 0.05,
    "metallicity_slope": 0.05, "metallicity_scatter": 0.03, "quiescent_metallicity": 0.05,
    "dust_av": 0.07, "dust_slope": 0.08, "dust_scatter": 0.05, "dust_inclination": 0.15,
    "dust_quiescent": 0.03, "star_forming_bulge": 0.3, "recent_scatter": 0.05,
}  # fmt: skip
POSITIVE = ("fraction", "scatter", "width", "av", "max", "dust_quiescent")
EDGES = np.array([0.03, 0.05, 0.065, 0.08, 0.095, 0.11, 0.13, 0.15, 0.2, 0.25])
BIN_WEIGHT = np.where(EDGES[:-1] < 0.15, 1.0, 0.4)
QUANTILES = np.array([10, 25, 40, 60, 75, 90])
DIRECTIONS = np.array(
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0]]
    + [[0, 0, 1, 1], [0.35, -0.5, 0, 0], [0, -0.35, 1, 0], [0, -0.35, 0, 1], [0, 0, -0.6, 0.6]]
    + [[0.15, 0.15, -1, 0], [0.2, 0, 0, -1], [0.2, 0, -1, 0]]
).T


class Problem:
    """The cost of a trial."""

    def __init__(self, folder, seed):
        self.seed = seed
        z, real, relative = real_photometry(folder, (EDGES[0], EDGES[-1]))
        colour = -np.diff(real, axis=1)
        usual = ((colour > [0, 0, 0, -0.1]) & (colour < [3, 1.8, 0.8, 0.6])).all(1)
        self.z, self.r, self.colour = z[usual], real[usual, 2], colour[usual]
        self.relative = np.sqrt(np.clip(relative[usual] ** 2 - 0.02**2, 0.006**2, None))
        self.bins = [(self.z > a) & (self.z < b) for a, b in pairwise(EDGES)]
        self.target = self._quantiles(self.colour)
        # response of the magnitudes of each galaxy to each knot of the correction
        band = np.array([effective_wavelength(b) for b in "ugriz"])
        rest = np.log(band / (1 + self.z[:, None]))
        knots = np.log(CORRECTION_WAVELENGTH)
        self.response = np.stack([np.interp(rest, knots, row) for row in np.eye(len(knots))], -1)

    def _quantiles(self, colour):
        return np.array([np.percentile(colour[b], QUANTILES, axis=0) for b in self.bins])

    def config(self, x):
        """Return the configuration at a point of the search, and its changes."""
        base, change = PopulationConfig(), {}
        for (name, step), offset in zip(STEP.items(), x, strict=True):
            value = getattr(base, name) + step * offset
            low = 0.01 if name.endswith(POSITIVE) else -np.inf
            high = 0.99 if name.endswith(("fraction", "max")) else np.inf
            change[name] = float(np.clip(value, low, high))
        return replace(base, **change), change

    def __call__(self, x, n=4500):
        return self.solve(x, n)[0] + 1e-5 * np.sum(np.square(x))

    def solve(self, x, n=4500):
        """Return the cost and the change of the template correction."""
        galaxies = draw_galaxies(self.config(x)[0], np.random.default_rng(self.seed), n)
        pick = match(self.z, self.r, galaxies, np.random.default_rng(self.seed + 1), 2)
        rng = np.random.default_rng(self.seed + 2)
        magnitude = add_errors(galaxies.magnitude[pick], self.relative, rng)
        lack = self.target - self._quantiles(-np.diff(magnitude, axis=1))
        mean = np.array([self.response[b].mean(0) for b in self.bins])
        slope = np.repeat((mean[:, :-1] - mean[:, 1:])[:, None], len(QUANTILES), axis=1)
        n_knots = slope.shape[-1]
        smooth = np.concatenate([1.5 * np.diff(np.eye(n_knots), 2, axis=0), np.eye(n_knots)])
        left = (slope * BIN_WEIGHT[:, None, None, None]).reshape(-1, n_knots)
        right = np.append((lack * BIN_WEIGHT[:, None, None]).ravel(), np.zeros(len(smooth)))
        knots = np.linalg.lstsq(np.concatenate([left, smooth]), right, rcond=None)[0]
        colour = -np.diff(magnitude + self.response @ knots, axis=1)
        cost = 0.0
        for inside, weight in zip(self.bins, BIN_WEIGHT, strict=True):
            a, b = (np.sort(c[inside] @ DIRECTIONS, axis=0) for c in (self.colour, colour))
            cost += weight * np.abs(a - b).mean() / len(self.bins)
        return cost, knots


def main():
    """Run the fit and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalogues", help="folder of the catalogues")
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    problem = Problem(arguments.catalogues, arguments.seed)
    end = time.monotonic() + 60 * arguments.minutes
    options = {"popsize": 12, "verbose": -9, "seed": arguments.seed}
    search = cma.CMAEvolutionStrategy(np.zeros(len(STEP)), 0.5, options)
    while time.monotonic() < end:
        trials = search.ask()
        costs = [problem(x) for x in trials]
        search.tell(trials, costs)
        print(f"cost {min(costs):.4f} mag", flush=True)
    for name, value in problem.config(search.mean)[1].items():
        print(f"{name} = {value:.4g}")
    knots = CORRECTION_MAGNITUDE + problem.solve(search.mean, 8000)[1]
    print("CORRECTION_MAGNITUDE =", np.round(knots - knots[1:].mean(), 3).tolist())


if __name__ == "__main__":
    main()
