"""Stellar populations: closed forms of the parts, recovery of the whole, observed spectra."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from specutils import Spectrum

from photospec.analysis import fit_populations
from photospec.analysis.populations.kinematics import losvd_convolve
from photospec.analysis.populations.resolution import match_templates
from photospec.analysis.populations.templates import TemplateSet, bc03_templates
from photospec.analysis.populations.weights import build_system, smoothness_rows
from photospec.dust import calzetti00
from photospec.errors import InputError
from photospec.spectrum import SpectrumArrays, read_spectrum, smooth, to_arrays, vacuum_to_air

LIGHT = 299792.458
SDSS_STEP = 1e-4 * np.log(10)


def make_spectrum(
    *, ages=(1.2, 8.0), light=(0.4, 0.6), ebv=0.15, velocity=40.0, dispersion=180.0, redshift=0.07,
    snr=None, seed=1, lsf=67.0, lines=None,
):  # fmt: skip
    """Two populations of solar metallicity on SDSS pixels, made without the fit's own code."""
    library = bc03_templates()
    which = [int(np.argmin(abs(library.age - age))) for age in ages]
    rest = sum(w * library.spectra[:, i, 4] for w, i in zip(light, which, strict=True))
    rest = rest * 10 ** (-0.4 * ebv * calzetti00(library.wavelength))
    own = library.lsf_sigma / library.wavelength * LIGHT
    wave = 3850.0 * np.exp(SDSS_STEP * np.arange(3650))
    stretch = (1 + redshift) * np.exp(velocity / LIGHT)
    fine = np.interp(wave / stretch, library.wavelength, own)
    broadening = np.sqrt(dispersion**2 + lsf**2 - fine**2) / LIGHT * wave / stretch
    flux = smooth(rest, library.wavelength, broadening, new_wavelength=wave / stretch)
    for centre, strength in (lines or {}).items():
        middle = centre * stretch
        sigma = middle * np.hypot(90.0, lsf) / LIGHT
        flux = flux + strength / sigma / 2.506628 * np.exp(-0.5 * ((wave - middle) / sigma) ** 2)
    flux = 20 * flux
    sigma = np.full(wave.size, np.median(flux) / (snr or 200.0))
    if snr:
        flux = flux + sigma * np.random.default_rng(seed).standard_normal(wave.size)
    return SpectrumArrays(
        wavelength=wave, flux=flux[None], sigma=sigma[None], mask=np.zeros((1, wave.size), bool),
        lsf=wave * lsf / LIGHT, redshift=np.array([redshift]),
    )  # fmt: skip


def _one_line(sigma, centre=5500.0):
    """A template set whose only spectrum is a Gaussian of given width."""
    wave = np.exp(np.log(3600) + SDSS_STEP / 3 * np.arange(9000))
    line = np.exp(-0.5 * ((wave - centre) / sigma) ** 2)
    one = np.ones((1, 1))
    return TemplateSet(
        "line", wave, line[:, None], np.ones((1, 1, 1)), np.ones(1), np.zeros(1), one, one, one,
        np.full(wave.size, sigma), (3700.0, 7000.0),
    )  # fmt: skip


def _width(wavelength, line):
    """Centre (Angstrom) and standard deviation of a profile."""
    centre = np.sum(wavelength * line * wavelength) / np.sum(line * wavelength)
    return centre, np.sqrt(
        np.sum(wavelength * line * (wavelength - centre) ** 2) / np.sum(wavelength * line)
    )


def test_templates_take_on_the_line_spread_function():
    library = _one_line(1.1)
    wave = np.exp(np.log(4000) + SDSS_STEP * np.arange(2300))
    matched = match_templates(library, wave, np.full(wave.size, 2.0), np.ones(wave.size, bool))
    assert matched.floor == 0
    centre, width = _width(matched.wavelength, matched.basis[:, 0])
    pixel = 5500 * SDSS_STEP
    assert centre == pytest.approx(5500.0, abs=0.01)
    assert width == pytest.approx(np.sqrt(2.0**2 + pixel**2 / 12), rel=0.002)


