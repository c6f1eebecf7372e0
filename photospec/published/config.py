"""Settings of the published networks and their training, as dataclasses for TOML files."""

from dataclasses import dataclass, field
from typing import ClassVar

from photospec.config import setting, validate
from photospec.errors import InputError
from photospec.networks.scaling import SPECTRAL_SCALINGS
from photospec.published.schedule import SCHEDULES
from photospec.published.unet import CONDITIONINGS
from photospec.training.settings import DataSettings, Optimisation, RunSettings, TrainConfig

__all__ = ["PublishedSize", "PublishedTrainConfig", "published_preset"]


@dataclass(frozen=True)
class PublishedSize:
    """The published networks (arXiv:2211.05556, arXiv:2406.18175); defaults are the published ones."""  # noqa: E501

    conditioning: str = setting(
        "cross-attention",
        "How the image enters the denoiser: looked at by transformers, as one more channel, or\n"
        "not at all.",
        choices=CONDITIONINGS,
    )
    widths: tuple[int, ...] = setting(
        (64, 128, 256, 512), "Channels of the denoiser's down blocks.", min=8
    )
    attention_depths: tuple[int, ...] = setting(
        (3,), "Down blocks, counted from 0, that end in a transformer, and their counterparts.",
        min=0,
    )  # fmt: skip
    time_width: int = setting(256, "Width of the embedded time, even.", min=2)
    image_width: int = setting(64, "Channels of the first group of the image's ResNet.", min=1)
    n_times: int = setting(250, "Discrete times, and steps of sampling.", min=2)
    schedule: str = setting("cosine", "Noise schedule.", choices=tuple(SCHEDULES))
    embedding_size: int = setting(
        128, "Contrastive: dimension of the embeddings (128 and 256 were published).", min=1
    )
    spectrum_widths: tuple[int, ...] = setting(
        (64, 128, 256, 512, 1024), "Contrastive: channels of the spectrum's stages.", min=8
    )
    contrastive_spectra: str = setting(
        "both",
        "Contrastive: base or fine spectra, as the two published networks; both, each for half of\n"
        "the galaxies, makes one network that ranks the candidates of either stage.",
        choices=("base", "fine", "both"),
    )
    standardise: bool = setting(
        True, "Standardise images by each band's mean and deviation in the training pairs."
    )
    spectral_scaling: str = setting(
        "log",
        "Of spectra divided by their mean over 6900-6950 Angstrom.",
        choices=tuple(SPECTRAL_SCALINGS),
    )

    def __post_init__(self):
        validate(self)
        for name in ("widths", "spectrum_widths"):
            odd = [width for width in getattr(self, name) if width % 8]
            if odd or not getattr(self, name):
                raise InputError(
                    f"{name}: expected multiples of 8, which are normalised in 8 groups, got "
                    f"{list(getattr(self, name))}"
                )
        if self.time_width % 2:
            raise InputError(f"time_width: expected an even number, got {self.time_width}")
        if self.conditioning != "cross-attention":
            return
        if max(self.attention_depths, default=0) >= len(self.widths):
            raise InputError(
                f"attention_depths: expected numbers below {len(self.widths)}, of the down blocks, "
                f"got {list(self.attention_depths)}"
            )
        attending = {self.widths[-1]}
        for depth in self.attention_depths:
            attending |= {self.widths[depth], self.widths[max(depth - 1, 0)]}
        if any(width % 32 for width in attending):
            raise InputError(
                "widths: expected multiples of 32 where there is attention (and below it), got "
                f"{list(self.widths)}"
            )


# Parts of the networks, and how the names of their tensors begin.
_DENOISER_PARTS = {
    "encoder": (
        "denoiser.unet.condition_encoder.",
        "denoiser.unet.first_layer_image_enc.",
    ),
    "time": ("denoiser.unet.first_layer_t.",),
    "down": ("denoiser.unet.down_blocks.",),
    "bottom": ("denoiser.unet.bottom_block.",),
    "up": ("denoiser.unet.up_blocks.", "denoiser.unet.conv_cls."),
}
_CONTRASTIVE_PARTS = {
    "image_encoder": ("contrastive.image_model.",),
    "spectrum_encoder": ("contrastive.spectrum_model.",),
}


@dataclass(frozen=True)
class PublishedTrainConfig(TrainConfig):
    """One training run of one stage, of the published networks."""

    architecture: str = setting(
        "published",
        "published: the networks of [published], about thirty times slower than ours;\n"
        "[diffusion] and [contrastive] are not used.",
    )
    published: PublishedSize = field(default_factory=PublishedSize)

    #: Images are enlarged and cropped by the networks.
    network_crops: ClassVar[bool] = True
    corrects_extinction: ClassVar[bool] = False

    def _check_combination(self):
        super()._check_combination()
        self._require_no_process("for published networks, which have their own process")

    @property
    def size(self):
        """Size of the networks, of all stages."""
        return self.published

    @property
    def parts(self):
        """Parts that the network has: names, and how the names of their tensors begin."""
        return _CONTRASTIVE_PARTS if self.stage == "contrastive" else _DENOISER_PARTS

    @property
    def needs_redshift(self):
        """False: published networks take no redshifts."""
        return False

    @classmethod
    def network_of(cls, weights, stage):
        """Refuse: sizes are read off published weights, which say no more than their shapes."""
        raise InputError(
            "init: expected a run folder for published networks, whose sizes it tells, got a "
            "spectrograph; give its size in --config"
        )


def published_preset(stage):
    """Return the published training and networks (arXiv:2406.18175), but for the published bugs.

    Parameters
    ----------
    stage : {"contrastive", "base", "super-resolution"}

    Returns
    -------
    PublishedTrainConfig

    Examples
    --------
    >>> from photospec.training import TrainConfig
    >>> TrainConfig.preset("published", "base").max_epochs
    1000
    """
    contrastive = stage == "contrastive"
    return PublishedTrainConfig(
        stage=stage,
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
