"""Emission lines of simulated galaxies against those of a catalogue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import wasserstein_distance

from photospec.simulation.galaxies.population import draw_galaxies
from photospec.simulation.galaxies.sed import render_spectra

LINES = ("oii_3727", "hbeta", "oiii_5007", "nii_6584", "halpha", "sii_6716", "sii_6731")


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


def compare_lines(table, config, seed, n):
    """Print the comparison with DESI lines, matched in redshift and continuum."""
    rng = np.random.default_rng(seed)
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
