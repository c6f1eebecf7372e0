"""PhotoSpectrograph with small random networks: everything but the science."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.nddata import NDData
from scipy.stats import kstest
from specutils import Spectrum

import photospec
from photospec.candidates import read_candidates, write_candidates
from photospec.dust import band_extinction, galactic_extinction
from photospec.errors import InputError, PhotospecWarning
from photospec.image import NANOMAGGY
from photospec.photometry.apertures import aperture_flux
from photospec.photometry.filters import band_flux
from photospec.spectrograph import PhotoSpectrograph
from photospec.spectrum import (
    FIBRE_RADIUS,
    WAVELENGTH,
    from_arrays,
    smooth,
    to_arrays,
    write_spectra,
)
from photospec.weights import FILES, assemble


@pytest.fixture(scope="module")
def spectrograph(tiny_weights):
    return PhotoSpectrograph.load(tiny_weights, dtype="float32")


def galaxy(seed=1, brightness=1.0, bands="ugriz", **meta):
    y, x = np.mgrid[:70, :70] - 35
    rng = np.random.default_rng(seed)
    light = brightness * np.exp(-np.hypot(x, y) / rng.uniform(2, 5))
    data = rng.uniform(1, 5, (len(bands), 1, 1)) * light
    data += rng.normal(0, 0.02, data.shape)
    about = {"bands": tuple(bands), "pixel_scale": 0.396 * u.arcsec, "galactic_ebv": 0.03}
    return NDData(data, unit=NANOMAGGY, meta=about | meta)


@pytest.fixture(scope="module")
def redshift_spectrograph(spectrograph):
    """The same with base and super-resolution stages that take a redshift, drawn first."""
    config = spectrograph.config
    stage = replace(config.base, redshift=True)
    config = replace(config, base=stage, super_resolution=stage)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        stages = {name: config.build(name) for name in FILES}
    return PhotoSpectrograph(assemble(stages, config), config, dtype="float32")


@pytest.fixture(scope="module")
def images():
    return [galaxy(seed) for seed in (1, 2, 3)]


def test_predict_gives_a_spectrum(spectrograph, images):
    spectrum = spectrograph.predict(images[0])
    assert isinstance(spectrum, Spectrum)
    assert spectrum.flux.unit == u.Unit("erg / (s cm2 Angstrom)")
    np.testing.assert_array_equal(spectrum.spectral_axis.to_value(u.AA), WAVELENGTH)
    assert (spectrum.flux.value > 0).all()
    assert np.isfinite(spectrum.flux.value).all()
    meta = spectrum.meta
    assert meta["seed"] == 0
    assert meta["n_candidates"] == 3
    assert meta["nfe"] == 3 + 2
    assert meta["flags"] == []
    assert -1 <= meta["similarity"] <= 1
    assert meta["provenance"] == {"trained": "never", "photospec": photospec.__version__}
    np.testing.assert_allclose(meta["lsf_sigma"][[0, -1]], [2.1, 2.7], atol=1e-3)
    # analysis reads it with its line-spread function
    assert to_arrays(spectrum).lsf.shape == (4500,)


def test_flux_is_that_of_the_image_through_the_fibre(spectrograph, images):
    flux = to_arrays(spectrograph.predict(images)).flux
    image = np.stack([spectrograph.prepare(image).data[2] for image in images])[:, None]
    wanted = aperture_flux(image, FIBRE_RADIUS)[:, 0]
    np.testing.assert_allclose(band_flux(WAVELENGTH, flux, "r")[:, 0], wanted, rtol=1e-5)
    bright = NDData(3 * images[0].data, unit=NANOMAGGY, meta=images[0].meta)
    found = to_arrays(spectrograph.predict(bright)).flux
    found = band_flux(WAVELENGTH, found, "r")
    np.testing.assert_allclose(found, 3 * wanted[0], rtol=1e-5)


def test_same_seed_same_bits(spectrograph, images):
    a, b, c = (spectrograph.predict(images, seed=seed).flux.value for seed in (7, 7, 8))
    np.testing.assert_array_equal(a, b)
    assert np.abs(np.log(a / c)).max() > 0.05


def test_predict_is_the_best_of_sample(spectrograph, images):
    candidates = spectrograph.sample(images[1], n_candidates=4, seed=2)
    assert candidates.spectra.flux.shape == (4, 4500)
    assert candidates.similarity.shape == (4,)
    assert np.ptp(np.log(candidates.spectra.flux.value), axis=0).max() > 0.05
    best = spectrograph.predict(images[1], n_candidates=4, seed=2)
    np.testing.assert_array_equal(candidates.best.flux.value, best.flux.value)
    assert candidates.best.meta["similarity"] == pytest.approx(best.meta["similarity"])
    wanted = band_flux(WAVELENGTH, to_arrays(best).flux, "r")
    found = band_flux(WAVELENGTH, to_arrays(candidates.spectra).flux, "r")
    np.testing.assert_allclose(found[:, 0], wanted[0, 0], rtol=1e-5)


def test_bands_are_found_by_name(spectrograph, images):
    image = images[0]
    shuffled = NDData(
        image.data[[4, 2, 0, 1, 3]],
        unit=NANOMAGGY,
        meta=image.meta | {"bands": ("z", "r", "u", "g", "i")},
    )
    a, b = (spectrograph.predict(one).flux.value for one in (image, shuffled))
    np.testing.assert_array_equal(a, b)


def test_prepared_images_are_taken_as_they_are(spectrograph, images):
    prepared = spectrograph.prepare(images[0])
    a, b = (spectrograph.predict(one).flux.value for one in (images[0], prepared))
    np.testing.assert_array_equal(a, b)


def test_flags_reach_the_spectrum(spectrograph, images):
    data = np.random.default_rng(0).normal(0, 0.05, (5, 70, 70))
    data[:, 35, 35] += 1.2
    faint = NDData(data, unit=NANOMAGGY, meta=images[0].meta)
    assert "low_signal" in spectrograph.predict(faint).meta["flags"]
    assert spectrograph.predict([images[0], faint]).meta["flags"][0] == []


def test_embeddings_similarity_and_rank(spectrograph, images):
    spectra = spectrograph.predict(images, seed=1)
    of_images, of_spectra = spectrograph.embed_image(images), spectrograph.embed_spectrum(spectra)
    assert of_images.shape == of_spectra.shape == (3, 8)
    np.testing.assert_allclose(np.linalg.norm(of_images, axis=1), 1, rtol=1e-5)
    similarity = spectrograph.similarity(images, spectra)
    np.testing.assert_allclose(similarity, of_images @ of_spectra.T, atol=1e-6)
    # what predict reports is the same number
    np.testing.assert_allclose(np.diag(similarity), spectra.meta["similarity"], atol=1e-4)
    order = spectrograph.rank(images[1], spectra)
    np.testing.assert_array_equal(order, np.argsort(-similarity[1]))
    np.testing.assert_array_equal(spectrograph.rank(images, spectra)[1], order)
    assert spectrograph.embed_image(images[0]).shape == (1, 8)


def test_embedding_of_a_spectrum_knows_no_unit_grid_or_bad_sample(spectrograph, images):
    predicted = spectrograph.predict(images[0])
    wanted = spectrograph.embed_spectrum(predicted)
    arrays = to_arrays(predicted)
    dust = {"galactic_ebv": predicted.meta["galactic_ebv"]}
    scaled = Spectrum(flux=1e3 * predicted.flux, spectral_axis=predicted.spectral_axis, meta=dust)
    np.testing.assert_allclose(spectrograph.embed_spectrum(scaled), wanted, atol=1e-5)
    # a spectrum before the smoothing of 2 Angstrom, on a finer and wider grid
    grid = np.arange(3900.0, 8600.0, 0.5)
    raw = 1 + 0.3 * np.sin(grid / 300)
    fine = from_arrays(grid, raw)
    smoothed = from_arrays(WAVELENGTH, smooth(raw, grid, 2.0, new_wavelength=WAVELENGTH))
    a, b = spectrograph.embed_spectrum(fine), spectrograph.embed_spectrum(smoothed)
    np.testing.assert_allclose(a, b, atol=1e-4)
    flux, mask = arrays.flux.copy(), np.zeros(arrays.flux.shape, bool)
    flux[0, 1000:1003], mask[0, 1000:1003] = np.nan, True
    bad = from_arrays(WAVELENGTH, flux, mask=mask, meta=dust)
    np.testing.assert_allclose(spectrograph.embed_spectrum(bad), wanted, atol=0.02)
    # and no Galactic dust, if the spectrum says how much there is
    clean = spectrograph.predict(images[0], intrinsic=True)
    np.testing.assert_allclose(spectrograph.embed_spectrum(clean), wanted, atol=1e-4)
    with pytest.raises(InputError, match="one for each of 1 spectra, got 2"):
        spectrograph.embed_spectrum(from_arrays(WAVELENGTH, flux[0], meta={"galactic_ebv": [0, 1]}))


@pytest.mark.parametrize("left", [0.0, 0.03])
def test_galactic_dust_is_taken_off_and_put_back(spectrograph, images, left):
    # Networks that learnt from corrected images, and such that did not.
    config = replace(spectrograph.config, galactic_ebv=left)
    machine = PhotoSpectrograph(spectrograph.cascade, config, dtype="float32")
    clear, thick = 0.0, 0.3
    factor = 10 ** (-0.4 * thick * band_extinction("ugriz"))[:, None, None]
    meta = images[0].meta
    before = NDData(images[0].data, unit=NANOMAGGY, meta=meta | {"galactic_ebv": clear})
    behind = NDData(images[0].data * factor, unit=NANOMAGGY, meta=meta | {"galactic_ebv": thick})
    a, b = machine.prepare(before), machine.prepare(behind)
    np.testing.assert_allclose(a.data, b.data, rtol=1e-5)
    assert a.remaining_ebv == b.remaining_ebv == left
    # the same networks' spectrum of both: as observed it is dimmed as the image was
    spectra = [machine.predict(a), machine.predict(replace(a, meta=b.meta))]
    ratio = spectra[1].flux.value / spectra[0].flux.value
    np.testing.assert_allclose(ratio, 10 ** (-0.4 * thick * galactic_extinction(WAVELENGTH)))
    assert [s.meta["galactic_ebv"] for s in spectra] == [clear, thick]
    assert {s.meta["galactic_extinction"] for s in spectra} == {"included"}
    intrinsic = [machine.predict(a, intrinsic=True), machine.predict(before, intrinsic=True)]
    for spectrum in intrinsic:
        np.testing.assert_allclose(spectrum.flux.value, spectra[0].flux.value, rtol=1e-6)
        assert spectrum.meta["galactic_extinction"] == "removed"
    flux = machine.sample(replace(a, meta=b.meta), 3, intrinsic=True).spectra.flux
    assert flux.shape == (3, 4500)


def test_dust_that_is_told_moves_no_redshift(images):
    """Bundled weights: the same galaxy behind E(B-V) = 0 and 0.3 mag."""
    bundled = PhotoSpectrograph.load()
    left = 10 ** (-0.4 * 0.3 * band_extinction(tuple("ugriz"), "sdss"))[:, None, None]
    clear = [replace_meta(one, one.data, 0.0) for one in images]
    behind = [replace_meta(one, one.data * left, 0.3) for one in images]
    moved = bundled.redshift_density(behind).mean - bundled.redshift_density(clear).mean
    assert np.abs(moved).max() < 2e-5  # the goal was 0.002
    untold = [replace_meta(one, one.data * left, 0.0) for one in images]
    wrong = bundled.redshift_density(untold).mean - bundled.redshift_density(clear).mean
    assert np.abs(wrong).max() > 0.005


def replace_meta(image, data, ebv):
    return NDData(data, unit=image.unit, meta=image.meta | {"galactic_ebv": ebv})


def test_one_image_without_dust_known(spectrograph, images):
    meta = dict(images[1].meta)
    del meta["galactic_ebv"]
    unknown = NDData(images[1].data, unit=NANOMAGGY, meta=meta)
    known = NDData(images[0].data, unit=NANOMAGGY, meta=meta | {"galactic_ebv": 0.05 * u.mag})
    found = spectrograph.predict([known, unknown]).meta
    assert found["galactic_ebv"] == [0.05, 0.03]
    assert found["flags"] == [[], ["galactic_ebv_assumed"]]
    # assumed or said to be so: the same image for the networks
    said = NDData(images[1].data, unit=NANOMAGGY, meta=meta | {"galactic_ebv": 0.03})
    a, b = (spectrograph.prepare(one).data for one in (unknown, said))
    np.testing.assert_allclose(a, b, rtol=1e-6)
    bad = NDData(images[1].data, unit=NANOMAGGY, meta=meta | {"galactic_ebv": -1.0})
    with pytest.raises(InputError, match=r"image number 1 of 2.*galactic_ebv.*from 0 to 5 mag"):
        spectrograph.predict([images[0], bad])


def test_bad_spectra(spectrograph):
    grid = np.arange(5000.0, 8600.0)
    short = from_arrays(grid, np.ones(grid.size))
    with pytest.raises(InputError, match="4000 to 8499"):
        spectrograph.embed_spectrum(short)
    dark = from_arrays(WAVELENGTH, np.repeat([[1.0], [-1.0]], 4500, axis=1))
    with pytest.raises(InputError, match="spectrum number 1 of 2"):
        spectrograph.embed_spectrum(dark)


def test_redshift_density(redshift_spectrograph, spectrograph, images):
    density = redshift_spectrograph.redshift_density(images)
    assert len(density) == 3
    candidates = redshift_spectrograph.sample(images[1], 400, seed=1)
    # the candidates' redshifts are draws from it
    assert density.mean[1] == pytest.approx(candidates.expected_redshift, abs=2e-5)
    assert kstest(density[1].cdf(np.sort(candidates.redshift))[0], "uniform").pvalue > 1e-3
    meta = redshift_spectrograph.predict(images).meta
    assert meta["expected_redshift"] == pytest.approx(density.mean, abs=2e-5)
    assert density.flags == meta["flags"]
    drawn = redshift_spectrograph.predict(images[0]).meta
    assert 0 <= drawn["drawn_redshift"] <= 0.6
    assert drawn["expected_redshift"] == pytest.approx(density.mean[0], abs=2e-5)
    alone = redshift_spectrograph.redshift_density(images[2])
    np.testing.assert_allclose(alone.mean, density.mean[2:], rtol=1e-5)
    with pytest.raises(InputError, match="expected weights that draw redshifts"):
        spectrograph.redshift_density(images)
    assert spectrograph.predict(images[0]).meta["expected_redshift"] is None


def test_save_and_load(spectrograph, images, tmp_path):
    spectrograph.save(tmp_path / "w")
    again = PhotoSpectrograph.load(tmp_path / "w" / "config.toml", dtype="float32")
    assert again.config == spectrograph.config
    a, b = (one.predict(images[0], seed=5).flux.value for one in (spectrograph, again))
    np.testing.assert_array_equal(a, b)
    with pytest.raises(InputError, match="overwrite"):
        spectrograph.save(tmp_path / "w")


def test_dtype_and_device(tiny_weights, images):
    half = PhotoSpectrograph.load(tiny_weights, dtype="bfloat16")
    exact = PhotoSpectrograph.load(tiny_weights, dtype="float32")
    a, b = (one.predict(images[0], n_candidates=1) for one in (half, exact))
    assert not np.array_equal(a.flux.value, b.flux.value)
    assert np.abs(np.log(a.flux.value / b.flux.value)).max() < 0.2
    assert "cpu, bfloat16" in repr(half)
    assert PhotoSpectrograph.load(tiny_weights).dtype in ("float32", "bfloat16")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda:99"}, "device: expected one that is available, got 'cuda:99'"),
        ({"device": "abacus"}, "device: expected cpu, cuda or cuda:N, got 'abacus'"),
        ({"device": "meta"}, "device: expected cpu, cuda or cuda:N, got 'meta'"),
        (
            {"dtype": "float16"},
            "dtype: expected one of float32, bfloat16, int8 on cpu, got 'float16'",
        ),
        ({"dtype": ["float32"]}, "dtype: expected"),
    ],
)
def test_bad_device_and_dtype(tiny_weights, options, message):
    with pytest.raises(InputError, match=message):
        PhotoSpectrograph.load(tiny_weights, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": 0.5}, "seed"),
        ({"seed": True}, "seed"),
        ({"n_candidates": 0}, "n_candidates: expected a whole number of at least 1, got 0"),
        ({"n_candidates": 2.0}, "n_candidates"),
        ({"n_candidates": True}, "n_candidates"),
    ],
)
def test_bad_arguments(spectrograph, images, options, message):
    with pytest.raises(InputError, match=message):
        spectrograph.predict(images[0], **options)
    with pytest.raises(InputError, match=message):
        spectrograph.sample(images[0], **options)


def test_candidates_of_many_images(spectrograph, images):
    found = spectrograph.sample(images[:2], 4, seed=3, identifier=["a", "b"])
    assert [len(candidates) for candidates in found] == [4, 4]
    alone = spectrograph.sample(images[1], 4, seed=3, identifier="b")
    np.testing.assert_allclose(found[1].spectra.flux.value, alone.spectra.flux.value, rtol=1e-4)
    with pytest.raises(InputError, match="one for each of 2 images"):
        spectrograph.sample(images[:2], identifier="a")


def test_predictions_carry_the_spread_of_their_candidates(spectrograph, images):
    many = spectrograph.predict(images[:2], n_candidates=4, seed=1)
    candidates = spectrograph.sample(images[0], 4, seed=1)
    assert many.meta["spread"].shape == many.flux.shape
    np.testing.assert_allclose(
        many.meta["spread"][0].value, candidates.spread.value, rtol=1e-3, atol=1e-20
    )
    assert candidates.best.meta["spread"].unit == many.flux.unit
    assert many.meta["weights"] == spectrograph.name
    one = spectrograph.predict(images[0], n_candidates=1)
    assert "spread" not in one.meta


def test_candidates_go_to_a_file_and_back(spectrograph, images, tmp_path):
    drawn = spectrograph.sample(images[:2], 3)
    write_candidates(tmp_path / "c.fits", drawn, images=["a", "b"])
    back = read_candidates(tmp_path / "c.fits")
    assert list(back) == ["a", "b"]
    for one, other in zip(drawn, back.values(), strict=True):
        np.testing.assert_allclose(other.spectra.flux.value, one.spectra.flux.value, rtol=1e-6)
        np.testing.assert_allclose(other.similarity, one.similarity)
        assert other.best_index == one.best_index
        assert (other.redshift is None) == (one.redshift is None)
        assert other.spectra.meta["flags"] == one.spectra.meta["flags"]
        assert other.spectra.meta["lsf_sigma"].shape == (4500,)
    with pytest.raises(InputError, match="a name of its own for each of 2 images"):
        write_candidates(tmp_path / "d.fits", drawn, images=["a", "a"])
    write_spectra(tmp_path / "s.fits", drawn[0].best)
    with pytest.raises(InputError, match="expected a file of candidates"):
        read_candidates(tmp_path / "s.fits")


def test_bad_images(spectrograph, images):
    cases = [
        ([], "expected at least one image, got an empty sequence"),
        ("image.fits", "expected an astropy NDData, got str"),
        (None, "expected an astropy NDData, got NoneType"),
        (images[0].data, "expected an astropy NDData, got ndarray"),
        ([images[0], galaxy(bands="ugri")], "image number 1 of 2: .* no z"),
    ]
    for image, message in cases:
        with pytest.raises(InputError, match=message) as error:
            spectrograph.predict(image)
        assert "\n" not in str(error.value)
        with pytest.raises(InputError, match=message):
            spectrograph.sample(image)
    dark = NDData(-images[0].data, unit=NANOMAGGY, meta=images[0].meta)
    light = pytest.raises(InputError, match=r"expected light within 1\.5 arcsec")
    with pytest.warns(PhotospecWarning, match="marks such as -999"), light:
        spectrograph.predict(dark)


def test_images_prepared_for_other_weights(spectrograph, images):
    prepared = spectrograph.prepare(images[0])
    for changes, message in (
        ({"bands": ("g", "u", "r", "i", "z")}, "prepared for other weights"),
        ({"data": prepared.data[:, :32, :32]}, r"got .*\(5, 32, 32\)"),
        ({"pixel_scale": 0.2}, "expected 0.396 arcsec per pixel, got 0.2"),
        ({"data": prepared.data * np.nan}, "expected bad pixels to be filled"),
        ({"data": -prepared.data}, "expected light"),
    ):
        with pytest.raises(InputError, match=message):
            spectrograph.predict(replace(prepared, **changes))


def test_the_front_door(tiny_weights):
    assert photospec.PhotoSpectrograph is PhotoSpectrograph
    assert torch.is_grad_enabled()  # predicting has left it alone
