"""Begin a training with given weights, some parts of the network frozen."""

from dataclasses import replace
from pathlib import Path

import torch

from photospec.config import read_toml
from photospec.errors import InputError
from photospec.spectrograph_config import PublishedConfig, SpectrographConfig
from photospec.training.config import TrainConfig
from photospec.training.settings_fine_tuning import parts_of
from photospec.weights import FILES, load_module, read_config

__all__ = ["begin_with", "freeze", "start_from"]

_RUN_WEIGHTS = "weights.safetensors"


def begin_with(config, folder, frozen=()):
    """Settings that begin with weights, and so have the network that these belong to.

    Parameters
    ----------
    config : TrainConfig
    folder : path-like
        A spectrograph, or a finished run of the same stage.
    frozen : sequence of str
        Parts that stay as they are.

    Returns
    -------
    TrainConfig

    Raises
    ------
    InputError
        No weights of this stage there; unknown parts.
    """
    found = _settings_of(folder, config.stage)
    if isinstance(found, TrainConfig):
        names = ("architecture", "diffusion", "contrastive", "published")
        changes = {name: getattr(found, name) for name in names}
    elif isinstance(found, SpectrographConfig):
        table = "contrastive" if config.stage == "contrastive" else "diffusion"
        changes = {"architecture": "transformer", table: found.size(config.stage)}
    else:
        raise InputError(
            f"init: expected a run folder for published networks, whose sizes it tells, got the "
            f"spectrograph {folder}; give its size in --config"
        )
    tuning = replace(config.fine_tuning, init=str(folder), frozen=tuple(frozen))
    return replace(config, fine_tuning=tuning, **changes)


def _settings_of(folder, stage):
    """What a folder of weights says of itself: settings of a run or of a spectrograph."""
    folder = Path(folder)
    path = folder / "config.toml"
    if not path.is_file():
        raise InputError(
            f"init: expected the folder of a spectrograph or of a finished run, got {folder} "
            "without config.toml"
        )
    if not (folder / _RUN_WEIGHTS).is_file():
        if (folder / "checkpoint.pt").exists():
            raise InputError(
                f"init: expected a finished run, got {folder} without {_RUN_WEIGHTS}; resume it"
            )
        return read_config(folder)
    found = read_toml(TrainConfig, path)
    if found.stage != stage:
        raise InputError(
            f"init: expected weights of the stage {stage}, got {found.stage}: {folder}"
        )
    return found


def start_from(network, config, stream):
    """Fill a network with the weights that the settings name.

    Parameters
    ----------
    network : torch.nn.Module
    config : TrainConfig
    stream : PairsStream
        Its images have to be like those of the weights.

    Raises
    ------
    InputError
        The weights are of another stage, network or kind of image.
    """
    folder = Path(config.fine_tuning.init)
    found = _settings_of(folder, config.stage)
    if isinstance(found, TrainConfig):
        _same_network(found.architecture, found.size, config)
        load_module(network, folder / _RUN_WEIGHTS)
        return
    for name, theirs, ours in (
        ("bands", tuple(found.bands), tuple(stream.bands)),
        ("pixel_scale", found.pixel_scale, stream.pixel_scale),
        ("image_size", found.image_size, stream.image_size),
    ):
        if theirs != ours:
            raise InputError(f"init: expected weights for {name} {ours}, got {theirs} in {folder}")
    if isinstance(found, PublishedConfig):
        _same_network("published", config.published, config)
        load_module(network.published, folder / FILES[config.stage])
        if found.image_mean:
            network.image_mean.copy_(torch.tensor(found.image_mean))
            network.image_std.copy_(torch.tensor(found.image_std))
        return
    _same_network("transformer", found.size(config.stage), config)
    load_module(network, folder / FILES[config.stage])


def _same_network(architecture, size, config):
    if architecture != config.architecture or size != config.size:
        raise InputError(
            f"init: expected weights of the network in the settings, got another one in "
            f"{config.fine_tuning.init}; --init without --config takes that network"
        )


def freeze(network, config):
    """Leave the named parts of a network out of the training.

    Parameters
    ----------
    network : torch.nn.Module
    config : TrainConfig

    Returns
    -------
    list of torch.nn.Module
        The modules frozen, to be kept in evaluation mode.

    Raises
    ------
    InputError
        The network, as it was configured, has no such part.
    """
    modules = []
    for name in config.fine_tuning.frozen:
        prefixes = parts_of(config)[name]
        found = [p for key, p in network.named_parameters() if key.startswith(prefixes)]
        if not found:
            raise InputError(
                f"fine_tuning.frozen: expected parts of this network, got {name!r}, which it lacks"
            )
        for parameter in found:
            parameter.requires_grad_(False)
        modules += [m for key, m in network.named_modules() if f"{key}.".startswith(prefixes)]
    return modules
