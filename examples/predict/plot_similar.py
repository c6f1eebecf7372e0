"""
Galaxies that look alike
========================

Images and spectra have vectors in one space: near vectors are galaxies that are alike. So an image
finds spectra, a spectrum finds images, and both their likes.
"""

# %%
# An index
# --------
#
# Vectors of length one, of all images. An index can be saved, and knows the weights that made it.
# In the shell: ``photospec search cutouts/*.fits --build galaxies.safetensors``.

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

from photospec import PhotoSpectrograph
from photospec.image import NANOMAGGY
from photospec.search import EmbeddingIndex
from photospec.simulation import Survey
from photospec.spectrum import WAVELENGTH, from_arrays

survey = Survey.sdss_main(seed=32)
batch = survey.simulate(192)
meta = {"bands": survey.bands, "pixel_scale": survey.pixel_scale * u.arcsec}
images = [NDData(data, unit=NANOMAGGY, meta=dict(meta)) for data in batch.image]

spectrograph = PhotoSpectrograph.load()
index = EmbeddingIndex.build(spectrograph, images)
index

# %%
# An image and its likes
# ----------------------
#
# The most similar first, which is the image itself. In the shell:
# ``photospec search odd.fits --index galaxies.safetensors -n 7``.

from matplotlib import pyplot as plt

from photospec.figures import rgb_image

asked = [3, 8, 40]
found = index.query([images[i] for i in asked], n=7, spectrograph=spectrograph)
figure, axes = plt.subplots(3, 7, figsize=(9, 4.2), layout="constrained")
for row, numbers, similarity in zip(axes, found.row, found.similarity, strict=True):
    for panel, j, cosine in zip(row, numbers, similarity, strict=True):
        panel.imshow(rgb_image(images[j]), origin="lower")
        panel.set_title(f"{cosine:.2f}, z = {batch.truth['redshift'][j]:.2f}", fontsize=7)
        panel.set_axis_off()
plt.show()

# %%
# A spectrum finds its image
# --------------------------
#
# Spectra lie in the same space. At which place, among all 192 images, does each spectrum find its
# own? By chance at the middle.

spectra = from_arrays(WAVELENGTH, batch.truth_flux)
found = index.query(spectra, n=len(index), spectrograph=spectrograph)
place = 1 + np.argmax(found.row == np.arange(len(index))[:, None], axis=1)
print(f"median place {np.median(place):.0f} of 192; in the first 20: {np.mean(place <= 20):.0%}")

# %%
# As a table, for the first spectrum:

found.to_table()[:5]
