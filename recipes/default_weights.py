"""Simulate, train, pack and evaluate the weights that the package ships, or those of a survey.

    python recipes/default_weights.py WORK_FOLDER [--survey NAME] [--init WEIGHTS]
                                      [--catalogues FOLDER] [--scale SHARE]

NAME is a registered survey (`photospec.simulation.SURVEYS`) or a TOML file of one; without it
the weights are those of the SDSS Main Galaxy Sample. Every piece resumes: run the same command
again after a stop. The folder ends with ``spectrograph/`` (what goes into
photospec/data/default or photospec/data/legacy) and ``card/`` with the model card.
With --catalogues the even rows of catalogues of real galaxies (SDSS main sample, classes and
K-correct's set; not part of the package) become pairs too, with real photometry; the odd rows are
left for tests. SDSS only.
With --init the networks begin with the weights of a spectrograph and take fewer steps: of the
same survey, or of another, of which they take what does not depend on bands. --scale makes pairs
and steps fewer, for a trial of the whole way.
"""

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from photospec import PhotoSpectrograph
from photospec.config import write_toml
from photospec.evaluation import model_card
from photospec.evaluation.on_pairs import Settings
from photospec.evaluation.real_redshifts import NOISE, render_noisy
from photospec.evaluation.survey_card import survey_card
from photospec.networks.line_classes import LINE_CLASSES
from photospec.pairs import PairsFile
from photospec.simulation import SURVEYS, RealGalaxies, Survey, simulate_pairs, simulate_real_pairs
from photospec.simulation.galaxy_kinds import assign_kinds, natural_sample
from photospec.training import TrainConfig, pack, train
from photospec.training.data import hide_bands
from photospec.training.density import adapt_density, density_features
from photospec.training.extinction import corrected_images
from photospec.training.line_classes import fit_line_classes
from photospec.weights import (
    CONFIG_NAME,
    FILES,
    LINE_CLASSES_FILE,
    read_config,
    save_module,
)

STAGES = ("base", "super-resolution", "contrastive")
PRESET = "small"
#: Steps with finished weights to begin with; from nothing it is the preset that says.
MORE_STEPS = {"contrastive": 500, "base": 4_400, "super-resolution": 6_000}


@dataclass(frozen=True)
class Recipe:
    """What the weights of a survey are made from.

    Attributes
    ----------
    pairs : dict of str to dict
        By file: number of pairs ``n``, ``seed``, and limits of the population. Files whose names
        begin with "test" are never trained on.
    steps, batch_size : dict of str to int
        By stage; what is left out is as in the preset.
    n_draws : int or None
        Noise levels per galaxy and step.
    missing : dict of str to float
        How often a band is taken away in training; bands not named, never.
    max_redshift : float
        Of the redshift density.
    init : str
        Weights to begin with where nobody says others.
    seed : int
    least : int
        Pairs in a file at least, whatever the scale.
    """

    pairs: dict
    steps: dict = field(default_factory=dict)
    batch_size: dict = field(default_factory=dict)
    n_draws: int | None = None
    missing: dict = field(default_factory=dict)
    max_redshift: float = 0.6
    init: str = ""
    seed: int = 1
    least: int = 2_000


# The main sample as it is, and a deeper one: users' images go to r = 19 and beyond.
SDSS = Recipe(
    pairs={
        "main": {"n": 100_000, "seed": 200, "r_limit": 17.77},
        "deep": {"n": 30_000, "seed": 201, "r_limit": 19.3, "redshift_max": 0.36},
        "test": {
            "n": 5_000,
            "seed": 7,
            "r_limit": 17.77,
            "redshift_min": 0.05,
            "redshift_max": 0.15,
        },
    },
)
# To the survey's limit, and a brighter file so that the bright end is learnt as well. In most of
# the Legacy Surveys there is no i; single bands are lost to bleeding stars and gaps.
LEGACY = Recipe(
    pairs={
        "main": {"n": 50_048, "seed": 400, "r_limit": 20.5},
        "bright": {"n": 24_000, "seed": 401, "r_limit": 19.5},
        "test": {"n": 6_016, "seed": 77, "r_limit": 20.5},
        "test_bright": {"n": 3_008, "seed": 78, "r_limit": 19.5},
    },
    steps={"base": 4_100, "super-resolution": 900, "contrastive": 160},
    batch_size={"base": 64},
    n_draws=1,
    missing={"g": 0.06, "i": 0.55, "z": 0.06},
    max_redshift=0.8,
    init="default",
    seed=5,
)
#: By name of the survey.
RECIPES = {"sdss_main": SDSS, "desi_legacy": LEGACY}


