"""Weights that say their survey: images of others are refused by name, bands may be missing."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.nddata import NDData

from photospec import PhotoSpectrograph
from photospec.config import read_toml, write_toml
from photospec.errors import InputError
from photospec.photometry.apertures import aperture_flux
from photospec.photometry.filters import band_flux
from photospec.simulation import Survey
from photospec.spectrum import FLUX_UNIT, WAVELENGTH
from photospec.training.packing import describe_survey
from photospec.weights import FILES, SpectrographConfig, assemble, read_config


@pytest.fixture(scope="module")
def config(tiny_weights):
    """Of a small random spectrograph of the Legacy Surveys."""
    found = read_config(tiny_weights)
    image = replace(found.base.image, masked_bands=True)
    return replace(
        found,
        survey="desi_legacy",
        camera="decam",
        bands=tuple("griz"),
        responses=tuple(f"decam2014-{band}" for band in "griz"),
        pixel_scale=0.262,
        fibre_radius=0.75,
        galactic_ebv=0.0,
        base=replace(found.base, image=image),
        super_resolution=replace(found.super_resolution, image=image),
        contrastive=replace(found.contrastive, image=image),
        trained_without=("g", "i", "z"),
    )


@pytest.fixture(scope="module")
def spectrograph(config):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        stages = {name: config.build(name) for name in FILES}
    return PhotoSpectrograph(assemble(stages, config), config, dtype="float32")


def galaxy(bands="griz", scale=0.262, **meta):
    y, x = np.mgrid[:120, :120] - 60
    light = 3 * np.exp(-np.hypot(x, y) * scale / 1.5)
    data = np.arange(1, len(bands) + 1)[:, None, None] * light
    data = data + np.random.default_rng(0).normal(0, 0.01, data.shape)
    about = {"bands": tuple(bands), "pixel_scale": scale * u.arcsec, "galactic_ebv": 0.0}
    return NDData(data, unit="nmgy", meta=about | meta)


def test_flux_is_that_of_the_own_fibre_and_band(spectrograph):
    image = spectrograph.prepare(galaxy())
    flux = spectrograph.predict(galaxy()).flux.to_value(FLUX_UNIT)
    wanted = aperture_flux(image.data[1], 0.75, pixel_scale=0.262)
    found = band_flux(WAVELENGTH, flux, ["decam2014-r"], partial=True)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_images_of_the_own_camera_only(spectrograph):
    named = spectrograph.predict(galaxy(camera="DECam"))
    np.testing.assert_array_equal(named.flux, spectrograph.predict(galaxy()).flux)
    with pytest.raises(InputError, match=r"camera decam, .*\(desi_legacy\) .*, got sdss"):
        spectrograph.predict(galaxy(camera="sdss"))
    with pytest.raises(InputError, match=r"camera sdss, .*, got decam"):
        PhotoSpectrograph.load().predict(galaxy("ugriz", 0.396, camera="decam"))


def test_dust_by_the_own_coefficients(spectrograph):
    """Of a DECam image, though nothing but the weights says that it is one."""
    clean, dusty = spectrograph.prepare(galaxy()), spectrograph.prepare(galaxy(galactic_ebv=0.2))
    ratio = (dusty.data / clean.data)[:, 32, 32]
    np.testing.assert_allclose(2.5 * np.log10(ratio) / 0.2, [3.237, 2.176, 1.595, 1.217], rtol=1e-3)


def test_a_missing_band_is_a_flag_and_the_scale_band_may_not_be_missing(spectrograph):
    found = spectrograph.predict([galaxy(), galaxy("grz"), galaxy("rz")])
    assert np.isfinite(found.flux.value).all()
    missing = [[f for f in flags if "missing" in f] for flags in found.meta["flags"]]
    assert missing == [[], ["missing_band_i"], ["missing_band_g", "missing_band_i"]]
    with pytest.raises(InputError, match=r"no r; .* trained on, except g, i, z$"):
        spectrograph.predict(galaxy("giz"))
    bad = galaxy()
    bad.data[1] = np.nan
    with pytest.raises(InputError, match="got none in band r"):
        spectrograph.predict(bad)
    everything = galaxy()
    everything.mask = np.ones(everything.data.shape, bool)
    with pytest.raises(InputError, match="got none in band r"):
        spectrograph.predict(everything)


def test_prepared_images_keep_what_is_missing(spectrograph):
    prepared = spectrograph.prepare(galaxy("grz"))
    alone = spectrograph.predict(galaxy("grz"), seed=1)
    np.testing.assert_array_equal(spectrograph.predict(prepared, seed=1).flux, alone.flux)
    config = replace(spectrograph.config, trained_without=())
    strict = PhotoSpectrograph(spectrograph.cascade, config, dtype="float32")
    with pytest.raises(InputError, match="got one without i"):
        strict.predict(prepared)


def test_weights_that_always_saw_all_bands_say_so(tiny_weights):
    with pytest.raises(InputError, match=r"no u; .*\(sdss_main\) were trained on$"):
        PhotoSpectrograph.load(tiny_weights).predict(galaxy(scale=0.396))


@pytest.mark.parametrize(
    ("scale", "good"), [(0.14, True), (0.5, True), (0.12, False), (0.6, False)]
)
def test_other_pixels_within_a_factor_of_two(spectrograph, scale, good):
    if good:
        assert "resampled" in spectrograph.predict(galaxy(scale=scale)).meta["flags"]
    else:
        with pytest.raises(InputError, match=r"pixel_scale: expected 0.131 to 0.524 arcsec"):
            spectrograph.predict(galaxy(scale=scale))


@pytest.mark.parametrize("unit", ["nJy", "uJy", "adu"])
def test_other_units(spectrograph, unit):
    image, factor = galaxy(), {"nJy": 3631.0, "uJy": 3.631, "adu": 10.0}[unit]
    meta = image.meta | ({"zero_point": 25.0} if unit == "adu" else {})
    other = NDData(image.data * factor, unit=unit, meta=meta)
    flux = [spectrograph.predict(i, identifiers=["a"]).flux.value for i in (image, other)]
    np.testing.assert_allclose(*flux, rtol=1e-4)
    meta.pop("zero_point", None)
    with pytest.raises(InputError, match="zero_point"):
        spectrograph.predict(NDData(image.data, unit="adu", meta=meta))


def test_the_survey_comes_back_from_a_file(config, tmp_path):
    write_toml(config, tmp_path / "config.toml")
    assert read_toml(SpectrographConfig, tmp_path / "config.toml") == config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"responses": ("decam2014-g",)}, "responses: expected one for each of the bands"),
        ({"extinction": (1.0, 2.0)}, "extinction: expected one for each of the bands"),
        ({"scale_band": "u"}, "bands: expected u among them"),
        ({"trained_without": ("u",)}, "trained_without: expected some of the bands"),
        ({"fibre_radius": 0.0}, "fibre_radius"),
    ],
)
def test_descriptions_that_do_not_agree(config, changes, words):
    with pytest.raises(InputError, match=words):
        replace(config, **changes)


def test_what_pairs_say_of_their_survey():
    from photospec.config import to_dict
    from photospec.simulation import Survey

    legacy = to_dict(Survey.named("desi_legacy"))
    found = describe_survey({"survey": legacy}, tuple("griz"))
    assert found["camera"] == "decam"
    assert found["survey"] == "desi_legacy"
    assert found["fibre_radius"] == 0.75
    assert found["extinction"] == (3.237, 2.176, 1.595, 1.217)
    lsst = to_dict(Survey.named("lsst").replace(extinction=None))
    found = describe_survey({"survey": lsst}, tuple("ugrizy"))
    assert found["camera"] == ""
    np.testing.assert_allclose(found["extinction"][:2], [4.145, 3.237], rtol=0.02)
    assert describe_survey({"source": "archive"}, tuple("ugriz")) == {}


def test_a_name_loads_weights_of_the_package(monkeypatch, tmp_path, tiny_weights):
    shutil.copytree(tiny_weights, tmp_path / "legacy")
    monkeypatch.setattr("photospec.spectrograph._DATA", tmp_path)
    found = PhotoSpectrograph.load("legacy")
    assert found.loaded_path == "legacy"
    assert found.folder == tmp_path / "legacy"
    load, arguments = found.__reduce__()  # the way to another process
    assert load(*arguments).loaded_path == "legacy"
    monkeypatch.chdir(tmp_path)
    assert PhotoSpectrograph.load("./legacy").loaded_path == str(tmp_path / "legacy")


def test_what_tells_of_missing_bands_may_come_from_a_file_of_its_own(spectrograph, tmp_path):
    """As in the bundled weights, where it was learnt after everything else."""
    from photospec.weights import MISSING_FILE, read_state, write_state

    with torch.no_grad():
        encoder = spectrograph.cascade.base.encoder
        encoder.missing.normal_(generator=torch.Generator().manual_seed(0))
    spectrograph.save(tmp_path / "all")
    wanted = PhotoSpectrograph.load(tmp_path / "all", dtype="float32").predict(galaxy("grz"))
    shutil.copytree(tmp_path / "all", tmp_path / "apart")
    added = {}
    for stage, name in FILES.items():
        state = read_state(tmp_path / "apart" / name)
        for key in [key for key in state if key.endswith(".missing")]:
            added[f"{stage.replace('-', '_')}.{key}"] = state.pop(key)
        write_state(state, tmp_path / "apart" / name)
    assert len(added) == 3
    with pytest.raises(InputError, match="1 missing"):
        PhotoSpectrograph.load(tmp_path / "apart")
    write_state(added, tmp_path / "apart" / MISSING_FILE)
    found = PhotoSpectrograph.load(tmp_path / "apart", dtype="float32").predict(galaxy("grz"))
    np.testing.assert_array_equal(found.flux, wanted.flux)


@pytest.mark.parametrize(
    ("name", "bands", "scale", "without"),
    [(None, "ugriz", 0.396, "uiz"), ("legacy", "griz", 0.262, "giz")],
)
def test_bundled_weights_do_without_a_band(name, bands, scale, without):
    """The error grows, the fluxes stay those of the image, and the flag says why."""
    bundled = PhotoSpectrograph.load(name)
    assert bundled.config.may_miss == tuple(without)
    whole = galaxy(bands, scale)
    for gone in without:
        part = NDData(whole.data.copy(), unit=whole.unit, meta=whole.meta)
        part.data[bands.index(gone)] = np.nan
        found = bundled.predict(part, n_candidates=1)
        assert np.isfinite(found.flux.value).all()
        assert f"missing_band_{gone}" in found.meta["flags"]


def test_other_bands_and_other_pixels_are_of_another_survey(spectrograph):
    """Each alone can be lived with; both need a word from the image."""
    with pytest.raises(InputError, match=r"\(desi_legacy\), got other bands \(u, g, r, i, z\) and"):
        spectrograph.predict(galaxy("ugriz", 0.396))
    with pytest.raises(InputError, match=r"\(sdss_main\), got other bands \(g, r, z\) and other"):
        PhotoSpectrograph.load().predict(galaxy("grz"))
    known = spectrograph.predict(galaxy("grz", 0.3, camera="decam"), n_candidates=1)
    assert {"resampled", "missing_band_i"} <= set(known.meta["flags"])


@pytest.mark.parametrize(
    ("gone", "mean", "std"),
    [("", 0.3425, 0.0973), ("i", 0.3532, 0.0943), ("g", 0.3437, 0.0993), ("z", 0.3601, 0.0891)],
)
def test_redshifts_of_the_bundled_weights(gone, mean, std):
    """Frozen: of one galaxy of r = 20.3 at redshift 0.359, with and without a band."""
    survey = Survey.named("desi_legacy", seed=3)
    pairs = survey.simulate(1)
    meta = {"bands": survey.bands, "pixel_scale": survey.pixel_scale * u.arcsec}
    meta["galactic_ebv"] = float(pairs.object["galactic_ebv"][0])
    data = pairs.image[0].copy()
    if gone:
        data[survey.bands.index(gone)] = np.nan
    weights = PhotoSpectrograph.load("legacy", dtype="float32")
    density = weights.redshift_density(NDData(data, unit="nmgy", meta=meta))
    np.testing.assert_allclose([density.mean[0], density.std[0]], [mean, std], atol=2e-4)


def test_a_small_image_of_another_survey_is_told_as_one():
    """What is wrong is the survey, not that 64 pixels of it do not fill the crop."""
    image = galaxy("griz")
    data = image.data[:, :64, :64]
    small = NDData(data, unit=image.unit, meta=image.meta)
    with pytest.raises(InputError, match=r"\(sdss_main\), got other bands .* and other pixels"):
        PhotoSpectrograph.load().predict(small)
