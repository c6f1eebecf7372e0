"""PhotoSpectrograph of published networks, at toy sizes."""

import shutil

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.nddata import NDData
from safetensors.torch import load_file, save_file

from photospec.errors import InputError, PhotospecWarning
from photospec.image import NANOMAGGY
from photospec.image.identity import image_seed
from photospec.photometry.apertures import aperture_flux
from photospec.photometry.filters import band_flux
from photospec.published import load_spectrograph
from photospec.published.cascade import PublishedCascade
from photospec.published.denoiser import PublishedContrastive, PublishedDenoiser
from photospec.spectrograph import PhotoSpectrograph
from photospec.spectrum import WAVELENGTH, from_arrays, to_arrays

SMALL = {"widths": (32, 32), "attention_depths": (1,), "time_width": 32, "image_width": 4}
MEAN, STD = (0.1, 0.2, 0.3, 0.4, 0.5), (1.0, 2.0, 3.0, 4.0, 5.0)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Files as their authors' code writes them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = {
            "base": PublishedDenoiser("linear", n_times=3, **SMALL),
            "super_resolution": PublishedDenoiser("linear", n_times=2, n_channels=2, **SMALL),
            "contrastive": PublishedContrastive(16, widths=(8, 16), image_width=4),
        }
    folder, files = tmp_path_factory.mktemp("published"), {}
    for name, network in networks.items():
        files[name] = folder / f"{name}.pt"
        torch.save({"model": {}, "average_model": network.state_dict()}, files[name])
    return files


@pytest.fixture(scope="module")
def spectrograph(checkpoints):
    return load_spectrograph(**checkpoints, image_mean=MEAN, image_std=STD)


@pytest.fixture(scope="module")
def images():
    y, x = np.mgrid[:64, :64] - 32
    rng = np.random.default_rng(0)
    meta = {"bands": tuple("ugriz"), "pixel_scale": 0.396 * u.arcsec}
    light = [np.exp(-np.hypot(x, y) / s) for s in (3, 5)]
    return [
        NDData(one + rng.normal(0, 0.02, (5, 64, 64)), unit=NANOMAGGY, meta=meta) for one in light
    ]


def test_draws_what_the_published_cascade_draws(spectrograph, checkpoints, images):
    found = spectrograph.sample(images[0], n_candidates=4, seed=3)
    cascade = PublishedCascade.from_checkpoints(**checkpoints, image_mean=MEAN, image_std=STD)
    prepared = spectrograph.prepare(images[0])
    data = prepared.data
    wanted = cascade.sample(data[None], 4, image_seed(3, prepared), n_keep=2)
    np.testing.assert_allclose(found.similarity, wanted.similarity[0], atol=1e-6)
    flux = to_arrays(found.spectra).flux
    ratio = flux / wanted.flux[0]
    np.testing.assert_allclose(ratio / ratio[:, :1], 1, rtol=1e-4)
    # ... with the flux of the image
    r_band = aperture_flux(data, 1.5)[2]
    np.testing.assert_allclose(band_flux(WAVELENGTH, flux, "r")[:, 0], r_band, rtol=1e-5)
    assert found.spectra.meta["nfe"] == 3 + 2


def test_predict(spectrograph, images):
    assert spectrograph.dtype == "float32"
    together = spectrograph.predict(images, seed=1)
    assert together.flux.shape == (2, 4500)
    assert (together.flux.value > 0).all()
    assert together.meta["n_candidates"] == 3
    provenance = together.meta["provenance"]
    assert provenance["base"] == "base.pt"
    assert "2406.18175" in provenance["networks"]
    alone = spectrograph.predict(images[1], seed=1)
    np.testing.assert_allclose(alone.flux.value, together.flux[1].value, rtol=1e-4)
    one = spectrograph.predict(images[1], seed=1, n_candidates=1)  # fewer than are kept
    assert one.meta["n_candidates"] == 1
    other = spectrograph.predict(images[1], seed=2)
    assert np.abs(np.log(other.flux / alone.flux)).max() > 0.01


