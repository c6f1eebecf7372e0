"""Direct regression from images: what the spectrograph has to beat (`photospec.evaluation`).

One image encoder, as large as that of the base stage, with a head that answers at once:
either the redshift, or the mean spectrum. Same pairs, same augmentation, same precision.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from photospec.errors import InputError
from photospec.networks.image_encoder import ImageEncoder
from photospec.networks.scaling import N_FINE, NORMALISATION
from photospec.networks.sizes import BASE
from photospec.pairs import PairsFile
from photospec.weights import load_module, save_module

__all__ = ["TARGETS", "ImageRegressor", "predict_baseline", "train_baseline"]

TARGETS = {"redshift": 1, "spectrum": N_FINE}


@dataclass(frozen=True)
class Settings:
    """A training of AdamW: steps of warm-up, a plateau, linear decay to zero."""

    n_steps: int = 4000
    batch_size: int = 64
    learning_rate: float = 1e-3
    n_warmup: int = 200
    decay_fraction: float = 0.7
    weight_decay: float = 0.01
    skip_last: int = 512

    def rate(self, step):
        """Learning rate of a step."""
        left = (self.n_steps - step) / max(1, self.decay_fraction * self.n_steps)
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.n_warmup), left)


#: Settings of the trainings: nearly four and two times through 51,000 pairs.
SETTINGS = {"redshift": Settings(3000), "spectrum": Settings(1500)}
_AT_ONCE = 256
_N_SCALING = 4096


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
        """Standardised answers ``(n, n_outputs)``."""
        tokens = self.encoder(image)
        # The first token has seen the aperture photometry, the mean everything.
        pooled = torch.cat([tokens[:, 0], tokens.mean(dim=1)], dim=1)
        return self.head(pooled).float()

    def loss(self, image, target, dtype=torch.bfloat16):
        """Error of the standardised answers: absolute for redshifts, square for spectra."""
        with torch.autocast(image.device.type, dtype=dtype):
            answer = self(image)
        error = answer - (target - self.mean) / self.std
        return error.abs().mean() if self.target == "redshift" else error.square().mean()


class _Pairs:
    """Images with redshifts, or with noiseless spectra of mean one, of several files."""

    def __init__(self, paths, target, skip_last):
        self.target = target
        self.files = [PairsFile(path) for path in paths]
        counts = [len(file) for file in self.files]
        counts[0] -= skip_last
        if counts[0] < 1:
            raise InputError(
                f"pairs: expected more than {skip_last} pairs, got {len(self.files[0])} in "
                f"{self.files[0].path}"
            )
        self.starts = np.cumsum([0, *counts])
        self.redshift = [np.asarray(f.object["redshift"], np.float32) for f in self.files]

    def __len__(self):
        return int(self.starts[-1])

    def read(self, index):
        """Images and targets (n, n_outputs) of increasing running numbers."""
        images, targets = [], []
        borders = np.searchsorted(index, self.starts)
        for number, file in enumerate(self.files):
            rows = index[borders[number] : borders[number + 1]] - self.starts[number]
            if not len(rows):
                continue
            images.append(torch.from_numpy(file.image(rows)))
            if self.target == "redshift":
                targets.append(torch.from_numpy(self.redshift[number][rows])[:, None])
            else:
                flux = torch.from_numpy(file.truth_flux(rows))
                targets.append(flux / flux[:, NORMALISATION].mean(dim=1, keepdim=True))
        return torch.cat(images), torch.cat(targets)

    def close(self):
        for file in self.files:
            file.close()


def _turned(image, rng):
    """Images mirrored and turned at random, the centre pixel staying where it is."""
    if rng.integers(2):
        image = image.transpose(-2, -1)
    for axis in (-1, -2):
        if rng.integers(2):
            image = image.flip(axis).roll(1 - image.shape[axis] % 2, dims=axis)
    return image


def train_baseline(
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
    settings : Settings, optional
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
    data = _Pairs(pairs, target, settings.skip_last)
    try:
        first = data.files[0]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = ImageRegressor(
                target,
                n_bands=len(first.bands),
                image_size=first.image(0).shape[-1],
                pixel_scale=first.pixel_scale,
                size=size,
            )
        n_parameters = sum(p.numel() for p in network.parameters())
        origin = [[len(file), file.provenance] for file in data.files]
        text = json.dumps([origin, asdict(settings), n_parameters, seed], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        path = None if folder is None else Path(folder) / f"direct-{target}-{key}.safetensors"
        if path is not None and path.is_file():
            return load_module(network, path).eval()
        _fit(network, data, settings, seed, progress)
    finally:
        data.close()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_module(network, path, half=False)
    return network.eval()


def _fit(network, data, settings, seed, progress):
    n, per_epoch = len(data), max(1, len(data) // settings.batch_size)
    network.fit_scaling(*data.read(np.arange(0, n, max(1, n // _N_SCALING))))
    optimiser = torch.optim.AdamW(
        network.parameters(), betas=(0.9, 0.99), weight_decay=settings.weight_decay
    )
    network.train()
    steps = tqdm(range(settings.n_steps), disable=not progress, desc=f"direct {network.target}")
    order = None
    for step in steps:
        epoch, place = divmod(step, per_epoch)
        if place == 0 or order is None:
            order = np.random.default_rng((seed, epoch)).permutation(n)
        start = place * settings.batch_size
        image, target = data.read(np.sort(order[start : start + settings.batch_size]))
        image = _turned(image, np.random.default_rng((seed, epoch, place)))
        for group in optimiser.param_groups:
            group["lr"] = settings.rate(step)
        loss = network.loss(image, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if step % 20 == 0:
            steps.set_postfix(loss=f"{loss.item():.4f}")


@torch.no_grad()
def predict_baseline(network, image):
    """Answers for images.

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
