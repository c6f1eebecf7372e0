"""What differs between the three trainings: set-up from data, loss of a batch, validation."""

import numpy as np
import torch

from photospec.errors import InputError
from photospec.networks.contrastive import nt_xent
from photospec.networks.scaling import NORMALISATION, upsample
from photospec.networks.sizes import build

__all__ = ["StageTraining", "make_training"]

# Galaxies whose moments set the scaling of images and spectra.
_N_SCALING = 4096


class StageTraining(torch.nn.Module):
    """A stage's network with its loss; what the training loop needs to know of it.

    Parameters
    ----------
    config : TrainConfig
    n_bands, image_size : int
        Shape of the images.
    pixel_scale : float
        Arcsec.
    """

    def __init__(self, config, *, n_bands, image_size, pixel_scale):
        super().__init__()
        self.config = config
        torch.manual_seed(config.seed)  # inside fork_rng, see make_training
        self.network = build(
            config.stage,
            config.size,
            n_bands=n_bands,
            image_size=image_size,
            pixel_scale=pixel_scale,
        )
        if config.mixed_precision:
            self.network.autocast = torch.bfloat16


class DiffusionTraining(StageTraining):
    """Base or super-resolution stage: denoising loss at random noise levels."""

    def fit_scaling(self, batch):
        self.network.encoder.fit_scaling(batch.image)
        self.network.scaling.fit(batch.flux)
        if getattr(self.network, "density", None) is not None:
            self.network.density.fit_scaling(batch.redshift)

    def loss(self, batch, generator):
        losses = self.network.loss(
            batch.image,
            batch.flux,
            redshift=batch.redshift,
            n_draws=self.config.n_draws,
            generator=generator,
        )
        return losses.mean()

    def validate(self, batches):
        """Mean denoising loss over held-out batches, the same noise every time."""
        generator = torch.Generator().manual_seed(self.config.seed)
        losses = [self.loss(batch, generator) for batch in batches]
        return {"loss": torch.stack(losses).mean().item()}


class ContrastiveTraining(StageTraining):
    """Contrastive network: cross-entropy of pairing images and spectra.

    Half of the spectra come through the base grid, so that candidates of both stages of
    the cascade can be ranked.
    """

    def fit_scaling(self, batch):
        self.network.image_encoder.fit_scaling(batch.image)
        self.network.scaling.fit(batch.flux)

    def _embed(self, batch, coarse):
        image, flux = batch.image, batch.flux
        scaling = self.network.scaling
        fine = scaling.fine(flux)
        if coarse.any():
            fine = torch.where(coarse[:, None], upsample(scaling.base(flux)), fine)
        dtype = torch.bfloat16
        with torch.autocast(image.device.type, dtype=dtype, enabled=self.config.mixed_precision):
            return self.network(image, fine)

    def loss(self, batch, generator):
        coarse = torch.rand(len(batch.flux), generator=generator) < 0.5
        return nt_xent(*self._embed(batch, coarse.to(batch.flux.device)), self.config.temperature)

    def validate(self, batches):
        """Loss and the part of spectra found first, and among ten, by their image."""
        coarse = False
        embedded = [
            self._embed(batch, torch.full((len(batch.flux),), coarse, device=batch.flux.device))
            for batch in batches
        ]
        image, spectrum = (torch.cat(e) for e in zip(*embedded, strict=True))
        similarity = image @ spectrum.T
        own = similarity.diagonal()[:, None]
        rank = (similarity > own).sum(dim=1)
        return {
            "loss": nt_xent(image, spectrum, self.config.temperature).item(),
            "top1": (rank < 1).float().mean().item(),
            "top10": (rank < 10).float().mean().item(),
        }


def make_training(config, stream):
    """Build a stage for the pairs of a stream and fit its scaling to them."""
    kind = ContrastiveTraining if config.stage == "contrastive" else DiffusionTraining
    with torch.random.fork_rng():
        training = kind(
            config,
            n_bands=len(stream.bands),
            image_size=stream.image_size,
            pixel_scale=stream.pixel_scale,
        )
    step = max(1, stream.n_train // _N_SCALING)
    chosen = np.arange(0, stream.n_train, step)
    batch = stream.read(chosen)
    _check_sample(chosen, batch.image, batch.flux)
    training.fit_scaling(batch)
    return training


def _check_sample(numbers, image, flux):
    """Moments of all are lost to a single pair that is not finite."""
    usable = image.flatten(1).sum(dim=1).isfinite() & flux.sum(dim=1).isfinite()
    usable &= flux[:, NORMALISATION].mean(dim=1) > 0
    if not usable.all():
        bad = numbers[~usable.numpy()]
        raise InputError(
            f"pairs: expected finite images and spectra with light at 5600 to 6900 Angstrom, got "
            f"{len(bad)} others among {len(numbers)} looked at (the first is pair {bad[0]}); are "
            "they masked throughout?"
        )
