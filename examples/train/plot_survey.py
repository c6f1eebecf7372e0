"""
Simulate a survey
=================

Mock galaxies like those of the SDSS Main Galaxy Sample: images, fibre spectra, and every
parameter that went into them.
"""

# %%
# A survey is immutable and is branched by keyword.

from photospec.simulation import Survey

survey = Survey.sdss_main(seed=11)
batch = survey.simulate(128)
batch

# %%
# Images, as a person would look at them
# --------------------------------------

from astropy.nddata import NDData
from matplotlib import pyplot as plt

from photospec.figures import rgb_image

figure, axes = plt.subplots(3, 6, figsize=(9, 4.6), layout="constrained")
for image, panel in zip(batch.image, axes.flat, strict=False):
    panel.imshow(rgb_image(NDData(image, meta={"bands": survey.bands})), origin="lower")
    panel.set_axis_off()
plt.show()

# %%
# The truth
# ---------
#
# Old stars make the 4000 Å break, young ones the emission of H-alpha.

figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
points = axes.scatter(
    batch.truth["dn4000"], batch.truth["halpha_ew"], c=batch.truth["stellar_mass"], s=12
)
axes.set(xlabel="Dn4000", ylabel="EW(Hα) [Å]", yscale="symlog")
figure.colorbar(points, label=r"$\log_{10} M_\star / M_\odot$")
plt.show()
