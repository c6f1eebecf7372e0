"""Contrastive network: images and spectra of the same galaxy get similar embeddings."""

import torch
from torch import nn

from photospec.networks.blocks import Block, split_patches
from photospec.networks.image_encoder import ImageEncoder
from photospec.networks.scaling import N_FINE, SpectrumScaling

__all__ = ["ContrastiveNetwork", "nt_xent"]


class SpectrumEncoder(nn.Module):
    """Standardised fine spectra ``(n, N_FINE)`` to vectors ``(n, width)``."""

    def __init__(self, *, patch_size=60, halo=10, width=128, depth=3, n_heads=4, ratio=3):
        super().__init__()
        self.patch_size, self.halo = patch_size, halo
        self.embed = nn.Linear(patch_size + 2 * halo, width)
        self.position = nn.Parameter(0.02 * torch.randn(N_FINE // patch_size, width))
        self.blocks = nn.ModuleList(Block(width, n_heads, ratio=ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, spectrum):
        tokens = self.embed(split_patches(spectrum, self.patch_size, self.halo)) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens).mean(dim=1)


class ContrastiveNetwork(nn.Module):
    """Two encoders into one unit sphere.

    Parameters
    ----------
    embedding_size : int
        Dimension of the embeddings.
    image, spectrum : dict
        Options of `ImageEncoder` and of the spectrum transformer.
    spectral_scaling : {"log", "arcsinh", "none"}
        Of the spectra, see `SpectrumScaling`.
    """

    def __init__(self, *, embedding_size=128, image=None, spectrum=None, spectral_scaling="log"):
        super().__init__()
        self.image_encoder = ImageEncoder(**(image or {}))
        self.spectrum_encoder = SpectrumEncoder(**(spectrum or {}))
        self.scaling = SpectrumScaling(spectral_scaling)
        self.autocast = None
        self.image_head = nn.Linear(self.image_encoder.norm.normalized_shape[0], embedding_size)
        self.spectrum_head = nn.Linear(
            self.spectrum_encoder.norm.normalized_shape[0], embedding_size
        )

    def embed_image(self, image):
        """Return the unit vectors ``(n, embedding_size)`` of images in nanomaggies."""
        pooled = self.image_encoder(image).mean(dim=1)
        return nn.functional.normalize(self.image_head(pooled).float(), dim=-1)

    def embed_spectrum(self, spectrum):
        """Return the unit vectors ``(n, embedding_size)`` of standardised fine spectra."""
        return nn.functional.normalize(
            self.spectrum_head(self.spectrum_encoder(spectrum)).float(), dim=-1
        )

    def forward(self, image, spectrum):
        """Return both embeddings, ``(n, embedding_size)`` each."""
        return self.embed_image(image), self.embed_spectrum(spectrum)


def nt_xent(image_embedding, spectrum_embedding, temperature):
    """Return the normalised temperature-scaled cross-entropy over all 2n embeddings, a scalar.

    Every embedding must pick its partner among the other 2n - 1 (Chen et al. 2020,
    arXiv:2002.05709, eq. 1).
    """
    n = image_embedding.shape[0]
    both = torch.cat([image_embedding, spectrum_embedding])
    logits = both @ both.T / temperature
    logits.fill_diagonal_(float("-inf"))
    partner = torch.arange(2 * n, device=logits.device).roll(n)
    return nn.functional.cross_entropy(logits, partner)
