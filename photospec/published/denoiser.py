"""The published method's networks at its sizes, with its weights.

"Generating galaxy spectra from images": arXiv:2211.05556 (NeurIPS ML4PS 2022) and
arXiv:2406.18175 (ApJ 977, 131, 2024). Sizes are read off the weights, so that all variants
load; those of the papers are the defaults of `PublishedDenoiser` and
`PublishedContrastive`.
"""

import re
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.functional import interpolate

from photospec.errors import InputError
from photospec.published.checkpoint import load_checked, read_checkpoint, select_weights
from photospec.published.contrastive import PublishedContrastive
from photospec.published.schedule import PublishedSampler, ScheduleBuffers
from photospec.published.unet import UNet, published_frequencies

__all__ = [
    "PublishedContrastive",
    "PublishedDenoiser",
    "load_contrastive",
    "load_denoiser",
    "read_checkpoint",
]


class PublishedDenoiser(nn.Module):
    """A U-Net and its schedule: one stage of the published cascade.

    Parameters
    ----------
    schedule : {"cosine", "linear"}
    n_times : int
    **options
        Of `UNet`.
    """

    def __init__(self, schedule: str = "cosine", n_times: int = 250, **options: object):
        super().__init__()
        self.diffusion = ScheduleBuffers(schedule, n_times)
        self.unet = UNet(n_times=n_times, **options)

    def tokens(self, image: torch.Tensor) -> torch.Tensor:
        """Return what the U-Net looks at of images (n, n_bands, 64, 64): tokens (n, 4, 512)."""
        return self.unet.encode(image)

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        image: torch.Tensor,
        low_resolution: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the noise in spectra, the image encoded anew as the published code does.

        Parameters
        ----------
        x : Tensor (n, 1, length)
            Noisy spectra.
        t : Tensor (n,)
            Discrete times, 0 ... 249.
        image : Tensor (n, n_bands, 64, 64)
            Standardised images.
        low_resolution : Tensor (n, 1, 563), optional
            Condition of the super-resolution stage, interpolated to the length of `x`.

        Returns
        -------
        Tensor (n, 1, length)
        """
        return self.predict_noise(x, t, self.tokens(image), low_resolution)

    def predict_noise(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        tokens: torch.Tensor,
        low_resolution: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict the noise as `forward` does, from `tokens` encoded before."""
        expected = self.unet.n_channels - 1
        if expected != (low_resolution is not None):
            kind = "super-resolution" if expected else "base"
            got = "None" if expected else "a spectrum"
            raise InputError(
                f"low_resolution: expected {'a spectrum' if expected else 'None'} for a {kind} "
                f"denoiser, got {got}; the two stages may be swapped"
            )
        if low_resolution is not None:
            low = interpolate(low_resolution, size=x.shape[-1], mode="linear")
            x = torch.cat([x, low], dim=1)
        return self.unet(x, t, tokens)

    def sampler(
        self, tokens: torch.Tensor, low_resolution: torch.Tensor | None = None
    ) -> PublishedSampler:
        """Return the published ancestral sampler for these conditions."""

        def predict_noise(x, t):
            return self.predict_noise(x, t, tokens, low_resolution)

        return PublishedSampler(predict_noise, self.diffusion)


