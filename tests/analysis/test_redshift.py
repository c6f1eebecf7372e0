import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance
from specutils import Spectrum, SpectrumList

from photospec.analysis import RedshiftWarning, measure_redshift
from photospec.errors import InputError
from photospec.spectrum import WAVELENGTH, from_arrays, read_spectrum, to_arrays, vacuum_to_air

REDSHIFTS = (0.003, 0.0213, 0.07, 0.1234, 0.25, 0.41, 0.55)


@pytest.fixture(scope="module")
def galaxies(make_galaxy):
    """Noisy galaxies at REDSHIFTS, with and without lines."""
    return [
        make_galaxy(z, lines=i % 2, age=(2e9, 9e9)[i % 2], signal_to_noise=20, seed=i)
        for i, z in enumerate(REDSHIFTS)
    ]


@pytest.mark.parametrize("lines", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("age", [1e8, 1e9, 1e10])
def test_noiseless_without_uncertainty(make_galaxy, age, lines):
    spectra = [
        make_galaxy(z, age=age, lines=lines, wavelength=WAVELENGTH) for z in (0.02, 0.11, 0.37)
    ]
    fit = measure_redshift(spectra)
    offset = (fit.redshift - [0.02, 0.11, 0.37]) / (1 + fit.redshift)
    assert np.all(np.abs(offset) < (1.5e-4 if age < 5e8 else 5e-5))
    assert np.all(fit.warning == 0)


def test_noisy_with_and_without_uncertainty(galaxies):
    fit = measure_redshift(galaxies)
    bare = [from_arrays(s.spectral_axis.value, s.flux.value) for s in galaxies]
    without = measure_redshift(bare)
    for found in (fit, without):
        assert np.all(np.abs(found.redshift - REDSHIFTS) < 1.5e-4)
        assert np.all(found.warning == 0)
    assert np.all(without.error / fit.error < 1.5)
    assert np.all(without.error / fit.error > 0.67)


def test_errors_cover(make_galaxy):
    z = np.random.default_rng(5).uniform(0.01, 0.3, 120)
    spectra = [
        make_galaxy(zi, lines=0.3 * (i % 3), age=(1e9, 4e9, 1e10)[i % 3], signal_to_noise=7, seed=i)
        for i, zi in enumerate(z)
    ]
    fit = measure_redshift(spectra)
    pull = (fit.redshift - z) / fit.error
    assert np.all(fit.warning == 0)
    assert 0.56 < np.mean(np.abs(pull) < 1) < 0.82
    assert np.abs(pull.mean()) < 0.35
    # The density says the same: it holds the truth in the bins it calls likely.
    at_truth = [np.interp(zi, fit.density_redshift, row) for zi, row in zip(z, fit.density)]
    assert np.mean(np.array(at_truth) > 10) > 0.9


def test_one_by_one_is_the_same_as_together(galaxies):
    together = measure_redshift(galaxies[:3])
    stacked = Spectrum(
        flux=u.Quantity([s.flux for s in galaxies[:3]]),
        spectral_axis=galaxies[0].spectral_axis,
        uncertainty=type(galaxies[0].uncertainty)(
            [s.uncertainty.array for s in galaxies[:3]], unit=galaxies[0].flux.unit
        ),
    )
    for other in (measure_redshift(stacked), measure_redshift(SpectrumList(galaxies[:3]))):
        np.testing.assert_allclose(other.redshift, together.redshift, rtol=0, atol=1e-9)
        np.testing.assert_allclose(other.delta_chi2, together.delta_chi2, rtol=1e-6)
    one = measure_redshift(galaxies[1])
    assert np.ndim(one.redshift) == 0
    assert one.redshift == pytest.approx(together.redshift[1], abs=1e-9)
    assert one.density.shape == one.density_redshift.shape
    assert "0.021" in repr(one)
    assert "3 spectra" in repr(together)


def test_units_medium_direction_and_uncertainty_class_do_not_matter(galaxies):
    spectrum = galaxies[2]
    reference = measure_redshift(spectrum).redshift
    wavelength, sigma = spectrum.spectral_axis.value, spectrum.uncertainty.array
    air = Spectrum(
        flux=spectrum.flux,
        spectral_axis=vacuum_to_air(wavelength) * u.AA,
        uncertainty=InverseVariance(1 / sigma**2, unit=spectrum.flux.unit**-2),
        meta={"wavelength_medium": "air"},
    )
    micron = Spectrum(flux=spectrum.flux[::-1] * 1e6, spectral_axis=wavelength[::-1] / 1e4 * u.um)
    jansky = Spectrum(
        flux=spectrum.flux.to(u.Jy, u.spectral_density(spectrum.spectral_axis.quantity)),
        spectral_axis=spectrum.spectral_axis.quantity,
    )
    assert measure_redshift(air).redshift == pytest.approx(reference, abs=1e-6)
    assert measure_redshift(micron).redshift == pytest.approx(reference, abs=1e-4)
    assert measure_redshift(jansky).redshift == pytest.approx(reference, abs=1e-4)


def test_masked_pixels_are_not_used(galaxies):
    arrays = to_arrays(galaxies[3])
    flux, mask = arrays.flux[0].copy(), np.zeros(arrays.flux[0].size, bool)
    mask[1000:1400] = True
    flux[mask] = 1e6
    spectrum = from_arrays(arrays.wavelength, flux, sigma=arrays.sigma[0], mask=mask)
    assert measure_redshift(spectrum).redshift == pytest.approx(REDSHIFTS[3], abs=2e-4)


def test_noise_alone_is_flagged():
    flux = 10 + np.random.default_rng(1).normal(size=(8, WAVELENGTH.size))
    fit = measure_redshift(from_arrays(WAVELENGTH, flux, sigma=np.ones_like(flux)))
    assert np.all(fit.warning & RedshiftWarning.SMALL_DELTA_CHI2)
    assert np.all(fit.delta_chi2 < 30)


def test_rest_frame_given_as_observed_is_flagged(make_galaxy):
    fit = measure_redshift(make_galaxy(0.0, signal_to_noise=20))
    assert fit.warning & RedshiftWarning.ZERO_REDSHIFT
    assert fit.redshift == pytest.approx(0, abs=2e-4)


@pytest.mark.parametrize(
    ("redshift", "limits"),
    [(0.25, (0, 0.2)), (0.05, (0.1, 0.3)), (0.7, (0, 0.6)), (1.1, (0, 0.8)), (1.3, (0, 0.8))],
)
def test_redshift_out_of_range_is_flagged(make_galaxy, redshift, limits):
    fit = measure_redshift(make_galaxy(redshift, signal_to_noise=15), redshift_range=limits)
    if redshift < 0.8:
        assert fit.warning & RedshiftWarning.OUT_OF_RANGE
        assert fit.redshift == pytest.approx(redshift, abs=2e-4)
    assert fit.warning


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f, s, m: f.fill(3.0), "constant flux"),
        (lambda f, s, m: np.negative(f, out=f), "not positive"),
        (lambda f, s, m: m.fill(True), "masked"),
        (lambda f, s, m: s.fill(0.0), "all pixels are masked"),
        (lambda f, s, m: s.fill(np.nan), "all pixels are masked"),
        (lambda f, s, m: f.fill(np.nan), "masked"),
    ],
)
def test_unusable_spectrum_has_a_reason_and_stops_nothing(galaxies, change, reason):
    arrays = to_arrays(galaxies[1])
    flux, sigma = arrays.flux[0].copy(), arrays.sigma[0].copy()
    mask = np.zeros(flux.size, bool)
    change(flux, sigma, mask)
    bad = from_arrays(arrays.wavelength, flux, sigma=sigma, mask=mask)
    fit = measure_redshift([bad, galaxies[1]])
    assert reason in fit.reason[0]
    assert np.isnan(fit.redshift[0])
    assert fit.warning[0] == RedshiftWarning.NO_DATA
    assert fit.redshift[1] == pytest.approx(REDSHIFTS[1], abs=1e-4)
    table = fit.to_table()
    assert table["redshift"].mask.tolist() == [True, False]
    assert reason in table["reason"][0]


