"""Fit the redshift density of finished weights anew, without each band that may be missing.

    python recipes/refit_density.py WORK_FOLDER [--weights legacy] [-n 8192]

In training bands are missing as often as in the survey, so the density sees few images without the
rarer ones, and is not calibrated there. Here each simulated galaxy is seen complete, without
each band in turn, and without two. Only the density changes (`photospec.training.density`): what
spectra look like at a given redshift stays the same to the last bit. The weights ``legacy`` were
made so, twice: from 31,744 galaxies of the same seeds by an earlier form of this file, and, when
the survey's population had got another mass function, by this one with its defaults. Pieces of
1,024 galaxies are kept in WORK_FOLDER, so that a run that was stopped goes on; it ends with
``WORK_FOLDER/spectrograph``.
"""

import argparse
import copy
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from photospec import PhotoSpectrograph
from photospec.evaluation.draws import image_of
from photospec.simulation import Survey
from photospec.training.density import density_features
from photospec.weights import FILES, save_module

PIECE = 1024  # galaxies that are kept together
_AT_ONCE = 128
# Limits in r and seeds: as many bright galaxies as faint ones. Of those that are held out, too.
LEARNED = ((20.5, 410), (19.5, 411), (18.5, 412), (17.6, 413))
HELD_OUT = ((20.5, 520), (18.5, 522))
LEARNING_RATE, WEIGHT_DECAY, BATCH, EPOCHS, PATIENCE = 3e-4, 0.05, 512, 16, 5
# Of the way from the old parameters to the fitted ones (Wortsman et al. 2022, arXiv:2109.01903):
# the old ones saw more faint galaxies. With all of the way the loss of complete images to r = 20.5
# was 0.474 on galaxies held out, with this share 0.464, before 0.465.
SHARE = 0.8


def without(image, bands, gone):
    """Images (n, n_bands, size, size) with some of the bands missing."""
    image = image.clone()
    image[:, [bands.index(band) for band in gone]] = torch.nan
    return image


def piece(spectrograph, survey, r_limit, seed, start, path):
    """Features and redshifts of some galaxies, by the bands that are missing; kept in a file."""
    if not path.exists():
        population = replace(survey.population, r_limit=r_limit)
        pairs = survey.replace(seed=seed, population=population).simulate(PIECE, start=start)
        bands, stage = spectrograph.config.bands, spectrograph.cascade.base
        ebv = pairs.object["galactic_ebv"]
        images = [
            spectrograph.prepare(image_of(data, bands, survey.pixel_scale, float(e)))
            for data, e in zip(pairs.image, ebv, strict=True)
        ]
        image = torch.from_numpy(np.stack([one.data for one in images]).astype(np.float32))
        single = [(), *((band,) for band in spectrograph.config.may_miss)]
        views = [without(image, bands, gone) for gone in single]
        # Two bands are missing in one view more, each galaxy another two.
        pairs_of_bands = list(combinations(spectrograph.config.may_miss, 2))
        which = np.random.default_rng((seed, start)).integers(len(pairs_of_bands), size=PIECE)
        two = image.clone()
        for number, gone in enumerate(pairs_of_bands):
            two[which == number] = without(image[which == number], bands, gone)
        kept = {"redshift": pairs.object["redshift"]}
        for number, view in enumerate([*views, two]):
            photometry, tokens = density_features(stage, view.split(_AT_ONCE))
            kept[f"photometry_{number}"], kept[f"tokens_{number}"] = photometry, tokens
        np.savez(path, **{name: np.asarray(value) for name, value in kept.items()})
        print(path.name, flush=True)
    with np.load(path) as found:
        n_views = sum(name.startswith("tokens") for name in found)
        return [
            tuple(
                torch.from_numpy(found[name].astype(np.float32))
                for name in (f"photometry_{k}", f"tokens_{k}", "redshift")
            )
            for k in range(n_views)
        ]


def galaxies(spectrograph, survey, sets, n, folder):
    """By view: photometry, tokens and redshifts of n galaxies of each set."""
    parts = [
        piece(spectrograph, survey, limit, seed, start, folder / f"{seed}-{start:06d}.npz")
        for start in range(0, n, PIECE)
        for limit, seed in sets
    ]
    return [tuple(map(torch.cat, zip(*view, strict=True))) for view in zip(*parts, strict=True)]


@torch.no_grad()
def loss_of(density, views):
    """Mean negative log-likelihood, all views alike."""
    return float(np.mean([density.loss(*view).mean().item() for view in views]))


def fit(density, learned, held_out, seed):
    """`SHARE` of the way to the epoch with the smallest loss on the galaxies held out."""
    old = density.state_dict()
    generator = torch.Generator().manual_seed(seed)
    density = copy.deepcopy(density).requires_grad_(True)
    photometry, tokens, redshift = map(torch.cat, zip(*learned, strict=True))
    optimiser = torch.optim.AdamW(density.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    best, since = (loss_of(density, held_out), copy.deepcopy(density.state_dict())), 0
    for epoch in range(EPOCHS):
        for rows in torch.randperm(len(redshift), generator=generator).split(BATCH):
            loss = density.loss(photometry[rows], tokens[rows], redshift[rows]).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        schedule.step()
        found = loss_of(density, held_out)
        print(f"epoch {epoch}: {found:.4f} on galaxies held out (before {best[0]:.4f})", flush=True)
        since += 1
        if found < best[0]:
            best, since = (found, copy.deepcopy(density.state_dict())), 0
        if since >= PATIENCE:
            break
    density.load_state_dict({name: torch.lerp(old[name], best[1][name], SHARE) for name in old})
    return density.requires_grad_(False)


def run(folder, weights, n, seed=1):
    """Simulate what is not there yet, fit, and write the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    spectrograph = PhotoSpectrograph.load(weights)
    survey = Survey.named(spectrograph.config.survey)
    held_out = galaxies(spectrograph, survey, HELD_OUT, min(n, 3 * PIECE), folder)
    learned = galaxies(spectrograph, survey, LEARNED, n, folder)
    stage = spectrograph.cascade.base
    before = loss_of(stage.density, held_out)
    stage.density = fit(stage.density, learned, held_out, seed)
    print(f"loss {before:.4f} -> {loss_of(stage.density, held_out):.4f}")
    made = folder / "spectrograph"
    shutil.copytree(spectrograph.folder, made, dirs_exist_ok=True)
    save_module(stage, made / FILES["base"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="legacy")
    parser.add_argument("-n", type=int, default=8192, help="galaxies of each limit in r")
    options = parser.parse_args()
    run(options.folder, options.weights, options.n)
