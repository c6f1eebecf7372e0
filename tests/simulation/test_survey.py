"""Surveys: reproducible whatever the batch, branchable, and strict about their settings."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from photospec.errors import InputError
from photospec.photometry.apertures import aperture_flux
from photospec.photometry.filters import band_flux
from photospec.simulation import (
    InstrumentConfig,
    NoiseConfig,
    PopulationConfig,
    PsfConfig,
    SceneConfig,
    Survey,
)
from photospec.spectrum.wavelengths import WAVELENGTH


def test_shapes_units_and_content(batch):
    n = len(batch)
    assert n == 144
    assert batch.image.shape == batch.truth_image.shape == (n, 5, 64, 64)
    assert batch.flux.shape == batch.ivar.shape == batch.truth_flux.shape == (n, WAVELENGTH.size)
    for name in ("image", "truth_image", "flux", "ivar", "truth_flux"):
        array = getattr(batch, name)
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
    assert (batch.ivar > 0).all()
    assert (batch.truth_flux > 0).all()
    assert {"redshift", "simulation_id"} <= set(batch.object)
    expected = {"stellar_mass", "halpha_flux", "halpha_ew", "dn4000", "fibre_flux_r", "median_sn"}
    assert expected <= set(batch.truth)
    assert all(v.shape == (n,) for v in batch.truth.values())
    assert all(np.isfinite(v).all() for k, v in batch.truth.items() if k != "companion_distance")
    np.testing.assert_array_equal(batch.object["simulation_id"], np.arange(n))


def test_the_target_is_at_the_centre(batch):
    r_band = batch.truth_image[:, 2]
    peak = r_band[:, 31:34, 31:34].max(axis=(1, 2))
    quiet = (batch.truth["n_neighbours"] == 0) & (batch.truth["companion_flux_ratio"] == 0)
    assert quiet.sum() > 10
    assert (peak[quiet] > 0.8 * r_band[quiet].max(axis=(1, 2))).all()


def test_total_flux_is_the_apparent_magnitude(batch):
    magnitude = 22.5 - 2.5 * np.log10(batch.truth["total_flux_r"])
    # Galactic extinction lies between the two: 2.285 magnitudes per unit E(B-V) in r
    dimming = magnitude - batch.truth["magnitude_r"]
    np.testing.assert_allclose(dimming, 2.285 * batch.truth["galactic_ebv"], atol=0.02)
    assert batch.truth["magnitude_r"].max() < 17.77


def test_line_flux_is_in_the_spectrum(batch):
    """H-alpha of strong emitters: the spectrum's excess over its continuum."""
    w, z = batch.fibre_wavelength, batch.object["redshift"]
    t = batch.truth
    strong = np.flatnonzero((t["halpha_ew"] > 30) & (t["companion_flux_ratio"] == 0))
    assert len(strong) > 5
    for i in strong:
        rest = w / (1 + z[i])
        line = (rest > 6530) & (rest < 6605)
        side = ((rest > 6480) & (rest < 6525)) | ((rest > 6612) & (rest < 6655))
        level = np.polyval(np.polyfit(w[side], batch.fibre_flux[i][side], 1), w)
        found = np.trapezoid((batch.fibre_flux[i] - level)[line], w[line])
        expected = t["halpha_flux"][i] + t["nii_6548_flux"][i] + t["nii_6584_flux"][i]
        assert found == pytest.approx(expected, rel=0.12)  # stellar absorption lies under it


def test_a_galaxy_does_not_depend_on_the_batch():
    survey = Survey.sdss_main(seed=5)
    whole = survey.simulate(130)
    part = survey.simulate(10, start=60)
    for name in ("image", "flux", "ivar", "truth_flux", "truth_image"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[60:70])
    for key, value in part.truth.items():
        np.testing.assert_array_equal(value, whole.truth[key][60:70])


def test_seeds_differ():
    one, two = (Survey.sdss_main(seed=s).simulate(2) for s in (1, 2))
    assert not np.array_equal(one.object["redshift"], two.object["redshift"])


def test_branching_leaves_the_original_alone():
    survey = Survey.sdss_main(seed=3)
    quiet = survey.replace(noise=replace(survey.noise, sky_rms=(1e-6,) * 5, electron=(1e-9,) * 5))
    assert survey.noise == NoiseConfig()
    with pytest.raises(FrozenInstanceError):
        survey.seed = 4
    a, b = survey.simulate(3), quiet.simulate(3)
    np.testing.assert_array_equal(a.truth_image, b.truth_image)
    np.testing.assert_allclose(b.image, b.truth_image, atol=1e-3)
    assert np.abs(a.image - a.truth_image).max() > 0.1


def test_desi_with_legacy_images():
    survey = Survey.desi_legacy(seed=1)
    batch = survey.simulate(12)
    assert batch.image.shape == (12, 4, 64, 64)
    synthetic = band_flux(batch.fibre_wavelength, batch.fibre_flux, survey.responses)
    aperture = aperture_flux(batch.truth_image, 0.75, pixel_scale=0.262)
    np.testing.assert_allclose(synthetic, aperture, rtol=1e-3)
    assert batch.truth["magnitude_r"].max() > 17.77


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": -1}, "seed: expected a whole number of at least 0"),
        ({"seed": 1.5}, "seed: expected a whole number of at least 0"),
        ({"bands": ("u", "g", "r", "i", "")}, "bands: expected different names"),
        ({"bands": ("g", "r")}, "one value per band"),
        ({"responses": ("u", "g", "r", "i", "nosuch-z")}, "nosuch-z"),
        ({"size": 4}, "size: expected 16 to 512"),
        ({"pixel_scale": 1e-4}, "pixel_scale: expected"),
        ({"depth": 3}, "got 'depth'"),
    ],
)
def test_impossible_surveys(changes, words):
    with pytest.raises(InputError, match=words) as caught:
        Survey.sdss_main().replace(**changes)
    assert "\n" not in str(caught.value)


