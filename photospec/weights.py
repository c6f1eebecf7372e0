"""A spectrograph on disk: a folder with ``config.toml`` and safetensors files.

What a saved spectrograph says of itself, and how its networks are written and read. Weights of
others are untrusted: safetensors holds tensors only, and every name, shape and number is
checked before use.
"""

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from photospec.candidates import CHOICES
from photospec.config import read_toml, setting, validate, write_toml
from photospec.dust import ASSUMED_EBV, band_extinction
from photospec.errors import InputError
from photospec.networks.cascade import Cascade
from photospec.networks.line_classes import LineClasses
from photospec.networks.ood import ImageDomain
from photospec.networks.samplers import SAMPLERS, FittedSteps
from photospec.networks.sizes import (
    BASE,
    CONTRASTIVE,
    SUPER_RESOLUTION,
    ContrastiveSize,
    StageSize,
    build,
)
from photospec.networks.stage import N_STEPS_BASE, N_STEPS_SUPER_RESOLUTION
from photospec.spectrum import FIBRE_RADIUS
from photospec.utils.files import replacing
from photospec.utils.registry import Registry

__all__ = [
    "FORMAT",
    "WEIGHT_FORMATS",
    "Sampling",
    "SpectrographConfig",
    "WeightsConfig",
    "assemble",
    "load_cascade",
    "load_module",
    "load_stage",
    "read_config",
    "read_state",
    "register_weight_format",
    "save_cascade",
    "save_module",
    "write_state",
]

#: What ``config.toml`` of our own weights has as ``format``.
FORMAT = "photospec-spectrograph-1"
#: Settings classes of saved spectrographs by format; `register_weight_format` adds to them.
WEIGHT_FORMATS = Registry("format")

CONFIG_NAME = "config.toml"
FILES = {
    "base": "base.safetensors",
    "super-resolution": "super_resolution.safetensors",
    "contrastive": "contrastive.safetensors",
}
# Where the training images lie; optional.
DOMAIN_FILE = "domain.safetensors"
# What tells active nuclei by the image; optional.
LINE_CLASSES_FILE = "line_classes.safetensors"
# What tells the encoders of missing bands, where it was learnt after everything else; optional.
# `save` writes it with the stages.
MISSING_FILE = "missing_bands.safetensors"
# Matrices go to disk in half precision; scales, means and other vectors stay exact.
_HALF_FROM = 4096


def register_weight_format(name: str, config: type | str) -> None:
    """Let folders of another format be loaded and saved as spectrographs.

    Parameters
    ----------
    name : str
        The ``format`` in their ``config.toml``.
    config : type
        A subclass of `WeightsConfig`, or where to import it from, ``"module:name"``.

    Raises
    ------
    InputError
        If the name is taken.

    Examples
    --------
    >>> from photospec.weights import WEIGHT_FORMATS, register_weight_format
    >>> register_weight_format("my-format-1", "my_package.weights:MyConfig")
    >>> "my-format-1" in WEIGHT_FORMATS
    True
    """
    WEIGHT_FORMATS.register(name, config)


