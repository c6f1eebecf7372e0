"""Simulate, train, pack and evaluate the weights that the package ships.

    python recipes/default_weights.py WORK_FOLDER [--init WEIGHTS] [--processes 2] [--device cpu]

Every piece resumes: run the same command again after a stop. The folder ends with
``spectrograph/`` (what goes into photospec/data/default) and ``card/`` with the model card.
With --init the networks begin with the weights of a spectrograph, such as the shipped ones,
and take fewer steps; --scale makes pairs and steps fewer, for a trial of the whole way.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from photospec import PhotoSpectrograph
from photospec.evaluation import model_card
from photospec.evaluation.on_pairs import Settings
from photospec.simulation import Survey, simulate_pairs
from photospec.training import TrainConfig, pack, train

# The main sample as it is, and a deeper one: users' images go to r = 19 and beyond.
PAIRS = {
    "main": {"n": 100_000, "seed": 200, "r_limit": 17.77},
    "deep": {"n": 30_000, "seed": 201, "r_limit": 19.3},
    # Never trained on.
    "test": {
        "n": 5_000,
        "seed": 7,
        "r_limit": 17.77,
        "redshift_min": 0.05,
        "redshift_max": 0.15,
    },
}
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


def run(folder, init, n_processes, device, scale):
    """Do what is not done yet."""
    folder.mkdir(parents=True, exist_ok=True)
    files = simulate(folder, n_processes, scale)
    pairs = [files["main"], files["deep"]]
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
        pack(runs, made, pairs=pairs, provenance=note)
    spectrograph = PhotoSpectrograph.load(made, device=device)
    settings = Settings(
        n_galaxies=max(64, round(scale * Settings.n_galaxies)),
        n_measured=max(32, round(scale * Settings.n_measured)),
        n_training_measured=max(64, round(scale * Settings.n_training_measured)),
        n_processes=n_processes,
    )
    model_card(spectrograph, files["test"], pairs, folder / "card", settings=settings)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--init", type=Path, help="weights to begin with")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of all pairs, steps and galaxies judged"
    )
    options = parser.parse_args()
    run(options.folder, options.init, options.processes, options.device, options.scale)
