"""The default denoising network: a transformer over patches of the spectrum.

Each token is a patch of the (noisy) spectrum with a halo of its neighbours; tokens
attend to each other and to the image's context. The image is encoded once per galaxy
and its keys and values are projected once per stage (`Condition`), however many
candidates and steps follow.
"""

import math
from typing import NamedTuple

import torch
from torch import nn

from photospec.networks.blocks import Block, fourier_features, split_patches
from photospec.networks.redshift_density import MAX_REDSHIFT
from photospec.networks.rest_templates import RestTemplates
from photospec.networks.scaling import WAVELENGTH_RANGE

__all__ = ["Condition", "SpectrumTransformer"]

# Periods of the features of a token's rest wavelength, in its logarithm: from the whole
# spectrum to some pixels.
_LONGEST, _SHORTEST, _N_REST = 2.4, 0.002, 64


class Condition(NamedTuple):
    """What a stage knows about its galaxies, in the form its network uses.

    Attributes
    ----------
    key_values : list of (tensor, tensor)
        Keys and values of the image context for every block, leading axis ``n_galaxies``.
    low_resolution : tensor or None
        Base-stage spectrum on the fine grid ``(n, length)``; super-resolution only.
    augmentation : tensor or None
        Noise level ``(n,)`` that was added to ``low_resolution``.
    redshift : tensor or None
        Redshifts ``(n,)``; for networks made with ``redshift`` only.
    templates : tensor or None
        Rest-frame templates ``(n, n_tokens, n_templates, patch_size)`` at these redshifts; for
        networks that have some.
    """

    key_values: list
    low_resolution: torch.Tensor | None = None
    augmentation: torch.Tensor | None = None
    redshift: torch.Tensor | None = None
    templates: torch.Tensor | None = None


class SpectrumTransformer(nn.Module):
    """Network ``F(x, level, condition)`` on spectra ``(n, length)``.

    Parameters
    ----------
    length : int
        Samples of the spectrum.
    patch_size, halo : int
        Samples per token and the overlap seen on each side.
    width, depth, n_heads : int
        Size of the transformer.
    low_resolution : bool
        Whether a base-stage spectrum is a second input channel (super-resolution stage).
    redshift : bool
        Whether the rest wavelength of its centre is an input of each token.
    n_templates : int
        Rest-frame templates (`RestTemplates`); needs `redshift`.
    max_redshift : float
        Up to which these templates reach.
    """

    def __init__(
        self,
        length,
        *,
        patch_size=12,
        halo=6,
        width=256,
        depth=6,
        n_heads=8,
        ratio=4,
        low_resolution=False,
        redshift=False,
        n_templates=0,
        max_redshift=MAX_REDSHIFT,
    ):
        super().__init__()
        self.length = length
        self.patch_size = patch_size
        self.halo = halo
        self.padding = -length % patch_size
        n_tokens = (length + self.padding) // patch_size
        channels = 2 if low_resolution else 1
        self.embed = nn.Linear(channels * (patch_size + 2 * halo), width)
        self.position = nn.Parameter(0.02 * torch.randn(n_tokens, width))
        self.level = nn.Sequential(nn.Linear(128, width), nn.SiLU(), nn.Linear(width, width))
        self.augmentation = nn.Linear(128, width) if low_resolution else None
        self.rest = nn.Linear(_N_REST, width, bias=False) if redshift else None
        if redshift:
            nn.init.zeros_(self.rest.weight)
            low, high = WAVELENGTH_RANGE
            centre = (torch.arange(n_tokens) + 0.5) * patch_size / length
            self.register_buffer(
                "log_wavelength", (low + (high - low) * centre).log(), persistent=False
            )
        self.blocks = nn.ModuleList(
            Block(width, n_heads, cross=True, modulated=True, ratio=ratio) for _ in range(depth)
        )
        self.modulation = nn.Linear(width, 9 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, patch_size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.templates = None
        if n_templates:
            shape = length, self.padding, patch_size, width
            self.templates = RestTemplates(*shape, n_templates, channels, max_redshift)

    def condition(self, context, low_resolution=None, augmentation=None, redshift=None):
        """Project the image context ``(n_galaxies, m, width)`` to a `Condition`."""
        key_values = [block.cross_attention.project(context) for block in self.blocks]
        templates = None if self.templates is None else self.templates.under(redshift)
        if templates is not None and torch.is_autocast_enabled(templates.device.type):
            templates = templates.to(torch.get_autocast_dtype(templates.device.type))
        return Condition(key_values, low_resolution, augmentation, redshift, templates)

    def _rest_features(self, redshift):
        """Return sines and cosines ``(n, n_tokens, _N_REST)`` of log rest wavelengths."""
        rest = self.log_wavelength - torch.log1p(redshift.float())[:, None]
        # About the middle of the range, so that the longest period is not folded.
        rest = rest - self.log_wavelength.mean()
        steps = torch.linspace(0.0, 1.0, _N_REST // 2, device=rest.device)
        period = _LONGEST * (_SHORTEST / _LONGEST) ** steps
        phase = 2.0 * math.pi * rest[..., None] / period
        return torch.cat([phase.sin(), phase.cos()], dim=-1)

    def _patches(self, x):
        x = nn.functional.pad(x[:, None], (0, self.padding), mode="replicate")[:, 0]
        return split_patches(x, self.patch_size, self.halo)

    def _inner(self, patches):
        """Take channels apart and halos off: ``(n, n_tokens, patch_size, n_channels)``."""
        seen = self.patch_size + 2 * self.halo
        inner = patches.unflatten(2, (-1, seen))[..., self.halo : self.halo + self.patch_size]
        return inner.transpose(2, 3)

    def forward(self, x, level, condition):
        """Evaluate the network.

        Parameters
        ----------
        x : tensor (n, length)
        level : tensor (n,)
            Noise level as the parametrisation presents it (for EDM, ``log(sigma) / 4``). Where it
            is one number in memory, expanded, its modulation is made once.
        condition : Condition
            For ``n_galaxies`` dividing ``n``: galaxy by galaxy, candidates inside.
        """
        patches = self._patches(x)
        embedded = nn.functional.silu(self.level(fourier_features(_once(level), 128)))
        if self.augmentation is not None:
            patches = torch.cat([patches, self._patches(condition.low_resolution)], dim=-1)
            augmentation = fourier_features(_once(condition.augmentation), 128)
            embedded = embedded + self.augmentation(augmentation)
        tokens = self.embed(patches) + self.position
        if self.templates is not None:
            tokens = tokens + self.templates.tokens(condition.templates, self._inner(patches))
        if self.rest is not None:
            tokens = tokens + self.rest(self._rest_features(condition.redshift))
        modulation = self.modulation(embedded).unflatten(1, (9, -1))
        for block, key_value in zip(self.blocks, condition.key_values, strict=True):
            tokens = block(tokens, modulation=modulation, key_value=key_value)
        tokens = self.norm(tokens)
        answer = self.head(tokens).float()
        if self.templates is not None:
            answer = answer + self.templates.patches(condition.templates, tokens).float()
        return answer.flatten(1)[:, : self.length]


def _once(levels):
    """Return the first of noise levels ``(n,)`` that are one number in memory; else all."""
    return levels[:1] if levels.stride(0) == 0 else levels
