"""Settings of a training that begins with given weights."""

from dataclasses import dataclass

from photospec.training.settings_common import explained, require

__all__ = ["PARTS", "FineTuning", "parts_of"]

# Parts of the networks by architecture and kind: the beginnings of their tensors' names.
_STAGE = {
    "encoder": ("encoder.",),
    "density": ("density.",),
    "embedding": (
        "network.embed.",
        "network.position",
        "network.level.",
        "network.augmentation.",
        "network.rest.",
        "network.modulation.",
    ),
    "transformer": ("network.blocks.", "network.norm."),
    "head": ("network.head.",),
}
_UNET = {
    "encoder": (
        "denoiser.unet.condition_encoder.",
        "denoiser.unet.first_layer_image_enc.",
    ),
    "time": ("denoiser.unet.first_layer_t.",),
    "down": ("denoiser.unet.down_blocks.",),
    "bottom": ("denoiser.unet.bottom_block.",),
    "up": ("denoiser.unet.up_blocks.", "denoiser.unet.conv_cls."),
}
#: Names of parts by architecture and by whether the stage is contrastive.
PARTS = {
    ("transformer", False): _STAGE,
    ("transformer", True): {
        "image_encoder": ("image_encoder.",),
        "spectrum_encoder": ("spectrum_encoder.",),
        "image_head": ("image_head.",),
        "spectrum_head": ("spectrum_head.",),
    },
    ("published", False): _UNET,
    ("published", True): {
        "image_encoder": ("contrastive.image_model.",),
        "spectrum_encoder": ("contrastive.spectrum_model.",),
    },
}


def parts_of(config):
    """Parts that the network of a `TrainConfig` has: names, and how their tensors' begin."""
    return PARTS[config.architecture, config.stage == "contrastive"]


@dataclass(frozen=True)
class FineTuning:
    """Begin with given weights instead of random ones."""

    init: str = explained(
        "", "Folder of a spectrograph, or of a finished run of this stage; empty: random weights."
    )
    frozen: tuple[str, ...] = explained(
        (),
        "Parts that stay as they are. Diffusion stages: encoder, embedding, transformer, head,\n"
        "density; contrastive: image_encoder, spectrum_encoder, image_head, spectrum_head;\n"
        "published networks: encoder, time, down, bottom, up.",
    )
    keep_scaling: bool = explained(
        True, "Keep the scalings of images and spectra, too; else they are fitted to the pairs."
    )

    def __post_init__(self):
        require(
            self.init or not self.frozen,
            "frozen",
            "no frozen parts without weights to begin with (init)",
            ", ".join(self.frozen),
        )
        require(len(set(self.frozen)) == len(self.frozen), "frozen", "every part once", self.frozen)
