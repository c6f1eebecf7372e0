"""
Fine-tune the bundled weights
=============================

Weights that learned from one survey are a good start for another. Here the bundled ones are told of
a survey with worse seeing and deeper noise; a hundred pairs and some steps show how it goes, some
thousand pairs and steps make it useful.
"""

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
# The parts that were frozen are the same, bit by bit.

import numpy as np
from safetensors.numpy import load_file

before = load_file(bundled / "base.safetensors")
after = load_file(next((folder / "base").glob("*.safetensors")))
same = sum(
    np.array_equal(after[name], value.astype(after[name].dtype))
    for name, value in before.items()
    if name in after
)
print(f"{same} of {len(before)} tensors are as they were")

# %%
# A base stage alone is no spectrograph: give the other two stages the same treatment
# (``photospec train all --init``), and `photospec.training.pack` joins them. :doc:`/training` says
# more, also how observed pairs are used (``target="observed"``).
