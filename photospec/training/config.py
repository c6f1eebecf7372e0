"""Settings of a training run; the TOML file's comments are made from the help texts."""

from dataclasses import dataclass, field

from photospec.networks.sizes import BASE, CONTRASTIVE, STAGES, ContrastiveSize, StageSize

from .settings_common import explained, require
from .settings_optimisation import Optimisation
from .settings_run import RunSettings

__all__ = ["Optimisation", "RunSettings", "TrainConfig"]

_COUNTS = (
    "max_steps",
    "batch_size",
    "n_draws",
    "validation_pairs",
    "validate_every",
    "checkpoint_every",
)


@dataclass(frozen=True)
class TrainConfig:
    """One training run of one stage."""

    stage: str = explained("base", "What to train.", choices=STAGES)
    seed: int = explained(0, "Same seed, same weights (on the same device).", min=0, max=2**40)
    max_steps: int = explained(4000, "Optimiser steps.", min=1)
    batch_size: int = explained(32, "Galaxies per step.", min=1)
    n_draws: int = explained(4, "Noise levels per galaxy and step (diffusion stages).", min=1)
    target: str = explained(
        "truth",
        "truth: noiseless simulated spectra; observed: as measured.",
        choices=("truth", "observed"),
    )
    augment: bool = explained(True, "Turn and mirror the images.")
    validation_pairs: int = explained(
        512, "Pairs at the end of the first file kept for validation.", min=1
    )
    validate_every: int = explained(500, "Steps between validations.", min=1)
    checkpoint_every: int = explained(200, "Steps between checkpoints.", min=1)
    temperature: float = explained(0.05, "Of the contrastive loss.")
    mixed_precision: bool = explained(True, "Run the networks in bfloat16.")
    optimisation: Optimisation = field(default_factory=Optimisation)
    run: RunSettings = field(default_factory=RunSettings)
    diffusion: StageSize = BASE
    contrastive: ContrastiveSize = CONTRASTIVE

    def __post_init__(self):
        require(self.stage in STAGES, "stage", " or ".join(STAGES), self.stage)
        require(self.target in ("truth", "observed"), "target", "truth or observed", self.target)
        require(0 <= self.seed <= 2**40, "seed", "0 to 2**40", self.seed)
        for name in _COUNTS:
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        require(self.temperature > 0, "temperature", "a positive number", self.temperature)

    @property
    def size(self):
        """Size of the network of this stage."""
        return self.contrastive if self.stage == "contrastive" else self.diffusion