def test_floor_where_templates_are_worse_than_the_data():
    library = _one_line(1.5)
    wave = np.exp(np.log(4000) + SDSS_STEP * np.arange(2300))
    fitted = (wave > 4500) & (wave < 6000)
    matched = match_templates(library, wave, np.full(wave.size, 1.0), fitted)
    worst = wave[fitted][0]
    assert matched.floor == pytest.approx(np.sqrt(1.5**2 - 1.0**2) / worst * LIGHT, rel=1e-3)
    # What the templates then have is the data's resolution and the floor.
    _, width = _width(matched.wavelength, matched.basis[:, 0])
    want = np.sqrt(1.0 + (matched.floor / LIGHT * 5500) ** 2 + (5500 * SDSS_STEP) ** 2 / 12)
    assert width == pytest.approx(want, rel=0.002)


def test_velocity_distribution_shifts_and_broadens():
    library = _one_line(1.5)
    wave = np.exp(np.log(4000) + SDSS_STEP * np.arange(2300))
    matched = match_templates(library, wave, None, np.ones(wave.size, bool))
    stars = np.array([250.0, 200.0, np.nan, np.nan])
    before = _width(wave, matched.basis[matched.n_pad : -matched.n_pad, 0])
    after = _width(wave, losvd_convolve(matched, stars)[:, 0])
    assert after[0] / before[0] == pytest.approx(np.exp(250 / LIGHT), abs=2e-6)
    want = np.sqrt(before[1] ** 2 + (5500 * 200 / LIGHT) ** 2)
    assert after[1] == pytest.approx(want, rel=0.003)
    # A positive h4 has more in core and wings; the integral stays.
    peaked = losvd_convolve(matched, np.array([250.0, 200.0, 0.0, 0.1]))[:, 0]
    plain = losvd_convolve(matched, stars)[:, 0]
    assert peaked.max() > 1.02 * plain.max()


def test_shortened_system_has_the_same_chi2():
    rng = np.random.default_rng(0)
    basis, coefficients = rng.normal(size=(400, 6)), rng.normal(size=(6, 15))
    other, free = rng.normal(size=(400, 2)), rng.normal(size=(400, 3))
    flux, sigma = rng.normal(size=400), rng.uniform(0.5, 2, 400)
    system = build_system(basis, coefficients, other, flux, sigma)
    weights = rng.uniform(size=17)
    model = basis @ coefficients @ weights[:15] + other @ weights[15:]
    chi2 = np.sum(((flux - model) / sigma) ** 2)
    residual = system.matrix @ weights - system.data
    assert residual @ residual + system.rest == pytest.approx(chi2)
    # Free columns: the same as minimising over them.
    system = build_system(basis, coefficients, other, flux, sigma, free)
    left = (flux - model) / sigma
    columns = free / sigma[:, None]
    left = left - columns @ np.linalg.lstsq(columns, left, rcond=None)[0]
    residual = system.matrix @ weights - system.data
    assert residual @ residual + system.rest == pytest.approx(left @ left)


def test_smoothness_leaves_straight_lines_alone():
    rows = smoothness_rows((6, 4), 10.0, 2)
    age, metal = np.meshgrid(np.arange(6.0), np.arange(4.0), indexing="ij")
    plane = np.append((1 + 2 * age - 3 * metal).ravel(), [5, 7])
    assert np.abs(rows @ plane).max() < 1e-9
    bump = np.zeros((6, 4))
    bump[3, 2] = 1
    assert np.sum((rows @ np.append(bump.ravel(), [0, 0])) ** 2) == pytest.approx(100 * (6 + 5))


def test_recovers_what_went_in():
    fit = fit_populations(make_spectrum(snr=60.0))
    assert fit.flags == ()
    assert fit.velocity == pytest.approx(40, abs=6)
    assert fit.velocity_dispersion == pytest.approx(180, rel=0.03)
    assert fit.ebv == pytest.approx(0.15, abs=0.03)
    want = 10 ** (0.4 * np.log10(1.2) + 0.6 * np.log10(8.0))
    assert np.log10(fit.age_light_weighted / want) == pytest.approx(0, abs=0.12)
    assert fit.metallicity_light_weighted == pytest.approx(0, abs=0.12)
    assert fit.age_mass_weighted > fit.age_light_weighted
    assert fit.chi2 == pytest.approx(1, abs=0.1)
    assert fit.redshift == pytest.approx(1.07 * np.exp(40 / LIGHT) - 1, abs=2e-5)
    assert fit.light_weights.sum() == pytest.approx(1)
    assert fit.mass_weights.sum() == pytest.approx(1)
    good = fit.fitted
    assert np.std((fit.flux - fit.best_fit)[good] / fit.sigma[good]) == pytest.approx(1, abs=0.05)
    assert "age_light_weighted" in fit.to_table().colnames


