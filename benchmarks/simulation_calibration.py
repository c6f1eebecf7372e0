"""Compare the simulated population with real catalogues.

    python benchmarks/simulation_calibration.py CATALOGUE... [--figures FOLDER] [--rows even|odd]

CATALOGUE is a FITS table or a folder of them. What a table is compared in is told by its columns,
so that catalogues held back from the fit can be given by any name:

- u_maggies ... z_maggies, *_maggies_ivar, redshift: colours at the same r and redshift;
- continuum, redshift, <line>_ew, <line>_ew_ivar: lines at the same redshift and continuum;
- nsa_z, nsa_elpetro_mass, nsa_sersic_th50, nsa_sersic_n, nsa_sersic_ba: shapes at the same mass.

Prints one table per comparison; benchmarks/simulation_fit.py fits the numbers that
`PopulationConfig` and the template correction carry.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table
from scipy.spatial import cKDTree
from scipy.stats import wasserstein_distance
from simulation_lines import compare_lines
from simulation_shapes import compare_shapes
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from photospec.simulation.galaxies.population import PopulationConfig, draw_galaxies

COLOURS = ("u-g", "g-r", "r-i", "i-z")
FLOOR = 0.02
"""Relative error that the SDSS catalogue adds in quadrature to those of the photometry."""

MARKS = {"u_maggies": "colours", "continuum": "lines", "nsa_sersic_n": "shapes"}
"""Columns that tell what a catalogue is good for."""


def find_catalogues(paths, rows=slice(None)):
    """Return tables by what they are good for; folders stand for the FITS files in them."""
    found = {}
    for path in map(Path, paths):
        files = sorted(path.glob("*.fits")) if path.is_dir() else [path]
        if not files:
            sys.exit(f"CATALOGUE: expected FITS tables in {path}, got none")
        for file in files:
            try:
                table = Table.read(file)
            except (OSError, ValueError) as error:
                sys.exit(f"CATALOGUE: expected a FITS table, got {file} ({error})")
            kind = next((kind for mark, kind in MARKS.items() if mark in table.colnames), None)
            if kind is None:
                sys.exit(
                    f"CATALOGUE: expected one of the columns {', '.join(MARKS)}, {file} has none"
                )
            if kind in found:
                sys.exit(f"CATALOGUE: expected one table with {kind}, got another: {file}")
            found[kind] = table[rows]
    return found


def real_photometry(table, redshift=(0.05, 0.15), r_range=(14.0, 17.77)):
    """Return redshift, magnitudes (n, 5) and relative flux errors (n, 5) of an SDSS catalogue."""
    flux = np.array([table[f"{b}_maggies"] for b in "ugriz"], float).T
    ivar = np.array([table[f"{b}_maggies_ivar"] for b in "ugriz"], float).T
    z = np.array(table["redshift"], float)
    good = (flux > 0).all(1) & (ivar > 0).all(1)
    magnitude = 22.5 - 2.5 * np.log10(np.where(flux > 0, flux, 1.0))
    good &= (z > redshift[0]) & (z < redshift[1])
    good &= (magnitude[:, 2] > r_range[0]) & (magnitude[:, 2] < r_range[1])
    return z[good], magnitude[good], 1 / np.sqrt(ivar[good]) / flux[good]


def other_floor(relative, floor):
    """Return relative errors with another floor in the place of the catalogue's."""
    return np.sqrt(np.clip(relative**2 - FLOOR**2, 0, None) + floor**2)


def match(z, r, galaxies, rng, n_near=5):
    """Return the index of a simulated galaxy near each real one in redshift and r."""
    scale = np.array([0.005, 0.1])
    tree = cKDTree(np.c_[galaxies.redshift, galaxies.magnitude[:, 2]] / scale)
    near = tree.query(np.c_[z, r] / scale, k=n_near)[1]
    return near[np.arange(len(z)), rng.integers(0, n_near, len(z))]


