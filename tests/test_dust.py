"""Dust curves against numbers printed in the papers."""

import numpy as np
import pytest

from photospec.dust import (
    attenuate,
    band_extinction,
    calzetti00,
    cardelli89,
    galactic_extinction,
)
from photospec.errors import InputError
from photospec.photometry.filters import band_weights


@pytest.mark.parametrize(
    ("wavelength", "expected"),
    [
        # Cardelli, Clayton & Mathis (1989), table 3: A(lambda)/A(V) at R_V = 3.1
        (1e4 / 2.78, 1.569),
        (1e4 / 2.29, 1.337),  # the table rounds its wavenumber of B
        (1e4 / 1.82, 1.000),
        (1e4 / 1.43, 0.751),
        (1e4 / 1.11, 0.479),
    ],
)
def test_cardelli_table(wavelength, expected):
    assert cardelli89(wavelength) / 3.1 == pytest.approx(expected, abs=0.003)


def test_cardelli_rv():
    wavelength = np.array([2200.0, 4400.0, 5494.5, 9000.0])
    assert cardelli89(5494.5, rv=5.0) == pytest.approx(5.0, rel=5e-3)
    # E(B-V) is A_B - A_V by definition, whatever R_V
    for rv in (2.5, 3.1, 5.0):
        blue, visual = cardelli89(np.array([4405.3, 5470.0]), rv=rv)
        assert blue - visual == pytest.approx(1.0, abs=0.06)
    assert (np.diff(cardelli89(wavelength)) < 0).all()


def test_calzetti_closed_form():
    # eq. 4: k(V) close to R_V; k(B) - k(V) close to 1
    assert calzetti00(5500.0) == pytest.approx(4.05, abs=0.01)
    assert calzetti00(4400.0) - calzetti00(5500.0) == pytest.approx(1.0, abs=0.02)
    # red branch typed in: 2.659 (-1.857 + 1.040 / 0.8) + 4.05
    assert calzetti00(8000.0) == pytest.approx(2.659 * (-1.857 + 1.3) + 4.05, rel=1e-12)
    # blue branch typed in at 0.2 micron: 1/x = 5
    assert calzetti00(2000.0) == pytest.approx(
        2.659 * (-2.156 + 7.545 - 4.95 + 1.375) + 4.05, rel=1e-12
    )
    assert calzetti00(np.ones((2, 3)) * 5000).shape == (2, 3)


def test_branches_meet():
    low, high = calzetti00(np.array([6299.999, 6300.0]))
    assert low == pytest.approx(high, abs=0.03)


def test_attenuate():
    flux = np.ones((2, 3))
    curve = np.array([4.0, 3.0, 1.0])
    result = attenuate(flux, curve, np.array([0.0, 0.25]))
    np.testing.assert_allclose(result[0], 1)
    np.testing.assert_allclose(-2.5 * np.log10(result[1]), 0.25 * curve)
    assert attenuate(flux[0], curve, 0.1).shape == (3,)


def test_out_of_range():
    with pytest.raises(InputError, match=r"Calzetti.*another unit"):
        calzetti00(0.55)
    with pytest.raises(InputError, match="Cardelli"):
        cardelli89(np.array([5000.0, 5e4]))
    with pytest.raises(InputError, match="rv: expected"):
        cardelli89(5000.0, rv=0.1)
    with pytest.raises(InputError, match="wavelength: expected"):
        calzetti00([5000.0, np.nan])


# ---------------------------------------------------------------- the Milky Way


@pytest.mark.parametrize(
    ("camera", "band", "curve"),
    [
        *(("sdss", band, band) for band in "ugriz"),
        *(("decam", band, f"decam2014-{band}") for band in "grizY"),
    ],
)
def test_published_coefficients_are_those_of_the_curve(camera, band, curve):
    """Table 6 of Schlafly & Finkbeiner (2011): through the band, before a star of 7000 K."""
    wavelength = np.arange(2950.0, 11200.0)
    weights = band_weights(wavelength, (curve,))[0][:, 0]
    star = wavelength**-5 / np.expm1(1.438777e8 / (wavelength * 7000))
    through = 10 ** (-0.04 * galactic_extinction(wavelength))
    magnitude = -2.5 * np.log10((star * through) @ weights / (star @ weights)) / 0.1
    assert band_extinction([band], camera)[0] == pytest.approx(magnitude, rel=0.015)


def test_galactic_extinction_is_on_the_scale_of_the_map():
    blue, visual = galactic_extinction([4400.0, 5500.0])
    assert blue - visual == pytest.approx(0.884, abs=0.03)  # of bands, not of wavelengths
    with pytest.raises(InputError, match="Fitzpatrick"):
        galactic_extinction(5e4)


def test_bands_without_coefficient():
    with pytest.raises(InputError, match="camera: expected one out of sdss, decam, got 'hsc'"):
        band_extinction("g", "hsc")
    # by the curve, where nobody has published one
    u_band, infrared = band_extinction(["u", "W1"], "decam")
    assert u_band == pytest.approx(4.239, rel=0.03)
    assert 0.1 < infrared < 0.25
    with pytest.raises(InputError, match="'nonsense'"):
        band_extinction(["nonsense"])
