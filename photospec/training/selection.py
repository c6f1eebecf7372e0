"""Which pairs a run learns from, which it validates on, and which it leaves for tests."""

import warnings
from typing import NamedTuple

import numpy as np

from photospec.errors import PhotospecWarning
from photospec.training.missing import usable

__all__ = ["Split", "select", "split"]

_AT_ONCE = 256


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
    """Whether each pair of the files may be used, by reading them all where that is asked for.

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
