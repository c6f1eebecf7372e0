"""Compare the evolving population with what is known beyond the SDSS main sample.

    python benchmarks/simulation_deep.py CATALOGUES [--figures FOLDER] [--table FILE] [-n 6000]

CATALOGUES are FITS tables, as for simulation_calibration.py: one of lines, one of photometry. One
with a column "source" is taken for the SDSS main sample, of which MLZ's rows are compared.
Printed, and written as tables of the documentation:

- galaxies per square degree and median redshifts for magnitude limits with published counts;
- galaxies per square degree and redshift of DESI's BGS Bright, r < 19.5;
- redshifts of the SDSS Main Galaxy Sample, if a table of it is given;
- DESI bright galaxies by redshift: shapes of the continuum and equivalent widths, against
  simulated ones of the same redshift and rank in brightness;
- the SDSS catalogue to r = 20.5 by redshift: colours of red and of blue galaxies at the same r and
  redshift. It is no magnitude-limited sample: beyond redshift 0.2 targets were selected by colour;
- the faint half of that catalogue (r > 17.77): distances of the distributions of colours.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.cosmology import FlatLambdaCDM
from astropy.table import Table
from scipy.spatial import cKDTree
from scipy.stats import rankdata, wasserstein_distance
from simulation_calibration import add_errors, find_catalogues, match, real_photometry
from simulation_lines import LINES, binned_spectra

from photospec.simulation import Survey, draw_galaxies
from photospec.simulation.galaxies.population import surface_density

COUNTS = (
    # limit, highest redshift, galaxies per square degree, median redshift, where it is published
    (17.77, 0.3, 92, 0.104, "SDSS main (Strauss 2002, AJ 124, 1810)"),
    (19.65, 0.6, 945, 0.2, "GAMA DR4 (Driver 2022, MNRAS 513, 439)"),
    (19.8, 0.6, 1050, 0.21, "GAMA II (Liske 2015, MNRAS 452, 2087)"),
)
"""Limits in r, and what surveys found. SDSS and GAMA have Petrosian and Kron magnitudes, which miss
some of the light of early types; simulated ones are total."""

BGS_EDGES = np.linspace(0.01, 0.59, 30)
BGS_DENSITY = (
    229, 68.6, 46.8, 50.4, 24.7, 26.2, 27, 14.6, 13.9, 10.7,
    9.26, 7.5, 7.9, 4.79, 3.69, 2.74, 1.95, 1.45, 1.09, 0.778,
    0.619, 0.374, 0.234, 0.145, 0.0946, 0.0669, 0.0315, 0.0271, 0.0125,
)  # fmt: skip
"""Galaxies of r < 19.5 per (Mpc/h)^3 in thousandths, between `BGS_EDGES` in redshift: DESI's BGS
Bright in the One-Percent Survey, corrected for what was not observed (DESI Collaboration 2024, AJ
168, 58, fig. 6; github.com/desihub/edrpaper, zenodo/lss_nz.json)."""
BGS_COSMOLOGY = FlatLambdaCDM(100, 0.3152)
BGS_BINS = (0.01, 0.05, 0.11, 0.15, 0.21, 0.25, 0.31, 0.35, 0.41, 0.51, 0.59)
"""Bins of the table, wider than `BGS_EDGES` as 170 square degrees hold few clusters."""

MAIN_LIMIT = 17.6
"""Of r, brighter than where the main sample of the MLZ catalogue thins out."""

REDSHIFTS = (0.06, 0.1, 0.15, 0.2, 0.25, 0.3)
SHAPES = ((3, 0), (4, 2), (7, 4), (11, 7))
"""Pairs of the 12 continuum bins whose ratios are compared; the second one holds the 4000 A break:
4000-4300 (bin 2) and 4600-4900 (bin 4)."""


def compare_counts(config, seed):
    """Print galaxies per square degree and median redshifts; return rows of a table."""
    rows = []
    for limit, highest, density, median, source in COUNTS:
        c = replace(config, r_limit=limit, redshift_max=highest)
        found = surface_density(c, np.random.default_rng(seed), 40)
        z = draw_galaxies(c, np.random.default_rng(seed), 3000).redshift
        print(f"  r < {limit:5.2f}: {found:6.0f} per square degree ({density}), median redshift "
              f"{np.median(z):.3f} ({median}) {source}")  # fmt: skip
        found = f"{found:.0f} ({density})", f"{np.median(z):.2f} ({median:.2f})"
        rows.append([f"r < {limit:.2f}", *found, source])
    return rows


def decam_r(magnitude):
    """r through DECam's filter, from SDSS magnitudes (n, 5).

    A line through rendered spectra of simulated galaxies of r < 20.5; they scatter by 0.012 mag.
    """
    return magnitude[:, 2] + 0.017 - 0.262 * (magnitude[:, 2] - magnitude[:, 3])


def compare_redshifts(config, seed, n=20_000):
    """Print galaxies of r < 19.5 (DECam) per square degree by redshift; return rows of a table."""
    volume = BGS_COSMOLOGY.comoving_volume(BGS_EDGES).value * (np.pi / 180) ** 2 / (4 * np.pi)
    real = np.append(0, np.cumsum(1e-3 * np.array(BGS_DENSITY) * np.diff(volume)))
    c = replace(config, r_limit=19.75, redshift_max=0.6)
    galaxies = draw_galaxies(c, np.random.default_rng(seed), n)
    share = surface_density(c, np.random.default_rng(seed), 100) / n
    z = galaxies.redshift[decam_r(galaxies.magnitude) < 19.5]
    rows = []
    for low, high in (*pairwise(BGS_BINS), (BGS_BINS[0], BGS_BINS[-1])):
        number = np.sum((z > low) & (z < high))
        observed = np.diff(np.interp([low, high], BGS_EDGES, real))[0]
        found = number * share
        print(f"  {low:.2f} < z < {high:.2f}: {found:6.1f} ({observed:.1f}), "
              f"ratio {found / observed:.2f}")  # fmt: skip
        ratio = f"{found / observed:.2f} ± {found / observed / np.sqrt(number):.2f}"
        rows.append([f"{low:.2f} to {high:.2f}", f"{found:.0f}", f"{observed:.0f}", ratio])
    medians = np.median(z), np.interp(real[-1] / 2, real, BGS_EDGES)
    print("  median redshift: {:.3f} ({:.3f})".format(*medians))
    rows.append(["median", *(f"{median:.3f}" for median in medians), ""])
    return rows


def compare_main(table, config, seed, n=6000):
    """Print redshifts that shares of the main sample lie below; return rows of a table."""
    z, r = np.array(table["redshift"], float), 22.5 - 2.5 * np.log10(table["r_maggies"])
    main = np.char.strip(np.array(table["source"]).astype(str)) == "MLZ"
    real = z[main & (r < MAIN_LIMIT) & (z > 0.02) & (z < 0.3)]
    shares = (10, 25, 50, 75, 90)
    rows = [[f"observed ({len(real)})", *(f"{v:.3f}" for v in np.percentile(real, shares))]]
    for name, one in (("deep surveys", config), ("sdss_main", Survey.sdss_main().population)):
        c = replace(one, r_limit=MAIN_LIMIT, redshift_min=0.02, redshift_max=0.3)
        found = draw_galaxies(c, np.random.default_rng(seed), n).redshift
        rows.append([name, *(f"{v:.3f}" for v in np.percentile(found, shares))])
    for row in rows:
        print("  " + "  ".join(row))
    return rows


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
    width = np.array([table[f"{line}_ew"] for line in LINES], float).T
    rows = []
    for low, high in pairwise(REDSHIFTS):
        inside = (z > low) & (z < high)
        # Galaxies with lines: the catalogue was selected by them, quiescent ones are missing.
        a, b = (inside & (w[:, 4] > 8) & (w[:, 0] > 4) for w in (width, ew[near]))
        row = [
            np.median(np.log10(fake[b, i] / fake[b, j]))
            - np.median(np.log10(real[a, i] / real[a, j]))
            for i, j in SHAPES
        ]
        row += [
            np.nanmedian(np.log10(np.clip(ew[near][b, k], 0.1, None)))
            - np.nanmedian(np.log10(np.clip(width[a, k], 0.1, None)))
            for k in range(len(LINES))
        ]
        rows.append(row)
        print(f"  {low:.2f} < z < {high:.2f}: " + "  ".join(f"{value:+.2f}" for value in row))
    return [
        [f"{low:.2f} to {high:.2f}", f"{row[0]:+.2f}", *(f"{value:+.2f}" for value in row[4:])]
        for (low, high), row in zip(pairwise(REDSHIFTS), rows, strict=True)
    ]


def list_table(title, header, rows):
    """A reStructuredText list table."""
    lines = [f".. list-table:: {title}", "   :header-rows: 1", ""]
    for row in (header, *rows):
        lines += [f"   {'*' if k == 0 else ' '} - {cell}" for k, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def is_red(magnitude, z):
    """Above the valley of g-r between red and blue galaxies at a redshift."""
    valley = np.interp(z, [0, 0.1, 0.2, 0.35, 0.6], [0.65, 0.83, 1.1, 1.45, 1.5])
    return magnitude[:, 1] - magnitude[:, 2] > valley


def compare_colours(table, config, seed, n):
    """Print differences of the median colours of red and blue galaxies at the same r and z."""
    rng = np.random.default_rng(seed)
    z, real, relative = real_photometry(table, (0.05, 0.5), (16, 20.5))
    galaxies = draw_galaxies(config, rng, 6 * n)
    pick = match(z, real[:, 2], galaxies, rng)
    fake = add_errors(galaxies.magnitude[pick], relative, rng)
    rows = []
    for low in np.arange(0.05, 0.5, 0.05):
        inside = (z > low) & (z < low + 0.05)
        text = []
        for wanted in (True, False):
            a, b = (-np.diff(m[inside & (is_red(m, z) == wanted)], axis=1) for m in (real, fake))
            text.append([f"{v:+.3f}" for v in np.median(b, axis=0) - np.median(a, axis=0)])
        print(f"  {low:.2f} < z < {low + 0.05:.2f}: red {' '.join(text[0])}   "
              f"blue {' '.join(text[1])}")  # fmt: skip
        rows.append([f"{low:.2f} to {low + 0.05:.2f}", *text[0], *text[1][1:]])
    return rows, (z, real, galaxies)


def compare_faint(table, config, seed, n):
    """Print median differences and Wasserstein distances of colours at the same r > 17.77 and z."""
    rng = np.random.default_rng(seed)
    z, real, relative = real_photometry(table, (0.05, 0.55), (17.77, 20.5))
    galaxies = draw_galaxies(config, rng, 4 * n)
    pick = match(z, real[:, 2], galaxies, rng)
    fake = add_errors(galaxies.magnitude[pick], relative, rng)
    rows = []
    for low, high in ((0.05, 0.15), (0.15, 0.25), (0.25, 0.35), (0.35, 0.45), (0.45, 0.55)):
        inside = (z > low) & (z < high)
        a, b = -np.diff(real[inside], axis=1), -np.diff(fake[inside], axis=1)
        text = [
            f"{np.median(y) - np.median(x):+.3f}, {wasserstein_distance(x, y):.3f}"
            for x, y in zip(a.T, b.T, strict=True)
        ]
        print(f"  {low:.2f} < z < {high:.2f} ({inside.sum():4d}): " + "   ".join(text))
        rows.append([f"{low:.2f} to {high:.2f}", str(inside.sum()), *text])
    return rows


def split_main(paths):
    """The table of the main sample, or None, and the other paths."""
    main, others = None, []
    for path in paths:
        table = Table.read(path) if Path(path).is_file() else None
        if table is not None and "source" in table.colnames:
            main = table
        else:
            others.append(path)
    return main, others


def draw_figures(folder, faint, config, seed):
    """Colours against redshift, real and simulated, and images of the registered surveys."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from astropy.visualization import make_lupton_rgb

    z, real, galaxies = faint
    figure, axes = plt.subplots(2, 3, figsize=(10, 6), sharex=True, sharey="col")
    for k, (a, b) in enumerate(((1, 2), (2, 3), (3, 4))):
        axes[0, k].plot(z, real[:, a] - real[:, b], "k.", ms=1, rasterized=True)
        for quiescent, colour in ((False, "tab:blue"), (True, "tab:red")):
            some = galaxies[galaxies.quiescent == quiescent][:5000]
            axes[1, k].plot(
                some.redshift, some.magnitude[:, a] - some.magnitude[:, b], ".", ms=1,
                color=colour, rasterized=True,
            )  # fmt: skip
        axes[0, k].set_ylim([(-0.1, 2.2), (-0.1, 1.2), (-0.2, 0.8)][k])
        axes[0, k].set_title("ugriz"[a] + " - " + "ugriz"[b])
        axes[1, k].set_xlabel("redshift")
    axes[0, 0].set_ylabel("SDSS, r < 20.5, mag")
    axes[1, 0].set_ylabel("simulated, mag")
    axes[0, 0].set_xlim(0, 0.7)
    figure.tight_layout()
    figure.savefig(folder / "simulation_deep_colours.png", dpi=90)
    plt.close(figure)

    names = ("sdss_main", "desi_legacy", "lsst", "hsc_wide")
    figure, axes = plt.subplots(4, 8, figsize=(10, 5.4))
    for row, name in zip(axes, names, strict=True):
        survey = Survey.named(name, seed=4)
        # The same galaxies for all.
        survey = survey.replace(population=config, size=int(16 / survey.pixel_scale))
        pairs = survey.simulate(len(row))
        colours = [survey.bands.index(band) for band in ("i", "r", "g")]
        for ax, image in zip(row, pairs.image, strict=True):
            rgb = image[colours] / survey.pixel_scale**2
            ax.imshow(make_lupton_rgb(*rgb, stretch=2, Q=8), origin="lower")
            ax.set_xticks([])
            ax.set_yticks([])
        row[0].set_ylabel(name, fontsize=8)
    figure.tight_layout(pad=0.3)
    figure.savefig(folder / "simulation_surveys.jpg", dpi=90)
    plt.close(figure)


