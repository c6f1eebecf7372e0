"""Sizes of the default networks, as frozen dataclasses that a TOML file can hold."""

from dataclasses import asdict, dataclass, field

from photospec.config import setting, validate
from photospec.errors import InputError
from photospec.networks.contrastive import ContrastiveNetwork
from photospec.networks.process import Process
from photospec.networks.redshift_density import MAX_REDSHIFT
from photospec.networks.scaling import N_FINE, SPECTRAL_SCALINGS
from photospec.networks.stage import BaseStage, SuperResolutionStage

__all__ = ["STAGES", "ContrastiveSize", "EncoderSize", "StageSize", "TransformerSize", "build"]

#: Names of the networks of a spectrograph.
STAGES = ("contrastive", "base", "super-resolution")
# Far above any use: what a file claims beyond is no size of a network.
WIDEST, DEEPEST, MOST = 100_000, 1000, 10_000


def _check_divides(whole, part, name, whole_name):
    if part < 1 or whole % part:
        raise InputError(f"{name}: expected a divisor of the {whole_name} {whole}, got {part}")


@dataclass(frozen=True)
class EncoderSize:
    """Image encoder; see `photospec.networks.image_encoder.ImageEncoder`."""

    width: int = setting(224, "Width of the tokens.", min=1, max=WIDEST)
    depth: int = setting(1, "Transformer blocks over the image tokens.", min=0, max=DEEPEST)
    n_heads: int = setting(7, "Attention heads; divides the width.", min=1, max=WIDEST)
    patch_size: int = setting(
        8, "Edge of an image patch in pixels; divides the image size.", min=1, max=MOST
    )
    n_summary: int = setting(
        4, "Tokens made from aperture photometry; 0 leaves them out.", min=0, max=MOST
    )
    use_patches: bool = setting(True, "Whether image patches are tokens.")
    ratio: int = setting(3, "Feed-forward width over token width.", min=1, max=DEEPEST)
    masked_bands: bool = setting(False, "Whether bands of an image may be missing.")

    def __post_init__(self):
        validate(self)
        _check_divides(self.width, self.n_heads, "n_heads", "width")
        if not (self.n_summary or self.use_patches):
            raise InputError("n_summary: expected tokens of some kind, got 0 and no use_patches")


@dataclass(frozen=True)
class TransformerSize:
    """Transformer over patches of a spectrum."""

    width: int = setting(224, "Width of the tokens.", min=1, max=WIDEST)
    depth: int = setting(6, "Transformer blocks.", min=1, max=DEEPEST)
    n_heads: int = setting(7, "Attention heads; divides the width.", min=1, max=WIDEST)
    patch_size: int = setting(16, "Samples of the spectrum per token.", min=1, max=MOST)
    halo: int = setting(8, "Samples of each neighbour that a token sees too.", min=0, max=MOST)
    ratio: int = setting(3, "Feed-forward width over token width.", min=1, max=DEEPEST)

    def __post_init__(self):
        validate(self)
        _check_divides(self.width, self.n_heads, "n_heads", "width")

    @property
    def least_numbers(self):
        """How many numbers the weights hold at least: those of the feed-forward layers."""
        return 2 * self.depth * self.ratio * self.width**2


@dataclass(frozen=True)
class StageSize:
    """One stage of the cascade; encoder and transformer have the same width."""

    image: EncoderSize = EncoderSize()
    network: TransformerSize = TransformerSize()
    redshift: bool = setting(
        False, "Draw a candidate's redshift first and tell tokens their rest wavelength."
    )
    n_templates: int = setting(
        0,
        "Rest-frame templates that tokens measure and answer with; needs redshift.",
        min=0,
        max=MOST,
    )
    max_redshift: float = setting(
        MAX_REDSHIFT, "Redshifts are drawn between zero and this.", min=0.01, max=5.0
    )
    process: Process = field(default_factory=Process)

    def __post_init__(self):
        validate(self)
        if self.image.width != self.network.width:
            raise InputError(
                "width: expected the same in image and network, got "
                f"{self.image.width} and {self.network.width}"
            )
        if self.n_templates and not self.redshift:
            raise InputError(f"n_templates: expected 0 without redshift, got {self.n_templates}")


@dataclass(frozen=True)
class ContrastiveSize:
    """Contrastive network."""

    embedding_size: int = setting(128, "Dimension of the embeddings.", min=1, max=WIDEST)
    image: EncoderSize = EncoderSize(width=128, depth=2, n_heads=4)
    spectrum: TransformerSize = TransformerSize(
        width=128, depth=3, n_heads=4, patch_size=60, halo=10
    )
    spectral_scaling: str = setting(
        "log",
        "Of relative fluxes before they are standardised.",
        choices=tuple(SPECTRAL_SCALINGS),
    )

    def __post_init__(self):
        validate(self)
        _check_divides(N_FINE, self.spectrum.patch_size, "patch_size", "number of samples")


BASE = StageSize(redshift=True, n_templates=16)
SUPER_RESOLUTION = StageSize(
    EncoderSize(width=160, depth=0, n_heads=5),  # what images show is in the base spectrum
    TransformerSize(width=160, depth=4, n_heads=5, patch_size=60, halo=16, ratio=2),
    redshift=True,
    n_templates=16,
)
CONTRASTIVE = ContrastiveSize()
DEFAULT_SIZES = {"base": BASE, "super-resolution": SUPER_RESOLUTION, "contrastive": CONTRASTIVE}

_MODULES = {
    "base": BaseStage,
    "super-resolution": SuperResolutionStage,
    "contrastive": ContrastiveNetwork,
}


def build(stage, size, *, n_bands, image_size, pixel_scale):
    """Build a stage's module with random weights.

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

    Raises
    ------
    InputError
        If the image is not a whole number of patches.
    """
    if size.image.use_patches:
        _check_divides(image_size, size.image.patch_size, "patch_size", "image size")
    options = asdict(size)
    options["image"] |= {"n_bands": n_bands, "size": image_size, "pixel_scale": pixel_scale}
    return _MODULES[stage](**options)
