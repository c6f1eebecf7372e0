"""A spectrograph on disk: a folder with ``config.toml`` and safetensors files.

Weights of others are untrusted: safetensors holds tensors only, and every name, shape and
number is checked before use.
"""

import os
import tomllib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from photospec.config import read_toml, write_toml
from photospec.errors import InputError
from photospec.networks.cascade import Cascade
from photospec.networks.ood import ImageDomain
from photospec.spectrograph_config import (
    FORMAT,
    PUBLISHED_FORMAT,
    PublishedConfig,
    Sampling,
    SpectrographConfig,
)

__all__ = [
    "PublishedConfig",
    "Sampling",
    "SpectrographConfig",
    "load_cascade",
    "load_module",
    "read_config",
    "save_cascade",
    "save_module",
]

CONFIG_NAME = "config.toml"
FILES = {
    "base": "base.safetensors",
    "super-resolution": "super_resolution.safetensors",
    "contrastive": "contrastive.safetensors",
}
# Where the training images lie; optional.
DOMAIN_FILE = "domain.safetensors"
# Matrices go to disk in half precision; scales, means and other vectors stay exact.
_HALF_FROM = 4096


_CONFIGS = {FORMAT: SpectrographConfig, PUBLISHED_FORMAT: PublishedConfig}


def save_module(module, path, *, half=True, metadata=None):
    """Write a module's state as safetensors, large matrices in float16.

    `metadata`, text by name, goes into the file's header.
    """
    _save_state(
        {
            name: t.half() if half and t.numel() >= _HALF_FROM else t
            for name, t in module.state_dict().items()
        },
        path,
        metadata,
    )


def _save_state(state, path, metadata=None):
    temporary = Path(path).with_name(Path(path).name + ".partial")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    try:
        # Safetensors' own way to write a file leaves it readable by nobody else.
        with open(temporary, "wb") as file:
            file.write(save(state, metadata))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"path: expected room to write {path}, got {error}; is the disk full or the folder "
            "read-only?"
        ) from None


def _read_state(path):
    """Tensors of a safetensors file by name, all of finite numbers."""
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


def load_module(module, path):
    """Fill a module from a safetensors file, checking names, shapes and numbers.

    Raises
    ------
    InputError
        File missing or broken; missing, extra or misshapen tensors; values not finite.
    """
    state = _read_state(path)
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


def read_config(folder):
    """What a spectrograph folder says of itself.

    Returns
    -------
    SpectrographConfig or PublishedConfig

    Raises
    ------
    InputError
        No ``config.toml`` there, a broken one, or one of an unknown format.
    """
    path = folder / CONFIG_NAME
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")).get("format", FORMAT)
    except (OSError, ValueError):
        found = FORMAT  # what is wrong is for `read_toml` to say
    if found not in list(_CONFIGS):
        raise InputError(
            f"weights: expected format {' or '.join(_CONFIGS)}, got {found!r} in {path}; "
            "made by another version of photospec?"
        )
    return read_toml(_CONFIGS[found], path)


def load_cascade(folder):
    """Read a spectrograph folder.

    Returns
    -------
    Cascade or PublishedAdapter
    SpectrographConfig or PublishedConfig

    Raises
    ------
    InputError
        No such folder; `config.toml` or a file of weights missing, broken, or not of the other.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"weights: expected a folder with {CONFIG_NAME}, got {folder}")
    config = read_config(folder)
    if isinstance(config, PublishedConfig):
        names = ["base", "super_resolution", "contrastive"]
        names += ["base_contrastive"] * config.base_contrastive
        states = {name: _read_state(folder / f"{name}.safetensors") for name in names}
        return config.assemble(states), config
    stages = {}
    for stage, name in FILES.items():
        try:
            module = config.build(stage)
        except (RuntimeError, MemoryError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"weights: expected sizes of the {stage} network that fit this machine in "
                f"{folder / CONFIG_NAME}, got others ({reason})"
            ) from None
        stages[stage] = load_module(module, folder / name)
    cascade = assemble(stages, config)
    if (folder / DOMAIN_FILE).exists():
        domain = ImageDomain.like(cascade.base.encoder)
        cascade.domain = load_module(domain, folder / DOMAIN_FILE).eval()
    return cascade, config


def assemble(stages, config):
    """Join the three stages' modules to a `Cascade`."""
    sampling = config.sampling
    for stage in ("base", "super-resolution"):
        stages[stage].guidance = sampling.guidance
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


def save_cascade(folder, cascade, config, *, overwrite=False):
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
    if isinstance(config, PublishedConfig):
        # In full precision: these answer as their authors' do, to the last digit.
        for name, state in cascade.published.state_dicts().items():
            _save_state(state, folder / f"{name}.safetensors")
    else:
        for stage, name in FILES.items():
            save_module(getattr(cascade, stage.replace("-", "_")), folder / name)
        if cascade.domain is not None:
            save_module(cascade.domain, folder / DOMAIN_FILE, half=False)
    write_toml(config, folder / CONFIG_NAME)
