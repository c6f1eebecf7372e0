"""Synthetic photometry against closed forms, speclite, and the SDSS pipeline."""

import numpy as np
import pytest
import speclite.filters
from astropy import units as u
from astropy.io import fits

from photospec.errors import InputError
from photospec.photometry.filters import (
    SDSS_BANDS,
    band_coverage,
    band_flux,
    band_weights,
    effective_wavelength,
    load_band,
)

WIDE = np.arange(2900.0, 11200.0, 2.0)
C = 2.99792458e18  # Angstrom / s


def ab_source(wavelength, nanomaggies=1.0):
    """Flat in f_nu, 3631e-9 Jy, as 1e-17 erg/s/cm2/A."""
    return nanomaggies * 3631e-9 * 1e-23 * C / wavelength**2 / 1e-17


def test_ab_source_has_one_nanomaggy_in_every_band():
    np.testing.assert_allclose(band_flux(WIDE, ab_source(WIDE)), 1, rtol=1e-5)


@pytest.mark.parametrize("wavelength", [WIDE, WIDE[::20], np.geomspace(2900, 11200, 4000)])
def test_agrees_with_speclite(wavelength):
    flux = 3 + 10 * np.exp(-((wavelength - 5000) ** 2) / 2e6)
    unit = 1e-17 * u.erg / (u.s * u.cm**2 * u.AA)
    bands = speclite.filters.load_filters("sdss2010-*")
    table = bands.get_ab_maggies(flux * unit, wavelength * u.AA)
    expected = [table[name][0] * 1e9 for name in table.colnames]
    np.testing.assert_allclose(band_flux(wavelength, flux), expected, rtol=2e-3)


def test_power_law_against_its_own_integral():
    """f_lambda = lambda: the ratio of two moments of the response."""
    band = load_band("r")
    wavelength, response = band.wavelength, band.response
    fine = np.linspace(wavelength[0], wavelength[-1], 200001)
    r = np.interp(fine, wavelength, response)
    factor = 3631e-9 * 1e-23 * C / 1e-17
    expected = np.trapezoid(fine**2 * r, fine) / np.trapezoid(r / fine, fine) / factor
    assert band_flux(WIDE, WIDE, "r")[0] == pytest.approx(expected, rel=1e-5)


def test_shapes_names_and_types():
    flux = np.random.default_rng(0).random((3, 4, WIDE.size), dtype=np.float32)
    result = band_flux(WIDE, flux, "gi")
    assert result.shape == (3, 4, 2)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[1, 2], band_flux(WIDE, flux[1, 2], ("g", "i")), rtol=1e-5)
    assert band_flux(WIDE, np.ones(WIDE.size, int)).dtype == np.float64


def test_weights_are_the_operator_and_cannot_be_spoilt():
    flux = np.random.default_rng(0).random(WIDE.size)
    weights, coverage = band_weights(WIDE)
    np.testing.assert_allclose(flux @ weights, band_flux(WIDE, flux))
    np.testing.assert_allclose(coverage, 1)
    weights[:] = 0
    assert band_flux(WIDE, flux).min() > 0


def test_partial_coverage_compares_like_with_like():
    wavelength = np.arange(4000.0, 8500.0)
    coverage = band_coverage(wavelength)
    assert coverage[2] == 1
    assert coverage[3] == pytest.approx(1, abs=1e-4)
    assert 0.9 < coverage[1] < 1
    assert 0.1 < coverage[4] < 0.5
    flux = band_flux(wavelength, ab_source(wavelength, 7.0), partial=True)
    np.testing.assert_allclose(flux[1:], 7, rtol=1e-5)
    assert np.isnan(flux[0])  # 0.4 % of u, by its red leak: no flux to speak of
    with pytest.raises(InputError, match=r"full coverage of band 'u'.*partial=True"):
        band_flux(wavelength, ab_source(wavelength))
    np.testing.assert_allclose(band_flux(wavelength, ab_source(wavelength), "ri"), 1, rtol=1e-5)


def test_effective_wavelengths():
    """Doi et al. (2010), table 4, to the precision of their definition."""
    found = [effective_wavelength(band) for band in SDSS_BANDS]
    np.testing.assert_allclose(found, [3551, 4686, 6166, 7480, 8932], rtol=0.02)


def test_sdss_spectra_against_the_pipeline(shared):
    """Colours of observed spectra as SDSS synthesised them (SPECTROSYNFLUX)."""
    n = 0
    for path in sorted((shared / "real" / "spectra").glob("*.fits")):
        with fits.open(path) as hdus:
            data, row = hdus[1].data, hdus[2].data[0]
            if "SPECTROSYNFLUX" not in hdus[2].columns.names or row["ZWARNING"]:
                continue
            flux = band_flux(10 ** data["loglam"].astype(float), data["flux"], "gri", partial=True)
            theirs = row["SPECTROFLUX"][1:4]
        colour = -2.5 * np.log10(flux[:-1] / flux[1:])
        # The pipeline shifts its AB zero points by a few hundredths.
        np.testing.assert_allclose(colour, -2.5 * np.log10(theirs[:-1] / theirs[1:]), atol=0.06)
        n += 1
    assert n >= 3


def test_bad_input():
    with pytest.raises(InputError, match=r"bands: expected names .* got 'q'"):
        band_flux(WIDE, WIDE, "q")
    with pytest.raises(InputError, match="increasing"):
        band_flux(WIDE[::-1], WIDE)
    with pytest.raises(InputError, match="flux: expected 4150 samples"):
        band_flux(WIDE, WIDE[1:])
