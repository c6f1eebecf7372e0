"""Any celestial WCS: frames, axis orders, gwcs, sliced and distorted ones."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK4, FK5, ICRS, BarycentricMeanEcliptic, Galactic, SkyCoord
from astropy.nddata import CCDData, NDData, NDDataRef
from astropy.wcs import WCS, Sip

from photospec.errors import InputError
from photospec.image import prepare_image, read_image, sky_position, write_image
from photospec.image.wcs import (
    celestial,
    fitted_wcs,
    moved_wcs,
    pixel_scales,
    pixel_to_sky,
    sky_to_pixel,
)

N = 200
TARGET = SkyCoord(150.0, 2.0, unit="deg")
PLACE = (83.0, 121.0)  # where the galaxy is


def scene():
    rows, columns = np.indices((N, N))
    light = np.exp(-np.hypot(columns - PLACE[0], 1.5 * (rows - PLACE[1])) / 4)
    rng = np.random.default_rng(2)
    return (light * np.array([[[3.0]], [[5.0]]]) + 0.01 * rng.standard_normal((2, N, N))).astype(
        "f4"
    )


CUBE = scene()
TRUTH = CUBE[:, 121 - 32 : 121 + 32, 83 - 32 : 83 + 32]


def fits_wcs(frame=None, names=("RA", "DEC"), first=0, radesys=None, equinox=None, scale=0.396):
    """Tangential WCS with the target on `PLACE`; the axis `first` is the longitude."""
    where = TARGET.transform_to(ICRS() if frame is None else frame).spherical
    wcs = WCS(naxis=2)
    value = (where.lon.deg, where.lat.deg)
    order = (0, 1) if first == 0 else (1, 0)
    wcs.wcs.ctype = [f"{names[i]}{'-' * (5 - len(names[i]))}TAN" for i in order]
    wcs.wcs.crval = [value[i] for i in order]
    wcs.wcs.crpix = PLACE[0] + 1, PLACE[1] + 1
    wcs.wcs.cdelt = [(-scale / 3600, scale / 3600)[i] for i in order]
    if radesys:
        wcs.wcs.radesys = radesys
    if equinox:
        wcs.wcs.equinox = equinox
    wcs.wcs.set()
    return wcs


def gwcs_wcs(frame=None, scale=0.396):
    gwcs = pytest.importorskip("gwcs")
    from astropy.modeling import models
    from gwcs import coordinate_frames as cf

    frame = ICRS() if frame is None else frame
    where = TARGET.transform_to(frame).spherical
    pixels = cf.Frame2D(name="detector", axes_names=("x", "y"), unit=(u.pix, u.pix))
    sky = cf.CelestialFrame(reference_frame=frame, name="sky", unit=(u.deg, u.deg))
    step = scale / 3600
    transform = (
        models.Shift(-PLACE[0]) & models.Shift(-PLACE[1])
        | models.Scale(-step) & models.Scale(step)
        | models.Pix2Sky_TAN()
        | models.RotateNative2Celestial(where.lon.deg, where.lat.deg, 180.0)
    )
    return gwcs.WCS([(pixels, transform), (sky, None)])


def three():
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN", "FILTER"]
    wcs.wcs.crval, wcs.wcs.crpix = [150, 2, 0], [PLACE[0] + 1, PLACE[1] + 1, 1]
    wcs.wcs.cdelt = [-0.396 / 3600, 0.396 / 3600, 1]
    return wcs


def sip():
    wcs = fits_wcs()
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    terms = np.zeros((3, 3))
    terms[2, 0] = 2e-6
    none = np.zeros((3, 3))
    wcs.sip = Sip(terms, none, -terms, none, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


KINDS = {
    "ICRS": fits_wcs,
    "declination first": lambda: fits_wcs(first=1),
    "FK5 J2000": lambda: fits_wcs(FK5(), radesys="FK5", equinox=2000.0),
    "FK5 J2000.5": lambda: fits_wcs(FK5(equinox="J2000.5"), radesys="FK5", equinox=2000.5),
    "FK5 J1975": lambda: fits_wcs(FK5(equinox="J1975"), radesys="FK5", equinox=1975.0),
    "FK4 B1950": lambda: fits_wcs(FK4(equinox="B1950"), radesys="FK4", equinox=1950.0),
    "Galactic": lambda: fits_wcs(Galactic(), ("GLON", "GLAT")),
    "Galactic, latitude first": lambda: fits_wcs(Galactic(), ("GLON", "GLAT"), first=1),
    "ecliptic": lambda: fits_wcs(BarycentricMeanEcliptic(), ("ELON", "ELAT"), equinox=2000.0),
    "gwcs ICRS": gwcs_wcs,
    "gwcs Galactic": lambda: gwcs_wcs(Galactic()),
    "gwcs FK5 J1975": lambda: gwcs_wcs(FK5(equinox="J1975")),
    "three axes": three,
    "SIP": sip,
}


@pytest.mark.parametrize("kind", KINDS)
def test_target_scale_and_wcs(kind):
    image = NDData(CUBE, unit="nmgy", wcs=KINDS[kind](), meta={"bands": "gr"})
    for position in (TARGET, TARGET.galactic, (150.0, 2.0), (-210.0, 2.0)):
        result = prepare_image(image, bands="gr", position=position)
        np.testing.assert_array_equal(result.data, TRUTH)
        np.testing.assert_allclose(result.center, (32, 32), atol=1e-3)
    # The WCS that comes out finds the same sky: pixels and sky positions agree with the old one.
    old = celestial(image.wcs)
    for x, y in ((32, 32), (0, 0), (60, 3)):
        sky = SkyCoord(*pixel_to_sky(old, x + 51.0, y + 89.0), unit="deg")
        found = SkyCoord(*pixel_to_sky(result.wcs, float(x), float(y)), unit="deg")
        assert sky.separation(found).arcsec < 1e-3
    np.testing.assert_allclose(pixel_scales(old, {}, PLACE), 0.396, rtol=3e-6)


@pytest.mark.parametrize("kind", ["ICRS", "declination first", "Galactic", "gwcs ICRS", "SIP"])
def test_resampled(kind):
    image = NDData(CUBE, unit="nmgy", wcs=KINDS[kind](), meta={"bands": "gr"})
    truth = NDData(CUBE, unit="nmgy", wcs=fits_wcs(), meta={"bands": "gr"})
    settings = {"bands": "gr", "position": TARGET, "pixel_scale": 0.5, "size": 40}
    result, expected = prepare_image(image, **settings), prepare_image(truth, **settings)
    np.testing.assert_allclose(result.data, expected.data, atol=2e-4)
    assert "resampled" in result.flags
    old = celestial(image.wcs)
    step = 0.5 / 0.396
    for x, y in ((20, 20), (0, 39), (35, 2)):
        place = PLACE[0] + (x - 20) * step, PLACE[1] + (y - 20) * step
        wanted = SkyCoord(*pixel_to_sky(old, *place), unit="deg")
        found = SkyCoord(*pixel_to_sky(result.wcs, x, y), unit="deg")
        assert found.separation(wanted).arcsec < 0.01


@pytest.mark.parametrize("cls", [CCDData, NDDataRef])
def test_sliced_images(cls):
    image = cls(CUBE, unit="nmgy", wcs=three(), meta={"bands": "gr"})[:, 80:180, 40:140]
    result = prepare_image(image, bands="gr", position=TARGET)
    np.testing.assert_array_equal(result.data, TRUTH)


def test_local_scale_where_a_projection_stretches():
    """In a plate carree pixels at declination 60 are half as wide."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---CAR", "DEC--CAR"], [150, 0], [1, 1]
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    x, y = pixel_scales(wcs, {}, (0, 600_000))
    assert (x, y) == (pytest.approx(0.18, rel=1e-4), pytest.approx(0.36, rel=1e-6))


