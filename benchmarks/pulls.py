"""Widths of value over error, over draws of noise, for every error of the property table.

    python benchmarks/pulls.py --draws 60
    python benchmarks/pulls.py --draws 40 --step 6 --columns redshift velocity_dispersion

A galaxy of the population models at z = 0.35 with lines, and noise at a signal-to-noise per
Angstrom. Printed are, for each column, the width of (value - mean) / error, its own uncertainty
being 0.71 over the root of the number of draws, the mean of (value - truth) / error where the truth
is known, and the share of draws that were measured. ``--parts`` says what the errors of line
fluxes hold: the width if they held nothing but the noise of the pixels, and then with each more.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/analysis"))
from conftest import LINE_STRENGTHS, _galaxy

from photospec.analysis import fit_populations, measure_lines, measure_properties
from photospec.analysis.emission import fit as emission_fit
from photospec.lines import continuum_beside
from photospec.spectrum import from_arrays, rebin, to_arrays

FINE = 0.5  # Angstrom: what pixels are averages of
LINES = 2.0


def clean_galaxy(z, step, dispersion, age):
    """Noiseless flux, averaged over pixels, and its line-spread function with them."""
    fine = np.arange(3780.0, 9220.0, FINE)
    spectrum = _galaxy(z, lines=LINES, age=age, wavelength=fine, dispersion=dispersion)
    wavelength = np.arange(3800.0, 9200.0, step)
    flux = rebin(to_arrays(spectrum).flux[0], fine, wavelength)
    return wavelength, flux, float(np.hypot(1.0, step / np.sqrt(12)))


def truths(z):
    known = {"redshift": z}
    for name, strength in LINE_STRENGTHS.items():
        known[f"{name}_flux"] = LINES * strength
    return known


def numbers(table, name):
    column = table[name]
    bare = np.asarray(getattr(column, "unmasked", column), float)
    return np.where(np.asarray(getattr(column, "mask", np.zeros(len(table), bool))), np.nan, bare)


def width(values, errors):
    """Width of the pulls, outliers and all."""
    return np.sqrt(np.nanmean(((values - np.nanmean(values)) / errors) ** 2))


def report(draws, known, columns):
    table = measure_properties(draws, n_processes=1)
    names = [c.removesuffix("_error") for c in table.colnames if c.endswith("_error")]
    for name in names:
        if columns and not any(part in name for part in columns):
            continue
        value, error = numbers(table, name), numbers(table, f"{name}_error")
        there = np.isfinite(value) & np.isfinite(error)
        if there.sum() < 3:
            continue
        pull = width(value[there], error[there])
        bias = ""
        if name in known:
            bias = f"{np.mean((value[there] - known[name]) / error[there]):+.2f}"
        print(f"{name:28s} {pull:6.2f} {bias:>6s} {there.mean():6.0%}  "
              f"{np.median(value[there]):.5g} +- {np.median(error[there]):.3g}")  # fmt: skip


PARTS = {
    "noise alone": {"SHAPE_FACTOR": 1, "SHAPE_ERROR": 0, "SHAPE_ERROR_OIII": 0, "STARS_ERROR": 0,
                    "STARS_ERROR_BALMER": 0, "_inflation": lambda *_: 1.0},
    "+ scatter without lines": {"SHAPE_FACTOR": 1, "SHAPE_ERROR": 0, "SHAPE_ERROR_OIII": 0,
                                "STARS_ERROR": 0, "STARS_ERROR_BALMER": 0},
    "+ shape of lines": {"STARS_ERROR": 0, "STARS_ERROR_BALMER": 0},
    "+ stars under lines": {},
}  # fmt: skip


def report_parts(draws, z):
    """Widths with more and more in the errors."""
    fits = [fit_populations(spectrum, z) for spectrum in draws]
    usual = {name: getattr(emission_fit, name) for name in PARTS["noise alone"]}
    for title, changed in PARTS.items():
        for name, value in (usual | changed).items():
            setattr(emission_fit, name, value)
        found = [measure_lines(fit) for fit in fits]
        names = [name for name in LINE_STRENGTHS if name in found[0].names]
        rows = [found[0].index(name) for name in names]
        print(title)
        for what in ("flux", "ew"):
            value = np.array([getattr(lines, what)[rows] for lines in found])
            error = np.array([getattr(lines, what + "_error")[rows] for lines in found])
            pulls = [f"{name} {width(*pair):.2f}"
                     for name, *pair in zip(names, value.T, error.T)]  # fmt: skip
            print(f"  {what}: {', '.join(pulls)}")
        for upper, lower in (("oiii_5007", "hbeta"), ("nii_6584", "halpha")):
            pairs = np.array([lines.log_ratio(upper, lower) for lines in found])
            print(f"  log {upper}/{lower} {width(*pairs.T):.2f}")
    beside = [
        continuum_beside(fit.wavelength / (1 + z), fit.continuum, found[0].wavelength[rows])
        for fit in fits
    ]
    spread = np.std(beside, axis=0) / np.median([np.median(fit.sigma) for fit in fits])
    print("scatter of the stellar continuum beside lines, in noise of a pixel:",
          ", ".join(f"{name} {value:.3f}" for name, value in zip(names, spread)))  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--signal-to-noise", type=float, default=20.0, help="per Angstrom")
    parser.add_argument("--step", type=float, default=1.0, help="Angstrom, of pixels")
    parser.add_argument(
        "--dispersion", type=float, default=150.0, help="km/s, beside the templates' resolution"
    )
    parser.add_argument("--redshift", type=float, default=0.35)
    parser.add_argument("--age", type=float, default=2e9)
    parser.add_argument("--columns", nargs="*", default=(), help="parts of names of columns")
    parser.add_argument("--parts", action="store_true", help="what the errors of lines hold")
    options = parser.parse_args()
    z, dispersion = options.redshift, options.dispersion
    wavelength, flux, lsf = clean_galaxy(z, options.step, dispersion, options.age)
    level = np.median(flux) / options.signal_to_noise / np.sqrt(options.step)
    sigma = np.full(flux.size, level)
    draws = []
    for seed in range(options.draws):
        noise = sigma * np.random.default_rng(seed).standard_normal(flux.size)
        draws.append(from_arrays(wavelength, flux + noise, sigma=sigma, lsf=lsf))
    if options.parts:
        report_parts(draws, z)
    else:
        report(draws, truths(z), options.columns)


if __name__ == "__main__":
    main()
