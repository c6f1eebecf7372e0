"""Compare the simulated population with real catalogues.

    python benchmarks/simulation_calibration.py CATALOGUES [--figures FOLDER] [-n 6000] [--seed 0]

CATALOGUES holds sdss_ugriz_redshift.fits (colours), desi_bgs_lines.fits (emission lines) and
manga_nsa_morphology.fits (shapes). Prints one table per comparison; benchmarks/simulation_fit.py
fits the numbers that `PopulationConfig` and the template correction carry.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.table import Table
from scipy.spatial import cKDTree
from scipy.special import gamma, gammainc, gammaincinv
from scipy.stats import wasserstein_distance
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from photospec.simulation.cosmology import kpc_per_arcsec
from photospec.simulation.population import PopulationConfig, draw_galaxies
from photospec.simulation.sed import render_spectra

COLOURS = ("u-g", "g-r", "r-i", "i-z")
LINES = ("oii_3727", "hbeta", "oiii_5007", "nii_6584", "halpha", "sii_6716", "sii_6731")


def real_photometry(folder, redshift=(0.05, 0.15), r_range=(14.0, 17.77)):
    """Return redshift, magnitudes (n, 5) and relative flux errors (n, 5) of the SDSS catalogue."""
    table = Table.read(Path(folder) / "sdss_ugriz_redshift.fits")
    flux = np.array([table[f"{b}_maggies"] for b in "ugriz"], float).T
    ivar = np.array([table[f"{b}_maggies_ivar"] for b in "ugriz"], float).T
    z = np.array(table["redshift"], float)
    good = (flux > 0).all(1) & (ivar > 0).all(1)
    magnitude = 22.5 - 2.5 * np.log10(np.where(flux > 0, flux, 1.0))
    good &= (z > redshift[0]) & (z < redshift[1])
    good &= (magnitude[:, 2] > r_range[0]) & (magnitude[:, 2] < r_range[1])
    return z[good], magnitude[good], 1 / np.sqrt(ivar[good]) / flux[good]


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


def compare_colours(folder, config, seed, n):
    """Print Wasserstein distances and the classifier's area; return what figures need.

    The catalogue's errors contain a floor of 2 % in every band, more than the scatter of its own
    red sequence. Hence two references: the classifier without the floor, and between the real
    galaxies and the other half of the same with the errors added once more.
    """
    rng = np.random.default_rng(seed)
    z, real, relative = real_photometry(folder)
    galaxies = draw_galaxies(config, rng, n)
    pick = match(z, real[:, 2], galaxies, rng)
    fake = add_errors(galaxies.magnitude[pick], relative, rng)
    a, b = -np.diff(real, axis=1), -np.diff(fake, axis=1)
    for name, x, y in zip(COLOURS, a.T, b.T, strict=True):
        print(f"  {name:22s} {wasserstein_distance(x, y):.3f} mag (0.04)")

    def features(magnitude, redshift):
        return np.c_[-np.diff(magnitude, axis=1), magnitude[:, 2], redshift]

    area = auc(features(real, z), features(fake, galaxies.redshift[pick]))
    print(f"  {'classifier':22s} {area:.3f} (0.65)")
    floorless = np.sqrt(np.clip(relative**2 - 0.02**2, 0.006**2, None))
    other = add_errors(galaxies.magnitude[pick], floorless, rng)
    area = auc(features(real, z), features(other, galaxies.redshift[pick]))
    print(f"  {'  without error floor':22s} {area:.3f}")
    half = np.arange(len(z)) % 2 == 0
    twice = add_errors(real, relative, rng)
    area = auc(features(real, z)[half], features(twice, z)[~half])
    print(f"  {'  real, errors again':22s} {area:.3f}")
    return z, a, b


def binned_spectra(config, rng, n):
    """Return galaxies, continuum in 12 bins over 3400-7000 A and equivalent widths (n, 7)."""
    galaxies = draw_galaxies(config, rng, n)
    edges = np.linspace(3400, 7000, 13)
    continua, widths = [], []
    for start in range(0, n, 256):
        part = galaxies[start : start + 256]
        bare = replace(
            part,
            bulge_line_luminosity=0 * part.bulge_line_luminosity,
            disk_line_luminosity=0 * part.disk_line_luminosity,
        )
        full, bare = render_spectra(part, config=config), render_spectra(bare, config=config)
        wave, total = bare.wavelength, (bare.bulge + bare.disk).astype(float)
        running = np.cumsum(total * np.gradient(wave), axis=1)
        at = [
            np.interp(edges * (1 + z), wave, r) for z, r in zip(part.redshift, running, strict=True)
        ]
        continua.append(np.diff(at, axis=1) / (300 * (1 + part.redshift[:, None])))
        columns = []
        for line in LINES:
            names = ["oii_3726", "oii_3729"] if line == "oii_3727" else [line]
            flux = sum(full.bulge_line_flux[k] + full.disk_line_flux[k] for k in names)
            level = full.bulge_line_continuum[names[0]] + full.disk_line_continuum[names[0]]
            columns.append(flux / level / (1 + part.redshift))
        widths.append(np.array(columns).T)
    return galaxies, np.concatenate(continua), np.concatenate(widths)


def kauffmann(nii_ha, oiii_hb):
    """Return which points lie above the curve of Kauffmann et al. (2003)."""
    curve = 0.61 / (np.minimum(nii_ha, 0.04) - 0.05) + 1.3
    return (nii_ha >= 0.05) | (oiii_hb > curve)


def compare_lines(folder, config, seed, n):
    """Print the comparison with DESI lines, matched in redshift and continuum."""
    rng = np.random.default_rng(seed)
    table = Table.read(Path(folder) / "desi_bgs_lines.fits")
    table = table[rng.permutation(len(table))[:n]]
    table = table[(np.array(table["continuum"]) > 0).all(1)]
    galaxies, continuum, ew = binned_spectra(replace(config, r_limit=19.5), rng, n)

    def features(flux, z):
        # the shape, the level (fibres lose light: medians are set equal) and the redshift
        log = np.log10(flux)
        level = log.mean(1)
        shape = log - level[:, None]
        return np.c_[shape / 0.02, (level - np.median(level)) / 0.3, z / 0.02]

    wanted = features(np.array(table["continuum"], float), np.array(table["redshift"], float))
    distance, pick = cKDTree(features(continuum, galaxies.redshift)).query(wanted)
    near = distance < np.percentile(distance, 80)
    real = np.array([table[f"{k}_ew"] for k in LINES], float).T[near]
    ivar = np.array([table[f"{k}_ew_ivar"] for k in LINES], float).T[near]
    fake = ew[pick][near]
    fake = fake + rng.standard_normal(fake.shape) / np.sqrt(np.maximum(ivar, 1e-6))
    seen, also = (real * np.sqrt(ivar) > 3), (fake * np.sqrt(ivar) > 3)
    for k, line in enumerate(LINES):
        a, b = np.log10(real[seen[:, k], k]), np.log10(fake[also[:, k], k])
        print(f"  log EW {line:15s} {wasserstein_distance(a, b):.3f} dex (0.1)")
    diagrams = []
    for width, good in ((real, seen), (fake, also)):
        w = width[good[:, 1:5].all(1)]
        diagrams.append((np.log10(w[:, 3] / w[:, 4]), np.log10(w[:, 2] / w[:, 1])))
    for name, a, b in zip(("log [NII]/Ha", "log [OIII]/Hb"), *diagrams, strict=True):
        print(f"  {name:22s} {wasserstein_distance(a, b):.3f} dex (0.1)")
    above = [100 * kauffmann(*d).mean() for d in diagrams]
    print(f"  {'above Kauffmann':22s} {above[0]:.1f} % real, {above[1]:.1f} % simulated (3 points)")
    return real, fake, seen, also, diagrams


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


def compare_shapes(folder, config, seed, n):
    """Print the comparison with the NASA-Sloan Atlas at given stellar mass (h = 0.7)."""
    rng = np.random.default_rng(seed)
    t = Table.read(Path(folder) / "manga_nsa_morphology.fits")
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


def main():
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalogues", help="folder of the three catalogues")
    parser.add_argument("--figures", help="folder to write figures to")
    parser.add_argument("-n", type=int, default=6000, help="galaxies per comparison")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    common = (arguments.catalogues, PopulationConfig(), arguments.seed)
    print("Wasserstein distances (goal in brackets)\ncolours, 0.05 < z < 0.15, r < 17.77")
    colours = compare_colours(*common, 4 * arguments.n)
    print("lines, matched in redshift and continuum")
    lines = compare_lines(*common, arguments.n)
    print("shapes at given mass")
    shapes = compare_shapes(*common, arguments.n)
    if arguments.figures:
        from simulation_figures import draw_figures

        draw_figures(Path(arguments.figures), colours, lines, shapes)


if __name__ == "__main__":
    main()
