"""The same galaxy in other clothes: however an image comes, the same array must come out.

Every dress changes the form (order of bands, unit, kind of uncertainty, pixel scales,
orientation, place in a larger image) and nothing else.
"""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance, NDData, StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS

from photospec.image import prepare_image, read_image, write_image
from photospec.image.frames import cut, frame_of
from photospec.image.resample import resample

BANDS = ("u", "g", "r", "i", "z")
RNG = np.random.default_rng(11)
N = 80
# All bands differ in flux, noise and mask, and nothing is symmetric.
ROWS, COLUMNS = np.indices((N, N)) - N // 2
PROFILE = np.exp(-np.hypot(COLUMNS * 0.8 + ROWS * 0.6, (ROWS * 0.8 - COLUMNS * 0.6) / 0.5) / 4)
SIGMA = (0.01 * np.arange(1, 6))[:, None, None] * (1 + 0.1 * np.hypot(COLUMNS, ROWS) / N)
FLUX = np.arange(1, 6)[:, None, None] * PROFILE + SIGMA * RNG.standard_normal((5, N, N))
MASK = np.zeros((5, N, N), bool)
MASK[1, 30:33, 45:47] = True  # in one band only, off the centre
MASK[3, 50, 20:24] = True
META = {"bands": BANDS, "pixel_scale": 0.396 * u.arcsec}


def image(flux=FLUX, sigma=SIGMA, mask=MASK, unit="nmgy", **meta):
    uncertainty = sigma if not isinstance(sigma, np.ndarray) else StdDevUncertainty(sigma)
    return NDData(flux, unit=unit, uncertainty=uncertainty, mask=mask, meta=META | meta)


TRUTH = prepare_image(image())


def same(result, truth=TRUTH, rtol=2e-6):
    np.testing.assert_allclose(result.data, truth.data, rtol=rtol, atol=1e-6)
    np.testing.assert_array_equal(result.mask, truth.mask)
    np.testing.assert_allclose(result.uncertainty, truth.uncertainty, rtol=rtol)


def test_the_truth_is_what_went_in():
    inside = np.s_[:, 8:72, 8:72]
    good = ~MASK[inside]
    assert TRUTH.mask.sum() == MASK[inside].sum() == 10
    np.testing.assert_array_equal(TRUTH.mask, MASK[inside])
    np.testing.assert_array_equal(TRUTH.data[good], FLUX[inside].astype("f4")[good])
    np.testing.assert_array_equal(TRUTH.uncertainty[good], SIGMA[inside].astype("f4")[good])


@pytest.mark.parametrize("order", [[4, 3, 2, 1, 0], [2, 0, 4, 1, 3]])
def test_bands_in_another_order(order):
    bands = tuple(BANDS[index] for index in order)
    same(prepare_image(image(FLUX[order], SIGMA[order], MASK[order], bands=bands)))


def test_bands_wanted_in_another_order_and_fewer():
    result = prepare_image(image(), bands=("i", "g", "u"))
    order = [3, 1, 0]
    np.testing.assert_array_equal(result.data, TRUTH.data[order])
    np.testing.assert_array_equal(result.mask, TRUTH.mask[order])
    np.testing.assert_array_equal(result.uncertainty, TRUTH.uncertainty[order])


@pytest.mark.parametrize(
    "uncertainty",
    [
        VarianceUncertainty(SIGMA**2),
        InverseVariance(SIGMA**-2),
        StdDevUncertainty(SIGMA * 1e-9, unit=u.mgy),
        VarianceUncertainty(SIGMA**2 * 1e-18, unit=u.mgy**2),
        InverseVariance(SIGMA**-2 * 1e18, unit=u.mgy**-2),
    ],
)
def test_uncertainty_of_another_kind_and_unit(uncertainty):
    same(prepare_image(image(sigma=uncertainty)))


def test_uncertainty_of_one_number_for_each_band():
    sigma = SIGMA[:, :1, :1]
    result = prepare_image(image(sigma=np.broadcast_to(sigma, FLUX.shape)))
    same(prepare_image(image(sigma=sigma)), result)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("uJy", 3.631), ("nJy", 3631.0), ("mgy", 1e-9), ("nmgy / arcsec2", 1 / 0.396**2)],
)
def test_other_units(unit, factor):
    same(prepare_image(image(FLUX * factor, SIGMA * factor, unit=unit)))


def test_magnitudes_with_errors_in_magnitudes():
    flux = np.abs(FLUX) + 1.0
    truth = prepare_image(image(flux))
    magnitude, error = 22.5 - 2.5 * np.log10(flux), 2.5 / np.log(10) * SIGMA / flux
    uncertainty = StdDevUncertainty(error)
    same(prepare_image(image(magnitude, uncertainty, unit=u.mag(u.AB))), truth, rtol=3e-4)


