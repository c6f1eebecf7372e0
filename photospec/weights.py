"""A spectrograph on disk: a folder with ``config.toml`` and three safetensors files.

Weights of others are untrusted: safetensors holds tensors only, and every name, shape and
number is checked before use.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from photospec.config import read_toml, write_toml
from photospec.errors import InputError
from photospec.networks.cascade import Cascade
from photospec.networks.sizes import (
    BASE,
    CONTRASTIVE,
    SUPER_RESOLUTION,
    ContrastiveSize,
    StageSize,
    build,
)

__all__ = [
    "Sampling",
    "SpectrographConfig",
    "load_cascade",
    "load_module",
    "save_cascade",
    "save_module",
]

FORMAT = "photospec-spectrograph-1"
CONFIG_NAME = "config.toml"
FILES = {
    "base": "base.safetensors",
    "super-resolution": "super_resolution.safetensors",
    "contrastive": "contrastive.safetensors",
}
# Matrices go to disk in half precision; scales, means and other vectors stay exact.
_HALF_FROM = 4096


def _help(default, text):
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Sampling:
    """How spectra are drawn by default."""

    sampler: str = _help("dpm-solver++", "ddpm, ddim, dpm-solver++ or heun.")
    n_steps_base: int = _help(18, "Steps of the base stage.")
    n_steps_super_resolution: int = _help(10, "Steps of the super-resolution stage.")
    n_candidates: int = _help(8, "Candidates that predict draws and ranks.")


@dataclass(frozen=True)
class SpectrographConfig:
    """A trained spectrograph."""

    format: str = _help(FORMAT, "Version of this layout.")
    bands: tuple[str, ...] = _help(("u", "g", "r", "i", "z"), "Bands of the images, in order.")
    image_size: int = _help(64, "Pixels on a side.")
    pixel_scale: float = _help(0.396, "Arcsec per pixel.")
    lsf_wavelength: tuple[float, ...] = _help(
        (4000.0, 8500.0), "Where the line-spread function of the spectra is given, Angstrom."
    )
    lsf_sigma: tuple[float, ...] = _help(
        (2.2, 2.5), "Its standard deviation there, Angstrom, smoothing of the grid included."
    )
    sampling: Sampling = Sampling()
    base: StageSize = BASE
    super_resolution: StageSize = SUPER_RESOLUTION
    contrastive: ContrastiveSize = CONTRASTIVE
    provenance: dict[str, str] = field(
        default_factory=dict, metadata={"help": "Where the weights come from."}
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


def save_module(module, path, *, half=True):
    """Write a module's state as safetensors, large matrices in float16."""
    state = {
        name: (t.half() if half and t.numel() >= _HALF_FROM else t).detach().cpu().contiguous()
        for name, t in module.state_dict().items()
    }
    temporary = Path(path).with_name(Path(path).name + ".partial")
    save_file(state, temporary)
    os.replace(temporary, path)


def load_module(module, path):
    """Fill a module from a safetensors file, checking names, shapes and numbers.

    Raises
    ------
    InputError
        File missing or broken; missing, extra or misshapen tensors; values not finite.
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
        if not torch.isfinite(tensor).all():
            raise InputError(f"weights: expected finite numbers in {name} of {path}, got others")
    module.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return module


def load_cascade(folder):
    """Read a spectrograph folder.

    Returns
    -------
    Cascade, SpectrographConfig
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"weights: expected a folder with {CONFIG_NAME}, got {folder}")
    config = read_toml(SpectrographConfig, folder / CONFIG_NAME)
    if config.format != FORMAT:
        raise InputError(
            f"weights: expected format {FORMAT!r}, got {config.format!r} in {folder}; "
            "made by another version of photospec?"
        )
    stages = {
        stage: load_module(config.build(stage), folder / name) for stage, name in FILES.items()
    }
    return assemble(stages, config), config


def assemble(stages, config):
    """Join the three stages' modules to a `Cascade`."""
    sampling = config.sampling
    cascade = Cascade(
        stages["base"],
        stages["super-resolution"],
        stages["contrastive"],
        sampler=sampling.sampler,
        n_steps_base=sampling.n_steps_base,
        n_steps_super_resolution=sampling.n_steps_super_resolution,
    )
    return cascade.eval().requires_grad_(False)


def save_cascade(folder, cascade, config, *, overwrite=False):
    """Write a spectrograph folder; the configuration comes last and makes it complete."""
    folder = Path(folder)
    if (folder / CONFIG_NAME).exists() and not overwrite:
        raise InputError(
            f"path: expected a new folder, got {folder} which holds a spectrograph; overwrite it?"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for stage, name in FILES.items():
        save_module(getattr(cascade, stage.replace("-", "_")), folder / name)
    write_toml(config, folder / CONFIG_NAME)
