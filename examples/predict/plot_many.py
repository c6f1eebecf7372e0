"""
Many galaxies at once
=====================

A list of images is one call. What it costs: time in proportion to the number of candidates,
sixteen of which are drawn at once, and memory that does not grow with the number of images if
candidates are taken as they come.
"""

# sphinx_gallery_thumbnail_path = '_static/simulation_cutouts.jpg'

# %%
# In one call
# -----------
#
# Predictions do not depend on what else is in the list: each image has random numbers of its own.

import time

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

from photospec import PhotoSpectrograph
from photospec.image import NANOMAGGY
from photospec.simulation import Survey

survey = Survey.sdss_main(seed=25)
batch = survey.simulate(24)
images = [
    NDData(data, unit=NANOMAGGY, meta={"bands": survey.bands, "pixel_scale": 0.396 * u.arcsec})
    for data in batch.image
]
spectrograph = PhotoSpectrograph.load()
spectra = spectrograph.predict(images, n_candidates=2, seed=0)
alone = spectrograph.predict(images[7], n_candidates=2, seed=0)
spectra.flux.shape, bool(np.all(spectra.flux[7] == alone.flux))

# %%
# As they come
# ------------
#
# `~photospec.PhotoSpectrograph.sample_each` gives the candidates of one image after the other, so
# that only those in use are in memory.

redshift = [drawn.expected_redshift for drawn in spectrograph.sample_each(images[:6], 2, seed=0)]
np.round(redshift, 3)

# %%
# What it costs
# -------------
#
# Processor time per galaxy, on the machine that built this page, one core, no GPU. Redshifts and
# embeddings need no spectra and are far cheaper.


def cost(work, n):
    """Processor time of a call per image, in milliseconds."""
    start = time.process_time()
    work()
    return 1e3 * (time.process_time() - start) / n


times = {
    "redshift density": cost(lambda: spectrograph.redshift_density(images), len(images)),
    "embedding": cost(lambda: spectrograph.embed_image(images), len(images)),
    "1 candidate": cost(lambda: spectrograph.predict(images[:16], n_candidates=1), 16),
    "8 candidates": cost(lambda: spectrograph.predict(images[:4], n_candidates=8), 4),
}
for name, milliseconds in times.items():
    print(f"{name:18} {milliseconds:8.1f} ms")

# %%
# And memory: what `~photospec.PhotoSpectrograph.sample` holds for every image, beside what the
# networks need once, whatever number of images comes.

drawn = spectrograph.sample(images[0], n_candidates=8, seed=0)
networks = sum(parameter.nbytes for parameter in spectrograph.cascade.parameters())
print(f"8 candidates of a galaxy  {drawn.spectra.flux.nbytes / 1e6:5.2f} MB")
print(f"networks                  {networks / 1e6:5.2f} MB")

# %%
# More processes, clusters
# ------------------------
#
# One process uses one core well. More of them, on this machine or on many, are started by
#
# .. code-block:: text
#
#     photospec survey cutouts/ -o predicted --workers 8
#     photospec survey cutouts/ -o predicted --scheduler tcp://head:8786
#
# which works through folders, pairs files and catalogues of any size, holds some hundred images at
# a time, goes on after a crash where it was, and gives the same numbers whatever the number of
# workers: :doc:`/survey`, which also tells what a billion galaxies cost.
