"""What differs between the stages: set-up from data, loss of a batch, validation.

Another architecture has subclasses of its own (`photospec.training.register_architecture`).
"""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch

from photospec.errors import InputError
from photospec.networks.contrastive import nt_xent
from photospec.networks.scaling import upsample
from photospec.networks.sizes import build
from photospec.training.data import usable_batch
from photospec.training.distributed import gather
from photospec.training.extensions import TRAININGS
from photospec.training.line_weights import line_weights
from photospec.training.other_survey import take_over
from photospec.training.settings import WEIGHTS, TrainConfig, describe_weights
from photospec.weights import load_module, load_stage

__all__ = [
    "ContrastiveTraining",
    "DiffusionTraining",
    "StageTraining",
    "freeze",
    "make_training",
    "start_from",
    "transformer_training",
]

# Galaxies whose moments set the scaling of images and spectra: then known to 2 % (1 / 64).
_N_SCALING = 4096
_SAMPLER = "dpm-solver++"


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
        """Build the stage's module with random weights."""
        return build(
            self.config.stage,
            self.config.size,
            n_bands=n_bands,
            image_size=image_size,
            pixel_scale=pixel_scale,
        )

    @abstractmethod
    def compiled(self):
        """Return the parts of the network that ``compile`` is about."""

    @abstractmethod
    def fit_scaling(self, batch):
        """Set the network's scalings from a `PairsBatch` of training pairs."""

    @abstractmethod
    def loss(self, batch, generator):
        """Return mean loss of a `PairsBatch`, a scalar; what is random comes from the generator."""

    @abstractmethod
    def validate(self, batches):
        """Return numbers by name, ``loss`` among them, over held-out batches."""

    def load_spectrograph(self, folder, weights):
        """Fill the network from a spectrograph of its architecture.

        Parameters
        ----------
        folder : pathlib.Path
        weights : photospec.weights.WeightsConfig
            What the folder says of itself.

        Raises
        ------
        InputError
            Another network than that of the settings.
        """
        config = self.config
        if weights.size(config.stage) != config.size:
            raise _other_network(config)
        load_stage(self.network, folder, config.stage)

    def load_other_survey(self, folder, weights, bands):
        """Fill what can be filled of the network from a spectrograph of another survey.

        Parameters
        ----------
        folder : pathlib.Path
        weights : photospec.weights.WeightsConfig
        bands : tuple of str
            Of the pairs.

        Raises
        ------
        InputError
            Weights of a run, which do not say their bands; of another architecture.
        """
        if isinstance(weights, TrainConfig):
            raise InputError(
                f"init: expected the spectrograph of another survey, got a run, {folder}; pack it"
            )
        stage = self.config.stage
        theirs = load_stage(weights.build(stage), folder, stage)
        take_over(self.network, theirs, bands, weights.bands)

    def train(self, mode=True):
        """Set the mode as of any module; what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self


class DiffusionTraining(StageTraining):
    """Base or super-resolution stage: denoising loss at random noise levels."""

    def compiled(self):
        """Return the encoder and the denoising network."""
        return [self.network.encoder, self.network.network]

    def fit_scaling(self, batch):
        """Set the network's scalings of images, spectra and redshifts."""
        self.network.encoder.fit_scaling(batch.image)
        self.network.scaling.fit(batch.flux)
        if getattr(self.network, "density", None) is not None:
            self.network.density.fit_scaling(batch.redshift)

    def loss(self, batch, generator):
        """Return the mean denoising loss of a batch, a scalar."""
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

    @torch.no_grad()
    def candidates(self, batch, n_candidates, *, n_steps, generator):
        """Draw candidates for held-out pairs.

        Parameters
        ----------
        batch : PairsBatch
        n_candidates, n_steps : int
        generator : torch.Generator

        Returns
        -------
        candidates : tensor (n_galaxies, n_candidates, n_wave)
            Standardised logarithmic spectra on the stage's grid.
        truth : tensor (n_galaxies, n_wave)
        """
        network, device = self.network, batch.image.device
        n = len(batch.image)

        def noise(length):
            return torch.randn(n * n_candidates, length, generator=generator).to(device)

        options = {"sampler": _SAMPLER, "n_steps": n_steps}
        base = network.scaling.base(batch.flux)
        context = network.encode(batch.image)
        if self.config.stage == "base":
            redshift = None
            if network.density is not None:
                uniform = torch.rand(n, n_candidates, generator=generator)
                redshift = network.draw_redshift(batch.image, context, uniform)
            drawn, _ = network.sample(context, noise(network.length), redshift=redshift, **options)
            truth = base
        else:
            base = base.repeat_interleave(n_candidates, dim=0)
            redshift = batch.redshift
            if redshift is not None:
                redshift = redshift.repeat_interleave(n_candidates)
            drawn, _ = network.sample(
                context,
                base,
                noise(network.length),
                noise(base.shape[-1]),
                redshift=redshift,
                **options,
            )
            truth = network.scaling.fine(batch.flux)
        return drawn.float().view(n, n_candidates, -1), truth

    def validate(self, batches):
        """Return the mean denoising loss over held-out batches, the same noise every time."""
        generator = torch.Generator().manual_seed(self.config.seed)
        losses = [self.loss(batch, generator) for batch in batches]
        return {"loss": torch.stack(losses).mean().item()}


