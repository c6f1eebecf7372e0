"""
An image of your own
====================

What any image needs so that it can be used: a flux unit, the names of its bands, and a scale. All
else is settled at one gate, `~photospec.image.prepare_image`.
"""

# sphinx_gallery_thumbnail_path = '_static/real_images.jpg'

# %%
# The same galaxy in other clothes
# --------------------------------
#
# In nanojansky, with its bands from red to blue, and with errors:

import textwrap

import numpy as np
from astropy import units as u
from astropy.nddata import NDData, StdDevUncertainty

from photospec import PhotoSpectrograph
from photospec.image import NANOMAGGY, prepare_image
from photospec.simulation import Survey

survey = Survey.sdss_main(seed=22)
pixels = survey.simulate(1).image[0]
plain = NDData(
    pixels,
    unit=NANOMAGGY,
    meta={"bands": "ugriz", "pixel_scale": 0.396 * u.arcsec, "identifier": "galaxy 1"},
)

other = NDData(
    (pixels[::-1] * u.nmgy).to_value(u.nJy, u.zero_point_flux(3631 * u.Jy)),
    unit=u.nJy,
    uncertainty=StdDevUncertainty(np.full(pixels.shape, 100.0), unit=u.nJy),
    meta={"bands": "zirgu", "pixel_scale": 0.396 * u.arcsec, "identifier": "galaxy 1"},
)

spectrograph = PhotoSpectrograph.load()
for image in (plain, other):
    prepared = prepare_image(image, size=64, pixel_scale=0.396, bands=("u", "g", "r", "i", "z"))
    print(prepared.data.shape, prepared.data[:, 32, 32].round(2), prepared.flags)

# %%
# The same ``identifier`` draws the same noise, so the spectra can be compared:

first, second = (spectrograph.predict(image, n_candidates=2, seed=0) for image in (plain, other))
float(np.abs(second.flux / first.flux - 1).max())

# %%
# What is refused
# ---------------
#
# Nothing is guessed. An image that does not say what it is made of, or lacks what the weights need,
# is refused in one line that says what is missing:

from photospec.errors import InputError

wrong = {
    "no unit": NDData(pixels, meta=plain.meta),
    "no bands": NDData(pixels, unit=NANOMAGGY, meta={"pixel_scale": 0.396 * u.arcsec}),
    "no scale": NDData(pixels, unit=NANOMAGGY, meta={"bands": "ugriz"}),
    "no g": NDData(pixels[[0, 2, 3, 4]], unit=NANOMAGGY, meta=plain.meta | {"bands": "uriz"}),
    "counts": NDData(pixels, unit=u.ct, meta=plain.meta),
}
for name, image in wrong.items():
    try:
        spectrograph.predict(image)
    except InputError as error:
        print(textwrap.fill(f"{name}: {error}", 88), "\n")
    else:
        raise AssertionError(f"{name}: expected a refusal")

# %%
# The bundled weights can do without u, i or z: the result says that it did.

spectrograph.flags(NDData(pixels[1:], unit=NANOMAGGY, meta=plain.meta | {"bands": "griz"}))