def mark(kind):
    """Pixels of the mask marked by their uncertainty instead."""
    ivar = np.where(MASK, 0.0, SIGMA**-2)
    return {
        "ivar 0": InverseVariance(ivar),
        "ivar negative": InverseVariance(np.where(MASK, -1.0, ivar)),
        "ivar NaN": InverseVariance(np.where(MASK, np.nan, ivar)),
        "ivar tiny": InverseVariance(np.where(MASK, 1e-20, ivar)),
        "sigma 0": StdDevUncertainty(np.where(MASK, 0.0, SIGMA)),
        "sigma negative": StdDevUncertainty(np.where(MASK, -SIGMA, SIGMA)),
        "sigma infinite": StdDevUncertainty(np.where(MASK, np.inf, SIGMA)),
        "sigma NaN": StdDevUncertainty(np.where(MASK, np.nan, SIGMA)),
        "sigma huge": StdDevUncertainty(np.where(MASK, 1e10, SIGMA)),
        "variance negative": VarianceUncertainty(np.where(MASK, -1.0, SIGMA**2)),
    }[kind]


MARKS = [
    "ivar 0", "ivar negative", "ivar NaN", "ivar tiny", "sigma 0", "sigma negative",
    "sigma infinite", "sigma NaN", "sigma huge", "variance negative",
]  # fmt: skip


@pytest.mark.parametrize("kind", MARKS)
@pytest.mark.parametrize("hidden", [0.0, 500.0])
def test_mask_that_the_uncertainty_tells(kind, hidden):
    flux = np.where(MASK, hidden, FLUX)  # a saturated core, a bleeding star
    result = prepare_image(image(flux, mark(kind), mask=None))
    same(result)
    assert result.flags == TRUTH.flags
    # The same where pixels are changed.
    truth = prepare_image(image(flux), pixel_scale=0.5, size=48)
    again = prepare_image(image(flux, mark(kind), mask=None), pixel_scale=0.5, size=48)
    same(again, truth)
    assert again.mask.any()


def test_saturated_core_without_information_is_filled():
    core = np.zeros(FLUX.shape, bool)
    core[:, 39:42, 39:42] = True
    flux = np.where(core, 0.0, FLUX)
    uncertainty = InverseVariance(np.where(core, 0.0, SIGMA**-2))
    result = prepare_image(image(flux, uncertainty, mask=None))
    assert "masked_core" in result.flags
    same(result, prepare_image(image(flux, mask=core)))
    # Filled from around the core, not left at zero.
    ring = FLUX[4, 37:44, 37:44][~core[4, 37:44, 37:44]]
    assert result.data[4, 31:34, 31:34].min() > 0.5 * np.median(ring)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20, -1e30])
def test_values_that_are_no_flux_are_masked_like_any(value):
    from photospec.errors import PhotospecWarning

    with pytest.warns(PhotospecWarning, match="not finite"):
        same(prepare_image(image(np.where(MASK, value, FLUX), mask=None)))


# ---------------------------------------------------------------- place and orientation


def tan(n=N, scale=(0.396, 0.396), angle=0.0, center=(150.0, 2.0), shape=None):
    """Celestial WCS with the centre of pixel n // 2 at `center`, x pixels unlike y pixels."""
    wcs = WCS(naxis=2)
    turn = np.deg2rad(angle)
    matrix = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.pc = matrix * np.asarray(scale) / 3600
    wcs.wcs.cdelt = 1, 1
    nx, ny = (n, n) if shape is None else shape
    wcs.wcs.crpix = nx // 2 + 1, ny // 2 + 1
    wcs.wcs.crval = center
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    return wcs


def with_wcs(wcs, flux=FLUX, sigma=SIGMA, mask=MASK, **meta):
    return NDData(
        flux, unit="nmgy", wcs=wcs, mask=mask,
        uncertainty=StdDevUncertainty(sigma), meta={"bands": BANDS, **meta},
    )  # fmt: skip


@pytest.mark.parametrize("angle", [0, 30, 90, 180, 270])
def test_wcs_instead_of_a_scale(angle):
    same(prepare_image(with_wcs(tan(angle=angle))))


