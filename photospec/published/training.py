"""The published networks in training: images and fluxes in, the published losses out.

Spectra are divided by their mean over 6900-6950 Angstrom, take the logarithm, and, for the
base stage, every eighth bin; images are enlarged, cropped and standardised by band
(arXiv:2406.18175). What is trained are `PublishedDenoiser` and `PublishedContrastive`, so
that their weights are those of a published checkpoint.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import interpolate

from photospec.errors import InputError
from photospec.networks.denoiser import Denoiser
from photospec.networks.samplers import make_sampler
from photospec.networks.scaling import BLOCK, FLOOR, N_BASE, N_FINE, SPECTRAL_SCALINGS
from photospec.published.cascade import CROPPED, RESIZED
from photospec.published.contrastive import PublishedContrastive
from photospec.published.denoiser import PublishedDenoiser
from photospec.published.schedule import PublishedSchedule
from photospec.published.spectrograph import PublishedConfig
from photospec.training.run_folder import WEIGHTS
from photospec.training.stages import ContrastiveTraining, DiffusionTraining
from photospec.weights import FILES, load_module

__all__ = [
    "PublishedContrastiveStage",
    "PublishedContrastiveTraining",
    "PublishedDiffusionStage",
    "PublishedDiffusionTraining",
    "build_published",
    "pack_published",
    "published_training",
]

# 6900-6950 Angstrom on the grid that starts at 4000.
NORMALISATION = slice(2900, 2950)
_N_BANDS = 5  # the published encoder is built for ugriz
_CENTRE = round((RESIZED - CROPPED) / 2)


class _PublishedStage(nn.Module):
    """Images and spectra as the published networks see them."""

    def __init__(self, size, n_bands):
        super().__init__()
        if n_bands != _N_BANDS:
            raise InputError(
                f"pairs: expected images of {_N_BANDS} bands for published networks, got {n_bands}"
            )
        self.size = size
        self.autocast = None
        self.register_buffer("image_mean", torch.zeros(n_bands))
        self.register_buffer("image_std", torch.ones(n_bands))

    @torch.no_grad()
    def fit_scaling(self, image):
        """Set mean and standard deviation of each band's pixels from training images."""
        if not self.size.standardise:
            return
        pixels = torch.cat([self._crop(part) for part in image.split(64)])
        self.image_mean.copy_(pixels.double().mean((0, 2, 3)))
        self.image_std.copy_(pixels.double().std((0, 2, 3)).clamp_min(1e-6))

    @staticmethod
    def _crop(image, shift=None):
        image = interpolate(image, (RESIZED, RESIZED), mode="bilinear", antialias=True)
        if shift is None:
            return image[..., _CENTRE : _CENTRE + CROPPED, _CENTRE : _CENTRE + CROPPED]
        return torch.stack(
            [one[:, y : y + CROPPED, x : x + CROPPED] for one, (y, x) in zip(image, shift.tolist())]
        )

    def prepare(self, image, crop=0, generator=None):
        """Standardise images in nanomaggies, ``(n, n_bands, 64, 64)``.

        With ``crop`` at random places up to that many pixels off the centre.
        """
        shift = None
        if crop:
            low, high = max(0, _CENTRE - crop), min(RESIZED - CROPPED, _CENTRE + crop)
            place = torch.rand(len(image), 2, generator=generator)
            shift = low + (place * (high - low + 1)).long()
        cropped = self._crop(image, shift)
        return (cropped - self.image_mean[:, None, None]) / self.image_std[:, None, None]

    def fine(self, flux):
        """Turn fluxes ``(n, N_FINE)``, any unit, into what the networks see of them."""
        flux = flux / flux[..., NORMALISATION].mean(-1, keepdim=True)
        if self.size.spectral_scaling == "log":
            flux = flux.clamp_min(FLOOR)
        return SPECTRAL_SCALINGS[self.size.spectral_scaling][0](flux)

    def base(self, flux):
        """Turn fluxes into every eighth bin of `fine`."""
        return self.fine(flux)[..., ::BLOCK]

    def weight(self, flux, ivar):
        """Return the weights ``(n, N_FINE)`` of noisy bins: 1 / (1 + variance in what the networks
        see).
        """
        level = flux[..., NORMALISATION].mean(-1, keepdim=True)
        relative = flux / level
        if self.size.spectral_scaling == "log":
            relative = relative.clamp_min(FLOOR)
        slope = SPECTRAL_SCALINGS[self.size.spectral_scaling][2](relative) / level
        return 1 / (1 + slope**2 / ivar)

    def _mixed(self, x):
        dtype = self.autocast or torch.bfloat16
        return torch.autocast(x.device.type, dtype=dtype, enabled=self.autocast is not None)


