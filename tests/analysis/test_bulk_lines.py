"""Lines of the bulk path, step by step against those of the exact path, on noise."""

from dataclasses import replace

import numpy as np
import pytest

from photospec.analysis.bulk import emission as bulk
from photospec.analysis.bulk import fit_populations_bulk
from photospec.analysis.emission import fit as exact
from photospec.analysis.emission import measure
from photospec.analysis.emission.model import GROUPS, LINE_NAMES
from photospec.lines import LINES
from photospec.spectrum import WAVELENGTH, from_arrays, to_arrays

Z = 0.06
LIGHT = 299792.458
FLUXES = {
    "halpha": 300.0, "hbeta": 90.0, "nii_6584": 120.0, "nii_6548": 120.0 * 0.328,
    "oiii_5007": 150.0, "oiii_4959": 150.0 * 0.335, "sii_6716": 50.0, "sii_6731": 40.0,
    "hgamma": 40.0, "hdelta": 20.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def template_fit(make_galaxy):
    galaxy = make_galaxy(Z, wavelength=WAVELENGTH, dispersion=170.0)
    row = to_arrays(from_arrays(WAVELENGTH, galaxy.flux.value, lsf=2.3))
    return fit_populations_bulk([row], np.array([Z]))[0]


def _lines_on_noise(fit, seed, *, continuum=6.0, sigma=1.0, scale=30.0, width=130.0, balmer=None):
    """Lines of known flux and noise on a flat continuum, on the pixels of the bulk path."""
    wave = fit.wavelength
    flux = np.full(wave.size, continuum)
    lsf = np.full(wave.size, 2.3)
    for name, strength in FLUXES.items():
        own = balmer if balmer and LINES[name].kind == "balmer" else width
        centre = LINES[name].wavelength * (1 + fit.redshift) * np.exp(40.0 / LIGHT)
        spread = np.hypot(2.3, centre * own / LIGHT)
        profile = np.exp(-0.5 * ((wave - centre) / spread) ** 2) / spread / np.sqrt(2 * np.pi)
        flux = flux + scale * strength * profile
    errors = np.full(wave.size, sigma) * np.linspace(0.8, 1.3, wave.size)
    noise = np.random.default_rng(seed).standard_normal(wave.size)
    return replace(
        fit, flux=flux + errors * noise, sigma=errors, continuum=np.full(wave.size, continuum),
        mask=np.zeros(wave.size, bool), lsf_sigma=lsf, gas={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(template_fit):
    """Strong lines, faint ones, two kinds of widths, none, bad pixels, an undulating continuum."""
    fits = [
        _lines_on_noise(template_fit, 0),
        _lines_on_noise(template_fit, 1, scale=3.0, continuum=20.0),
        _lines_on_noise(template_fit, 2, width=90.0, balmer=180.0),
        _lines_on_noise(template_fit, 3, scale=0.0, continuum=40.0),
        _lines_on_noise(template_fit, 4, scale=10.0, sigma=3.0),
    ]
    mask = fits[0].mask.copy()
    mask[1200:1230] = True
    fits[4] = replace(fits[4], mask=mask)
    rest = fits[1].wavelength / (1 + Z)
    stars = 20.0 * (1 + 0.1 * np.sin(rest / 90))
    for name in ("hbeta", "hdelta"):  # absorption
        stars -= 8.0 * np.exp(-0.5 * ((rest - LINES[name].wavelength) / 7.0) ** 2)
    fits[1] = replace(fits[1], continuum=stars, flux=fits[1].flux - 20.0 + stars)
    return fits


@pytest.fixture(scope="module")
def judges(made):
    return [measure.measure_lines(fit, nonlinear=exact.gauss_newton) for fit in made]


@pytest.fixture(scope="module")
def residuals(made):
    pixels = bulk._pixels(
        np.ascontiguousarray(made[0].wavelength / (1 + made[0].redshift)).tobytes(), GROUPS
    )
    return bulk._Residuals.of(made, pixels)


@pytest.fixture(scope="module")
def fitted(residuals):
    return bulk._fit_groups(residuals, np.tile([0.0, measure.DEFAULT_DISPERSION], (5, 1)))


def test_residuals(made, residuals):
    for i, fit in enumerate(made):
        for name, zone in (("flux", 0.0), ("wide", exact.BROAD_ZONE)):
            judge = exact.Residual.of(fit, GROUPS, zone)
            np.testing.assert_allclose(getattr(residuals, name)[i], judge.flux, atol=1e-9)
        judge = exact.Residual.of(fit)
        for name in ("continuum", "level_place", "level_variance"):
            np.testing.assert_allclose(getattr(residuals, name)[i], getattr(judge, name), atol=1e-9)
        at = np.array([4862.7, 5008.2, 5030.0, 6564.6])
        np.testing.assert_allclose(
            residuals.level_covariance(at)[i], judge.level_covariance(at), rtol=1e-6
        )


def test_scatter_where_there_are_no_lines(made, residuals):
    """Also where only what is beside the lines scatters: from 600 km/s on it counts."""
    rest, centres = residuals.pixels.wavelength, [w for g in GROUPS for w in g.wavelengths]
    distance = np.min([np.abs(np.log(rest / at)) * LIGHT for at in centres], axis=0)
    rough = np.where((distance > 650) & (distance < 1200), 4.0, 1.0)
    inside = np.where(distance < 550, 30.0, 1.0)
    for factor, low, high in ((1.0, 1.0, 1.2), (rough, 1.1, 4.0), (inside, 1.0, 1.2)):
        louder = [
            replace(fit, flux=fit.continuum + (fit.flux - fit.continuum) * factor)
            for fit in made[3:4]
        ]
        block = bulk._Residuals.of(louder, residuals.pixels)
        dispersion = np.array([100.0])
        found = bulk._inflation(block, dispersion)[0]
        judge = exact._inflation(exact.Residual.of(louder[0]), 100.0)
        assert found == pytest.approx(judge, rel=0.02)
        assert low <= found < high


def test_fluxes_errors_and_kinematics(made, judges, residuals, fitted):
    named = bulk._named(made, residuals, fitted, LINE_NAMES)
    for one, judge in zip(named, judges, strict=True):
        assert one.names == judge.names
        seen = np.isfinite(judge.flux) & np.isfinite(one.flux)
        assert seen.sum() >= 15
        off = np.abs(one.flux - judge.flux)[seen] / judge.flux_error[seen]
        assert off.max() < 0.05
        for name in ("flux_error", "ew_error"):
            ours, theirs = getattr(one, name), getattr(judge, name)
            both = np.isfinite(ours) & np.isfinite(theirs)
            assert both.sum() >= 12
            np.testing.assert_allclose(ours[both], theirs[both], rtol=0.01, err_msg=name)
        spread = np.sqrt(np.outer(judge.flux_error, judge.flux_error))
        both = np.outer(seen, seen)
        np.testing.assert_allclose(
            (one.covariance / spread)[both], (judge.covariance / spread)[both], atol=0.01
            * np.nanmax(judge.flux_error),
        )  # fmt: skip
        np.testing.assert_array_equal(np.isfinite(one.width), np.isfinite(judge.width))
        for name in ("velocity", "width"):
            np.testing.assert_allclose(getattr(one, name), getattr(judge, name), atol=0.5)
        np.testing.assert_allclose(one.width_error, judge.width_error, rtol=0.03)
        assert one.misfit == pytest.approx(judge.misfit, abs=0.003)
        assert one.flags == judge.flags
        # A continuum of less than three times its noise divides nothing.
        np.testing.assert_array_equal(np.isnan(one.ew), np.isnan(judge.ew))
    assert {np.isfinite(one.width).any() for one in named} == {True, False}


def test_level_under_lines_is_in_equivalent_widths(judges):
    """What flux and continuum share makes a difference here: tested above for both paths."""
    judge = judges[0]
    i = judge.index("nii_6584")
    apart = (judge.flux_error[i] / judge.continuum[i] / (1 + Z)) ** 2
    assert judge.ew_error[i] ** 2 > 1.2 * apart


def test_absorption_of_stars_under_balmer_lines(made, residuals):
    """8 of 20, 7 Angstrom wide: 7.0 Angstrom of equivalent width, at H beta and H delta."""
    for name, expected in (("hbeta", 8 / 20 * 7 * 2.5066), ("nii_6584", 0.0)):
        found = bulk._absorption(residuals, LINES[name].wavelength)
        for i in (1, 3):
            judge = measure._absorption(exact.Residual.of(made[i]), LINES[name].wavelength)
            assert found[i] == pytest.approx(judge, abs=0.02)
        assert found[1] == pytest.approx(expected, abs=1.0)
        assert found[3] == pytest.approx(0.0, abs=0.1)


def test_trial_lines_leave_no_width_out():
    """Of any width from 450 to 4,000 km/s at least 96 % of chi-square are found by one of them."""
    wavelength = 4000.0 * np.exp(1e-4 * np.log(10) * np.arange(2800))
    pixels = bulk._pixels(wavelength.tobytes(), GROUPS)
    window, profiles, width = bulk._broad_trials(pixels, 6564.614)
    assert profiles.shape == (window.size, width.size)
    np.testing.assert_allclose(
        profiles.sum(axis=0)[width < 1500], 1 / (pixels.step * 6564.6), rtol=0.02
    )
    distance = np.log(wavelength[window] / 6564.614) * LIGHT
    # To 8,000 km/s, where the spectrum goes so far.
    assert distance.min() == pytest.approx(-8000, abs=70)
    assert distance.max() == pytest.approx(8000, abs=70)
    size = np.sqrt((profiles**2).sum(axis=0))
    for one in np.geomspace(450, 4000, 12):
        for velocity in (-750.0, 0.0, 1500.0):
            line = np.exp(-0.5 * ((distance - velocity) / one) ** 2)
            share = (line @ profiles / size / np.sqrt(line @ line)) ** 2
            assert share.max() > 0.96, (one, velocity)
