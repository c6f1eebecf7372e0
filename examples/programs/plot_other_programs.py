"""
Files for specutils, Jdaviz and TOPCAT
======================================

Spectra and tables are written so that the programs of astronomy read them as they are.
"""

# %%
# Spectra and a table of two galaxies
# -----------------------------------

import tempfile
from pathlib import Path

from astropy import units as u
from astropy.nddata import NDData

from photospec import PhotoSpectrograph
from photospec.analysis import measure_properties
from photospec.image import NANOMAGGY
from photospec.simulation import Survey
from photospec.spectrum import write_spectra

folder = Path(tempfile.mkdtemp())
survey = Survey.sdss_main(seed=29)
batch = survey.simulate(2)
meta = {"bands": survey.bands, "pixel_scale": survey.pixel_scale * u.arcsec}
images = [NDData(data, unit=NANOMAGGY, meta=dict(meta)) for data in batch.image]
spectra = PhotoSpectrograph.load().predict(images, n_candidates=4, seed=0)
table = measure_properties(spectra)
write_spectra(folder / "spectra.fits", spectra)

# %%
# The spectra, in FITS
# --------------------
#
# One row per galaxy, wavelengths in vacuum, and a header that says how they came about.

from astropy.io import fits

with fits.open(folder / "spectra.fits") as hdus:
    hdus.info()

# %%
# They come back as they were, with `~photospec.spectrum.read_spectrum`:

from photospec.spectrum import read_spectrum

back = read_spectrum(folder / "spectra.fits")
back.flux.shape, back.spectral_axis[:3]

# %%
# Jdaviz
# ------
#
# Specviz opens the file, or takes the spectra from Python:
#
# .. code-block:: text
#
#     from jdaviz import Specviz
#
#     specviz = Specviz()
#     specviz.load(spectra, data_label="predicted")
#     specviz.show()
#
# (A notebook's widgets do not work on this page: these lines did not run here.)

# %%
# The table, for TOPCAT
# ---------------------
#
# Units and descriptions of columns go with it. ECSV keeps all; FITS and VOTable are what TOPCAT and
# STILTS read fastest. ``photospec predict --table table.fits`` writes them from the command line.

from astropy.table import Table

columns = ["redshift", "redshift_error", "dn4000", "halpha_flux", "halpha_ew", "bpt_class", "flags"]
for name in ("table.ecsv", "table.vot"):
    kind = {"ecsv": "ascii.ecsv", "vot": "votable"}[name.partition(".")[2]]
    Table(table[columns]).write(folder / name, format=kind, overwrite=True)
    read = Table.read(folder / name, format=kind)
    print(name, len(read), "rows,", read["halpha_flux"].unit)
print((folder / "table.ecsv").read_text()[:700])