def test_there_and_back():
    for kind in KINDS:
        wcs = celestial(KINDS[kind]())
        x, y = np.array([3.0, 100.0, 150.5]), np.array([7.0, 20.25, 199.0])
        ra, dec = pixel_to_sky(wcs, x, y)
        np.testing.assert_allclose(sky_to_pixel(wcs, ra, dec), (x, y), atol=1e-4)


def test_fit_of_a_tangential_projection():
    wcs = celestial(gwcs_wcs())
    fitted = fitted_wcs(wcs, (N, N))
    for place in ((0, 0), (150, 20), PLACE):
        np.testing.assert_allclose(
            sky_to_pixel(fitted, *pixel_to_sky(wcs, *place)), place, atol=1e-3
        )
    moved = moved_wcs(wcs, (51, 89), (2, 3), 30)
    sky = pixel_to_sky(wcs, 51 + 2 * 5.0, 89 + 3 * 7.0)
    np.testing.assert_allclose(sky_to_pixel(moved, *sky), (5, 7), atol=1e-3)


@pytest.mark.parametrize("kind", ["Galactic", "declination first", "gwcs ICRS", "FK4 B1950"])
def test_written_and_read(tmp_path, kind):
    image = NDData(CUBE, unit="nmgy", wcs=KINDS[kind](), meta={"bands": "gr"})
    write_image(tmp_path / "a.fits", image)
    back = read_image(tmp_path / "a.fits")
    result = prepare_image(back, bands="gr", position=TARGET)
    np.testing.assert_array_equal(result.data, TRUTH)


