"""The way into the analysis: what holds information, and the same galaxy in other clothes."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import InverseVariance, StdDevUncertainty
from specutils import Spectrum

from photospec.analysis import fit_populations, measure_properties
from photospec.analysis.gate import gather, good_pixels, notes, reason_unusable
from photospec.spectrum import SpectrumArrays, from_arrays, to_arrays, vacuum_to_air

WAVE = 10 ** np.arange(np.log10(3800.0), np.log10(9200.0), 1e-4)
MEASURED = (
    "redshift", "velocity_dispersion", "dn4000", "lick_mgb", "halpha_flux", "oiii_5007_flux",
)  # fmt: skip


@pytest.fixture(scope="module")
def parts(make_galaxy):
    """Flux and error of a galaxy at z = 0.08 on the grid of the SDSS."""
    spectrum = make_galaxy(0.08, signal_to_noise=40, wavelength=WAVE)
    return spectrum.flux.value, spectrum.uncertainty.array


def numbers(spectrum):
    """Value and error of each measured column of one spectrum, NaN where masked."""
    table = measure_properties(spectrum, n_bootstrap=0)
    names = [name for column in MEASURED for name in (column, f"{column}_error")]
    values = [getattr(table[name][0], "unmasked", table[name][0]) for name in names]
    return dict(zip(names, [float(getattr(v, "value", v)) for v in values], strict=True)), table


@pytest.fixture(scope="module")
def holes(parts):
    """Measured with masked samples at [O III] and Mg b: the reference for everything bad there."""
    bad = (WAVE > 5390) & (WAVE < 5430) | (WAVE > 5560) & (WAVE < 5640)
    bad |= np.random.default_rng(0).random(WAVE.size) < 0.002
    bad[[0, -1]] = False
    flux, sigma = parts
    return bad, numbers(from_arrays(WAVE, flux, sigma=sigma, mask=bad, lsf=1.0))[0]


def same(found, expected, rtol=1e-6):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=rtol, err_msg=name)


def test_the_reference_is_masked_where_it_should_be(holes):
    _, expected = holes
    assert np.isnan(expected["oiii_5007_flux"])
    assert np.isnan(expected["lick_mgb"])
    assert expected["redshift"] == pytest.approx(0.08, abs=1e-4)
    assert np.isfinite(expected["halpha_flux"])


def test_samples_taken_out_are_as_if_masked(parts, holes):
    (flux, sigma), (bad, expected) = parts, holes
    removed = from_arrays(WAVE[~bad], flux[~bad], sigma=sigma[~bad], lsf=1.0)
    same(numbers(removed)[0], expected)
    arrays = SpectrumArrays(
        WAVE[~bad], flux[None, ~bad], sigma[None, ~bad], np.zeros((1, (~bad).sum()), bool), lsf=1.0
    )
    same(numbers(arrays)[0], expected)


@pytest.mark.parametrize("mark", [-1.0, 0.0, np.nan, np.inf, 1e10, 1e-10])
def test_errors_that_say_bad_are_as_if_masked(parts, holes, mark):
    (flux, sigma), (bad, expected) = parts, holes
    marked = from_arrays(WAVE, np.where(bad, 1e5, flux), sigma=np.where(bad, mark, sigma), lsf=1.0)
    same(numbers(marked)[0], expected)


def test_other_clothes_give_the_same_measurements(parts):
    """Axis reversed and in frequency, flux per frequency, inverse variance; air; axis first."""
    flux, sigma = parts
    unit, axis = u.Unit("1e-17 erg/(s cm2 Angstrom)"), WAVE * u.AA
    meta = {"lsf_sigma": 1.0}
    expected, _ = numbers(from_arrays(WAVE, flux, sigma=sigma, lsf=1.0))
    density = u.spectral_density(axis)
    nu, error = (flux * unit).to(u.mJy, density), (sigma * unit).to(u.mJy, density)
    dressed = [
        Spectrum(
            flux=nu[::-1],
            spectral_axis=axis[::-1].to(u.THz, u.spectral()),
            uncertainty=InverseVariance(error[::-1] ** -2),
            meta=dict(meta),
        ),
        Spectrum(
            flux=(flux * unit)[:, None],
            spectral_axis=vacuum_to_air(WAVE) * u.AA,
            spectral_axis_index=0,
            uncertainty=StdDevUncertainty((sigma * unit)[:, None]),
            meta={"header": {"AIRORVAC": "air"}, **meta},
            redshift=0.08,
        ),
    ]
    for spectrum in dressed:
        # Air and back is good to 1e-9: it moves pixels of the fit by that.
        same(numbers(spectrum)[0], expected, rtol=2e-4)


def test_good_pixels():
    flux = np.ones((2, 60))
    sigma = np.ones((2, 60))
    sigma[0, :4], flux[1, 5] = [-1, 0, np.nan, 1e9], np.nan
    mask = np.zeros((2, 60), bool)
    mask[1, 7] = True
    good = good_pixels(SpectrumArrays(np.arange(5000.0, 5060.0), flux, sigma, mask))
    assert np.argwhere(~good).tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [1, 5], [1, 7]]


def test_logarithms_are_told():
    spectrum = from_arrays(np.linspace(3.58, 3.96, 500), np.linspace(1, 2, 500))
    why = reason_unusable(to_arrays(spectrum))
    assert why == (
        "spectral axis runs from 3.58 to 3.96 Angstrom: is it the logarithm, or in another unit?"
    )


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({}, []),
        ({"spectral_frame": "barycentric"}, []),
        ({"header": {"SPECSYS": "TOPOCENT"}}, ["wavelengths are in the topocentric frame"]),
        ({"flux_calibration": "relative"}, ["fluxes are relative"]),
    ],
)
def test_notes(parts, meta, expected):
    spectrum = from_arrays(WAVE, parts[0], meta=meta)
    found = notes(to_arrays(spectrum))
    assert len(found) == len(expected)
    assert all(text in note for text, note in zip(expected, found, strict=True))


def test_notes_are_flags(parts):
    spectrum = from_arrays(WAVE, parts[0], sigma=parts[1], meta={"spectral_frame": "topocentric"})
    assert "topocentric frame" in numbers(spectrum)[1]["flags"][0]


def test_arrays_in_lists_are_filled_too(parts):
    keep = np.ones(WAVE.size, bool)
    keep[100:200] = False
    bare = SpectrumArrays(WAVE[keep], parts[0][None, keep], None, np.zeros((1, keep.sum()), bool))
    for given in (bare, [bare]):
        (row,) = gather(given)
        np.testing.assert_array_equal(row.mask[0], ~keep)


@pytest.mark.parametrize(
    "given",
    [
        {"meta": {"redshift": 0.08}},
        {"meta": {"redshift": 0.0805}},
        {"meta": {"redshift": 0.085}},
        {"redshift": 0.08},
        {"radial_velocity": 24000 * u.km / u.s},  # 0.0801 by cz, 0.0835 by the relativistic formula
    ],
)
def test_hints_lead_to_the_redshift(parts, given):
    flux, sigma = (x * u.Unit("1e-17 erg/(s cm2 Angstrom)") for x in parts)
    spectrum = Spectrum(
        flux=flux, spectral_axis=WAVE * u.AA, uncertainty=StdDevUncertainty(sigma), **given
    )
    assert fit_populations(spectrum, n_bootstrap=0).redshift == pytest.approx(0.08, abs=2e-4)


def test_a_hint_is_kept_where_the_spectrum_shows_nothing(parts):
    noise = np.random.default_rng(0).normal(1.0, 1.0, WAVE.size)
    spectrum = from_arrays(WAVE, noise, sigma=1.0, redshift=0.08)
    assert abs(fit_populations(spectrum, n_bootstrap=0).redshift - 0.08) < 0.01