def test_embeddings(spectrograph, images):
    embedded = spectrograph.embed_image(images)
    assert embedded.shape == (2, 16)
    spectra = spectrograph.predict(images, seed=1)
    similarity = spectrograph.similarity(images, spectra)
    assert similarity.shape == (2, 2)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, rtol=1e-5)
    # the published normalisation: mean one at 6900 to 6950 Angstrom, natural logarithm
    flux = 5 * (1 + WAVELENGTH / 1e4)
    window = flux[(WAVELENGTH >= 6900) & (WAVELENGTH < 6950)].mean()
    network = spectrograph.cascade.published.contrastive
    log_flux = torch.tensor(np.log(flux / window), dtype=torch.float32)[None]
    with torch.no_grad():
        wanted = network.embed_spectrum(log_flux).numpy()
    found = spectrograph.embed_spectrum(from_arrays(WAVELENGTH, flux))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_save_and_load(spectrograph, images, tmp_path, checkpoints):
    spectrograph.save(tmp_path / "w")
    names = {path.name for path in (tmp_path / "w").iterdir()}
    assert names == {"config.toml", *(f"{name}.safetensors" for name in checkpoints)}
    state = torch.load(checkpoints["base"], weights_only=True)["average_model"]
    saved = load_file(tmp_path / "w" / "base.safetensors")
    assert saved.keys() == state.keys()
    assert all(torch.equal(saved[name], state[name]) for name in state)
    again = PhotoSpectrograph.load(tmp_path / "w")
    assert again.config == spectrograph.config
    a, b = (one.predict(images[0], seed=5).flux.value for one in (spectrograph, again))
    np.testing.assert_array_equal(a, b)
    assert 'format = "photospec-published-1"' in (tmp_path / "w" / "config.toml").read_text()


def test_own_ranking_of_the_base_stage(checkpoints, images, tmp_path):
    spectrograph = load_spectrograph(
        **checkpoints,
        base_contrastive=checkpoints["contrastive"],
        image_mean=MEAN,
        image_std=STD,
        dtype="bfloat16",
    )
    assert "bfloat16" in repr(spectrograph)
    assert np.isfinite(spectrograph.predict(images[0]).flux.value).all()
    spectrograph.save(tmp_path / "w")
    assert (tmp_path / "w" / "base_contrastive.safetensors").is_file()
    PhotoSpectrograph.load(tmp_path / "w")


def test_wrong_arguments(checkpoints):
    make = load_spectrograph
    good = checkpoints | {"image_mean": MEAN, "image_std": STD}
    swapped = good | {"base": good["super_resolution"], "super_resolution": good["base"]}
    for options, message in (
        (swapped, "may be swapped"),
        (good | {"base": checkpoints["contrastive"]}, "base: expected a denoiser"),
        (good | {"image_std": None}, "got 5 and 0"),
        (good | {"image_mean": (1, 2)}, "got 2 and 5"),
        (good | {"image_mean": "ugriz"}, "image_mean: expected five numbers"),
        (good | {"image_std": (1, 2, 3, 4, 0)}, "image_std: expected positive"),
        (good | {"base": checkpoints["base"].with_name("no.pt")}, "not there"),
        (good | {"base": None}, "base: expected the path of a checkpoint .* got None"),
        (good | {"contrastive": 3}, "contrastive: expected the path .* got 3"),
        (good | {"device": "cuda:9"}, "device: expected one that is available"),
        (good | {"dtype": "float16"}, "dtype: expected"),
        (good | {"dtype": "int8"}, "dtype: expected float32 or bfloat16 for published networks"),
    ):
        with pytest.raises(InputError, match=message) as error:
            make(**options)
        assert "\n" not in str(error.value)
    with pytest.warns(PhotospecWarning, match="images are not standardised"):
        make(**checkpoints)


def test_broken_folders(spectrograph, tmp_path):
    spectrograph.save(tmp_path / "w")

    def broken(edit):
        folder = tmp_path / "broken"
        shutil.rmtree(folder, ignore_errors=True)
        edit(shutil.copytree(tmp_path / "w", folder))
        with pytest.raises(InputError) as error:
            PhotoSpectrograph.load(folder)
        assert "\n" not in str(error.value)
        return str(error.value)

    def write(name, old, new):
        return lambda folder: (folder / name).write_text(
            (folder / name).read_text().replace(old, new, 1)
        )

    def spoil(folder):
        path = folder / "contrastive.safetensors"
        state = load_file(path)
        state["image_model.fc.bias"][0] = float("nan")
        save_file(state, path)

    def drop(folder):
        path = folder / "base.safetensors"
        state = load_file(path)
        state.popitem()
        save_file(state, path)

    assert "base.safetensors" in broken(lambda folder: (folder / "base.safetensors").unlink())
    assert "finite" in broken(spoil)
    assert "expected" in broken(drop)
    config = "config.toml"
    assert "five" in broken(write(config, '"z"]', '"z", "y"]'))
    assert "misspelt" in broken(write(config, "n_keep", "n_kept"))
    assert "base_contrastive.safetensors" in broken(write(config, "= false", "= true"))
    assert "another version" in broken(write(config, "published-1", "published-2"))
