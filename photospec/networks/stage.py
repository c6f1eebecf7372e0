"""One stage of the cascade: image encoder, denoising network and scaling together."""

import torch
from torch import nn

from photospec.networks.denoiser import Denoiser, GuidedDenoiser
from photospec.networks.image_encoder import ImageEncoder
from photospec.networks.process import Process
from photospec.networks.redshift_density import MAX_REDSHIFT, RedshiftDensity
from photospec.networks.samplers import make_sampler
from photospec.networks.scaling import N_BASE, N_FINE, SpectrumScaling, to_base, upsample
from photospec.networks.spectrum_transformer import SpectrumTransformer

__all__ = ["N_STEPS_BASE", "N_STEPS_SUPER_RESOLUTION", "BaseStage", "SuperResolutionStage"]

# The fewest whose spectra cannot be told from those of many steps: docs/networks.rst.
#: Steps of the base stage where the weights do not say.
N_STEPS_BASE = 9
#: The same of the super-resolution stage.
N_STEPS_SUPER_RESOLUTION = 3

# Smallest and largest noise and the exponent of the steps' spacing (Karras et al. 2022,
# eq. 5). Down to 0.05, 9 and 3 steps are as good as 9 and 5 steps down to 0.02; with the
# paper's exponent of 7 and 0.002 it was 6 and 12 % too wide in the two stages (18 and 10 steps).
_SPACING = (0.05, 160.0, 20.0)


class Stage(nn.Module):
    """Shared by both stages; subclasses say what is denoised and under which condition."""

    def __init__(self, image, network, process=None):
        super().__init__()
        self.process = Process(**(process or {}))
        self.encoder = ImageEncoder(**image)
        self.network = network
        self.scaling = SpectrumScaling(self.process.spectral_scaling)
        self.autocast = None
        #: Smallest and largest noise and exponent of `Schedule.karras_times`, of samples.
        self.spacing = _SPACING
        #: `FittedSteps` of the sampler "fitted".
        self.steps = None
        #: Of samples, see `GuidedDenoiser`; other than one needs weights trained with
        #: condition dropout.
        self.guidance = 1.0

    @property
    def denoiser(self):
        process = self.process
        return Denoiser(
            self.network,
            process.noise_schedule(),
            process.parametrisation,
            clip=process.clip,
            autocast=self.autocast,
        )

    def encode(self, image):
        """Encode images into context tokens ``(n_galaxies, m, width)``; once per galaxy."""
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

    def _hide(self, context, generator):
        """Put the context tokens of some galaxies to zero, while training."""
        if not (self.training and self.process.condition_dropout):
            return context
        seen = torch.rand(len(context), generator=generator) >= self.process.condition_dropout
        return context * seen.to(context)[:, None, None]

    def _diffusion_loss(self, target, condition, generator, variance=None, weight=None):
        t = self.process.draw_times(len(target), generator, self.log_noise)
        noise = torch.randn(target.shape, generator=generator).to(target.device)
        # Noise of the target adds to the scatter of spectra, one in these units.
        if variance is not None:
            weight = (1 if weight is None else weight) / (1 + variance)
        return self.denoiser.loss(target, t, noise, condition, weight)

    def _sample(self, noise, condition, sampler, n_steps, generator):
        denoiser = self.denoiser
        if self.guidance != 1.0:
            # One token of zeros is looked at like many of them.
            nothing = noise.new_zeros(1, 1, self.encoder.norm.normalized_shape[0])
            hidden = condition._replace(key_values=self._condition(nothing).key_values)
            denoiser = GuidedDenoiser(denoiser, hidden, self.guidance)
        if sampler == "fitted" and self.steps is not None:
            sampler = self.steps.sampler(denoiser, n_steps)
            return sampler.sample(noise, condition, generator), sampler.nfe
        times = None
        if self.process.schedule == "edm":
            times = denoiser.schedule.karras_times(n_steps, *self.spacing)
        sampler = make_sampler(sampler, denoiser, n_steps, times=times)
        return sampler.sample(noise, condition, generator), sampler.nfe


