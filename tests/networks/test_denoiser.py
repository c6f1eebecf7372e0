import pytest
import torch

from photospec.networks.denoiser import Denoiser, GuidedDenoiser
from photospec.networks.schedule import CosineSchedule, EDMSchedule, LinearSchedule

SCHEDULES = {"cosine": CosineSchedule(), "linear": LinearSchedule(), "edm": EDMSchedule()}


def oracle(schedule, parametrisation, x_0, noise, sigma_data=1.0):
    """A network that knows the answer, written from the definitions in the papers."""

    def network(x, level, condition):
        ratio = torch.exp(4 * level)[:, None]  # sigma / alpha
        alpha = 1 / (1 + ratio**2).sqrt() if not isinstance(schedule, EDMSchedule) else 1.0
        sigma = ratio * alpha
        if parametrisation == "epsilon":
            return noise
        if parametrisation == "v":
            return alpha * noise - sigma * x_0
        x_t = x_0 + ratio * noise
        skip = sigma_data**2 / (ratio**2 + sigma_data**2)
        return (x_0 - skip * x_t) / (ratio * sigma_data / (ratio**2 + sigma_data**2).sqrt())

    return network


@pytest.mark.parametrize("parametrisation", ["epsilon", "v", "edm"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_oracle_gives_the_data_back(name, parametrisation):
    schedule = SCHEDULES[name]
    x_0, noise = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)).double()
    t = torch.tensor([0.15, 0.3, 0.5, 0.7, 0.8]).double()
    network = oracle(schedule, parametrisation, x_0, noise, 0.5)
    denoiser = Denoiser(network, schedule, parametrisation, sigma_data=0.5)
    x_t = schedule.alpha(t)[:, None] * x_0 + schedule.sigma(t)[:, None] * noise
    torch.testing.assert_close(denoiser(x_t, t), x_0, atol=1e-6, rtol=0)
    assert denoiser.loss(x_0, t, noise).max() < 1e-12


@pytest.mark.parametrize("parametrisation", ["epsilon", "v", "edm"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_finite_at_both_ends(name, parametrisation):
    denoiser = Denoiser(lambda x, level, condition: x, SCHEDULES[name], parametrisation)
    x_0, noise = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0))
    for t in (0.0, 1.0):
        assert torch.isfinite(denoiser(noise, t)).all()
        assert torch.isfinite(denoiser.loss(x_0, t, noise)).all()


@pytest.mark.parametrize("name", SCHEDULES)
def test_edm_inputs_and_targets_have_unit_variance(name):
    generator = torch.Generator().manual_seed(3)
    x_0 = 0.3 * torch.randn(64, 2000, generator=generator)
    noise = torch.randn(64, 2000, generator=generator)
    seen = []

    def network(x, level, condition):
        seen.append(x.std(1))
        return torch.zeros_like(x)

    denoiser = Denoiser(network, SCHEDULES[name], "edm", sigma_data=0.3)
    loss = denoiser.loss(x_0, torch.linspace(0, 1, 64), noise)
    torch.testing.assert_close(seen[0], torch.ones(64), atol=0.08, rtol=0)
    torch.testing.assert_close(loss, torch.ones(64), atol=0.15, rtol=0)


def test_clip_and_types():
    denoiser = Denoiser(
        lambda x, level, condition: -9 * x.bfloat16(), CosineSchedule(), "v", clip=(-1, 1)
    )
    x_0 = denoiser(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).bfloat16(), 0.9)
    assert x_0.dtype == torch.float32
    assert x_0.abs().max() == 1


def test_autocast_reaches_the_network_only():
    seen = []

    class Network(torch.nn.Linear):
        def forward(self, x, level, condition):
            out = super().forward(x)
            seen.append((x.dtype, level.dtype, out.dtype))
            return out

    denoiser = Denoiser(Network(8, 8), CosineSchedule(), "v", autocast=torch.bfloat16)
    assert denoiser(torch.ones(3, 8), 0.5).dtype == torch.float32
    assert seen == [(torch.float32, torch.float32, torch.bfloat16)]


def test_guidance():
    def network(x, level, condition):
        return torch.full_like(x, 0.0 if condition is None else condition)

    plain = Denoiser(network, CosineSchedule(), "v")
    x = torch.ones(2, 4)
    without, with_it = plain(x, 0.4), plain(x, 0.4, 1.0)
    for scale, evaluations in [(0.0, 1), (1.0, 1), (2.5, 2)]:
        guided = GuidedDenoiser(plain, None, scale)
        assert guided.evaluations == evaluations
        expected = without + scale * (with_it - without)
        torch.testing.assert_close(guided(x, 0.4, 1.0), expected)


def test_unknown_parametrisation():
    with pytest.raises(ValueError, match="expected one of epsilon, v, edm, got 'x'"):
        Denoiser(None, CosineSchedule(), "x")
