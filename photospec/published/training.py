"""The published networks as stages that the training loop can train."""

import torch

from photospec.published.stage import build_published
from photospec.training.stages import ContrastiveTraining, DiffusionTraining

__all__ = ["PublishedContrastiveTraining", "PublishedDiffusionTraining"]


class _Published:
    """What both kinds share."""

    def make_network(self, n_bands, image_size, pixel_scale):
        """The stage's module with random weights."""
        return build_published(self.config.stage, self.config.published, n_bands=n_bands)

    def fit_scaling(self, batch):
        """Set mean and deviation of the images' bands."""
        self.network.fit_scaling(batch.image)

    @property
    def crop(self):
        """Largest shift of a random crop, now."""
        return self.config.data.crop if self.training and self.config.augment else 0


class PublishedDiffusionTraining(_Published, DiffusionTraining):
    """Published denoiser: mean square error of the noise at uniform times."""

    def compiled(self):
        """The U-Net."""
        return [self.network.denoiser.unet]

    def loss(self, batch, generator):
        """Mean denoising loss of a batch, a scalar."""
        losses = self.network.loss(
            batch.image,
            batch.flux,
            n_draws=self.config.n_draws,
            generator=generator,
            crop=self.crop,
            ivar=batch.ivar,
        )
        return losses.mean()

    @torch.no_grad()
    def candidates(self, batch, n_candidates, *, n_steps, generator):
        """As `photospec.training.validation.draw_candidates`."""
        network = self.network
        n, base = len(batch.image), network.base(batch.flux)
        noise = torch.randn(n * n_candidates, network.length, generator=generator)
        low, truth = None, base
        if network.super_resolution:
            low, truth = base.repeat_interleave(n_candidates, dim=0), network.fine(batch.flux)
        drawn = network.sample(batch.image, noise.to(base.device), low, n_steps=n_steps)
        return drawn.float().view(n, n_candidates, -1), truth


class PublishedContrastiveTraining(_Published, ContrastiveTraining):
    """Published contrastive network, the same loss as ours."""

    def compiled(self):
        """Both networks."""
        return [self.network.contrastive.image_model, self.network.contrastive.spectrum_model]

    def training_embeddings(self, batch, generator):
        """Embeddings of images and spectra of a training batch."""
        return self.network(batch.image, batch.flux, crop=self.crop, generator=generator)

    def validation_embeddings(self, batch):
        """As `training_embeddings`, nothing at random."""
        return self.network(batch.image, batch.flux)