def test_impossible_populations():
    with pytest.raises(InputError, match="redshift"):
        Survey.sdss_main().replace(population=PopulationConfig(redshift_min=0.4))


@pytest.mark.parametrize(
    ("n", "start", "message"), [(0, 0, "n: .* 0"), (3, -1, "start: .* -1"), (2.5, 0, "n: .* 2.5")]
)
def test_impossible_numbers(n, start, message):
    with pytest.raises(InputError, match=message):
        Survey.sdss_main().simulate(n, start)


def test_surveys_are_files(tmp_path):
    survey = Survey.desi_legacy(seed=7)
    survey.write(tmp_path / "survey.toml")
    assert Survey.read(tmp_path / "survey.toml") == survey
    (tmp_path / "short.toml").write_text("seed = 4\n[psf]\nfwhm = [2, 2, 2, 2, 2]\n")
    expected = Survey.sdss_main(seed=4).replace(psf=PsfConfig(fwhm=(2.0,) * 5))
    assert Survey.read(tmp_path / "short.toml") == expected
    (tmp_path / "wrong.toml").write_text("seed = 4\n[psf]\nseeing = 2\n")
    with pytest.raises(InputError, match="line 3: expected one of fwhm"):
        Survey.read(tmp_path / "wrong.toml")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PsfConfig(fwhm=(0.0,) * 5), "fwhm: expected 0.2 to 10"),
        (lambda: PsfConfig(beta=float("nan")), "beta: expected"),
        (lambda: NoiseConfig(sky_rms=("a",) * 5), "sky_rms: expected"),
        (lambda: SceneConfig(merger_fraction=1.5), "merger_fraction: expected"),
        (lambda: InstrumentConfig(wavelength_range=(5000.0, 9000.0)), "wavelength_range"),
        (lambda: InstrumentConfig(wavelength_range=(4000.0,)), "wavelength_range"),
        (lambda: InstrumentConfig(lsf_sigma=(60.0,)), "lsf_wavelength: expected increasing"),
    ],
)
def test_impossible_parts(make, words):
    with pytest.raises(InputError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_zero_points_are_of_images_only():
    """Images of a survey whose u is 0.08 mag fainter than AB; galaxies and spectra as before."""
    plain = Survey.sdss_main(seed=5).replace(zero_points=(0.0,) * 5)
    points = (0.08, 0.0, 0.0, -0.02, 0.0)
    one, other = plain.simulate(4), plain.replace(zero_points=points).simulate(4)
    factor = 10 ** (-0.4 * np.array(points))
    np.testing.assert_allclose(other.truth_image, one.truth_image * factor[:, None, None], 1e-5)
    np.testing.assert_array_equal(other.truth_flux, one.truth_flux)
    np.testing.assert_array_equal(other.truth["magnitude_u"], one.truth["magnitude_u"])
    for column in ("total_flux", "fibre_flux", "neighbour_fibre_flux"):
        ratio = other.truth[f"{column}_u"] - factor[0] * one.truth[f"{column}_u"]
        np.testing.assert_allclose(ratio, 0, atol=1e-5 * one.truth["total_flux_u"].max())
        np.testing.assert_array_equal(other.truth[f"{column}_r"], one.truth[f"{column}_r"])
    # Noise is the sky's, which images tell in their own unit.
    noise = [b.image[:, 0, :6, :6] - b.truth_image[:, 0, :6, :6] for b in (one, other)]
    np.testing.assert_allclose(np.std(noise[1]), np.std(noise[0]), rtol=0.05)
    with pytest.raises(InputError, match="zero_points: expected one value per band"):
        plain.replace(zero_points=(0.08,))


def test_zero_points_of_frames():
    """Left out, u of SDSS has that of its frames; bands of other cameras are AB."""
    survey = Survey.sdss_main()
    assert survey.zero_points is None
    np.testing.assert_allclose(survey.band_factor, [10 ** (-0.4 * 0.08), 1, 1, 1, 1], rtol=1e-6)
    np.testing.assert_array_equal(Survey.desi_legacy().band_factor, np.ones(4))


def test_zero_points_in_a_file(tmp_path):
    survey = Survey.sdss_main().replace(zero_points=(0.08, 0.0, 0.0, 0.0, 0.0))
    survey.write(tmp_path / "mine.toml")
    assert Survey.read(tmp_path / "mine.toml") == survey
    text = (tmp_path / "mine.toml").read_text()
    (tmp_path / "odd.toml").write_text(text.replace("0.08", "3.0"))
    with pytest.raises(InputError, match="zero_points"):
        Survey.read(tmp_path / "odd.toml")
    Survey.sdss_main().write(tmp_path / "plain.toml")
    assert Survey.read(tmp_path / "plain.toml").zero_points is None
