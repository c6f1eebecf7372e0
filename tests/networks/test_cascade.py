from dataclasses import replace

import pytest
import torch

from photospec.networks import cascade as cascade_module
from photospec.networks.cascade import Cascade
from photospec.networks.contrastive import ContrastiveNetwork
from photospec.networks.scaling import N_FINE, NORMALISATION
from photospec.networks.stage import BaseStage, SuperResolutionStage

SMALL = {"width": 16, "depth": 1, "n_heads": 2}
IMAGE = SMALL | {"patch_size": 16}
NETWORK = SMALL | {"patch_size": 60}


@pytest.fixture(scope="module")
def cascade():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stages = [cls(image=IMAGE, network=NETWORK) for cls in (BaseStage, SuperResolutionStage)]
        contrastive = ContrastiveNetwork(embedding_size=8, image=IMAGE, spectrum=SMALL)
        for stage in stages:
            torch.nn.init.normal_(stage.network.head.weight, std=0.02)
            torch.nn.init.normal_(stage.network.modulation.weight, std=0.02)
            stage.scaling.std.fill_(0.3)
            stage.scaling.detail_std.fill_(0.05)
    cascade = Cascade(*stages, contrastive, n_steps_base=3, n_steps_super_resolution=2)
    return cascade.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images():
    return torch.randn(5, 5, 64, 64, generator=torch.Generator().manual_seed(4))


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_draws_are_positive_normalised_spectra(cascade, images):
    drawn = cascade.sample(images[:2], 3, generators(1, 2))
    assert drawn.flux.shape == (2, 3, N_FINE)
    assert torch.isfinite(drawn.flux).all()
    assert (drawn.flux > 0).all()
    torch.testing.assert_close(drawn.flux[..., NORMALISATION].mean(-1), torch.ones(2, 3))
    assert drawn.similarity.shape == (2, 3)
    assert drawn.similarity.abs().max() <= 1 + 1e-6
    assert drawn.nfe == 3 + 2
    candidates = drawn.flux[0].log()
    assert (candidates[0] - candidates[1]).abs().max() > 0.1


def test_a_batch_gives_the_bits_of_one_by_one(cascade, images):
    together = cascade.sample(images, 2, generators(1, 2, 3, 4, 5))
    for i in range(5):
        alone = cascade.sample(images[i : i + 1], 2, generators(i + 1))
        assert torch.equal(alone.flux[0], together.flux[i])
        assert torch.equal(alone.similarity[0], together.similarity[i])
    # ... in whatever order
    turned = cascade.sample(images.flip(0), 2, generators(5, 4, 3, 2, 1))
    assert torch.equal(turned.flux.flip(0), together.flux)


def test_batches_have_one_shape(cascade, images, monkeypatch):
    """What networks see never depends on how many images come."""
    monkeypatch.setattr(cascade_module, "_IMAGES", {"cpu": 3})
    monkeypatch.setattr(cascade_module, "_SPECTRA", {"cpu": 5})
    shapes = set()
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, args: shapes.add((type(module).__name__, tuple(args[0].shape)))
    )
    try:
        cascade.sample(images[:1], 2, generators(1))
        alone, _ = set(shapes), shapes.clear()
        cascade.sample(images, 2, generators(1, 2, 3, 4, 5))
    finally:
        hook.remove()
    assert shapes == alone


def test_noise_of_an_image_is_its_generators_alone(cascade, images):
    a = cascade.sample(images[:3], 2, generators(1, 2, 3))
    b = cascade.sample(images[:3], 2, generators(1, 9, 3))
    assert torch.equal(a.flux[[0, 2]], b.flux[[0, 2]])
    assert (a.flux[1] / b.flux[1]).log().abs().max() > 0.1
    again = cascade.sample(images[:3], 2, generators(1, 2, 3))
    assert torch.equal(again.flux, a.flux)


def test_ancestral_steps_draw_from_the_image_too(cascade, images):
    cascade.sampler = "ddpm"
    try:
        state = torch.get_rng_state()
        together = cascade.sample(images[:2], 3, generators(1, 2))
        again = cascade.sample(images[:2], 3, generators(1, 2))
        alone = cascade.sample(images[1:2], 3, generators(2))
    finally:
        cascade.sampler = "dpm-solver++"
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(again.flux, together.flux)
    assert torch.equal(alone.flux[0], together.flux[1])
    candidates = together.flux[1].log()
    assert (candidates[0] - candidates[1]).abs().max() > 0.1


def test_similarity_is_the_cosine_of_the_embeddings(cascade, images):
    drawn = cascade.sample(images[:2], 3, generators(1, 2))
    image = cascade.embed_image(images[:2])
    for i in range(2):
        spectra = cascade.embed_spectrum(7.0 * drawn.flux[i])  # in any unit
        torch.testing.assert_close(spectra @ image[i], drawn.similarity[i], atol=1e-4, rtol=0)


@pytest.mark.parametrize("n_keep", [1, 2])
def test_ranking_after_the_base_stage(images, n_keep):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        base = BaseStage(image=IMAGE, network=NETWORK, redshift=True)
        silent = SuperResolutionStage(image=IMAGE, network=NETWORK, redshift=True)
        contrastive = ContrastiveNetwork(embedding_size=8, image=IMAGE, spectrum=SMALL)
        torch.nn.init.normal_(base.network.head.weight, std=0.02)
    base.scaling.std.fill_(0.3)
    # What it adds is nothing: candidates are the base spectra that they came from.
    silent.process = replace(silent.process, inference_augmentation=0.0)
    silent.scaling.std.fill_(0.3)
    silent.scaling.detail_std.fill_(1e-9)
    cascade = Cascade(base, silent, contrastive, n_steps_base=3, n_steps_super_resolution=2)
    every = cascade.eval().sample(images[:2], 5, generators(1, 2))
    cascade.n_keep = n_keep
    kept = cascade.sample(images[:2], 5, generators(1, 2))
    best = every.similarity.argsort(dim=1, descending=True)[:, :n_keep]
    share = [0] * 5 if n_keep == 1 else [0, 0, 0, 1, 1]
    for i in range(2):
        expected = best[i, share]
        torch.testing.assert_close(kept.flux[i], every.flux[i, expected], rtol=1e-3, atol=1e-5)
        assert torch.equal(kept.redshift[i], every.redshift[i, expected])
    cascade.n_keep = 5
    assert torch.equal(cascade.sample(images[:2], 5, generators(1, 2)).flux, every.flux)


def test_precision(cascade, images):
    exact = cascade.sample(images[:1], 2, generators(1))
    cascade.set_precision(torch.bfloat16)
    try:
        half = cascade.sample(images[:1], 2, generators(1))
    finally:
        cascade.set_precision(None)
    assert half.flux.dtype == half.similarity.dtype == torch.float32
    assert not torch.equal(half.flux, exact.flux)
    assert (half.flux / exact.flux).log().square().mean().sqrt() < 0.05


def test_integers(cascade, images):
    exact = cascade.sample(images[:1], 2, generators(1))
    cascade.set_precision(torch.int8)
    try:
        rounded = cascade.sample(images[:1], 2, generators(1))
    finally:
        cascade.set_precision(None)
    assert 0 < (rounded.flux / exact.flux).log().square().mean().sqrt() < 0.005
    assert torch.equal(cascade.sample(images[:1], 2, generators(1)).flux, exact.flux)
