"""Pack three finished runs into one spectrograph folder."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from photospec.dust import response_camera, response_extinction
from photospec.errors import InputError
from photospec.networks.ood import ImageDomain
from photospec.pairs import PairsFile
from photospec.photometry.filters import effective_wavelength
from photospec.spectrum import SMOOTHING, WAVELENGTH
from photospec.training.data import PairsStream, hide_bands
from photospec.training.density import refine_density
from photospec.training.extensions import PACKERS
from photospec.training.extinction import corrected_images
from photospec.training.run_folder import SETTINGS, WEIGHTS, software
from photospec.training.settings import TrainConfig
from photospec.utils.constants import SPEED_OF_LIGHT
from photospec.weights import (
    FILES,
    Sampling,
    SpectrographConfig,
    WeightsConfig,
    assemble,
    load_module,
    save_cascade,
)

__all__ = ["describe", "fit_domain", "pack", "pack_transformer"]

# Images per file behind the `ImageDomain`, and how many are looked at together.
_N_DOMAIN, _AT_ONCE = 8192, 256
# Middle of the spectra, Angstrom: the band nearest to it sets their flux where there is no r.
_SCALE = 6250.0


def line_spread(provenance):
    """Return wavelength (10,) and Gaussian sigma (10,) of a simulated survey's spectra, Angstrom.

    Instrument and smoothing of the training grid in quadrature; None for pairs that do not
    say (`photospec.training.packing.pack` then keeps the defaults).
    """
    survey = provenance.get("survey", provenance)
    spectrograph = survey.get("spectrograph") if isinstance(survey, dict) else None
    if not isinstance(spectrograph, dict):
        return None
    wavelength = np.linspace(WAVELENGTH[0], WAVELENGTH[-1], 10)
    velocity = np.interp(wavelength, spectrograph["lsf_wavelength"], spectrograph["lsf_sigma"])
    sigma = np.hypot(velocity / SPEED_OF_LIGHT * wavelength, SMOOTHING)
    return tuple(map(float, wavelength)), tuple(round(float(s), 4) for s in sigma)


def describe(pairs):
    """Describe a spectrograph for the images and spectra of a pairs file.

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
            galactic_ebv=0.0,
            **describe_survey(file.provenance, file.bands),
            **lsf,
        )


def describe_survey(provenance, bands):
    """Return what a spectrograph says of the survey that pairs were simulated of, by name of
    setting.

    Parameters
    ----------
    provenance : dict
        Of a pairs file; pairs that do not say their survey are taken for those of the SDSS.
    bands : tuple of str

    Returns
    -------
    dict
    """
    survey = provenance.get("survey")
    if not isinstance(survey, dict) or "responses" not in survey:
        return {}
    responses = tuple(survey["responses"])
    cameras = {response_camera(response) for response in responses}
    [camera] = cameras if len(cameras) == 1 else [None]
    scale_band = "r"
    if "r" not in bands:
        distance = [abs(effective_wavelength(response) - _SCALE) for response in responses]
        scale_band = bands[int(np.argmin(distance))]
    found = {
        "survey": survey["name"],
        # Of any other camera there is no name that images go by.
        "camera": camera or "",
        "responses": responses,
        "extinction": tuple(map(float, survey.get("extinction") or ())),
        "scale_band": scale_band,
        "fibre_radius": float(survey["spectrograph"]["fibre_radius"]),
    }
    if not (found["extinction"] or camera):
        found["extinction"] = tuple(round(response_extinction(r), 4) for r in responses)
    return found


