import pytest
import torch

from photospec.errors import InputError
from photospec.networks.process import NOISE_SCHEDULES
from photospec.networks.samplers import DDIMSampler
from photospec.networks.scaling import N_BASE, N_FINE, upsample
from photospec.networks.sizes import (
    DEFAULT_SIZES,
    ContrastiveSize,
    EncoderSize,
    StageSize,
    TransformerSize,
    build,
)
from photospec.networks.stage import BaseStage, SuperResolutionStage

IMAGE = {"width": 16, "depth": 1, "n_heads": 2, "patch_size": 16}
NETWORK = {"width": 16, "depth": 1, "n_heads": 2, "patch_size": 60}
STAGES = {"base": BaseStage, "super-resolution": SuperResolutionStage}


def make(stage):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = STAGES[stage](image=IMAGE, network=NETWORK)
        torch.nn.init.normal_(module.network.head.weight, std=0.02)
    return module


def data(n=3):
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(n, 5, 64, 64, generator=generator)
    flux = torch.rand(n, N_FINE, generator=generator) + 1
    return image, flux


def noise(*shape, seed=3):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", STAGES)
def test_loss_of_an_untrained_network(name):
    """A network that answers zero is wrong by the unit variance of its target."""
    stage = make(name)
    torch.nn.init.zeros_(stage.network.head.weight)
    image, flux = data(16)
    stage.scaling.fit(flux)
    with torch.no_grad():
        loss = stage.loss(image, flux, n_draws=8, generator=torch.Generator().manual_seed(0))
    assert loss.shape == (128,)
    assert loss.mean().item() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("name", STAGES)
def test_loss_is_decided_by_its_generator(name):
    stage, (image, flux) = make(name), data()
    with torch.no_grad():
        a, b, c = (
            stage.loss(image, flux, n_draws=2, generator=torch.Generator().manual_seed(s))
            for s in (5, 5, 6)
        )
    assert torch.equal(a, b)
    assert (a - c).abs().max() > 1e-3


@pytest.mark.parametrize("name", STAGES)
def test_loss_reaches_every_parameter(name):
    stage, (image, flux) = make(name), data()
    torch.nn.init.normal_(stage.network.modulation.weight, std=0.1)
    stage.loss(image, flux, generator=torch.Generator().manual_seed(0)).mean().backward()
    without = [k for k, p in stage.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


def test_known_noise_levels():
    schedule = NOISE_SCHEDULES["edm"]
    t = schedule.draw_times(20000, torch.Generator().manual_seed(0), *BaseStage.log_noise)
    log_sigma = schedule.sigma(t).log()
    assert log_sigma.mean().item() == pytest.approx(BaseStage.log_noise[0], abs=0.05)
    assert log_sigma.std().item() == pytest.approx(BaseStage.log_noise[1], abs=0.05)


@pytest.mark.parametrize("sampler", ["ddim", "dpm-solver++", "heun", DDIMSampler])
def test_base_samples(sampler):
    stage, (image, _) = make("base").requires_grad_(False), data()
    context = stage.encode(image)
    drawn, nfe = stage.sample(context, noise(6, N_BASE), sampler=sampler, n_steps=4)
    assert drawn.shape == (6, N_BASE)
    assert torch.isfinite(drawn).all()
    assert nfe == (7 if sampler == "heun" else 4)
    alone, _ = stage.sample(context[1:2], noise(6, N_BASE)[2:4], sampler=sampler, n_steps=4)
    torch.testing.assert_close(alone, drawn[2:4], atol=1e-4, rtol=1e-4)


def test_a_silent_super_resolution_stage_gives_the_upsampled_base():
    """Without detail to add, what comes out is the interpolated (noised) base spectrum."""
    stage, (image, flux) = make("super-resolution").requires_grad_(False), data()
    stage.scaling.fit(flux)
    torch.nn.init.zeros_(stage.network.head.weight)
    base, extra = noise(3, N_BASE), noise(3, N_BASE, seed=4)
    fine, nfe = stage.sample(stage.encode(image), base, torch.zeros(3, N_FINE), extra, n_steps=3)
    low = upsample(base + stage.process.inference_augmentation * extra)
    torch.testing.assert_close(fine, low, atol=1e-3, rtol=0)
    assert nfe == 3


def test_super_resolution_sees_the_base_spectrum():
    stage, (image, _) = make("super-resolution").requires_grad_(False), data(1)
    context, start, extra = stage.encode(image), noise(2, N_FINE), torch.zeros(2, N_BASE)
    same = noise(1, N_BASE).expand(2, -1)
    drawn, _ = stage.sample(context, same, start[:1].expand(2, -1), extra, n_steps=3)
    torch.testing.assert_close(drawn[0], drawn[1], atol=1e-5, rtol=1e-5)
    other, _ = stage.sample(context, noise(2, N_BASE), start, extra, n_steps=3)
    assert (other[0] - other[1]).abs().max() > 0.1


def test_bfloat16_is_near_float32():
    stage, (image, _) = make("base").requires_grad_(False), data()
    exact, _ = stage.sample(stage.encode(image), noise(3, N_BASE), n_steps=4)
    stage.autocast = torch.bfloat16
    half, _ = stage.sample(stage.encode(image), noise(3, N_BASE), n_steps=4)
    assert half.dtype == torch.float32
    assert not torch.equal(half, exact)
    assert (half - exact).square().mean().sqrt() < 0.05 * exact.std()


def test_sizes_build_what_they_say():
    with torch.random.fork_rng():
        for stage, size in DEFAULT_SIZES.items():
            network = build(stage, size, n_bands=4, image_size=32, pixel_scale=0.5)
            encoder = getattr(network, "encoder", None) or network.image_encoder
            assert encoder.patch.in_features == 4 * 8 * 8
            assert len(encoder.position) == 16
            assert encoder.norm.normalized_shape[0] == size.image.width


@pytest.mark.parametrize(
    ("make_size", "message"),
    [
        (lambda: EncoderSize(width=30, n_heads=4), "n_heads: expected a divisor of the width 30"),
        (lambda: EncoderSize(n_heads=0), "n_heads: .* got 0"),
        (lambda: EncoderSize(n_summary=0, use_patches=False), "n_summary: expected tokens"),
        (lambda: TransformerSize(width=30, n_heads=4), "n_heads"),
        (lambda: StageSize(network=TransformerSize(width=70)), "got 224 and 70"),
        (
            lambda: ContrastiveSize(spectrum=TransformerSize(patch_size=7)),
            "patch_size: expected a divisor .* 4500, got 7",
        ),
    ],
)
def test_impossible_sizes(make_size, message):
    with pytest.raises(InputError, match=message):
        make_size()


def test_image_must_be_whole_patches():
    with pytest.raises(InputError, match="patch_size: expected a divisor of the image size 60"):
        build("base", StageSize(), n_bands=5, image_size=60, pixel_scale=0.4)
