import pytest
import torch

from photospec.errors import InputError
from photospec.networks.process import NOISE_SCHEDULES, Process
from photospec.networks.scaling import N_BASE, N_FINE, upsample
from photospec.networks.stage import BaseStage, SuperResolutionStage

IMAGE = {"width": 16, "depth": 1, "n_heads": 2, "patch_size": 16}
NETWORK = {"width": 16, "depth": 1, "n_heads": 2, "patch_size": 60}


def make(cls=BaseStage, **process):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stage = cls(image=IMAGE, network=NETWORK, process=process)
        torch.nn.init.normal_(stage.network.head.weight, std=0.1)
        torch.nn.init.normal_(stage.network.modulation.weight, std=0.1)
    return stage.requires_grad_(False)


def noise(*shape, seed=3):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(3, 5, 64, 64, generator=generator)
    return image, torch.rand(3, N_FINE, generator=generator) + 1


@pytest.mark.parametrize("schedule", NOISE_SCHEDULES)
@pytest.mark.parametrize("parametrisation", ["edm", "v", "epsilon"])
def test_every_process_trains_and_samples(data, schedule, parametrisation):
    stage = make(schedule=schedule, parametrisation=parametrisation, spectral_scaling="arcsinh")
    stage.scaling.fit(data[1])
    loss = stage.loss(*data, n_draws=2, generator=torch.Generator().manual_seed(0))
    assert loss.shape == (6,)
    assert torch.isfinite(loss).all()
    drawn, nfe = stage.sample(stage.encode(data[0]), noise(6, N_BASE), n_steps=5)
    assert torch.isfinite(drawn).all()
    assert nfe <= 5
    if parametrisation == "epsilon":
        assert drawn.abs().max() <= 30


def test_uniform_times_are_uniform():
    for schedule in ("cosine", "linear"):
        times = Process(schedule=schedule).draw_times(4000, torch.Generator().manual_seed(0), None)
        grid = (torch.arange(4000) + 0.5) / 4000
        assert (times.sort().values - grid).abs().max() < 0.03


def test_guidance_moves_away_from_the_hidden_condition(data):
    """At two the samples' last estimate is that with the image, mirrored at that without."""
    stage, image = make(condition_dropout=0.1), data[0]
    context, start = stage.encode(image), noise(6, N_BASE)

    def sample(guidance, context=context, n_steps=1):
        stage.guidance = guidance
        return stage.sample(context, start, n_steps=n_steps)

    plain, nfe = sample(1.0)
    hidden, _ = sample(1.0, 0 * context)
    assert nfe == 1
    assert (plain - hidden).abs().max() > 0.01
    none, nfe = sample(0.0)
    torch.testing.assert_close(none, hidden, atol=1e-4, rtol=1e-4)
    assert nfe == 1
    more, nfe = sample(2.0)
    torch.testing.assert_close(more, 2 * plain - hidden, atol=1e-3, rtol=1e-3)
    assert nfe == 2
    assert sample(2.0, n_steps=4)[1] == 8


@pytest.mark.parametrize("cls", [BaseStage, SuperResolutionStage])
def test_images_are_hidden_in_training_only(data, cls, monkeypatch):
    stage = make(cls, condition_dropout=0.5).train()
    context = torch.ones(2000, 2, 3)
    shown = stage._hide(context, torch.Generator().manual_seed(0))
    per_galaxy = shown.flatten(1).mean(1)
    assert set(per_galaxy.tolist()) == {0.0, 1.0}
    assert per_galaxy.mean() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(stage.eval()._hide(context, None), context)
    # ... and it is what the network is conditioned on
    given, condition = [], stage.network.condition
    monkeypatch.setattr(
        stage.network, "condition", lambda x, *a, **k: given.append(x) or condition(x, *a, **k)
    )
    for seed in range(4):
        stage.train().loss(*data, generator=torch.Generator().manual_seed(seed))
    hidden = torch.cat(given).abs().amax(dim=(1, 2)) == 0
    assert 0 < hidden.sum() < 12


def test_noisy_bins_count_less(data):
    stage, (image, flux) = make(), data
    stage.scaling.fit(flux)

    def loss(flux, ivar):
        return stage.loss(image, flux, ivar=ivar, generator=torch.Generator().manual_seed(0))

    good = torch.full_like(flux, 1e12)
    torch.testing.assert_close(loss(flux, good), loss(flux, None), rtol=1e-3, atol=1e-4)
    bad = good.clone()
    bad[:, 4000:] = 0
    spoilt = flux.clone()
    # well outside of the window that sets the level of a spectrum
    spoilt[:, 4008:] *= 3
    assert (loss(spoilt, good) - loss(flux, good)).abs().max() > 0.1
    change = (loss(spoilt, bad) - loss(flux, bad)).abs().max()
    assert change < 0.2 * (loss(spoilt, good) - loss(flux, good)).abs().max()


def test_no_augmentation(data):
    stage = make(SuperResolutionStage, max_augmentation=0.0, inference_augmentation=0.0)
    stage.scaling.fit(data[1])
    assert torch.isfinite(stage.loss(*data, generator=torch.Generator().manual_seed(0))).all()
    torch.nn.init.zeros_(stage.network.head.weight)
    torch.nn.init.zeros_(stage.network.head.bias)
    base = noise(3, N_BASE)
    drawn, _ = stage.sample(
        stage.encode(data[0]), base, torch.zeros(3, N_FINE), noise(3, N_BASE, seed=5), n_steps=3
    )
    torch.testing.assert_close(drawn, upsample(base), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parametrisation": "x"}, "parametrisation: expected one of epsilon, v, edm, got 'x'"),
        ({"schedule": "x"}, "schedule: expected one of edm, cosine, linear, got 'x'"),
        ({"spectral_scaling": "x"}, "spectral_scaling: expected one of"),
        ({"max_augmentation": 0.01}, r"expected at most max_augmentation = 0.01, .* got 0.02"),
    ],
)
def test_impossible_processes(options, message):
    with pytest.raises(InputError, match=message) as error:
        Process(**options)
    assert "\n" not in str(error.value)
