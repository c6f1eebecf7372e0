"""The published cascade behind the interface of the default one."""

import numpy as np
import torch

from photospec.networks.cascade import Drawn
from photospec.networks.scaling import FLOOR, SPECTRAL_SCALINGS
from photospec.published.cascade import prepare_images

__all__ = ["PublishedAdapter"]

# 6900-6950 Angstrom on the grid that starts at 4000: where published spectra have mean 1.
_WINDOW = slice(2900, 2950)


class PublishedAdapter:
    """What `photospec.networks.cascade.Cascade` can do, done by published networks.

    Parameters
    ----------
    published : PublishedCascade
    n_keep : int
        Low-resolution candidates that are refined, where that many are drawn.
    """

    def __init__(self, published, *, n_keep=2):
        self.published = published
        self.n_keep = n_keep
        self.autocast = None

    def to(self, device):
        """Move all networks; returns itself."""
        self.published.to(device)
        return self

    def eval(self):
        """Return itself: published networks are read in evaluation mode."""
        return self

    def set_precision(self, dtype):
        """Run the networks in ``torch.bfloat16`` or, with None, in float32."""
        self.autocast = dtype

    @property
    def device(self):
        """Device of the networks."""
        return self.published.base.diffusion.betas.device

    def _context(self):
        dtype = self.autocast or torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.autocast is not None)

    def sample(self, image, n_candidates, generators):
        """As `Cascade.sample`; one image after the other, seeded by its generator's seed."""
        n_keep = min(self.n_keep, n_candidates)
        with self._context():
            drawn = [
                self.published.sample(one[None], n_candidates, g.initial_seed(), n_keep=n_keep)
                for one, g in zip(image.cpu(), generators, strict=True)
            ]
        flux, similarity = (
            torch.from_numpy(np.concatenate([getattr(part, name) for part in drawn])).float()
            for name in ("flux", "similarity")
        )
        return Drawn(flux, similarity, drawn[0].nfe)

    def strangeness(self, image):
        """None: checkpoints do not say where their training images lie."""
        return None

    @torch.no_grad()
    def embed_image(self, image):
        """Unit vectors ``(n, embedding_size)`` of images in nanomaggies."""
        published = self.published
        prepared = prepare_images(image.cpu(), published.image_mean, published.image_std)
        with self._context():
            return published.contrastive.embed_image(prepared.to(self.device)).float()

    @torch.no_grad()
    def embed_spectrum(self, flux):
        """Unit vectors ``(n, embedding_size)`` of fluxes ``(n, N_FINE)`` in any unit."""
        relative = flux / flux[..., _WINDOW].mean(-1, keepdim=True)
        with self._context():
            # Scaled in single precision, whatever the networks run in.
            kind, relative = self.published.spectral_scaling, relative.float()
            if kind == "log":
                relative = relative.clamp_min(FLOOR)
            return self.published.contrastive.embed_spectrum(
                SPECTRAL_SCALINGS[kind][0](relative)
            ).float()