def test_three_pixels():
    fit = measure_redshift(from_arrays([5000.0, 5001.0, 5002.0], [1.0, 2.0, 3.0]))
    assert fit.reason == "only 3 pixels"


@pytest.mark.parametrize("limits", [(100, 300), (900, 1400), (25000, 30000)])
def test_wavelengths_without_templates(limits):
    flux = 10 + np.random.default_rng(0).normal(size=600)
    fit = measure_redshift(from_arrays(np.linspace(*limits, 600), flux))
    assert "wavelength range of the templates" in fit.reason


@pytest.mark.parametrize("scale", [1e-250, 1e15])  # 1e20 and above are fill values
def test_any_scale_of_flux(galaxies, scale):
    flux = galaxies[2].flux.value
    fit = measure_redshift(from_arrays(galaxies[2].spectral_axis.value, flux * scale))
    assert fit.redshift == pytest.approx(REDSHIFTS[2], abs=1e-4)


@pytest.mark.parametrize("limits", [(0.3, 0.1), (0, 5), (0.1,), "ab", (0, np.nan)])
def test_bad_range(galaxies, limits):
    with pytest.raises(InputError, match="redshift_range: expected two increasing numbers"):
        measure_redshift(galaxies[0], redshift_range=limits)


def test_no_spectrum():
    with pytest.raises(InputError, match="at least one spectrum"):
        measure_redshift([])
    with pytest.raises(InputError, match="read_spectrum"):
        measure_redshift("spec.fits")