def recipe_of(survey):
    """Return the recipe of a survey: its own, or pairs to its limits and the preset's steps."""
    if survey.name in RECIPES:
        return RECIPES[survey.name]
    highest = survey.population.redshift_max
    return Recipe(
        pairs={
            "main": {"n": 60_000, "seed": 500},
            "test": {"n": 5_000, "seed": 79},
        },
        max_redshift=max(0.6, round(highest + 0.1, 2)),
        init="default",
        seed=5,
    )


#: Catalogues of real galaxies: u_maggies to z_maggies, redshift; one with subclass.
CATALOGUES = {
    "main": "sdss_main_redshift.fits",
    "classes": "sdss_classes.fits",
    "others": "sdss_ugriz_redshift.fits",
}
#: Mag to add to their u, g, r, i and z for the zero points of SDSS images. K-correct's u is too
#: bright by this much at given redshift, r and g-r:
#: ``python benchmarks/real_redshifts.py zero-points``.
ZERO_POINTS = {"others": (0.08, 0.0, 0.0, 0.0, 0.0)}
N_LAST = 512
#: Simulated galaxies that real ones choose from.
N_POOL = 60_000
#: Pairs of a kind that the density is adapted to, and how often bands are missing from them.
N_ADAPTED = 12_288
#: Shares of samples in that: pairs with all bands, with bands missing, and galaxies of K-correct's
#: catalogue whose u is that of the catalogue, as users of such photometry have them.
SHARES = {"real": 1.2, "simulated": 1.0, "missing": 0.15}
AS_GIVEN = {"noise counted once": 0.1, "noise counted twice": 0.25}
MISSING = {"u": 0.6, "g": 0.0, "r": 0.0, "i": 0.15, "z": 0.25}
#: Of `LineClasses.agn`: even odds, if there were as many AGN as star-forming galaxies.
AGN_THRESHOLD = 0.0


def find_survey(name):
    """Return a registered survey, or one from a file."""
    return Survey.named(name) if name in SURVEYS else Survey.read(name)


def simulate(folder, survey, recipe, n_processes, scale):
    """Pairs files by name, those that are not there yet made."""
    files = {name: folder / f"{name}.h5" for name in recipe.pairs}
    for name, wanted in recipe.pairs.items():
        limits = dict(wanted)
        n = max(recipe.least, round(scale * limits.pop("n")))
        changed = survey.replace(seed=limits.pop("seed"))
        changed = changed.replace(population=replace(changed.population, **limits))
        path = files[name]
        simulate_pairs(n, path, survey=changed, n_processes=n_processes, resume=path.exists())
        print(f"{path}: {n} pairs", flush=True)
    return files


def stage_config(stage, survey, recipe, init, scale):
    """Return the settings of a stage's training."""
    config = TrainConfig.preset(PRESET, stage, seed=recipe.seed)
    steps = recipe.steps.get(stage, config.max_steps)
    if init:
        folder = PhotoSpectrograph.load(init).folder
        other = read_config(folder).survey != survey.name
        config = TrainConfig.fine_tune(folder, stage, preset=config)
        tuning = replace(config.fine_tuning, other_survey=other, keep_scaling=not other)
        config = config.change(fine_tuning=tuning)
        steps = recipe.steps.get(stage, config.max_steps if other else MORE_STEPS[stage])
    name = "contrastive" if stage == "contrastive" else "diffusion"
    size = getattr(config, name)
    masked = bool(recipe.missing) or size.image.masked_bands
    size = replace(size, image=replace(size.image, masked_bands=masked))
    if name == "diffusion":
        size = replace(size, max_redshift=max(recipe.max_redshift, size.max_redshift))
    missing = tuple(recipe.missing.get(band, 0.0) for band in survey.bands)
    return config.change(
        max_steps=max(10, round(scale * steps)),
        batch_size=recipe.batch_size.get(stage),
        n_draws=recipe.n_draws,
        data=replace(config.data, missing_bands=missing if any(missing) else ()),
        **{name: size},
    )


def read_catalogue(catalogues, name, **options):
    """Galaxies of one of `CATALOGUES`, with the zero points of SDSS images."""
    if name in ZERO_POINTS:
        options = {"zero_points": ZERO_POINTS[name]} | options
    return RealGalaxies.read(catalogues / CATALOGUES[name], **options)


def _place(galaxies):
    """Where a galaxy that is in two catalogues lies within one of itself."""
    m = galaxies.magnitude
    return np.column_stack([galaxies.redshift / 1e-5, m[:, 2] / 0.1, (m[:, 1] - m[:, 2]) / 0.05])


def without_tests(catalogues, name, **limits):
    """Even rows of a catalogue, without galaxies that are among the odd rows of another."""
    tests = [read_catalogue(catalogues, other, rows=slice(1, None, 2)) for other in CATALOGUES]
    tree = cKDTree(_place(RealGalaxies.concatenate(tests)))
    galaxies = read_catalogue(catalogues, name, rows=slice(0, None, 2), **limits)
    return galaxies[tree.query(_place(galaxies), p=np.inf)[0] > 1]


