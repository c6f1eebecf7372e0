"""One stage of the cascade: image encoder, denoising network and scaling together."""

import torch
from torch import nn

from .denoiser import Denoiser
from .image_encoder import ImageEncoder
from .redshift_density import RedshiftDensity
from .samplers import SAMPLERS
from .scaling import N_BASE, N_FINE, SpectrumScaling, upsample
from .schedule import EDMSchedule
from .spectrum_transformer import SpectrumTransformer

__all__ = ["BaseStage", "SuperResolutionStage"]

# Spectra enter with unit variance (`SpectrumScaling`). Neighbouring bins are strongly
# correlated: the colour of a spectrum of N bins shows through white noise of sqrt(N) times
# its amplitude, so the noisiest level has to lie far above one, and training noise too.
SCHEDULE = EDMSchedule(sigma_min=0.002, sigma_max=160.0)


class Stage(nn.Module):
    """Shared by both stages; subclasses say what is denoised and under which condition."""

    def __init__(self, image, network):
        super().__init__()
        self.encoder = ImageEncoder(**image)
        self.network = network
        self.scaling = SpectrumScaling()
        self.autocast = None
        #: Noise level put on, and told about, a base spectrum; super-resolution only.
        self.augmentation = None

    @property
    def denoiser(self):
        return Denoiser(self.network, SCHEDULE, "edm", autocast=self.autocast)

    def encode(self, image):
        """Context tokens ``(n_galaxies, m, width)``; once per galaxy."""
        with torch.autocast(
            image.device.type, dtype=self.autocast or torch.bfloat16, enabled=bool(self.autocast)
        ):
            return self.encoder(image)

    def _condition(self, context, *args, **options):
        with torch.autocast(
            context.device.type, dtype=self.autocast or torch.bfloat16, enabled=bool(self.autocast)
        ):
            return self.network.condition(context, *args, **options)

    def _check_redshift(self, redshift):
        if self.network.rest is not None and redshift is None:
            raise ValueError("redshift: expected redshifts, which this network takes, got none")

    def _diffusion_loss(self, target, condition, generator):
        t = SCHEDULE.draw_times(len(target), generator, *self.log_noise)
        noise = torch.randn(target.shape, generator=generator).to(target.device)
        return self.denoiser.loss(target, t, noise, condition)

    def _sample(self, noise, condition, sampler, n_steps):
        sampler = SAMPLERS[sampler](self.denoiser, n_steps)
        return sampler.sample(noise, condition), sampler.nfe


class BaseStage(Stage):
    """Standardised base spectra ``(n, N_BASE)`` from images.

    Parameters
    ----------
    image, network : dict
        Options of `ImageEncoder` and `SpectrumTransformer`.
    redshift : bool
        Whether a candidate's redshift is drawn first, from the stage's `RedshiftDensity`.
    """

    length = N_BASE
    log_noise = (0.5, 1.8)  # mean and standard deviation of log sigma in training
    density_weight = 0.03  # of the redshift density in the loss: as much as denoising

    def __init__(self, *, image=None, network=None, redshift=False):
        network = SpectrumTransformer(N_BASE, redshift=redshift, **(network or {}))
        super().__init__(image or {}, network)
        #: `RedshiftDensity` that redshifts of candidates come from, or None.
        self.density = RedshiftDensity(*self.encoder.sizes) if redshift else None

    def loss(self, image, flux, *, redshift=None, n_draws=1, generator=None):
        """Loss ``(n * n_draws,)`` of images and fluxes ``(n, N_FINE)``: denoising and density.

        Every galaxy is encoded once and noised ``n_draws`` times.
        """
        self._check_redshift(redshift)
        context = self.encode(image)
        target = self.scaling.base(flux).repeat_interleave(n_draws, dim=0)
        if self.density is None:
            return self._diffusion_loss(target, self._condition(context), generator)
        density = self.density.loss(self.encoder.standardised(image), context, redshift)
        told = redshift.repeat_interleave(n_draws)
        loss = self._diffusion_loss(target, self._condition(context, redshift=told), generator)
        return loss + self.density_weight * density.repeat_interleave(n_draws)

    def draw_redshift(self, image, context, uniform):
        """Redshifts ``(n_galaxies * n_candidates,)`` from the density.

        Parameters
        ----------
        image : tensor (n_galaxies, n_bands, size, size)
        context : tensor (n_galaxies, m, width)
        uniform : tensor (n_galaxies, n_candidates)
            Quantiles of each galaxy's density.
        """
        return self.density.draw(self.encoder.standardised(image), context, uniform).flatten()

    def sample(self, context, noise, *, redshift=None, sampler="dpm-solver++", n_steps=18):
        """Base spectra for noise ``(n_galaxies * n_candidates, N_BASE)`` and the nfe."""
        self._check_redshift(redshift)
        return self._sample(noise, self._condition(context, redshift=redshift), sampler, n_steps)


class SuperResolutionStage(Stage):
    """Standardised fine spectra ``(n, N_FINE)`` from images and base spectra.

    The base spectrum it trains on carries noise of a random level, which it is told, so
    that the imperfect one from the base stage is nothing new (noise conditioning
    augmentation: Ho et al. 2022, arXiv:2106.15282). What it denoises is the detail that
    the noisy base spectrum lacks, so it can also repair that.
    """

    length = N_FINE
    log_noise = (-0.5, 1.5)
    max_augmentation = 0.1
    inference_augmentation = 0.02

    def __init__(self, *, image=None, network=None, redshift=False):
        network = SpectrumTransformer(
            N_FINE, low_resolution=True, redshift=redshift, **(network or {})
        )
        super().__init__(image or {}, network)

    def loss(self, image, flux, *, redshift=None, n_draws=1, generator=None):
        """As `BaseStage.loss`, of denoising alone."""
        self._check_redshift(redshift)
        fine = self.scaling.fine(flux).repeat_interleave(n_draws, dim=0)
        base = self.scaling.base(flux).repeat_interleave(n_draws, dim=0)
        n = len(fine)
        level = self.max_augmentation * torch.rand(n, generator=generator).to(fine.device)
        noise = torch.randn(base.shape, generator=generator).to(fine.device)
        low = upsample(base + level[:, None] * noise)
        target = self.scaling.detail(fine, low)
        told = None if redshift is None else redshift.repeat_interleave(n_draws)
        condition = self._condition(
            self.encode(image), low, level / self.max_augmentation, redshift=told
        )
        return self._diffusion_loss(target, condition, generator)

    def sample(
        self,
        context,
        base,
        noise,
        augmentation_noise,
        *,
        redshift=None,
        sampler="dpm-solver++",
        n_steps=10,
    ):
        """Fine spectra for base spectra ``(n, N_BASE)`` and the nfe.

        Parameters
        ----------
        context : tensor (n_galaxies, m, width)
        base : tensor (n, N_BASE)
            Standardised base spectra, galaxy by galaxy.
        noise : tensor (n, N_FINE)
            Starting noise.
        augmentation_noise : tensor (n, N_BASE)
            Unit noise added to the condition at the level `inference_augmentation`.
        redshift : tensor (n,), optional
            For networks that take it.
        """
        self._check_redshift(redshift)
        level = self.inference_augmentation
        low = upsample(base + level * augmentation_noise)
        told = torch.full((len(base),), level / self.max_augmentation, device=base.device)
        condition = self._condition(context, low, told, redshift=redshift)
        detail, nfe = self._sample(noise, condition, sampler, n_steps)
        return self.scaling.add_detail(detail, low), nfe
