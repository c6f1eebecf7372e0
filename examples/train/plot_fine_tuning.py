"""
Fine-tune the bundled weights
=============================

Weights that learned from one survey are a good start for another. Here the bundled ones are told of
a survey with worse seeing; a hundred pairs and some steps show how it goes, some
thousand pairs and steps make it useful.
"""

# sphinx_gallery_thumbnail_path = '_static/simulation_surveys.jpg'

# %%
# Pairs of the other survey
# -------------------------

import tempfile
from pathlib import Path

from photospec.simulation import PsfConfig, Survey, simulate_pairs

folder = Path(tempfile.mkdtemp())
survey = Survey.sdss_main(seed=36)
survey = survey.replace(psf=PsfConfig(fwhm=(2.2, 2.1, 2.0, 1.9, 1.9)), name="bad_seeing")
simulate_pairs(160, folder / "pairs.h5", survey=survey, n_processes=1)

# %%
# Settings
# --------
#
# `~photospec.training.TrainConfig.fine_tune` takes the network that the weights belong to, and says
# which parts stay as they are: here all but the encoder of the images and the redshift density. In
# the shell: ``photospec train base --init WEIGHTS --freeze embedding transformer head``.

from photospec import PhotoSpectrograph
from photospec.training import TrainConfig

bundled = PhotoSpectrograph.load().folder
config = TrainConfig.fine_tune(
    bundled,
    "base",
    frozen=["embedding", "transformer", "head"],
    max_steps=12,
    batch_size=16,
    n_draws=1,
    validation_pairs=32,
    validate_every=6,
    checkpoint_every=12,
)
config.fine_tuning

# %%
# Training
# --------

import json

from photospec.training import train

train(config, folder / "pairs.h5", folder / "base")
log = [json.loads(line) for line in (folder / "base" / "log.jsonl").read_text().splitlines()]
for entry in log:
    if "validation_loss" in entry:
        print(f"step {entry['step']:3}: validation loss {entry['validation_loss']:.4f}")

# %%
# What changed
# ------------
#
# The encoder and the redshift density moved, the rest stayed (to the rounding of the moving average
# of the weights, which is what is saved).

import numpy as np
from safetensors.numpy import load_file

before = load_file(bundled / "base.safetensors")
after = load_file(folder / "base" / "weights.safetensors")
for part in ("encoder.blocks", "density.mix", "network.blocks", "network.head"):
    changes = [
        np.abs(after[name] - old.astype("f4")).max() / np.abs(old).max()
        for name, old in before.items()
        if name.startswith(part)
    ]
    print(f"{part:15} changed by {max(changes):.1e} of the largest weight")

# %%
# A base stage alone is no spectrograph: give the other two stages the same treatment
# (``photospec train all --init``), and `photospec.training.pack` joins them. :doc:`/training` says
# more, also how observed pairs are used (``target="observed"``).
