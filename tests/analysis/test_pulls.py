"""Errors against the scatter of noise draws, at a redshift where a forgotten 1 + z shows."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import median_filter

from photospec.analysis import fit_populations, measure_lines, measure_properties, measure_redshift
from photospec.analysis.emission.fit import (
    BACKGROUND,
    Residual,
    _inflation,
    fit_groups,
    fit_lines,
    gauss_newton,
    median_variance,
    minimise,
)
from photospec.analysis.emission.model import GROUPS
from photospec.analysis.populations.errors import full_error
from photospec.analysis.populations.kinematics import _named as named_kinematics
from photospec.analysis.populations.weights import clip_outliers
from photospec.analysis.redshift.templates import LOG_STEP
from photospec.dust import calzetti00
from photospec.lines import LINES
from photospec.spectrum import from_arrays, rebin, smooth, to_arrays
from photospec.utils.stats import robust_std

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
    for seed in range(n):
        yield measure_lines(_bare(fit, continuum=continuum, sigma=sigma, seed=seed, scale=scale))


def _bare(fit, *, continuum, sigma, seed, scale=1.0):
    """Lines of known flux on a flat continuum."""
    wave = fit.wavelength
    flux = np.full(wave.size, continuum)
    lsf = np.full(wave.size, 1.4)
    for name, strength in FLUXES.items():
        centre = LINES[name].wavelength * (1 + fit.redshift)
        spread = np.hypot(1.4, centre * 110.0 / LIGHT)
        profile = np.exp(-0.5 * ((wave - centre) / spread) ** 2) / spread / np.sqrt(2 * np.pi)
        flux = flux + scale * strength * profile
    noise = np.random.default_rng(seed).standard_normal(wave.size)
    return replace(
        fit, flux=flux + sigma * noise, sigma=np.full(wave.size, sigma),
        continuum=np.full(wave.size, continuum), mask=np.zeros(wave.size, bool), lsf_sigma=lsf,
        gas={},
    )  # fmt: skip


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
    assert np.all((width > 0.75) & (width < 1.15)), width


BROAD = {"halpha": 1.0, "hbeta": 0.3}


def _with_broad_lines(fit, width, strength):
    flux = fit.flux.copy()
    for name, share in BROAD.items():
        centre = LINES[name].wavelength * (1 + fit.redshift)
        spread = np.hypot(1.4, centre * width / LIGHT)
        profile = np.exp(-0.5 * ((fit.wavelength - centre) / spread) ** 2) / spread
        flux += share * strength * profile / np.sqrt(2 * np.pi)
    return replace(fit, flux=flux)


@pytest.mark.parametrize(("width", "strength"), [(900.0, 1500.0), (4000.0, 6000.0)])
def test_broad_fluxes_and_widths(template_fit, width, strength):
    """Width below one: the error holds a twentieth of the stars under the line, too."""
    values, errors = [], []
    for seed in range(24):
        made = _bare(template_fit, continuum=3.0, sigma=1.0, seed=seed, scale=3.0)
        lines = measure_lines(_with_broad_lines(made, width, strength))
        assert lines.broad_line
        rows = [lines.index(name) for name in BROAD]
        values.append([*lines.broad_flux[rows], lines.broad_width, *lines.flux[rows]])
        errors.append([*lines.broad_flux_error[rows], lines.broad_width_error])
        errors[-1] += list(lines.flux_error[rows])
    truth = [strength, 0.3 * strength, width, 3 * FLUXES["halpha"], 3 * FLUXES["hbeta"]]
    spread = _width(values, errors, truth)
    assert np.all((spread > 0.5) & (spread < 1.25)), spread


def test_noise_of_a_running_median():
    """Most at the ends of the row, where reflected pixels count twice."""
    noise = np.random.default_rng(4).standard_normal((1500, 400))
    scatter = median_filter(noise, (1, BACKGROUND), mode="reflect").std(axis=0)
    error = np.sqrt(median_variance(400))
    assert error[200] == pytest.approx(np.sqrt(np.pi / 2 / BACKGROUND))
    np.testing.assert_allclose(scatter, error, rtol=0.12)
    assert scatter[0] > 1.3 * scatter[200]


def minimise_closely(problem, kinematics, own, limits, tied=True):
    """To the minimum, further than measurements need."""
    for _ in range(8):
        kinematics = minimise(problem, kinematics, own, limits, tied)
    return gauss_newton(problem, kinematics, own, limits, tied)


def test_level_under_the_lines_is_in_flux_and_equivalent_width(template_fit):
    """A level too high by b: fluxes are lower by the response times b, the continuum higher."""
    made = _bare(template_fit, continuum=6.0, sigma=1.0, seed=0, scale=30.0)
    groups = tuple(g for g in GROUPS if Residual.of(made).coverage(g) > 0.9)
    names = [group.names[0] for group in groups]
    residual, found = fit_lines(made, groups, (0.0, 100.0), minimise_closely)
    rows = [names.index(n) for n in ("sii_6716", "sii_6731", "halpha", "oii_3729")]
    higher, lower = (
        fit_groups(
            replace(residual, flux=residual.flux + step), groups, (0.0, 100.0), minimise_closely
        )
        for step in (0.2, -0.2)
    )
    change = (higher.flux - lower.flux)[rows] / 0.4
    np.testing.assert_allclose(found.level_response[rows], change, rtol=0.05)
    # Neighbours have the same level, lines far apart do not.
    level = residual.level_covariance(np.array([6718.3, 6732.7, 3729.9]))
    assert level[0, 1] > 0.85 * level[0, 0]
    assert level[0, 2] == 0
    lines = measure_lines(made, nonlinear=minimise_closely)
    i, stretch = lines.index("sii_6731"), 1 + made.redshift
    response = found.level_response[names.index("sii_6731")] * stretch
    variance = residual.level_covariance(lines.wavelength)[i, i] * found.inflation**2
    flux, error, level = lines.flux[i], lines.flux_error[i], lines.continuum[i]
    square = error**2 + (flux / level) ** 2 * variance + 2 * flux / level * response * variance
    assert lines.ew_error[i] == pytest.approx(np.sqrt(square) / level / stretch, rel=1e-6)


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


# Each of the following compares an error with what propagation says, without draws of noise.


def test_sums_and_ratios_of_lines_are_propagated_by_hand(template_fit):
    lines = next(_line_draws(template_fit, 1, continuum=1.0, sigma=1.0))
    names = ("oii_3726", "oii_3729", "halpha", "nii_6584")
    rows = [lines.index(name) for name in names]
    # Round numbers: [O II] anticorrelated as in a blend, [N II] and Halpha correlated.
    flux = np.zeros(lines.flux.size)
    flux[rows] = 30.0, 40.0, 50.0, 20.0
    covariance = np.eye(flux.size)
    a, b, halpha, nii = rows
    covariance[a, a], covariance[b, b] = 9.0, 16.0
    covariance[a, b] = covariance[b, a] = -6.0
    covariance[halpha, halpha], covariance[nii, nii] = 25.0, 4.0
    covariance[nii, halpha] = covariance[halpha, nii] = 5.0
    lines = replace(
        lines, flux=flux, covariance=covariance, flux_error=np.sqrt(np.diag(covariance))
    )
    assert lines.total("oii_3726", "oii_3729") == pytest.approx((70.0, np.sqrt(13.0)))
    assert lines.total("halpha", "nii_6584") == pytest.approx((70.0, np.sqrt(39.0)))
    value, error = lines.log_ratio("nii_6584", "halpha")
    assert value == pytest.approx(np.log10(0.4))
    assert error == pytest.approx(np.sqrt(0.1**2 + 0.1**2 - 2 * 5 / 1000) / np.log(10))
    _, error = lines.log_ratio("oii_3726", "oii_3729")
    assert error == pytest.approx(np.sqrt(0.1**2 + 0.1**2 + 2 * 6 / 1200) / np.log(10))
    _, error = lines.log_ratio(("oii_3726", "oii_3729"), "halpha")
    assert error == pytest.approx(np.sqrt(13 / 70**2 + 0.1**2) / np.log(10))


def test_sum_of_a_doublet_has_the_error_of_the_fit(template_fit):
    """The covariance of the fit is per rest Angstrom: fluxes are longer by 1 + z."""
    made = _bare(template_fit, continuum=1.0, sigma=1.0, seed=0)
    lines = measure_lines(made)
    groups = tuple(g for g in GROUPS if Residual.of(made).coverage(g) > 0.9)
    _, found = fit_lines(made, groups, (0.0, 100.0))
    rows = [[group.names[0] for group in groups].index(n) for n in ("oii_3726", "oii_3729")]
    stretch = 1 + made.redshift
    block = found.covariance[np.ix_(rows, rows)] * stretch**2
    assert block[0, 1] < -0.1 * np.sqrt(block[0, 0] * block[1, 1])  # blended
    total, error = lines.total("oii_3726", "oii_3729")
    assert total == pytest.approx(found.flux[rows].sum() * stretch, rel=1e-6)
    misfit = np.sum((0.5 * found.misfit * found.flux[rows] * stretch) ** 2)
    assert error == pytest.approx(np.sqrt(block.sum() + misfit), rel=1e-6)
    assert lines.flux_error[lines.index("oii_3729")] == pytest.approx(
        np.sqrt(block[1, 1] + (0.5 * found.misfit * found.flux[rows[1]] * stretch) ** 2), rel=1e-6
    )


def test_lines_know_no_frame(template_fit):
    """The same photons at another redshift: same fluxes, widths, rest-frame equivalent widths."""
    near = _bare(template_fit, continuum=6.0, sigma=1.0, seed=0, scale=20.0)
    longer = 1.7 / (1 + near.redshift)
    far = replace(
        near, redshift=0.7, wavelength=near.wavelength * longer, flux=near.flux / longer,
        sigma=near.sigma / longer, continuum=near.continuum / longer,
        lsf_sigma=near.lsf_sigma * longer,
    )  # fmt: skip
    one, other = measure_lines(near), measure_lines(far)
    for name in ("flux", "flux_error", "covariance", "ew", "ew_error", "width", "width_error"):
        np.testing.assert_allclose(
            getattr(other, name), getattr(one, name), rtol=1e-5, err_msg=name
        )
    np.testing.assert_allclose(other.continuum * longer, one.continuum, rtol=1e-6)


def test_error_of_the_continuum_beside_a_line(template_fit):
    """Where lines are strong and the continuum faint it is that of the equivalent width."""
    continuum, errors = [], []
    for lines in _line_draws(template_fit, 16, continuum=6.0, sigma=1.0, scale=60.0):
        rows = [lines.index(n) for n in ("nii_6584", "sii_6716", "oii_3729", "oiii_4959")]
        flux, level = lines.flux[rows], lines.continuum[rows]
        own = (lines.flux_error[rows] / level / (1 + Z)) ** 2
        rest = np.sqrt(lines.ew_error[rows] ** 2 - own)
        errors.append(rest * level**2 * (1 + Z) / flux)
        continuum.append(level)
    # The median of 151 pixels of noise one, whatever the scatter in line-free places adds; [S II]
    # lies near the end of the spectrum.
    errors = np.array(errors)
    assert np.all((errors > 0.099) & (errors < 0.14)), errors
    assert np.all(errors[:, 1] > 1.2 * errors[:, 0])
    scatter = np.sqrt(np.mean((np.array(continuum) - 6.0) ** 2))
    assert 0.5 < scatter / errors.mean() < 1.6


def test_scatter_without_lines_is_that_of_a_gaussian(template_fit):
    """Median absolute deviations times 1.4826, or errors are a third too small."""
    values = np.random.default_rng(0).standard_normal(20000)
    assert robust_std(3 * values) == pytest.approx(3, rel=0.03)
    made = _bare(template_fit, continuum=1.0, sigma=1.0, seed=1, scale=0.0)
    # Errors given as a third of the noise.
    small = replace(made, sigma=made.sigma / 3)
    assert _inflation(Residual.of(small), 110.0) == pytest.approx(3, rel=0.12)
    assert _inflation(Residual.of(made), 110.0) == pytest.approx(1, abs=0.1)


def test_noise_of_a_fit_without_errors_is_that_of_its_residuals():
    n = 4000
    data = _Pixels(
        flux=0.2 * np.random.default_rng(2).standard_normal(n), sigma=np.ones(n),
        good=np.ones(n, bool), wavelength=np.geomspace(5100.0, 5700.0, n),
        spectrum=SimpleNamespace(has_sigma=False),
    )  # fmt: skip
    clipped = clip_outliers(data, np.zeros(n))
    assert np.median(clipped.sigma) == pytest.approx(0.2, rel=0.05)
    # Four sigma: none of 4000 pixels of noise, but for one in sixteen thousand.
    assert np.count_nonzero(~clipped.good) <= 2
    told = replace(data, sigma=np.full(n, 0.1), spectrum=SimpleNamespace(has_sigma=True))
    assert np.count_nonzero(~clip_outliers(told, np.zeros(n)).good) <= 2


@dataclass(frozen=True)
class _Pixels:
    """What `clip_outliers` needs of a FitData."""

    flux: np.ndarray
    sigma: np.ndarray
    good: np.ndarray
    wavelength: np.ndarray
    spectrum: object


@pytest.mark.parametrize(
    ("case", "lines", "uncertainty"),
    [("stars", 0.2, True), ("polished", 6.0, True), ("jackknife", 0.5, False)],
)
def test_error_of_a_redshift_grows_with_one_plus_z(make_galaxy, case, lines, uncertainty):
    """The same pixels at wavelengths 1.3 times longer: 1 + z and its error are 1.3 times larger."""
    step = 3 * LOG_STEP  # whole pixels of the coarse scan, so that nothing else changes
    stretch = np.exp(np.rint(np.log(1.3) / step) * step)
    wavelength = np.exp(np.arange(np.log(4000.0), np.log(7400.0), LOG_STEP))
    spectrum = make_galaxy(0.12, lines=lines, signal_to_noise=30, wavelength=wavelength)
    flux, sigma = spectrum.flux.value, spectrum.uncertainty.array
    if case == "jackknife":
        # As predicted: no noise, and a wave that no template has.
        clean = make_galaxy(0.12, lines=lines, wavelength=wavelength).flux.value
        flux = clean * (1 + 0.05 * np.sin(np.arange(flux.size) / 9.0))
    near, far = (
        measure_redshift(
            from_arrays(wavelength * factor, flux, sigma=sigma if uncertainty else None)
        )
        for factor in (1.0, stretch)
    )
    assert (near.solutions.oii_signal[0] > 15) == (case != "stars") or not uncertainty
    assert (near.solutions.correlation[0] > 1) == (case == "jackknife")
    assert 1 + far.redshift == pytest.approx((1 + near.redshift) * stretch, rel=1e-5)
    assert far.error / near.error == pytest.approx(stretch, rel=0.03)
    # Absolute: between a few and a few hundred km/s.
    assert near.error > 1e-6


def test_error_of_ebv_holds_the_models(template_fit):
    """Three tenths of it, from one law and one screen, whatever the noise."""
    assert full_error("ebv", 0.0, 0.2) == pytest.approx(0.06)
    assert full_error("ebv", 0.08, 0.2) == pytest.approx(np.hypot(0.06, 0.06))
    assert full_error("age_light_weighted", 0.1) == pytest.approx(np.hypot(0.095, 0.08))


def test_error_of_ebv_of_a_dusty_galaxy(clean):
    wavelength, flux = clean
    dust = 10 ** (-0.4 * 0.25 * calzetti00(wavelength / (1 + Z)))
    sigma = np.full(flux.size, np.median(flux * dust) / 300.0)
    fit = fit_populations(from_arrays(wavelength, flux * dust, sigma=sigma, lsf=1.0), Z)
    assert fit.ebv > 0.15
    assert 0.3 * fit.ebv <= fit.ebv_error < 0.45 * fit.ebv


@pytest.mark.parametrize("dispersion", [15.0, 60.0, 300.0])
def test_error_of_a_dispersion_near_the_floor(dispersion):
    """pPXF finds sigma^2 - floor^2: what that is uncertain by shows less and less in sigma."""
    floor, step = 70.0, 0.01
    found = SimpleNamespace(
        sol=np.array([3.0, dispersion]), error=np.array([2.0, 5.0]), chi2=2.25,
        galaxy=np.zeros(4), weights=np.ones(2), bestfit=np.zeros(4), gas_bestfit=None,
        mpoly=None, gas_flux=None, reddening=None,
    )  # fmt: skip
    stars = named_kinematics(found, 0, 2, (), floor)
    assert stars.stars[1] == pytest.approx(np.sqrt(dispersion**2 + floor**2))
    slope = (np.hypot(dispersion + step, floor) - np.hypot(dispersion - step, floor)) / (2 * step)
    # The root of the reduced chi-square scales pPXF's errors.
    assert stars.stars_error[:2] == pytest.approx([3.0, 7.5 * slope], rel=1e-4)
    assert np.isnan(stars.stars_error[2:]).all()


def test_error_of_the_stars_redshift_is_that_of_their_velocity(template_fit):
    want = (1 + template_fit.redshift) * template_fit.velocity_error / LIGHT
    assert template_fit.redshift_error == pytest.approx(want, rel=1e-9)
    assert template_fit.redshift_error > 0


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


def _coarse(make, step, n, *, signal_to_noise=20.0):
    """Draws of the galaxy in pixels of a step (Angstrom) that average over it, and its lines."""
    fine = np.arange(3780.0, 9220.0, 0.5)
    made = make(Z, lines=2.0, age=2e9, wavelength=fine)
    wavelength = np.arange(3800.0, 9200.0, step)
    flux = rebin(to_arrays(made).flux[0], fine, wavelength)
    sigma = np.full(flux.size, np.median(flux) / signal_to_noise / np.sqrt(step))
    lsf = float(np.hypot(1.0, step / np.sqrt(12)))  # the pixel included
    return [
        from_arrays(
            wavelength,
            flux + sigma * np.random.default_rng(seed).standard_normal(flux.size),
            sigma=sigma,
            lsf=lsf,
        )
        for seed in range(n)
    ]


# True fluxes of that galaxy; [O II] together: its lines are 5 Angstrom apart.
COARSE = {"hbeta": 20.0, "oiii_5007": 21.0, "halpha": 62.0, "nii_6584": 21.0, "sii_6716": 12.0}
OII = ("oii_3726", "oii_3729")


@pytest.mark.slow
@pytest.mark.parametrize("step", [3.0, 6.0, 10.0])
def test_errors_in_coarse_pixels(make_galaxy, step):
    """Errors hold what pixels of up to 590 km/s hide, and are not made many times too large."""
    table = measure_properties(_coarse(make_galaxy, step, 16), n_processes=1)
    pulls = {"redshift": (table["redshift"] - Z) / table["redshift_error"]}
    for name, truth in COARSE.items():
        pulls[name] = (table[f"{name}_flux"].value - truth) / table[f"{name}_flux_error"].value
    both = sum(table[f"{name}_flux"].value for name in OII)
    variance = sum(table[f"{name}_flux_error"].value ** 2 for name in OII)
    pulls["oii"] = (both - 70.0) / np.sqrt(variance)
    for name, pull in pulls.items():
        pull = np.asarray(pull, float)
        assert np.isfinite(pull).all(), name
        assert abs(pull.mean()) < 1.5, (name, pull.mean())
        assert 0.2 < pull.std() < 1.4, (name, pull.std())
        assert np.abs(pull).max() < 3.5, (name, pull)
    # Dispersions from such pixels are limits sooner or later, never confident and wrong.
    value, error = (
        np.ma.filled(np.ma.asarray(getattr(column, "value", column), float), np.nan)
        for column in (table["velocity_dispersion"], table["velocity_dispersion_error"])
    )
    seen = np.isfinite(value)
    assert np.all(np.abs(value - 160.0)[seen] < 3 * error[seen])


@pytest.mark.slow
def test_a_dispersion_below_the_resolution_is_a_limit(make_galaxy):
    """Stars of 25 km/s behind a spectrograph of 200: whatever is given reaches down to them."""
    wavelength = np.arange(3800.0, 9200.0, 2.0)
    made = make_galaxy(Z, lines=1.0, age=2e9, wavelength=wavelength, dispersion=25.0)
    lsf = wavelength * 200.0 / LIGHT
    flux = smooth(to_arrays(made).flux[0], wavelength, lsf)
    sigma = np.full(flux.size, np.median(flux) / 30.0)
    draws = [
        from_arrays(
            wavelength,
            flux + sigma * np.random.default_rng(seed).standard_normal(flux.size),
            sigma=sigma,
            lsf=np.hypot(lsf, 0.6),
        )
        for seed in range(12)
    ]
    table = measure_properties(draws, n_processes=1, redshift=Z)
    for row in table:
        value, error = row["velocity_dispersion"], row["velocity_dispersion_error"]
        if np.ma.is_masked(value):
            assert "dispersion" in row["flags"]
            continue
        # 70 km/s of the models themselves are in these stars.
        assert value.value - 2 * error.value < 80.0, (value, error, row["flags"])
