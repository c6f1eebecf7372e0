"""What differs between the trainings: set-up from data, loss of a batch, validation."""

from abc import ABC, abstractmethod

import numpy as np
import torch

from photospec.errors import InputError
from photospec.networks.contrastive import nt_xent
from photospec.networks.scaling import upsample
from photospec.networks.sizes import build
from photospec.training.data import usable_batch
from photospec.training.distributed import gather
from photospec.training.fine_tuning import freeze, start_from
from photospec.training.line_weights import line_weights

__all__ = ["StageTraining", "make_training"]

# Galaxies whose moments set the scaling of images and spectra.
_N_SCALING = 4096


class StageTraining(torch.nn.Module, ABC):
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
        self.frozen = []
        torch.manual_seed(config.seed)  # inside fork_rng, see make_training
        self.network = self.make_network(n_bands, image_size, pixel_scale)
        if config.mixed_precision:
            self.network.autocast = torch.bfloat16
        if config.compile:
            for part in self.compiled():
                part.compile()

    def make_network(self, n_bands, image_size, pixel_scale):
        """The stage's module with random weights."""
        return build(
            self.config.stage,
            self.config.size,
            n_bands=n_bands,
            image_size=image_size,
            pixel_scale=pixel_scale,
        )

    @abstractmethod
    def compiled(self):
        """Parts of the network that ``compile`` is about."""

    def train(self, mode=True):
        """As of any module; what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self


class DiffusionTraining(StageTraining):
    """Base or super-resolution stage: denoising loss at random noise levels."""

    def compiled(self):
        """Encoder and denoising network."""
        return [self.network.encoder, self.network.network]

    def fit_scaling(self, batch):
        """Set the network's scalings of images, spectra and redshifts."""
        self.network.encoder.fit_scaling(batch.image)
        self.network.scaling.fit(batch.flux)
        if getattr(self.network, "density", None) is not None:
            self.network.density.fit_scaling(batch.redshift)

    def loss(self, batch, generator):
        """Mean denoising loss of a batch, a scalar."""
        losses = self.network.loss(
            batch.image,
            batch.flux,
            redshift=batch.redshift,
            n_draws=self.config.n_draws,
            generator=generator,
            ivar=batch.ivar,
            weight=self._weight(batch),
        )
        return losses.mean()

    def _weight(self, batch):
        peak = self.config.line_weight
        if peak == 1 or batch.redshift is None:
            return None
        return line_weights(batch.redshift, peak)

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

    def compiled(self):
        """Both encoders."""
        return [self.network.image_encoder, self.network.spectrum_encoder]

    def fit_scaling(self, batch):
        """Set the network's scalings of images and spectra."""
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

    def training_embeddings(self, batch, generator):
        """Embeddings of images and spectra of a training batch."""
        coarse = torch.rand(len(batch.flux), generator=generator) < 0.5
        return self._embed(batch, coarse.to(batch.flux.device))

    def validation_embeddings(self, batch):
        """As `training_embeddings`, nothing at random."""
        return self._embed(
            batch, torch.zeros(len(batch.flux), dtype=bool, device=batch.flux.device)
        )

    def loss(self, batch, generator):
        """Contrastive loss of a batch, a scalar."""
        # Those of other processes are negatives too.
        image, spectrum = map(gather, self.training_embeddings(batch, generator))
        return nt_xent(image, spectrum, self.config.temperature)

    def validate(self, batches):
        """Loss and the part of spectra found first, and among ten, by their image."""
        embedded = [self.validation_embeddings(batch) for batch in batches]
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
    """Build a stage for the pairs of a stream, fit its scaling to them, or begin with weights.

    Parameters
    ----------
    config : TrainConfig
    stream : PairsStream

    Returns
    -------
    StageTraining
    """
    from photospec.published.training import (
        PublishedContrastiveTraining,
        PublishedDiffusionTraining,
    )

    diffusion, contrastive = DiffusionTraining, ContrastiveTraining
    if config.architecture == "published":
        diffusion, contrastive = PublishedDiffusionTraining, PublishedContrastiveTraining
    kind = contrastive if config.stage == "contrastive" else diffusion
    with torch.random.fork_rng():
        training = kind(
            config,
            n_bands=len(stream.bands),
            image_size=stream.image_size,
            pixel_scale=stream.pixel_scale,
        )
    if config.fine_tuning.init:
        start_from(training.network, config, stream)
    if not (config.fine_tuning.init and config.fine_tuning.keep_scaling):
        step = max(1, stream.n_train // _N_SCALING)
        chosen = np.arange(0, stream.n_train, step)
        batch = stream.read(chosen)
        _check_sample(stream, chosen, batch)
        training.fit_scaling(batch)
    training.frozen = freeze(training.network, config)
    return training


def _check_sample(stream, numbers, batch):
    """Moments of all are lost to a single pair that is not finite."""
    usable = usable_batch(batch)
    if not usable.all():
        bad = numbers[~usable.numpy()]
        raise InputError(
            f"pairs: expected finite images and spectra with light at 5600 to 6900 Angstrom, got "
            f"{len(bad)} others among {len(numbers)} looked at (the first is "
            f"{stream.name_of(bad[0])}); are they masked throughout? data.selection 'usable' "
            "leaves such pairs out"
        )
