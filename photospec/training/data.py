"""Batches of pairs, streamed from disk in an order that only the seed decides."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from photospec.errors import InputError
from photospec.networks.scaling import NORMALISATION
from photospec.pairs import PairsFile
from photospec.spectrum import WAVELENGTH
from photospec.training.augmentation import augment
from photospec.training.missing import bridge, fill_images
from photospec.training.selection import select, split

__all__ = ["Batch", "PairsStream", "usable_batch"]


class Batch(NamedTuple):
    """Some pairs as tensors, on one device.

    Attributes
    ----------
    image : tensor (n, n_bands, ny, nx)
        Nanomaggies.
    flux : tensor (n, n_wave)
    ivar : tensor (n, n_wave) or None
        Of observed spectra, 0 where bad, infinite where the settings count all good bins
        alike; noiseless spectra have none.
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


class PairsStream:
    """Batch ``step`` of a run, for any step at once: resuming needs no replay.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Pairs files.
    config : TrainConfig
    chosen : list of ndarray of bool, optional
        Which pairs of each file to use, where another stream has found out (its `chosen`).

    Attributes
    ----------
    rows : Split
        Numbers, through all files, of the pairs for training, validation and tests.
    n_train : int
    """

    def __init__(self, paths, config, *, chosen=None):
        paths = [paths] if isinstance(paths, str | Path) else list(paths)
        if not paths:
            raise InputError("pairs: expected at least one file, got none")
        self.config = config
        self.chosen = chosen
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
        self._starts = np.cumsum([0, *map(len, self.files)])
        if self.chosen is None:
            self.chosen = select(self.files, config)
        self.rows = split(self.chosen, config)
        self.n_train = len(self.rows.train)
        n_first = int(self.chosen[0].sum())
        small = config.data.split == "end" and n_first <= config.validation_pairs
        if self.n_train < config.batch_size or small:
            tests = len(self.rows.test)
            raise InputError(
                f"pairs: expected at least {config.batch_size} pairs (one batch) beside "
                f"{config.validation_pairs} for validation{f' and {tests} for tests' * (tests > 0)}"
                f", got {n_first} in {first.path} "
                f"and {sum(map(np.count_nonzero, self.chosen[1:]))} in other files"
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

    @property
    def steps_per_epoch(self):
        """Whole batches in the training pairs."""
        return self.n_train // self.config.batch_size

    def _order(self, epoch):
        if self._epoch[0] != epoch:
            rng = np.random.default_rng((self.config.seed, epoch))
            self._epoch = (epoch, rng.permutation(self.n_train))
        return self._epoch[1]

    def batch(self, step):
        """The `Batch` of a step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self.config.batch_size
        chosen = np.sort(self._order(epoch)[start : start + self.config.batch_size])
        batch = self.read(chosen)
        self._check_usable(batch, chosen)
        if self.config.augment:
            rng = np.random.default_rng((self.config.seed, epoch, place, 1))
            batch = batch._replace(image=augment(batch.image, rng, self.config))
        return batch

    def validation(self, limit=None):
        """All validation pairs, or the first `limit` of them."""
        return self._read_rows(self.rows.validation[:limit])

    def read(self, index):
        """Training pairs by their running numbers, increasing, as a `Batch`."""
        return self._read_rows(self.rows.train[index])

    def _read_rows(self, rows):
        borders = np.searchsorted(rows, self._starts)
        parts = [
            self._tensors(number, rows[low:high] - start)
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
        image, weights = file.image(index), self.config.data.weights
        if self.config.target == "truth":
            arrays = image, file.truth_flux(index)
        elif weights == "none":
            arrays = image, file.flux(index)
        else:
            flux, ivar = bridge(file.flux(index), file.ivar(index))
            if weights == "mask":  # all good bins alike
                ivar = np.where(ivar > 0, np.inf, 0).astype(np.float32)
            arrays = fill_images(image), flux, ivar.astype(np.float32, copy=False)
        batch = Batch(*map(torch.from_numpy, arrays))
        if redshift is None:
            return batch
        return batch._replace(redshift=torch.from_numpy(redshift[index]))

    def _check_usable(self, batch, index):
        """Name the first pair of a batch that would spoil a step."""
        good = usable_batch(batch)
        if not good.all():
            raise InputError(
                f"pairs: expected finite images and spectra with light at 5600 to 6900 Angstrom, "
                f"got another in {self.name_of(index[int((~good).numpy().argmax())])}; is it "
                "masked throughout? data.selection 'usable' leaves such pairs out"
            )

    def name_of(self, index):
        """File and number in it of a training pair."""
        row = int(self.rows.train[index])
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return f"pair {row - int(self._starts[number])} of {self.files[number].path}"

    def close(self):
        """Close the files; safe to call twice."""
        for file in self.files:
            file.close()


def usable_batch(batch):
    """Whether each pair of a `Batch` can be learnt from, tensor ``(n,)`` of bool."""
    good = batch.image.flatten(1).sum(dim=1).isfinite() & batch.flux.sum(dim=1).isfinite()
    good &= batch.flux[:, NORMALISATION].mean(dim=1) > 0
    if batch.ivar is not None:
        good &= (batch.ivar > 0).any(dim=1)
    return good


def _redshift(file, config):
    """Redshifts (n,) float32 of a file that all have one, else None."""
    needed = (
        config.stage != "contrastive"
        and config.architecture != "published"
        and (config.diffusion.redshift or config.line_weight > 1)
    )
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
            "to false and line_weight to 1 for such pairs"
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
