"""What the image gate refuses, in one line each."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import (
    NDData,
    StdDevUncertainty,
)


def test_refuses_what_is_no_image(refused):
    refused(np.zeros((5, 64, 64)), "image: expected an astropy NDData, got ndarray")
    refused(NDData(np.zeros((64, 64)), unit="nmgy"), "n_bands, ny, nx.*single band")
    refused(NDData(np.zeros((2, 5, 64, 64)), unit="nmgy"), "one galaxy at a time")
    refused(NDData(np.zeros((5, 0, 64)), unit="nmgy"), "expected shape")
    refused(NDData(np.full((5, 64, 64), 1j), unit="nmgy"), "real numbers")


def test_refuses_wrong_bands(galaxy, refused):
    refused(galaxy(bands=None), "meta.'bands'.*got none")
    refused(galaxy(bands="ugri"), "expected 4 bands")
    refused(galaxy(bands=("u", "g", "r", "i", "y")), "got u, g, r, i, y: no z")
    refused(galaxy(bands=("u", "g", "r", "i", "i")), "each band once")
    refused(galaxy(bands=7), "band names such as")
    refused(galaxy(bands=("u", "g", "r", "i", 7)), "got 7")
    refused(galaxy(bands=("u", "g", "r", "i", "../z")), "got '../z'")
    refused(galaxy(bands=()), r"got \(\)")
    image = galaxy()
    refused(NDData(image.data[1:], unit="nmgy", meta={**image.meta, "bands": "griz"}), "no u")
    last = NDData(np.moveaxis(image.data, 0, -1), unit="nmgy", meta=image.meta)
    refused(last, "bands come first, not last")
    refused(image, "expected bands u, VIS, got .*: no VIS", bands="u,VIS")


def test_refuses_wrong_units(galaxy, refused):
    image = galaxy()
    refused(NDData(image.data, meta=image.meta), "unit: expected a flux unit .* got none")
    for unit in ("", "adu", "electron / s", "m", "mag", u.mag(u.ct), "nmgy / s"):
        refused(galaxy(unit=u.Unit(unit)), "unit: expected a flux unit .*uncalibrated counts")


def test_refuses_unknown_pixel_scale(galaxy, refused):
    for scale in (None, 0.396, 0.396 * u.m, -1 * u.arcsec, np.nan * u.arcsec, [1, 2] * u.arcsec):
        image = galaxy()
        image.meta["pixel_scale"] = scale
        refused(image, "pixel_scale")


@pytest.mark.parametrize("scale", [0.396, 0.5])
def test_refuses_nothing_to_see(galaxy, refused, scale):
    image = galaxy(scale=scale)
    image.data[:] = np.nan
    refused(image, "got none in band u")
    image = galaxy(scale=scale)
    image.data[2] = np.nan
    refused(image, "got none in band r")
    image = galaxy(scale=scale)
    image.data[:] = 0
    refused(image, "got 0 in every pixel of band u")
    image = galaxy(scale=scale)
    image.data[4] = 0
    refused(image, "got 0 in every pixel of band z")
    image = galaxy(scale=scale)
    image.data[1, :, :60] = np.nan
    refused(image, "good pixels, got .* in band g")


def test_refuses_too_small_or_off_the_edge(galaxy, tan_wcs, refused):
    refused(galaxy(40), "of the crop on the image")
    refused(galaxy(16, scale=0.8), "of the crop on the image")
    wcs = tan_wcs()
    image = galaxy(wcs=wcs)
    refused(image, "of the crop on the image", position=wcs.pixel_to_world(2, 2))
    refused(image, "position: expected a position on", position=SkyCoord(10, 10, unit="deg"))
    refused(image, "position: expected a SkyCoord", position="here")
    refused(image, "position: .*swapped", position=(2.0, 150.0))
    refused(galaxy(), "image with a celestial WCS", position=(150.0, 2.0))


def test_refuses_broken_mask_and_uncertainty(galaxy, refused):
    refused(galaxy(mask=np.zeros((4, 96, 96), bool)), "image.mask")
    refused(galaxy(uncertainty=StdDevUncertainty(np.ones((7, 3)))), "image.uncertainty")
