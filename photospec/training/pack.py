"""Three finished runs to one spectrograph folder."""

import subprocess
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from photospec.config import read_toml
from photospec.errors import InputError
from photospec.pairs import PairsFile
from photospec.spectrum import SMOOTHING, WAVELENGTH
from photospec.weights import (
    FILES,
    Sampling,
    SpectrographConfig,
    assemble,
    load_module,
    save_cascade,
)

from .config import TrainConfig

__all__ = ["describe", "pack", "software"]

_PACKAGES = ("photospec", "torch", "numpy", "pytorch-ignite")
_C = 299792.458  # km/s


def software():
    """Versions of what trained, and the commit where it is known, as text."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    try:
        commit = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        found["commit"] = commit.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return found


def line_spread(provenance):
    """Wavelength (10,) and Gaussian sigma (10,) of a simulated survey's spectra, Angstrom.

    Instrument and smoothing of the training grid in quadrature; None for pairs that do not
    say (`photospec.training.pack.pack` then keeps the defaults).
    """
    survey = provenance.get("survey", provenance)
    spectrograph = survey.get("spectrograph") if isinstance(survey, dict) else None
    if not isinstance(spectrograph, dict):
        return None
    wavelength = np.linspace(WAVELENGTH[0], WAVELENGTH[-1], 10)
    velocity = np.interp(wavelength, spectrograph["lsf_wavelength"], spectrograph["lsf_sigma"])
    sigma = np.hypot(velocity / _C * wavelength, SMOOTHING)
    return tuple(map(float, wavelength)), tuple(round(float(s), 4) for s in sigma)


def describe(pairs):
    """Configuration of a spectrograph for the images and spectra of a pairs file.

    Raises
    ------
    InputError
        If there are no pairs, or no spectrograph can be made for their bands.
    """
    with PairsFile(pairs) as file:
        if not len(file):
            raise InputError(f"pairs: expected pairs to train on, got none in {file.path}")
        spread = line_spread(file.provenance)
        lsf = dict(zip(("lsf_wavelength", "lsf_sigma"), spread)) if spread else {}
        return SpectrographConfig(
            bands=file.bands,
            pixel_scale=file.pixel_scale,
            image_size=file.image(0).shape[-1],
            **lsf,
        )


def pack(runs, output, *, pairs, sampling=None, provenance=None, overwrite=False):
    """Join finished runs of all three stages to a folder `PhotoSpectrograph.load` opens.

    Parameters
    ----------
    runs : dict
        Run folder of each stage: ``"base"``, ``"super-resolution"``, ``"contrastive"``.
    output : path-like
        Folder to write.
    pairs : path-like
        First pairs file of the training: bands, pixel scale and line-spread function.
    sampling : Sampling, optional
        How to draw by default.
    provenance : dict of str, optional
        More to say about the weights.
    overwrite : bool
        Replace a spectrograph there.

    Returns
    -------
    SpectrographConfig
    """
    config = replace(describe(pairs), sampling=sampling or Sampling())
    notes = {**software(), **(provenance or {})}
    for stage in FILES:
        folder = Path(runs[stage])
        if not (folder / "weights.safetensors").is_file():
            raise InputError(
                f"runs: expected weights.safetensors of the {stage} stage in {folder}, got none; "
                "is its training unfinished?"
            )
        trained = read_toml(TrainConfig, folder / "config.toml")
        if trained.stage != stage:
            raise InputError(f"runs: expected a {stage} run in {folder}, got {trained.stage}")
        config = replace(config, **{stage.replace("-", "_"): trained.size})
        notes[stage] = f"{trained.max_steps} steps of {trained.batch_size}, seed {trained.seed}"
    config = replace(config, provenance={k: str(v) for k, v in notes.items()})
    stages = {
        stage: load_module(config.build(stage), Path(runs[stage]) / "weights.safetensors")
        for stage in FILES
    }
    save_cascade(output, assemble(stages, config), config, overwrite=overwrite)
    return config
