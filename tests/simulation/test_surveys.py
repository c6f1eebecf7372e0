"""Surveys as descriptions: by name, from files, with bands and curves of anybody's making."""

from dataclasses import replace

import numpy as np
import pytest
import speclite.filters
from astropy import units as u

from photospec.cli import main
from photospec.errors import InputError
from photospec.pairs import PairsFile
from photospec.photometry.apertures import aperture_flux
from photospec.photometry.filters import band_flux
from photospec.simulation import SURVEYS, NoiseConfig, PsfConfig, Survey, register_survey
from photospec.simulation.instrument.noise import sky_rms_of_depth


@pytest.fixture
def curves(tmp_path):
    """Three top-hats in files of speclite's format."""
    paths = []
    for band, low, high in (("blue", 4200, 5200), ("green", 5300, 6300), ("red", 6500, 7900)):
        response = speclite.filters.FilterResponse(
            wavelength=[low - 1, low, high, high + 1] * u.AA,
            response=[0, 0.5, 0.5, 0],
            meta={"group_name": "toy", "band_name": band},
        )
        paths.append(response.save(str(tmp_path)))
    return tuple(paths)


@pytest.fixture
def toy(curves):
    base = Survey.named("sdss_main", seed=2)
    return base.replace(
        name="toy",
        bands=("blue", "green", "red"),
        responses=curves,
        extinction=None,
        pixel_scale=0.5,
        size=40,
        psf=PsfConfig(fwhm=(1.0, 1.0, 1.0)),
        noise=NoiseConfig(
            sky_rms=(0.02,) * 3, sky_rms_scatter=(0.1,) * 3, electron=(0.001,) * 3, resample=False
        ),
    )


@pytest.mark.parametrize("name", ["sdss_main", "desi_legacy", "lsst", "hsc_wide"])
def test_registered_surveys_render_and_come_back_from_files(name, tmp_path):
    survey = Survey.named(name, seed=3)
    pairs = survey.simulate(6)
    assert pairs.image.shape == (6, len(survey.bands), survey.size, survey.size)
    synthetic = band_flux(pairs.fibre_wavelength, pairs.fibre_flux, survey.responses)
    radius = survey.spectrograph.fibre_radius
    aperture = aperture_flux(pairs.truth_image, radius, pixel_scale=survey.pixel_scale)
    np.testing.assert_allclose(synthetic * survey.band_factor, aperture, rtol=2e-3)
    survey.write(tmp_path / "survey.toml")
    assert Survey.read(tmp_path / "survey.toml") == survey


@pytest.mark.parametrize(
    ("name", "band", "depth", "fwhm"),
    [("desi_legacy", "r", 23.9, 1.18), ("lsst", "g", 27.4, 0.87), ("hsc_wide", "i", 26.2, 0.58)],
)
def test_published_depth_is_what_a_point_source_has(name, band, depth, fwhm):
    """Matched filter on the drawn noise: the flux error of a star is a fifth of the limit."""
    survey = Survey.named(name)
    b = survey.bands.index(band)
    x, y = (np.mgrid[:101, :101] - 50) * survey.pixel_scale
    star = np.exp(-(x**2 + y**2) / 2 / (fwhm / 2.3548) ** 2)
    star /= star.sum()
    error = survey.noise.sky_rms[b] / np.sqrt((star**2).sum())
    assert 22.5 - 2.5 * np.log10(5 * error) == pytest.approx(depth, abs=0.03)


def test_depth_in_other_pixels():
    coarse, fine = (sky_rms_of_depth((24.0,), (1.2,), scale)[0] for scale in (0.4, 0.2))
    assert coarse == pytest.approx(2 * fine, rel=0.01)


def test_extinction_published_and_by_the_curve():
    # Schlafly & Finkbeiner (2011), table 6.
    np.testing.assert_array_equal(
        Survey.named("sdss_main").band_extinction, [4.239, 3.303, 2.285, 1.698, 1.263]
    )
    np.testing.assert_array_equal(
        Survey.named("desi_legacy").band_extinction, [3.237, 2.176, 1.595, 1.217]
    )
    lsst = Survey.named("lsst")
    by_curve = replace(lsst, extinction=None).band_extinction
    np.testing.assert_allclose(by_curve, lsst.extinction, rtol=0.015)
    # HSC-SSP: 3.240, 2.276, 1.633, 1.263, 1.075.
    expected = [3.240, 2.276, 1.633, 1.263, 1.075]
    np.testing.assert_allclose(Survey.named("hsc_wide").band_extinction, expected, rtol=0.015)


def test_bands_of_ones_own_from_files(toy, tmp_path, monkeypatch):
    pairs = toy.simulate(3)
    assert pairs.image.shape == (3, 3, 40, 40)
    assert {"fibre_flux_blue", "sky_rms_red"} <= set(pairs.truth)
    synthetic = band_flux(pairs.fibre_wavelength, pairs.fibre_flux, toy.responses)
    aperture = aperture_flux(pairs.truth_image, 1.5, pixel_scale=0.5)
    np.testing.assert_allclose(synthetic * survey.band_factor, aperture, rtol=2e-3)
    extinction = toy.band_extinction
    assert (np.diff(extinction) < 0).all()
    # Between those of SDSS at the bands' wavelengths 4700, 5800, 7200.
    np.testing.assert_allclose(extinction, [3.3, 2.5, 1.83], rtol=0.04)
    toy.write(tmp_path / "toy.toml")
    monkeypatch.chdir(tmp_path)
    words = ["simulate", "--quiet", "--processes", "1", "-n", "3", "-o", "p.h5"]
    assert main([*words, "--survey", "toy.toml"]) == 0
    with PairsFile("p.h5") as file:
        assert file.bands == ("blue", "green", "red")
        np.testing.assert_array_equal(file.image(slice(0, 3)), pairs.image)