class BaseStage(Stage):
    """Standardised base spectra ``(n, N_BASE)`` from images.

    Parameters
    ----------
    image, network : dict
        Options of `ImageEncoder` and `SpectrumTransformer`.
    redshift : bool
        Whether a candidate's redshift is drawn first, from the stage's `RedshiftDensity`.
    n_templates : int
        Of `RestTemplates`.
    max_redshift : float
        Candidates' redshifts lie between zero and this.
    process : dict
        Options of `Process`.
    """

    length = N_BASE
    log_noise = (0.5, 1.8)  # mean and standard deviation of log sigma in training
    # Of the redshift density in the loss: three times as much as denoising, as the features of the
    # encoder are what decides how sharp redshifts are.
    density_weight = 0.1

    def __init__(
        self,
        *,
        image=None,
        network=None,
        redshift=False,
        n_templates=0,
        max_redshift=MAX_REDSHIFT,
        process=None,
    ):
        options = {"redshift": redshift, "n_templates": n_templates, "max_redshift": max_redshift}
        options |= network or {}
        network = SpectrumTransformer(N_BASE, **options)
        super().__init__(image or {}, network, process)
        #: `RedshiftDensity` that redshifts of candidates come from, or None.
        self.density = None
        if redshift:
            self.density = RedshiftDensity(*self.encoder.sizes, max_redshift=max_redshift)

    def loss(
        self, image, flux, *, redshift=None, n_draws=1, generator=None, ivar=None, weight=None
    ):
        """Return the loss ``(n * n_draws,)`` of denoising and density, of fluxes ``(n, N_FINE)``.

        Every galaxy is encoded once and noised ``n_draws`` times. With inverse variances
        ``(n, N_FINE)`` of the fluxes noisy bins count less, and those with 0 nothing; with
        weights ``(n, N_FINE)`` bins count as these say.
        """
        self._check_redshift(redshift)
        context = self.encode(image)
        target = self.scaling.base(flux).repeat_interleave(n_draws, dim=0)
        variance = None
        if ivar is not None:
            variance = self.scaling.base_variance(flux, ivar).repeat_interleave(n_draws, dim=0)
        if weight is not None:
            weight = to_base(weight).repeat_interleave(n_draws, dim=0)
        shown = self._hide(context, generator)
        if self.density is None:
            condition = self._condition(shown)
            return self._diffusion_loss(target, condition, generator, variance, weight)
        density = self.density.loss(self.encoder.standardised(image), context, redshift)
        condition = self._condition(shown, redshift=redshift.repeat_interleave(n_draws))
        loss = self._diffusion_loss(target, condition, generator, variance, weight)
        return loss + self.density_weight * density.repeat_interleave(n_draws)

    def draw_redshift(self, image, context, uniform):
        """Draw redshifts ``(n_galaxies * n_candidates,)`` from the density.

        Parameters
        ----------
        image : tensor (n_galaxies, n_bands, size, size)
        context : tensor (n_galaxies, m, width)
        uniform : tensor (n_galaxies, n_candidates)
            Quantiles of each galaxy's density.
        """
        return self.density.draw(self.encoder.standardised(image), context, uniform).flatten()

    def expected_redshift(self, image, context):
        """Return the mean redshifts ``(n_galaxies,)`` of the density."""
        return self.density.expected(self.encoder.standardised(image), context)

    def seen(self, context, *, redshift=None):
        """Return the `Condition` that `sample` gives the network."""
        self._check_redshift(redshift)
        return self._condition(context, redshift=redshift)

    def sample(
        self,
        context,
        noise,
        *,
        redshift=None,
        sampler="dpm-solver++",
        n_steps=N_STEPS_BASE,
        generator=None,
    ):
        """Return base spectra from noise ``(n_galaxies * n_candidates, N_BASE)``, and the nfe.

        The noise of ancestral steps comes from `generator`, see `Sampler.sample`.
        """
        condition = self.seen(context, redshift=redshift)
        return self._sample(noise, condition, sampler, n_steps, generator)


