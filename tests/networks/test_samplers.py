"""Samplers against denoisers whose posterior mean is known in closed form."""

import itertools
import math

import pytest
import torch

from photospec.errors import InputError
from photospec.networks import make_sampler, register_sampler
from photospec.networks.denoiser import Denoiser, GuidedDenoiser
from photospec.networks.samplers import (
    SAMPLERS,
    DDIMSampler,
    DDPMSampler,
    DPMSolverPP2M,
    FittedSampler,
    FittedSteps,
    HeunSampler,
    draw_noise,
)
from photospec.networks.schedule import CosineSchedule, EDMSchedule, LinearSchedule

OURS = [DDPMSampler, DDIMSampler, DPMSolverPP2M, HeunSampler]
SCHEDULES = {"cosine": CosineSchedule(), "linear": LinearSchedule(), "edm": EDMSchedule()}
MEAN = torch.tensor([0.7, -1.2, 0.1], dtype=torch.float64)
COVARIANCE = torch.tensor(
    [[1.0, 0.6, -0.2], [0.6, 0.5, 0.0], [-0.2, 0.0, 0.3]], dtype=torch.float64
)


class GaussianDenoiser:
    """E[x_0 | x_t] for x_0 ~ N(MEAN, COVARIANCE)."""

    evaluations = 1

    def __init__(self, schedule):
        self.schedule = schedule
        self.calls = 0

    def __call__(self, x, t, condition=None):
        self.calls += 1
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        total = alpha**2 * COVARIANCE + sigma**2 * torch.eye(3, dtype=torch.float64)
        gain = alpha * COVARIANCE @ torch.linalg.inv(total)
        mean = MEAN.to(x.dtype)
        return mean + (x - (alpha * mean).to(x.dtype)) @ gain.T.to(x.dtype)

    def flow(self, x, t, s):
        """The exact probability flow from time t to time s."""
        values, vectors = torch.linalg.eigh(COVARIANCE)
        a_t, a_s = self.schedule.alpha(t), self.schedule.alpha(s)
        var_t = a_t**2 * values + self.schedule.sigma(t) ** 2
        var_s = a_s**2 * values + self.schedule.sigma(s) ** 2
        return a_s * MEAN + ((x - a_t * MEAN) @ vectors * (var_s / var_t).sqrt()) @ vectors.T


