"""
Photometric redshifts
=====================

The density of the redshift of an image in closed form, without drawing spectra, and how good it is
on galaxies whose redshift is known.
"""

# %%
# Densities
# ---------

import numpy as np
from astropy import units as u
from astropy.nddata import NDData
from matplotlib import pyplot as plt

from photospec import PhotoSpectrograph
from photospec.image import NANOMAGGY
from photospec.simulation import Survey

survey = Survey.sdss_main(seed=26)
batch = survey.simulate(192)
meta = {"bands": survey.bands, "pixel_scale": 0.396 * u.arcsec}
images = [
    NDData(data, unit=NANOMAGGY, meta=meta | {"galactic_ebv": ebv})
    for data, ebv in zip(batch.image, batch.truth["galactic_ebv"], strict=True)
]
density = PhotoSpectrograph.load().redshift_density(images)
density

# %%
# Four of them, with the true redshift:

grid = np.linspace(0, 0.3, 601)
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
for i, colour in enumerate(plt.cm.viridis([0.1, 0.4, 0.6, 0.85])):
    axes.plot(grid, density[i].pdf(grid)[0], color=colour)
    axes.axvline(batch.truth["redshift"][i], color=colour, linestyle="--", linewidth=1)
axes.set(xlabel="redshift", ylabel="probability density", xlim=(0, 0.3), ylim=(0, None))
plt.show()

# %%
# How good they are
# -----------------
#
# Bias, scatter and outliers as surveys state them (:doc:`/conventions`), with numbers for these 192
# galaxies; :doc:`/model_card` has those of real ones.

from photospec.evaluation import redshift_quality

print(redshift_quality(density.mean, batch.truth["redshift"]))

# %%
# The probability integral transform, the fraction of a density that lies below the true redshift,
# is uniform where densities are as wide as they should be.

truth = batch.truth["redshift"]
pit = density.cdf(truth)[np.arange(len(truth)), np.arange(len(truth))]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.errorbar(truth, density.mean, density.std, fmt=".", markersize=4, elinewidth=0.5)
left.plot([0, 0.3], [0, 0.3], color="black", linewidth=0.6)
left.set(xlabel="true redshift", ylabel="mean of the density")
right.hist(pit, bins=10, range=(0, 1), color="tab:blue", alpha=0.6)
right.axhline(len(truth) / 10, color="black", linewidth=0.6)
right.set(xlabel="probability integral transform", ylabel="galaxies")
plt.show()
