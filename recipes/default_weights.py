"""Simulate, train, pack and evaluate the weights that the package ships.

    python recipes/default_weights.py WORK_FOLDER [--processes 2] [--device cpu]

Every piece resumes: run the same command again after a stop. The folder ends with
``spectrograph/`` (what goes into photospec/data/default) and ``card/`` with the model card.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from photospec import PhotoSpectrograph
from photospec.evaluation import model_card
from photospec.simulation import Survey, simulate_pairs
from photospec.training import train

# The main sample as it is, and a deeper one: users' images go to r = 19 and beyond.
PAIRS = {
    "main": {"n": 40_000, "seed": 100, "r_limit": 17.77},
    "deep": {"n": 12_000, "seed": 101, "r_limit": 19.3},
    # Never trained on.
    "test": {
        "n": 5_000,
        "seed": 7,
        "r_limit": 17.77,
        "redshift_min": 0.05,
        "redshift_max": 0.15,
    },
}
TRAINING_SEED = 1


def survey(seed, **limits):
    """The default survey of a seed, with other limits."""
    main = Survey.sdss_main(seed=seed)
    return main.replace(population=replace(main.population, **limits))


def run(folder, n_processes, device):
    """Do what is not done yet."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.h5" for name in PAIRS}
    for name, wanted in PAIRS.items():
        path, limits = files[name], dict(wanted)
        n = limits.pop("n")
        simulate_pairs(
            n,
            path,
            survey=survey(**limits),
            n_processes=n_processes,
            resume=path.exists(),
        )
        print(f"{path}: {n} pairs", flush=True)
    train(
        "all",
        [files["main"], files["deep"]],
        folder,
        preset="small",
        seed=TRAINING_SEED,
        resume=True,
        device=device,
        progress=True,
    )
    spectrograph = PhotoSpectrograph.load(folder / "spectrograph", device=device)
    training = [files["main"], files["deep"]]
    model_card(spectrograph, files["test"], training, folder / "card")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    run(arguments.folder, arguments.processes, arguments.device)