def test_dispersion_does_not_depend_on_the_resolution():
    """The same galaxy, as observed and smoothed like the training grid."""
    sharp = make_spectrum(dispersion=150.0)
    blurred = smooth(sharp.flux, sharp.wavelength, 2.0)
    lsf = np.hypot(sharp.lsf, 2.0)
    told = fit_populations(replace(sharp, flux=blurred, lsf=lsf))
    assert told.velocity_dispersion == pytest.approx(150, rel=0.03)
    # Whoever hides the smoothing gets it back as dispersion.
    hidden = fit_populations(replace(sharp, flux=blurred))
    assert hidden.velocity_dispersion > 165
    unknown = fit_populations(replace(sharp, lsf=None))
    assert any("line-spread" in flag for flag in unknown.flags)


@pytest.mark.parametrize("pixel", [1 / 3, 1.7])
def test_pixels_finer_and_coarser_than_those_of_sdss(pixel):
    """On the grid of the templates itself, too: 23 km/s, a third of a pixel of SDSS."""
    library = bc03_templates()
    first, last = 3000, 3000 + int(2600 / pixel)
    if pixel == 1 / 3:
        stretch = 1.0
        wave = library.wavelength[first : first + 7800]
    else:
        stretch = 1.07
        wave = 3900.0 * np.exp(SDSS_STEP * pixel * np.arange(last - first))
    rest = library.spectra[:, -6, 4]
    broad = smooth(
        rest, library.wavelength, 180 / LIGHT * wave / stretch, new_wavelength=wave / stretch
    )
    sigma = np.full(wave.size, np.median(broad) / 40.0)
    noise = sigma * np.random.default_rng(3).standard_normal(wave.size)
    spectrum = SpectrumArrays(
        wavelength=wave, flux=(broad + noise)[None], sigma=sigma[None],
        mask=np.zeros((1, wave.size), bool),
    )  # fmt: skip
    fit = fit_populations(spectrum, stretch - 1)
    assert fit.velocity == pytest.approx(0, abs=5)
    assert fit.velocity_dispersion == pytest.approx(180, rel=0.04)
    assert fit.chi2 == pytest.approx(1, abs=0.1)


def test_linear_pixels_and_air_give_the_same():
    arrays = make_spectrum(dispersion=150.0)
    wave = np.arange(4000.0, 8500.0)
    flux = np.interp(wave, arrays.wavelength, arrays.flux[0])
    unit = u.Unit(1e-17 * u.erg / u.s / u.cm**2 / u.AA)
    meta = {"lsf_sigma": np.interp(wave, arrays.wavelength, arrays.lsf)}
    common = {"flux": flux * unit, "uncertainty": StdDevUncertainty(np.full(wave.size, 0.1) * unit)}
    vacuum = Spectrum(spectral_axis=wave * u.AA, meta=meta, **common)
    air = Spectrum(
        spectral_axis=vacuum_to_air(wave) * u.AA, meta=meta | {"wavelength_medium": "air"}, **common
    )
    a, b = (fit_populations(s, 0.07) for s in (vacuum, air))
    assert a.velocity == pytest.approx(40, abs=6)
    assert b.velocity == pytest.approx(a.velocity, abs=0.5)
    assert a.velocity_dispersion == pytest.approx(150, rel=0.04)


def test_galactic_extinction_is_taken_off():
    from photospec.dust import galactic_extinction

    arrays = make_spectrum()
    through = 10 ** (-0.4 * 0.1 * galactic_extinction(arrays.wavelength))
    dimmed = replace(arrays, flux=arrays.flux * through)
    plain, corrected = fit_populations(arrays), fit_populations(dimmed, galactic_ebv=0.1)
    assert corrected.ebv == pytest.approx(plain.ebv, abs=5e-3)
    assert fit_populations(dimmed).ebv > plain.ebv + 0.05


