r"""Samplers: from noise to spectra, step by step through a denoiser.

With :math:`D_t = E[x_0 | x_t]` from the denoiser the probability-flow equation has
the exact solution (Lu et al. 2022, arXiv:2206.00927, prop. 3.1, for data prediction)

.. math:: x_s = \frac{\sigma_s}{\sigma_t} x_t + \alpha_s (1 - \rho) D, \qquad
          \rho = \frac{\sigma_s \alpha_t}{\alpha_s \sigma_t},

where D is the mean of D over the step. The deterministic samplers differ only in their
guess of it: DDIM takes :math:`D_t`, DPM-Solver++(2M) extrapolates from the previous
step, Heun looks ahead, fitted steps extrapolate by numbers of their own. The form holds at the
noisy end of the cosine schedule, where x / alpha would overflow. The last step leads from the
last time to the clean spectrum and is the denoiser's estimate itself.

All noise comes from the caller: the starting noise as a tensor, that of ancestral steps
through one generator per example, so that a spectrum does not depend on its batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from photospec.errors import InputError
from photospec.networks.denoiser import Denoiser
from photospec.utils.registry import Registry

__all__ = [
    "SAMPLERS",
    "DDIMSampler",
    "DDPMSampler",
    "DPMSolverPP2M",
    "FittedSampler",
    "FittedSteps",
    "HeunSampler",
    "Sampler",
    "draw_noise",
    "make_sampler",
    "register_sampler",
    "seeded_generators",
]


@dataclass
class _Run:
    """What one run of a sampler remembers between its steps."""

    generator: object = None
    log_snr: torch.Tensor | None = None
    x_0: torch.Tensor | None = None
    number: int = 0  # of the step

    def noise_like(self, x):
        if self.generator is None or isinstance(self.generator, torch.Generator):
            return draw_noise(x.shape, self.generator).to(x.device, x.dtype)
        each = len(x) // len(self.generator)
        drawn = draw_noise((each, *x.shape[1:]), self.generator).flatten(0, 1)
        return drawn.to(x.device, x.dtype)


def draw_noise(shape, generator=None):
    """Return the standard normal noise, float32, on the processor for the same numbers everywhere.

    Parameters
    ----------
    shape : tuple of int
        Shape of the noise, or of each example when `generator` is a sequence.
    generator : torch.Generator or sequence of them, optional
        One generator per example makes each example's noise its own.

    Returns
    -------
    Tensor
        `shape`, with a leading axis of the number of generators when there are several.
    """
    if generator is None or isinstance(generator, torch.Generator):
        return torch.randn(shape, generator=generator)
    return torch.stack([torch.randn(shape, generator=one) for one in generator])


def seeded_generators(n, seed, *key, start=0):
    """Return one generator per example, decided by `seed`, `key` and its number alone.

    Parameters
    ----------
    n : int
        Number of generators.
    seed : int
    *key : int
        Whatever keeps streams apart, such as the number of the stage.
    start : int
        Number of the first example.

    Returns
    -------
    list of torch.Generator
    """
    generators = []
    for i in range(start, start + n):
        state = np.random.SeedSequence((seed, *key, i)).generate_state(1, np.uint64)[0]
        generators.append(torch.Generator().manual_seed(int(state >> np.uint64(1))))
    return generators


class Sampler(ABC):
    """Walks the times of a schedule from noise to the clean spectrum.

    Parameters
    ----------
    denoiser : Denoiser
        Called as ``denoiser(x_t, t, condition)``; has `schedule` and ``evaluations``.
    n_steps : int
        Number of steps, the last one to the clean spectrum included.
    times : Tensor (n_steps,), optional
        Decreasing times instead of ``schedule.times(n_steps)``; those that do not change
        the noise level are left out.
    """

    evaluations_per_step = 1

    def __init__(
        self, denoiser: Denoiser, n_steps: int | None = None, *, times: torch.Tensor | None = None
    ):
        self.denoiser = denoiser
        self.schedule = denoiser.schedule
        times = self.schedule.times(n_steps) if times is None else times
        times = torch.as_tensor(times, dtype=torch.float64)
        # beyond the cut of the schedule steps lead nowhere
        moves = self.schedule.log_snr(times).diff() > 1e-6
        self.times = times[torch.cat([moves.new_ones(1), moves])]

    @property
    def n_steps(self) -> int:
        """Number of steps, the last one included."""
        return len(self.times)

    @property
    def nfe(self) -> int:
        """Network evaluations per spectrum."""
        per_call = getattr(self.denoiser, "evaluations", 1)
        return per_call * (self.evaluations_per_step * (self.n_steps - 1) + 1)

    @torch.no_grad()
    def sample(
        self,
        noise: torch.Tensor,
        condition: object = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> torch.Tensor:
        """Turn noise into spectra.

        Parameters
        ----------
        noise : Tensor (n, ...)
            Standard normal noise; see `draw_noise`.
        condition
            Handed to the denoiser as it is.
        generator : torch.Generator or sequence of them, optional
            Source of the noise of ancestral steps, the sequence's each of an equal share of the
            n examples; unused by deterministic samplers.

        Returns
        -------
        Tensor (n, ...)
            Clean spectra, float32 at least.
        """
        x, run = self._walk(noise, condition, generator)
        return self.finish(x, self.times[-1], condition, run)

    @torch.no_grad()
    def walk(
        self,
        noise: torch.Tensor,
        condition: object = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> torch.Tensor:
        """Sample as `sample` does, but stop at the last time: noisy spectra of its noise level."""
        return self._walk(noise, condition, generator)[0]

    def _walk(self, noise, condition, generator):
        dtype = torch.promote_types(noise.dtype, torch.float32)
        start = self.times[0]
        # the marginal at the first time: unit noise, or sigma_max where noise explodes
        x = noise.to(dtype) * self.schedule.sigma(start).item()
        run = _Run(generator)
        for t, s in zip(self.times[:-1], self.times[1:], strict=True):
            x = self.step(x, t, s, condition, run)
        return x, run

    def finish(
        self, x_t: torch.Tensor, t: torch.Tensor, condition: object, run: _Run
    ) -> torch.Tensor:
        """Return clean spectra from those at the last time `t`: the denoiser's estimate."""
        return self.denoiser(x_t, t, condition)

    @abstractmethod
    def step(
        self, x_t: torch.Tensor, t: torch.Tensor, s: torch.Tensor, condition: object, run: _Run
    ) -> torch.Tensor:
        """Take one step from time `t` to the earlier time `s`."""

    def _ratio(self, t, s):
        """Give rho = exp((log_snr(t) - log_snr(s)) / 2), the ratio of sigma / alpha."""
        return torch.exp((self.schedule.log_snr(t) - self.schedule.log_snr(s)) / 2)

    def _advance(self, x_t, t, s, x_0):
        """Step from `t` to `s` as if the denoiser answered `x_0` all the way."""
        schedule = self.schedule
        keep = (schedule.sigma(s) / schedule.sigma(t)).item()
        new = (schedule.alpha(s) * (1 - self._ratio(t, s))).item()
        return keep * x_t + new * x_0