def load_denoiser(
    state_dict: Mapping,
    *,
    schedule: str = "cosine",
    n_bands: int = 5,
    name: str = "denoiser",
) -> PublishedDenoiser:
    """Build a published denoiser from its weights.

    Parameters
    ----------
    state_dict : dict of str to Tensor
        As `read_checkpoint` gives it.
    schedule : {"cosine", "linear"}
        Used only when `state_dict` has none of the schedule's buffers.
    n_bands : int
        Bands of the images.
    name : str
        What errors call it.

    Returns
    -------
    PublishedDenoiser
        In evaluation mode, float32.

    Raises
    ------
    InputError
        The weights are not those of a published denoiser, or not finite.

    Examples
    --------
    >>> from photospec.published import PublishedDenoiser, load_denoiser
    >>> trained = PublishedDenoiser(widths=(32, 32), attention_depths=(1,), image_width=4)
    >>> denoiser = load_denoiser(trained.state_dict())
    >>> denoiser.unet.n_times
    250
    """
    state_dict = select_weights(state_dict, name)
    if any(key.startswith(("image_model.", "spectrum_model.")) for key in state_dict):
        raise InputError(f"{name}: expected a denoiser, got the weights of a contrastive network")
    options = _denoiser_options(state_dict, name) | {"n_bands": n_bands}
    module = _empty(PublishedDenoiser, name, schedule=schedule, **options)
    own = {f"diffusion.{k}": v for k, v in ScheduleBuffers(schedule).state_dict().items()}
    own["unet.encoder.freqs"] = published_frequencies(options["time_width"] // 2)
    if not any(key in state_dict for key in own):
        state_dict = {**own, **state_dict}
    return load_checked(module, state_dict, name)


def load_contrastive(
    state_dict: Mapping,
    *,
    embedding_size: int | None = None,
    n_bands: int = 5,
    name: str = "contrastive",
) -> PublishedContrastive:
    """Build a published contrastive network from its weights.

    Parameters
    ----------
    state_dict : dict of str to Tensor
        As `read_checkpoint` gives it.
    embedding_size : int, optional
        Expected dimension of the embeddings, where the caller has one.
    n_bands : int
        Bands of the images.
    name : str
        What errors call it.

    Returns
    -------
    PublishedContrastive
        Called as ``(image, spectrum)``; in evaluation mode, float32.

    Raises
    ------
    InputError
        The weights are not those of a published contrastive network, not finite, or of
        another embedding size.

    Examples
    --------
    >>> from photospec.published import PublishedContrastive, load_contrastive
    >>> trained = PublishedContrastive(16, widths=(8, 16), image_width=4)
    >>> load_contrastive(trained.state_dict()).embedding_size
    16
    """
    state_dict = select_weights(state_dict, name)
    if any(key.startswith(("unet.", "diffusion.")) for key in state_dict):
        raise InputError(f"{name}: expected a contrastive network, got the weights of a denoiser")
    sizes = {
        side: _size(state_dict, f"{side}_model.fc.weight", name) for side in ("image", "spectrum")
    }
    if embedding_size is not None:
        sizes["expected"] = embedding_size
    if len(set(sizes.values())) > 1:
        got = ", ".join(f"{side} {size}" for side, size in sizes.items())
        raise InputError(
            f"{name}: expected one embedding size, got {got}; the two published settings disagree "
            "(128 and 256), so their checkpoints do not go together"
        )
    stages = _numbers(state_dict, r"spectrum_model\.down_layers\.(\d+)\.0\.block1\.0\.weight")
    widths = [
        _size(state_dict, f"spectrum_model.down_layers.{i}.0.block1.0.weight", name) for i in stages
    ]
    image_width = _size(state_dict, "image_model.conv1.weight", name)
    module = _empty(
        PublishedContrastive,
        name,
        embedding_size=sizes["image"],
        widths=widths,
        n_bands=n_bands,
        image_width=image_width,
    )
    return load_checked(module, state_dict, name)


def _denoiser_options(state_dict, name):
    """Return sizes of the U-Net that these weights belong to."""
    blocks = _numbers(state_dict, r"unet\.down_blocks\.(\d+)\.0\.block1\.0\.weight")
    first = "unet.condition_encoder.model.conv1.weight"
    if first in state_dict:
        conditioning = "cross-attention"
    elif (first := first.replace("model.", "")) in state_dict:
        conditioning = "concatenation"
    elif any(key.startswith("unet.condition_encoder.") for key in state_dict):
        raise InputError(f"{name}: expected an image encoder, got one without its conv1.weight")
    else:
        conditioning = "none"
    n_channels = _size(state_dict, "unet.down_blocks.0.0.block1.0.weight", name, axis=1)
    options = {
        "conditioning": conditioning,
        "n_channels": n_channels - (conditioning == "concatenation"),
        "widths": [
            _size(state_dict, f"unet.down_blocks.{i}.0.block1.0.weight", name) for i in blocks
        ],
        "attention_depths": _numbers(state_dict, r"unet\.down_blocks\.(\d+)\.1\.norm\.weight"),
        "time_width": _size(state_dict, "unet.first_layer_t.2.weight", name),
    }
    if conditioning != "none":
        options["image_width"] = _size(state_dict, first, name)
    if conditioning == "concatenation":
        options["length"] = _size(state_dict, "unet.first_layer_image_enc.weight", name)
    if "diffusion.betas" in state_dict:
        options["n_times"] = len(state_dict["diffusion.betas"])
    return options


def _empty(network, name, **options):
    """Build a network without values, so that none are drawn at random only to be replaced."""
    try:
        with torch.device("meta"):
            return network(**options)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"{name}: expected the weights of a published network, got shapes that make none "
            f"({str(error).splitlines()[0]}); they may belong to another network"
        ) from None


def _numbers(state_dict, pattern):
    found = (re.fullmatch(pattern, key) for key in state_dict)
    return sorted({int(match[1]) for match in found if match})


def _size(state_dict, key, name, axis=0):
    """Return the length of an axis of an entry that the sizes of the network are read off."""
    if key not in state_dict or state_dict[key].ndim <= axis:
        raise InputError(
            f"{name}: expected the weights of a published network, got {len(state_dict)} entries "
            f"without a usable {key}; they may belong to another network"
        )
    return state_dict[key].shape[axis]