def test_same_seed_same_numbers_and_bootstrap():
    arrays = make_spectrum(snr=20.0)
    one, two = (fit_populations(arrays, seed=3) for _ in range(2))
    assert one.age_light_weighted == two.age_light_weighted
    assert one.age_light_weighted_error == two.age_light_weighted_error
    wild = fit_populations(arrays, n_bootstrap=12, seed=3)
    assert wild.velocity_dispersion == one.velocity_dispersion
    assert 0.4 < wild.age_light_weighted_error / one.age_light_weighted_error < 2.5


def test_regularized_history_is_smoother():
    arrays = make_spectrum(snr=30.0)
    rough, smooth_fit = (fit_populations(arrays, regularization=r) for r in (0.1, 50.0))

    def curvature(fit):
        return np.abs(np.diff(fit.light_weights, 2, axis=0)).sum()

    assert curvature(smooth_fit) < 0.6 * curvature(rough)
    assert smooth_fit.age_light_weighted == pytest.approx(rough.age_light_weighted, rel=0.3)


def test_polynomials_absorb_a_wrong_flux_calibration():
    arrays = make_spectrum(snr=50.0)
    # A ripple that no dust can imitate.
    ripple = 1 + 0.06 * np.sin(np.linspace(0, 9, arrays.wavelength.size))
    bent = replace(arrays, flux=arrays.flux * ripple, sigma=arrays.sigma * ripple)
    plain, poly = fit_populations(bent), fit_populations(bent, mdegree=8)
    want = fit_populations(arrays).metallicity_light_weighted
    assert poly.chi2 == pytest.approx(1, abs=0.1)
    assert plain.chi2 > 2
    assert poly.metallicity_light_weighted == pytest.approx(want, abs=0.15)


@pytest.mark.parametrize("moments", [2, 4])
def test_quick_way_agrees_with_one_ppxf_call(moments):
    """All templates in one pPXF call against the two quick steps."""
    arrays = make_spectrum(snr=40.0)
    quick = fit_populations(arrays, moments=moments)
    slow = fit_populations(
        arrays, moments=moments, method="ppxf", degree=-1, fit_range=(3700.0, 7300.0)
    )
    assert quick.velocity == pytest.approx(slow.velocity, abs=5)
    assert quick.velocity_dispersion == pytest.approx(slow.velocity_dispersion, rel=0.03)
    assert quick.ebv == pytest.approx(slow.ebv, abs=0.02)
    ratio = quick.age_light_weighted / slow.age_light_weighted
    assert np.log10(ratio) == pytest.approx(0, abs=0.1)
    if moments == 4:
        assert quick.h3 == pytest.approx(slow.h3, abs=0.02)
        assert quick.h4 == pytest.approx(slow.h4, abs=0.02)
    else:
        assert np.isnan(quick.h3)


def _changed(arrays, **changes):
    return replace(arrays, **changes)


def test_spectra_that_cannot_be_fitted_are_masked_with_a_reason():
    arrays = make_spectrum()
    n = arrays.wavelength.size
    cases = {
        "constant": _changed(arrays, flux=np.ones((1, n))),
        "no positive flux": _changed(arrays, flux=-arrays.flux),
        "good pixels": _changed(arrays, mask=np.ones((1, n), bool)),
        "0 good pixels": _changed(arrays, sigma=np.full((1, n), np.nan)),
        "200 needed": _changed(arrays, sigma=np.zeros((1, n))),
    }
    for reason, case in cases.items():
        fit = fit_populations(case)
        assert any(reason in flag for flag in fit.flags), (reason, fit.flags)
        assert np.isnan(fit.age_light_weighted)
        assert np.isnan(fit.velocity_dispersion_error)
        assert repr(fit)
    three = SpectrumArrays(
        wavelength=np.array([5000.0, 5001.0, 5002.0]), flux=np.ones((1, 3)), sigma=None,
        mask=np.zeros((1, 3), bool), lsf=None,
    )  # fmt: skip
    assert "only 3 good pixels" in fit_populations(three, 0.05).flags[0]
    # Too red for the templates: nothing of 3600-7340 A is covered.
    assert "needed" in fit_populations(arrays, 1.9).flags[0]