@dataclass(frozen=True)
class Sampling:
    """How spectra are drawn by default."""

    sampler: str = setting(
        "dpm-solver++",
        "Algorithm: ddpm, ddim, dpm-solver++, heun, fitted (below) or another\nthat is registered.",
    )
    n_steps_base: int = setting(N_STEPS_BASE, "Steps of the base stage.", min=1)
    n_steps_super_resolution: int = setting(
        N_STEPS_SUPER_RESOLUTION, "Steps of the super-resolution stage.", min=1
    )
    noise_base: tuple[float, ...] = setting(
        (), "Of sampler fitted: noise level of each step of the base stage, decreasing."
    )
    extrapolation_base: tuple[float, ...] = setting(
        (),
        "Part of the difference from the estimate before that is added to that of each step.",
    )
    noise_super_resolution: tuple[float, ...] = setting(
        (), "The same of the super-resolution stage."
    )
    extrapolation_super_resolution: tuple[float, ...] = setting((), "Of that stage.")
    n_candidates: int = setting(8, "Candidates that predict draws and chooses from.", min=1)
    choose: str = setting("central", "Which one it returns.", choices=CHOICES)
    n_keep: int = setting(
        0, "Base spectra, the most similar ones, that are refined and shared; 0: all.", min=0
    )
    guidance: float = setting(
        1.0,
        "Classifier-free guidance: above one exaggerates what the image says; needs weights\n"
        "trained with condition_dropout.",
        min=0,
    )

    def __post_init__(self):
        validate(self)
        SAMPLERS.get(self.sampler)  # raises where there is none of this name
        for stage, (n_steps, noise) in {
            "base": (self.n_steps_base, self.noise_base),
            "super_resolution": (self.n_steps_super_resolution, self.noise_super_resolution),
        }.items():
            self.fitted_steps(stage)
            if self.sampler == "fitted" and len(noise) != n_steps:
                raise InputError(
                    f"noise_{stage}: expected {n_steps} levels, one for each of n_steps_{stage}, "
                    f"got {len(noise)}"
                )

    def fitted_steps(self, stage: str) -> FittedSteps | None:
        """Return the steps fitted to ``"base"`` or ``"super_resolution"``; None without any."""
        noise, extrapolation = (
            getattr(self, f"{name}_{stage}") for name in ("noise", "extrapolation")
        )
        return FittedSteps(noise, extrapolation) if noise or extrapolation else None


@dataclass(frozen=True)
class WeightsConfig(ABC):
    """What every spectrograph says of itself.

    A subclass belongs to a format (`register_weight_format`): it adds what the format needs to
    know, reads the networks in `load` and writes them in `save`.
    """

    format: str = setting(FORMAT, "Version of this layout.")
    survey: str = setting("sdss_main", "Survey that the images are of.")
    camera: str = setting(
        "sdss", "Camera of the images; one that names another camera is refused. Empty: any."
    )
    bands: tuple[str, ...] = setting(("u", "g", "r", "i", "z"), "Bands of the images, in order.")
    responses: tuple[str, ...] = setting(
        (), "Response curve of each band; empty: those that go by these names, SDSS's first."
    )
    extinction: tuple[float, ...] = setting(
        (),
        "Extinction of each band over the Milky Way's E(B-V) on the SFD scale; empty: that of\n"
        "the camera.",
        min=0,
        max=20,
    )
    scale_band: str = setting("r", "Band whose fibre flux sets the flux of predicted spectra.")
    fibre_radius: float = setting(
        FIBRE_RADIUS, "Of the fibre whose spectra are predicted, arcsec.", min=0.1, max=10
    )
    image_size: int = setting(64, "Pixels on a side.", min=1, max=10_000)
    pixel_scale: float = setting(0.396, "Arcsec per pixel.")
    galactic_ebv: float = setting(
        ASSUMED_EBV,
        "E(B-V) of the Milky Way, mag, that images are brought to and spectra come with; 0:\n"
        "corrected. The default is that of weights trained on images as they were taken.",
        min=0,
        max=5,
    )
    lsf_wavelength: tuple[float, ...] = setting(
        (4000.0, 8500.0), "Where the line-spread function of the spectra is given, Angstrom."
    )
    lsf_sigma: tuple[float, ...] = setting(
        (2.2, 2.5), "Its standard deviation there, Angstrom, smoothing of the grid included."
    )
    provenance: dict[str, str] = field(
        default_factory=dict, metadata={"help": "Where the weights come from."}
    )
    #: Default precision of the networks; None leaves it to the device.
    default_dtype: ClassVar[str | None] = None
    #: Architecture in training whose networks these are; empty where none can train them on.
    architecture: ClassVar[str] = ""

    def __post_init__(self):
        validate(self)
        if self.scale_band not in self.bands:
            raise InputError(
                f"bands: expected {self.scale_band} among them, which sets the flux of spectra, "
                f"got {','.join(self.bands)}"
            )
        for name in ("responses", "extinction"):
            if len(getattr(self, name)) not in (0, len(self.bands)):
                raise InputError(
                    f"{name}: expected one for each of the bands {','.join(self.bands)}, got "
                    f"{len(getattr(self, name))}"
                )
        if not self.pixel_scale > 0:
            raise InputError(f"pixel_scale: expected a positive number, got {self.pixel_scale}")
        if not self.lsf_sigma or len(self.lsf_sigma) != len(self.lsf_wavelength):
            raise InputError(
                f"lsf_sigma: expected as many numbers as lsf_wavelength has, "
                f"{len(self.lsf_wavelength)}, got {len(self.lsf_sigma)}"
            )

    @property
    def band_extinction(self) -> np.ndarray:
        """Extinction of each band over E(B-V) on the SFD scale, ndarray (n_bands,)."""
        if self.extinction:
            return np.array(self.extinction, float)
        return band_extinction(self.bands, self.camera or "sdss")

    @property
    def scale_response(self) -> str:
        """Response curve of the band that sets the flux, see `photospec.photometry.filters`."""
        if not self.responses:
            return self.scale_band
        return self.responses[self.bands.index(self.scale_band)]

    @property
    def may_miss(self) -> tuple[str, ...]:
        """Bands without which an image can be used, tuple of str."""
        return ()

    @abstractmethod
    def load(self, folder: Path) -> Cascade:
        """Read the networks of a folder, an object with the methods of `Cascade`."""

    @abstractmethod
    def save(self, folder: Path, cascade: Cascade) -> None:
        """Write the networks into a folder."""


