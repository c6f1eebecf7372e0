"""The image gate: known images in, known arrays out; every bad image in one line."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDData,
    StdDevUncertainty,
    VarianceUncertainty,
)

from photospec.errors import PhotospecWarning
from photospec.image import prepare_image, read_image
from photospec.photometry.apertures import aperture_flux

BANDS = ("u", "g", "r", "i", "z")
COLOURS = np.array([1.0, 3.0, 6.0, 8.0, 10.0])


# ---------------------------------------------------------------- what goes through


def test_crop_keeps_pixels_and_puts_the_target_on_its_pixel(galaxy):
    image = galaxy()
    result = prepare_image(image)
    assert result.data.shape == (5, 64, 64)
    assert result.data.dtype == np.float32
    assert result.data.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(result.data, image.data[:, 16:80, 16:80])
    assert result.center == (32, 32)
    assert result.flags == ()
    assert not result.mask.any()
    assert np.unravel_index(result.data[2].argmax(), (64, 64)) == (32, 32)
    assert "ugriz" in repr(result)


def test_result_does_not_share_memory_with_the_input(galaxy):
    image = galaxy(64)
    result = prepare_image(image)
    result.data[:] = 0
    assert image.data.max() > 1


@pytest.mark.parametrize("spelling", ["ugriz", "u,g,r,i,z", list("UGRIZ"), ["SDSS_u", *"griz"]])
def test_band_spellings(galaxy, spelling):
    assert prepare_image(galaxy(bands=spelling)).bands == BANDS


def test_bands_are_put_in_order_and_chosen(galaxy):
    image = galaxy(bands="zirgu")
    np.testing.assert_array_equal(prepare_image(image).data, image.data[::-1, 16:80, 16:80])
    assert prepare_image(image, bands="gr").data.shape == (2, 64, 64)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("nmgy", 1),
        ("mgy", 1e9),
        ("Jy", 1e9 / 3631),
        ("uJy", 1e3 / 3631),
        ("erg / (s cm2 Hz)", 1e9 / 3631e-23),
        (u.AB, 1e9 * 3630.78 / 3631),
    ],
)
def test_units_per_frequency(galaxy, unit, factor):
    result = prepare_image(galaxy(unit=unit))
    np.testing.assert_allclose(result.data, prepare_image(galaxy()).data * factor, rtol=1e-5)


def test_unit_per_wavelength_uses_each_band(galaxy):
    result = prepare_image(galaxy(unit="erg / (s cm2 Angstrom)"))
    plain = prepare_image(galaxy()).data
    # f_nu = f_lambda lambda^2 / c at effective wavelengths of Doi et al. (2010)
    wavelength = np.array([3614.4, 4749.2, 6205.8, 7525.6, 8947.4])
    factor = wavelength**2 / 2.99792458e18 / 3631e-23 * 1e9
    np.testing.assert_allclose(
        result.data, plain * factor[:, None, None].astype(np.float32), rtol=1e-4
    )


def test_surface_brightness_uses_the_pixel_area(galaxy):
    result = prepare_image(galaxy(unit="nmgy / arcsec2"))
    np.testing.assert_allclose(result.data, prepare_image(galaxy()).data * 0.396**2, rtol=1e-5)
    result = prepare_image(galaxy(unit="MJy / sr"))
    factor = 1e6 * (0.396 / 206264.806) ** 2 * 1e9 / 3631
    np.testing.assert_allclose(result.data, prepare_image(galaxy()).data * factor, rtol=1e-5)


def test_magnitudes_become_flux(galaxy):
    image = galaxy(noise=0, width=12.0)
    magnitudes = 22.5 - 2.5 * np.log10(image.data)
    result = prepare_image(NDData(magnitudes, unit=u.mag(u.AB), meta=image.meta))
    np.testing.assert_allclose(result.data, prepare_image(image).data, rtol=2e-4)


def test_ccddata_goes_through_too(galaxy):
    image = galaxy()
    ccd = CCDData(image.data, unit="nmgy", meta=dict(image.meta))
    np.testing.assert_array_equal(prepare_image(ccd).data, prepare_image(image).data)


@pytest.mark.parametrize("dtype", [">f4", "i4", "f8", "u2"])
def test_number_types(galaxy, dtype):
    image = galaxy()
    data = (np.abs(image.data) * 1000).astype(dtype)
    result = prepare_image(NDData(data, unit="nmgy", meta=image.meta))
    np.testing.assert_allclose(result.data, data[:, 16:80, 16:80].astype("f4"))
    assert result.data.dtype == np.float32


@pytest.mark.parametrize(
    "uncertainty",
    [
        StdDevUncertainty(np.full((5, 96, 96), 2.0)),
        VarianceUncertainty(np.full((5, 96, 96), 4.0)),
        InverseVariance(np.full((5, 96, 96), 0.25)),
    ],
)
def test_uncertainty_of_any_class(galaxy, uncertainty):
    result = prepare_image(galaxy(unit="uJy", uncertainty=uncertainty))
    np.testing.assert_allclose(result.uncertainty, 2.0 * 1e3 / 3631, rtol=1e-4)


def test_position_and_wcs(galaxy, tan_wcs):
    wcs = tan_wcs()
    target = wcs.pixel_to_world(40.3, 55.8)
    image = galaxy(center=(40.3, 55.8), wcs=wcs)
    result = prepare_image(image, position=target)
    np.testing.assert_allclose(result.center, (32.3, 31.8), atol=1e-6)
    again = result.wcs.pixel_to_world(*result.center)
    assert again.separation(target) < 1e-6 * u.arcsec
    # the same in meta, in degrees, and as Galactic coordinates
    for position in ((target.ra.deg, target.dec.deg), target.galactic):
        np.testing.assert_allclose(
            prepare_image(image, position=position).center, (32.3, 31.8), atol=1e-6
        )
    image.meta["position"] = (target.ra.deg, target.dec.deg)
    np.testing.assert_allclose(prepare_image(image).center, (32.3, 31.8), atol=1e-6)


def test_wcs_has_precedence_over_meta_and_needs_no_cdelt(galaxy, tan_wcs):
    image = galaxy(wcs=tan_wcs(scale=0.8), scale=0.396)
    assert "resampled" in prepare_image(image).flags


def test_small_scale_difference_is_not_resampled(galaxy):
    image = galaxy(scale=0.3960127)
    np.testing.assert_array_equal(prepare_image(image).data, image.data[:, 16:80, 16:80])


@pytest.mark.parametrize("scale", [0.2, 0.262, 0.33, 0.5, 0.792])
def test_resampling_conserves_flux_and_position(gaussian, galaxy, tan_wcs, scale):
    """A Gaussian of 3 arcsec keeps total flux, aperture flux, width and place."""
    n, width = 160, 3.0 / scale
    center = (80.3, 79.6)
    image = galaxy(n, center=center, width=width, noise=0, wcs=tan_wcs(n, scale))
    target = image.wcs.pixel_to_world(*center)
    result = prepare_image(image, position=target)
    assert "resampled" in result.flags
    assert result.center == (32, 32)
    ideal = gaussian(64, 64, (32, 32), 3.0 / 0.396, 100.0)
    # cubic interpolation of the running sum: 0.1 % of the peak for a well sampled source
    np.testing.assert_allclose(result.data[0], ideal, atol=2e-3 * ideal.max())
    expected = COLOURS * aperture_flux(ideal[None], 4.0)
    np.testing.assert_allclose(aperture_flux(result.data, 4.0), expected, rtol=5e-4)
    closed_form = 100 * COLOURS * (1 - np.exp(-(4**2) / 18))
    np.testing.assert_allclose(expected, closed_form, rtol=3e-3)  # pixels blur a little
    assert result.wcs.pixel_to_world(32, 32).separation(target) < 1e-3 * u.arcsec
    # and the new WCS has the new scale in every direction
    assert result.wcs.pixel_to_world(32, 32).separation(
        result.wcs.pixel_to_world(42, 32)
    ).arcsec == pytest.approx(3.96, rel=1e-4)


def test_resampling_total_is_exact(galaxy):
    """Everything lies within the crop: not one per million is lost."""
    image = galaxy(48, width=3.0, noise=0, scale=0.5)
    with pytest.warns(PhotospecWarning, match="padded"):
        result = prepare_image(image)
    np.testing.assert_allclose(result.data.sum(axis=(1, 2)), 100 * COLOURS, rtol=1e-5)


def test_resampled_noise_and_uncertainty_agree():
    rng = np.random.default_rng(3)
    sigma = 0.1
    data = sigma * rng.normal(size=(5, 200, 200))
    uncertainty = StdDevUncertainty(np.full(data.shape, sigma))
    meta = {"bands": BANDS, "pixel_scale": 0.198 * u.arcsec}
    result = prepare_image(NDData(data, unit="nmgy", uncertainty=uncertainty, meta=meta))
    # two by two pixels in each new one: noise adds in quadrature
    np.testing.assert_allclose(np.median(result.uncertainty), 2 * sigma, rtol=0.1)
    np.testing.assert_allclose(result.data.std(), np.median(result.uncertainty), rtol=0.05)


# ---------------------------------------------------------------- bad pixels


def test_not_finite_pixels_are_masked_filled_and_reported(galaxy):
    image = galaxy()
    truth = image.data.copy()
    image.data[1, 40, 50] = np.nan
    image.data[3, 60:63, 60:63] = np.inf
    with pytest.warns(PhotospecWarning, match="not finite"):
        result = prepare_image(image)
    assert "masked_pixels" in result.flags
    assert "masked_core" not in result.flags
    expected = np.zeros((5, 96, 96), bool)
    expected[1, 40, 50] = True
    expected[3, 60:63, 60:63] = True
    np.testing.assert_array_equal(result.mask, expected[:, 16:80, 16:80])
    assert np.isfinite(result.data).all()
    # filled from the neighbours, others untouched
    good = ~result.mask
    np.testing.assert_array_equal(result.data[good], truth[:, 16:80, 16:80][good])
    assert result.data[1, 24, 34] == pytest.approx(truth[1, 40, 50], rel=0.15)


@pytest.mark.parametrize("scale", [0.396, 0.5])
def test_absurd_numbers_count_as_not_finite(galaxy, scale):
    image = galaxy(scale=scale)
    data = image.data.astype(float)
    data[2, 40, 40] = 1e300
    with pytest.warns(PhotospecWarning, match="not finite"):
        result = prepare_image(NDData(data, unit="nmgy", meta=image.meta))
    assert result.mask[2].any()
    assert np.abs(result.data).max() < 100


def test_given_mask_is_filled_without_warning(galaxy):
    image = galaxy()
    mask = np.zeros(image.data.shape, bool)
    mask[:, 47:50, 47:50] = True
    image.data[mask] = 1e6  # what hides under a mask must not leak
    image.mask = mask
    result = prepare_image(image)
    assert {"masked_pixels", "masked_core"} <= set(result.flags)
    truth = prepare_image(galaxy()).data
    assert result.data.max() < 1.05 * truth.max()
    np.testing.assert_allclose(result.data[4, 31:34, 31:34], truth[4, 31:34, 31:34], rtol=0.25)


def test_masked_pixels_do_not_leak_through_resampling(galaxy):
    image = galaxy(scale=0.5)
    mask = np.zeros(image.data.shape, bool)
    mask[2, 30:33, 30:33] = True
    image.data[mask] = np.nan
    image.mask = mask
    with pytest.warns(PhotospecWarning, match="not finite"):
        result = prepare_image(image)
    assert np.isfinite(result.data).all()
    assert result.mask[2].sum() >= 9
    assert not result.mask[[0, 1, 3, 4]].any()
    assert np.abs(result.data[2][result.mask[2]]).max() < 5


def test_nan_outside_the_crop_does_not_matter(galaxy):
    image = galaxy()
    image.data[:, :10] = np.nan
    assert prepare_image(image).flags == ()


def test_uncertainty_is_infinite_where_masked(galaxy):
    image = galaxy(uncertainty=StdDevUncertainty(np.full((5, 96, 96), 0.01)))
    image.data[0, 48, 20] = np.nan
    with pytest.warns(PhotospecWarning, match="not finite"):
        result = prepare_image(image)
    assert np.isinf(result.uncertainty[0, 32, 4])
    assert np.isfinite(result.uncertainty[result.mask == 0]).all()


@pytest.mark.parametrize("n", [48, 60, 63])
def test_small_image_is_padded_as_masked(galaxy, n):
    image = galaxy(n)
    with pytest.warns(PhotospecWarning, match="padded"):
        result = prepare_image(image)
    assert "padded" in result.flags
    assert "masked_pixels" not in result.flags
    start = 32 - n // 2
    inside = np.zeros((64, 64), bool)
    inside[start : start + n, start : start + n] = True
    np.testing.assert_array_equal(result.mask, np.broadcast_to(~inside, (5, 64, 64)))
    np.testing.assert_array_equal(result.data[:, inside].reshape(5, n, n), image.data)
    assert not result.data[:, ~inside].any()


def test_non_square_image(galaxy):
    image = galaxy(96)
    image = NDData(image.data[:, 10:, :], unit="nmgy", meta=image.meta)
    result = prepare_image(image)
    assert result.data.shape == (5, 64, 64)
    assert result.flags != ("padded",)


# ---------------------------------------------------------------- flags


def test_low_signal_flag(galaxy):
    assert prepare_image(galaxy(noise=0.01)).flags == ()
    image = galaxy(noise=50.0)
    assert "low_signal" in prepare_image(image).flags


def test_target_off_centre_flag(galaxy):
    assert "target_off_centre" in prepare_image(galaxy(center=(57, 48), width=2.0)).flags
    assert prepare_image(galaxy(center=(49, 48), width=2.0)).flags == ()


def test_real_images_pass_unflagged(shared):
    """35 real galaxies in the middle of their cutouts; two have a brighter neighbour."""
    paths = sorted((shared / "real" / "images").glob("*.fits"))
    results = [prepare_image(read_image(path)) for path in paths]
    assert len(results) > 20
    # none says its Galactic extinction
    assert all("galactic_ebv_assumed" in result.flags for result in results)
    flagged = [result for result in results if len(result.flags) > 1]
    assert len(flagged) <= 0.1 * len(results)
    for result in results:
        assert result.data.shape == (5, 64, 64)
        assert not result.mask.any()
        np.testing.assert_allclose(result.center, (32, 32), atol=1.0)
        assert result.meta["name"].startswith("sdss-")


# ---------------------------------------------------------------- Galactic extinction


def test_dust_of_the_milky_way_is_corrected(galaxy):
    from photospec.dust import band_extinction

    uncertainty = StdDevUncertainty(np.full((5, 96, 96), 0.1))
    plain = prepare_image(galaxy(uncertainty=uncertainty))
    for value in (0.2, np.float32(0.2), np.array(0.2), 0.2 * u.mag):
        result = prepare_image(galaxy(uncertainty=uncertainty, meta={"galactic_ebv": value}))
        factor = 10 ** (0.4 * 0.2 * band_extinction("ugriz"))[:, None, None]
        np.testing.assert_allclose(result.data, plain.data * factor, rtol=1e-5)
        np.testing.assert_allclose(result.uncertainty, plain.uncertainty * factor, rtol=1e-5)
        assert result.galactic_ebv == pytest.approx(0.2)
        assert (result.remaining_ebv, result.flags) == (0.0, ())
    decam = prepare_image(galaxy(meta={"galactic_ebv": 0.2, "camera": "DECam"}), bands="gri")
    ratio = decam.data[0] / plain.data[1]
    np.testing.assert_allclose(ratio, 10 ** (0.4 * 0.2 * 3.237), rtol=1e-5)


def test_unknown_dust_is_flagged_and_left(galaxy):
    result = prepare_image(galaxy(meta={"galactic_ebv": None}))
    np.testing.assert_array_equal(result.data, prepare_image(galaxy()).data)
    assert result.flags == ("galactic_ebv_assumed",)
    assert result.galactic_ebv == result.remaining_ebv == 0.03


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (-0.01, "from 0 to 5 mag, got -0.01"),
        (17.0, "from 0 to 5 mag, got 17"),
        (np.nan, "from 0 to 5 mag, got nan"),
        ([0.1, 0.2], "expected one number"),
        (np.array([0.1]), "expected one number"),
        ("0.1", "expected one number"),
        (True, "expected one number"),
        (0.1 * u.Jy, "expected E.B-V. in mag"),
    ],
)
def test_impossible_dust(galaxy, refused, value, match):
    refused(galaxy(meta={"galactic_ebv": value}), match)


def test_limit_of_the_sky_noise_is_one(galaxy):
    from photospec.image.resample import sky_noise, sky_noise_limit

    rng = np.random.default_rng(0)
    for data in (
        rng.normal(size=(5, 40, 40)),
        rng.standard_cauchy((5, 40, 40)),
        galaxy().data,
        np.ones((2, 9, 9)),
        rng.choice([0.0, 1.0], (3, 30, 30)),
    ):
        assert (sky_noise(data) <= sky_noise_limit(data)).all()
    # and lets most targets through without the exact one
    image = galaxy(noise=0.01).data
    assert image[2, 44:53, 44:53].sum() > 5 * 9 * sky_noise_limit(image)[2]
