"""Fit the noise levels and extrapolations of few steps to finished weights.

    python recipes/fit_steps.py WEIGHTS PAIRS [PAIRS ...] [--n-steps 4 2] [-n 256]

What many steps draw for galaxies of the pairs files, in equal parts and two candidates each, is
what few steps are fitted to (`photospec.training.steps`); the networks stay as they are. The
config.toml of WEIGHTS, a folder, gets sampler, steps and their numbers. It takes six minutes of one
core; how near the spectra are to those of many steps, ``benchmarks/sampler_steps.py`` says.
"""

import argparse
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from photospec import PhotoSpectrograph
from photospec.config import write_toml
from photospec.pairs import PairsFile
from photospec.training.extinction import corrected_images
from photospec.training.steps import fit_cascade_steps
from photospec.weights import CONFIG_NAME

_AT_ONCE = 8


def images_of(files, bands, n, seed=0):
    """Images of n galaxies at random from all files alike, in batches of `_AT_ONCE`."""
    rng, images = np.random.default_rng(seed), []
    with ExitStack() as stack:
        for path in files:
            pairs = stack.enter_context(PairsFile(path, bands=bands))
            rows = rng.permutation(len(pairs))[: n // len(files)]
            images += [corrected_images(pairs, slice(row, row + 1)) for row in rows]
    order = rng.permutation(len(images) // _AT_ONCE * _AT_ONCE)
    return torch.from_numpy(np.concatenate([images[i] for i in order])).split(_AT_ONCE)


def run(folder, files, n_steps, n, n_iterations=300, seed=0):
    """Fit, and write the configuration of the weights anew; returns its sampling."""
    spectrograph = PhotoSpectrograph.load(folder, dtype="float32")
    config = spectrograph.config
    images = images_of(files, config.bands, n, seed)
    fitted = fit_cascade_steps(
        spectrograph.cascade, images, *n_steps, n_iterations=n_iterations, seed=seed
    )
    sampling = replace(config.sampling, **fitted)
    write_toml(replace(config, sampling=sampling), folder / CONFIG_NAME, overwrite=True)
    return sampling


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("pairs", type=Path, nargs="+")
    parser.add_argument(
        "--n-steps", type=int, nargs=2, default=(4, 2), help="of base and super-resolution stage"
    )
    parser.add_argument("-n", type=int, default=256, help="galaxies")
    parser.add_argument("--iterations", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(run(options.weights, options.pairs, options.n_steps, options.n, options.iterations))
