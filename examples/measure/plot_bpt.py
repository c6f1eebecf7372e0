"""
Star formation or a nucleus
===========================

The diagram of Baldwin, Phillips & Terlevich (1981) tells gas that young stars light from gas that
an active nucleus lights. Here for predicted spectra: one point is little, the cloud of candidates
is what an image knows.
"""

# %%
# Spectra from images
# -------------------

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

from photospec import PhotoSpectrograph
from photospec.image import NANOMAGGY
from photospec.simulation import Survey

survey = Survey.sdss_main(seed=28)
batch = survey.simulate(24)
emission = np.flatnonzero(batch.truth["halpha_ew"] > 3)[:6]
meta = {"bands": survey.bands, "pixel_scale": survey.pixel_scale * u.arcsec}
images = [NDData(batch.image[i], unit=NANOMAGGY, meta=dict(meta)) for i in emission]
drawn = PhotoSpectrograph.load().sample(images, n_candidates=8, seed=0)

# %%
# Their lines
# -----------

from photospec.analysis import measure_properties

tables = [measure_properties(one.spectra) for one in drawn]
tables[0]["redshift", "log_nii_ha", "log_oiii_hb", "bpt_class"]

# %%
# In the diagram
# --------------
#
# Curves of Kauffmann et al. (2003) and Kewley et al. (2001); a large point is what the galaxy has.

from matplotlib import pyplot as plt

from photospec.analysis import kauffmann03, kewley01

figure, axes = plt.subplots(figsize=(5.5, 4.6), layout="constrained")
x = np.linspace(-1.6, 0.4, 200)
axes.plot(x[x < 0], kauffmann03(x[x < 0]), "black", linestyle="--", label="Kauffmann et al. 2003")
axes.plot(x[x < 0.4], kewley01(x[x < 0.4]), "black", label="Kewley et al. 2001")
lines = ("nii_6584", "halpha", "oiii_5007", "hbeta")
truth = {name: batch.truth[f"{name}_flux"] for name in lines}
for number, (i, table) in enumerate(zip(emission, tables, strict=True)):
    # What cannot be measured is masked.
    ratios = (np.ma.asarray(table[name]) for name in ("log_nii_ha", "log_oiii_hb"))
    axes.plot(*(ratio.filled(np.nan) for ratio in ratios), ".", color=f"C{number}", alpha=0.6)
    with np.errstate(divide="ignore"):
        axes.plot(
            np.log10(truth["nii_6584"][i] / truth["halpha"][i]),
            np.log10(truth["oiii_5007"][i] / truth["hbeta"][i]),
            "o",
            color=f"C{number}",
            markersize=9,
            markeredgecolor="black",
        )
axes.set(
    xlim=(-1.6, 0.6),
    ylim=(-1.3, 1.3),
    xlabel="log [N II] 6584 / Hα",
    ylabel="log [O III] 5007 / Hβ",
)
axes.legend(loc="lower left", fontsize=8)
plt.show()