@dataclass(frozen=True)
class SpectrographConfig(WeightsConfig):
    """A trained spectrograph."""

    architecture: ClassVar[str] = "transformer"
    sampling: Sampling = Sampling()
    base: StageSize = BASE
    super_resolution: StageSize = SUPER_RESOLUTION
    contrastive: ContrastiveSize = CONTRASTIVE

    trained_without: tuple[str, ...] = setting(
        (), "Bands that were missing at times in the training, so that images may lack them."
    )
    agn_threshold: float = setting(
        0.0,
        "agn_score above which a galaxy is called an AGN, measured on real galaxies: logarithm of\n"
        "the odds with line_classes.safetensors; without, the candidates' mean height above the\n"
        "SDSS pipeline's curve, dex (`photospec.analysis.bpt.agn_height`).",
        min=-10,
        max=10,
    )

    def __post_init__(self):
        super().__post_init__()
        masked = all(self.size(stage).image.masked_bands for stage in FILES)
        if self.trained_without and not (masked and set(self.trained_without) <= set(self.bands)):
            raise InputError(
                "trained_without: expected some of the bands, in networks with "
                f"image.masked_bands, got {','.join(self.trained_without)}"
            )
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

    @property
    def may_miss(self) -> tuple[str, ...]:
        """Bands without which an image can be used: those missing at times in the training."""
        return tuple(b for b in self.trained_without if b != self.scale_band)

    def size(self, stage: str) -> StageSize | ContrastiveSize:
        """Return the network size of ``"base"``, ``"super-resolution"`` or ``"contrastive"``."""
        return getattr(self, stage.replace("-", "_"))

    def build(self, stage: str) -> torch.nn.Module:
        """Build the stage's module with random weights."""
        return build(
            stage,
            self.size(stage),
            n_bands=len(self.bands),
            image_size=self.image_size,
            pixel_scale=self.pixel_scale,
        )

    def load(self, folder: Path) -> Cascade:
        """Read the networks of a folder, a `Cascade`."""
        stages = {}
        for stage in FILES:
            self._check_sizes(folder, stage)
            try:
                module = self.build(stage)
            except (RuntimeError, MemoryError, TypeError, OverflowError) as error:
                reason = str(error).splitlines()[0]
                raise InputError(
                    f"weights: expected sizes of the {stage} network that fit this machine in "
                    f"{folder / CONFIG_NAME}, got others ({reason})"
                ) from None
            stages[stage] = load_stage(module, folder, stage)
        cascade = assemble(stages, self)
        if (folder / DOMAIN_FILE).exists():
            domain = ImageDomain.like(cascade.base.encoder)
            cascade.domain = load_module(domain, folder / DOMAIN_FILE).eval()
        if (folder / LINE_CLASSES_FILE).exists():
            classes = LineClasses.like(cascade.base.encoder)
            cascade.line_classes = load_module(classes, folder / LINE_CLASSES_FILE).eval()
        return cascade

    def _check_sizes(self, folder, stage):
        """Refuse a large network that its file cannot hold, before memory is taken for it."""
        size = self.size(stage)
        path = folder / FILES[stage]
        there = path.stat().st_size if path.is_file() else None
        network = getattr(size, "network", None) or size.spectrum
        # A number has a byte at least; smaller networks fit any machine, and what is wrong with
        # their files is for the reader to say.
        if there is not None and network.least_numbers > max(there, 10_000_000):
            raise InputError(
                f"weights: expected sizes of the {stage} network that belong to {path} in "
                f"{folder / CONFIG_NAME}, got one of {network.least_numbers} numbers and more for "
                f"a file of {there} bytes; do config.toml and weights belong together?"
            )

    def save(self, folder: Path, cascade: Cascade) -> None:
        """Write the networks into a folder."""
        for stage, name in FILES.items():
            save_module(getattr(cascade, stage.replace("-", "_")), folder / name)
        if cascade.domain is not None:
            save_module(cascade.domain, folder / DOMAIN_FILE, half=False)
        if cascade.line_classes is not None:
            save_module(cascade.line_classes, folder / LINE_CLASSES_FILE)


