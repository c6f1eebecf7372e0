"""Simulate, train, pack and evaluate the weights that the package ships.

    python recipes/default_weights.py WORK_FOLDER [--init WEIGHTS] [--catalogues FOLDER]

Every piece resumes: run the same command again after a stop. The folder ends with
``spectrograph/`` (what goes into photospec/data/default) and ``card/`` with the model card.
With --catalogues the even rows of catalogues of real galaxies (SDSS main sample, classes and
K-correct's set; not part of the package) become pairs too, with real
photometry; the odd rows are left for tests.
With --init the networks begin with the weights of a spectrograph, such as the shipped ones,
and take fewer steps; --scale makes pairs and steps fewer, for a trial of the whole way.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from photospec import PhotoSpectrograph
from photospec.evaluation import model_card
from photospec.evaluation.on_pairs import Settings
from photospec.simulation import RealGalaxies, Survey, simulate_pairs, simulate_real_pairs
from photospec.simulation.galaxy_kinds import assign_kinds, natural_sample
from photospec.training import TrainConfig, pack, train

# The main sample as it is, and a deeper one: users' images go to r = 19 and beyond.
PAIRS = {
    "main": {"n": 100_000, "seed": 200, "r_limit": 17.77},
    "deep": {"n": 30_000, "seed": 201, "r_limit": 19.3, "redshift_max": 0.36},
    # Never trained on.
    "test": {
        "n": 5_000,
        "seed": 7,
        "r_limit": 17.77,
        "redshift_min": 0.05,
        "redshift_max": 0.15,
    },
}
#: Catalogues of real galaxies: u_maggies to z_maggies, redshift; one with subclass.
CATALOGUES = {
    "main": "sdss_main_redshift.fits",
    "classes": "sdss_classes.fits",
    "others": "sdss_ugriz_redshift.fits",
}
N_LAST = 512
#: Steps with finished weights to begin with; from nothing it is the preset that says.
MORE_STEPS = {"contrastive": 500, "base": 4_400, "super-resolution": 6_000}
PRESET = "small"
TRAINING_SEED = 1


def survey(seed, **limits):
    """The default survey of a seed, with other limits."""
    main = Survey.sdss_main(seed=seed)
    return main.replace(population=replace(main.population, **limits))


def simulate(folder, n_processes, scale):
    """Pairs files by name, those that are not there yet made."""
    files = {name: folder / f"{name}.h5" for name in PAIRS}
    for name, wanted in PAIRS.items():
        limits = dict(wanted)
        n = max(2_000, round(scale * limits.pop("n")))
        path = files[name]
        simulate_pairs(
            n,
            path,
            survey=survey(**limits),
            n_processes=n_processes,
            resume=path.exists(),
        )
        print(f"{path}: {n} pairs", flush=True)
    return files


def _place(galaxies):
    """Where a galaxy that is in two catalogues lies within one of itself."""
    m = galaxies.magnitude
    return np.column_stack([galaxies.redshift / 1e-5, m[:, 2] / 0.1, (m[:, 1] - m[:, 2]) / 0.05])


def real_galaxies(catalogues):
    """Even rows of the catalogues with kinds, without galaxies that are among the odd rows."""
    paths = {name: catalogues / file for name, file in CATALOGUES.items()}
    tests = [RealGalaxies.read(path, rows=slice(1, None, 2)) for path in paths.values()]
    tree, found = cKDTree(_place(RealGalaxies.concatenate(tests))), {}
    for name, path in paths.items():
        galaxies = RealGalaxies.read(path, rows=slice(0, None, 2))
        found[name] = galaxies[tree.query(_place(galaxies), p=np.inf)[0] > 1]
    main, frequency = assign_kinds(found["main"], found["classes"])
    print("kinds of the main sample:", frequency, flush=True)
    others, _ = assign_kinds(found["others"], found["classes"])
    classes = natural_sample(found["classes"], frequency)
    # The last galaxies are of the main sample, and in no other pair: training validates on them.
    order = np.random.default_rng(1).permutation(len(main))
    main, last = main[order[N_LAST:]], main[order[:N_LAST]]
    return RealGalaxies.concatenate([main] * 4 + [classes] * 2 + [others, last])


def real_samples(catalogues, n):
    """For the card: at most n of the odd rows of either sample, and its even rows."""
    samples = {
        "Main Galaxy Sample": ("main", (0.02, 0.3)),
        "K-correct's, 0.05 < z < 0.15": ("others", (0.05, 0.15)),
    }
    found = {}
    for title, (name, limits) in samples.items():
        path = catalogues / CATALOGUES[name]
        ranges = {"redshift_range": limits, "r_range": (14.0, 17.77)}
        tests = RealGalaxies.read(path, rows=slice(1, None, 2), **ranges)
        order = np.random.default_rng(0).permutation(len(tests))[:n]
        found[title] = tests[order], RealGalaxies.read(path, rows=slice(0, None, 2))
    return found


def simulate_real(folder, catalogues):
    """Pairs file of the real galaxies, made if it is not there yet."""
    path = folder / "real.h5"
    if not path.exists():
        galaxies = real_galaxies(catalogues)
        partial = folder / "real.partial.h5"
        simulate_real_pairs(galaxies, partial, n_last=N_LAST, seed=10, overwrite=True)
        partial.rename(path)
    return path


def run(folder, init, n_processes, device, scale, catalogues=None):
    """Do what is not done yet."""
    folder.mkdir(parents=True, exist_ok=True)
    files = simulate(folder, n_processes, scale)
    simulated = [files["main"], files["deep"]]
    pairs = simulated
    if catalogues is not None:
        pairs = [simulate_real(folder, catalogues), *simulated]
    for stage, more in MORE_STEPS.items():
        config = TrainConfig.preset(PRESET, stage, seed=TRAINING_SEED)
        if init:
            config = TrainConfig.fine_tune(init, stage, preset=config)
        steps = more if init else config.max_steps
        train(
            config.change(max_steps=max(10, round(scale * steps))),
            pairs,
            folder / stage,
            resume=(folder / stage).exists(),
            device=device,
            progress=True,
        )
    runs = {stage: folder / stage for stage in MORE_STEPS}
    made = folder / "spectrograph"
    if not made.exists():
        note = {"begun-with": str(init.name)} if init else {}
        pack(runs, made, pairs=pairs, domain_pairs=simulated, provenance=note)
    spectrograph = PhotoSpectrograph.load(made, device=device)
    settings = Settings(
        n_galaxies=max(64, round(scale * Settings.n_galaxies)),
        n_measured=max(32, round(scale * Settings.n_measured)),
        n_training_measured=max(64, round(scale * Settings.n_training_measured)),
        n_processes=n_processes,
    )
    model_card(
        spectrograph,
        files["test"],
        simulated,
        folder / "card",
        real=None if catalogues is None else real_samples(catalogues, settings.n_galaxies),
        settings=settings,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--init", type=Path, help="weights to begin with")
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
    )
