"""
What an image leaves open
=========================

A prediction is one draw from the spectra that galaxies with such an image have. How far the draws
differ is the uncertainty of everything that is measured on them.
"""

# %%
# Two galaxies, sixteen candidates each
# -------------------------------------

from astropy import units as u
from astropy.nddata import NDData

from photospec import PhotoSpectrograph
from photospec.image import NANOMAGGY
from photospec.simulation import Survey

survey = Survey.sdss_main(seed=21)
batch = survey.simulate(16)
colour = batch.truth["magnitude_g"] - batch.truth["magnitude_r"]
chosen = [int(colour.argmax()), int(colour.argmin())]
meta = {"bands": survey.bands, "pixel_scale": survey.pixel_scale * u.arcsec}
images = [NDData(batch.image[i], unit=NANOMAGGY, meta=dict(meta)) for i in chosen]

spectrograph = PhotoSpectrograph.load()
candidates = [spectrograph.sample(image, n_candidates=16, seed=0) for image in images]
candidates

# %%
# Where they agree and where not
# ------------------------------
#
# The continuum follows from the colours, and is nearly the same in all. Where a line lies and how
# strong it is do not: every candidate has lines at a redshift of its own. A mean or a median of all
# would wash them out, so one candidate stands for all: the one that is most like the others.

import numpy as np
from matplotlib import pyplot as plt

from photospec.figures import rgb_image
from photospec.spectrum import WAVELENGTH, to_arrays

figure, axes = plt.subplots(
    2, 2, figsize=(10, 5.2), width_ratios=[1, 3.4], sharex="col", layout="constrained"
)
for (left, right), image, drawn, i in zip(axes, images, candidates, chosen, strict=True):
    left.imshow(rgb_image(image), origin="lower")
    left.set_axis_off()
    low, high = np.percentile(to_arrays(drawn.spectra).flux, [16, 84], axis=0)
    right.fill_between(WAVELENGTH, low, high, alpha=0.35, linewidth=0, label="16 to 84 % of draws")
    right.plot(WAVELENGTH, batch.truth_flux[i], "tab:orange", linewidth=0.8, label="truth")
    best = to_arrays(drawn.best).flux[0]
    right.plot(WAVELENGTH, best, "black", linewidth=0.5, label="the one that stands for all")
    right.set(xlim=(4000, 8500), ylim=(0, None), ylabel="flux")
axes[0, 1].legend(fontsize=8)
axes[1, 1].set_xlabel("Observed wavelength in vacuum [Å]")
plt.show()

# %%
# As numbers
# ----------
#
# `~photospec.analysis.measure_candidates` measures all, and gives the values of the one that stands
# for all with the spread as error. Beside them what was put in:

from photospec.analysis import measure_candidates

for drawn, i in zip(candidates, chosen, strict=True):
    row = measure_candidates(drawn.spectra, drawn.best_index)[0]
    for name in ("redshift", "dn4000", "halpha_ew"):
        if np.ma.is_masked(row[name]):  # outside of the spectrum, or too faint
            print(f"{name:10} not measured        put in {batch.truth[name][i]:.4f}")
            continue
        value, error = (getattr(row[key], "value", row[key]) for key in (name, f"{name}_error"))
        print(f"{name:10} {value:8.4f} ± {error:.4f}   put in {batch.truth[name][i]:.4f}")
    print()