def add_errors(magnitude, relative, rng):
    """Return magnitudes with relative flux errors added."""
    factor = 1 + relative * rng.standard_normal(magnitude.shape)
    return magnitude - 2.5 * np.log10(np.clip(factor, 0.05, None))


def auc(real, fake):
    """Return the cross-validated area under the curve of a gradient-boosted classifier."""
    x = np.concatenate([real, fake])
    y = np.repeat([0, 1], [len(real), len(fake)])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = HistGradientBoostingClassifier(random_state=0)
    return roc_auc_score(y, cross_val_predict(model, x, y, cv=folds, method="predict_proba")[:, 1])


def features(magnitude, redshift):
    """Return what the classifier is given: u-g, g-r, r-i, i-z, r, redshift."""
    return np.c_[-np.diff(magnitude, axis=1), magnitude[:, 2], redshift]


def compare_colours(table, config, seed, n):
    """Print Wasserstein distances and the classifier's area; return what figures need.

    The catalogue's errors hold 2 % in every band, added in quadrature for the fitting of
    templates; it is more than the scatter of its own red sequence. Hence the classifier is run
    with 1 % in its place too, as SDSS calibrates g, r, i, z (Padmanabhan et al. 2008, ApJ 674,
    1217), and between one half of the real galaxies and the other with the errors added again.
    """
    rng = np.random.default_rng(seed)
    z, real, relative = real_photometry(table)
    galaxies = draw_galaxies(config, rng, n)
    pick = match(z, real[:, 2], galaxies, rng)
    true, its_z = galaxies.magnitude[pick], galaxies.redshift[pick]
    fake = add_errors(true, relative, rng)
    a, b = -np.diff(real, axis=1), -np.diff(fake, axis=1)
    for name, x, y in zip(COLOURS, a.T, b.T, strict=True):
        print(f"  {name:22s} {wasserstein_distance(x, y):.3f} mag (0.04)")
    print(f"  {'classifier':22s} {auc(features(real, z), features(fake, its_z)):.3f} (0.65)")
    for floor in (0.015, 0.01, 0.0):
        other = add_errors(true, other_floor(relative, floor), rng)
        area = auc(features(real, z), features(other, its_z))
        print(f"  {f'  floor of {100 * floor:g} %':22s} {area:.3f}")
    half = np.arange(len(z)) % 2 == 0
    for name, floor in (("errors again", FLOOR), ("floor of 1 % again", 0.01)):
        twice = add_errors(real, other_floor(relative, floor), rng)
        area = auc(features(real, z)[half], features(twice, z)[~half])
        print(f"  {f'  real, {name}':22s} {area:.3f}")
    return z, a, b


def main():
    """Run the comparisons that there are catalogues for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalogues", nargs="+", help="FITS tables or folders of them")
    parser.add_argument("--figures", type=Path, help="folder to write figures to")
    parser.add_argument("-n", type=int, default=6000, help="galaxies per comparison")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", choices=("even", "odd"), help="use half of each catalogue")
    arguments = parser.parse_args()
    rows = {None: slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}
    tables = find_catalogues(arguments.catalogues, rows[arguments.rows])
    config, results = PopulationConfig(), {}
    comparisons = {
        "colours": (compare_colours, "colours, 0.05 < z < 0.15, r < 17.77", 4),
        "lines": (compare_lines, "lines, matched in redshift and continuum", 1),
        "shapes": (compare_shapes, "shapes at given mass", 1),
    }
    print("Wasserstein distances and areas under the curve (goal in brackets)")
    for kind, (compare, title, more) in comparisons.items():
        if kind in tables:
            print(title, flush=True)
            results[kind] = compare(tables[kind], config, arguments.seed, more * arguments.n)
    if arguments.figures:
        from simulation_figures import draw_figures

        draw_figures(arguments.figures, **results)


if __name__ == "__main__":
    main()
