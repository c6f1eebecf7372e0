"""The networks that `architectures` compares: stages with other insides.

They are called as `photospec.networks.stage` has them, so that one loop trains and one
function judges them.
"""

from torch import nn

from photospec.networks.scaling import N_FINE
from photospec.networks.sizes import DEFAULT_SIZES, build
from photospec.networks.spectrum_transformer import SpectrumTransformer
from photospec.networks.stage import BaseStage, SuperResolutionStage
from photospec.published.config import PublishedSize
from photospec.published.training import build_published
from photospec.published.unet import UNet

IMAGES = {"n_bands": 5, "size": 64, "pixel_scale": 0.396}
# narrow enough to learn something in a minute
WIDTH = {"width": 96, "n_heads": 3, "ratio": 3}
IMAGE = {**IMAGES, **WIDTH, "depth": 1}


class UNetNetwork(nn.Module):
    """The published U-Net behind the interface of `SpectrumTransformer`, with its tokens."""

    n_times = 250
    rest = None  # rest wavelengths are told to transformers only

    def __init__(self, **options):
        super().__init__()
        self.unet = UNet(n_times=self.n_times, **options)
        del self.unet.condition_encoder

    def condition(self, context, redshift=None):
        return context

    def forward(self, x, level, context):
        # its time features are made for whole numbers; log(sigma) / 4 lies in -1.6 ... 1.3
        time = ((level + 1.6) / 2.9 * (self.n_times - 1)).round().clamp(0, self.n_times - 1)
        context = context.repeat_interleave(len(x) // len(context), dim=0)
        return self.unet(x[:, None], time, context)[:, 0].float()


class UNetStage(BaseStage):
    """Base stage whose denoising network is a U-Net."""

    def __init__(self):
        super().__init__(image=IMAGE)
        self.network = UNetNetwork(widths=(16, 32, 64, 128), image_width=WIDTH["width"] // 8)


class SingleStage(BaseStage):
    """No cascade: the fine spectrum in one go."""

    length = N_FINE

    def __init__(self, redshift=False, n_templates=0):
        super().__init__(image=IMAGE, redshift=redshift)
        told = {"redshift": redshift, "n_templates": n_templates}
        self.network = SpectrumTransformer(N_FINE, depth=4, patch_size=60, halo=16, **WIDTH, **told)

    def loss(self, image, flux, *, redshift=None, n_draws=1, generator=None):
        context = self.encode(image)
        target = self.scaling.fine(flux).repeat_interleave(n_draws, dim=0)
        told = None if redshift is None else redshift.repeat_interleave(n_draws)
        loss = self._diffusion_loss(target, self._condition(context, redshift=told), generator)
        if redshift is None:
            return loss
        density = self.density.loss(self.encoder.standardised(image), context, redshift)
        return loss + self.density_weight * density.repeat_interleave(n_draws)


def base(image=None, redshift=False, n_templates=0, **network):
    """Narrow transformer for base spectra."""
    options = {"patch_size": 16, "halo": 8, "depth": 4, **WIDTH, **network}
    return BaseStage(
        image=IMAGE | (image or {}), network=options, redshift=redshift, n_templates=n_templates
    )


def super_resolution(redshift=False, n_templates=0, **process):
    """Narrow transformer for the details."""
    options = {"patch_size": 60, "halo": 16, "depth": 4, **WIDTH}
    told = {"redshift": redshift, "n_templates": n_templates}
    return SuperResolutionStage(image=IMAGE, network=options, process=process or None, **told)


def default(stage="base"):
    """A stage of the shipped weights."""
    return build(
        stage, DEFAULT_SIZES[stage], n_bands=5, image_size=64, pixel_scale=IMAGES["pixel_scale"]
    )


def published(stage="base"):
    """A stage of the published method at its sizes, trained its way."""
    return build_published(stage, PublishedSize(), n_bands=5)


#: Second stages, and the first stages whose spectra they refine.
BEFORE = {
    "super-resolution": "patch 16",
    "not augmented": "patch 16",
    "templates fine": "templates",
    "published fine": "published",
    "default fine": "default",
}
#: Judged by fine spectra; the others by base spectra.
FINE = (*BEFORE, "single stage", "templates, single stage")
PUBLISHED = ("published", "published fine")
#: name: (module, share of the training time, what it is)
VARIANTS = {
    "patch 16": (base, 1, "transformer, patches of 16"),
    "U-Net": (UNetStage, 1, "U-Net, same image tokens"),
    "super-resolution": (super_resolution, 1, "cascade, noise on its condition"),
    "single stage": (SingleStage, 2, "one stage on the full grid"),
    "patch 8": (lambda: base(patch_size=8, halo=4), 1, "transformer, patches of 8"),
    "patch 32": (lambda: base(patch_size=32, halo=16), 1, "transformer, patches of 32"),
    "no photometry": (lambda: base({"n_summary": 0}), 1, "without photometry tokens"),
    "not augmented": (
        lambda: super_resolution(max_augmentation=0.0, inference_augmentation=0.0),
        1,
        "cascade, perfect condition",
    ),
    "redshift first": (lambda: base(redshift=True), 1, "redshift drawn first"),
    "templates": (lambda: base(redshift=True, n_templates=16), 1, "… with rest-frame templates"),
    "templates fine": (
        lambda: super_resolution(redshift=True, n_templates=16),
        1,
        "cascade, redshift and templates",
    ),
    "templates, single stage": (
        lambda: SingleStage(redshift=True, n_templates=16),
        2,
        "one stage, redshift and templates",
    ),
    "published": (published, 1.25, "published base stage and recipe"),
    "default": (default, 1.25, "default base stage"),
    "published fine": (lambda: published("super-resolution"), 1.25, "published cascade"),
    "default fine": (lambda: default("super-resolution"), 1.25, "default cascade"),
}