register_weight_format(FORMAT, SpectrographConfig)


def save_module(
    module: torch.nn.Module,
    path: str | PathLike,
    *,
    half: bool = True,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a module's state as safetensors, large matrices in float16.

    `metadata`, text by name, goes into the file's header.
    """
    write_state(
        {
            name: t.half() if half and t.numel() >= _HALF_FROM else t
            for name, t in module.state_dict().items()
        },
        path,
        metadata,
    )


def write_state(
    state: Mapping[str, torch.Tensor],
    path: str | PathLike,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors by name as safetensors, and text by name into the header.

    Raises
    ------
    InputError
        It cannot be written; a file of that name is then as it was.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    try:
        # safetensors writes files that only their owner may read.
        with replacing(path) as temporary:
            temporary.write_bytes(save(state, metadata))
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"path: expected room to write {path}, got {error}; is the disk full or the folder "
            "read-only?"
        ) from None


def read_state(path: str | PathLike) -> dict[str, torch.Tensor]:
    """Read the tensors of a safetensors file by name, all of finite numbers.

    Raises
    ------
    InputError
        File missing or broken; values not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"weights: expected the file {path.name} in {path.parent}, got none")
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"weights: expected a safetensors file, got {path} ({error}); is it truncated?"
        ) from None
    for name, tensor in state.items():
        if tensor.is_complex() or not torch.isfinite(tensor.float()).all():
            raise InputError(f"weights: expected finite numbers in {name} of {path}, got others")
    return state


def load_stage(module: torch.nn.Module, folder: Path, stage: str) -> torch.nn.Module:
    """Fill the module of a stage from a spectrograph folder, as `load_module`.

    Parameters
    ----------
    module : torch.nn.Module
    folder : pathlib.Path
    stage : {"contrastive", "base", "super-resolution"}
    """
    path, mark = folder / MISSING_FILE, stage.replace("-", "_") + "."
    added = read_state(path) if path.exists() else {}
    own = {k.removeprefix(mark): v for k, v in added.items() if k.startswith(mark)}
    return load_module(module, folder / FILES[stage], own)


