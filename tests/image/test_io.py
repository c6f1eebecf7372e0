"""Reading images: cubes, extensions, frames of fields, and files that are none of these."""

import bz2
import gzip

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, NDData, VarianceUncertainty
from astropy.stats import sigma_clip
from astropy.wcs import WCS
from scipy.ndimage import center_of_mass

from photospec.errors import InputError
from photospec.image import prepare_image, read_image
from photospec.photometry.apertures import aperture_flux

RNG = np.random.default_rng(5)
CUBE = RNG.normal(size=(5, 70, 80)).astype(np.float32)


def wcs_header(scale=0.396, n=(80, 70), center=(150.0, 2.0), shift=(0.0, 0.0), angle=20.0):
    wcs = WCS(naxis=2)
    turn = np.deg2rad(angle)
    wcs.wcs.pc = (
        np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * scale / 3600
    )
    wcs.wcs.cdelt = 1, 1
    wcs.wcs.crpix = n[0] // 2 + 1 + shift[0], n[1] // 2 + 1 + shift[1]
    wcs.wcs.crval = center
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    return wcs.to_header()


def write_cube(path, data=CUBE, header=(), extra=(), **cards):
    hdu = fits.PrimaryHDU(data, fits.Header(header))
    hdu.header.update({"BANDS": "ugriz", "BUNIT": "nanomaggy", **cards})
    for name in [name for name, value in cards.items() if value is None]:
        del hdu.header[name]
    fits.HDUList([hdu, *extra]).writeto(path)
    return path


def refused(path, match, **kwargs):
    with pytest.raises(InputError, match=match) as caught:
        read_image(path, **kwargs)
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


# ---------------------------------------------------------------- cubes


def test_cube_with_wcs(tmp_path):
    path = write_cube(tmp_path / "a.fits", header=wcs_header())
    image = read_image(path)
    assert isinstance(image, NDData)
    np.testing.assert_array_equal(image.data, CUBE)
    assert image.data.dtype == np.float32
    assert image.unit == u.nmgy
    assert image.mask is None
    assert image.uncertainty is None
    assert image.meta["bands"] == ("u", "g", "r", "i", "z")
    assert image.meta["pixel_scale"].to_value("arcsec") == pytest.approx(0.396, rel=1e-6)
    assert image.meta["name"] == "a"
    np.testing.assert_allclose(image.wcs.wcs_pix2world([[40, 35]], 0), [[150, 2]])


def test_cube_with_nothing_but_a_scale_and_bands_from_the_caller(tmp_path):
    path = write_cube(tmp_path / "a.fits", BANDS=None, PIXSCALE=0.396, BUNIT="uJy")
    image = read_image(str(path), bands="ugriz")
    assert image.wcs is None
    np.testing.assert_allclose(image.data, CUBE * 1e3 / 3631, rtol=1e-6)


def test_bands_argument_chooses_where_the_header_names(tmp_path):
    path = write_cube(tmp_path / "a.fits", PIXSCALE=0.396)
    image = read_image(path, bands="rg")
    np.testing.assert_array_equal(image.data, CUBE[[2, 1]])
    assert image.meta["bands"] == ("r", "g")
    refused(write_cube(tmp_path / "b.fits", CUBE[:3], BANDS="gri", PIXSCALE=1), "z", bands="gz")


def test_size_cuts_around_the_target(tmp_path):
    header = wcs_header()
    path = write_cube(tmp_path / "a.fits", header=header)
    ra, dec = WCS(header).all_pix2world([[30.2, 40.1]], 0)[0]
    image = read_image(path, position=(ra, dec), size=20)
    np.testing.assert_array_equal(image.data, CUBE[:, 30:50, 20:40])
    np.testing.assert_allclose(image.wcs.all_world2pix([[ra, dec]], 0), [[10.2, 10.1]], atol=1e-6)
    assert image.meta["position"] == pytest.approx((ra, dec))
    refused(path, "size: expected", size=-3)