class PublishedDiffusionStage(_PublishedStage):
    """A published denoiser in training.

    Parameters
    ----------
    size : PublishedSize
    super_resolution : bool
        Which of the two stages.
    n_bands : int
    """

    def __init__(self, size, *, super_resolution, n_bands=_N_BANDS):
        super().__init__(size, n_bands)
        self.super_resolution = super_resolution
        self.length = N_FINE if super_resolution else N_BASE
        self.denoiser = PublishedDenoiser(
            size.schedule,
            size.n_times,
            n_channels=2 if super_resolution else 1,
            conditioning=size.conditioning,
            widths=size.widths,
            attention_depths=size.attention_depths,
            time_width=size.time_width,
            n_bands=n_bands,
            image_width=size.image_width,
            length=self.length,
        )

    @property
    def published(self):
        """The network without what it is trained with."""
        return self.denoiser

    def loss(self, image, flux, *, n_draws=1, generator=None, crop=0, ivar=None):
        """Return the mean square error ``(n * n_draws,)`` of the predicted noise, at uniform times.

        Ho et al. 2020 (arXiv:2006.11239), eq. 14. Every galaxy is encoded once and noised
        ``n_draws`` times; inverse variances weight the bins.
        """
        prepared = self.prepare(image, crop, generator)
        spectrum = self.fine(flux) if self.super_resolution else self.base(flux)
        x_0 = spectrum.repeat_interleave(n_draws, dim=0)[:, None]
        n = len(x_0)
        k = (torch.rand(n, generator=generator) * self.size.n_times).long().to(x_0.device)
        noise = torch.randn(n, 1, self.length, generator=generator).to(x_0.device)
        signal = self.denoiser.diffusion.cumalphas[k][:, None, None]
        x_k = signal.sqrt() * x_0 + (1 - signal).sqrt() * noise
        low = self.base(flux).repeat_interleave(n_draws, dim=0)[:, None]
        with self._mixed(x_0):
            tokens = self.denoiser.tokens(prepared)
            if tokens is not None:
                tokens = tokens.repeat_interleave(n_draws, dim=0)
            answer = self.denoiser.predict_noise(
                x_k, k.float(), tokens, low if self.super_resolution else None
            )
        error = (answer.float() - noise).square()[:, 0]
        if ivar is None:
            return error.mean(1)
        weight = self.weight(flux, ivar)
        weight = weight if self.super_resolution else weight[..., ::BLOCK]
        weight = weight.repeat_interleave(n_draws, dim=0)
        return (weight * error).mean(1) / weight.mean().clamp_min(1e-12)

    @torch.no_grad()
    def sample(self, image, noise, base=None, *, sampler="dpm-solver++", n_steps=25, clip=None):
        """Draw spectra in few steps; `PublishedSampler` is the published, slow way.

        Parameters
        ----------
        image : tensor (n_galaxies, n_bands, ny, nx)
            Nanomaggies.
        noise : tensor (n_galaxies * n_candidates, length)
        base : tensor (n_galaxies * n_candidates, N_BASE), optional
            Condition of the super-resolution stage.
        clip : (float, float), optional
            Bounds of the estimated clean spectra, without which those of a network that has
            learnt little diverge.

        Returns
        -------
        tensor (n_galaxies * n_candidates, length)
        """
        tokens = self.denoiser.tokens(self.prepare(image))
        if tokens is not None:
            tokens = tokens.repeat_interleave(len(noise) // len(image), dim=0)
        low = None if base is None else base[:, None]

        def network(x, k, condition):
            return self.denoiser.predict_noise(x[:, None], k, tokens, low)[:, 0]

        schedule = PublishedSchedule(self.denoiser.diffusion.cumalphas)
        denoiser = Denoiser(network, schedule, "epsilon", clip=clip, autocast=self.autocast)
        return make_sampler(sampler, denoiser, n_steps).sample(noise)


class PublishedContrastiveStage(_PublishedStage):
    """The published contrastive network in training.

    Parameters
    ----------
    size : PublishedSize
    n_bands : int
    """

    def __init__(self, size, *, n_bands=_N_BANDS):
        super().__init__(size, n_bands)
        self.contrastive = PublishedContrastive(
            size.embedding_size,
            widths=size.spectrum_widths,
            n_bands=n_bands,
            image_width=size.image_width,
        )

    @property
    def published(self):
        """The network without what it is trained with."""
        return self.contrastive

    def forward(self, image, flux, *, crop=0, generator=None):
        """Return both embeddings, ``(n, embedding_size)`` each, in the order of the galaxies.

        Where the network is for both kinds of spectra, every other galaxy comes with its base
        spectrum.
        """
        prepared = self.prepare(image, crop, generator)
        kind = self.size.contrastive_spectra
        base = torch.zeros(len(flux), dtype=torch.bool)
        if kind == "base":
            base[:] = True
        elif kind == "both":
            base[::2] = True
        with self._mixed(flux):
            embedded = self.contrastive.embed_image(prepared).float()
            spectra = embedded.new_empty(embedded.shape)
            for chosen, view in ((base, self.base), (~base, self.fine)):
                if chosen.any():
                    found = self.contrastive.embed_spectrum(view(flux[chosen]))
                    spectra[chosen.to(flux.device)] = found.float()
        return embedded, spectra


def build_published(stage, size, *, n_bands):
    """Build a published network in training, with random weights.

    Parameters
    ----------
    stage : {"contrastive", "base", "super-resolution"}
    size : PublishedSize
    n_bands : int

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    InputError
        Other than five bands.
    """
    if stage == "contrastive":
        return PublishedContrastiveStage(size, n_bands=n_bands)
    return PublishedDiffusionStage(
        size, super_resolution=stage == "super-resolution", n_bands=n_bands
    )


class _Published:
    """What both kinds share."""

    def make_network(self, n_bands, image_size, pixel_scale):
        """Build the stage's module with random weights."""
        return build_published(self.config.stage, self.config.published, n_bands=n_bands)

    def fit_scaling(self, batch):
        """Set mean and deviation of the images' bands."""
        self.network.fit_scaling(batch.image)

    def load_spectrograph(self, folder, weights):
        """See `StageTraining.load_spectrograph`; sizes are those of the settings."""
        load_module(self.network.published, folder / FILES[self.config.stage])
        if weights.image_mean:
            self.network.image_mean.copy_(torch.tensor(weights.image_mean))
            self.network.image_std.copy_(torch.tensor(weights.image_std))

    @property
    def crop(self):
        """Largest shift of a random crop, now."""
        return self.config.data.crop if self.training and self.config.augment else 0


class PublishedDiffusionTraining(_Published, DiffusionTraining):
    """Published denoiser: mean square error of the noise at uniform times."""

    def compiled(self):
        """Return the U-Net."""
        return [self.network.denoiser.unet]

    def loss(self, batch, generator):
        """Return the mean denoising loss of a batch, a scalar."""
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
        """Draw candidates, see `photospec.training.validation.draw_candidates`."""
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
        """Return both networks."""
        return [self.network.contrastive.image_model, self.network.contrastive.spectrum_model]

    def training_embeddings(self, batch, generator):
        """Return embeddings of images and spectra of a training batch."""
        return self.network(batch.image, batch.flux, crop=self.crop, generator=generator)

    def validation_embeddings(self, batch):
        """Return the same as `training_embeddings`, nothing at random."""
        return self.network(batch.image, batch.flux)


def published_training(config, **shape):
    """Make the `StageTraining` of a published stage."""
    contrastive = config.stage == "contrastive"
    kind = PublishedContrastiveTraining if contrastive else PublishedDiffusionTraining
    return kind(config, **shape)


def pack_published(runs, config, sizes, *, pairs=None, domain_pairs=None, sampling=None):
    """Join finished runs; the networks are those that a published checkpoint would hold.

    Parameters
    ----------
    runs : dict
        Run folder of each stage.
    config : SpectrographConfig
        Bands, pixels and line-spread function of the pairs, provenance.
    sizes : dict of PublishedSize
        By stage, with underscores.
    pairs, sampling
        Not used: published networks have no density to refine, and one way of sampling.

    Returns
    -------
    PublishedAdapter
    PublishedConfig

    Raises
    ------
    InputError
        The stages do not go together.
    """
    networks = {
        name: load_module(
            build_published(name.replace("_", "-"), size, n_bands=len(config.bands)),
            Path(runs[name.replace("_", "-")]) / WEIGHTS,
        )
        for name, size in sizes.items()
    }
    base, size = networks["base"], sizes["base"]
    for name, network in networks.items():
        same = network.image_mean.equal(base.image_mean) and network.image_std.equal(base.image_std)
        if not same or sizes[name].spectral_scaling != size.spectral_scaling:
            raise InputError(
                f"runs: expected the scalings of images and spectra of the base run in all, got "
                f"others in the {name} run; were they trained on other pairs?"
            )
    shared = ("bands", "image_size", "pixel_scale", "lsf_wavelength", "lsf_sigma", "provenance")
    standardised = size.standardise
    published = PublishedConfig(
        **{name: getattr(config, name) for name in shared},
        image_mean=tuple(base.image_mean.tolist()) if standardised else (),
        image_std=tuple(base.image_std.tolist()) if standardised else (),
        spectral_scaling=size.spectral_scaling,
    )
    states = {name: network.published.state_dict() for name, network in networks.items()}
    return published.assemble(states), published
