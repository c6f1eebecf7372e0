"""Direct regression from images: what the spectrograph has to beat (`photospec.evaluation`).

One image encoder, as large as that of the base stage, with a head for
either the redshift, or the mean spectrum. Same pairs, same augmentation, same precision.
"""

import hashlib
import json
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from photospec.errors import InputError
from photospec.networks.image_encoder import ImageEncoder
from photospec.networks.scaling import N_FINE, NORMALISATION
from photospec.networks.sizes import BASE
from photospec.training.data import PairsStream
from photospec.training.optimisers import learning_rate, make_optimiser
from photospec.training.settings import Optimisation, TrainConfig
from photospec.utils.progress import progress_bar
from photospec.weights import load_module, save_module

__all__ = ["TARGETS", "ImageRegressor", "predict_regressor", "train_regressor"]

TARGETS = {"redshift": 1, "spectrum": N_FINE}


@dataclass(frozen=True)
class RegressionSettings:
    """A training of AdamW: steps of warm-up, a plateau, linear decay to zero.

    The last `skip_last` pairs of the first file are not learnt from.
    """

    n_steps: int = 4000
    batch_size: int = 64
    learning_rate: float = 1e-3
    n_warmup: int = 200
    decay_fraction: float = 0.7
    weight_decay: float = 0.01
    skip_last: int = 512

    def config(self, seed):
        """Return the same as a `TrainConfig`, for what the stages are trained with."""
        return TrainConfig(
            seed=seed,
            max_steps=self.n_steps,
            batch_size=self.batch_size,
            validation_pairs=self.skip_last,
            optimisation=Optimisation(
                learning_rate=self.learning_rate,
                warmup_steps=self.n_warmup,
                decay_fraction=self.decay_fraction,
                weight_decay=self.weight_decay,
            ),
        )


#: Settings of the trainings: 192,000 and 96,000 images.
SETTINGS = {"redshift": RegressionSettings(3000), "spectrum": RegressionSettings(1500)}
_AT_ONCE = 256  # images predicted together
_N_SCALING = 4096  # pairs that means and standard deviations are taken from


class ImageRegressor(nn.Module):
    """Image encoder and a head of two layers.

    Parameters
    ----------
    target : {"redshift", "spectrum"}
    n_bands, image_size : int
    pixel_scale : float
        Arcsec.
    size : photospec.networks.sizes.EncoderSize
        Of the image encoder; that of the base stage by default.

    Attributes
    ----------
    mean : tensor (n_outputs,)
        Of the training targets.
    std : tensor ()
        Of their deviations from it, over all outputs.
    """

    def __init__(self, target, *, n_bands, image_size, pixel_scale, size=BASE.image):
        super().__init__()
        self.target = target
        options = asdict(size) | {"n_bands": n_bands, "size": image_size}
        self.encoder = ImageEncoder(**options, pixel_scale=pixel_scale)
        n_outputs = TARGETS[target]
        self.head = nn.Sequential(
            nn.Linear(2 * size.width, size.width), nn.GELU(), nn.Linear(size.width, n_outputs)
        )
        self.register_buffer("mean", torch.zeros(n_outputs))
        self.register_buffer("std", torch.ones(()))

    @torch.no_grad()
    def fit_scaling(self, image, target):
        """Set moments from training images and targets ``(n, n_outputs)``."""
        self.encoder.fit_scaling(image)
        self.mean.copy_(target.mean(dim=0))
        self.std.copy_((target - self.mean).square().mean().sqrt())

    def forward(self, image):
        """Return the standardised predictions ``(n, n_outputs)``."""
        tokens = self.encoder(image)
        # The first token has seen the aperture photometry, the mean everything.
        pooled = torch.cat([tokens[:, 0], tokens.mean(dim=1)], dim=1)
        return self.head(pooled).float()

    def loss(self, image, target, dtype=torch.bfloat16):
        """Return error of the standardised answers: absolute for redshifts, square for spectra."""
        with torch.autocast(image.device.type, dtype=dtype):
            predicted = self(image)
        error = predicted - (target - self.mean) / self.std
        return error.abs().mean() if self.target == "redshift" else error.square().mean()


def _truth(batch, target):
    """Return targets (n, n_outputs) of a `PairsBatch`: redshifts, or spectra of mean one."""
    if target == "redshift":
        return batch.redshift[:, None]
    return batch.flux / batch.flux[:, NORMALISATION].mean(dim=1, keepdim=True)


def train_regressor(
    target, pairs, folder=None, *, settings=None, size=BASE.image, seed=0, progress=False
):
    """Train a direct regressor, or read its weights if it was trained before.

    Parameters
    ----------
    target : {"redshift", "spectrum"}
    pairs : sequence of path-like
        Pairs files.
    folder : path-like, optional
        Keeps the weights, in a file named after pairs and settings.
    settings : RegressionSettings, optional
        By default `SETTINGS` of the target.
    size : EncoderSize
    seed : int
    progress : bool

    Returns
    -------
    ImageRegressor
    """
    if target not in TARGETS:
        raise InputError(f"target: expected one of {', '.join(TARGETS)}, got {target!r}")
    settings = settings or SETTINGS[target]
    with closing(PairsStream(pairs, settings.config(seed))) as stream:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = ImageRegressor(
                target,
                n_bands=len(stream.bands),
                image_size=stream.image_size,
                pixel_scale=stream.pixel_scale,
                size=size,
            )
        n_parameters = sum(p.numel() for p in network.parameters())
        origin = [[len(file), file.provenance] for file in stream.files]
        text = json.dumps([origin, asdict(settings), n_parameters, seed], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        path = None if folder is None else Path(folder) / f"direct-{target}-{key}.safetensors"
        if path is not None and path.is_file():
            return load_module(network, path).eval()
        _fit(network, stream, progress)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_module(network, path, half=False)
    return network.eval()


def _fit(network, stream, progress):
    config, target = stream.config, network.target
    pairs = stream.read(np.arange(0, stream.n_train, max(1, stream.n_train // _N_SCALING)))
    network.fit_scaling(pairs.image, _truth(pairs, target))
    optimiser = make_optimiser(network.parameters(), config)
    network.train()
    with progress_bar(config.max_steps, f"direct {target}", show=progress) as bar:
        for step in range(config.max_steps):
            batch = stream.batch(step)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, config)
            loss = network.loss(batch.image, _truth(batch, target))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.optimisation.gradient_clip)
            optimiser.step()
            if step % 20 == 0:
                bar.set_description(f"direct {target}, loss {loss.item():.4f}")
            bar.update()


@torch.no_grad()
def predict_regressor(network, image):
    """Predict the answers of a regression for images.

    Parameters
    ----------
    network : ImageRegressor
    image : ndarray (n, n_bands, ny, nx)
        Nanomaggies.

    Returns
    -------
    ndarray (n, n_outputs)
        Redshifts, or spectra of mean one at 5600 to 6900 Angstrom.
    """
    image = torch.from_numpy(np.ascontiguousarray(image, np.float32))
    parts = [network(part) for part in image.split(_AT_ONCE)]
    return (torch.cat(parts) * network.std + network.mean).numpy()
