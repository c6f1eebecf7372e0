"""A spectrograph of the published networks: from their checkpoints, and on disk."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import ClassVar

import torch

from photospec.candidates import CHOICES
from photospec.config import setting, validate
from photospec.errors import InputError, PhotospecWarning
from photospec.networks.devices import check_device
from photospec.networks.scaling import SPECTRAL_SCALINGS
from photospec.published.cascade import PublishedAdapter, PublishedCascade
from photospec.spectrograph import PhotoSpectrograph
from photospec.weights import WeightsConfig, read_state, write_state

__all__ = ["FORMAT", "PublishedConfig", "PublishedSampling", "load_spectrograph"]

FORMAT = "photospec-published-1"


@dataclass(frozen=True)
class PublishedSampling:
    """How the published networks draw."""

    n_candidates: int = setting(3, "Candidates that predict draws and ranks.", min=1)
    n_keep: int = setting(2, "Low-resolution candidates that are refined.", min=1)
    choose: str = setting("similar", "Which one it returns.", choices=CHOICES)

    def __post_init__(self):
        validate(self)


@dataclass(frozen=True)
class PublishedConfig(WeightsConfig):
    """A spectrograph of the published networks; their sizes are read off the weights."""

    format: str = setting(FORMAT, "Version of this layout.")
    image_mean: tuple[float, ...] = setting(
        (), "Of each band's pixels in the training set, nanomaggies; empty: not standardised."
    )
    image_std: tuple[float, ...] = setting((), "Their standard deviations.")
    base_contrastive: bool = setting(False, "Whether the base stage has its own ranking network.")
    spectral_scaling: str = setting(
        "log", "Of the spectra that the networks draw.", choices=tuple(SPECTRAL_SCALINGS)
    )
    sampling: PublishedSampling = PublishedSampling()
    default_dtype: ClassVar[str | None] = "float32"
    architecture: ClassVar[str] = "published"

    def __post_init__(self):
        super().__post_init__()
        if len(self.bands) != 5:
            raise InputError(f"bands: expected five for published networks, got {len(self.bands)}")
        if not len(self.image_mean) == len(self.image_std) in (0, 5):
            raise InputError(
                "image_mean, image_std: expected five numbers each or none, got "
                f"{len(self.image_mean)} and {len(self.image_std)}"
            )
        if not all(std > 0 for std in self.image_std):
            raise InputError(f"image_std: expected positive numbers, got {self.image_std}")

    def assemble(self, sources):
        """Make a `PublishedAdapter` from state dicts or the authors' checkpoints."""
        cascade = PublishedCascade.from_checkpoints(
            **sources,
            image_mean=self.image_mean or None,
            image_std=self.image_std or None,
            spectral_scaling=self.spectral_scaling,
        )
        return PublishedAdapter(cascade, n_keep=self.sampling.n_keep)

    def load(self, folder):
        """Read the networks of a folder, a `PublishedAdapter`."""
        names = ["base", "super_resolution", "contrastive"]
        names += ["base_contrastive"] * self.base_contrastive
        return self.assemble({n: read_state(folder / f"{n}.safetensors") for n in names})

    def save(self, folder, cascade):
        """Write the networks in full precision: they are their authors', bit for bit."""
        for name, state in cascade.published.state_dicts().items():
            write_state(state, folder / f"{name}.safetensors")


def load_spectrograph(
    *,
    base: str | PathLike | Mapping[str, torch.Tensor],
    super_resolution: str | PathLike | Mapping[str, torch.Tensor],
    contrastive: str | PathLike | Mapping[str, torch.Tensor],
    base_contrastive: str | PathLike | Mapping[str, torch.Tensor] | None = None,
    image_mean: Sequence[float] | None = None,
    image_std: Sequence[float] | None = None,
    device: str | None = None,
    dtype: str | None = None,
) -> PhotoSpectrograph:
    """Make a spectrograph of the published networks from their authors' checkpoints.

    Parameters
    ----------
    base, super_resolution, contrastive : path-like
        Checkpoints (read without running anything in them), or state dicts. The moving
        average of the weights is preferred.
    base_contrastive : path-like, optional
        Ranks the spectra of the base stage; `contrastive` does when left out.
    image_mean, image_std : sequence of five floats, optional
        Of each band's pixels in the training set, nanomaggies. Checkpoints do not hold
        them, and without them images go in as they are, which the networks did not learn.
    device, dtype : str, optional
        See `photospec.PhotoSpectrograph.load`.

    Returns
    -------
    photospec.PhotoSpectrograph
        ``predict``, ``sample``, ``save`` and the rest work as for other weights.

    Raises
    ------
    InputError
        A checkpoint missing, broken, with code in it, or of another network; networks that
        do not go together.

    Warns
    -----
    PhotospecWarning
        Without `image_mean` and `image_std`.

    Notes
    -----
    arXiv:2211.05556 and arXiv:2406.18175; see `photospec.published.denoiser`.

    Examples
    --------
    >>> from photospec.published import load_spectrograph
    >>> spectrograph = load_spectrograph(
    ...     base="base.pt", super_resolution="sr.pt", contrastive="contrastive.pt",
    ...     image_mean=mean, image_std=std,
    ... )  # doctest: +SKIP
    """
    device = check_device(device or "cpu")  # before the work of reading
    if image_mean is None and image_std is None:
        warnings.warn(
            "image_mean, image_std: expected the training set's, got none; images are not "
            "standardised, which published networks expect",
            PhotospecWarning,
            stacklevel=2,
        )
    sources = {"base": base, "super_resolution": super_resolution, "contrastive": contrastive}
    if base_contrastive is not None:
        sources["base_contrastive"] = base_contrastive
    config = _describe(sources, image_mean, image_std)
    return PhotoSpectrograph(config.assemble(sources), config, device=str(device), dtype=dtype)


def _describe(sources, image_mean, image_std):
    """Return the `PublishedConfig` of checkpoints by name; paths are noted, state dicts are not."""
    files = {name: v for name, v in sources.items() if not isinstance(v, dict)}
    for name, value in files.items():
        if not isinstance(value, str | os.PathLike):
            raise InputError(
                f"{name}: expected the path of a checkpoint or a dict of weights, got {value!r}"
            )
    notes = {name: Path(value).name for name, value in files.items()}
    return PublishedConfig(
        image_mean=_numbers(image_mean, "image_mean"),
        image_std=_numbers(image_std, "image_std"),
        base_contrastive="base_contrastive" in sources,
        provenance={"networks": "published (arXiv:2211.05556, arXiv:2406.18175)", **notes},
    )


def _numbers(values, name):
    try:
        return () if values is None else tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected five numbers, got {values!r}") from None