def load_module(
    module: torch.nn.Module, path: str | PathLike, added: Mapping[str, torch.Tensor] | None = None
) -> torch.nn.Module:
    """Fill a module from a safetensors file, checking names, shapes and numbers.

    Parameters
    ----------
    module : torch.nn.Module
    path : path-like
    added : dict of str to tensor, optional
        Tensors by name that are not in the file.

    Raises
    ------
    InputError
        File missing or broken; missing, extra or misshapen tensors; values not finite.
    """
    state = read_state(path) | (added or {})
    wanted = module.state_dict()
    missing, extra = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing or extra:
        raise InputError(
            f"weights: expected the tensors of the configured network in {path}, got "
            f"{len(missing)} missing ({', '.join(sorted(missing)[:2])}) and {len(extra)} extra "
            f"({', '.join(sorted(extra)[:2])}); do config.toml and weights belong together?"
        )
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            raise InputError(
                f"weights: expected shape {tuple(wanted[name].shape)} of {name} in {path}, got "
                f"{tuple(tensor.shape)}; do config.toml and weights belong together?"
            )
    module.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return module


def read_config(folder: str | PathLike) -> WeightsConfig:
    """Read what a spectrograph folder says of itself.

    Returns
    -------
    WeightsConfig
        Of the class that is registered for its format.

    Raises
    ------
    InputError
        No ``config.toml`` there, a broken one, or one of an unknown format.
    """
    path = Path(folder) / CONFIG_NAME
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")).get("format", FORMAT)
    except (OSError, ValueError, RecursionError):
        found = FORMAT  # what is wrong is for `read_toml` to say
    try:
        kind = WEIGHT_FORMATS.get(found)
    except InputError as error:
        raise InputError(
            f"weights: {error} in {path}; made by another version of photospec?"
        ) from None
    return read_toml(kind, path)


def load_cascade(folder: str | PathLike) -> tuple[Cascade, WeightsConfig]:
    """Read a spectrograph folder.

    Returns
    -------
    Cascade, or an object with its methods
    WeightsConfig

    Raises
    ------
    InputError
        No such folder; ``config.toml`` or a file of weights missing, broken, or not of the other.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"weights: expected a folder with {CONFIG_NAME}, got {folder}")
    config = read_config(folder)
    return config.load(folder), config


def assemble(stages: Mapping[str, torch.nn.Module], config: SpectrographConfig) -> Cascade:
    """Join the three stages' modules to a `Cascade`."""
    sampling = config.sampling
    for stage in ("base", "super-resolution"):
        stages[stage].guidance = sampling.guidance
        stages[stage].steps = sampling.fitted_steps(stage.replace("-", "_"))
    cascade = Cascade(
        stages["base"],
        stages["super-resolution"],
        stages["contrastive"],
        sampler=sampling.sampler,
        n_steps_base=sampling.n_steps_base,
        n_steps_super_resolution=sampling.n_steps_super_resolution,
        n_keep=sampling.n_keep or None,
    )
    return cascade.eval().requires_grad_(False)


def save_cascade(
    folder: str | PathLike, cascade: Cascade, config: WeightsConfig, *, overwrite: bool = False
) -> None:
    """Write a spectrograph folder; the configuration comes last and makes it complete."""
    folder = Path(folder)
    if (folder / CONFIG_NAME).exists() and not overwrite:
        raise InputError(
            f"path: expected a new folder, got {folder} which holds a spectrograph; overwrite it?"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Interrupted half-way, the folder holds no spectrograph rather than a mixed one.
        (folder / CONFIG_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"path: expected a writable folder, got {folder} ({error})") from None
    config.save(folder, cascade)
    write_toml(config, folder / CONFIG_NAME)
