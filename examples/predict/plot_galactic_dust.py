"""
Dust of the Milky Way
=====================

Light of other galaxies reaches us through the dust of our own. An image that says its E(B-V) is
corrected for it; the predicted spectrum is as observed, through that dust, or without it.
"""

# %%
# One galaxy, seen through more and more dust
# -------------------------------------------
#
# What the dust does to each band is known (Schlafly & Finkbeiner 2011, table 6): here an image is
# reddened by it and says so in ``meta["galactic_ebv"]``.

import numpy as np
from astropy import units as u
from astropy.nddata import NDData
from matplotlib import pyplot as plt

from photospec import PhotoSpectrograph
from photospec.image import NANOMAGGY
from photospec.simulation import Survey
from photospec.spectrum import WAVELENGTH, to_arrays

survey = Survey.sdss_main(seed=23)
batch = survey.simulate(1)
own = batch.truth["galactic_ebv"][0]
unreddened = batch.image[0] * 10 ** (0.4 * own * np.array(survey.band_extinction))[:, None, None]


def seen_through(ebv, say=True):
    """The galaxy behind dust, as an image that says so or not."""
    data = unreddened * 10 ** (-0.4 * ebv * np.array(survey.band_extinction))[:, None, None]
    meta = {"bands": survey.bands, "pixel_scale": 0.396 * u.arcsec, "identifier": 1}
    return NDData(data, unit=NANOMAGGY, meta=meta | ({"galactic_ebv": ebv} if say else {}))


spectrograph = PhotoSpectrograph.load()
for ebv in (0.0, 0.1, 0.3):
    said, silent = (spectrograph.redshift_density(seen_through(ebv, say)) for say in (True, False))
    print(f"E(B-V) = {ebv}: z = {said.mean[0]:.4f} if said, {silent.mean[0]:.4f} if not", end="   ")
    print(*silent.flags[0])

# %%
# As observed, or without
# -----------------------

image = seen_through(0.3)
observed = spectrograph.predict(image, n_candidates=2, seed=0)
intrinsic = spectrograph.predict(image, n_candidates=2, seed=0, intrinsic=True)

figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
for spectrum, label in ((intrinsic, "intrinsic=True"), (observed, "as observed")):
    extinction = spectrum.meta["galactic_extinction"]
    axes.plot(
        WAVELENGTH, to_arrays(spectrum).flux[0], linewidth=0.7, label=f"{label}: {extinction}"
    )
axes.set(xlabel="Observed wavelength in vacuum [Å]", ylabel="flux", xlim=(4000, 8500))
axes.legend()
plt.show()