def test_position_cards_become_meta(tmp_path):
    path = write_cube(tmp_path / "a.fits", header=wcs_header(), RA_OBJ=150.001, DEC_OBJ=2.001)
    assert read_image(path).meta["position"] == (150.001, 2.001)


@pytest.mark.parametrize(
    ("name", "values"),
    [("ERR", 2.0), ("SIGMA", 2.0), ("IVAR", 0.25), ("VARIANCE", 4.0), ("UNCERT", 2.0)],
)
def test_uncertainty_and_mask_extensions(tmp_path, name, values):
    mask = np.zeros(CUBE.shape, np.int16)
    mask[1, 5, 6] = 4
    extra = [
        fits.ImageHDU(np.full(CUBE.shape, values), name=name),
        fits.ImageHDU(mask, name="MASK"),
    ]
    image = read_image(write_cube(tmp_path / "a.fits", extra=extra, PIXSCALE=0.396, BUNIT="mgy"))
    np.testing.assert_allclose(image.uncertainty.array, 2e9)
    assert image.mask.sum() == 1
    assert image.mask[1, 5, 6]


def test_ccddata_file(tmp_path):
    """What CCDData.write makes is read back, uncertainty and mask included."""
    ccd = CCDData(CUBE, unit="nmgy", meta={"BANDS": "ugriz", "PIXSCALE": 0.396})
    ccd.mask = CUBE > 3
    ccd.uncertainty = VarianceUncertainty(np.full(CUBE.shape, 9.0))
    ccd.write(tmp_path / "a.fits")
    image = read_image(tmp_path / "a.fits")
    np.testing.assert_array_equal(image.mask, CUBE > 3)
    np.testing.assert_allclose(image.uncertainty.array, 3)


def test_nan_is_masked(tmp_path):
    data = CUBE.copy()
    data[2, 3, 4] = np.nan
    image = read_image(write_cube(tmp_path / "a.fits", data, PIXSCALE=0.396))
    assert image.mask.sum() == 1
    assert image.mask[2, 3, 4]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed(tmp_path, suffix, pack):
    path = write_cube(tmp_path / "a.fits", PIXSCALE=0.396)
    packed = tmp_path / f"a.fits{suffix}"
    packed.write_bytes(pack(path.read_bytes()))
    np.testing.assert_array_equal(read_image(packed).data, CUBE)


def test_real_cube(shared):
    path = min((shared / "real" / "images").glob("*.fits"))
    image = read_image(path)
    assert image.data.shape == (5, 96, 96)
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(image.data, hdus[0].data)
        position = hdus[0].header["RA_OBJ"], hdus[0].header["DEC_OBJ"]
    assert image.meta["position"] == position
    # unit CDELT and a PC matrix: the scale is right all the same
    assert image.meta["pixel_scale"].to_value("arcsec") == pytest.approx(0.396, rel=2e-3)


# ---------------------------------------------------------------- extensions


def write_extensions(path, bands="ugriz", data=CUBE, key="EXTNAME", extra=(), **cards):
    hdus = [fits.PrimaryHDU()]
    for band, plane in zip(bands, data):
        hdu = fits.ImageHDU(plane, wcs_header())
        hdu.header.update({"BUNIT": "nanomaggy", key: band, **cards})
        hdus.append(hdu)
    fits.HDUList([*hdus, *extra]).writeto(path)
    return path


@pytest.mark.parametrize("key", ["EXTNAME", "FILTER", "BAND"])
def test_one_extension_per_band(tmp_path, key):
    image = read_image(write_extensions(tmp_path / "a.fits", key=key))
    np.testing.assert_array_equal(image.data, CUBE)
    assert image.meta["bands"] == tuple("ugriz")
    assert image.meta["pixel_scale"].to_value("arcsec") == pytest.approx(0.396)


