"""
Four surveys look at the sky
============================

A survey is one description: bands, pixels, seeing, noise, fibres and which galaxies it selects.
Four are registered; yours is a few settings more, see :doc:`/simulation_surveys`.
"""

# %%
# What they are
# -------------

from photospec.simulation import SURVEYS, Survey

names = ("sdss_main", "desi_legacy", "hsc_wide", "lsst")
for name in names:
    survey = Survey.named(name)
    print(
        f"{name:12} {' '.join(survey.bands):12} {survey.pixel_scale:.3f} arcsec  {survey.size} px"
    )
sorted(SURVEYS)

# %%
# Galaxies as each sees them
# --------------------------
#
# Four galaxies of each, in its i, r and g.

from astropy.nddata import NDData
from matplotlib import pyplot as plt

from photospec.figures import rgb_image

figure, axes = plt.subplots(4, 4, figsize=(8, 8.4), layout="constrained")
for row, name in zip(axes, names, strict=True):
    survey = Survey.named(name, seed=35)
    batch = survey.simulate(4)
    for panel, image in zip(row, batch.image, strict=True):
        panel.imshow(rgb_image(NDData(image, meta={"bands": survey.bands})), origin="lower")
        panel.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
plt.show()

# %%
# Settings as a file
# ------------------
#
# Every number with its meaning; ``photospec simulate --survey mine.toml`` takes it.

import tempfile
from pathlib import Path

path = Path(tempfile.mkdtemp()) / "mine.toml"
Survey.named("desi_legacy").replace(name="mine", size=96).write(path)
print(path.read_text()[:1200], "...")
