"""
Files for specutils, Jdaviz and TOPCAT
======================================

Spectra and tables are written so that the programs of astronomy read them as they are.
"""

# sphinx_gallery_thumbnail_path = '_static/front-wide-light.png'

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
# ``SPECTRA`` has a row for each wavelength (in vacuum) and in it the fluxes of all galaxies,
# ``OBJECTS`` a row for each galaxy, ``META`` says how they came about.

from astropy.io import fits

with fits.open(folder / "spectra.fits") as hdus:
    hdus.info()

# %%
# They come back as they were, with `~photospec.spectrum.read_spectrum`:

from photospec.spectrum import read_spectrum

back = read_spectrum(folder / "spectra.fits")
back.flux.shape, back.spectral_axis[:3]

# %%
# specutils
# ---------
#
# One spectrum per galaxy, with the spread of the candidates as uncertainty:

from specutils import SpectrumList

for spectrum in SpectrumList.read(folder / "spectra.fits"):
    print(spectrum.flux.shape, spectrum.uncertainty[3000], spectrum.meta["flags"])

# %%
# Jdaviz
# ------
#
# Specviz opens the file:
#
# .. code-block:: text
#
#     from jdaviz import Specviz
#
#     specviz = Specviz()
#     specviz.load("spectra.fits", extension="*")
#     specviz.show()
#
# (A notebook's widgets do not work on this page: these lines did not run here.)

# %%
# The table, for TOPCAT
# ---------------------
#
# Units and descriptions of columns go with it. The ending chooses the format; ``photospec predict
# --table table.fits`` writes the same from the command line. (In VOTables astropy calls
# ``Angstrom`` and ``erg`` deprecated, for each column; it understands them.)

import warnings

from astropy.table import Table

from photospec.utils.tables import write_table

warnings.simplefilter("ignore", u.UnitsWarning)
for name in ("table.ecsv", "table.vot", "table.fits"):
    write_table(folder / name, table)
    read = Table.read(folder / name)
    print(name, len(read), "rows,", len(read.colnames), "columns,", read["halpha_flux"].unit)
print((folder / "table.ecsv").read_text()[:700])