def test_extensions_in_any_order_with_noise_and_masks(tmp_path):
    extra = [fits.ImageHDU(np.full((70, 80), 4.0), name=f"IVAR_{band}") for band in "zirgu"]
    extra.append(fits.ImageHDU((CUBE[2] > 2).astype("u1"), name="MASK_g"))
    path = write_extensions(tmp_path / "a.fits", "zgriu", extra=extra)
    image = read_image(path)
    assert image.meta["bands"] == tuple("zgriu")
    np.testing.assert_allclose(image.uncertainty.array, 0.5)
    np.testing.assert_array_equal(image.mask[1], CUBE[2] > 2)
    # the gate puts them in order
    ordered = prepare_image(image)
    np.testing.assert_array_equal(ordered.data[0][~ordered.mask[0]].max(), ordered.data[0].max())
    np.testing.assert_array_equal(ordered.data[4], CUBE[0, 3:67, 8:72])


def test_extensions_must_agree(tmp_path):
    hdus = [fits.PrimaryHDU()]
    for index, band in enumerate("ugriz"):
        hdu = fits.ImageHDU(CUBE[index], wcs_header(shift=(3.0 * index, 0)), name=band)
        hdu.header["BUNIT"] = "nanomaggy"
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(tmp_path / "shifted.fits")
    refused(tmp_path / "shifted.fits", "one pixel grid")
    hdus[2].header["BUNIT"] = "Jy"
    fits.HDUList(hdus).writeto(tmp_path / "units.fits")
    refused(tmp_path / "units.fits", "different units")
    refused(write_extensions(tmp_path / "twice.fits", "ugrir"), "two of r")
    refused(write_extensions(tmp_path / "names.fits", "abcde"), "extensions named by band")


# ---------------------------------------------------------------- frames


def star_field(shape, position, wcs, width=2.5, flux=100.0):
    x, y = wcs.all_world2pix([position], 0)[0]
    rows, columns = np.indices(shape)
    image = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2))
    return (flux / (2 * np.pi * width**2) * image).astype(np.float32)


def write_frames(folder, *, position=(150.0, 2.0), bands="ugriz", shape=(300, 280), **cards):
    """One frame per band, each shifted and turned a little, with a star at `position`."""
    for index, band in enumerate(bands):
        header = wcs_header(
            n=shape[::-1], shift=(4.3 * index, -2.6 * index), angle=20 + 0.02 * index
        )
        image = star_field(shape, position, WCS(header), flux=100.0 * (index + 1))
        hdu = fits.PrimaryHDU(image, header)
        hdu.header.update({"FILTER": band, "BUNIT": "nanomaggy", **cards})
        hdu.writeto(folder / f"frame-{band}-000001-1-0001.fits")
    return folder


def test_frames_are_put_on_the_grid_of_r(tmp_path):
    image = read_image(write_frames(tmp_path), position=SkyCoord(150.0, 2.0, unit="deg"))
    assert image.data.shape == (5, 96, 96)
    target = image.wcs.all_world2pix([[150.0, 2.0]], 0)[0]
    assert np.abs(target - 48).max() <= 0.5
    for index, plane in enumerate(image.data):
        y, x = center_of_mass(np.clip(plane, 0, None))
        np.testing.assert_allclose((x, y), target, atol=0.02)
        assert plane.sum() == pytest.approx(100 * (index + 1), rel=2e-3)
    flux = aperture_flux(image.data, 1.5, center=tuple(target))
    np.testing.assert_allclose(flux / flux[0], [1, 2, 3, 4, 5], rtol=3e-3)
    assert image.mask is None


def test_list_of_frames_and_size(tmp_path):
    write_frames(tmp_path, bands="gri")
    paths = sorted(tmp_path.glob("*.fits"))[::-1]
    image = read_image(paths, position=(150.0, 2.0), size=50, bands="ig")
    assert image.data.shape == (2, 50, 50)
    assert image.meta["bands"] == ("i", "g")