class ContrastiveTraining(StageTraining):
    """Contrastive network: cross-entropy of pairing images and spectra.

    Half of the spectra come through the base grid, so that candidates of both stages of
    the cascade can be ranked.
    """

    def compiled(self):
        """Return both encoders."""
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
        """Return embeddings of images and spectra of a training batch."""
        coarse = torch.rand(len(batch.flux), generator=generator) < 0.5
        return self._embed(batch, coarse.to(batch.flux.device))

    def validation_embeddings(self, batch):
        """Return the same as `training_embeddings`, nothing at random."""
        return self._embed(
            batch, torch.zeros(len(batch.flux), dtype=bool, device=batch.flux.device)
        )

    def loss(self, batch, generator):
        """Return the contrastive loss of a batch, a scalar."""
        # Those of other processes are negatives too.
        image, spectrum = map(gather, self.training_embeddings(batch, generator))
        return nt_xent(image, spectrum, self.config.temperature)

    def validate(self, batches):
        """Return the loss and the part of spectra found first, and among ten, by their image."""
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


def transformer_training(config, **shape):
    """Make the `StageTraining` of a stage of the architecture ``"transformer"``."""
    kind = ContrastiveTraining if config.stage == "contrastive" else DiffusionTraining
    return kind(config, **shape)


TRAININGS.register("transformer", transformer_training)


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
    make = TRAININGS.get(config.architecture)
    with torch.random.fork_rng():
        training = make(
            config,
            n_bands=len(stream.bands),
            image_size=stream.image_size,
            pixel_scale=stream.pixel_scale,
        )
    if config.fine_tuning.init:
        start_from(training, stream)
    tuning = config.fine_tuning
    if not (tuning.init and tuning.keep_scaling and not tuning.other_survey):
        step = max(1, stream.n_train // _N_SCALING)
        chosen = np.arange(0, stream.n_train, step)
        batch = stream.read(chosen)
        _check_sample(stream, chosen, batch)
        training.fit_scaling(batch)
    training.frozen = freeze(training)
    return training


def _check_sample(stream, numbers, batch):
    """Refuse pairs that are not finite: a single one would spoil the moments of all."""
    usable = usable_batch(batch)
    if not usable.all():
        bad = numbers[~usable.numpy()]
        raise InputError(
            f"pairs: expected finite images and spectra with light at 5600 to 6900 Angstrom, got "
            f"{len(bad)} others among {len(numbers)} looked at (the first is "
            f"{stream.name_of(bad[0])}); are they masked throughout? data.selection 'usable' "
            "leaves such pairs out"
        )


def start_from(training, stream):
    """Fill the network of a stage with the weights that its settings name.

    Parameters
    ----------
    training : StageTraining
    stream : PairsStream
        Its images have to be like those of the weights.

    Raises
    ------
    InputError
        The weights are of another stage, network or kind of image.
    """
    config = training.config
    folder = Path(config.fine_tuning.init)
    found = describe_weights(folder, config.stage)
    if found.architecture != config.architecture:
        raise _other_network(config)
    if config.fine_tuning.other_survey:
        training.load_other_survey(folder, found, stream.bands)
        return
    if isinstance(found, TrainConfig):
        if found.size != config.size:
            raise _other_network(config)
        load_module(training.network, folder / WEIGHTS)
        return
    for name, theirs, ours in (
        ("bands", tuple(found.bands), tuple(stream.bands)),
        ("pixel_scale", found.pixel_scale, stream.pixel_scale),
        ("image_size", found.image_size, stream.image_size),
    ):
        if theirs != ours:
            raise InputError(f"init: expected weights for {name} {ours}, got {theirs} in {folder}")
    training.load_spectrograph(folder, found)


def _other_network(config):
    """Return the error for weights of another network than that of the settings."""
    return InputError(
        f"init: expected weights of the network in the settings, got another one in "
        f"{config.fine_tuning.init}; --init without --config takes that network"
    )


def freeze(training):
    """Leave the parts of a network that the settings name out of the training.

    Parameters
    ----------
    training : StageTraining

    Returns
    -------
    list of torch.nn.Module
        The modules frozen, to be kept in evaluation mode.

    Raises
    ------
    InputError
        The network, as it was configured, has no such part.
    """
    network, config, modules = training.network, training.config, []
    for name in config.fine_tuning.frozen:
        prefixes = config.parts[name]
        found = [p for key, p in network.named_parameters() if key.startswith(prefixes)]
        if not found:
            raise InputError(
                f"fine_tuning.frozen: expected parts of this network, got {name!r}, which it lacks"
            )
        for parameter in found:
            parameter.requires_grad_(False)
        modules += [m for key, m in network.named_modules() if f"{key}.".startswith(prefixes)]
    return modules