def pack(
    runs: Mapping[str, str | PathLike],
    output: str | PathLike,
    *,
    pairs: str | PathLike | Sequence[str | PathLike],
    domain_pairs: Sequence[str | PathLike] | None = None,
    sampling: Sampling | None = None,
    provenance: Mapping[str, object] | None = None,
    overwrite: bool = False,
) -> WeightsConfig:
    """Join finished runs of all three stages to a folder `PhotoSpectrograph.load` opens.

    Parameters
    ----------
    runs : dict
        Run folder of each stage: ``"base"``, ``"super-resolution"``, ``"contrastive"``.
    output : path-like
        Folder to write.
    pairs : path-like or sequence of path-like
        Pairs files of the training: bands, pixel scale and line-spread function of the first,
        the images of all for the `ImageDomain` and for the last fit of the redshift density
        (`photospec.training.density`).
    domain_pairs : sequence of path-like, optional
        Pairs files whose images the `ImageDomain` describes, if not all: real photometry has
        mistakes that no image should be taken for ordinary for.
    sampling : Sampling, optional
        How to draw by default. Without it, stages with other noise levels than ``edm`` take
        100 steps: theirs are even in time, not in the logarithm of the noise.
    provenance : dict of str, optional
        More to say about the weights.
    overwrite : bool
        Replace a spectrograph there.

    Returns
    -------
    photospec.weights.WeightsConfig

    Raises
    ------
    InputError
        Runs that are not finished, or do not go together; a spectrograph there already.

    Examples
    --------
    >>> from photospec.training import pack
    >>> stages = ("base", "super-resolution", "contrastive")
    >>> runs = {stage: f"run/{stage}" for stage in stages}
    >>> pack(runs, "run/spectrograph", pairs="pairs.h5")  # doctest: +SKIP
    """
    pairs = [pairs] if isinstance(pairs, str | Path) else list(pairs)
    config = describe(pairs[0])
    notes, sizes, architectures = {**software(), **(provenance or {})}, {}, set()
    for stage in FILES:
        folder = Path(runs[stage])
        if not (folder / WEIGHTS).is_file():
            raise InputError(
                f"runs: expected {WEIGHTS} of the {stage} stage in {folder}, got none; "
                "is its training unfinished?"
            )
        trained = TrainConfig.read(folder / SETTINGS)
        if trained.stage != stage:
            raise InputError(f"runs: expected a {stage} run in {folder}, got {trained.stage}")
        sizes[stage.replace("-", "_")] = trained.size
        architectures.add(trained.architecture)
        notes[stage] = f"{trained.max_steps} steps of {trained.batch_size}, seed {trained.seed}"
        hashes = _pairs_hashes(folder / WEIGHTS)
        if hashes:
            notes[f"{stage}-pairs"] = hashes
    if len(architectures) > 1:
        raise InputError(
            f"runs: expected stages of one architecture, got {' and '.join(sorted(architectures))}"
        )
    config = replace(config, provenance={k: str(v) for k, v in notes.items()})
    [architecture] = architectures
    cascade, config = PACKERS.get(architecture)(
        runs, config, sizes, pairs=pairs, domain_pairs=domain_pairs, sampling=sampling
    )
    save_cascade(output, cascade, config, overwrite=overwrite)
    return config


def pack_transformer(runs, config, sizes, *, pairs, domain_pairs=None, sampling=None):
    """Join runs of the architecture ``"transformer"``.

    Parameters
    ----------
    runs : dict
        Run folder of each stage.
    config : SpectrographConfig
        Bands, pixels and line-spread function of the pairs, provenance.
    sizes : dict
        Of the networks, by stage with underscores.
    pairs : list of path-like
    domain_pairs : sequence of path-like, optional
    sampling : Sampling, optional

    Returns
    -------
    Cascade
    SpectrographConfig
    """
    often = TrainConfig.read(Path(runs["base"]) / SETTINGS).data.missing_bands
    without = tuple(b for b, p in zip(config.bands, often, strict=False) if p > 0)
    sampling = sampling or default_sampling(sizes)
    config = replace(config, **sizes, sampling=sampling, trained_without=without)
    stages = {
        stage: load_module(config.build(stage), Path(runs[stage]) / WEIGHTS) for stage in FILES
    }
    if stages["base"].density is not None:
        base_run = TrainConfig.read(Path(runs["base"]) / SETTINGS)
        with closing(PairsStream(pairs, base_run)) as stream:
            refine_density(stages["base"], stream, seed=base_run.seed)
    cascade = assemble(stages, config)
    cascade.domain = fit_domain(cascade.base.encoder, domain_pairs or pairs, often)
    return cascade, config


PACKERS.register("transformer", pack_transformer)


def default_sampling(sizes):
    """Return how stages of these sizes are sampled, unless one says otherwise.

    Of Gaussian data few even steps of the cosine or the linear schedule draw as little as half
    the spread.
    """
    if all(sizes[stage].process.schedule == "edm" for stage in ("base", "super_resolution")):
        return Sampling()
    return Sampling(n_steps_base=100, n_steps_super_resolution=100)


def _pairs_hashes(path):
    """Name and hash of the files that weights were trained on, where they say so."""
    with safe_open(path, "pt") as file:
        files = json.loads((file.metadata() or {}).get("pairs", "[]"))
    return ", ".join(f"{one['file']} sha256:{one['sha256']}" for one in files)


def fit_domain(encoder, paths, missing_bands=()):
    """Fit an `ImageDomain` to the images in pairs files, some thousands of each.

    Bands are missing as often as in the training, `missing_bands`.
    """
    features, redshift, rng = [], [], np.random.default_rng(0)
    for path in paths:
        with PairsFile(path) as file:
            n = min(len(file), _N_DOMAIN)
            for start in range(0, n, _AT_ONCE):
                rows = slice(start, min(start + _AT_ONCE, n))
                image = torch.from_numpy(corrected_images(file, rows))
                if any(missing_bands):
                    image = hide_bands(image, missing_bands, rng)
                features.append(encoder.standardised(image))
            if "redshift" in file.object.colnames:
                redshift.append(torch.tensor(file.object["redshift"][:n], dtype=torch.float64))
    features = torch.cat(features)
    known = sum(map(len, redshift)) == len(features)
    domain = ImageDomain.like(encoder)
    domain.fit(features, torch.cat(redshift) if known else None)
    return domain
