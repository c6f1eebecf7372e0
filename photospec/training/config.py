"""Settings of a training run; the TOML file's comments are made from the help texts."""

from dataclasses import dataclass, field, replace

from photospec.errors import InputError
from photospec.networks.sizes import (
    BASE,
    CONTRASTIVE,
    DEFAULT_SIZES,
    STAGES,
    SUPER_RESOLUTION,
    ContrastiveSize,
    EncoderSize,
    StageSize,
    TransformerSize,
)

__all__ = ["PRESETS", "Optimisation", "TrainConfig", "preset"]


def _help(default, text, **limits):
    return field(default=default, metadata={"help": text, **limits})


def _require(condition, name, expected, got):
    if not condition:
        raise InputError(f"{name}: expected {expected}, got {got!r}")


@dataclass(frozen=True)
class Optimisation:
    """Optimiser and its schedule (AdamW; warm-up, plateau, linear decay to zero)."""

    learning_rate: float = _help(7e-4, "On the plateau.")
    warmup_steps: int = _help(200, "Steps of linear increase from zero.", min=0)
    decay_fraction: float = _help(
        0.3, "Last part of all steps, over which it falls to zero.", min=0, max=1
    )
    weight_decay: float = _help(0.01, "Decoupled weight decay.", min=0)
    gradient_clip: float = _help(1.0, "Largest norm of the gradient; 0 does not clip.", min=0)
    ema_decay: float = _help(0.998, "Decay per step of the moving average of the weights.")

    def __post_init__(self):
        _require(self.learning_rate > 0, "learning_rate", "a positive number", self.learning_rate)
        _require(0 <= self.ema_decay < 1, "ema_decay", "0 to 1, 1 excluded", self.ema_decay)


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

    stage: str = _help("base", "What to train.", choices=STAGES)
    seed: int = _help(0, "Same seed, same weights (on the same device).", min=0, max=2**40)
    max_steps: int = _help(4000, "Optimiser steps.", min=1)
    batch_size: int = _help(32, "Galaxies per step.", min=1)
    n_draws: int = _help(4, "Noise levels per galaxy and step (diffusion stages).", min=1)
    target: str = _help(
        "truth",
        "truth: noiseless simulated spectra; observed: as measured.",
        choices=("truth", "observed"),
    )
    augment: bool = _help(True, "Turn and mirror the images.")
    validation_pairs: int = _help(
        512, "Pairs at the end of the first file kept for validation.", min=1
    )
    validate_every: int = _help(500, "Steps between validations.", min=1)
    checkpoint_every: int = _help(200, "Steps between checkpoints.", min=1)
    temperature: float = _help(0.05, "Of the contrastive loss.")
    mixed_precision: bool = _help(True, "Run the networks in bfloat16.")
    optimisation: Optimisation = Optimisation()
    diffusion: StageSize = BASE
    contrastive: ContrastiveSize = CONTRASTIVE

    def __post_init__(self):
        _require(self.stage in STAGES, "stage", " or ".join(STAGES), self.stage)
        _require(self.target in ("truth", "observed"), "target", "truth or observed", self.target)
        _require(0 <= self.seed <= 2**40, "seed", "0 to 2**40", self.seed)
        for name in _COUNTS:
            _require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        _require(self.temperature > 0, "temperature", "a positive number", self.temperature)

    @property
    def size(self):
        """Size of the network of this stage."""
        return self.contrastive if self.stage == "contrastive" else self.diffusion


_SMALL_STEPS = {"base": 14000, "super-resolution": 6000, "contrastive": 3000}
_TINY_IMAGE = EncoderSize(width=64, depth=1, n_heads=2)
_TINY_NETWORK = TransformerSize(width=64, depth=2, n_heads=2)


def _small(stage):
    """The shipped weights' settings: hours on two CPU cores."""
    config = TrainConfig(stage=stage, max_steps=_SMALL_STEPS[stage])
    if stage == "super-resolution":
        return replace(config, diffusion=SUPER_RESOLUTION, n_draws=2)
    if stage == "contrastive":
        return replace(config, batch_size=256, n_draws=1)
    return config


def _tiny(stage):
    """For tests and trials: under a minute on two CPU cores with 500 pairs."""
    network = _TINY_NETWORK
    if stage == "super-resolution":
        network = replace(network, patch_size=60, halo=16)
    return TrainConfig(
        stage=stage,
        max_steps=60,
        batch_size=32,
        n_draws=2,
        validation_pairs=64,
        validate_every=30,
        checkpoint_every=20,
        optimisation=Optimisation(learning_rate=2e-3, warmup_steps=10, ema_decay=0.9),
        diffusion=StageSize(_TINY_IMAGE, network),
        contrastive=ContrastiveSize(
            32, _TINY_IMAGE, replace(_TINY_NETWORK, patch_size=60, halo=10)
        ),
    )


PRESETS = {"small": _small, "tiny": _tiny}


def preset(name, stage):
    """Settings of a named preset, ``"small"`` or ``"tiny"``, for one stage."""
    _require(name in PRESETS, "preset", " or ".join(PRESETS), name)
    _require(stage in DEFAULT_SIZES, "stage", " or ".join(STAGES), stage)
    return PRESETS[name](stage)
