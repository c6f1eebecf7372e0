"""The gate and bands that are not there, images in counts, and pixels of another size."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData, StdDevUncertainty

from photospec.dust import band_extinction
from photospec.image import prepare_image

OTHERS = ("u", "g", "i", "z")


def test_an_absent_band_is_a_flag(galaxy, refused):
    whole = galaxy()
    image = NDData(whole.data[1:], unit=whole.unit, meta=whole.meta | {"bands": "griz"})
    found = prepare_image(image, may_miss=OTHERS)
    assert found.missing == ("u",)
    assert found.flags == ("missing_band_u",)
    assert np.isnan(found.data[0]).all()
    assert found.mask[0].all()
    np.testing.assert_array_equal(found.data[1:], prepare_image(whole).data[1:])
    refused(image, "no u; predictions need all bands")


@pytest.mark.parametrize("how", ["masked", "nan", "constant", "mostly bad", "no uncertainty"])
@pytest.mark.parametrize("scale", [0.396, 0.3])
def test_a_bad_band_is_a_missing_band(galaxy, refused, how, scale):
    image = galaxy(160, scale=scale)
    if how == "masked":
        image.mask = np.zeros(image.data.shape, bool)
        image.mask[0] = True
    elif how == "nan":
        image.data[0] = np.nan
    elif how == "constant":
        image.data[0] = 0.0
    elif how == "no uncertainty":
        sigma = np.full(image.data.shape, 0.01)
        sigma[0] = np.inf
        image.uncertainty = StdDevUncertainty(sigma)
    else:
        image.data[0, :81] = np.nan
    found = prepare_image(image, may_miss=OTHERS)
    assert found.missing == ("u",)
    assert found.flags == (*(["resampled"] if scale == 0.3 else []), "missing_band_u")
    assert np.isnan(found.data[0]).all()
    assert np.isfinite(found.data[1:]).all()
    refused(image, "band u", may_miss=("g", "i", "z"))


def test_not_every_band_may_be_missing(galaxy, refused):
    image = galaxy()
    image.mask = np.ones(image.data.shape, bool)
    refused(image, "expected numbers in one band at least, got none", may_miss="ugriz")
    refused(galaxy(bands=tuple("abcde")), "no u, g, r, i, z", may_miss="ugriz")


def test_integers_may_miss_a_band_too(galaxy):
    image = galaxy()
    data = (100 * image.data).astype(np.int16)[1:]
    image = NDData(data, unit="nmgy", meta=image.meta | {"bands": "griz"})
    assert prepare_image(image, may_miss="u").missing == ("u",)


def test_dust_of_bands_that_are_there(galaxy):
    meta = {"galactic_ebv": 0.2}
    whole, image = galaxy(meta=meta), galaxy(meta=meta)
    image.data[0] = np.nan
    found = prepare_image(image, may_miss=OTHERS)
    np.testing.assert_allclose(found.data[1:], prepare_image(whole).data[1:])
    own = prepare_image(whole, extinction=2 * band_extinction("ugriz"))
    once = prepare_image(galaxy(meta={"galactic_ebv": 0.0}))
    twice = prepare_image(whole).data / once.data
    np.testing.assert_allclose(own.data / once.data, twice**2, rtol=1e-5)
    dimmed = own.with_extinction(0.2)
    np.testing.assert_allclose(dimmed.data, once.data, rtol=1e-5)


@pytest.mark.parametrize("unit", [u.adu, u.ct, u.electron])
def test_counts_with_a_zero_point(galaxy, unit):
    known = galaxy()
    zero = np.array([24.0, 25.0, 25.0, 24.5, 23.0])
    counts = known.data * 10 ** (0.4 * (zero - 22.5))[:, None, None]
    for zero_point in (zero, list(zero)):
        image = NDData(counts, unit=unit, meta=known.meta | {"zero_point": zero_point})
        found = prepare_image(image, bands="zr")
        np.testing.assert_allclose(found.data, prepare_image(known, bands="zr").data, rtol=1e-5)
    one = NDData(known.data * 10**1.0, unit=unit, meta=known.meta | {"zero_point": 25.0})
    one.uncertainty = StdDevUncertainty(np.full(known.data.shape, 0.1))
    found = prepare_image(one)
    np.testing.assert_allclose(found.data, prepare_image(known).data, rtol=1e-5)
    np.testing.assert_allclose(found.uncertainty, 0.01, rtol=1e-5)


@pytest.mark.parametrize("zero_point", [None, "dark", [25.0, 24.0], np.nan, -999.0])
def test_counts_without_one_are_refused(galaxy, refused, zero_point):
    image = galaxy(unit="adu", meta={"zero_point": zero_point})
    refused(image, "zero_point")


@pytest.mark.parametrize(
    ("scale", "good"), [(0.21, True), (0.78, True), (0.19, False), (0.8, False)]
)
def test_pixels_within_a_factor(galaxy, refused, scale, good):
    image = galaxy(300, scale=scale)
    if good:
        assert prepare_image(image, max_resampling=2.0).flags == ("resampled",)
    else:
        refused(image, "expected 0.198 to 0.792 arcsec, got", max_resampling=2.0)
