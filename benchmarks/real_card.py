"""The tables of the model card that need few candidates: real data first.

    python benchmarks/real_card.py REAL PAIRS -o FOLDER [-n 2500] [--n-agn 2048] [--only NAMES]

REAL is the folder of observed data (catalogues, images, pairs, not_galaxies), PAIRS simulated
pairs of the recipe's test settings. Redshifts, AGN and flags of the bundled weights go to FOLDER, a
reStructuredText and an ECSV table each; what was drawn is kept in FOLDER/cache.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table

from photospec import PhotoSpectrograph
from photospec.evaluation import ood_card, write_sections
from photospec.evaluation.baselines import boosted_trees, redshift_merit
from photospec.evaluation.draws import image_of, pair_images
from photospec.evaluation.real_agn import real_agn
from photospec.evaluation.real_images import flagged_card, images_card, known_card
from photospec.evaluation.real_redshifts import (
    NOISE,
    catalogue_photometry,
    density_rows,
    real_redshifts,
    render_noisy,
)
from photospec.evaluation.redshift_table import redshift_row
from photospec.evaluation.value import Section
from photospec.pairs import PairsFile
from photospec.simulation import RealGalaxies

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "recipes"))
from default_weights import real_samples


def redshifts(spectrograph, real, options):
    """The real samples, odd rows."""
    samples = real_samples(real / "catalogues", options.n)
    for number, (title, (galaxies, others)) in enumerate(samples.items()):
        yield real_redshifts(
            spectrograph, galaxies, others, title=title, name=f"real_redshift_{number}"
        )


def sources(spectrograph, real, options):
    """Yield the main sample's table once more, of the galaxies of either source."""
    path = real / "catalogues" / "sdss_main_redshift.fits"
    galaxies, others = real_samples(path.parent, options.n)["Main Galaxy Sample"]
    table = Table.read(path)
    places = zip(np.asarray(table["redshift"], float), np.asarray(table["r_maggies"], float))
    source = dict(zip(places, np.char.strip(table["source"].astype(str))))
    source = np.array([source[key] for key in zip(galaxies.redshift, galaxies.flux[:, 2])])
    photometry, found = catalogue_photometry(others), catalogue_photometry(galaxies)
    trees = boosted_trees(photometry, others.redshift, merit=redshift_merit, tune=False)(found)
    rows = []
    for what, noise in NOISE.items():
        images = render_noisy(galaxies, noise, size=spectrograph.config.image_size)
        images = [image_of(image, tuple("ugriz"), 0.396, 0.0) for image in images]
        density = spectrograph.redshift_density(images)
        for name in np.unique(source):
            own = np.flatnonzero(source == name)
            rows.append(density_rows(f"{name}, {what}", density[own], galaxies.redshift[own]))
    for name in np.unique(source):
        own = source == name
        rows.append(redshift_row(f"{name}, trees", trees[own], galaxies.redshift[own]))
    yield Section("real_redshift_sources", "Main Galaxy Sample by source", rows)


def simulated(spectrograph, real, options):
    """Densities of simulated galaxies."""
    with PairsFile(options.pairs, bands=spectrograph.config.bands) as pairs:
        read, z = pair_images(pairs), np.asarray(pairs.object["redshift"], float)
        density = spectrograph.redshift_density([read(i) for i in range(len(pairs))])
    rows = [density_rows("mean of the density", density, z)]
    note = f"{len(z)} simulated galaxies, 0.05 < z < 0.15, r < 17.77."
    yield Section("simulated_redshift", "Redshift, simulated galaxies", rows, note)


def known(spectrograph, real, options):
    """Single images, stars and the quasar."""
    table = Table.read(real / "pairs" / "pairs.csv")
    names = {0.0280: "starburst, clean", 0.0779: "edge-on, ten rows masked"}
    images = {}
    for row in table:
        name = names.get(round(float(row["redshift"]), 4), "compact group, blended")
        images[name] = real / "pairs" / str(row["file"]), float(row["redshift"])
    yield known_card(spectrograph, images)
    strange = real / "not_galaxies"
    kinds = {
        "stars of a crowded field": sorted(strange.glob("star*.fits")),
        "quasar of z = 2.54": sorted(strange.glob("qso*.fits")),
        "galaxies (false alarms)": sorted((real / "images").glob("*.fits")),
    }
    yield flagged_card(spectrograph, kinds)


def images(spectrograph, real, options):
    """Colours of predicted spectra of real images."""
    yield images_card(spectrograph, sorted((real / "images").glob("*.fits")))


def strange(spectrograph, real, options):
    """Images unlike the training, simulated."""
    with PairsFile(options.pairs, bands=spectrograph.config.bands) as pairs:
        ordinary = pairs.image(slice(0, 1000))
    yield ood_card(spectrograph, ordinary, n=options.n_strange, folder=options.output / "cache")


def agn(spectrograph, real, options):
    """Real galaxies with a class, odd rows."""
    path = real / "catalogues" / "sdss_classes.fits"
    limits = {"redshift_range": (0.03, 0.15), "r_range": (13.5, 17.77)}
    galaxies = RealGalaxies.read(path, rows=slice(1, None, 2), **limits)
    others = RealGalaxies.read(path, rows=slice(0, None, 2), **limits)
    galaxies = galaxies[np.isin(galaxies.kind, ("agn", "starforming", "starburst"))]
    galaxies = galaxies[np.random.default_rng(0).permutation(len(galaxies))[: options.n_agn]]
    yield real_agn(spectrograph, galaxies, others, folder=options.output / "cache")


PARTS = {f.__name__: f for f in (redshifts, sources, known, simulated, strange, images, agn)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-n", type=int, default=2500)
    parser.add_argument("--n-agn", type=int, default=2048)
    parser.add_argument("--n-strange", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    spectrograph = PhotoSpectrograph.load()
    for name in options.only:
        sections = list(PARTS[name](spectrograph, options.real, options))
        write_sections(sections, options.output)
        print(*sections, sep="\n", flush=True)
