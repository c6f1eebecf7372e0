"""Compare the evolving population with what is known beyond the SDSS main sample.

    python benchmarks/simulation_deep.py CATALOGUES [-n 6000]

CATALOGUES is a folder of FITS tables, or tables, as for simulation_calibration.py. Printed:

- galaxies per square degree and median redshifts for magnitude limits with published counts;
- DESI bright galaxies by redshift: shapes of the continuum and equivalent widths, against
  simulated ones of the same redshift and rank in brightness;
- the faint half of the SDSS catalogue (r > 17.77) by redshift: colours at the same r and redshift.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import rankdata, wasserstein_distance
from simulation_calibration import add_errors, find_catalogues, match, real_photometry
from simulation_lines import LINES, binned_spectra

from photospec.simulation import Survey, draw_galaxies
from photospec.simulation.galaxies.population import surface_density

COUNTS = (
    # limit, highest redshift, galaxies per square degree, median redshift, where it is published
    (17.77, 0.3, 92, 0.104, "SDSS main (Strauss 2002, AJ 124, 1810)"),
    (19.5, 0.6, 864, 0.2, "DESI BGS Bright (Hahn 2023, AJ 165, 253)"),
    (19.65, 0.6, 945, 0.2, "GAMA DR4 (Driver 2022, MNRAS 513, 439)"),
    (19.8, 0.6, 1050, 0.21, "GAMA II (Liske 2015, MNRAS 452, 2087)"),
)
"""Limits in r, and what surveys found."""

REDSHIFTS = (0.06, 0.1, 0.15, 0.2, 0.25, 0.3)
SHAPES = ((3, 0), (4, 2), (7, 4), (11, 7))
"""Pairs of the 12 continuum bins whose ratios are compared; the second one holds the 4000 A break:
4000-4300 (bin 2) and 4600-4900 (bin 4)."""


def compare_counts(config, seed):
    """Print galaxies per square degree and median redshifts."""
    for limit, highest, density, median, source in COUNTS:
        c = replace(config, r_limit=limit, redshift_max=highest)
        found = surface_density(c, np.random.default_rng(seed), 40)
        z = draw_galaxies(c, np.random.default_rng(seed), 3000).redshift
        print(f"  r < {limit:5.2f}: {found:6.0f} per square degree ({density}), median redshift "
              f"{np.median(z):.3f} ({median}) {source}")  # fmt: skip


def compare_spectra(table, config, seed, n):
    """Print differences of continuum shapes and line widths; return what the figure needs."""
    rng = np.random.default_rng(seed)
    table = table[(np.array(table["continuum"]) > 0).all(1)]
    table = table[rng.permutation(len(table))[:n]]
    z = np.array(table["redshift"], float)
    galaxies, continuum, ew = binned_spectra(
        replace(config, r_limit=20.0, redshift_min=0.05, redshift_max=0.31), rng, n
    )

    def place(flux, redshift):
        """Redshift and rank in brightness among galaxies of like redshift."""
        level = np.log10(flux).mean(1)
        bins = np.digitize(redshift, np.arange(0.05, 0.31, 0.02))
        rank = np.zeros(len(level))
        for b in np.unique(bins):
            rank[bins == b] = rankdata(level[bins == b]) / (bins == b).sum()
        return np.c_[redshift / 0.02, rank / 0.1]

    real = np.array(table["continuum"], float)
    near = cKDTree(place(continuum, galaxies.redshift)).query(place(real, z))[1]
    fake = continuum[near]
    rows = []
    for low, high in pairwise(REDSHIFTS):
        inside = (z > low) & (z < high)
        row = []
        for a, b in SHAPES:
            x, y = (np.log10(f[inside, a] / f[inside, b]) for f in (real, fake))
            row.append((np.median(y) - np.median(x), wasserstein_distance(x, y)))
        for k, line in enumerate(LINES):
            ivar = np.array(table[f"{line}_ew_ivar"], float)[inside]
            x = np.array(table[f"{line}_ew"], float)[inside]
            good = ivar > 0
            y = ew[near, k][inside] + rng.standard_normal(inside.sum()) / np.sqrt(ivar + 1e-9)
            x, y = (np.arcsinh(v[good] / 2) / np.log(10) for v in (x, y))
            row.append((np.median(y) - np.median(x), wasserstein_distance(x, y)))
        rows.append(row)
        print(f"  {low:.2f} < z < {high:.2f}: " + "  ".join(f"{m:+.2f} {w:.2f}" for m, w in row))
    return z, real, fake, table, ew[near], np.array(rows)


def compare_faint(table, config, seed, n):
    """Print Wasserstein distances of colours at the same r and redshift, r > 17.77."""
    rng = np.random.default_rng(seed)
    z, real, relative = real_photometry(table, (0.05, 0.55), (17.77, 20.5))
    galaxies = draw_galaxies(config, rng, 4 * n)
    pick = match(z, real[:, 2], galaxies, rng)
    fake = add_errors(galaxies.magnitude[pick], relative, rng)
    for low, high in ((0.05, 0.15), (0.15, 0.25), (0.25, 0.35), (0.35, 0.45), (0.45, 0.55)):
        inside = (z > low) & (z < high)
        a, b = -np.diff(real[inside], axis=1), -np.diff(fake[inside], axis=1)
        print(f"  {low:.2f} < z < {high:.2f} ({inside.sum():4d}): " + "  ".join(
            f"{np.median(y) - np.median(x):+.3f} {wasserstein_distance(x, y):.3f}"
            for x, y in zip(a.T, b.T, strict=True)))  # fmt: skip
    return z, real, fake


def main():
    """Run the comparisons that there are catalogues for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalogues", nargs="+", help="FITS tables or folders of them")
    parser.add_argument("-n", type=int, default=6000, help="galaxies per comparison")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tables = find_catalogues(arguments.catalogues)
    config = Survey.desi_legacy().population
    print("Counts (published in brackets)")
    compare_counts(config, arguments.seed)
    if "lines" in tables:
        print("DESI: median difference and Wasserstein distance, dex, of continuum ratios and of")
        print("asinh(EW/2) of " + ", ".join(LINES), flush=True)
        compare_spectra(tables["lines"], config, arguments.seed, arguments.n)
    if "colours" in tables:
        print("r > 17.77: the same, mag, of u-g, g-r, r-i, i-z", flush=True)
        compare_faint(tables["colours"], config, arguments.seed, arguments.n)


if __name__ == "__main__":
    main()
