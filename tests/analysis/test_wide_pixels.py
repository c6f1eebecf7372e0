"""Spectra whose pixels do not sample lines: these are fitted on the pixels that they came on."""

import numpy as np
import pytest
from scipy.special import ndtr

from photospec.analysis import fit_populations, measure_lines, measure_properties, measure_redshift
from photospec.analysis.emission.model import LineGroup, group_profiles
from photospec.analysis.populations.log_spectrum import SDSS_STEP, to_log_spectrum
from photospec.spectrum import from_arrays, rebin, to_arrays
from photospec.spectrum.wavelengths import pixel_edges

Z = 0.35
LIGHT = 299792.458
# Of `make_galaxy` with lines=2.
TRUTH = {
    "oii_3726": 30.0, "oii_3729": 40.0, "hbeta": 20.0, "oiii_5007": 21.0, "halpha": 62.0,
    "nii_6584": 21.0, "sii_6716": 12.0, "sii_6731": 9.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def averaged(make_galaxy):
    """Function that averages one galaxy over pixels of a step (Angstrom)."""
    fine = np.arange(3760.0, 9240.0, 0.5)
    flux = to_arrays(make_galaxy(Z, lines=2.0, age=2e9, wavelength=fine)).flux[0]

    def average(step, phase=0.0):
        wavelength = np.arange(3800.0 + phase * step, 9200.0, step)
        return wavelength, rebin(flux, fine, wavelength)

    return average


def _lines(wavelength, flux, sigma, lsf):
    spectrum = from_arrays(wavelength, flux, sigma=sigma, lsf=lsf)
    return measure_lines(fit_populations(spectrum, Z))


@pytest.mark.parametrize("wavelength", [
    5000.0 * np.exp(3e-4 * np.arange(200)),
    np.arange(5000.0, 5400.0, 10.0),
    np.cumsum(np.linspace(2.0, 9.0, 80)) + 5000.0,
], ids=["logarithmic", "even", "uneven"])  # fmt: skip
def test_profiles_are_means_over_pixels(wavelength):
    """A Gaussian's integral over each pixel, over its width; at the ends as inside."""
    centres = [wavelength[0] + 1.0, 5100.3, 5104.0, wavelength[-1] + 2.0, 9000.0]
    groups = [LineGroup((str(at),), wavelengths=(at,)) for at in centres]
    lsf = np.linspace(1.0, 3.0, wavelength.size)
    found = group_profiles(wavelength, lsf, (50.0, 0.0), (120.0, 0.0), tuple(groups))
    edges = pixel_edges(wavelength)
    for column, at in zip(found.T, centres, strict=True):
        centre = at * np.exp(50.0 / LIGHT)
        sigma = np.hypot(np.interp(centre, wavelength, lsf), centre * 120.0 / LIGHT)
        expected = np.diff(ndtr((edges - centre) / sigma)) / np.diff(edges)
        np.testing.assert_allclose(column, expected, atol=1e-8)


@pytest.mark.parametrize(("step", "phase"), [(3.0, 0.5), (6.0, 0.0), (6.0, 0.6), (10.0, 0.3)])
def test_lines_of_a_pair_without_noise(averaged, step, phase):
    """Each line by itself, two of them in pixels wider than their distance."""
    wavelength, flux = averaged(step, phase)
    sigma = np.full(flux.size, np.median(flux) / 20 / np.sqrt(step))
    lines = _lines(wavelength, flux, sigma, np.hypot(0.3, step / np.sqrt(12)))
    for name, truth in TRUTH.items():
        value, error = lines[name]
        assert abs(value - truth) < 1.2 * error, name
    total, error = lines.total("oii_3726", "oii_3729")
    assert abs(total - 70.0) < 1.2 * error
    # 150 km/s in the galaxy; the line-spread function is taken off with its pixels.
    widths = lines.width[[lines.index(name) for name in TRUTH]]
    seen = np.isfinite(widths)
    assert seen.sum() >= 6
    np.testing.assert_allclose(widths[seen], 150.0, atol=30.0)


@pytest.mark.parametrize("step", [3.0, 6.0, 10.0])
def test_pulls_of_each_line(averaged, step):
    """Of 24 draws: 0.14 for each width, 0.2 for each mean."""
    wavelength, flux = averaged(step)
    sigma = np.full(flux.size, np.median(flux) / 20 / np.sqrt(step))
    pulls = []
    for seed in range(24):
        noise = sigma * np.random.default_rng(seed).standard_normal(flux.size)
        lines = _lines(wavelength, flux + noise, sigma, np.hypot(0.3, step / np.sqrt(12)))
        pull = [(lines[name][0] - truth) / lines[name][1] for name, truth in TRUTH.items()]
        total, error = lines.total("oii_3726", "oii_3729")
        pulls.append([*pull, (total - 70.0) / error])
    pulls = np.array(pulls)
    assert np.all(np.abs(pulls.mean(axis=0)) < 0.75), pulls.mean(axis=0)
    width = pulls.std(axis=0)
    assert np.all((width > 0.5) & (width < 1.45)), width
    assert 0.75 < width.mean() < 1.15, width


def test_pixels_that_sample_lines_are_shared_out(averaged):
    """From 104 km/s on at the median they are kept, with the line-spread function of the optics."""
    for step, wide in ((2.0, False), (3.0, True)):
        wavelength, flux = averaged(step)
        lsf = np.hypot(0.9, step / np.sqrt(12))
        arrays = to_arrays(from_arrays(wavelength, flux, lsf=lsf))
        own = to_log_spectrum(arrays, Z).own_pixels
        assert (own is not None) == wide == (np.median(np.diff(np.log(wavelength))) > 3.45e-4)
    np.testing.assert_allclose(own.lsf_sigma, 0.9)
    np.testing.assert_array_equal(own.wavelength, wavelength)
    assert own.sigma is None
    # Narrower than a pixel can be: without it from the start.
    arrays = to_arrays(from_arrays(wavelength, flux, lsf=0.5))
    np.testing.assert_allclose(to_log_spectrum(arrays, Z).own_pixels.lsf_sigma, 0.5)
    # Logarithmic ones are never shared out.
    wavelength = 3800.0 * np.exp(3 * SDSS_STEP * np.arange(1200))
    arrays = to_arrays(from_arrays(wavelength, np.ones(1200), lsf=2.0))
    assert to_log_spectrum(arrays, Z).own_pixels is None


def test_stars_go_back_to_the_pixels(averaged):
    """What is taken off the pixels, shared out once more, are the stars of the fit."""
    wavelength, flux = averaged(6.0)
    spectrum = from_arrays(wavelength, flux, sigma=np.full(flux.size, 0.1), lsf=1.8)
    fit = fit_populations(spectrum, Z)
    own = fit.on_own_pixels()
    assert own.on_own_pixels() is own
    np.testing.assert_allclose(own.flux, flux)
    np.testing.assert_allclose(own.sigma, 0.1)
    seen = np.isfinite(own.continuum)
    assert seen.mean() > 0.75
    again = rebin(own.continuum[seen], wavelength[seen], fit.wavelength)
    off = again / fit.continuum - 1
    assert np.nanstd(off) < 0.01
    # Interpolation alone rounds them twice.
    bare = np.interp(wavelength, fit.wavelength, fit.continuum)
    rounded = rebin(bare[seen], wavelength[seen], fit.wavelength) / fit.continuum - 1
    assert np.nanstd(off) < 0.65 * np.nanstd(rounded)


def test_bad_pixels_and_missing_errors(averaged):
    """A bad line stays masked; without errors the noise is that of the residuals."""
    wavelength, flux = averaged(6.0)
    noise = 0.15 * np.random.default_rng(5).standard_normal(flux.size)
    at = np.argmin(np.abs(wavelength - 6564.6 * (1 + Z)))
    bad = flux + noise
    bad[at - 2 : at + 3] = np.nan
    table = measure_properties(from_arrays(wavelength, bad, lsf=1.8), redshift=Z)
    assert np.ma.is_masked(table["halpha_flux"][0])
    assert abs(table["hbeta_flux"][0].value - 20.0) < 3 * table["hbeta_flux_error"][0].value
    lines = measure_lines(fit_populations(from_arrays(wavelength, bad, lsf=1.8), Z))
    own = fit_populations(from_arrays(wavelength, bad, lsf=1.8), Z).on_own_pixels()
    good = np.isfinite(bad)
    assert 0.7 < np.median(own.sigma[good]) / 0.15 < 1.4
    assert np.all(np.isinf(own.sigma[~good]))
    assert lines.reason[lines.index("halpha")] == "bad pixels at the line"


@pytest.mark.parametrize("age", [1e9, 1.5e9, 2e9, 3e9, 6e9])
def test_redshift_of_stars_holds_what_templates_do_not(make_galaxy, age):
    """At a signal-to-noise of 100 noise makes an error of 1 km/s, where templates are 5 off."""
    wavelength = np.geomspace(3800.0, 9200.0, 3840)
    flux = to_arrays(make_galaxy(Z, lines=0.0, age=age, wavelength=wavelength)).flux[0]
    fit = measure_redshift(
        from_arrays(wavelength, flux, sigma=np.full(flux.size, flux.mean() / 100))
    )
    assert abs(fit.redshift - Z) < 2 * fit.error
    assert 2.8 < fit.error / (1 + Z) * LIGHT < 4.0


def test_redshift_of_lines_is_as_good_as_they_are(make_galaxy):
    wavelength = np.geomspace(3800.0, 9200.0, 3840)
    flux = to_arrays(make_galaxy(Z, lines=20.0, wavelength=wavelength)).flux[0]
    fit = measure_redshift(
        from_arrays(wavelength, flux, sigma=np.full(flux.size, flux.mean() / 100))
    )
    assert abs(fit.redshift - Z) < 2 * fit.error
    assert fit.solutions.template_error[0] * LIGHT < 1.5