def test_order_of_the_bands_does_not_matter(toy):
    """The same light in the fibre, whichever band comes first."""
    still = {f"{name}_scatter": 0.0 for name in ("fwhm", "band", "beta", "ellipticity")}
    psf = PsfConfig(fwhm=(1.0,) * 3, ellipticity_band_scatter=0.0, **still)
    calm = replace(toy, psf=psf)
    turned = calm.replace(bands=("red", "blue", "green"), responses=np.roll(calm.responses, 1))
    turned = replace(turned, responses=tuple(map(str, turned.responses)))
    one, other = calm.simulate(4), turned.simulate(4)
    np.testing.assert_allclose(other.truth_image[:, [1, 2, 0]], one.truth_image, atol=1e-5)
    np.testing.assert_allclose(other.fibre_flux, one.fibre_flux, rtol=2e-3)


def test_one_band(toy):
    one = replace(
        toy,
        bands=("green",),
        responses=toy.responses[1:2],
        psf=PsfConfig(fwhm=(1.0,)),
        noise=NoiseConfig(sky_rms=(0.02,), sky_rms_scatter=(0.1,), electron=(0.001,)),
    )
    pairs = one.simulate(2)
    synthetic = band_flux(pairs.fibre_wavelength, pairs.fibre_flux, one.responses)
    np.testing.assert_allclose(
        synthetic, aperture_flux(pairs.truth_image, 1.5, pixel_scale=0.5), rtol=2e-3
    )


def test_registering(toy):
    try:
        assert register_survey(toy) is toy
        assert Survey.named("toy", seed=9) == replace(toy, seed=9)
        with pytest.raises(InputError, match="'toy' which is registered"):
            register_survey(replace(toy, size=48))
        larger = register_survey(replace(toy, size=48), overwrite=True)
        assert SURVEYS["toy"] == larger
    finally:
        del SURVEYS["toy"]
    with pytest.raises(InputError, match="taken for a file"):
        register_survey(replace(toy, name="toy.toml"))
    with pytest.raises(InputError, match="expected a Survey, got str"):
        register_survey("toy")
    with pytest.raises(InputError, match=r"expected one of sdss_main, .*got 'toy'"):
        Survey.named("toy")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bands": ("u", "g", "r", "i", "i")}, "bands: expected different names"),
        ({"bands": ("u", "g", "r", "i", "a b")}, "bands: expected different names"),
        ({"bands": ()}, "bands: expected different names"),
        ({"bands": ("u", "g", "r")}, "responses: expected one value per band"),
        ({"extinction": (1.0, 2.0)}, "extinction: expected one value per band"),
        ({"responses": ("u", "g", "r", "i", "twomass-J")}, "within 2900 to 11199 .*'twomass-J'"),
        ({"responses": ("galex-nuv", "g", "r", "i", "z")}, "within 2900 to 11199"),
        ({"responses": ("u", "g", "r", "i", "r")}, "a curve of its own for each band"),
        ({"responses": ("u", "g", "r", "i", "nowhere.ecsv")}, "nowhere.ecsv"),
    ],
)
def test_descriptions_that_do_not_agree(changes, words):
    with pytest.raises(InputError, match=words) as caught:
        Survey.named("sdss_main").replace(**changes)
    assert "\n" not in str(caught.value)


def test_no_band_where_the_spectra_are(toy):
    with pytest.raises(InputError, match="a band between 4000 and 8499"):
        replace(
            toy,
            bands=("Y",),
            responses=("hsc2017-y",),
            psf=PsfConfig(fwhm=(1.0,)),
            noise=NoiseConfig(sky_rms=(0.02,), sky_rms_scatter=(0.1,), electron=(0.001,)),
        )


def test_old_names_in_survey_files(tmp_path):
    path = tmp_path / "old.toml"
    path.write_text("[population]\nfrost_scatter = 0.4\n")
    with pytest.raises(InputError, match="line 2: expected quiescent_ssfr_scatter, got frost"):
        Survey.read(path)


def test_files_with_an_evolving_population(tmp_path):
    path = tmp_path / "deep.toml"
    path.write_text("[population]\nredshift_max = 0.6\n")
    with pytest.raises(InputError, match=r"line 2.*expected at most 0.5 without evolution"):
        Survey.read(path)
    path.write_text("[population]\nredshift_max = 0.6\n[population.evolution]\nsize_late = -1\n")
    survey = Survey.read(path)
    assert survey.population.evolution.size_late == -1
    path.write_text("[population.evolution]\nlog_phi1 = [1.0, 2.0]\n")
    with pytest.raises(InputError, match=r"line 2.*log_phi1: expected 3 numbers, got 2"):
        Survey.read(path)