def test_no_celestial_axes_is_no_wcs():
    assert celestial(None) is None
    assert celestial(WCS(naxis=2)) is None
    image = NDData(CUBE, unit="nmgy", wcs=WCS(naxis=2), meta={"bands": "gr"})
    with pytest.raises(InputError, match="pixel_scale: expected a celestial WCS"):
        prepare_image(image, bands="gr")
    image.meta["pixel_scale"] = 0.396 * u.arcsec
    assert prepare_image(image, bands="gr").wcs is None


def test_a_wcs_that_is_not_read_is_named():
    with pytest.raises(InputError, match=r"image.wcs: expected .* got str"):
        celestial("RA---TAN")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["HPLN-TAN", "HPLT-TAN"]
    wcs.wcs.cdelt = 1e-4, 1e-4
    image = NDData(CUBE, unit="nmgy", wcs=wcs, meta={"bands": "gr"})
    with pytest.raises(InputError, match=r"image.wcs: expected equatorial.*HPLN"):
        prepare_image(image, bands="gr")


def test_positions():
    assert sky_position((150, 2)) == (150, 2)
    assert sky_position((-210.0, 2.0)) == (150, 2)
    assert sky_position((10 * u.hourangle, 120 * u.arcmin)) == pytest.approx((150, 2))
    assert sky_position(TARGET.galactic) == pytest.approx((150, 2))
    assert sky_position(SkyCoord([150.0], [2.0], unit="deg")) == pytest.approx((150, 2))
    for wrong, match in (
        (SkyCoord([1, 2], [3, 4], unit="deg"), "one sky position, got 2"),
        ((1, 2, 3), "expected a SkyCoord"),
        ((1 * u.m, 2 * u.m), "expected a SkyCoord"),
        ((np.nan, 1), "expected right ascension"),
        ((2, 150), "swapped or in hours"),
        (None, "expected a SkyCoord"),
    ):
        with pytest.raises(InputError, match=match):
            sky_position(wrong)


def test_position_elsewhere_on_the_sky():
    for kind in ("ICRS", "SIP", "gwcs ICRS"):
        image = NDData(CUBE, unit="nmgy", wcs=KINDS[kind](), meta={"bands": "gr"})
        for position in ((330.0, -2.0), (151.0, 2.0)):
            with pytest.raises(InputError, match=r"position: expected a p"):
                prepare_image(image, bands="gr", position=position)
