"""Few steps of a stage fitted to end where many do from the same noise.

What a step of a multistep sampler needs to know is its noise level and how far the denoiser's
estimates are extrapolated: two numbers, the same for all galaxies (`FittedSampler`). Rules for them
(DPM-Solver++, Karras et al. 2022) hold for any network in the limit of many steps; for a few of
them numbers fitted to one network by gradients through the sampler end nearer to the limit (Watson
et al. 2022, arXiv:2202.05830; Tong et al. 2024, arXiv:2405.15506). The network stays as it is.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch

from photospec.errors import InputError
from photospec.networks.samplers import DPMSolverPP2M, FittedSteps
from photospec.networks.scaling import N_BASE, N_FINE

__all__ = ["StepBatch", "fit_cascade_steps", "fit_steps"]

# Many steps: 48 and the levels that they lie between, spaced as by default.
_MANY, _LOWEST, _HIGHEST, _RHO = 48, 0.02, 160.0, 20.0
#: Directions in which the candidates of a galaxy differ most; each counts as much as another.
N_COMPONENTS = 50
# Of the loss: of all other directions together, and of the spread if it is narrower or wider.
_REST, _SPREAD = 0.2, 5.0


@dataclass
class StepBatch:
    """Spectra to be drawn by few steps and by many.

    Attributes
    ----------
    noise : tensor (2 n, length)
        Starting noise of two candidates of each of n galaxies, one after the other.
    condition : photospec.networks.spectrum_transformer.Condition
        Of the network.
    target : tensor (2 n, length), optional
        Where many steps end.
    """

    noise: torch.Tensor
    condition: object
    target: torch.Tensor | None = None


class _Distance:
    """How far few steps end from many, in units of how candidates of a galaxy differ."""

    def __init__(self, target):
        differences = (target[0::2] - target[1::2]) / 2**0.5
        axes = torch.linalg.svd(differences, full_matrices=False)
        k = min(N_COMPONENTS, len(axes.S))
        self.axes = axes.Vh[:k].T
        self.scale = axes.S[:k] / len(differences) ** 0.5
        self.rest = self._others(differences).square().mean()

    def _others(self, x):
        return x - x @ self.axes @ self.axes.T

    def __call__(self, found, target):
        error, many = found - target, (target[0::2] - target[1::2]) / 2**0.5
        along, apart = error @ self.axes / self.scale, many @ self.axes / self.scale
        # Every galaxy in units of its own spread: those of which an image says much count, too.
        own = apart.square().mean(1, keepdim=True).sqrt()
        along = (along / own.repeat_interleave(2, dim=0)).square().mean()
        other = self._others(error).square().mean() / self.rest
        few = (found[0::2] - found[1::2]) @ self.axes / (2**0.5 * self.scale)
        narrower = ((few * apart).mean(1, keepdim=True) / own**2 - 1).mean()
        return along + _REST * other + _SPREAD * narrower.square()


class _Steps:
    """Noise levels and extrapolations as what gradients change: levels stay in order."""

    def __init__(self, schedule, n_steps):
        log_snr = schedule.log_snr(schedule.karras_times(n_steps, 0.05, _HIGHEST, _RHO))
        level = -log_snr / 2
        self.first = level[:1].clone().requires_grad_()
        self.gaps = (level[:-1] - level[1:]).log().requires_grad_()
        extrapolation = torch.full_like(level, 0.3)
        if n_steps > 2:  # of DPM-Solver++(2M); the last estimate has no rule
            extrapolation[1:-1] = log_snr.diff()[1:] / log_snr.diff()[:-1] / 2
        extrapolation[0] = 0.0
        self.extrapolation = extrapolation.requires_grad_()

    @property
    def parameters(self):
        return [self.first, self.gaps, self.extrapolation]

    def level(self):
        """Return log sigma; the first is at most the noisiest that the network has seen."""
        first = self.first.clamp(max=float(np.log(_HIGHEST)))
        return torch.cat([first, first - self.gaps.exp().cumsum(0)])

    def values(self):
        return self.level().detach().clone(), self.extrapolation.detach().clone()


def _draw(denoiser, batch, level, extrapolation):
    """Take the steps of `FittedSampler` with gradients with respect to its numbers."""
    sigma = level.exp()
    x, before = batch.noise * sigma[0].to(batch.noise), None
    for i, one in enumerate(level):
        x_0 = estimate = denoiser(x, denoiser.schedule.time(-2 * one), batch.condition)
        if before is not None:
            estimate = x_0 + extrapolation[i].to(x_0) * (x_0 - before)
        if i + 1 < len(level):
            keep = (sigma[i + 1] / sigma[i]).to(x)
            x, before = keep * x + (1 - keep) * estimate, x_0
    return estimate


def fit_steps(stage, batches, n_steps, *, n_iterations=300, learning_rate=0.05, seed=0):
    """Fit the steps of a stage.

    Parameters
    ----------
    stage : photospec.networks.stage.Stage
        Of the schedule "edm"; not changed.
    batches : sequence of StepBatch
        What to draw. Where a target is missing, it is drawn, and kept there.
    n_steps : int
    n_iterations : int
        Batches that are drawn with gradients, one after the other.
    learning_rate : float
        Of Adam, for logarithms of noise and for extrapolations; goes to zero in the second half.
    seed : int
        Of the order of batches.

    Returns
    -------
    photospec.networks.samplers.FittedSteps
        Rounded to four digits. The mean over the last four tenths of the iterations.

    Raises
    ------
    InputError
        Another schedule.
    """
    if stage.process.schedule != "edm":
        raise InputError(f"stage: expected the schedule edm, got {stage.process.schedule}")
    # A copy whose weights take no gradients.
    denoiser = copy.deepcopy(stage).requires_grad_(False).denoiser
    times = denoiser.schedule.karras_times(_MANY, _LOWEST, _HIGHEST, _RHO)
    for batch in batches:
        if batch.target is None:
            batch.target = DPMSolverPP2M(denoiser, times=times).sample(batch.noise, batch.condition)
    distance = _Distance(torch.cat([batch.target for batch in batches]))
    steps = _Steps(denoiser.schedule, n_steps)
    optimiser = torch.optim.Adam(steps.parameters, lr=learning_rate, betas=(0.9, 0.95))
    rng, last = np.random.default_rng(seed), []
    for i in range(n_iterations):
        part = i / n_iterations
        optimiser.param_groups[0]["lr"] = learning_rate * min(1.0, 2 * (1 - part))
        batch = batches[rng.integers(len(batches))]
        optimiser.zero_grad()
        found = _draw(denoiser, batch, steps.level(), steps.extrapolation)
        # The loss falls by factors of ten; of its logarithm all steps are of one size.
        distance(found, batch.target).log().backward()
        optimiser.step()
        if part >= 0.6:
            last.append(steps.values())
    level, extrapolation = (torch.stack(each).mean(0) for each in zip(*last, strict=True))
    return FittedSteps(*(tuple(map(_rounded, x.tolist())) for x in (level.exp(), extrapolation)))


@torch.no_grad()
def _base_batch(stage, image, generator):
    """Return tokens, redshifts and a `StepBatch` of two candidates of each image."""
    context, redshift = stage.encode(image), None
    if stage.density is not None:
        uniform = torch.rand(len(image), 2, generator=generator).double()
        redshift = stage.draw_redshift(image, context, uniform)
    noise = torch.randn(2 * len(image), N_BASE, generator=generator)
    return redshift, StepBatch(noise, stage.seen(context, redshift=redshift))


@torch.no_grad()
def _fine_batch(stage, image, redshift, base, generator):
    """Return the `StepBatch` of the same candidates in the super-resolution stage."""
    noise, extra = (torch.randn(len(base), n, generator=generator) for n in (N_FINE, N_BASE))
    _, condition = stage.seen(stage.encode(image), base, extra, redshift=redshift)
    return StepBatch(noise, condition)


def fit_cascade_steps(
    cascade, images, n_steps_base, n_steps_super_resolution, *, n_iterations=300, seed=0
):
    """Fit the steps of both stages of a cascade, the second to what many steps of the first draw.

    Parameters
    ----------
    cascade : photospec.networks.cascade.Cascade
        On the processor; not changed.
    images : sequence of tensor (m, n_bands, size, size)
        Prepared images in batches, such as of 8; some hundred galaxies in all.
    n_steps_base, n_steps_super_resolution : int
    n_iterations, seed : int
        See `fit_steps`.

    Returns
    -------
    dict of str to object
        Settings of `photospec.weights.Sampling`.
    """
    generator = torch.Generator().manual_seed(seed)
    options = {"n_iterations": n_iterations, "seed": seed}
    begun = [_base_batch(cascade.base, image, generator) for image in images]
    base = fit_steps(cascade.base, [batch for _, batch in begun], n_steps_base, **options)
    fine = [
        _fine_batch(cascade.super_resolution, image, redshift, batch.target, generator)
        for image, (redshift, batch) in zip(images, begun, strict=True)
    ]
    fine = fit_steps(cascade.super_resolution, fine, n_steps_super_resolution, **options)
    return {
        "sampler": "fitted",
        "n_steps_base": n_steps_base,
        "n_steps_super_resolution": n_steps_super_resolution,
        "noise_base": base.noise,
        "extrapolation_base": base.extrapolation,
        "noise_super_resolution": fine.noise,
        "extrapolation_super_resolution": fine.extrapolation,
    }


def _rounded(value):
    return float(f"{value:.4g}")
