"""
Galaxies that look alike
========================

Images and spectra have vectors in one space: near vectors are galaxies that are alike. So an image
finds spectra, a spectrum finds images, and both their likes.
"""

# %%
# A library
# ---------
#
# Vectors of length one, of images and of their spectra.

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

from photospec import PhotoSpectrograph
from photospec.image import NANOMAGGY
from photospec.simulation import Survey
from photospec.spectrum import WAVELENGTH, from_arrays

survey = Survey.sdss_main(seed=32)
batch = survey.simulate(192)
meta = {"bands": survey.bands, "pixel_scale": survey.pixel_scale * u.arcsec}
images = [NDData(data, unit=NANOMAGGY, meta=dict(meta)) for data in batch.image]
spectra = from_arrays(WAVELENGTH, batch.truth_flux)

spectrograph = PhotoSpectrograph.load()
of_images = spectrograph.embed_image(images)
of_spectra = spectrograph.embed_spectrum(spectra)
of_images.shape, of_spectra.shape

# %%
# An image and its likes
# ----------------------
#
# The cosine of two vectors is their scalar product. Left the image asked for.

from matplotlib import pyplot as plt

from photospec.figures import rgb_image

asked = (3, 8, 40)
figure, axes = plt.subplots(3, 7, figsize=(9, 4.2), layout="constrained")
for row, i in zip(axes, asked, strict=True):
    similarity = of_images @ of_images[i]
    for panel, j in zip(row, np.argsort(-similarity), strict=False):
        panel.imshow(rgb_image(images[j]), origin="lower")
        panel.set_title(f"z = {batch.truth['redshift'][j]:.3f}", fontsize=8)
        panel.set_axis_off()
plt.show()

# %%
# The spectrum to an image
# ------------------------
#
# At which place, among all 192 spectra, does each image find its own? By chance at the middle.

similarity = of_images @ of_spectra.T
own = similarity[np.arange(192), np.arange(192)]
place = 1 + (similarity > own[:, None]).sum(axis=1)
print(f"median place {np.median(place):.0f} of 192; in the first 20: {np.mean(place <= 20):.0%}")

# %%
# `~photospec.PhotoSpectrograph.rank` does this for a few spectra, the candidates of an image say.
