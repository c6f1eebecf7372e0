"""Batches of pairs, streamed from disk in an order that only the seed decides."""

import hashlib
import json
import signal
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset

from photospec.errors import InputError, PhotospecWarning
from photospec.image.resample import fill_bad
from photospec.networks.scaling import NORMALISATION
from photospec.pairs import PairsFile
from photospec.spectrum import WAVELENGTH
from photospec.training.distributed import local_rows
from photospec.training.extinction import (
    correct_flux,
    correct_image,
    file_extinction,
    galactic_ebv,
    told_ebv,
)

__all__ = [
    "PairsBatch",
    "PairsStream",
    "Split",
    "augment",
    "batches",
    "bridge",
    "fill_images",
    "hide_bands",
    "select",
    "shift",
    "split",
    "turn",
    "usable",
    "usable_batch",
]

# A pair with more missing than this part of an image, or of a spectrum, is not usable.
_MOST = 0.5
# Pairs that are read together to see whether they are usable.
_AT_ONCE = 256


class PairsBatch(NamedTuple):
    """Some pairs as tensors, on one device.

    Attributes
    ----------
    image : tensor (n, n_bands, ny, nx)
        Nanomaggies; it and the spectra are corrected for the Milky Way's dust, but not for
        published networks.
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
        """Return the same on a device."""
        return PairsBatch(*(None if part is None else part.to(device) for part in self))

    def split(self, size):
        """Split into parts of at most `size` pairs."""
        starts = range(0, len(self.flux), size)
        return [
            PairsBatch(*(None if part is None else part[i : i + size] for part in self))
            for i in starts
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
        if len(config.data.missing_bands) not in (0, len(first.bands)):
            raise InputError(
                f"data.missing_bands: expected one number for each of {', '.join(first.bands)}, "
                f"got {len(config.data.missing_bands)}"
            )
        self.bands, self.pixel_scale = first.bands, first.pixel_scale
        self.image_size = first.image(0).shape[-1] if len(first) else 0
        self._starts = np.cumsum([0, *map(len, self.files)])
        if self.chosen is None:
            self.chosen = select(self.files, config)
        self.rows = split(self.chosen, config)
        self.n_train = len(self.rows.train)
        n_first = int(self.chosen[0].sum())
        small = config.data.split == "end" and n_first <= config.validation_pairs
        if self.n_train < config.batch_size:
            tests = len(self.rows.test)
            raise InputError(
                f"pairs: expected at least {config.batch_size} pairs (one batch) beside "
                f"{config.validation_pairs} for validation{f' and {tests} for tests' * (tests > 0)}"
                f", got {n_first} in {first.path} "
                f"and {sum(map(np.count_nonzero, self.chosen[1:]))} in other files"
            )
        if small:
            held = config.validation_pairs
            raise InputError(
                f"pairs: expected more than {held} pairs in the first file, whose last {held} are "
                f"for validation, got {n_first} in {first.path}; is there a larger one?"
            )
        self._redshift = [_redshift(file, config) for file in self.files]
        if any(redshift is None for redshift in self._redshift):
            self._redshift = [None] * len(self.files)
        self._ebv = [None] * len(self.files)
        if config.data.correct_extinction and config.corrects_extinction:
            seeds = np.random.SeedSequence((config.seed, 2)).spawn(len(self.files))
            self._ebv = [
                told_ebv(galactic_ebv(file), config.data, np.random.default_rng(seed))
                for file, seed in zip(self.files, seeds, strict=True)
            ]
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
        """Return the `PairsBatch` of a step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self.config.batch_size
        chosen = np.sort(self._order(epoch)[start : start + self.config.batch_size])
        batch = self.read(chosen)
        self._check_usable(batch, chosen)
        if self.config.augment:
            rng = np.random.default_rng((self.config.seed, epoch, place, 1))
            batch = batch._replace(image=augment(batch.image, rng, self.config))
        return self.without_bands(batch, epoch, place, 3)

    def without_bands(self, batch, *numbers):
        """Take bands away at random, as the settings say; another `PairsBatch`.

        Parameters
        ----------
        batch : PairsBatch
        *numbers : int
            With the seed of the run they decide which.
        """
        often = self.config.data.missing_bands
        if not any(often):
            return batch
        rng = np.random.default_rng((self.config.seed, *numbers))
        return batch._replace(image=hide_bands(batch.image, often, rng))

    def validation(self, limit=None):
        """Return all validation pairs, or the first `limit` of them; the same bands missing each
        time.
        """
        return self.without_bands(self._read_rows(self.rows.validation[:limit]), 4)

    def read(self, index):
        """Read training pairs by their running numbers, increasing, as a `PairsBatch`."""
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
        return PairsBatch(
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
        arrays = self._without_dust(number, index, *arrays)
        batch = PairsBatch(*map(torch.from_numpy, arrays))
        if redshift is None:
            return batch
        return batch._replace(redshift=torch.from_numpy(redshift[index]))

    def _without_dust(self, number, index, image, flux, ivar=None):
        """Return the same, corrected by the E(B-V) that training is told."""
        if self._ebv[number] is None:
            return (image, flux) if ivar is None else (image, flux, ivar)
        ebv = self._ebv[number][index]
        extinction = file_extinction(self.files[number])
        image, flux = correct_image(image, ebv, extinction), correct_flux(flux, ebv)
        if ivar is None:
            return image, flux
        return image, flux, correct_flux(correct_flux(ivar, -ebv), -ebv)

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
        """Return the file and number in it of a training pair."""
        row = int(self.rows.train[index])
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return f"pair {row - int(self._starts[number])} of {self.files[number].path}"

    def close(self):
        """Close the files; safe to call twice."""
        for file in self.files:
            file.close()


def usable_batch(batch):
    """Tell whether each pair of a `PairsBatch` can be learnt from, tensor ``(n,)`` of bool."""
    good = batch.image.flatten(1).sum(dim=1).isfinite() & batch.flux.sum(dim=1).isfinite()
    good &= batch.flux[:, NORMALISATION].mean(dim=1) > 0
    if batch.ivar is not None:
        good &= (batch.ivar > 0).any(dim=1)
    return good


def _redshift(file, config):
    """Return redshifts (n,) float32 of a file that all have one, else None."""
    if "redshift" not in file.object.colnames:
        found, missing = None, len(file)
    else:
        # Masked or missing ones come as no number.
        column = np.ma.filled(np.ma.asarray(file.object["redshift"]).astype(float), np.nan)
        missing = int((~(np.isfinite(column) & (column > -0.01))).sum())
        found = column.astype(np.float32)
    if config.needs_redshift and missing:
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


def batches(stream, steps):
    """Yield ``(step, PairsBatch)``, the rows that are this process' share.

    Parameters
    ----------
    stream : PairsStream
    steps : range
    """
    workers = stream.config.run.workers
    if not workers:
        for step in steps:
            yield step, _local(stream.batch(step))
        return
    yield from DataLoader(
        _Steps(stream),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        collate_fn=_identity,
        worker_init_fn=_ignore_sigterm,
    )


class _Steps(Dataset):
    """Batch by step; every process that reads opens the files itself."""

    def __init__(self, stream):
        self._paths = [file.path for file in stream.files]
        self._config, self._chosen = stream.config, stream.chosen
        self._stream = None

    def __getitem__(self, step):
        if self._stream is None:
            self._stream = PairsStream(self._paths, self._config, chosen=self._chosen)
        return step, _local(self._stream.batch(step))


def _ignore_sigterm(number):
    """Ignore SIGTERM, sent to all by a cluster: the training process ends these after its step."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _identity(item):
    return item


def _local(batch):
    rows = local_rows(len(batch.flux))
    return PairsBatch(*(None if part is None else part[rows] for part in batch))


class Split(NamedTuple):
    """Numbers of pairs, counted through all files, increasing (but for validation).

    Attributes
    ----------
    train, validation, test : ndarray of int
        `test` is empty with a split at the end.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def select(files, config):
    """Tell whether each pair of the files may be used, by reading them all where that is asked for.

    Parameters
    ----------
    files : list of PairsFile
    config : TrainConfig

    Returns
    -------
    list of ndarray of bool
        For each file.

    Warns
    -----
    PhotospecWarning
        When pairs are left out.
    """
    if config.data.selection == "all":
        return [np.ones(len(file), bool) for file in files]
    positive = config.data.selection == "positive"
    chosen = []
    for file in files:
        parts = [
            _usable(file, slice(start, start + _AT_ONCE), config, positive)
            for start in range(0, len(file), _AT_ONCE)
        ]
        chosen.append(np.concatenate([np.zeros(0, bool), *parts]))
    left_out = sum(int((~part).sum()) for part in chosen)
    if left_out:
        warnings.warn(
            f"pairs: left out {left_out} of {sum(map(len, files))} that are not "
            f"{config.data.selection}",
            PhotospecWarning,
            stacklevel=2,
        )
    return chosen


def _usable(file, index, config, positive):
    truth = config.target == "truth"
    flux = file.truth_flux(index) if truth else file.flux(index)
    ivar = None if truth else file.ivar(index)
    good = usable(file.image(index), flux, ivar if config.data.weights != "none" else None)
    if positive:
        seen = np.ones(flux.shape, bool) if ivar is None else ivar > 0
        good &= ((flux > 0) | ~seen).all(axis=1)
    return good


def split(chosen, config):
    """Divide pairs into those for training, validation and tests.

    Parameters
    ----------
    chosen : list of ndarray of bool
        From `select`.
    config : TrainConfig

    Returns
    -------
    Split
    """
    data, n_validation = config.data, config.validation_pairs
    rows = np.flatnonzero(np.concatenate(chosen))
    if data.split == "end":
        n_first = int(chosen[0].sum())
        start = max(0, n_first - n_validation)
        train = np.concatenate([rows[:start], rows[n_first:]])
        return Split(train, rows[start:n_first], rows[:0])
    order = np.random.default_rng((data.split_seed, len(rows))).permutation(rows)
    n_test = round(data.test_fraction * len(rows))
    held_out = n_validation + n_test
    return Split(
        np.sort(order[held_out:]),
        np.sort(order[:n_validation]),
        np.sort(order[n_validation:held_out]),
    )


def _bad_bins(flux, ivar):
    return (ivar <= 0) | ~np.isfinite(ivar) | ~np.isfinite(flux)


def usable(image, flux, ivar=None):
    """Tell whether pairs can be learnt from, ``(n,)`` of bool.

    Parameters
    ----------
    image : ndarray (n, n_bands, ny, nx)
    flux : ndarray (n, n_wave)
    ivar : ndarray (n, n_wave), optional
        Where bins may be bad; without, every one has to be finite.

    Returns
    -------
    ndarray of bool
        False for pairs without light at 5600 to 6900 Angstrom, or of which more than half is
        missing.
    """
    n = len(flux)
    bad = ~np.isfinite(flux) if ivar is None else _bad_bins(flux, ivar)
    good = bad.mean(axis=1) <= (0 if ivar is None else _MOST)
    missing = ~np.isfinite(image.reshape(n, -1))
    good &= missing.mean(axis=1) <= (0 if ivar is None else _MOST)
    with np.errstate(invalid="ignore"):
        light = np.where(bad, 0, flux)[:, NORMALISATION].sum(axis=1)
    return good & (light > 0)


def fill_images(image):
    """Fill the missing pixels of images, which are no numbers, as in prediction."""
    missing = ~np.isfinite(image)
    if not missing.any():
        return image
    image = image.copy()
    for number in np.flatnonzero(missing.any(axis=(1, 2, 3))):
        image[number] = fill_bad(image[number], missing[number])
    return image


def bridge(flux, ivar):
    """Bridge bad bins by straight lines, the ends by their last good bin.

    Parameters
    ----------
    flux, ivar : ndarray (n, n_wave)

    Returns
    -------
    flux, ivar : ndarray (n, n_wave)
        All flux finite, `ivar` 0 where it was bad. Spectra without a good bin stay as they are.
    """
    bad = _bad_bins(flux, ivar)
    if not bad.any():
        return flux, ivar
    flux, ivar = flux.copy(), np.where(bad, 0, ivar)
    bins = np.arange(flux.shape[1])
    for number in np.flatnonzero(bad.any(axis=1) & ~bad.all(axis=1)):
        lost = bad[number]
        flux[number, lost] = np.interp(bins[lost], bins[~lost], flux[number, ~lost])
    return flux, ivar


def turn(image, swap, flip_x, flip_y):
    """Apply one of the eight symmetries of the square about pixel ``(size // 2, size // 2)``."""
    if swap:
        image = image.transpose(-2, -1)
    for wanted, axis in ((flip_x, -1), (flip_y, -2)):
        if wanted:
            # A flip of an even number of pixels moves that pixel by one; rolling puts it back.
            image = image.flip(axis).roll(1 - image.shape[axis] % 2, dims=axis)
    return image


def hide_bands(image, often, rng):
    """Take bands away from images at random, NaN throughout.

    Parameters
    ----------
    image : tensor (n, n_bands, ny, nx)
    often : sequence of float
        How often each band is missing, independently of the others; never all of them.
    rng : numpy.random.Generator

    Returns
    -------
    tensor (n, n_bands, ny, nx)
    """
    missing = rng.random((len(image), len(often))) < np.asarray(often)
    missing &= ~missing.all(axis=1, keepdims=True)
    return image.masked_fill(torch.from_numpy(missing)[..., None, None], torch.nan)


def shift(image, y, x):
    """Crop to the same size with the centre (y, x) pixels off, the edge continued."""
    ny, nx = image.shape[-2:]
    most = max(abs(y), abs(x))
    padded = pad(image, (most,) * 4, mode="replicate")
    return padded[..., most + y : most + y + ny, most + x : most + x + nx]


def augment(image, rng, config):
    """Mirror, turn and shift images at random.

    Parameters
    ----------
    image : tensor (n, n_bands, ny, nx)
    rng : numpy.random.Generator
    config : TrainConfig
        Its ``data`` says what of this is done, and whether to every image by itself.

    Returns
    -------
    tensor (n, n_bands, ny, nx)
    """
    data, n = config.data, len(image)
    n_ways = n if data.each_image else 1
    ways = rng.integers(2, size=3) if n_ways == 1 else rng.integers(2, size=(n, 3))
    ways = ways.reshape(n_ways, 3)
    if not data.flips:
        # of the eight symmetries those four that are rotations
        ways[:, 0] = ways[:, 1] ^ ways[:, 2]
    if not data.rotations:
        ways[:, 0] = 0
    if not (data.flips or data.rotations):
        ways[:] = 0
    image = _by_group(image, ways, lambda part, way: turn(part, *way))
    if data.crop and not config.network_crops:
        places = rng.integers(-data.crop, data.crop + 1, size=(n_ways, 2))
        image = _by_group(image, places, lambda part, place: shift(part, *map(int, place)))
    return image


def _by_group(image, ways, change):
    """Change images, those alike together."""
    if len(ways) == 1:
        return change(image, ways[0])
    result = torch.empty_like(image)
    for way in np.unique(ways, axis=0):
        chosen = torch.from_numpy((ways == way).all(axis=1))
        result[chosen] = change(image[chosen], way)
    return result