def test_part_of_a_larger_image():
    big = [np.pad(array, ((0, 0), (13, 40), (31, 9))) for array in (FLUX, SIGMA + 1e-9, MASK)]
    big[0] += np.pad(np.zeros(FLUX.shape), ((0, 0), (13, 40), (31, 9)), constant_values=7.0)
    big[1][big[1] == 0] = 0.1
    wcs = tan()
    wcs.wcs.crpix += 31, 13
    for name in ("position", "meta"):
        if name == "position":
            result = prepare_image(with_wcs(wcs, *big), position=(150.0, 2.0))
        else:
            result = prepare_image(with_wcs(wcs, *big, position=(150.0, 2.0)))
        np.testing.assert_array_equal(result.data, TRUTH.data)
        np.testing.assert_array_equal(result.mask, TRUTH.mask)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_by_right_angles(turns):
    """Turn the pixels about the target; the sky positions of pixels tell that all went along."""
    # An odd size has its target on the pixel about which it turns.
    small = np.s_[:, : N - 1, : N - 1]
    arrays = [np.rot90(a[small], turns, axes=(1, 2)) for a in (FLUX, SIGMA, MASK)]
    straight = prepare_image(image(FLUX[small], SIGMA[small], MASK[small]), size=63)
    turned = prepare_image(image(*arrays), size=63)
    back = [
        np.rot90(a, -turns, axes=(1, 2)) for a in (turned.data, turned.mask, turned.uncertainty)
    ]
    good = ~straight.mask
    np.testing.assert_array_equal(back[1], straight.mask)
    np.testing.assert_array_equal(back[0][good], straight.data[good])
    np.testing.assert_array_equal(back[2], straight.uncertainty)


# ---------------------------------------------------------------- other pixels


