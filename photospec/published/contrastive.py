"""The contrastive pair of the published method: image and spectrum into one unit sphere."""

import torch
from torch import nn
from torch.nn.functional import normalize

from photospec.published.resnet import resnet50

__all__ = ["PublishedContrastive", "SpectrumResNet"]


def _convolution(n_in, n_out):
    return nn.Sequential(nn.Conv1d(n_in, n_out, 3, padding=1), nn.GroupNorm(8, n_out), nn.SiLU())


class _ResidualBlock(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.block1 = _convolution(n_in, n_out)
        self.block2 = _convolution(n_out, n_out)
        self.res_conv = nn.Identity() if n_in == n_out else nn.Conv1d(n_in, n_out, 1)

    def forward(self, x):
        return self.block2(self.block1(x)) + self.res_conv(x)


class SpectrumResNet(nn.Module):
    """Spectra of any length to vectors.

    Parameters
    ----------
    widths : tuple of int
        Channels of the stages; each has two residual blocks and halves the length.
    n_out : int
    """

    def __init__(self, widths, n_out):
        super().__init__()
        self.down_layers = nn.ModuleList()
        n_in = 1
        for width in widths:
            blocks = (_ResidualBlock(n_in, width), _ResidualBlock(width, width))
            self.down_layers.append(
                nn.Sequential(*blocks, nn.Conv1d(width, width, 3, stride=2, padding=1))
            )
            n_in = width
        self.fc = nn.Linear(n_in, n_out)

    def forward(self, spectrum):
        """Return vectors (n, n_out) of spectra (n, length) or (n, 1, length)."""
        x = spectrum if spectrum.ndim == 3 else spectrum[:, None]
        for layer in self.down_layers:
            x = layer(x)
        return self.fc(x.mean(-1))


class PublishedContrastive(nn.Module):
    """ResNet-50 for the image, a 1-D residual network for the spectrum.

    Parameters
    ----------
    embedding_size : int
        128 or 256 as published.
    widths : tuple of int
        Channels of the spectrum network.
    n_bands, image_width : int
        Bands of the image; channels of the first group of its ResNet-50.
    """

    def __init__(
        self,
        embedding_size: int = 128,
        *,
        widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
        n_bands: int = 5,
        image_width: int = 64,
    ):
        super().__init__()
        self.image_model = resnet50(n_bands=n_bands, width=image_width, n_out=embedding_size)
        self.spectrum_model = SpectrumResNet(widths, embedding_size)

    @property
    def embedding_size(self) -> int:
        """Dimension of the embeddings."""
        return self.spectrum_model.fc.out_features

    def embed_image(self, image: torch.Tensor) -> torch.Tensor:
        """Return unit vectors (n, embedding_size) of standardised images (n, n_bands, ny, nx)."""
        return normalize(self.image_model(image), dim=-1)

    def embed_spectrum(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return unit vectors (n, embedding_size) of log spectra (n, length)."""
        return normalize(self.spectrum_model(spectrum), dim=-1)

    def forward(
        self, image: torch.Tensor, spectrum: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both embeddings, (n, embedding_size) each."""
        return self.embed_image(image), self.embed_spectrum(spectrum)

    @torch.no_grad()
    def similarity(self, image: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
        """Return the cosine (n, m) of images (n, n_bands, ny, nx) and m spectra of each, (n, m,
        length).
        """
        parts = [self.embed_spectrum(part) for part in spectra.flatten(0, 1).split(64)]
        embedded = torch.cat(parts).unflatten(0, spectra.shape[:2])
        return torch.einsum("nd,nmd->nm", self.embed_image(image), embedded)