def test_density_is_normalised(make_galaxy):
    flux = [make_galaxy(z, wavelength=WAVELENGTH).flux.value for z in (0.1, 0.14)]
    fit = measure_redshift(from_arrays(WAVELENGTH, np.array(flux)))
    np.testing.assert_allclose(fit.density.sum(axis=1) * 0.001, 1, rtol=1e-6)


def _reference(path):
    with fits.open(path) as hdus:
        row = hdus[2].data[0]
        return float(row["Z"]), int(row["ZWARNING"])


def _predicted_like(spectrum):
    """The same light as the networks would give it: 1 A grid, smoothed, no errors."""
    from scipy.ndimage import gaussian_filter1d

    arrays = to_arrays(spectrum)
    good = ~arrays.mask[0]
    flux = np.interp(WAVELENGTH, arrays.wavelength[good], arrays.flux[0][good])
    return from_arrays(WAVELENGTH, gaussian_filter1d(flux, 2.0))


@pytest.mark.parametrize("kind", ["observed", "predicted-like"])
def test_observed_spectra(shared, kind):
    paths = sorted((shared / "real" / "spectra").glob("spec-*.fits"))
    spectra = [read_spectrum(path) for path in paths]
    if kind == "predicted-like":
        spectra = [_predicted_like(spectrum) for spectrum in spectra]
    fit = measure_redshift(spectra)
    for i, path in enumerate(paths):
        redshift, zwarning = _reference(path)
        if zwarning:
            assert fit.warning[i], path.name
        else:
            assert fit.warning[i] == 0, path.name
            assert abs(fit.redshift[i] - redshift) < 1e-4 * (1 + redshift), path.name


@pytest.mark.parametrize("name", ["NGC3073", "NGC3522"])
def test_spectra_of_the_ppxf_package(name):
    from importlib.util import find_spec
    from pathlib import Path

    folder = Path(next(iter(find_spec("ppxf").submodule_search_locations)))
    path = folder / "spectra" / f"{name}_SDSS_DR18.fits"
    redshift, _ = _reference(path)
    fit = measure_redshift(read_spectrum(path))
    assert fit.warning == 0
    assert abs(fit.redshift - redshift) < 1e-4
