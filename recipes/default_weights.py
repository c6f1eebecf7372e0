"""Simulate, train, pack and evaluate the weights that the package ships.

    python recipes/default_weights.py WORK_FOLDER [--processes 2] [--device cpu]

Every piece resumes: run the same command again after a stop. The folder ends with
``spectrograph/`` (what goes into photospec/data/default) and ``card.txt``.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from photospec import PhotoSpectrograph
from photospec.evaluation import evaluate
from photospec.pairs import PairsFile
from photospec.simulation import Survey, simulate_pairs
from photospec.training import train

# The main sample as it is, and a deeper one: users' images go to r = 19 and beyond.
PAIRS = {
    "main": {"n": 40_000, "seed": 100, "r_limit": 17.77},
    "deep": {"n": 12_000, "seed": 101, "r_limit": 19.3},
    "test": {"n": 3_000, "seed": 7, "r_limit": 17.77},  # never trained on
}
TRAINING_SEED = 1


def survey(seed, r_limit):
    """The default survey of a seed, to a limiting magnitude."""
    main = Survey.sdss_main(seed=seed)
    return main.replace(population=replace(main.population, r_limit=r_limit))


def run(folder, n_processes, device):
    """Do what is not done yet."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.h5" for name in PAIRS}
    for name, wanted in PAIRS.items():
        path = files[name]
        simulate_pairs(
            wanted["n"],
            path,
            survey=survey(wanted["seed"], wanted["r_limit"]),
            n_processes=n_processes,
            resume=path.exists(),
        )
        print(f"{path}: {wanted['n']} pairs", flush=True)
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
    with PairsFile(files["test"]) as pairs:
        card = str(evaluate(spectrograph, pairs, progress=True))
    (folder / "card.txt").write_text(card + "\n")
    print(card)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    run(arguments.folder, arguments.processes, arguments.device)
