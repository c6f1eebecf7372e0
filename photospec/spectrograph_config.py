"""What a saved spectrograph says of itself in its ``config.toml``."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from photospec.candidates import CHOICES
from photospec.errors import InputError
from photospec.networks.samplers import SAMPLERS
from photospec.networks.scaling import SPECTRAL_SCALINGS
from photospec.networks.sizes import (
    BASE,
    CONTRASTIVE,
    SUPER_RESOLUTION,
    ContrastiveSize,
    StageSize,
    build,
)
from photospec.networks.stage import N_STEPS_BASE, N_STEPS_SUPER_RESOLUTION
from photospec.published.adapter import PublishedAdapter
from photospec.published.cascade import PublishedCascade

__all__ = [
    "FORMAT",
    "PUBLISHED_FORMAT",
    "SCALE_BAND",
    "PublishedConfig",
    "PublishedSampling",
    "Sampling",
    "SpectrographConfig",
]

FORMAT = "photospec-spectrograph-1"
PUBLISHED_FORMAT = "photospec-published-1"
#: Band whose fibre flux sets the flux scale of predicted spectra.
SCALE_BAND = "r"


def _help(default, text, **limits):
    return field(default=default, metadata={"help": text, **limits})


@dataclass(frozen=True)
class Sampling:
    """How spectra are drawn by default."""

    sampler: str = _help("dpm-solver++", "Algorithm.", choices=tuple(SAMPLERS))
    n_steps_base: int = _help(N_STEPS_BASE, "Steps of the base stage.", min=1)
    n_steps_super_resolution: int = _help(
        N_STEPS_SUPER_RESOLUTION, "Steps of the super-resolution stage.", min=1
    )
    n_candidates: int = _help(8, "Candidates that predict draws and chooses from.", min=1)
    choose: str = _help("central", "Which one it returns.", choices=CHOICES)
    n_keep: int = _help(
        0, "Base spectra, the most similar ones, that are refined and shared; 0: all.", min=0
    )
    guidance: float = _help(
        1.0,
        "Classifier-free guidance: above one exaggerates what the image says; needs weights\n"
        "trained with condition_dropout.",
        min=0,
    )


@dataclass(frozen=True)
class _Config:
    """What every spectrograph says of itself."""

    format: str = _help(FORMAT, "Version of this layout.")
    bands: tuple[str, ...] = _help(("u", "g", "r", "i", "z"), "Bands of the images, in order.")
    image_size: int = _help(64, "Pixels on a side.", min=1)
    pixel_scale: float = _help(0.396, "Arcsec per pixel.")
    lsf_wavelength: tuple[float, ...] = _help(
        (4000.0, 8500.0), "Where the line-spread function of the spectra is given, Angstrom."
    )
    lsf_sigma: tuple[float, ...] = _help(
        (2.2, 2.5), "Its standard deviation there, Angstrom, smoothing of the grid included."
    )
    provenance: dict[str, str] = field(
        default_factory=dict, metadata={"help": "Where the weights come from."}
    )
    #: Precision of the networks where nobody asks for one; None leaves it to the device.
    default_dtype: ClassVar[str | None] = None

    def __post_init__(self):
        if SCALE_BAND not in self.bands:
            raise InputError(
                f"bands: expected {SCALE_BAND} among them, which sets the flux of spectra, got "
                f"{','.join(self.bands)}"
            )
        if not self.pixel_scale > 0:
            raise InputError(f"pixel_scale: expected a positive number, got {self.pixel_scale}")
        if not self.lsf_sigma or len(self.lsf_sigma) != len(self.lsf_wavelength):
            raise InputError(
                f"lsf_sigma: expected as many numbers as lsf_wavelength has, "
                f"{len(self.lsf_wavelength)}, got {len(self.lsf_sigma)}"
            )


@dataclass(frozen=True)
class SpectrographConfig(_Config):
    """A trained spectrograph."""

    sampling: Sampling = Sampling()
    base: StageSize = BASE
    super_resolution: StageSize = SUPER_RESOLUTION
    contrastive: ContrastiveSize = CONTRASTIVE

    def __post_init__(self):
        super().__post_init__()
        if self.super_resolution.redshift and not self.base.redshift:
            raise InputError(
                "super_resolution.redshift: expected false with a base stage that draws no "
                "redshift, got true"
            )
        scalings = [s.process.spectral_scaling for s in (self.base, self.super_resolution)]
        if scalings[0] != scalings[1]:
            raise InputError(
                "spectral_scaling: expected the same in base and super_resolution, got "
                f"{' and '.join(scalings)}"
            )
        for name in ("base", "super_resolution"):
            if self.sampling.guidance != 1.0 and not getattr(self, name).process.condition_dropout:
                raise InputError(
                    f"sampling: expected guidance 1 for a {name} stage that always saw its images, "
                    f"got {self.sampling.guidance}; train with condition_dropout"
                )

    def size(self, stage):
        """Network size of ``"base"``, ``"super-resolution"`` or ``"contrastive"``."""
        return getattr(self, stage.replace("-", "_"))

    def build(self, stage):
        """The stage's module with random weights."""
        return build(
            stage,
            self.size(stage),
            n_bands=len(self.bands),
            image_size=self.image_size,
            pixel_scale=self.pixel_scale,
        )


@dataclass(frozen=True)
class PublishedSampling:
    """How the published networks draw."""

    n_candidates: int = _help(3, "Candidates that predict draws and ranks.", min=1)
    n_keep: int = _help(2, "Low-resolution candidates that are refined.", min=1)
    choose: str = _help("similar", "Which one it returns.", choices=CHOICES)


@dataclass(frozen=True)
class PublishedConfig(_Config):
    """A spectrograph of the published networks; their sizes are read off the weights."""

    format: str = _help(PUBLISHED_FORMAT, "Version of this layout.")
    image_mean: tuple[float, ...] = _help(
        (), "Of each band's pixels in the training set, nanomaggies; empty: not standardised."
    )
    image_std: tuple[float, ...] = _help((), "Their standard deviations.")
    base_contrastive: bool = _help(False, "Whether the base stage has its own ranking network.")
    spectral_scaling: str = _help(
        "log", "Of the spectra that the networks draw.", choices=tuple(SPECTRAL_SCALINGS)
    )
    sampling: PublishedSampling = PublishedSampling()
    default_dtype: ClassVar[str | None] = "float32"

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

    @classmethod
    def of(cls, sources, image_mean, image_std):
        """Describe checkpoints by name: paths, or state dicts, of which nothing is noted."""
        files = {name: v for name, v in sources.items() if not isinstance(v, dict)}
        for name, value in files.items():
            if not isinstance(value, str | os.PathLike):
                raise InputError(
                    f"{name}: expected the path of a checkpoint or a dict of weights, got {value!r}"
                )
        notes = {name: Path(value).name for name, value in files.items()}
        return cls(
            image_mean=_numbers(image_mean, "image_mean"),
            image_std=_numbers(image_std, "image_std"),
            base_contrastive="base_contrastive" in sources,
            provenance={"networks": "published (arXiv:2211.05556, arXiv:2406.18175)", **notes},
        )

    def assemble(self, sources):
        """Networks from state dicts or the authors' checkpoints, a `PublishedAdapter`."""
        cascade = PublishedCascade.from_checkpoints(
            **sources,
            image_mean=self.image_mean or None,
            image_std=self.image_std or None,
            spectral_scaling=self.spectral_scaling,
        )
        return PublishedAdapter(cascade, n_keep=self.sampling.n_keep)


def _numbers(values, name):
    try:
        return () if values is None else tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected five numbers, got {values!r}") from None
