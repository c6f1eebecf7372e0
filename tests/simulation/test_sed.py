"""Rendered spectra against photometry, conservation and hand-made galaxies."""

from dataclasses import replace

import numpy as np
import pytest

from photospec.dust import attenuation_curve, galactic_transmission
from photospec.photometry.filters import band_flux
from photospec.simulation.galaxies.cosmology import luminosity_distance
from photospec.simulation.galaxies.gas import agn_ratios, line_index, star_forming_lines
from photospec.simulation.galaxies.population import PopulationConfig, draw_galaxies
from photospec.simulation.galaxies.sed import LINE_NAMES, OBSERVED_WAVELENGTH, render_spectra
from photospec.simulation.galaxies.stars import (
    LOG_STEP,
    delayed_tau,
    metallicity_shares,
    stellar_basis,
    tau_from_ssfr,
    template_correction,
    top_hat,
)


@pytest.fixture(scope="module")
def galaxies():
    return draw_galaxies(PopulationConfig(), np.random.default_rng(3), 96)


@pytest.fixture(scope="module")
def spectra(galaxies):
    return render_spectra(galaxies)


def without_lines(galaxies):
    return replace(
        galaxies,
        bulge_line_luminosity=0 * galaxies.bulge_line_luminosity,
        disk_line_luminosity=0 * galaxies.disk_line_luminosity,
    )


def test_band_fluxes_are_those_of_the_selection(galaxies, spectra):
    total = (spectra.bulge + spectra.disk).astype(float)
    magnitude = 22.5 - 2.5 * np.log10(band_flux(spectra.wavelength, total))
    np.testing.assert_allclose(magnitude[:, 1:], galaxies.magnitude[:, 1:], atol=1.5e-3)
    # u runs over steep features of the ultraviolet between two redshifts of the table
    np.testing.assert_allclose(magnitude[:, 0], galaxies.magnitude[:, 0], atol=6e-3)
    share = band_flux(spectra.wavelength, spectra.bulge.astype(float)) / band_flux(
        spectra.wavelength, total
    )
    np.testing.assert_allclose(share, galaxies.bulge_light_fraction, atol=2e-3)


def test_spectra_are_positive_and_cover_the_bands(spectra):
    assert spectra.wavelength[0] <= 2900
    assert spectra.wavelength[-1] >= 11190
    assert (spectra.bulge + spectra.disk).min() > 0


def test_redshift_keeps_the_energy():
    """One galaxy moved in redshift keeps its rest-frame luminosity in a rest-frame window."""
    g = draw_galaxies(PopulationConfig(), np.random.default_rng(3), 4)
    luminosity = []
    for z in (0.03, 0.117, 0.281):
        s = render_spectra(replace(g, redshift=np.full(4, z)))
        inside = (s.wavelength > 4000 * (1 + z)) & (s.wavelength < 7000 * (1 + z))
        flux = (s.bulge + s.disk)[:, inside] @ s.wavelength[inside]
        luminosity.append(flux * luminosity_distance(PopulationConfig(), z) ** 2)
    np.testing.assert_allclose(luminosity[1], luminosity[0], rtol=2e-3)
    np.testing.assert_allclose(luminosity[2], luminosity[0], rtol=2e-3)


def test_line_flux_is_the_light_in_the_lines(galaxies, spectra):
    bare = render_spectra(without_lines(galaxies))
    extra = (spectra.disk - bare.disk).astype(float)
    pixel = OBSERVED_WAVELENGTH * np.log(10) * LOG_STEP
    rest = OBSERVED_WAVELENGTH / (1 + galaxies.redshift[:, None])
    near = (rest > 6450) & (rest < 6650)
    measured = (extra * pixel * near).sum(1)
    expected = sum(spectra.disk_line_flux[k] for k in ("nii_6548", "halpha", "nii_6584"))
    strong = expected > 1
    np.testing.assert_allclose(measured[strong], expected[strong], rtol=0.02)


def test_line_width_and_position():
    g = draw_galaxies(PopulationConfig(), np.random.default_rng(3), 2)
    lines = np.zeros_like(g.disk_line_luminosity)
    lines[:, line_index("oiii_5007")] = 1e9
    g = replace(g, disk_line_luminosity=lines, gas_velocity_dispersion=np.array([60.0, 200.0]))
    extra = (render_spectra(g).disk - render_spectra(without_lines(g)).disk).astype(float)
    velocity = 299792.458 * np.log(OBSERVED_WAVELENGTH / (5008.24 * (1 + g.redshift[:, None])))
    weight = extra * OBSERVED_WAVELENGTH * (abs(velocity) < 1500)
    weight /= weight.sum(1, keepdims=True)
    mean = (weight * velocity).sum(1)
    width = np.sqrt((weight * (velocity - mean[:, None]) ** 2).sum(1))
    np.testing.assert_allclose(mean, 0, atol=2)
    # a pixel of 69 km/s adds its own variance
    np.testing.assert_allclose(width, np.hypot([60, 200], 69.03 / np.sqrt(12)), rtol=0.02)


