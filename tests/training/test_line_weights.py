"""Emission lines count more in the denoising loss, and only there."""

import pytest
import torch

from photospec.errors import InputError
from photospec.lines import LINES
from photospec.networks.scaling import N_FINE
from photospec.spectrum import WAVELENGTH
from photospec.training.data import PairsBatch, PairsStream
from photospec.training.line_weights import WEIGHTED, line_weights
from photospec.training.settings import TrainConfig
from photospec.training.stages import DiffusionTraining


def test_peak_at_the_lines_and_one_elsewhere():
    redshift = torch.tensor([0.05, 0.2])
    weight = line_weights(redshift, 8.0)
    assert weight.shape == (2, N_FINE)
    wavelength = torch.tensor(WAVELENGTH)
    for row, z in zip(weight, redshift, strict=True):
        rest = wavelength / (1 + z)
        for name in WEIGHTED:
            at = (rest - LINES[name].wavelength).abs().argmin()
            assert row[at] == pytest.approx(8.0, abs=0.05)
        nearest = torch.stack([(rest / LINES[n].wavelength - 1).abs() for n in WEIGHTED]).amin(0)
        assert torch.all(row[nearest > 0.01] < 1 + 1e-6)
        assert torch.all(row >= 1)


def test_lines_beyond_the_grid_weigh_nothing():
    assert line_weights(torch.tensor([0.9]), 5.0)[0, -1000:].max() == pytest.approx(1.0, abs=1e-3)


@pytest.fixture(scope="module")
def batch(make_galaxies):
    image, flux, _ = make_galaxies(8)
    redshift = torch.linspace(0.03, 0.2, 8)
    return PairsBatch(torch.from_numpy(image), torch.from_numpy(flux), None, redshift)


def losses(settings, stage, batch, **changes):
    config = settings(stage, **changes)
    with torch.random.fork_rng():
        training = DiffusionTraining(config, n_bands=5, image_size=64, pixel_scale=0.396)
    training.fit_scaling(batch)
    return training.loss(batch, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("stage", ["base", "super-resolution"])
def test_settings_reach_the_loss(settings, batch, stage):
    plain, weighted = (losses(settings, stage, batch, line_weight=w) for w in (1.0, 8.0))
    assert not torch.allclose(plain, weighted)
    bare = batch._replace(redshift=None)  # nothing is known of where the lines are
    torch.testing.assert_close(losses(settings, stage, bare, line_weight=8.0), plain)


@pytest.mark.parametrize("stage", ["base", "super-resolution"])
def test_only_ratios_of_weights_count(settings, batch, stage):
    with torch.random.fork_rng():
        training = DiffusionTraining(settings(stage), n_bands=5, image_size=64, pixel_scale=0.396)
    training.fit_scaling(batch)

    def loss(weight):
        generator = torch.Generator().manual_seed(1)
        network = training.network
        return network.loss(batch.image, batch.flux, generator=generator, weight=weight)

    torch.testing.assert_close(loss(torch.full_like(batch.flux, 3.0)), loss(None))
    blue = torch.full_like(batch.flux, 1e-6)
    blue[:, :800] = 1.0
    bluer = blue.clone()
    bluer[:, 800:] = 0.0
    torch.testing.assert_close(loss(blue), loss(bluer), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(loss(blue), loss(None))


def test_pairs_without_redshifts_are_refused(settings, pairs):
    config = settings("base", line_weight=2.0)  # redshifts of these pairs go below zero
    with pytest.raises(InputError, match=r"set diffusion\.redshift to false and line_weight to 1"):
        PairsStream(pairs, config)


def test_refusals():
    with pytest.raises(InputError, match="line_weight: expected at least 1"):
        TrainConfig(line_weight=0.5)
    with pytest.raises(InputError, match="line_weight: expected 1 for the contrastive network"):
        TrainConfig(stage="contrastive", line_weight=2.0)