class DDPMSampler(Sampler):
    """Ancestral sampling with the posterior variance (Ho et al. 2020, eq. 6 and 7)."""

    def step(self, x_t, t, s, condition, run):
        """See `Sampler.step`."""
        schedule, ratio2 = self.schedule, self._ratio(t, s) ** 2
        x_0 = self.denoiser(x_t, t, condition)
        keep = schedule.alpha(t) / schedule.alpha(s) * (schedule.sigma(s) / schedule.sigma(t)) ** 2
        mean = keep.item() * x_t + (schedule.alpha(s) * (1 - ratio2)).item() * x_0
        return mean + ((1 - ratio2).sqrt() * schedule.sigma(s)).item() * run.noise_like(x_t)


class DDIMSampler(Sampler):
    """Deterministic, first order (Song et al. 2021, arXiv:2010.02502, eq. 12, eta = 0)."""

    def step(self, x_t, t, s, condition, run):
        """See `Sampler.step`."""
        return self._advance(x_t, t, s, self.denoiser(x_t, t, condition))


class DPMSolverPP2M(Sampler):
    """DPM-Solver++(2M), second order at one evaluation per step.

    Lu et al. 2022 (arXiv:2211.01095), algorithm 2: the data prediction is extrapolated
    linearly in log-SNR from this and the previous step to the middle of the step.
    """

    def step(self, x_t, t, s, condition, run):
        """See `Sampler.step`."""
        x_0, log_snr = self.denoiser(x_t, t, condition), self.schedule.log_snr(t)
        middle = x_0
        if run.x_0 is not None:
            slope = (self.schedule.log_snr(s) - log_snr) / (log_snr - run.log_snr)
            middle = x_0 + slope.item() / 2 * (x_0 - run.x_0)
        run.x_0, run.log_snr = x_0, log_snr
        return self._advance(x_t, t, s, middle)


class FittedSampler(Sampler):
    """Few steps, whose noise levels and extrapolations were fitted to one network.

    As DPM-Solver++(2M), but how far an estimate is extrapolated beyond it and the one before is
    a number of each step, and the last one is extrapolated too. Where few steps are to end where
    many do from the same noise, such numbers can be fitted (`photospec.training.steps`).

    Parameters
    ----------
    denoiser, n_steps, times
        See `Sampler`.
    extrapolation : sequence of float
        Of each step: the part of its difference from the one before that is added to an estimate.
        The first of them is not used.
    """

    def __init__(self, denoiser, n_steps=None, *, times=None, extrapolation=()):
        super().__init__(denoiser, n_steps, times=times)
        if len(extrapolation) != self.n_steps:
            raise InputError(
                f"extrapolation: expected {self.n_steps} numbers, one for each step, got "
                f"{len(extrapolation)}; weights that sample so have them in their config.toml"
            )
        self.extrapolation = extrapolation

    def _estimate(self, x_t, t, condition, run):
        x_0 = estimate = self.denoiser(x_t, t, condition)
        if run.x_0 is not None:
            estimate = x_0 + self.extrapolation[run.number] * (x_0 - run.x_0)
        run.x_0, run.number = x_0, run.number + 1
        return estimate

    def step(self, x_t, t, s, condition, run):
        """See `Sampler.step`."""
        return self._advance(x_t, t, s, self._estimate(x_t, t, condition, run))

    def finish(self, x_t, t, condition, run):
        """See `Sampler.finish`."""
        return self._estimate(x_t, t, condition, run)