def main():
    """Run the comparisons that there are catalogues for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalogues", nargs="+", help="FITS tables or folders of them")
    parser.add_argument("--figures", type=Path, help="folder to write figures to")
    parser.add_argument("--table", type=Path, help="file to write reStructuredText tables to")
    parser.add_argument("-n", type=int, default=6000, help="galaxies per comparison")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    main, others = split_main(arguments.catalogues)
    tables = find_catalogues(others) if others else {}
    config = Survey.desi_legacy().population
    print("Counts (published in brackets)", flush=True)
    rows = compare_counts(config, arguments.seed)
    title = "Galaxies per square degree and median redshifts (published in brackets)"
    made = [list_table(title, ["limit", "density", "median redshift", "source"], rows)]
    title = "Galaxies of r < 19.5 per square degree, DESI's BGS Bright"
    print(f"{title} (published in brackets)", flush=True)
    rows = compare_redshifts(config, arguments.seed)
    made.append(list_table(title, ["redshift", "simulated", "observed", "ratio"], rows))
    if main is not None:
        title = f"Redshifts of the SDSS Main Galaxy Sample, r < {MAIN_LIMIT}: percentiles"
        print(title, flush=True)
        rows = compare_main(main, config, arguments.seed)
        made.append(list_table(title, ["population", "10", "25", "50", "75", "90"], rows))
    more = config, arguments.seed, arguments.n
    if "lines" in tables:
        title = "DESI galaxies with lines: simulated minus real medians, dex"
        print(f"{title}: four ratios of the continuum; widths of {', '.join(LINES)}", flush=True)
        rows = compare_spectra(tables["lines"], *more)
        made.append(list_table(title, ["redshift", "continuum, 4450 over 3550 Å", *LINES], rows))
    if "colours" in tables:
        title = "SDSS, 16 < r < 20.5: simulated minus real medians at the same r and redshift, mag"
        print(f"{title}, of u-g, g-r, r-i, i-z", flush=True)
        rows, faint = compare_colours(tables["colours"], *more)
        header = ["redshift", "red: u-g", "g-r", "r-i", "i-z", "blue: g-r", "r-i", "i-z"]
        made.append(list_table(title, header, rows))
        title = "The faint half, r > 17.77: median difference and Wasserstein distance, mag"
        print(title, flush=True)
        rows = compare_faint(tables["colours"], *more)
        header = ["redshift", "galaxies", "u-g", "g-r", "r-i", "i-z"]
        made.append(list_table(title, header, rows))
        if arguments.figures:
            draw_figures(arguments.figures, faint, config, arguments.seed)
    if arguments.table:
        arguments.table.write_text("\n".join(made), encoding="utf-8")


if __name__ == "__main__":
    main()
