"""The published cascade: draw, rank and refine, as its authors do.

Draw N low-resolution spectra for an image and keep the k most similar to it; share N
super-resolution draws among those k; the most similar of them is the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn.functional import interpolate

from photospec.errors import InputError
from photospec.networks.batching import in_batches
from photospec.networks.cascade import Drawn
from photospec.networks.samplers import draw_noise, seeded_generators
from photospec.networks.scaling import FLOOR, SPECTRAL_SCALINGS
from photospec.published.contrastive import PublishedContrastive
from photospec.published.denoiser import (
    PublishedDenoiser,
    load_contrastive,
    load_denoiser,
    read_checkpoint,
)

__all__ = ["PublishedAdapter", "PublishedCandidates", "PublishedCascade", "prepare_images"]

BASE_LENGTH, LENGTH = 563, 4500  # samples of the published base and fine spectra
RESIZED, CROPPED = 71, 64  # pixels


@dataclass(frozen=True)
class PublishedCandidates:
    """What `PublishedCascade.sample` draws.

    Attributes
    ----------
    flux : array (n, n_candidates, 4500)
        Relative flux, of mean 1 over 6900-6950 Angstrom as far as the networks learnt it.
    similarity : array (n, n_candidates)
        Cosine similarity to the image.
    base_flux, base_similarity : array (n, n_candidates, 563), (n, n_candidates)
        The same for the low-resolution stage.
    parent : array of int (n, n_candidates)
        The low-resolution candidate that each of `flux` was refined from.
    nfe : int
        Network evaluations per candidate, both stages together.
    """

    flux: np.ndarray
    similarity: np.ndarray
    base_flux: np.ndarray
    base_similarity: np.ndarray
    parent: np.ndarray
    nfe: int

    @property
    def best(self):
        """The most similar candidate of each image, (n, 4500)."""
        return self.flux[np.arange(len(self.flux)), self.similarity.argmax(1)]

    def __repr__(self):
        n, n_candidates, length = self.flux.shape
        return (
            f"<PublishedCandidates: {n} images, {n_candidates} candidates of {length} samples, "
            f"best similarity {self.similarity.max(1).mean():.3f}, nfe {self.nfe}>"
        )


def prepare_images(images, mean=None, std=None):
    """Prepare images as the published networks saw them in validation.

    Parameters
    ----------
    images : array (n, n_bands, ny, nx)
        Nanomaggies.
    mean, std : array (n_bands,), optional
        Of the training set's pixels, to standardise by; checkpoints do not hold them.

    Returns
    -------
    Tensor (n, n_bands, 64, 64)
        Resized to 71 pixels (bilinear, antialiased), the middle 64 of them, standardised.
    """
    images = torch.as_tensor(images, dtype=torch.float32)
    images = interpolate(images, (RESIZED, RESIZED), mode="bilinear", antialias=True)
    first = round((RESIZED - CROPPED) / 2)
    images = images[..., first : first + CROPPED, first : first + CROPPED]
    if mean is not None:
        mean, std = (torch.as_tensor(x, dtype=torch.float32)[:, None, None] for x in (mean, std))
        images = (images - mean) / std
    return images


class PublishedCascade:
    """Two denoisers and the contrastive networks that rank what they draw.

    Parameters
    ----------
    base, super_resolution : PublishedDenoiser
    contrastive : PublishedContrastive
        Ranks the spectra of the super-resolution stage.
    base_contrastive : PublishedContrastive, optional
        Ranks those of the base stage; the same network when left out, which takes any length.
    image_mean, image_std : array (n_bands,), optional
        See `prepare_images`.
    spectral_scaling : {"log", "arcsinh", "none"}
        Of the relative flux that the networks draw.
    """

    def __init__(
        self,
        base: PublishedDenoiser,
        super_resolution: PublishedDenoiser,
        contrastive: PublishedContrastive,
        *,
        base_contrastive: PublishedContrastive | None = None,
        image_mean: ArrayLike | None = None,
        image_std: ArrayLike | None = None,
        spectral_scaling: str = "log",
    ):
        for name, denoiser, n_channels in (
            ("base", base, 1),
            ("super_resolution", super_resolution, 2),
        ):
            if denoiser.unet.n_channels != n_channels:
                raise InputError(
                    f"{name}: expected a denoiser of {n_channels} input channels, got one of "
                    f"{denoiser.unet.n_channels}; base and super_resolution may be swapped"
                )
        if (image_mean is None) != (image_std is None):
            raise InputError("image_mean, image_std: expected both or neither, got one of them")
        self.base, self.super_resolution = base, super_resolution
        self.contrastive = contrastive
        self.base_contrastive = contrastive if base_contrastive is None else base_contrastive
        self.image_mean, self.image_std = image_mean, image_std
        self.spectral_scaling = spectral_scaling

    @classmethod
    def from_checkpoints(
        cls,
        base: str | PathLike | Mapping[str, torch.Tensor],
        super_resolution: str | PathLike | Mapping[str, torch.Tensor],
        contrastive: str | PathLike | Mapping[str, torch.Tensor],
        *,
        base_contrastive: str | PathLike | Mapping[str, torch.Tensor] | None = None,
        **options: object,
    ) -> Self:
        """Build the cascade from the authors' checkpoints.

        Parameters
        ----------
        base, super_resolution, contrastive, base_contrastive : path-like or dict
            Files for `read_checkpoint`, or state dicts.
        **options
            As for the class.
        """

        def read(source):
            return source if isinstance(source, dict) else read_checkpoint(source)

        contrastive = load_contrastive(read(contrastive))
        if base_contrastive is not None:
            base_contrastive = load_contrastive(
                read(base_contrastive),
                embedding_size=contrastive.embedding_size,
                name="base_contrastive",
            )
        return cls(
            load_denoiser(read(base), name="base"),
            load_denoiser(read(super_resolution), name="super_resolution"),
            contrastive,
            base_contrastive=base_contrastive,
            **options,
        )

    def state_dicts(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return weights by network, which `from_checkpoints` takes as its arguments."""
        networks = {
            "base": self.base,
            "super_resolution": self.super_resolution,
            "contrastive": self.contrastive,
        }
        if self.base_contrastive is not self.contrastive:
            networks["base_contrastive"] = self.base_contrastive
        return {name: network.state_dict() for name, network in networks.items()}

    def to(self, device: str | torch.device) -> Self:
        """Move all networks; returns itself."""
        for network in (self.base, self.super_resolution, self.contrastive, self.base_contrastive):
            network.to(device)
        return self

    @torch.no_grad()
    def sample(
        self,
        images: ArrayLike,
        n_candidates: int = 25,
        seed: int = 0,
        *,
        n_keep: int = 2,
        batch_size: int = 8,
        lengths: tuple[int, int] = (BASE_LENGTH, LENGTH),
    ) -> PublishedCandidates:
        """Draw candidates for images.

        Parameters
        ----------
        images : array (n, n_bands, ny, nx)
            Nanomaggies, or standardised already when the cascade has no `image_mean`.
        n_candidates : int
            Draws per image and stage, N.
        seed : int
            Candidate j of an image draws the same noise whatever else is in the batch.
        n_keep : int
            Low-resolution candidates that are refined, k.
        batch_size : int
            Spectra per network call.
        lengths : (int, int)
            Samples of the spectra of the two stages.

        Returns
        -------
        PublishedCandidates
        """
        if not 1 <= n_keep <= n_candidates:
            raise InputError(
                f"n_keep: expected 1 to n_candidates = {n_candidates}, got {n_keep}; "
                "more cannot be kept than are drawn"
            )
        device = self.base.diffusion.betas.device
        images = prepare_images(images, self.image_mean, self.image_std).to(device)
        n = len(images)
        base = self._draw(self.base, images, None, n_candidates, lengths[0], (seed, 0), batch_size)
        base_similarity = self.base_contrastive.similarity(images, base)
        kept = base_similarity.topk(n_keep, dim=1).indices
        share = torch.arange(n_candidates, device=device) * n_keep // n_candidates
        parent = kept[:, share]
        low = base[torch.arange(n, device=device)[:, None], parent]
        fine = self._draw(
            self.super_resolution, images, low, n_candidates, lengths[1], (seed, 1), batch_size
        )
        similarity = self.contrastive.similarity(images, fine)
        back = SPECTRAL_SCALINGS[self.spectral_scaling][1]
        return PublishedCandidates(
            flux=back(fine.float()).cpu().numpy(),
            similarity=similarity.float().cpu().numpy(),
            base_flux=back(base.float()).cpu().numpy(),
            base_similarity=base_similarity.float().cpu().numpy(),
            parent=parent.cpu().numpy(),
            nfe=self.base.unet.n_times + self.super_resolution.unet.n_times,
        )

    @staticmethod
    def _draw(denoiser, images, low, n_candidates, length, key, batch_size):
        """Log spectra (n, n_candidates, length); the image is encoded once."""
        tokens = denoiser.tokens(images)
        drawn = []
        for chunk in torch.arange(len(images) * n_candidates).split(batch_size):
            image, candidate = chunk // n_candidates, chunk % n_candidates
            generators = [seeded_generators(1, *key, start=j)[0] for j in candidate.tolist()]
            noise = draw_noise((1, length), generators).to(images.device)
            condition = None if low is None else low.flatten(0, 1)[chunk][:, None]
            context = None if tokens is None else tokens[image]
            drawn.append(denoiser.sampler(context, condition).sample(noise, generators)[:, 0])
        return torch.cat(drawn).unflatten(0, (len(images), n_candidates))


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
        if dtype is torch.int8:
            raise InputError(
                "dtype: expected float32 or bfloat16 for published networks, got 'int8'"
            )
        self.autocast = dtype

    @property
    def device(self):
        """Device of the networks."""
        return self.published.base.diffusion.betas.device

    def _context(self):
        dtype = self.autocast or torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.autocast is not None)

    def sample(self, image, n_candidates, generators):
        """Sample as `Cascade.sample` does; one image after the other, seeded by its generator's
        seed.
        """
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

    def redshift_mixture(self, image):
        """Return None: published networks draw no redshifts."""

    def ood_score(self, image):
        """Return None: checkpoints do not say where their training images lie."""
        return None

    @torch.no_grad()
    def embed_image(self, image):
        """Return the unit vectors ``(n, embedding_size)`` of images in nanomaggies."""
        published = self.published
        prepared = prepare_images(image.cpu(), published.image_mean, published.image_std)
        with self._context():
            # One by one: a row's bits must not depend on those beside it.
            embedded = in_batches(published.contrastive.embed_image, 1, prepared.to(self.device))
        return embedded.float()

    @torch.no_grad()
    def embed_spectrum(self, flux):
        """Return the unit vectors ``(n, embedding_size)`` of fluxes ``(n, N_FINE)`` in any unit."""
        relative = flux / flux[..., _WINDOW].mean(-1, keepdim=True)
        with self._context():
            # Scaled in single precision, whatever the networks run in.
            kind, relative = self.published.spectral_scaling, relative.float()
            if kind == "log":
                relative = relative.clamp_min(FLOOR)
            scaled = SPECTRAL_SCALINGS[kind][0](relative)
            return in_batches(self.published.contrastive.embed_spectrum, 1, scaled).float()
