"""Direct regressors learn what an image shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from photospec.errors import InputError
from photospec.networks.sizes import EncoderSize
from photospec.pairs import PairsWriter
from photospec.spectrum import WAVELENGTH
from photospec.training.direct_regression import SETTINGS, predict_regressor, train_regressor

SIZE = EncoderSize(width=16, depth=1, n_heads=2, patch_size=16, n_summary=2)
N = 96


@pytest.fixture(scope="module")
def made():
    """Images whose colour is their redshift, and spectra whose slope it is."""
    rng = np.random.default_rng(0)
    redshift = rng.uniform(0.02, 0.3, N)
    y, x = np.mgrid[:32, :32] - 16
    profile = np.exp(-np.hypot(x, y) / 3)
    colour = 1 + 5 * redshift[:, None] * np.linspace(0, 1, 5)
    image = colour[:, :, None, None] * profile + 0.01 * rng.standard_normal((N, 5, 32, 32))
    flux = 1 + 3 * redshift[:, None] * np.linspace(-1, 1, WAVELENGTH.size)
    return image.astype(np.float32), flux.astype(np.float32), redshift


@pytest.fixture(scope="module")
def path(made, tmp_path_factory):
    image, flux, redshift = made
    path = tmp_path_factory.mktemp("baselines") / "pairs.h5"
    with PairsWriter(path, "ugriz", 0.396, WAVELENGTH, {"seed": 0}) as writer:
        columns = {"redshift": redshift}
        writer.append(image, flux, np.ones_like(flux), object=columns, truth_flux=flux)
    return path


def train(target, path, folder=None, n_steps=150):
    settings = replace(
        SETTINGS[target],
        n_steps=n_steps,
        batch_size=32,
        learning_rate=4e-3,
        n_warmup=5,
        skip_last=8,
    )
    with torch.random.fork_rng():
        return train_regressor(target, [path], folder, settings=settings, size=SIZE)


def test_redshifts_of_held_out_images(made, path, tmp_path):
    image, _, redshift = made
    network = train("redshift", path, tmp_path)
    found = predict_regressor(network, image[-8:])[:, 0]
    assert np.abs(found - redshift[-8:]).mean() < 0.25 * np.std(redshift)
    # A second call reads what the first trained.
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    again = predict_regressor(train("redshift", path, tmp_path), image[-8:])[:, 0]
    np.testing.assert_allclose(again, found, rtol=1e-5)
    assert file.stat().st_mtime_ns == written


def test_spectra_have_the_slope_of_the_colour(made, path):
    image, flux, _ = made
    found = predict_regressor(train("spectrum", path), image[-8:])
    wanted = flux[-8:] / flux[-8:, 1600:2900].mean(axis=1, keepdims=True)
    assert np.abs(found - wanted).mean() < 0.5 * np.abs(wanted - wanted.mean(axis=0)).mean()


def test_same_seed_same_network(path):
    a, b = (train("redshift", path, n_steps=3).head[0].weight for _ in range(2))
    assert torch.equal(a, b)


def test_refusals(path):
    with pytest.raises(InputError, match="target: expected one of redshift, spectrum"):
        train_regressor("colour", [path], settings=SETTINGS["redshift"])
    with pytest.raises(InputError, match=r"pairs: .* 64 pairs .* beside 512 .* got 96"):
        train_regressor("redshift", [path])
