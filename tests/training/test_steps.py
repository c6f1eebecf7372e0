from types import SimpleNamespace

import pytest
import torch

from photospec.errors import InputError
from photospec.networks.samplers import DPMSolverPP2M
from photospec.networks.schedule import EDMSchedule
from photospec.training.steps import StepBatch, _draw, fit_cascade_steps, fit_steps
from photospec.weights import Sampling, load_cascade

SPREAD = torch.logspace(-1.5, 1.3, 12)


class Denoiser(torch.nn.Module):
    """E[x_0 | x_t] of numbers whose spreads differ by a factor of 600, about a mean."""

    schedule = EDMSchedule(sigma_min=0.002, sigma_max=160.0)
    evaluations = 1

    def forward(self, x, t, condition):
        gain = SPREAD**2 / (SPREAD**2 + self.schedule.sigma(t) ** 2)
        return condition + (gain * (x - condition)).to(x)


class Stage(torch.nn.Module):
    def __init__(self, schedule="edm"):
        super().__init__()
        self.denoiser = Denoiser()
        self.process = SimpleNamespace(schedule=schedule)


def batches(n, seed):
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.randn(16, len(SPREAD), generator=generator) for _ in range(2 * n)]
    means = [mean[:8].repeat_interleave(2, dim=0) for mean in draws[n:]]
    return [StepBatch(noise, mean) for noise, mean in zip(draws, means, strict=False)]


def exact(batch):
    """Where the probability flow ends that begins at a noise of 160."""
    top = 160.0
    keep = SPREAD / (SPREAD**2 + top**2).sqrt()
    return batch.condition + keep * (top * batch.noise - batch.condition)


@pytest.fixture(scope="module")
def stage():
    return Stage()


@pytest.fixture(scope="module", params=[3, 4])
def steps(stage, request):
    return fit_steps(stage, batches(8, 0), request.param, n_iterations=400)


def test_fitted_steps_end_nearer_to_the_flow(stage, steps):
    n = len(steps.noise)
    schedule = stage.denoiser.schedule
    plain = DPMSolverPP2M(stage.denoiser, times=schedule.karras_times(n, 0.05, 160.0, 20.0))
    [batch] = batches(1, 1)
    errors, spreads = [], []
    for sampler in (plain, steps.sampler(stage.denoiser, n)):
        found = sampler.sample(batch.noise, batch.condition)
        errors.append(((found - exact(batch)) / SPREAD).square().mean().sqrt())
        spreads.append((found - batch.condition).std(0) / (exact(batch) - batch.condition).std(0))
    assert errors[1] < 0.6 * errors[0]
    assert abs(spreads[1].mean() - 1) < 0.05
    assert steps.extrapolation[0] == 0.0


def test_the_sampler_takes_the_steps_that_were_fitted(stage, steps):
    [batch] = batches(1, 2)
    level = torch.tensor(steps.noise, dtype=torch.float64).log()
    fitted = _draw(stage.denoiser, batch, level, torch.tensor(steps.extrapolation))
    found = steps.sampler(stage.denoiser, len(level)).sample(batch.noise, batch.condition)
    torch.testing.assert_close(found, fitted, rtol=1e-5, atol=1e-5)


def test_targets_are_drawn_and_kept(stage):
    [batch] = some = batches(1, 3)
    again = fit_steps(stage, some, 2, n_iterations=5)
    torch.testing.assert_close(batch.target, exact(batch), rtol=0.02, atol=0.02)
    target = batch.target
    assert fit_steps(stage, some, 2, n_iterations=5) == again
    assert batch.target is target


def test_of_other_schedules_there_are_none():
    with pytest.raises(InputError, match="stage: expected the schedule edm, got cosine"):
        fit_steps(Stage("cosine"), batches(1, 0), 2)


def test_steps_of_a_cascade(tiny_weights):
    cascade, _ = load_cascade(tiny_weights)
    before = {name: value.clone() for name, value in cascade.state_dict().items()}
    images = torch.rand(16, 5, 64, 64, generator=torch.Generator().manual_seed(0)).split(8)
    sampling = Sampling(**fit_cascade_steps(cascade, images, 3, 2, n_iterations=4))
    assert (len(sampling.noise_base), len(sampling.noise_super_resolution)) == (3, 2)
    assert all(torch.equal(before[name], value) for name, value in cascade.state_dict().items())
    for stage in ("base", "super_resolution"):
        getattr(cascade, stage).steps = sampling.fitted_steps(stage)
    cascade.sampler = sampling.sampler
    cascade.n_steps_base, cascade.n_steps_super_resolution = 3, 2
    drawn = cascade.sample(images[0], 2, [torch.Generator().manual_seed(i) for i in range(8)])
    assert drawn.nfe == 5
    assert drawn.flux.isfinite().all()
