"""Named settings."""

from dataclasses import replace

from photospec.networks.sizes import (
    DEFAULT_SIZES,
    STAGES,
    SUPER_RESOLUTION,
    ContrastiveSize,
    EncoderSize,
    StageSize,
    TransformerSize,
)
from photospec.training.config import DataSettings, Optimisation, RunSettings, TrainConfig
from photospec.training.settings_common import require

__all__ = ["PRESETS", "preset"]

_SMALL_STEPS = {"base": 14000, "super-resolution": 16000, "contrastive": 3000}
_TINY_IMAGE = EncoderSize(width=64, depth=1, n_heads=2)
_TINY_NETWORK = TransformerSize(width=64, depth=2, n_heads=2)


def _small(stage):
    """The shipped weights' settings: hours on two CPU cores."""
    config = TrainConfig(stage=stage, max_steps=_SMALL_STEPS[stage])
    if stage == "super-resolution":
        return replace(config, diffusion=SUPER_RESOLUTION, n_draws=2)
    if stage == "contrastive":
        return replace(config, batch_size=256, n_draws=1)
    return replace(config, line_weight=8.0)


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


def _published(stage):
    """The published training and networks (arXiv:2406.18175), but for the published bugs."""
    contrastive = stage == "contrastive"
    return TrainConfig(
        stage=stage,
        architecture="published",
        max_epochs=500 if contrastive else 1000,
        batch_size=2048 if contrastive else 512,
        n_draws=1,
        target="observed",
        mixed_precision=False,
        optimisation=Optimisation(
            optimiser="adam",
            betas=(0.9, 0.999),
            weight_decay=1e-3 if contrastive else 0.0,
            learning_rate=1e-4,
            schedule="linear",
            warmup_steps=0,
            final_learning_rate=1e-6,
            gradient_clip=0.0,
            ema_decay=0.9999,
            ema_warmup=False,
        ),
        data=DataSettings(
            selection="positive",
            split="random",
            weights="none",
            rotations=False,
            crop=4,
            each_image=True,
        ),
        run=RunSettings(keep="best"),
    )


PRESETS = {"small": _small, "tiny": _tiny, "published": _published}


def preset(name, stage):
    """Settings of a named preset (`PRESETS`) for one stage."""
    require(name in PRESETS, "preset", " or ".join(PRESETS), name)
    require(stage in DEFAULT_SIZES, "stage", " or ".join(STAGES), stage)
    return PRESETS[name](stage)
