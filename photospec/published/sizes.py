"""Sizes and choices of the published networks, as a frozen dataclass that a TOML file can hold."""

from dataclasses import dataclass, field

from photospec.errors import InputError
from photospec.networks.scaling import SPECTRAL_SCALINGS
from photospec.published.schedule import SCHEDULES
from photospec.published.unet import CONDITIONINGS

__all__ = ["PublishedSize"]


def _help(default, text, **limits):
    return field(default=default, metadata={"help": text, **limits})


@dataclass(frozen=True)
class PublishedSize:
    """The published networks (arXiv:2211.05556, arXiv:2406.18175); defaults are the published ones."""  # noqa: E501

    conditioning: str = _help(
        "cross-attention",
        "How the image enters the denoiser: looked at by transformers, as one more channel, or\n"
        "not at all.",
        choices=CONDITIONINGS,
    )
    widths: tuple[int, ...] = _help(
        (64, 128, 256, 512), "Channels of the denoiser's down blocks.", min=8
    )
    attention_depths: tuple[int, ...] = _help(
        (3,), "Down blocks, counted from 0, that end in a transformer, and their counterparts.",
        min=0,
    )  # fmt: skip
    time_width: int = _help(256, "Width of the embedded time, even.", min=2)
    image_width: int = _help(64, "Channels of the first group of the image's ResNet.", min=1)
    n_times: int = _help(250, "Discrete times, and steps of sampling.", min=2)
    schedule: str = _help("cosine", "Noise schedule.", choices=tuple(SCHEDULES))
    embedding_size: int = _help(
        128, "Contrastive: dimension of the embeddings (128 and 256 were published).", min=1
    )
    spectrum_widths: tuple[int, ...] = _help(
        (64, 128, 256, 512, 1024), "Contrastive: channels of the spectrum's stages.", min=8
    )
    contrastive_spectra: str = _help(
        "both",
        "Contrastive: base or fine spectra, as the two published networks; both, each for half of\n"
        "the galaxies, makes one network that ranks the candidates of either stage.",
        choices=("base", "fine", "both"),
    )
    standardise: bool = _help(
        True, "Standardise images by each band's mean and deviation in the training pairs."
    )
    spectral_scaling: str = _help(
        "log",
        "Of spectra divided by their mean over 6900-6950 Angstrom.",
        choices=tuple(SPECTRAL_SCALINGS),
    )

    def __post_init__(self):
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
