"""Settings of a training run; the TOML file's comments are made from the help texts."""

from dataclasses import dataclass, field

from photospec.networks.sizes import BASE, CONTRASTIVE, STAGES, ContrastiveSize, StageSize
from photospec.published.sizes import PublishedSize
from photospec.training.settings_checks import check_together
from photospec.training.settings_common import explained, require
from photospec.training.settings_data import DataSettings
from photospec.training.settings_fine_tuning import FineTuning
from photospec.training.settings_optimisation import Optimisation
from photospec.training.settings_run import RunSettings

__all__ = [
    "ARCHITECTURES",
    "DataSettings",
    "FineTuning",
    "Optimisation",
    "RunSettings",
    "TrainConfig",
]

ARCHITECTURES = ("transformer", "published")

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
    architecture: str = explained(
        "transformer",
        "transformer: the networks of [diffusion] and [contrastive]; published: those of\n"
        "[published], about thirty times slower.",
        choices=ARCHITECTURES,
    )
    seed: int = explained(0, "Same seed, same weights (on the same device).", min=0, max=2**40)
    max_steps: int = explained(4000, "Optimiser steps.", min=1)
    max_epochs: int = explained(
        0,
        "Passes over the training pairs, instead of max_steps, which then follows; 0: max_steps\n"
        "counts (published: 500 contrastive, 1000 otherwise).",
        min=0,
    )
    batch_size: int = explained(
        32, "Galaxies per step (published: 2048 contrastive, 512 otherwise).", min=1
    )
    n_draws: int = explained(
        4, "Noise levels per galaxy and step, diffusion stages (published: 1).", min=1
    )
    target: str = explained(
        "truth",
        "truth: noiseless simulated spectra; observed: as measured (published).",
        choices=("truth", "observed"),
    )
    augment: bool = explained(True, "Change the images at random, in the ways of [data].")
    validation_pairs: int = explained(
        512, "Pairs kept for validation (published: 512); [data] says which.", min=1
    )
    validate_every: int = explained(500, "Steps between validations.", min=1)
    checkpoint_every: int = explained(200, "Steps between checkpoints.", min=1)
    line_weight: float = explained(
        1.0,
        "Weight of the diagnostic emission lines' bins in the denoising loss, other bins having\n"
        "one; needs redshifts (published: 1).",
        min=1,
    )
    temperature: float = explained(0.05, "Of the contrastive loss (published: 0.05).")
    mixed_precision: bool = explained(
        True, "Run the networks in bfloat16, all else in float32 (published: false)."
    )
    compile: bool = explained(
        False, "Compile the networks (torch.compile): minutes at first, then faster on a GPU."
    )
    optimisation: Optimisation = field(default_factory=Optimisation)
    run: RunSettings = field(default_factory=RunSettings)
    data: DataSettings = field(default_factory=DataSettings)
    fine_tuning: FineTuning = field(default_factory=FineTuning)
    diffusion: StageSize = BASE
    contrastive: ContrastiveSize = CONTRASTIVE
    published: PublishedSize = field(default_factory=PublishedSize)

    def __post_init__(self):
        require(self.stage in STAGES, "stage", " or ".join(STAGES), self.stage)
        require(self.target in ("truth", "observed"), "target", "truth or observed", self.target)
        require(0 <= self.seed <= 2**40, "seed", "0 to 2**40", self.seed)
        for name in _COUNTS:
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        require(self.line_weight >= 1, "line_weight", "at least 1", self.line_weight)
        require(self.temperature > 0, "temperature", "a positive number", self.temperature)
        check_together(self)

    @property
    def size(self):
        """Size of the network of this stage."""
        if self.architecture == "published":
            return self.published
        return self.contrastive if self.stage == "contrastive" else self.diffusion
