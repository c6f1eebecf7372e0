"""
Galaxies on a field of the SDSS
===============================

A survey delivers fields, not cutouts: five files of some square arcminutes, one for each band.
Here two fields are drawn as the SDSS takes them, their galaxies are found with photutils, and each
gets a spectrum and a redshift.
"""

# %%
# Two fields
# ----------
#
# Simulated galaxies and some stars on the sky, with the seeing and the noise of the SDSS. With
# files of the archive, this section is not needed:
# ``frame-[ugriz]-002830-6-0398.fits.bz2`` are read as they are.

import tempfile
from pathlib import Path

import numpy as np
from astropy.convolution import Moffat2DKernel
from astropy.io import fits
from astropy.wcs import WCS

from photospec.simulation import Survey

folder = Path(tempfile.mkdtemp())
size, half = 560, 64
survey = Survey.sdss_main(seed=31).replace(size=2 * half)
batch = survey.simulate(12)


def draw_field(name, members, seed, centre):
    """Write five files of one field; return where its galaxies are, in pixels."""
    rng = np.random.default_rng(seed)
    field = np.zeros((5, size, size))
    # On a grid with jitter: no galaxy lies upon another.
    cells = rng.permutation(9)[: len(members)]
    x, y = 110 + 170 * (cells % 3), 110 + 170 * (cells // 3)
    x, y = x + rng.integers(-40, 41, len(x)), y + rng.integers(-40, 41, len(y))
    for member, i, j in zip(members, x, y, strict=True):
        field[:, j - half : j + half, i - half : i + half] += batch.truth_image[member]
    star = Moffat2DKernel(3.0, 3.2, x_size=81, y_size=81).array
    for i, j in rng.integers(41, size - 41, (14, 2)):
        colours = np.array([0.25, 0.7, 1.0, 1.15, 1.25]) ** rng.uniform(0.3, 1.6)
        brightness = 10 ** rng.uniform(0.6, 2.3)
        field[:, j - 40 : j + 41, i - 40 : i + 41] += brightness * colours[:, None, None] * star
    field += rng.normal(0, np.array(survey.noise.sky_rms)[:, None, None], field.shape)

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = centre, [size / 2, size / 2]
    wcs.wcs.cdelt = -survey.pixel_scale / 3600, survey.pixel_scale / 3600
    for band, data in zip(survey.bands, field, strict=True):
        header = wcs.to_header() + fits.Header({"FILTER": band, "BUNIT": "nanomaggy"})
        fits.writeto(folder / f"{name}-{band}.fits", data.astype("f4"), header)
    return field, wcs, np.column_stack([x, y])


fields = {
    "field1": draw_field("field1", range(6), 1, (185.73, 8.15)),
    "field2": draw_field("field2", range(6, 12), 2, (210.12, 2.71)),
}

# %%
# What is on them
# ---------------
#
# Sources of at least 5 pixels, 3 sigma above the sky of the r band; extended ones may be
# galaxies.

from matplotlib import pyplot as plt
from photutils.segmentation import SourceCatalog, detect_sources

from astropy.nddata import NDData
from photospec.figures import rgb_image

figure, axes = plt.subplots(1, 2, figsize=(10, 5.1), layout="constrained")
targets = {}
for (name, (field, wcs, _)), panel in zip(fields.items(), axes, strict=True):
    r = field[2]
    found = detect_sources(r, 3 * survey.noise.sky_rms[2], 5)
    catalogue = SourceCatalog(r, found)
    bright = catalogue.segment_flux > 10 ** (0.4 * (22.5 - 18.5))
    extended = catalogue.fwhm.value > 5.0  # pixels, as wide as two stars' images
    galaxies = catalogue[bright & extended]
    targets[name] = wcs.pixel_to_world(galaxies.x_centroid, galaxies.y_centroid)
    panel.imshow(rgb_image(NDData(field, meta={"bands": survey.bands})), origin="lower")
    panel.scatter(galaxies.x_centroid, galaxies.y_centroid, 300, "none", edgecolor="white")
    panel.set(title=f"{name}: {len(galaxies)} galaxies", xticks=[], yticks=[])
plt.show()

# %%
# Their spectra
# -------------
#
# The five files and a position are an image; the pixels around it are cut out and brought onto one
# grid. Many images go in one call.

from photospec import PhotoSpectrograph
from photospec.image import read_image

images = [
    read_image(sorted(folder.glob(f"{name}-*.fits")), position=position)
    for name, positions in targets.items()
    for position in positions
]
spectrograph = PhotoSpectrograph.load()
spectra = spectrograph.predict(images, n_candidates=4, seed=0)
spectra

# %%
# Their redshifts
# ---------------
#
# The density of the redshift of each, beside what was put in. Where no galaxy was put in, two stars
# lie upon each other: the flags say that no such image was in the training. A galaxy with the light
# of a neighbour upon it may be flagged as well.

density = spectrograph.redshift_density(images)
pixels = {name: where for name, (_, _, where) in fields.items()}
number = 0
for name, positions in targets.items():
    wcs = fields[name][1]
    members = list(range(6)) if name == "field1" else list(range(6, 12))
    for position in positions:
        distance = np.hypot(*(pixels[name] - np.array(wcs.world_to_pixel(position))).T)
        nearest = members[int(distance.argmin())]
        there = distance.min() < 4
        truth = f"put in {batch.truth['redshift'][nearest]:.3f}" if there else "no galaxy there"
        print(
            f"{name}  {position.to_string('decimal', precision=4)}  "
            f"z = {density.mean[number]:.3f} ± {density.std[number]:.3f}   {truth:15}   "
            f"{'; '.join(density.flags[number])}"
        )
        number += 1

# %%
# And one of the spectra, with the lines marked where its candidate has them:

from photospec.figures import plot_spectrum
from photospec.spectrum import WAVELENGTH, to_arrays

flux = to_arrays(spectra).flux
figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 3), width_ratios=[1, 3.2], layout="constrained"
)
left.imshow(rgb_image(images[0]), origin="lower")
left.set_axis_off()
plot_spectrum(right, WAVELENGTH, flux[0], redshift=spectra.meta["drawn_redshift"][0])
right.set_xlabel("Observed wavelength in vacuum [Å]")
right.set_ylabel(r"Flux [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$]")
plt.show()
