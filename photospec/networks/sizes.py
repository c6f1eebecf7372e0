"""Sizes of the default networks, as frozen dataclasses that a TOML file can hold."""

from dataclasses import asdict, dataclass, field

from .contrastive import ContrastiveNetwork
from .stage import BaseStage, SuperResolutionStage

__all__ = ["STAGES", "ContrastiveSize", "EncoderSize", "StageSize", "TransformerSize", "build"]

STAGES = ("contrastive", "base", "super-resolution")


def _help(default, text):
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class EncoderSize:
    """Image encoder; see `photospec.networks.image_encoder.ImageEncoder`."""

    width: int = _help(224, "Width of the tokens.")
    depth: int = _help(1, "Transformer blocks over the image tokens.")
    n_heads: int = _help(7, "Attention heads; divides the width.")
    patch_size: int = _help(8, "Edge of an image patch in pixels; divides the image size.")
    n_summary: int = _help(4, "Tokens made from aperture photometry; 0 leaves them out.")
    use_patches: bool = _help(True, "Whether image patches are tokens.")
    ratio: int = _help(3, "Feed-forward width over token width.")


@dataclass(frozen=True)
class TransformerSize:
    """Transformer over patches of a spectrum."""

    width: int = _help(224, "Width of the tokens.")
    depth: int = _help(6, "Transformer blocks.")
    n_heads: int = _help(7, "Attention heads; divides the width.")
    patch_size: int = _help(16, "Samples of the spectrum per token.")
    halo: int = _help(8, "Samples of each neighbour that a token sees too.")
    ratio: int = _help(3, "Feed-forward width over token width.")


@dataclass(frozen=True)
class StageSize:
    """One stage of the cascade; encoder and transformer have the same width."""

    image: EncoderSize = EncoderSize()
    network: TransformerSize = TransformerSize()


@dataclass(frozen=True)
class ContrastiveSize:
    """Contrastive network."""

    embedding_size: int = _help(128, "Dimension of the embeddings.")
    image: EncoderSize = EncoderSize(width=128, depth=2, n_heads=4)
    spectrum: TransformerSize = TransformerSize(
        width=128, depth=3, n_heads=4, patch_size=60, halo=10
    )


BASE = StageSize()
SUPER_RESOLUTION = StageSize(
    EncoderSize(width=160, n_heads=5),
    TransformerSize(width=160, depth=4, n_heads=5, patch_size=60, halo=16, ratio=2),
)
CONTRASTIVE = ContrastiveSize()
DEFAULT_SIZES = {"base": BASE, "super-resolution": SUPER_RESOLUTION, "contrastive": CONTRASTIVE}

_MODULES = {
    "base": BaseStage,
    "super-resolution": SuperResolutionStage,
    "contrastive": ContrastiveNetwork,
}


def build(stage, size, *, n_bands, image_size, pixel_scale):
    """A stage's module with random weights.

    Parameters
    ----------
    stage : {"contrastive", "base", "super-resolution"}
    size : StageSize or ContrastiveSize
    n_bands, image_size : int
        Shape of the images.
    pixel_scale : float
        Arcsec per pixel.

    Returns
    -------
    torch.nn.Module
    """
    options = asdict(size)
    options["image"] |= {"n_bands": n_bands, "size": image_size, "pixel_scale": pixel_scale}
    return _MODULES[stage](**options)
