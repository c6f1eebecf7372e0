"""
A catalogue of LSDB
===================

`LSDB <https://docs.lsdb.io>`_ works on catalogues of any size, piece by piece of the sky.
Predictions are columns that are added to such a catalogue, and computed only where they are asked
for.
"""

# sphinx_gallery_thumbnail_path = '_static/simulation_deep_colours.png'

# %%
# Pairs with positions
# --------------------
#
# Anything with images and positions is a catalogue; here a file of simulated pairs. :doc:`/survey`
# lists what else is.

import tempfile
from pathlib import Path

import numpy as np

from photospec.pairs import PairsFile, PairsWriter
from photospec.simulation import Survey
from photospec.spectrum import WAVELENGTH

folder = Path(tempfile.mkdtemp())
survey = Survey.sdss_main(seed=33)
batch = survey.simulate(40)
rng = np.random.default_rng(0)
places = {"ra": rng.uniform(150, 152, 40), "dec": rng.uniform(1, 3, 40)}
places |= {"identifier": np.arange(40), "redshift": batch.truth["redshift"]}
with PairsWriter(
    folder / "pairs.h5", survey.bands, survey.pixel_scale, WAVELENGTH, {"survey": survey.name}
) as writer:
    writer.append(batch.image, batch.flux, batch.ivar, object=places)
PairsFile(folder / "pairs.h5")

# %%
# Predictions, lazily
# -------------------

import dask

from photospec.survey import predict_catalogue

found = predict_catalogue(folder / "pairs.h5", what="photoz")
found.columns.tolist()

# %%
# A cut on a column that does not exist yet; computing makes it. Here in this process; a
# `~distributed.Client` before it would use all cores, or a cluster.

with dask.config.set(scheduler="synchronous"):
    table = found.query("redshift_mean > 0.1").compute()
table[["ra", "dec", "redshift_mean", "redshift_std"]].head()
