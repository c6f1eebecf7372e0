"""Images written and read again, band names of any survey, headers that make no sense."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance, NDData, StdDevUncertainty
from astropy.wcs import WCS

from photospec.errors import InputError
from photospec.image import band_names, prepare_image, read_image, write_image

CUBE = np.random.default_rng(8).normal(size=(3, 70, 66)).astype("f4")


def image(**kwargs):
    meta = {
        "bands": ("g", "VIS", "W1"), "pixel_scale": 0.396 * u.arcsec, "galactic_ebv": 0.12,
        "name": "NGC 1", "run": 1043, "specobjid": 2**64 - 1, "note": ["a", {"b": 1.5}],
        "nothing": None, "array": np.arange(3), "date": "2001-01-01", "callable": print,
        **kwargs.pop("meta", {}),
    }  # fmt: skip
    mask = np.zeros(CUBE.shape, bool)
    mask[1, 4, 5] = True
    sigma = StdDevUncertainty(np.abs(CUBE) + np.float32(0.1))
    options = {"unit": "nmgy", "mask": mask, "uncertainty": sigma, "meta": meta}
    return NDData(CUBE, **options | kwargs)


def test_everything_comes_back(tmp_path):
    given = image()
    write_image(tmp_path / "new" / "a.fits", given)
    back = read_image(tmp_path / "new" / "a.fits")
    np.testing.assert_array_equal(back.data, given.data)
    assert back.data.dtype == np.float32
    np.testing.assert_array_equal(back.mask, given.mask)
    np.testing.assert_array_equal(back.uncertainty.array, given.uncertainty.array)
    assert back.unit == u.nmgy
    assert back.meta["bands"] == ("g", "VIS", "W1")
    assert back.meta["pixel_scale"].to_value("arcsec") == 0.396
    for key in ("galactic_ebv", "name", "run", "specobjid", "note", "nothing", "date"):
        assert back.meta[key] == given.meta[key]
    assert back.meta["array"] == [0, 1, 2]
    assert "callable" not in back.meta
    assert "position" not in back.meta
    assert back.wcs is None
    prepared = prepare_image(back, bands="W1,g", size=48)
    clear = CUBE[0, 11:59, 9:57] * 10 ** (0.4 * 0.12 * 3.303)  # of Galactic dust
    np.testing.assert_allclose(prepared.data[1], clear, rtol=1e-5)
    assert repr(prepared).startswith("<ImageArray W1,g, 48 x 48")


def test_units_kinds_and_place_come_back_in_this_package_s_form(tmp_path):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150, 2], [34, 36]
    wcs.wcs.cdelt = -0.3 / 3600, 0.3 / 3600
    ivar = InverseVariance(np.full(CUBE.shape, 1 / 3.631**2, "f4"))
    given = image(unit="uJy", wcs=wcs, uncertainty=ivar, meta={"position": (150.0001, 2.0002)})
    write_image(tmp_path / "a.fits", given)
    with fits.open(tmp_path / "a.fits") as hdus:
        assert hdus[0].header["BUNIT"] == "nanomaggy"
        assert hdus[0].header["BANDS"] == "g,VIS,W1"
        assert hdus[0].header["GAL_EBV"] == 0.12
        assert hdus[0].verify_datasum() == 1
        assert [hdu.name for hdu in hdus[1:]] == ["UNCERT", "MASK", "META"]
    back = read_image(tmp_path / "a.fits")
    np.testing.assert_allclose(back.data, CUBE / 3.631, rtol=1e-6)
    np.testing.assert_allclose(back.uncertainty.array, 1, rtol=1e-6)
    assert back.meta["position"] == pytest.approx((150.0001, 2.0002), abs=1e-9)
    x, y = back.wcs.world_to_pixel_values(150, 2)
    assert (x, y) == (pytest.approx(33, abs=1e-6), pytest.approx(35, abs=1e-6))
    assert back.meta["pixel_scale"].to_value("arcsec") == pytest.approx(0.3, rel=1e-6)


def test_without_mask_and_uncertainty(tmp_path):
    given = image(mask=None, uncertainty=None)
    write_image(tmp_path / "a.fits", given)
    back = read_image(tmp_path / "a.fits")
    assert back.mask is None
    assert back.uncertainty is None


def test_an_existing_file_is_replaced_on_demand(tmp_path):
    path = tmp_path / "a.fits"
    write_image(path, image())
    with pytest.raises(InputError, match="expected a new file"):
        write_image(path, image())
    write_image(path, image(meta={"run": 7}), overwrite=True)
    assert read_image(path).meta["run"] == 7
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (CUBE, "image: expected an astropy NDData"),
        (NDData(CUBE[0], unit="nmgy"), r"of shape \(70, 66\)"),
        (image(meta={"bands": None}), "meta.'bands'.*got none"),
        (image(meta={"bands": "gr"}), "expected 2 bands"),
        (image(meta={"pixel_scale": None}), "pixel_scale"),
        (image(unit="adu"), "uncalibrated"),
    ],
)
def test_refuses_what_says_too_little(tmp_path, wrong, match):
    with pytest.raises(InputError, match=match):
        write_image(tmp_path / "a.fits", wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("ugriz", "u g r i z"),
        ("UGRIZ", "u g r i z"),
        ("u, g;r", "u g r"),
        (["SDSS_u", "sdss-Z", "SDSS.g", "sdssr"], "u z g r"),
        ("grzY", "g r z Y"),
        ("YJHK", "Y J H K"),
        ("VIS", "VIS"),
        ("VIS Y J H", "VIS Y J H"),
        ("g,W1,W2", "g W1 W2"),
        (("decam2014-g", b"F814W", "NB_921"), "decam2014-g F814W NB_921"),
        ("U,B,V,R,I", "U B V R I"),
        ("NUV", "NUV"),
        ("rr", "rr"),
    ],
)
def test_band_names(given, names):
    assert band_names(given) == tuple(names.split())


@pytest.mark.parametrize("given", ["", (), 7, None, ("g", 7), ("g", ""), ("g", "a b"), ("g", "g")])
def test_names_that_are_none(given):
    with pytest.raises(InputError, match="bands: expected"):
        band_names(given)


def extension(band, key="EXTNAME", shape=(70, 66), **cards):
    hdu = fits.ImageHDU(np.random.default_rng(1).normal(size=shape).astype("f4"))
    hdu.header.update({"BUNIT": "nanomaggy", "PIXSCALE": 0.4, key: band, **cards})
    return hdu


def test_extensions_of_other_surveys(tmp_path):
    hdus = [
        extension("vis"), extension("W1"), extension("r DECam SDSS c0002 6415.0 1480.0", "FILTER"),
        extension("F814W", "FILTER"), extension("PSF", shape=(9, 9)), extension("SEGMENTATION"),
        extension("MYBAND"),
    ]  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "a.fits")
    assert read_image(tmp_path / "a.fits").meta["bands"] == ("VIS", "W1", "r", "F814W")
    chosen = read_image(tmp_path / "a.fits", bands=("MyBand", "W1"))
    np.testing.assert_array_equal(chosen.data, [hdus[6].data, hdus[1].data])
    with pytest.raises(InputError, match="got Ks which"):
        read_image(tmp_path / "a.fits", bands=("W1", "Ks"))


@pytest.mark.parametrize("card", ["EXTNAME", "FILTER", "BUNIT", "BANDS", "CTYPE1", "RA_OBJ"])
@pytest.mark.parametrize("value", [b"= 'never ends", b"= 1.2.3.4", b"= \xff\xfe", b"= 7", b"= T"])
def test_cards_that_cannot_be_parsed_end_in_one_line(tmp_path, card, value):
    path = tmp_path / "a.fits"
    hdu = fits.PrimaryHDU(CUBE)
    hdu.header.update({"BANDS": "gri", "BUNIT": "nanomaggy", "PIXSCALE": 0.4})
    hdu.header.update({"EXTNAME": "X", "FILTER": "X", "CTYPE1": "RA---TAN", "RA_OBJ": 1.0})
    hdu.header["DEC_OBJ"] = 2.0
    extra = extension("ERR", shape=CUBE.shape)
    extra.data = np.abs(extra.data) + 1
    fits.HDUList([hdu, extra]).writeto(path)
    raw = bytearray(path.read_bytes())
    start = raw.index(card.encode().ljust(8))
    raw[start + 8 : start + 80] = value.ljust(72)
    path.write_bytes(raw)
    message, found = "", None
    try:
        found = read_image(path)
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    assert message or np.array_equal(found.data, CUBE)


def test_own_meta_that_is_damaged_is_one_line(tmp_path):
    path = tmp_path / "a.fits"
    write_image(path, image())
    for text in (b"[" * 100_000, b"[1, 2]", b"\xff", b"{"):
        with fits.open(path) as hdus:
            hdus[-1].data = np.frombuffer(text, np.uint8).copy()
            hdus.writeto(tmp_path / "b.fits", overwrite=True)
        with pytest.raises(InputError, match="path: expected") as caught:
            read_image(tmp_path / "b.fits")
        assert "\n" not in str(caught.value)


def test_the_same_image_is_the_same_file(tmp_path):
    """Whatever the order in which its meta was filled."""
    meta = {"pixel_scale": 0.4 * u.arcsec, "bands": "gr"}
    more = {"survey": "s", "night": 7, "exposure": 900.0}
    for name, extra in (("a", more), ("b", dict(reversed(more.items())))):
        image = NDData(np.ones((2, 8, 8), "f4"), unit="nmgy", meta=meta | extra)
        write_image(tmp_path / f"{name}.fits", image)
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()
