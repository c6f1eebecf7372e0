"""
Redshift densities with qp and RAIL
===================================

`qp <https://qp.readthedocs.io>`_ is how the tools of LSST's DESC exchange densities of redshift;
`RAIL <https://lsstdescrail.readthedocs.io>`_ estimates, judges and stacks them. Ours become an
ensemble of qp in one call.
"""

# %%
# An ensemble
# -----------

import tempfile
from pathlib import Path

import numpy as np
import qp
from astropy import units as u
from astropy.nddata import NDData
from matplotlib import pyplot as plt

from photospec import PhotoSpectrograph
from photospec.image import NANOMAGGY
from photospec.simulation import Survey

survey = Survey.sdss_main(seed=27)
batch = survey.simulate(96)
meta = {"bands": survey.bands, "pixel_scale": 0.396 * u.arcsec}
images = [NDData(data, unit=NANOMAGGY, meta=dict(meta)) for data in batch.image]

ensemble = PhotoSpectrograph.load().redshift_density(images).to_qp()
ensemble

# %%
# All that qp knows can be asked of it:

grid = np.linspace(0, 0.4, 401)
print("medians ", ensemble.median()[:3, 0].round(4))
print("means   ", ensemble.ancil["zmean"][:3].round(4))
print("90 % end", ensemble.ppf(0.9)[:3, 0].round(4))

# %%
# To a file and back
# ------------------
#
# The file that ``photospec photoz --qp`` writes. Stages of RAIL take it as a ``QPHandle``:
#
# .. code-block:: text
#
#     from rail.core.data import QPHandle
#     from rail.core.stage import RailStage
#     from rail.estimation.algos.naive_stack import NaiveStackSummarizer
#
#     densities = RailStage.data_store.read_file("densities", QPHandle, "densities.hdf5")
#     stack = NaiveStackSummarizer.make_stage(zmin=0.0, zmax=0.6, nzbins=61, nsamples=20)
#     stacked = stack.summarize(densities)
#
# (RAIL is not among the packages of this documentation: these lines did not run here.)

path = Path(tempfile.mkdtemp()) / "densities.hdf5"
ensemble.write_to(str(path))
back = qp.read(str(path))
back.npdf, np.allclose(back.pdf(grid), ensemble.pdf(grid))

# %%
# The redshift distribution of the sample
# ---------------------------------------
#
# The mean of the densities, which is what naive stacking gives, beside the true redshifts.

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
axes.hist(
    batch.truth["redshift"],
    bins=20,
    range=(0, 0.4),
    density=True,
    alpha=0.4,
    label="true redshifts",
)
axes.plot(grid, ensemble.pdf(grid).mean(axis=0), color="black", label="mean of the densities")
axes.set(xlabel="redshift", ylabel="density", xlim=(0, 0.4))
axes.legend()
plt.show()