def real_galaxies(catalogues):
    """Even rows of the catalogues with kinds, without galaxies that are among the odd rows."""
    found = {name: without_tests(catalogues, name) for name in CATALOGUES}
    main, frequency = assign_kinds(found["main"], found["classes"])
    print("kinds of the main sample:", frequency, flush=True)
    others, _ = assign_kinds(found["others"], found["classes"])
    classes = natural_sample(found["classes"], frequency)
    # The last galaxies are of the main sample, and in no other pair: training validates on them.
    order = np.random.default_rng(1).permutation(len(main))
    main, last = main[order[N_LAST:]], main[order[:N_LAST]]
    return RealGalaxies.concatenate([main] * 4 + [classes] * 2 + [others, last])


def real_features(spectrograph, galaxies, noise, seed):
    """Return what the density and the classes see of images of real galaxies."""
    images = torch.from_numpy(render_noisy(galaxies, noise, seed=seed))
    return density_features(spectrograph.cascade.base, images.split(256))


def adapt_to_real(folder, real, simulated, catalogues, scale=1.0):
    """Fit the density further to real and simulated pairs, once, in the proportions of `SHARES`.

    In the training of the base stage faint and deep simulated galaxies are the majority. Bands
    are missing from a part of the images.
    """
    config = read_config(folder)
    if "density" in config.provenance or not config.base.redshift:
        return
    spectrograph = PhotoSpectrograph.load(folder)
    base, rng, parts = spectrograph.cascade.base, np.random.default_rng(3), []
    n = max(512, round(scale * N_ADAPTED))
    often = [MISSING[band] * (band in config.may_miss) for band in config.bands]
    for name, path in (("real", real), ("simulated", simulated)):
        with PairsFile(path, bands=config.bands) as pairs:
            rows = [slice(a, min(a + 256, n)) for a in range(0, min(n, len(pairs)), 256)]
            images = [torch.from_numpy(corrected_images(pairs, part)) for part in rows]
            z = torch.tensor(np.asarray(pairs.object["redshift"], float)[: rows[-1].stop])
        parts.append((density_features(base, images), z, SHARES[name]))
        if any(often):
            images = [hide_bands(part, often, rng) for part in images]
            parts.append((density_features(base, images), z, SHARES["missing"]))
    limits = {"redshift_range": (0.01, 0.3), "r_range": (14.0, 17.9), "zero_points": (0.0,) * 5}
    galaxies = without_tests(catalogues, "others", **limits)
    galaxies = galaxies[np.random.default_rng(4).permutation(len(galaxies))[: max(256, n // 5)]]
    for name, share in AS_GIVEN.items():
        features = real_features(spectrograph, galaxies, NOISE[name], seed=11)
        parts.append((features, torch.tensor(galaxies.redshift), share))
    adapt_density(base, parts)
    save_module(base, folder / FILES["base"])
    said = f"adapted to at most {n} real and as many simulated pairs"
    write_toml(
        replace(config, provenance=config.provenance | {"density": said}),
        folder / CONFIG_NAME,
        overwrite=True,
    )


def add_line_classes(folder, catalogues, scale=1.0):
    """Fit the head that tells active nuclei to real galaxies with classes, and keep it.

    Even rows of the classified galaxies, each as two images: with photometric noise counted once
    and twice. How frequent the classes are on the sky, the photometry of the main sample says
    (`assign_kinds`); its images are no witnesses, as the networks learnt from them with classes
    drawn so.
    """
    if (folder / LINE_CLASSES_FILE).exists():
        return
    spectrograph = PhotoSpectrograph.load(folder)
    limits = {"redshift_range": (0.01, 0.3), "r_range": (13.5, 18.0)}
    galaxies = without_tests(catalogues, "classes", **limits)
    main = without_tests(catalogues, "main", redshift_range=(0.01, 0.3), r_range=(13.5, 17.77))
    _, found = assign_kinds(main, galaxies)
    order = np.random.default_rng(2).permutation(len(galaxies))
    galaxies = galaxies[order[: max(512, round(scale * len(galaxies)))]]
    parts = [real_features(spectrograph, galaxies, n, seed=s) for s, n in enumerate(NOISE.values())]
    features = [torch.cat(part) for part in zip(*parts, strict=True)]
    kind, number = np.tile(galaxies.kind, len(parts)), np.tile(np.arange(len(galaxies)), len(parts))
    encoder = spectrograph.cascade.base.encoder
    classes, loss = fit_line_classes(encoder, features, kind, number, seed=0)
    frequency = np.array([found.get(name, 0.0) for name in LINE_CLASSES])
    print("classes of the main sample:", found, flush=True)
    classes.frequency.copy_(torch.from_numpy(frequency))
    save_module(classes, folder / LINE_CLASSES_FILE)
    config = spectrograph.config
    said = f"{len(galaxies)} classified real galaxies, loss {loss:.3f} on those held out"
    config = replace(
        config, agn_threshold=AGN_THRESHOLD, provenance=config.provenance | {"line-classes": said}
    )
    write_toml(config, folder / CONFIG_NAME, overwrite=True)


def real_samples(catalogues, n):
    """For the card: at most n of the odd rows of either sample, and its even rows."""
    as_given = {"zero_points": (0.0,) * 5}
    samples = {
        "Main Galaxy Sample": ("main", (0.02, 0.3), {}),
        "K-correct's, 0.05 < z < 0.15": ("others", (0.05, 0.15), as_given),
        "K-correct's with SDSS's zero point of u": ("others", (0.05, 0.15), {}),
    }
    found = {}
    for title, (name, limits, options) in samples.items():
        ranges = {"redshift_range": limits, "r_range": (14.0, 17.77)} | options
        tests = read_catalogue(catalogues, name, rows=slice(1, None, 2), **ranges)
        order = np.random.default_rng(0).permutation(len(tests))[:n]
        found[title] = (
            tests[order],
            read_catalogue(catalogues, name, rows=slice(0, None, 2), **options),
        )
    return found


def simulate_real(folder, catalogues, survey, scale=1.0):
    """Pairs file of the real galaxies, made if it is not there yet."""
    path = folder / "real.h5"
    if not path.exists():
        galaxies = real_galaxies(catalogues)
        partial = folder / "real.partial.h5"
        n_pool = max(4_000, round(scale * N_POOL))
        simulate_real_pairs(
            galaxies, partial, survey, n_last=N_LAST, n_pool=n_pool, seed=10, overwrite=True
        )
        partial.rename(path)
    return path


def evaluate(folder, spectrograph, survey, files, simulated, catalogues, n_processes, scale):
    """Write the card."""
    tests = [path for name, path in files.items() if name.startswith("test")]
    if survey.name != "sdss_main":
        share = {
            "n_training": max(1_000, round(scale * 40_000)),
            "n_spectra": max(64, round(scale * 500)),
        }
        survey_card(spectrograph, tests, simulated, folder, **share)
        return
    full = Settings.of_card()
    settings = Settings.of_card(
        n_galaxies=max(64, round(scale * full.n_galaxies)),
        n_measured=max(32, round(scale * full.n_measured)),
        n_training_measured=max(64, round(scale * full.n_training_measured)),
        n_processes=n_processes,
    )
    real = None if catalogues is None else real_samples(catalogues, settings.n_galaxies)
    model_card(spectrograph, tests[0], simulated, folder, real=real, settings=settings)


def run(folder, init, n_processes, device, scale, catalogues=None, survey="sdss_main", recipe=None):
    """Do what is not done yet."""
    folder.mkdir(parents=True, exist_ok=True)
    survey = find_survey(survey)
    recipe = recipe or recipe_of(survey)
    init = init or recipe.init
    files = simulate(folder, survey, recipe, n_processes, scale)
    simulated = [path for name, path in files.items() if not name.startswith("test")]
    pairs = simulated
    if catalogues is not None:
        pairs = [simulate_real(folder, catalogues, survey, scale), *simulated]
    runs = {stage: folder / stage for stage in STAGES}
    for stage, output in runs.items():
        config = stage_config(stage, survey, recipe, init, scale)
        resume = output.exists()
        train(config, pairs, output, resume=resume, device=device, progress=True)
    made = folder / "spectrograph"
    if not made.exists():
        note = {"begun-with": Path(init).name} if init else {}
        pack(runs, made, pairs=pairs, domain_pairs=simulated, provenance=note)
    if catalogues is not None:
        adapt_to_real(made, pairs[0], pairs[1], catalogues, scale)
        add_line_classes(made, catalogues, scale)
    spectrograph = PhotoSpectrograph.load(made, device=device)
    card = folder / "card"
    evaluate(card, spectrograph, survey, files, simulated, catalogues, n_processes, scale)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--survey", default="sdss_main", help="registered survey or TOML file (default: sdss_main)"
    )
    parser.add_argument("--init", default="", help="weights to begin with")
    parser.add_argument("--catalogues", type=Path, help="folder with catalogues of real galaxies")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of all pairs, steps and galaxies judged"
    )
    options = parser.parse_args()
    run(
        options.folder,
        options.init,
        options.processes,
        options.device,
        options.scale,
        options.catalogues,
        options.survey,
    )