class MixtureDenoiser:
    """E[x_0 | x_t] for a mixture of isotropic Gaussians."""

    evaluations = 1
    weights = torch.tensor([0.3, 0.7])
    means = torch.tensor([[-2.0, 0.5], [2.0, -0.4]])
    variances = torch.tensor([0.04, 0.09])

    def __init__(self, schedule):
        self.schedule = schedule

    def __call__(self, x, t, condition=None):
        alpha, sigma = self.schedule.alpha(t).float(), self.schedule.sigma(t).float()
        total = alpha**2 * self.variances + sigma**2
        offset = x[:, None] - alpha * self.means
        log_p = self.weights.log() - offset.square().sum(-1) / (2 * total) - total.log()
        share = log_p.softmax(1)[..., None]
        best = self.means + (alpha * self.variances / total)[:, None] * offset
        return (share * best).sum(1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(
    ("sampler", "order"), [(DDIMSampler, 1), (HeunSampler, 2), (DPMSolverPP2M, 2)]
)
def test_order_of_convergence(sampler, order, name):
    schedule = SCHEDULES[name]
    denoiser = GaussianDenoiser(schedule)
    noise = torch.randn(64, 3, generator=generator(), dtype=torch.float64)
    errors = []
    for n in (33, 65, 129):
        times = schedule.time(torch.linspace(-6, 6, n, dtype=torch.float64))
        x = sampler(denoiser, times=times).walk(noise)
        exact = denoiser.flow(noise * schedule.sigma(times[0]), times[0], times[-1])
        errors.append((x - exact).square().mean().sqrt().item())
    measured = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert measured[-1] == pytest.approx(order, abs=0.12)
    assert errors[-1] < {1: 3e-2, 2: 1e-3}[order]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("sampler", OURS)
def test_gaussian_mean_and_covariance(sampler, name):
    noise = torch.randn(40_000, 3, generator=generator(1), dtype=torch.float64)
    schedule = SCHEDULES[name]
    times = schedule.karras_times(200, 0.002, 80.0)
    x = sampler(GaussianDenoiser(schedule), times=times).sample(noise, generator=generator(2))
    # drawing errs by 0.005 in the mean and 0.007 in the covariance; the posterior variance
    # of ancestral steps is that of a known x_0, which narrows the result by a step
    limit = 0.12 if sampler is DDPMSampler else 0.04
    torch.testing.assert_close(x.mean(0), MEAN, atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(x.T), COVARIANCE, atol=limit, rtol=0)


def test_ancestral_narrowing_is_first_order():
    """The covariance of the samples, followed exactly: half the step, half the loss."""
    schedule, values = CosineSchedule(), torch.linalg.eigvalsh(COVARIANCE)
    losses = []
    for n in (100, 200, 400):
        sampler = DDPMSampler(GaussianDenoiser(schedule), times=schedule.karras_times(n))
        # two points per principal axis give the linear map, noise none: variances add up
        variance = torch.ones(3, dtype=torch.float64)
        for t, s in zip(sampler.times[:-1], sampler.times[1:], strict=True):
            a_t, v_t = schedule.alpha(t), schedule.sigma(t) ** 2
            a_s, v_s = schedule.alpha(s), schedule.sigma(s) ** 2
            left = 1 - torch.exp(schedule.log_snr(t) - schedule.log_snr(s))
            gain = a_t * values / (a_t**2 * values + v_t)
            slope = a_t * v_s / (a_s * v_t) + a_s * left * gain
            variance = slope**2 * variance + left * v_s
        losses.append((1 - variance / (a_s**2 * values + v_s)).abs().max().item())
        noise = torch.randn(40_000, 3, generator=generator(1), dtype=torch.float64)
        if n == 100:
            x = sampler.walk(noise, generator=generator(2)) @ torch.linalg.eigh(COVARIANCE)[1]
            torch.testing.assert_close(x.var(0), variance, atol=0, rtol=0.03)
    assert losses[0] / losses[1] == pytest.approx(2, abs=0.2)
    assert losses[1] / losses[2] == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("sampler", OURS)
def test_mixture(sampler, name):
    noise = torch.randn(20_000, 2, generator=generator(3))
    times = SCHEDULES[name].karras_times(120, 0.01, 80.0)
    x = sampler(MixtureDenoiser(SCHEDULES[name]), times=times).sample(noise, generator=generator(4))
    left = x[:, 0] < 0
    assert left.float().mean() == pytest.approx(0.3, abs=0.015)
    limit = 0.09 if sampler is DDPMSampler else 0.05
    for k, part in enumerate((x[left], x[~left])):
        torch.testing.assert_close(part.mean(0), MixtureDenoiser.means[k], atol=0.02, rtol=0)
        covariance = torch.cov(part.T) / MixtureDenoiser.variances[k]
        torch.testing.assert_close(covariance, torch.eye(2), atol=limit, rtol=0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_twelve_steps_are_enough(name):
    """With times of nearly equal log-SNR, DPM-Solver++ keeps the spread within 5 %."""
    schedule = SCHEDULES[name]
    denoiser = GaussianDenoiser(schedule)
    noise = torch.randn(64, 3, generator=generator(5), dtype=torch.float64)
    times = schedule.karras_times(12)
    x = DPMSolverPP2M(denoiser, times=times).sample(noise)
    start = noise * schedule.sigma(times[0])
    exact = denoiser.flow(start, times[0], schedule.time(torch.tensor(math.inf)))
    spread = (COVARIANCE.trace() / 3).sqrt()
    assert (x - exact).square().mean().sqrt() < 0.05 * spread
    few = DDIMSampler(denoiser, times=times).sample(noise)
    assert (few - exact).square().mean().sqrt() > 0.1 * spread


@pytest.mark.parametrize("name", SCHEDULES)
def test_one_ancestral_step_is_the_posterior(name):
    """q(x_s | x_t, x_0) from the product of two Gaussians."""
    schedule = SCHEDULES[name]
    t, s = schedule.time(torch.tensor([-1.0, 0.5]))

    def known(x, t, condition):
        return torch.full_like(x, 0.4)

    known.schedule = schedule
    x_t = torch.full((200_000, 1), 1.3)
    # without the factor that brings unit noise to the first time
    x_s = DDPMSampler(known, times=torch.stack([t, s])).walk(
        x_t / schedule.sigma(t).float(), generator=generator(6)
    )
    a_t, a_s = schedule.alpha(t), schedule.alpha(s)
    v_t, v_s = schedule.sigma(t) ** 2, schedule.sigma(s) ** 2
    a, v = a_t / a_s, v_t - (a_t / a_s) ** 2 * v_s  # x_t | x_s
    variance = 1 / (1 / v_s + a**2 / v)
    mean = variance * (a_s * 0.4 / v_s + a * 1.3 / v)
    assert x_s.mean().item() == pytest.approx(mean.item(), abs=4 * (variance.item() / 2e5) ** 0.5)
    assert x_s.var().item() == pytest.approx(variance.item(), rel=1e-2)


@pytest.mark.parametrize("guidance", [None, 1.0, 2.0])
@pytest.mark.parametrize("sampler", OURS)
def test_nfe_counts_the_network(sampler, guidance):
    calls = []

    def network(x, level, condition):
        calls.append(len(x))
        return x

    denoiser = Denoiser(network, CosineSchedule(), "v")
    if guidance is not None:
        denoiser = GuidedDenoiser(denoiser, scale=guidance)
    sampler = sampler(denoiser, 7)
    sampler.sample(torch.zeros(2, 4))
    assert sampler.nfe == len(calls)
    assert sampler.n_steps == 7


@pytest.mark.parametrize("sampler", OURS)
def test_an_example_does_not_depend_on_its_batch(sampler):
    sampler = sampler(MixtureDenoiser(CosineSchedule()), 12)

    def sample(seeds):
        generators = [generator(seed) for seed in seeds]
        return sampler.sample(draw_noise((2,), generators), generator=generators)

    together = sample([11, 12, 13])
    torch.testing.assert_close(sample([12]), together[1:2])
    torch.testing.assert_close(sample([13, 11]), together[[2, 0]])
    assert torch.equal(sample([11, 12, 13]), together)


@pytest.mark.parametrize("sampler", OURS)
@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_very_few_steps_are_finite(sampler, n_steps):
    for schedule in SCHEDULES.values():
        x = sampler(GaussianDenoiser(schedule), n_steps).sample(torch.randn(4, 3).bfloat16())
        assert x.dtype == torch.float32
        assert torch.isfinite(x).all()


@pytest.mark.parametrize("sampler", OURS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_times_beyond_the_cut_change_nothing(sampler, name):
    """The ends, where log-SNR diverges, and a time given twice are steps that lead nowhere."""
    schedule = SCHEDULES[name]
    denoiser = GaussianDenoiser(schedule)
    noise = torch.randn(64, 3, generator=generator(8), dtype=torch.float64)
    inner = schedule.time(torch.linspace(schedule.log_snr_min, schedule.log_snr_max, 40))
    times = torch.cat([inner.new_ones(2), inner[:20], inner[20:21], inner[20:], inner.new_zeros(2)])
    expected = sampler(denoiser, times=inner)
    answer = sampler(denoiser, times=times)
    assert answer.nfe == expected.nfe
    generators = generator(9), generator(9)
    torch.testing.assert_close(
        answer.sample(noise, generator=generators[0]),
        expected.sample(noise, generator=generators[1]),
        atol=1e-6,
        rtol=0,
    )


def test_a_sampler_by_name_by_class_or_registered(monkeypatch):
    class Backwards(DDIMSampler):
        """Somebody else's."""

    monkeypatch.setattr(SAMPLERS, "_objects", dict(SAMPLERS._objects))
    denoiser = GaussianDenoiser(SCHEDULES["cosine"])
    assert [type(make_sampler(name, denoiser, 5)) for name in list(SAMPLERS)[:4]] == OURS
    assert type(make_sampler(Backwards, denoiser, 5)) is Backwards
    with pytest.raises(InputError, match=r"sampler: expected one of ddpm, .*, got 'backwards'"):
        make_sampler("backwards", denoiser, 5)
    register_sampler("backwards", Backwards)
    assert type(make_sampler("backwards", denoiser, 5)) is Backwards
    with pytest.raises(InputError, match="a new name, got 'ddim'"):
        register_sampler("ddim", Backwards)
    for wrong in (3, None, lambda denoiser, n_steps, times=None: 3):
        with pytest.raises(InputError, match="sampler: expected"):
            make_sampler(wrong, denoiser, 5)


def ratios(schedule, times):
    """Half the ratios of the steps' log-SNR: the extrapolations of DPM-Solver++(2M)."""
    steps = schedule.log_snr(times).diff()
    return [0.0, *(steps[1:] / steps[:-1] / 2).tolist(), 0.0]


@pytest.mark.parametrize("name", SCHEDULES)
def test_fitted_steps_with_the_numbers_of_dpm_solver_are_its(name):
    schedule = SCHEDULES[name]
    denoiser = MixtureDenoiser(schedule)
    times = schedule.time(torch.linspace(-7.0, 6.0, 6))
    noise = torch.randn(64, 2, generator=generator(3), dtype=torch.float64)
    wanted = DPMSolverPP2M(denoiser, times=times).sample(noise)
    fitted = FittedSampler(denoiser, times=times, extrapolation=ratios(schedule, times))
    torch.testing.assert_close(fitted.sample(noise), wanted)
    assert fitted.nfe == fitted.n_steps == 6


def test_two_fitted_steps_by_hand():
    schedule = SCHEDULES["edm"]
    denoiser = GaussianDenoiser(schedule)
    noise = torch.randn(5, 3, generator=generator(4), dtype=torch.float64)
    steps = FittedSteps((8.0, 0.5), (0.0, 0.4))
    high, low = (schedule.time(-2 * torch.tensor(s, dtype=torch.float64).log()) for s in (8.0, 0.5))
    first = denoiser(8 * noise, high)
    second = denoiser(noise / 2 + (1 - 1 / 16) * first, low)
    found = steps.sampler(denoiser, 2).sample(noise)
    torch.testing.assert_close(found, second + 0.4 * (second - first))


@pytest.mark.parametrize(
    ("noise", "extrapolation", "message"),
    [
        ((3.0, 1.0), (0.0,), "extrapolation: expected 2 numbers"),
        ((1.0, 3.0), (0.0, 0.0), "noise: expected positive levels"),
        ((1.0, 0.0), (0.0, 0.0), "noise: expected positive levels"),
    ],
)
def test_wrong_fitted_steps(noise, extrapolation, message):
    with pytest.raises(InputError, match=message):
        FittedSteps(noise, extrapolation)


def test_fitted_steps_are_of_one_number():
    denoiser = GaussianDenoiser(SCHEDULES["edm"])
    with pytest.raises(InputError, match=r"n_steps: expected 2, to which .* got 3"):
        FittedSteps((3.0, 1.0), (0.0, 0.1)).sampler(denoiser, 3)
    with pytest.raises(InputError, match=r"extrapolation: expected 5 numbers.*config\.toml"):
        make_sampler("fitted", denoiser, 5)
