"""
From image to spectrum
======================

A galaxy is simulated, so that the truth is known; its image goes through the spectrograph with
the bundled weights; and the prediction is set beside the spectrum that a fibre would have seen.
"""

# %%
# An image
# --------
#
# Any `~astropy.nddata.NDData` with a flux unit and the names of its bands is an image. Read
# yours with `photospec.image.read_image`.

from astropy import units as u
from astropy.nddata import NDData

from photospec.image import NANOMAGGY
from photospec.simulation import Survey

batch = Survey.sdss_main(seed=20).simulate(8)
galaxy = 3
image = NDData(
    batch.image[galaxy],
    unit=NANOMAGGY,
    meta={"bands": ("u", "g", "r", "i", "z"), "pixel_scale": 0.396 * u.arcsec},
)

# %%
# Its spectrum
# ------------
#
# ``predict`` gives the best candidate, ``sample`` all of them, with their similarity to the
# image. Their spread shows what the image does not decide.

from photospec import PhotoSpectrograph

spectrograph = PhotoSpectrograph.load()
candidates = spectrograph.sample(image, n_candidates=8, seed=0)
candidates

# %%
# Beside the truth
# ----------------

import numpy as np
from matplotlib import pyplot as plt

from photospec.figures import plot_spectrum, rgb_image
from photospec.spectrum import WAVELENGTH, to_arrays

flux = to_arrays(candidates.spectra).flux
best = to_arrays(candidates.best).flux[0]
low, high = np.percentile(flux, [16, 84], axis=0)

figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 3), width_ratios=[1, 3.2], layout="constrained"
)
left.imshow(rgb_image(image), origin="lower")
left.set_axis_off()
right.fill_between(WAVELENGTH, low, high, color="tab:blue", alpha=0.3, linewidth=0)
plot_spectrum(
    right,
    WAVELENGTH,
    best,
    redshift=batch.truth["redshift"][galaxy],
    truth=batch.truth_flux[galaxy],
)
right.set_xlabel("Observed wavelength in vacuum [Å]")
right.set_ylabel(r"Flux [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$]")
plt.show()