def test_no_uncertainty_is_taken_from_the_residuals():
    arrays = make_spectrum(snr=30.0)
    fit = fit_populations(replace(arrays, sigma=None))
    assert any("noise taken from the residuals" in flag for flag in fit.flags)
    assert fit.chi2 == pytest.approx(1, abs=0.15)
    assert fit.velocity_dispersion == pytest.approx(180, rel=0.05)
    ratio = np.nanmedian(fit.sigma[fit.fitted]) / np.median(arrays.sigma)
    assert ratio == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"redshift": 9.0}, "redshift: expected a number in -0.01 to 2"),
        ({"redshift": float("nan")}, "redshift"),
        ({"moments": 3}, "moments: expected one of"),
        ({"method": "best"}, "method: expected one of"),
        ({"n_gas": 5}, "n_gas: expected one of"),
        ({"templates": "nothing"}, "templates: expected one of bc03"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, match):
    with pytest.raises(InputError, match=match) as error:
        fit_populations(make_spectrum(), **arguments)
    assert "\n" not in str(error.value)


def test_redshift_must_come_from_somewhere():
    with pytest.raises(InputError, match="run measure_redshift first"):
        fit_populations(replace(make_spectrum(), redshift=None))
    two = make_spectrum()
    two = replace(two, flux=np.tile(two.flux, (2, 1)))
    with pytest.raises(InputError, match="one spectrum, got 2"):
        fit_populations(two)


def _ppxf_spectrum(name):
    from importlib.util import find_spec
    from pathlib import Path

    folder = Path(next(iter(find_spec("ppxf").submodule_search_locations))) / "spectra"
    path = folder / f"{name}_SDSS_DR18.fits"
    if not path.is_file():
        pytest.skip(f"no {path.name} in the installed pPXF")
    with fits.open(path) as hdus:
        return read_spectrum(path), float(hdus[2].data["Z"][0])


# pPXF's settings of ppxf_example_population_gas_sdss.py, with its constant noise.
EXAMPLE = {
    "method": "ppxf", "moments": 4, "degree": -1, "mdegree": 10, "regularization": 100.0,
    "n_gas": 2, "tie_balmer": True, "limit_doublets": True,
}  # fmt: skip


def test_ngc3522_as_published_by_ppxf():
    """ppxf_python_reference_output.txt: E-MILES there, BC03-MILES here."""
    spectrum, redshift = _ppxf_spectrum("NGC3522")
    arrays = to_arrays(spectrum)
    noise = np.full(arrays.flux.shape, 0.0158 * np.median(arrays.flux))
    fit = fit_populations(replace(arrays, sigma=noise), redshift, **EXAMPLE)
    base = LIGHT * np.log(1 + redshift)
    assert fit.velocity + base == pytest.approx(1214, rel=0.02)
    assert fit.velocity_dispersion == pytest.approx(99, rel=0.02)
    assert fit.h3 == pytest.approx(-0.027, abs=0.01)
    assert fit.h4 == pytest.approx(0.032, abs=0.01)
    for name, velocity, dispersion in (("balmer", 1208, 81), ("forbidden", 1194, 72)):
        assert fit.gas[name][0][0] + base == pytest.approx(velocity, rel=0.02)
        assert fit.gas[name][1][0] == pytest.approx(dispersion, rel=0.02)
    quick = fit_populations(arrays, redshift, moments=4)
    assert quick.velocity_dispersion == pytest.approx(99, rel=0.06)


@pytest.mark.slow
def test_dispersions_of_sdss(shared):
    """Within 12 % or two sigma of the pipeline's where the signal-to-noise is above 15."""
    compared = 0
    for path in sorted((shared / "real" / "spectra").glob("spec-*.fits")):
        with fits.open(path) as hdus:
            row = hdus[2].data[0]
            z, want, error, ratio = (
                float(row[n]) for n in ("Z", "VDISP", "VDISP_ERR", "SN_MEDIAN_ALL")
            )
        if ratio < 15:
            continue
        fit = fit_populations(read_spectrum(path), z)
        tolerance = max(0.12 * want, 2 * np.hypot(error, fit.velocity_dispersion_error))
        assert abs(fit.velocity_dispersion - want) < tolerance, path.name
        compared += 1
    assert compared > 5
