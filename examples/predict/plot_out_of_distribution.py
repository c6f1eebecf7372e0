"""
What is no galaxy
=================

The networks make a spectrum of *some galaxy* of whatever they are given. A score says how unlike
the training an image is; above one it is flagged.
"""

# %%
# Galaxies, and what may be taken for one
# ---------------------------------------

import numpy as np
from astropy import units as u
from astropy.convolution import Moffat2DKernel
from astropy.nddata import NDData
from matplotlib import pyplot as plt

from photospec import PhotoSpectrograph
from photospec.figures import rgb_image
from photospec.image import NANOMAGGY
from photospec.simulation import Survey

survey = Survey.sdss_main(seed=24)
batch = survey.simulate(6)
rng = np.random.default_rng(0)
noise = rng.normal(0, np.array(survey.noise.sky_rms)[:, None, None], (5, 64, 64))
star = Moffat2DKernel(3.0, 3.2, x_size=63, y_size=63).array
star = np.pad(star, ((1, 0), (1, 0)))

things = {f"galaxy {i + 1}": batch.image[i] for i in range(6)}
things["blue star"] = noise + 200 * np.array([2.0, 1.5, 1, 0.8, 0.7])[:, None, None] * star
things["red star"] = noise + 200 * np.array([0.05, 0.3, 1, 1.9, 2.6])[:, None, None] * star
things["satellite trail"] = batch.image[0] + 20 * (np.abs(np.arange(64) - 24) < 2)[:, None]
things["two in one"] = batch.image[1] + np.roll(batch.image[2], (5, 9), axis=(1, 2))
things["cosmic ray"] = noise + 300 * (np.indices((64, 64)) == 32).all(axis=0)
things["checkerboard"] = noise + 5 * (np.indices((64, 64)).sum(axis=0) % 2)

# %%
# Their scores
# ------------

images = [
    NDData(data, unit=NANOMAGGY, meta={"bands": survey.bands, "pixel_scale": 0.396 * u.arcsec})
    for data in things.values()
]
spectrograph = PhotoSpectrograph.load()
scores = spectrograph.ood_score(images)

figure, axes = plt.subplots(2, 6, figsize=(10, 4), layout="constrained")
for panel, name, image, score in zip(axes.flat, things, images, scores, strict=True):
    panel.imshow(rgb_image(image), origin="lower")
    panel.set_axis_off()
    panel.set_title(f"{name}\n{score:.2f}", color="tab:red" if score > 1 else "black", fontsize=9)
plt.show()

# %%
# What is flagged, and the flags that tables and headers carry. Most of what is no galaxy is found,
# not all; :doc:`/model_card` says how many.

for name, flags in zip(things, spectrograph.flags(images), strict=True):
    print(f"{name:16}", "; ".join(flags))
