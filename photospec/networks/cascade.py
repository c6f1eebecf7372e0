"""The cascade: base stage, super-resolution stage, and the contrastive network that ranks."""

from dataclasses import dataclass

import torch
from torch import nn

from photospec.networks.batching import fill, in_batches
from photospec.networks.linear import use_integers
from photospec.networks.scaling import N_BASE, N_FINE, upsample
from photospec.networks.stage import N_STEPS_BASE, N_STEPS_SUPER_RESOLUTION

__all__ = ["Cascade", "Drawn"]

# Images per call of the encoders and spectra per call of the denoisers, always exactly so many
# (see `photospec.networks.batching`): a single image is filled up to these. On a processor
# 16 spectra, two images of eight candidates, are within a fifth of the speed of 64, and larger
# batches would make one image alone take longer; a graphics card is only busy with many.
_IMAGES = {"cpu": 8, "cuda": 128}
_SPECTRA = {"cpu": 16, "cuda": 2048}


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
    agn : tensor (n_images, 2) or None
        Score and probability of an active nucleus, see `LineClasses.agn`.
    """

    flux: torch.Tensor
    similarity: torch.Tensor
    nfe: int
    redshift: torch.Tensor | None = None
    expected_redshift: torch.Tensor | None = None
    agn: torch.Tensor | None = None


class Cascade(nn.Module):
    """Two denoising stages and a contrastive network.

    Parameters
    ----------
    base : BaseStage
    super_resolution : SuperResolutionStage
    contrastive : ContrastiveNetwork
    domain : ImageDomain, optional
        Tells images that are unlike the training images.
    line_classes : LineClasses, optional
        Tells active nuclei from the features of the base stage.
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
        line_classes=None,
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
        self.line_classes = line_classes
        self.sampler = sampler
        self.n_steps_base = n_steps_base
        self.n_steps_super_resolution = n_steps_super_resolution
        self.n_keep = n_keep

    def set_precision(self, dtype):
        """Run the networks in ``torch.bfloat16`` or, with None, in float32.

        With ``torch.int8`` the blocks of the denoising networks, nearly all of the arithmetic,
        multiply in integers, and all else runs in float32.
        """
        integers = dtype is torch.int8
        for stage in (self.base, self.super_resolution):
            use_integers(stage.network.blocks, integers)
        for part in (self.base, self.super_resolution, self.contrastive):
            part.autocast = None if integers else dtype

    @torch.no_grad()
    def sample(self, image, n_candidates, generators):
        """Draw candidates for images.

        Parameters
        ----------
        image : tensor (n_images, n_bands, size, size)
            Nanomaggies, the target in the centre.
        n_candidates : int
        generators : sequence of torch.Generator
            One per image, on the processor: an image draws the same noise alone or in a batch,
            and the same bits come of it.

        Returns
        -------
        Drawn
        """
        context = self._by_image(self.base.encode, image)
        redshift = expected = None
        if self.base.density is not None:
            # Independent, as ranks of the truth among the candidates are uniform only so.
            uniform = [torch.rand(n_candidates, generator=g).double() for g in generators]
            uniform = torch.stack(uniform).to(image.device)

            def draw(*known):
                return self.base.draw_redshift(*known).view(-1, n_candidates)

            redshift = self._by_image(draw, image, context, uniform)
            expected = self._by_image(self.base.expected_redshift, image, context)
        agn = None
        if self.line_classes is not None:
            agn = self._by_image(self._agn, image, context)
        fine_context = self._by_image(self.super_resolution.encode, image)
        embedding = self.embed_image(image)
        # Noise of the images that fill up the last batch.
        spare = torch.Generator().manual_seed(0)
        size = max(1, _SPECTRA[image.device.type] // n_candidates)
        parts = []
        for start in range(0, len(image), size):
            here = slice(start, start + size)
            n = len(image[here])
            known = [context, fine_context, embedding]
            known = [fill(rows[here], size) for rows in known]
            drawn_redshift = None if redshift is None else fill(redshift[here], size).flatten()
            noise = [*generators[here], *[spare] * (size - n)]
            flux, similarity, drawn_redshift, nfe = self._sample(
                *known, drawn_redshift, n_candidates, noise
            )
            parts.append(
                (flux[:n], similarity[:n], None if drawn_redshift is None else drawn_redshift[:n])
            )
        flux, similarity, drawn_redshift = (
            None if part[0] is None else torch.cat(part) for part in zip(*parts, strict=True)
        )
        return Drawn(flux, similarity, nfe, drawn_redshift, expected, agn)

    @torch.no_grad()
    def agn(self, image):
        """Return the score and probability ``(n, 2)`` of active nuclei, see `LineClasses.agn`.

        None when the spectrograph has no `LineClasses`.
        """
        if self.line_classes is None:
            return None
        return self._by_image(lambda some: self._agn(some, self.base.encode(some)), image)

    def _agn(self, image, context):
        return self.line_classes.agn(self.base.encoder.standardised(image), context)

    @staticmethod
    def _by_image(function, image, *more):
        """Apply a function of images, and of more rows of each, in batches of fixed size."""
        return in_batches(function, _IMAGES[image.device.type], image, *more)

    def _sample(self, context, fine_context, embedding, redshift, n_candidates, generators):
        """Return the flux, similarity, redshifts and nfe of a batch of images, encoded already."""
        n = len(context)

        def noise(length):
            drawn = [torch.randn(n_candidates, length, generator=g) for g in generators]
            return torch.cat(drawn).to(context.device)

        base, nfe_base = self.base.sample(
            context,
            noise(N_BASE),
            redshift=redshift,
            sampler=self.sampler,
            n_steps=self.n_steps_base,
            generator=generators,
        )
        if self.n_keep is not None and self.n_keep < n_candidates:
            chosen = self._most_similar(embedding, base, n_candidates)
            base = base[chosen]
            redshift = None if redshift is None else redshift[chosen]
        fine, nfe_fine = self.super_resolution.sample(
            fine_context,
            base,
            noise(N_FINE),
            noise(N_BASE),
            redshift=redshift,
            sampler=self.sampler,
            n_steps=self.n_steps_super_resolution,
            generator=generators,
        )
        flux = self.super_resolution.scaling.flux(fine).view(n, n_candidates, -1)
        similarity = self._cosine(embedding, flux)
        redshift = None if redshift is None else redshift.view(n, n_candidates)
        return flux, similarity, redshift, nfe_base + nfe_fine

    def _most_similar(self, embedding, base, n_candidates):
        """Return rows of `base` to refine, (n_images * n_candidates,): the `n_keep` best."""
        n = len(embedding)
        flux = self.base.scaling.flux(upsample(base)).view(n, n_candidates, -1)
        kept = self._cosine(embedding, flux).topk(self.n_keep, dim=1).indices
        share = torch.arange(n_candidates, device=kept.device) * self.n_keep // n_candidates
        first = torch.arange(n, device=kept.device)[:, None] * n_candidates
        return (first + kept[:, share]).flatten()

    @torch.no_grad()
    def redshift_mixture(self, image):
        """Return weights, means and widths ``(n, n_components)`` of the density of ``ln(1 + z)``.

        None when the base stage draws no redshifts.
        """
        if self.base.density is None:
            return None

        def mixture(image):
            tokens = self.base.encode(image)
            parts = self.base.density.mixture(self.base.encoder.standardised(image), tokens)
            return torch.stack(parts, dim=1)

        return self._by_image(mixture, image).unbind(dim=1)

    @torch.no_grad()
    def embed_image(self, image):
        """Return the unit vectors ``(n, embedding_size)``."""
        with self._autocast(image):
            return self._by_image(self.contrastive.embed_image, image)

    @torch.no_grad()
    def embed_spectrum(self, flux):
        """Return the unit vectors ``(n, embedding_size)`` of fluxes ``(n, N_FINE)`` in any unit."""
        return in_batches(self._embed_spectrum, _SPECTRA[flux.device.type], flux)

    def _embed_spectrum(self, flux):
        fine = self.contrastive.scaling.fine(flux)
        with self._autocast(flux):
            return self.contrastive.embed_spectrum(fine)

    @torch.no_grad()
    def ood_score(self, image):
        """Return how unlikely images are among the training images, ``(n,)``; above one is outside.

        None when the spectrograph has no `ImageDomain`.
        """
        if self.domain is None:
            return None

        def score(image):
            return self.domain(self.base.encoder.standardised(image))

        return self._by_image(score, image)

    def similarity(self, image, flux):
        """Return cosine ``(n, m)`` of images ``(n, ...)`` with their spectra ``(n, m, N_FINE)``."""
        return self._cosine(self.embed_image(image), flux)

    def _cosine(self, embedding, flux):
        spectra = self.embed_spectrum(flux.flatten(0, 1)).view(*flux.shape[:2], -1)
        return torch.linalg.vecdot(embedding[:, None], spectra)

    def _autocast(self, x):
        dtype = self.contrastive.autocast
        return torch.autocast(x.device.type, dtype=dtype or torch.bfloat16, enabled=bool(dtype))
