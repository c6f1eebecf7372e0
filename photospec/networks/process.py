"""The diffusion process of a stage: what is noised how, and what the network answers.

These choices belong to the weights, so they are saved with them. The defaults are the
project's own (Karras et al. 2022, arXiv:2206.00364); ``epsilon`` on the ``cosine`` or the
``linear`` schedule with uniform times is what the published method trains.
"""

from dataclasses import dataclass

import torch

from photospec.config import setting, validate
from photospec.errors import InputError
from photospec.networks.denoiser import PARAMETRISATIONS
from photospec.networks.scaling import SPECTRAL_SCALINGS
from photospec.networks.schedule import CosineSchedule, EDMSchedule, LinearSchedule

__all__ = ["NOISE_SCHEDULES", "Process"]

# Spectra enter with unit variance (`SpectrumScaling`). Neighbouring bins are strongly
# correlated: the colour of a spectrum of N bins shows through white noise of sqrt(N) times
# its amplitude, so the noisiest level has to lie far above one, and training noise too.
#: Schedules by the name that the settings have for them.
NOISE_SCHEDULES = {
    "edm": EDMSchedule(sigma_min=0.002, sigma_max=160.0),
    "cosine": CosineSchedule(),
    "linear": LinearSchedule(),
}

# Noise divided by a vanishing signal: an answer that is slightly off is thrown far out.
_BOUNDS = {"epsilon": (-30.0, 30.0)}


@dataclass(frozen=True)
class Process:
    """How spectra are scaled and noised, and what the network answers."""

    parametrisation: str = setting(
        "edm",
        "What the network answers, which also weights the noise levels: edm and v have a target\n"
        "of unit variance at each of them; epsilon, the noise, is the published one.",
        choices=tuple(PARAMETRISATIONS),
    )
    schedule: str = setting(
        "edm",
        "Noise levels: edm, drawn log-normally; cosine and linear as published, at uniform times.",
        choices=tuple(NOISE_SCHEDULES),
    )
    spectral_scaling: str = setting(
        "log",
        "Of relative fluxes before they are standardised; none and arcsinh allow negative ones.",
        choices=tuple(SPECTRAL_SCALINGS),
    )
    condition_dropout: float = setting(
        0.0,
        "Part of the galaxies whose image is hidden in training, so that samples can be guided\n"
        "(classifier-free guidance, arXiv:2207.12598; 0.1 is usual); 0 hides none.",
        min=0,
        max=0.9,
    )
    max_augmentation: float = setting(
        0.1,
        "Super-resolution: largest noise put on the base spectrum in training, and told, in\n"
        "standard deviations (arXiv:2106.15282); 0 puts none, as published.",
        min=0,
    )
    inference_augmentation: float = setting(
        0.02, "Super-resolution: that noise in prediction.", min=0
    )

    def __post_init__(self):
        validate(self)
        if self.inference_augmentation > self.max_augmentation:
            raise InputError(
                f"inference_augmentation: expected at most max_augmentation = "
                f"{self.max_augmentation}, which training sees, got {self.inference_augmentation}"
            )

    def noise_schedule(self):
        """Return the `Schedule` of that name."""
        return NOISE_SCHEDULES[self.schedule]

    @property
    def clip(self):
        """Bounds of the clean spectra's estimate, or None."""
        return _BOUNDS.get(self.parametrisation)

    def draw_times(self, n, generator, log_noise):
        """Draw times of `n` training examples; ``log_noise`` is mean and std of log sigma (edm)."""
        if self.schedule == "edm":
            return self.noise_schedule().draw_times(n, generator, *log_noise)
        # Independent of each other, as published, and so of how a batch is shared out.
        return torch.rand(n, generator=generator, dtype=torch.float64)
