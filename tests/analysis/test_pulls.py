"""Errors against the scatter of noise draws, at a redshift where a forgotten 1 + z shows."""

from dataclasses import replace

import numpy as np
import pytest

from photospec.analysis import fit_populations, measure_lines, measure_properties, measure_redshift
from photospec.lines import LINES
from photospec.spectrum import from_arrays, to_arrays

Z = 0.35
LIGHT = 299792.458
FLUXES = {
    "halpha": 300.0, "hbeta": 90.0, "nii_6584": 120.0, "nii_6548": 120.0 * 0.328,
    "oiii_5007": 60.0, "oiii_4959": 60.0 * 0.335, "sii_6716": 50.0, "sii_6731": 40.0,
    "oii_3726": 70.0, "oii_3729": 90.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def clean(make_galaxy):
    wavelength = np.arange(3800.0, 9200.0, 1.0)
    spectrum = make_galaxy(Z, lines=2.0, age=2e9, wavelength=wavelength)
    return wavelength, to_arrays(spectrum).flux[0]


@pytest.fixture(scope="module")
def template_fit(make_galaxy):
    return fit_populations(make_galaxy(Z, signal_to_noise=40.0), Z)


def _draws(clean, n, signal_to_noise):
    wavelength, flux = clean
    sigma = np.full(flux.size, np.median(flux) / signal_to_noise)
    for seed in range(n):
        noise = sigma * np.random.default_rng(seed).standard_normal(flux.size)
        yield from_arrays(wavelength, flux + noise, sigma=sigma, lsf=1.0)


def _line_draws(fit, n, *, continuum, sigma, scale=1.0):
    """Lines of known flux on a flat continuum."""
    wave = fit.wavelength
    flux = np.full(wave.size, continuum)
    lsf = np.full(wave.size, 1.4)
    for name, strength in FLUXES.items():
        centre = LINES[name].wavelength * (1 + fit.redshift)
        spread = np.hypot(1.4, centre * 110.0 / LIGHT)
        profile = np.exp(-0.5 * ((wave - centre) / spread) ** 2) / spread / np.sqrt(2 * np.pi)
        flux = flux + scale * strength * profile
    bare = replace(
        fit, sigma=np.full(wave.size, sigma), continuum=np.full(wave.size, continuum),
        mask=np.zeros(wave.size, bool), lsf_sigma=lsf, gas={},
    )  # fmt: skip
    for seed in range(n):
        noise = np.random.default_rng(seed).standard_normal(wave.size)
        yield measure_lines(replace(bare, flux=flux + sigma * noise))


def _width(values, errors, truth=None):
    values, errors = np.array(values), np.array(errors)
    centre = values.mean(axis=0) if truth is None else truth
    return np.sqrt(np.mean(((values - centre) / errors) ** 2, axis=0))


def test_line_fluxes_sums_and_ratios(template_fit):
    # The continuum is faint: otherwise the errors hold what stars may hide below a line.
    names = ("halpha", "nii_6584", "oiii_5007", "oii_3726", "oii_3729", "sii_6731")
    values, errors = [], []
    for lines in _line_draws(template_fit, 60, continuum=1.0, sigma=1.0):
        numbers = [lines[name] for name in names]
        numbers.append(lines.total("oii_3726", "oii_3729"))
        numbers.append(lines.log_ratio("oii_3726", "oii_3729"))
        numbers.append(lines.log_ratio("nii_6584", "halpha"))
        values.append([number[0] for number in numbers])
        errors.append([number[1] for number in numbers])
    truth = [FLUXES[name] for name in names]
    truth += [160.0, np.log10(70 / 90), np.log10(0.4)]
    width = _width(values, errors, truth)
    assert np.all((width > 0.72) & (width < 1.3)), width  # 60 draws: 0.09 each
    assert 0.88 < width.mean() < 1.12


def test_errors_of_lines_are_in_the_observed_frame(template_fit):
    """(1 + z) forgotten makes them 1.35 times too small, squared too large."""
    fit = next(_line_draws(template_fit, 1, continuum=1.0, sigma=1.0))
    i = fit.index("sii_6731")
    centre = LINES["sii_6731"].wavelength * (1 + template_fit.redshift)
    spread = np.hypot(1.4, centre * fit.width[i] / LIGHT)
    pixel = np.interp(centre, template_fit.wavelength, np.gradient(template_fit.wavelength))
    # One isolated Gaussian of known shape: sigma sqrt(2 sqrt(pi) spread pixel).
    expected = np.sqrt(2 * np.sqrt(np.pi) * spread * pixel)
    assert fit.flux_error[i] == pytest.approx(expected, rel=0.2)


def test_equivalent_widths_where_the_continuum_decides(template_fit):
    values, errors = [], []
    for lines in _line_draws(template_fit, 60, continuum=6.0, sigma=1.0, scale=60.0):
        i = [lines.index(name) for name in ("nii_6584", "sii_6716", "sii_6731")]
        values.append(lines.ew[i])
        errors.append(lines.ew_error[i])
    width = _width(values, errors)
    assert np.all((width > 0.6) & (width < 1.35)), width


def test_redshifts_of_lines_and_of_stars(clean):
    fit = measure_redshift(list(_draws(clean, 40, 10.0)))
    assert 0.7 < _width(fit.redshift, fit.error, Z) < 1.3
    velocity, error = [], []
    for spectrum in _draws(clean, 10, 15.0):
        stars = fit_populations(spectrum, Z)
        velocity.append(stars.redshift)
        error.append(stars.redshift_error)
        # One plus the redshift: the velocity's error in redshift.
        assert stars.redshift_error * LIGHT / (1 + Z) == pytest.approx(
            stars.velocity_error, rel=0.01
        )
    assert _width(velocity, error, Z) < 1.8


# Widths over forty draws of one galaxy at a signal-to-noise of 20. Where they are below one the
# error holds what noise does not show: models of stars (populations, E(B-V), dispersion, Balmer
# equivalent widths), shapes of lines and stars below them (fluxes, ratios).
WIDTHS = {
    "redshift": (0.6, 1.25), "age_light_weighted": (0.2, 1.1), "age_mass_weighted": (0.5, 1.2),
    "metallicity_light_weighted": (0.4, 1.2), "metallicity_mass_weighted": (0.5, 1.3),
    "ebv": (0.5, 1.3), "velocity_dispersion": (0.45, 1.2), "dn4000": (0.8, 1.3),
    "halpha_flux": (0.55, 1.2), "nii_6584_flux": (0.6, 1.2), "oii_3729_flux": (0.8, 1.35),
    "sii_6716_flux": (0.8, 1.35), "halpha_ew": (0.15, 1.1), "nii_6584_ew": (0.6, 1.2),
    "log_nii_ha": (0.55, 1.2), "log_sii_ha": (0.8, 1.5),
}  # fmt: skip


@pytest.mark.slow
def test_every_error_of_the_property_table(clean):
    table = measure_properties(list(_draws(clean, 40, 20.0)), n_processes=1)

    def numbers(name):
        column = table[name]
        bare = np.asarray(getattr(column, "unmasked", column), float)
        return np.where(np.asarray(column.mask), np.nan, bare)

    width = {}
    for name in [c.removesuffix("_error") for c in table.colnames if c.endswith("_error")]:
        value, error = numbers(name), numbers(f"{name}_error")
        if np.isfinite(value).all() and np.isfinite(error).all():
            width[name] = float(_width(value, error))
    for name, (low, high) in WIDTHS.items():
        assert low < width[name] < high, (name, width[name])
    lick = [width[name] for name in width if name.startswith("lick_")]
    assert len(lick) == 25
    assert 0.9 < np.mean(lick) < 1.1
    assert np.max(lick) < 1.45