def test_frames_of_bands_of_any_name(tmp_path):
    write_frames(tmp_path, bands=("W1", "z", "VIS", "g"))
    image = read_image(tmp_path, position=(150.0, 2.0), size=40)
    assert image.meta["bands"] == ("g", "z", "VIS", "W1")
    np.testing.assert_allclose(image.data.sum(axis=(1, 2)), [400, 200, 300, 100], rtol=2e-3)


def test_position_near_the_edge_of_frames_is_masked(tmp_path):
    write_frames(tmp_path)
    wcs = WCS(fits.getheader(tmp_path / "frame-r-000001-1-0001.fits"))
    edge = wcs.all_pix2world([[12, 150]], 0)[0]
    image = read_image(tmp_path, position=edge)
    assert image.mask[:, :, :25].all()
    assert not image.mask[:, :, 55:].any()


def test_frames_refused(tmp_path):
    write_frames(tmp_path)
    refused(tmp_path, "position: expected the sky position")
    refused(tmp_path, "is it another field", position=(10.0, 2.0))
    (tmp_path / "frame-z-000001-1-0001.fits").unlink()
    refused(tmp_path, "z; is the folder complete", position=(150, 2), bands="ugriz")
    write_frames(tmp_path, bands="z", BUNIT="adu")
    refused(tmp_path, "is no flux|flux unit", position=(150, 2))
    (tmp_path / "frame-z-000001-1-0001.fits").unlink()
    write_frames(tmp_path, bands="z", FILTER="r")
    refused(tmp_path, "two of r", position=(150, 2))
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(empty, "got none in")
    refused([], "empty list")


def test_real_frames_give_the_real_cubes(shared):
    """Cubes that were cut from a field which is here as frames: same place, same flux."""
    fields = {path.name: path for path in (shared / "real" / "fields").iterdir()}
    cubes = [
        path
        for path in sorted((shared / "real" / "images").glob("*.fits"))
        if path.name[5:18] in fields
    ]
    assert cubes
    # One field only: unpacking takes seconds.
    field = cubes[0].name[5:18]
    for path in [path for path in cubes if path.name[5:18] == field][:3]:
        cube = read_image(path)
        image = read_image(fields[field], position=cube.meta["position"])
        ours = np.array(image.wcs.all_world2pix([cube.meta["position"]], 0)[0])
        theirs = np.array(cube.wcs.all_world2pix([cube.meta["position"]], 0)[0])
        np.testing.assert_allclose(ours, theirs, atol=0.01)
        for radius in (1.5, 3.0):
            a = aperture_flux(image.data, radius, center=tuple(ours))
            b = aperture_flux(cube.data, radius, center=tuple(theirs))
            np.testing.assert_allclose(a, b, rtol=1e-3)
        for plane, reference in zip(image.data[1:4], cube.data[1:4]):
            box = np.s_[40:57, 40:57]
            np.testing.assert_allclose(
                center_of_mass(np.clip(plane[box], 0, None)),
                center_of_mass(np.clip(reference[box], 0, None)),
                atol=0.1,
            )
        # The noise that the frames tell is the one they show: in r, which is not interpolated
        # (but rounded to few digits, so no medians); others are smoother for it.
        told = np.median(image.uncertainty.array, axis=(1, 2))
        sky = sigma_clip(image.data, sigma=2.5, axis=(1, 2), masked=True).std(axis=(1, 2))
        assert told[2] == pytest.approx(sky[2], rel=0.25)
        np.testing.assert_allclose(told, sky, rtol=0.4)


# ---------------------------------------------------------------- files that are none


def test_refuses_missing_and_foreign_files(tmp_path):
    refused(tmp_path / "no.fits", "does not exist")
    (tmp_path / "empty.fits").write_bytes(b"")
    refused(tmp_path / "empty.fits", "empty file")
    (tmp_path / "text.fits").write_text("this is no FITS file\n" * 300)
    refused(tmp_path / "text.fits", "another kind of file")
    (tmp_path / "image.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(4000))
    refused(tmp_path / "image.jpg", "another kind of file")
    (tmp_path / "a.fits.bz2").write_bytes(b"no bzip2")
    refused(tmp_path / "a.fits.bz2", "cannot be read")
    fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])]).writeto(tmp_path / "t.fits")
    refused(tmp_path / "t.fits", "is it a table")
    fits.PrimaryHDU().writeto(tmp_path / "header.fits")
    refused(tmp_path / "header.fits", "expected an image, got none")


