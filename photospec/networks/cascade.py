"""The cascade: base stage, super-resolution stage, and the contrastive network that ranks."""

from dataclasses import dataclass

import torch
from torch import nn

from photospec.networks.scaling import N_BASE, N_FINE, upsample
from photospec.networks.stage import N_STEPS_BASE, N_STEPS_SUPER_RESOLUTION

__all__ = ["Cascade", "Drawn"]

# Spectra per network call: enough to fill the processor, little enough for its caches.
_CHUNK = 128


@dataclass(frozen=True)
class Drawn:
    """Spectra drawn for images.

    Attributes
    ----------
    flux : tensor (n_images, n_candidates, N_FINE)
        Relative flux, mean one over the normalisation window.
    similarity : tensor (n_images, n_candidates)
        Cosine of image and spectrum embeddings.
    nfe : int
        Network evaluations per candidate, both stages together.
    redshift : tensor (n_images, n_candidates) or None
        At which they were drawn, by networks that draw the redshift first.
    expected_redshift : tensor (n_images,) or None
        Mean of the density that these come from.
    """

    flux: torch.Tensor
    similarity: torch.Tensor
    nfe: int
    redshift: torch.Tensor | None = None
    expected_redshift: torch.Tensor | None = None


class Cascade(nn.Module):
    """Two denoising stages and a contrastive network.

    Parameters
    ----------
    base : BaseStage
    super_resolution : SuperResolutionStage
    contrastive : ContrastiveNetwork
    domain : ImageDomain, optional
        Tells images that are unlike the training images.
    sampler : str or type
        Name of a sampler, or its class; see `photospec.networks.register_sampler`.
    n_steps_base, n_steps_super_resolution : int
        Steps of either stage.
    n_keep : int, optional
        Rank after the base stage too: refine only that many base spectra of each image, the
        most similar ones, and share the candidates among them. All by default.
    """

    def __init__(
        self,
        base,
        super_resolution,
        contrastive,
        domain=None,
        *,
        sampler="dpm-solver++",
        n_steps_base=N_STEPS_BASE,
        n_steps_super_resolution=N_STEPS_SUPER_RESOLUTION,
        n_keep=None,
    ):
        super().__init__()
        self.base = base
        self.super_resolution = super_resolution
        self.contrastive = contrastive
        self.domain = domain
        self.sampler = sampler
        self.n_steps_base = n_steps_base
        self.n_steps_super_resolution = n_steps_super_resolution
        self.n_keep = n_keep

    def set_precision(self, dtype):
        """Run the networks in ``torch.bfloat16`` or, with None, in float32."""
        for part in (self.base, self.super_resolution, self.contrastive):
            part.autocast = dtype

    @torch.no_grad()
    def sample(self, image, n_candidates, generators):
        """Draw candidates for images.

        Parameters
        ----------
        image : tensor (n_images, n_bands, size, size)
            Nanomaggies, the target in the centre.
        n_candidates : int
        generators : sequence of torch.Generator
            One per image, on the processor: an image draws the same noise alone or in a batch.

        Returns
        -------
        Drawn
        """
        per_call = max(1, _CHUNK // n_candidates)
        parts = [
            self._sample(image[i : i + per_call], n_candidates, generators[i : i + per_call])
            for i in range(0, len(image), per_call)
        ]

        def together(name):
            found = [getattr(part, name) for part in parts]
            return None if found[0] is None else torch.cat(found)

        return Drawn(
            together("flux"),
            together("similarity"),
            parts[0].nfe,
            together("redshift"),
            together("expected_redshift"),
        )

    def _sample(self, image, n_candidates, generators):
        n = len(image)

        def noise(length):
            drawn = [torch.randn(n_candidates, length, generator=g) for g in generators]
            return torch.cat(drawn).to(image.device)

        context = self.base.encode(image)
        redshift = expected = None
        if self.base.density is not None:
            # Independent, as ranks of the truth among the candidates are uniform only so.
            uniform = [torch.rand(n_candidates, generator=g).double() for g in generators]
            redshift = self.base.draw_redshift(image, context, torch.stack(uniform))
            expected = self.base.expected_redshift(image, context)
        base, nfe_base = self.base.sample(
            context,
            noise(N_BASE),
            redshift=redshift,
            sampler=self.sampler,
            n_steps=self.n_steps_base,
            generator=generators,
        )
        if self.n_keep is not None and self.n_keep < n_candidates:
            chosen = self._most_similar(image, base, n_candidates)
            base = base[chosen]
            redshift = None if redshift is None else redshift[chosen]
        fine, nfe_fine = self.super_resolution.sample(
            self.super_resolution.encode(image),
            base,
            noise(N_FINE),
            noise(N_BASE),
            redshift=redshift,
            sampler=self.sampler,
            n_steps=self.n_steps_super_resolution,
            generator=generators,
        )
        flux = self.super_resolution.scaling.flux(fine).view(n, n_candidates, -1)
        similarity = self.similarity(image, flux)
        redshift = None if redshift is None else redshift.view(n, n_candidates)
        return Drawn(flux, similarity, nfe_base + nfe_fine, redshift, expected)

    def _most_similar(self, image, base, n_candidates):
        """Rows of `base` to refine, (n_images * n_candidates,): the `n_keep` best, shared."""
        n = len(image)
        flux = self.base.scaling.flux(upsample(base)).view(n, n_candidates, -1)
        kept = self.similarity(image, flux).topk(self.n_keep, dim=1).indices
        share = torch.arange(n_candidates, device=kept.device) * self.n_keep // n_candidates
        first = torch.arange(n, device=kept.device)[:, None] * n_candidates
        return (first + kept[:, share]).flatten()

    @torch.no_grad()
    def embed_image(self, image):
        """Unit vectors ``(n, embedding_size)``."""
        with self._autocast(image):
            return self.contrastive.embed_image(image)

    @torch.no_grad()
    def embed_spectrum(self, flux):
        """Unit vectors ``(n, embedding_size)`` of fluxes ``(n, N_FINE)`` in any unit."""
        fine = self.contrastive.scaling.fine(flux)
        with self._autocast(flux):
            return self.contrastive.embed_spectrum(fine)

    @torch.no_grad()
    def strangeness(self, image):
        """How unlikely images are among the training images, ``(n,)``; above one is outside.

        None when the spectrograph has no `ImageDomain`.
        """
        if self.domain is None:
            return None
        return self.domain(self.base.encoder.standardised(image))

    def similarity(self, image, flux):
        """Cosine ``(n, m)`` of images ``(n, ...)`` with their spectra ``(n, m, N_FINE)``."""
        spectra = self.embed_spectrum(flux.flatten(0, 1)).view(*flux.shape[:2], -1)
        return torch.einsum("ne,nme->nm", self.embed_image(image), spectra)

    def _autocast(self, x):
        dtype = self.contrastive.autocast
        return torch.autocast(x.device.type, dtype=dtype or torch.bfloat16, enabled=bool(dtype))