class SuperResolutionStage(Stage):
    """Standardised fine spectra ``(n, N_FINE)`` from images and base spectra.

    The base spectrum it trains on carries noise of a random level, which it is told, so
    that the imperfect one from the base stage is nothing new (noise conditioning
    augmentation: Ho et al. 2022, arXiv:2106.15282). What it denoises is the detail that
    the noisy base spectrum lacks, so it can also repair that.
    """

    length = N_FINE
    log_noise = (-0.5, 1.5)

    def __init__(
        self,
        *,
        image=None,
        network=None,
        redshift=False,
        n_templates=0,
        max_redshift=MAX_REDSHIFT,
        process=None,
    ):
        options = {"redshift": redshift, "n_templates": n_templates, "max_redshift": max_redshift}
        options |= network or {}
        network = SpectrumTransformer(N_FINE, low_resolution=True, **options)
        super().__init__(image or {}, network, process)

    def loss(
        self, image, flux, *, redshift=None, n_draws=1, generator=None, ivar=None, weight=None
    ):
        """Return the loss as `BaseStage.loss` does, of denoising alone."""
        self._check_redshift(redshift)
        fine = self.scaling.fine(flux).repeat_interleave(n_draws, dim=0)
        base = self.scaling.base(flux).repeat_interleave(n_draws, dim=0)
        n = len(fine)
        level = self.process.max_augmentation * torch.rand(n, generator=generator).to(fine.device)
        noise = torch.randn(base.shape, generator=generator).to(fine.device)
        low = upsample(base + level[:, None] * noise)
        target = self.scaling.detail(fine, low)
        redshift_per_draw = None if redshift is None else redshift.repeat_interleave(n_draws)
        context = self._hide(self.encode(image), generator)
        condition = self._condition(
            context, low, self._relative_noise(level), redshift=redshift_per_draw
        )
        variance = None
        if ivar is not None:
            scale = self.scaling.std / self.scaling.detail_std
            variance = self.scaling.fine_variance(flux, ivar) * scale**2
            variance = variance.repeat_interleave(n_draws, dim=0)
        if weight is not None:
            weight = weight.repeat_interleave(n_draws, dim=0)
        return self._diffusion_loss(target, condition, generator, variance, weight)

    def _relative_noise(self, level):
        """Return augmentation noise over its largest in training, 0 to 1: the network's input."""
        most = self.process.max_augmentation
        return level / most if most else level

    def seen(self, context, base, augmentation_noise, *, redshift=None):
        """Return the base spectra as the network sees them, on the fine grid, and its `Condition`.

        Arguments are those of `sample`.
        """
        self._check_redshift(redshift)
        level = self.process.inference_augmentation
        low = upsample(base + level * augmentation_noise)
        level = self._relative_noise(torch.full((1,), level, device=base.device))
        level = level.expand(len(base))
        return low, self._condition(context, low, level, redshift=redshift)

    def sample(
        self,
        context,
        base,
        noise,
        augmentation_noise,
        *,
        redshift=None,
        sampler="dpm-solver++",
        n_steps=N_STEPS_SUPER_RESOLUTION,
        generator=None,
    ):
        """Sample fine spectra for base spectra ``(n, N_BASE)``; return them and the nfe.

        Parameters
        ----------
        context : tensor (n_galaxies, m, width)
        base : tensor (n, N_BASE)
            Standardised base spectra, galaxy by galaxy.
        noise : tensor (n, N_FINE)
            Starting noise.
        augmentation_noise : tensor (n, N_BASE)
            Unit noise added to the condition at the level ``process.inference_augmentation``.
        redshift : tensor (n,), optional
            For networks that take it.
        generator : torch.Generator or sequence of them, optional
            Of the noise of ancestral steps, see `Sampler.sample`.
        """
        low, condition = self.seen(context, base, augmentation_noise, redshift=redshift)
        detail, nfe = self._sample(noise, condition, sampler, n_steps, generator)
        return self.scaling.add_detail(detail, low), nfe