@pytest.mark.parametrize("fraction", [0.001, 0.02, 0.3, 0.7, 0.99, 0.9999])
def test_refuses_truncated_files(tmp_path, fraction):
    path = write_cube(tmp_path / "a.fits", np.tile(CUBE, (1, 2, 2)), header=wcs_header())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * fraction)])
    refused(path, "cannot be read|got none")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_refuses_truncated_compressed_files(tmp_path, pack):
    whole = pack(write_cube(tmp_path / "a.fits", PIXSCALE=0.4).read_bytes())
    path = tmp_path / ("b.fits.gz" if pack is gzip.compress else "b.fits.bz2")
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "cannot be read")


def test_refuses_cubes_that_do_not_say_what_they_are(tmp_path):
    refused(write_cube(tmp_path / "1.fits", BANDS=None, PIXSCALE=0.4), "bands: expected the card")
    refused(write_cube(tmp_path / "2.fits", BUNIT=None, PIXSCALE=0.4), "unit: expected .* got none")
    refused(write_cube(tmp_path / "3.fits", BUNIT="adu", PIXSCALE=0.4), "uncalibrated")
    refused(write_cube(tmp_path / "4.fits", BUNIT="blobs", PIXSCALE=0.4), "got 'blobs'")
    refused(write_cube(tmp_path / "5.fits"), "pixel_scale: expected")
    refused(write_cube(tmp_path / "6.fits", BANDS="ugri", PIXSCALE=0.4), "expected 4 bands")
    refused(write_cube(tmp_path / "7.fits", BANDS="g,r,i,,z", PIXSCALE=0.4), "got ''")
    last = np.moveaxis(CUBE, 0, -1)
    refused(write_cube(tmp_path / "8.fits", last, PIXSCALE=0.4), "bands come first, not last")
    refused(write_cube(tmp_path / "9.fits", CUBE[0], PIXSCALE=0.4), "single band")


@pytest.mark.parametrize(
    "unit", ["nanomaggy", "nanomaggies", "nMgy", "NANOMAGGIES", "nmgy/pixel", "nanomaggy / pix"]
)
def test_spellings_of_nanomaggy(tmp_path, unit):
    image = read_image(write_cube(tmp_path / "a.fits", BUNIT=unit, PIXSCALE=0.396))
    np.testing.assert_array_equal(image.data, CUBE)


@pytest.mark.filterwarnings("ignore::photospec.errors.PhotospecWarning")
def test_random_damage_is_read_or_refused(tmp_path):
    """Overwrite bytes at random, half of the time in the header only: never a traceback."""
    rng = np.random.default_rng(1)
    extra = [fits.ImageHDU(np.ones(CUBE.shape, "f4"), name="ERR")]
    whole = write_cube(tmp_path / "a.fits", extra=extra, PIXSCALE=0.396).read_bytes()
    path = tmp_path / "b.fits"
    refusals = []
    for trial in range(60):
        broken = bytearray(whole)
        for place in rng.integers(0, 2880 if trial % 2 else len(whole), rng.integers(1, 30)):
            broken[place] = rng.integers(0, 256)
        path.write_bytes(broken)
        try:
            prepare_image(read_image(path))
        except InputError as error:
            refusals.append(str(error))
    assert 10 < len(refusals) < 60
    assert not any("\n" in text for text in refusals)


