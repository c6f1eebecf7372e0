"""The discrete schedules, their step off, and the published ancestral sampler."""

import math

import pytest
import torch

from photospec.networks.denoiser import Denoiser
from photospec.networks.samplers import DDIMSampler, draw_noise, seeded_generators
from photospec.published.schedule import PublishedSampler, PublishedSchedule, ScheduleBuffers

MEAN, SPREAD = 0.4, 0.6


def gaussian(buffers):
    """The noise expected in x_k when x_0 ~ N(MEAN, SPREAD^2)."""

    def predict_noise(x, k):
        cumalpha = buffers.cumalphas[k.long()].reshape(-1, 1, 1)
        total = cumalpha * SPREAD**2 + 1 - cumalpha
        return (1 - cumalpha).sqrt() * (x - cumalpha.sqrt() * MEAN) / total

    return predict_noise


def test_cosine_buffers_are_one_step_off():
    buffers = ScheduleBuffers("cosine")
    product = torch.cumprod(buffers.alphas.double(), 0)
    # cumalphas[k] is what the product of the alphas has reached one step before
    ratio = buffers.cumalphas[1:].double() / product[:-1]
    torch.testing.assert_close(ratio, buffers.cumalphas[0].double().expand(249), atol=1e-5, rtol=0)
    assert buffers.betas.max() == pytest.approx(0.999)
    assert buffers.betas.argmax() == 249


def test_linear_buffers_are_in_step():
    buffers = ScheduleBuffers("linear")
    product = torch.cumprod(1 - torch.linspace(1e-2, 0.2, 250).double(), 0)
    torch.testing.assert_close(buffers.cumalphas.double(), product, atol=1e-6, rtol=1e-4)


def test_a_step_of_the_linear_schedule_is_the_posterior_mean():
    """Ho et al. 2020, eq. 7, with x_0 from the noise (eq. 15)."""
    buffers, k = ScheduleBuffers("linear"), 40
    noise, x = torch.tensor(0.3), torch.tensor(1.1)
    sampler = PublishedSampler(lambda x, k: noise.expand(x.shape), buffers)
    before, now = (buffers.cumalphas[i].double() for i in (k - 1, k))
    beta, alpha = buffers.betas[k].double(), buffers.alphas[k].double()
    x_0 = (x - (1 - now).sqrt() * noise) / now.sqrt()
    mean = (before.sqrt() * beta * x_0 + alpha.sqrt() * (1 - before) * x) / (1 - now)
    answer = sampler.step(x.expand(100_000, 1, 1), k, torch.Generator().manual_seed(1))
    assert answer.mean().item() == pytest.approx(mean.item(), abs=4e-3)
    assert answer.var().item() == pytest.approx(beta.item(), rel=0.02)


@pytest.mark.parametrize(("schedule", "limit"), [("linear", 0.02), ("cosine", 0.03)])
def test_ancestral_sampling_reaches_the_distribution(schedule, limit):
    buffers = ScheduleBuffers(schedule)
    sampler = PublishedSampler(gaussian(buffers), buffers)
    assert sampler.nfe == 250
    noise = torch.randn(20_000, 1, 1, generator=torch.Generator().manual_seed(0))
    x = sampler.sample(noise, torch.Generator().manual_seed(1))
    assert x.mean().item() == pytest.approx(MEAN, abs=0.03)
    assert x.std().item() == pytest.approx(SPREAD, rel=limit)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_other_samplers_take_the_same_weights(name):
    buffers = ScheduleBuffers(name)
    schedule = PublishedSchedule(buffers.cumalphas)
    k = torch.arange(250).double()
    expected = torch.logit(buffers.cumalphas.double())
    torch.testing.assert_close(schedule.log_snr(k / 249), expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(schedule.noise_level(k / 249), k)
    torch.testing.assert_close(schedule.time(expected), k / 249, atol=1e-9, rtol=0)

    predict_noise = gaussian(buffers)
    denoiser = Denoiser(lambda x, k, condition: predict_noise(x, k), schedule, "epsilon")
    sampler = DDIMSampler(denoiser, 250)
    noise = torch.randn(20_000, 1, 1, generator=torch.Generator().manual_seed(0))
    x = sampler.sample(noise)
    assert sampler.nfe == 250
    assert x.mean().item() == pytest.approx(MEAN, abs=0.03)
    # the first discrete time of the linear schedule already hides 1 % of the power
    floor = SPREAD / math.sqrt(1 + (1 - buffers.cumalphas[0].item()) / SPREAD**2)
    assert x.std().item() == pytest.approx(floor, rel=0.03)


def test_noise_belongs_to_its_example():
    buffers = ScheduleBuffers("cosine", 12)
    sampler = PublishedSampler(gaussian(buffers), buffers)

    def sample(numbers):
        generators = [seeded_generators(1, 7, 0, start=i)[0] for i in numbers]
        return sampler.sample(draw_noise((1, 5), generators), generators)

    together = sample([0, 1, 2])
    torch.testing.assert_close(sample([2]), together[2:])
    torch.testing.assert_close(sample([1, 0]), together[[1, 0]])
    assert (together[0] - together[1]).abs().max() > 0.1
    first = draw_noise((4,), seeded_generators(3, 7, 0))
    assert torch.equal(first[1:], draw_noise((4,), seeded_generators(2, 7, 0, start=1)))
    assert not torch.equal(first, draw_noise((4,), seeded_generators(3, 7, 1)))
    assert not torch.equal(first, draw_noise((4,), seeded_generators(3, 8, 0)))