def test_velocity_dispersion_broadens_the_stars():
    g = draw_galaxies(PopulationConfig(), np.random.default_rng(3), 2)
    old = stellar_basis()
    weights = np.zeros_like(g.bulge_weights)
    weights[:, 4 * len(old.age) + 19] = 1e10
    g = replace(
        without_lines(g),
        redshift=np.full(2, 0.1),
        bulge_weights=weights,
        bulge_velocity_dispersion=np.array([100.0, 300.0]),
        bulge_av=np.zeros(2),
    )
    sharp, blunt = render_spectra(g).bulge.astype(float)
    extra = np.sqrt(300.0**2 - 100.0**2) / 69.03
    x = np.arange(-30, 31)
    kernel = np.exp(-0.5 * (x / extra) ** 2)
    expected = np.convolve(sharp, kernel / kernel.sum(), "same")
    inside = slice(100, -100)
    np.testing.assert_allclose(blunt[inside], expected[inside], rtol=2e-3)


def test_galactic_extinction_is_an_option(galaxies, spectra):
    dimmed = render_spectra(galaxies, galactic_extinction=True)
    expected = spectra.disk * galactic_transmission(OBSERVED_WAVELENGTH, galaxies.galactic_ebv)
    np.testing.assert_allclose(dimmed.disk, expected, rtol=1e-5)
    v = attenuation_curve("cardelli89", np.array([5500.0]))
    assert v == pytest.approx(1.0, abs=0.01)


def test_balmer_lines_before_dust_follow_case_b():
    n = np.ones(3)
    lines = star_forming_lines(n, np.array([-0.4, 0.0, 0.2]), -3.0 * n, 0 * n, 0 * n)
    ratio = lines[:, line_index("halpha")] / lines[:, line_index("hbeta")]
    np.testing.assert_allclose(ratio, 2.87, atol=0.12)
    np.testing.assert_allclose(lines[:, line_index("hgamma")], 0.468, atol=0.02)
    agn = agn_ratios(*np.full((5, 1), 0.3))
    assert agn[0, line_index("oiii_5007")] / agn[0, line_index("hbeta")] == pytest.approx(10**0.3)
    assert agn[0, line_index("nii_6584")] == pytest.approx(10**0.3)


def test_equivalent_widths_are_plausible(galaxies, spectra):
    flux = spectra.disk_line_flux["halpha"] + spectra.bulge_line_flux["halpha"]
    continuum = spectra.disk_line_continuum["halpha"] + spectra.bulge_line_continuum["halpha"]
    ew = flux / continuum / (1 + galaxies.redshift)
    assert set(spectra.disk_line_flux) == set(LINE_NAMES)
    assert 8 < np.median(ew[~galaxies.quiescent]) < 60
    assert 0.2 < np.median(ew[galaxies.quiescent]) < 5


def test_histories_share_out_all_mass():
    onset, tau = np.array([5e9, 1.2e10]), np.array([1e9, 5e9])
    np.testing.assert_allclose(delayed_tau(onset, tau).sum(1), 1)
    np.testing.assert_allclose(top_hat(np.array([1e9]), np.array([0.0])).sum(1), 1)
    half = top_hat(np.array([2e6]), np.array([0.0]))
    assert half[0, 0] == pytest.approx(1)
    shares = metallicity_shares(np.array([-0.2]), 0.1, stellar_basis().metallicity)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] @ stellar_basis().metallicity == pytest.approx(-0.2)


def test_tau_gives_the_wanted_rate():
    onset, wanted = np.full(3, 1e10), np.array([-11.0, -10.3, -9.9])
    tau = tau_from_ssfr(onset, wanted)
    x = onset / tau
    rate = x / tau * np.exp(-x) / (1 - (1 + x) * np.exp(-x))
    np.testing.assert_allclose(np.log10(rate), wanted, atol=0.01)


def test_tied_doublets_have_atomic_ratios():
    """Storey & Zeippen (2000): [O III] 2.98, [N II] 3.05, whatever lights the gas."""
    galaxies = draw_galaxies(PopulationConfig(), np.random.default_rng(8), 100)
    spectra = render_spectra(galaxies)
    for strong, weak, ratio in (("oiii_5007", "oiii_4959", 2.98), ("nii_6584", "nii_6548", 3.05)):
        total = [spectra.bulge_line_flux[k] + spectra.disk_line_flux[k] for k in (strong, weak)]
        # dust between the two lines of a doublet: well below one per cent
        np.testing.assert_allclose(total[0] / total[1], ratio, rtol=0.02 if ratio < 3 else 0.01)


def test_bare_templates_on_request():
    galaxies = draw_galaxies(PopulationConfig(), np.random.default_rng(8), 5)
    with_it, bare = render_spectra(galaxies), render_spectra(galaxies, corrected=False)
    rest = with_it.wavelength / (1 + galaxies.redshift[:, None])
    old = galaxies.bulge_age > 7
    assert old.any()
    smooth = (rest > 4000) & (rest < 4300)
    for i in np.flatnonzero(old):
        factor = with_it.bulge[i, smooth[i]] / bare.bulge[i, smooth[i]]
        expected = template_correction(rest[i, smooth[i]])
        np.testing.assert_allclose(factor / expected, 1, atol=0.01)