def gaussian(shape, scale, width=(2.0, 1.2), offset=(0.0, 0.0)):
    """Flux in each pixel of a Gaussian, exactly; widths in arcsec along x and y."""
    from scipy.special import erf

    shares = []
    for n, step, sigma, middle in zip(shape, scale, width, offset):
        edges = (np.arange(n + 1) - 0.5 - n // 2) * step - middle
        shares.append(np.diff(erf(edges / (np.sqrt(2) * sigma))) / 2)
    return 100 * np.outer(shares[1], shares[0])


SCALES = [(0.5, 0.3), (0.3, 0.5), (0.262, 0.262), (0.25, 0.396), (0.396, 0.6)]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("offset", [(0.0, 0.0), (3.0, -1.5)])
def test_unequal_pixel_scales(scale, offset):
    """A Gaussian on any pixels becomes the Gaussian on pixels of 0.396 arcsec, in place."""
    shape = tuple(int(40 / step) for step in scale)
    plane = gaussian(shape, scale, offset=offset)
    cube = plane * np.arange(1, 6)[:, None, None]
    data = NDData(cube, unit="nmgy", wcs=tan(scale=scale, shape=shape), meta={"bands": BANDS})
    ideal = gaussian((64, 64), (0.396, 0.396), offset=offset)
    result = prepare_image(data)
    for index in range(5):
        truth = (index + 1) * ideal
        np.testing.assert_allclose(result.data[index], truth, atol=5e-3 * truth.max())
        assert result.data[index].sum() == pytest.approx(truth.sum(), rel=1e-4)


def test_edges_of_resampled_pixels_lie_where_they_should():
    """Two old pixels are one new one: sums are known, and an offset of a quarter shows."""
    rng = np.random.default_rng(4)
    old = rng.uniform(1, 2, (1, 60, 60))
    bad = np.zeros(old.shape, bool)
    bad[0, 31, 17] = True
    new, mask, sigma, outside = resample(old, bad, np.ones(old.shape), (24.5, 30.5), (2, 2), 20)
    # The new pixel k holds old pixels 24.5 + 2 (k - 10) +- 1, that is 4 + 2k and 5 + 2k.
    blocks = old[0, 10:50, 4:44].reshape(20, 2, 20, 2).sum(axis=(1, 3))
    np.testing.assert_allclose(new[0], blocks, rtol=1e-10)
    expected = bad[0, 10:50, 4:44].reshape(20, 2, 20, 2).any(axis=(1, 3))
    np.testing.assert_array_equal(mask[0], expected)
    assert expected.sum() == 1
    np.testing.assert_allclose(sigma, 2, rtol=1e-10)
    assert not outside.any()


def test_axes_of_resampling_are_not_swapped():
    """Steps differ along x and y, mask and noise too: everything goes with its own axis."""
    old = np.arange(1.0, 1201.0).reshape(1, 40, 30)
    bad = np.zeros(old.shape, bool)
    bad[0, 22, :] = True  # a row
    sigma = np.broadcast_to(np.arange(1.0, 31.0), old.shape)  # along x
    new, mask, noise, outside = resample(old, bad, sigma, (14, 21), (1, 3), 10)
    block = old[0, 5:35, 9:19].reshape(10, 3, 10).sum(axis=1)
    np.testing.assert_allclose(new[0], block, rtol=1e-10)
    rows = bad[0, 5:35, 9:19].reshape(10, 3, 10).any(axis=1)
    np.testing.assert_array_equal(mask[0], rows)
    np.testing.assert_allclose(noise[0], np.sqrt(3) * sigma[0, :10, 9:19], rtol=1e-10)
    assert outside.shape == (10, 10)
    assert not outside.any()


def test_pixels_half_on_the_image():
    """A pixel is on the image if half of it is; it keeps the light of its part."""
    old = np.ones((1, 20, 30))
    data, mask, _, outside = resample(old, np.zeros(old.shape, bool), None, (14, 9), (2, 1), 20)
    # Along x new pixels reach from -7 + 2k to -5 + 2k, old ones from -0.5 to 29.5.
    low = -7.0 + 2 * np.arange(20)
    covered = np.clip(np.minimum(low + 2, 29.5) - np.maximum(low, -0.5), 0, None)
    rows = (np.arange(20) >= 1).astype(float)
    assert set(covered) == {0.0, 0.5, 1.5, 2.0}
    np.testing.assert_array_equal(outside, np.outer(rows, covered / 2) < 0.5)
    np.testing.assert_array_equal(mask[0], outside)
    expected = np.where(outside, 0, np.outer(rows, covered))
    np.testing.assert_allclose(data[0], expected, atol=1e-9)


# ---------------------------------------------------------------- files


def header(wcs=None, **cards):
    result = (tan() if wcs is None else wcs).to_header()
    result.update({"BUNIT": "nanomaggy", "BANDS": "ugriz", **cards})
    return result


def cube(path, error=None, mask=MASK, flux=FLUX, **cards):
    hdus = [fits.PrimaryHDU(flux, header(**cards))]
    if error is None:
        error = fits.ImageHDU(SIGMA, name="ERR")
    hdus.append(error)
    if mask is not None:
        hdus.append(fits.ImageHDU(mask.astype("u1"), name="MASK"))
    fits.HDUList(hdus).writeto(path)
    return path


def error_hdu(name, values, unit):
    hdu = fits.ImageHDU(values, name=name)
    if unit:
        hdu.header["BUNIT"] = unit
    return hdu


ERRORS = {
    "std": ("ERR", SIGMA, None),
    "std in uJy": ("UNCERT", SIGMA * 3.631, "uJy"),
    "std in Jy": ("SIGMA", SIGMA * 3.631e-6, "Jy"),
    "variance": ("VAR", SIGMA**2, None),
    "variance with the header of the data": ("VARIANCE", SIGMA**2, "nanomaggy"),
    "variance in uJy2": ("VARIANCE", (SIGMA * 3.631) ** 2, "uJy2"),
    "ivar": ("IVAR", SIGMA**-2, "1/nanomaggy^2"),
    "ivar in words": ("INVVAR", SIGMA**-2, "nanomaggies-2"),
    "ivar in nJy": ("IVAR", (SIGMA * 3631) ** -2.0, "nJy-2"),
    "ivar 0": ("IVAR", np.where(MASK, 0, SIGMA**-2), None),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_error_extensions_of_any_kind_and_unit(tmp_path, kind):
    mask = None if kind == "ivar 0" else MASK
    found = read_image(cube(tmp_path / "a.fits", error_hdu(*ERRORS[kind]), mask))
    np.testing.assert_allclose(found.uncertainty.array[~MASK], SIGMA[~MASK], rtol=1e-6)
    np.testing.assert_array_equal(found.mask, MASK)
    same(prepare_image(found))


def test_extensions_with_units_of_their_own(tmp_path):
    hdus = [fits.PrimaryHDU()]
    for index in (3, 0, 4, 2, 1):
        band = BANDS[index]
        hdus.append(fits.ImageHDU(FLUX[index], header(EXTNAME=band)))
        unit, factor = ("uJy", 3.631) if index % 2 else ("nanomaggy", 1.0)
        hdus.append(error_hdu(f"ERR_{band}", SIGMA[index] * factor, unit))
        hdus.append(fits.ImageHDU(MASK[index].astype("u1"), name=f"MASK_{band}"))
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    same(prepare_image(read_image(tmp_path / "a.fits")))
    chosen = read_image(tmp_path / "a.fits", bands="giz")
    np.testing.assert_allclose(chosen.uncertainty.array, SIGMA[[1, 3, 4]], rtol=1e-6)
    np.testing.assert_array_equal(chosen.mask, MASK[[1, 3, 4]])


def test_bands_chosen_from_a_cube_bring_their_own_mask_and_errors(tmp_path):
    path = cube(tmp_path / "a.fits")
    chosen = read_image(path, bands="zgi", size=40)
    inside = np.s_[[4, 1, 3], 20:60, 20:60]
    np.testing.assert_array_equal(chosen.data, FLUX[inside].astype("f4"))
    np.testing.assert_array_equal(chosen.uncertainty.array, SIGMA[inside])
    np.testing.assert_array_equal(chosen.mask, MASK[inside])


def test_cube_in_another_order(tmp_path):
    order = [2, 4, 0, 3, 1]
    path = cube(
        tmp_path / "a.fits", error_hdu("ERR", SIGMA[order], None), MASK[order], FLUX[order],
        BANDS="rzuig",
    )  # fmt: skip
    same(prepare_image(read_image(path)))


def test_unequal_scales_in_a_file(tmp_path):
    scale, shape = (0.5, 0.3), (80, 130)
    data = gaussian(shape, scale) * np.arange(1, 6)[:, None, None]
    path = tmp_path / "a.fits"
    hdu = fits.PrimaryHDU(data, header(tan(scale=scale, shape=shape)))
    hdu.header["BUNIT"] = "nanomaggy / arcsec2"
    hdu.data = data / (0.5 * 0.3)
    hdu.writeto(path)
    found = read_image(path)
    np.testing.assert_allclose(found.data, data, rtol=1e-6, atol=1e-12)
    ideal = gaussian((64, 64), (0.396, 0.396))
    np.testing.assert_allclose(prepare_image(found).data[0], ideal, atol=5e-3 * ideal.max())


def test_written_and_read(tmp_path):
    for name, given in (("scale", image()), ("wcs", with_wcs(tan(angle=90)))):
        write_image(tmp_path / f"{name}.fits", given)
        same(prepare_image(read_image(tmp_path / f"{name}.fits")))


@pytest.mark.parametrize("scale", [0.396, 0.36, 0.44])
def test_frames_of_other_pixels_keep_their_light(scale):
    """The ratio of pixel areas is put in the right way up, for data and errors."""

    def frame(step, shift, band):
        wcs = tan(120, (step, step))
        wcs.wcs.crpix += shift
        distance = (np.indices((120, 120)) - 60).T * step
        x, y = distance[..., 0] - shift * step, distance[..., 1] - shift * step
        light = 50 / (2 * np.pi * 1.5**2) * np.exp(-(x**2 + y**2) / (2 * 1.5**2)) * step**2
        header = wcs.to_header()
        header.update(FILTER=band, BUNIT="nanomaggy")
        sigma = fits.ImageHDU(np.full((120, 120), 0.1 * step**2), name="ERR")
        return frame_of(fits.HDUList([fits.PrimaryHDU(light, header), sigma]), "a.fits")

    from photospec.image.frames import Grid

    reference, other = frame(0.396, 0.0, "r"), frame(scale, 2.3, "g")
    grid = Grid.around(reference.wcs, 150.0, 2.0, 60)
    truth, truth_sigma = cut(reference, reference.wcs, grid)
    data, sigma = cut(other, reference.wcs, grid)
    assert truth.sum() == pytest.approx(50, rel=1e-6)
    assert data.sum() == pytest.approx(50, rel=1e-3)
    np.testing.assert_allclose(data, truth, atol=2e-3 * truth.max())
    np.testing.assert_allclose(sigma, truth_sigma, rtol=1e-4)


def test_box_of_a_frame_that_is_not_square():
    from photospec.image.frames import Frame

    frame = Frame("r", np.arange(12.0).reshape(3, 4), None, sigma=np.full((3, 4), 2.0))
    data, sigma = frame.box(1, 6, -1, 2)
    nan = np.nan
    np.testing.assert_array_equal(data, [[nan] * 5, [1, 2, 3, nan, nan], [5, 6, 7, nan, nan]])
    np.testing.assert_array_equal(np.isfinite(sigma), np.isfinite(data))
    assert np.isnan(frame.box(9, 12, 0, 2)[0]).all()


@pytest.mark.parametrize("unit", [u.nmgy, u.mgy])
def test_marks_among_values_are_seen_from_the_errors(unit):
    """-999 with the errors of its neighbours; the errors may be in another unit than the data."""
    flux = np.where(MASK, -999.0, FLUX)
    sigma = StdDevUncertainty((SIGMA * u.nmgy).to_value(unit), unit=unit)
    same(prepare_image(image(flux, sigma, mask=None)))