@pytest.mark.parametrize("name", ["WHT", "WEIGHT", "weight_map"])
def test_pixels_without_weight_are_masked(tmp_path, name):
    """Weight maps (drizzle, SWarp) are known up to a factor, but zero is zero."""
    weight = np.full(CUBE.shape, 730.0, "f4")
    weight[:, 10:14, 20:23] = 0
    weight[1, 40, 40] = np.nan
    path = write_cube(tmp_path / "a.fits", extra=[fits.ImageHDU(weight, name=name)], PIXSCALE=0.396)
    image = read_image(path)
    assert np.array_equal(image.mask, ~(weight > 0))
    assert image.uncertainty is None


@pytest.mark.parametrize("name", ["UNCERT", "MASK", "IVAR"])
def test_extensions_of_another_shape_are_refused(tmp_path, name):
    """An image cut without its errors: nobody knows to which pixels they belong."""
    other = fits.ImageHDU(np.ones((5, 50, 60), "f4"), name=name)
    path = write_cube(tmp_path / "a.fits", extra=[other], PIXSCALE=0.396)
    with pytest.raises(InputError, match=f"extension '{name}'.*50, 60.*cut without it"):
        read_image(path)
    planes = [fits.ImageHDU(CUBE[i], header=wcs_header(), name=band) for i, band in enumerate("gr")]
    for plane in planes:
        plane.header["BUNIT"] = "nanomaggy"
    other = fits.ImageHDU(np.ones((50, 60), "f4"), name=f"{name}_g")
    fits.HDUList([fits.PrimaryHDU(), *planes, other]).writeto(tmp_path / "b.fits")
    with pytest.raises(InputError, match=r"50, 60.*cut without it"):
        read_image(tmp_path / "b.fits")


def test_errors_of_some_bands_say_which_pixels_are_bad(tmp_path):
    planes = [fits.ImageHDU(CUBE[i], header=wcs_header(), name=band) for i, band in enumerate("gr")]
    for plane in planes:
        plane.header["BUNIT"] = "nanomaggy"
    ivar = np.full(CUBE.shape[1:], 4.0, "f4")
    ivar[7, 9] = 0
    planes.append(fits.ImageHDU(ivar, name="IVAR_r"))
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "a.fits")
    image = read_image(tmp_path / "a.fits")
    assert image.uncertainty is None
    assert np.argwhere(image.mask).tolist() == [[1, 7, 9]]


def test_variances_per_wavelength(tmp_path):
    """A flux density per wavelength, squared, beside one per wavelength."""
    variance = fits.ImageHDU(np.full(CUBE.shape, 4e-40), name="VAR")
    variance.header["BUNIT"] = "W2/m6"
    path = write_cube(
        tmp_path / "a.fits", 1e-19 * CUBE, extra=[variance], BUNIT="W/m3", PIXSCALE=0.4
    )
    image = read_image(path)
    ratio = image.uncertainty.array / np.abs(image.data)
    np.testing.assert_allclose(ratio, 2e-20 / np.abs(1e-19 * CUBE), rtol=1e-5)


def test_variances_of_surface_brightness(tmp_path):
    """Per square arcsec, squared, beside pixels of 0.16 of them."""
    variance = fits.ImageHDU(np.full(CUBE.shape, 0.25), name="VAR")
    variance.header["BUNIT"] = "nmgy2/arcsec4"
    path = write_cube(tmp_path / "a.fits", extra=[variance], BUNIT="nmgy/arcsec2", PIXSCALE=0.4)
    image = read_image(path)
    np.testing.assert_allclose(image.data, 0.16 * CUBE, rtol=1e-5)
    np.testing.assert_allclose(image.uncertainty.array, 0.08, rtol=1e-5)


def test_the_first_band_speaks_for_the_file(tmp_path):
    planes = [fits.ImageHDU(CUBE[i], header=wcs_header(), name=band) for i, band in enumerate("gr")]
    for plane, ra in zip(planes, (150.0, 150.002), strict=True):
        plane.header.update({"BUNIT": "nanomaggy", "RA_OBJ": ra, "DEC_OBJ": 2.0})
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "a.fits")
    assert read_image(tmp_path / "a.fits").meta["position"] == (150.0, 2.0)
