"""
Train a spectrograph of your own
================================

From nothing to a working spectrograph in a minute on one processor core: pairs of image and
spectrum are simulated, three small networks learn from them, and the result predicts the
spectra of galaxies that it has never seen. The same steps, with more of everything, made the
bundled weights; :doc:`/training` tells all about them.
"""

# %%
# Pairs
# -----
#
# Training takes pairs files. These are simulated; `photospec.archive` downloads observed ones.
# In the shell: ``photospec simulate -n 480 -o pairs.h5 --seed 1``.

import tempfile
from pathlib import Path

from photospec.pairs import PairsFile
from photospec.simulation import Survey, simulate_pairs

folder = Path(tempfile.mkdtemp())
simulate_pairs(480, folder / "pairs.h5", survey=Survey.sdss_main(seed=1), n_processes=1)
PairsFile(folder / "pairs.h5")

# %%
# Settings
# --------
#
# A preset is a start. Written to a file it explains itself; what you change there is checked
# when it is read. In the shell: ``photospec train base --preset tiny --write-config base.toml``.

from dataclasses import replace

from photospec.config import write_toml
from photospec.training import TrainConfig

stages = ("contrastive", "base", "super-resolution")
settings = {stage: TrainConfig.preset("tiny", stage) for stage in stages}
base = settings["base"]
settings["base"] = replace(
    base,
    max_steps=180,
    run=replace(base.run, log_every=10, score_every=90, score_pairs=32, picture_every=180),
)
settings["super-resolution"] = settings["super-resolution"].change(max_steps=20)
write_toml(settings["base"], folder / "base.toml")
print((folder / "base.toml").read_text()[:900], "...")

# %%
# Training
# --------
#
# The base stage makes a coarse spectrum of an image. In the shell:
# ``photospec train base --config base.toml --pairs pairs.h5 -o run/base``. A run that was stopped,
# by whatever, goes on with ``resume=True`` and ends with the same weights.

from photospec.training import train

runs = {stage: folder / "run" / stage for stage in settings}
config = TrainConfig.read(folder / "base.toml")
train(config, folder / "pairs.h5", runs["base"])
sorted(path.name for path in runs["base"].iterdir())

# %%
# Its log is a line of JSON for every event. Held-out pairs tell whether it still learns; the
# energy score and the calibration of candidates need no other judge than these pairs.

import json

from matplotlib import pyplot as plt

log = [json.loads(line) for line in (runs["base"] / "log.jsonl").read_text().splitlines()]
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
for name in ("train_loss", "validation_loss"):
    found = [(entry["step"], entry[name]) for entry in log if name in entry]
    axes.plot(*zip(*found, strict=True), marker=".", label=name)
axes.set(xlabel="step", ylabel="denoising loss")
axes.legend()
[entry for entry in log if "validation_energy_score" in entry]

# %%
# What it drew for held-out galaxies, and the truth in orange:

picture = sorted((runs["base"] / "pictures").iterdir())[-1]
figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
axes.imshow(plt.imread(picture))
axes.set_axis_off()

# %%
# The super-resolution stage adds what the base spectrum lacks, and the contrastive network tells
# which of several candidates goes best with an image.

for stage in ("super-resolution", "contrastive"):
    train(settings[stage], folder / "pairs.h5", runs[stage])

# %%
# A spectrograph
# --------------
#
# ``photospec train all`` does all this at once, and joins the three networks as here:

from photospec.training import pack

pack(runs, folder / "spectrograph", pairs=folder / "pairs.h5")

# %%
# Galaxies that it has never seen
# -------------------------------

from astropy import units as u
from astropy.nddata import NDData

from photospec import PhotoSpectrograph
from photospec.image import NANOMAGGY

survey = Survey.sdss_main(seed=2)
batch = survey.simulate(24)
meta = {"bands": survey.bands, "pixel_scale": survey.pixel_scale * u.arcsec}
images = [NDData(data, unit=NANOMAGGY, meta=dict(meta)) for data in batch.image]

spectrograph = PhotoSpectrograph.load(folder / "spectrograph")
spectra = spectrograph.predict(images, seed=0)
spectra

# %%
# A few hundred pairs and steps already tell red galaxies from blue ones, though not their lines
# yet: the predicted spectra are nearer to the true ones than the mean spectrum of the training is.

import numpy as np

from photospec.spectrum import WAVELENGTH, to_arrays

with PairsFile(folder / "pairs.h5") as pairs:
    typical = pairs.truth_flux()


def shape(flux):
    """Divided by its mean from 5600 to 6900 Angstrom."""
    inside = (WAVELENGTH > 5600) & (WAVELENGTH < 6900)
    return flux / flux[:, inside].mean(axis=1, keepdims=True)


predicted, truth = shape(to_arrays(spectra).flux), shape(batch.truth_flux)
mean = shape(typical).mean(axis=0)
errors = {
    "prediction": np.abs(predicted / truth - 1).mean(),
    "mean of the training": np.abs(mean / truth - 1).mean(),
}
assert errors["prediction"] < 0.8 * errors["mean of the training"]
errors

# %%

colour = np.log(truth[:, -500:].mean(axis=1) / truth[:, :500].mean(axis=1))
figure, axes = plt.subplots(2, 1, figsize=(8, 5), sharex=True, layout="constrained")
for panel, galaxy in zip(axes, (colour.argmin(), colour.argmax()), strict=True):
    panel.plot(WAVELENGTH, truth[galaxy], color="tab:orange", linewidth=0.9, label="truth")
    panel.plot(WAVELENGTH, predicted[galaxy], color="black", linewidth=0.7, label="predicted")
    panel.set_ylabel("relative flux")
axes[0].legend()
axes[1].set_xlabel("Observed wavelength in vacuum [Å]")
plt.show()
