"""Batches of pairs, streamed from disk in an order that only the seed decides."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from photospec.errors import InputError
from photospec.pairs import PairsFile
from photospec.spectrum import WAVELENGTH

__all__ = ["Batch", "PairsStream"]


class Batch(NamedTuple):
    """Some pairs as tensors, on one device.

    Attributes
    ----------
    image : tensor (n, n_bands, ny, nx)
        Nanomaggies.
    flux : tensor (n, n_wave)
    ivar : tensor (n, n_wave) or None
        Of observed spectra, 0 where bad; noiseless ones have none.
    redshift : tensor (n,) or None
        None where the pairs file has none.
    """

    image: torch.Tensor
    flux: torch.Tensor
    ivar: torch.Tensor | None = None
    redshift: torch.Tensor | None = None

    def to(self, device):
        """The same on a device."""
        return Batch(*(None if part is None else part.to(device) for part in self))

    def split(self, size):
        """Parts of at most `size` pairs."""
        starts = range(0, len(self.flux), size)
        return [
            Batch(*(None if part is None else part[i : i + size] for part in self)) for i in starts
        ]


def turn(image, swap, flip_x, flip_y):
    """One of the eight symmetries of the square about pixel ``(size // 2, size // 2)``."""
    if swap:
        image = image.transpose(-2, -1)
    for wanted, axis in ((flip_x, -1), (flip_y, -2)):
        if wanted:
            # A flip of an even number of pixels moves that pixel by one; rolling puts it back.
            image = image.flip(axis).roll(1 - image.shape[axis] % 2, dims=axis)
    return image


class PairsStream:
    """Batch ``step`` of a run, for any step at once: resuming needs no replay.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Pairs files; the last pairs of the first one are kept for validation.
    config : TrainConfig
    """

    def __init__(self, paths, config):
        paths = [paths] if isinstance(paths, str | Path) else list(paths)
        if not paths:
            raise InputError("pairs: expected at least one file, got none")
        self.config = config
        self.files = []
        try:
            for path in paths:
                bands = self.files[0].bands if self.files else None
                self.files.append(PairsFile(path, bands=bands))
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self):
        config, first = self.config, self.files[0]
        for file in self.files:
            _check(file, first, config.target)
        self.bands, self.pixel_scale = first.bands, first.pixel_scale
        self.image_size = first.image(0).shape[-1] if len(first) else 0
        # Training pairs of all files under one running number; validation ends the first.
        counts = [max(0, len(first) - config.validation_pairs), *map(len, self.files[1:])]
        self._starts = np.cumsum([0, *counts])
        self.n_train = int(self._starts[-1])
        if self.n_train < config.batch_size or counts[0] == 0:
            raise InputError(
                f"pairs: expected at least {config.batch_size} pairs (one batch) beside "
                f"{config.validation_pairs} for validation, got {len(first)} in {first.path} "
                f"and {sum(counts[1:])} in other files"
            )
        self._redshift = [_redshift(file, config) for file in self.files]
        if any(redshift is None for redshift in self._redshift):
            self._redshift = [None] * len(self.files)
        self._epoch = (-1, None)

    @property
    def signature(self):
        """Hash that tells these pairs from others: numbers and origins, not every pixel."""
        parts = [[len(file), file.bands, file.pixel_scale, file.provenance] for file in self.files]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _order(self, epoch):
        if self._epoch[0] != epoch:
            rng = np.random.default_rng((self.config.seed, epoch))
            self._epoch = (epoch, rng.permutation(self.n_train))
        return self._epoch[1]

    def batch(self, step):
        """The `Batch` of a step."""
        per_epoch = self.n_train // self.config.batch_size
        epoch, place = divmod(step, per_epoch)
        start = place * self.config.batch_size
        chosen = self._order(epoch)[start : start + self.config.batch_size]
        batch = self.read(np.sort(chosen))
        if self.config.augment:
            rng = np.random.default_rng((self.config.seed, epoch, place, 1))
            batch = batch._replace(image=turn(batch.image, *rng.integers(2, size=3)))
        return batch

    def validation(self, limit=None):
        """All validation pairs, or the first `limit` of them."""
        start, stop = int(self._starts[1]), len(self.files[0])
        if limit is not None:
            stop = min(stop, start + limit)
        return self._tensors(0, slice(start, stop))

    def read(self, index):
        """Training pairs by their running numbers, increasing, as a `Batch`."""
        borders = np.searchsorted(index, self._starts)
        parts = [
            self._tensors(number, index[low:high] - start)
            for number, (start, low, high) in enumerate(
                zip(self._starts, borders[:-1], borders[1:], strict=False)
            )
            if high > low
        ]
        return Batch(
            *(None if part[0] is None else torch.cat(part) for part in zip(*parts, strict=True))
        )

    def _tensors(self, number, index):
        file, redshift = self.files[number], self._redshift[number]
        truth = self.config.target == "truth"
        reads = (file.image, file.truth_flux) if truth else (file.image, file.flux, file.ivar)
        batch = Batch(*(torch.from_numpy(read(index)) for read in reads))
        if redshift is None:
            return batch
        return batch._replace(redshift=torch.from_numpy(redshift[index]))

    def close(self):
        """Close the files; safe to call twice."""
        for file in self.files:
            file.close()


def _redshift(file, config):
    """Redshifts (n,) float32 of a file that all have one, else None."""
    needed = config.stage != "contrastive" and config.diffusion.redshift
    if "redshift" not in file.object.colnames:
        found, missing = None, len(file)
    else:
        # Masked or missing ones come as no number.
        column = np.ma.filled(np.ma.asarray(file.object["redshift"]).astype(float), np.nan)
        missing = int((~(np.isfinite(column) & (column > -0.01))).sum())
        found = column.astype(np.float32)
    if needed and missing:
        raise InputError(
            f"pairs: expected redshifts in object/redshift, which the settings put into the "
            f"network, got {missing} of {len(file)} without in {file.path}; set diffusion.redshift "
            "to false for such pairs"
        )
    return None if missing else found


def _check(file, first, target):
    if not np.array_equal(file.wavelength, WAVELENGTH):
        raise InputError(
            f"pairs: expected spectra on the training grid ({WAVELENGTH[0]:.0f} to "
            f"{WAVELENGTH[-1]:.0f} Angstrom in steps of 1), got "
            f"{file.wavelength[0]:.0f} to {file.wavelength[-1]:.0f} in {file.path}"
        )
    if file.pixel_scale != first.pixel_scale:
        raise InputError(
            f"pairs: expected the pixel scale of the first file, {first.pixel_scale} arcsec, "
            f"got {file.pixel_scale} in {file.path}"
        )
    if not len(file):
        return
    shape, wanted = file.image(0).shape, first.image(0).shape if len(first) else None
    if shape[-1] != shape[-2] or wanted not in (None, shape):
        raise InputError(
            f"pairs: expected square images of one size, got {shape[-1]} x {shape[-2]} pixels in "
            f"{file.path}"
        )
    if target == "truth":
        try:
            file.truth_flux(0)
        except InputError as error:
            raise InputError(
                f"pairs: expected noiseless spectra to learn from ({error}); set target to "
                "'observed' for pairs without"
            ) from None