@dataclass(frozen=True)
class FittedSteps:
    """What `FittedSampler` needs to know of a stage.

    Attributes
    ----------
    noise : tuple of float
        sigma / alpha of each step, in units of the data, decreasing.
    extrapolation : tuple of float
        See `FittedSampler`.
    """

    noise: tuple[float, ...]
    extrapolation: tuple[float, ...]

    def __post_init__(self):
        if len(self.noise) != len(self.extrapolation):
            raise InputError(
                f"extrapolation: expected {len(self.noise)} numbers, as many as noise levels, "
                f"got {len(self.extrapolation)}"
            )
        if (
            any(low >= high for high, low in pairwise(self.noise))
            or min(self.noise, default=1) <= 0
        ):
            raise InputError(
                f"noise: expected positive levels, each below the one before, got {self.noise}"
            )

    def sampler(self, denoiser: Denoiser, n_steps: int) -> FittedSampler:
        """Return the sampler of these steps; there is none for another number of them."""
        if n_steps != len(self.noise):
            raise InputError(
                f"n_steps: expected {len(self.noise)}, to which the steps of these weights were "
                f"fitted, got {n_steps}; sampler dpm-solver++ takes any number"
            )
        times = denoiser.schedule.time(-2 * torch.tensor(self.noise, dtype=torch.float64).log())
        return FittedSampler(denoiser, times=times, extrapolation=self.extrapolation)


class HeunSampler(Sampler):
    """Heun's method in sigma / alpha, second order, two evaluations per step.

    Karras et al. 2022, algorithm 1, written for any schedule: with D at both ends of the
    step the trapezoid rule comes to D_t + (D_s - D_t) / (2 rho).
    """

    evaluations_per_step = 2

    def step(self, x_t, t, s, condition, run):
        """See `Sampler.step`."""
        here = self.denoiser(x_t, t, condition)
        there = self.denoiser(self._advance(x_t, t, s, here), s, condition)
        half = 0.5 / self._ratio(t, s).item()
        return self._advance(x_t, t, s, here + half * (there - here))


#: Samplers by name; `register_sampler` adds to them.
SAMPLERS = Registry("sampler")


def register_sampler(name: str, sampler: type | Callable | str) -> None:
    """Give a sampler a name, by which settings and saved spectrographs can ask for it.

    Parameters
    ----------
    name : str
    sampler : type or callable
        A subclass of `Sampler`, or what makes one of ``(denoiser, n_steps, times=None)``; or
        where to import it from, ``"module:name"``.

    Raises
    ------
    InputError
        If the name is taken.

    Examples
    --------
    >>> from photospec.networks import Sampler, make_sampler, register_sampler
    >>> class Euler(Sampler):
    ...     def step(self, x_t, t, s, condition, run):
    ...         return self._advance(x_t, t, s, self.denoiser(x_t, t, condition))
    >>> register_sampler("euler", Euler)
    """
    SAMPLERS.register(name, sampler)


def make_sampler(
    sampler: str | Callable,
    denoiser: torch.nn.Module,
    n_steps: int | None = None,
    *,
    times: torch.Tensor | None = None,
) -> Sampler:
    """Return the sampler of a name, or of a class, for a denoiser.

    Parameters
    ----------
    sampler : str or callable
        Name in `SAMPLERS`, or as in `register_sampler`.
    denoiser : Denoiser
    n_steps : int
    times : Tensor (n_steps,), optional
        As in `Sampler`.

    Returns
    -------
    Sampler

    Raises
    ------
    InputError
        If nothing of this name is registered, or it is neither a name nor callable.
    """
    if not callable(sampler):
        sampler = SAMPLERS.get(sampler)
    made = sampler(denoiser, n_steps, times=times)
    if not isinstance(made, Sampler):
        raise InputError(f"sampler: expected a Sampler, got {type(made).__name__}")
    return made


for _name, _sampler in (
    ("ddpm", DDPMSampler),
    ("ddim", DDIMSampler),
    ("dpm-solver++", DPMSolverPP2M),
    ("heun", HeunSampler),
    ("fitted", FittedSampler),
):
    register_sampler(_name, _sampler)
