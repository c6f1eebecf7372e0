"""Spectrographs and baselines on the same pairs: everything that reports and cards are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from astropy.table import Table, hstack

from photospec.errors import InputError
from photospec.evaluation.answers import Answer
from photospec.evaluation.compared import (
    Rivals,
    baseline_answers,
    measure_baselines,
    property_trees,
)
from photospec.evaluation.draws import ResultStore, key_of, pair_images
from photospec.evaluation.measured import QUANTITIES
from photospec.evaluation.observed import (
    brightness_and_colour,
    check_pairs,
    measure_observed,
    reference_spectra,
)
from photospec.evaluation.predicted import (
    N_EXAMPLES,
    answers_of,
    measure_predictions,
    weights_key,
)
from photospec.utils.optional import optional_imports

if TYPE_CHECKING:
    from photospec.pairs import PairsFile
    from photospec.spectrograph import PhotoSpectrograph

__all__ = ["Comparison", "Settings", "compare_pairs"]


@dataclass(frozen=True)
class Settings:
    """What a report or a card is made from.

    Attributes
    ----------
    n_galaxies : int or None
        The first so many pairs; None takes all.
    n_candidates : int
        Spectra drawn for each.
    n_measured : int
        Galaxies whose spectra are measured in full (populations, lines).
    n_set : int
        Candidates per galaxy that are measured in full: the best and the most similar others.
    n_training_measured : int
        Training spectra measured in full, behind the trees that predict properties.
    n_unusual : int
        Simulated images of each kind that no prediction should be trusted for; 0 for none.
    redshift_range : tuple of float
    r_limit : float
        Total r magnitude, where the pairs tell it.
    skip_last : int
        Pairs at the end of the first training file that were kept for validation.
    method : {"auto", "bulk", "ppxf"}
        How spectra are measured, see ``photospec.evaluation.measured.measure_spectra``.
    seed, n_processes : int
    progress : bool
    """

    n_galaxies: int | None = None
    n_candidates: int = 16
    n_measured: int = 500
    n_set: int = 4
    n_training_measured: int = 2000
    n_unusual: int = 50
    redshift_range: tuple = (0.0, np.inf)
    r_limit: float = np.inf
    skip_last: int = 512
    method: str = "auto"
    seed: int = 0
    n_processes: int = 1
    progress: bool = False

    @classmethod
    def of_card(cls, **changes: object) -> Self:
        """Return the settings of a model card: the Main Galaxy Sample at 0.05 < z < 0.15."""
        card = {"n_galaxies": 5000, "redshift_range": (0.05, 0.15), "r_limit": 17.77}
        return cls(**(card | {"n_unusual": 100} | changes))

    @property
    def sample(self) -> str:
        """What galaxies, in words."""
        low, high = self.redshift_range
        words = []
        if low > 0 or np.isfinite(high):
            words.append(f"{low:g} < z < {high:g}")
        if np.isfinite(self.r_limit):
            words.append(f"r < {self.r_limit:g}")
        return ", ".join(words) or "all redshifts and magnitudes"


@dataclass(frozen=True, eq=False)
class Comparison:
    """What was found for n pairs.

    Attributes
    ----------
    settings : Settings
    index : ndarray of int (n,)
        Rows of the pairs file.
    pairs : dict
        ``name``, ``simulated`` and ``provenance`` of the pairs file.
    spectrographs : dict of str to dict
        By name: provenance of the weights, and how spectra were drawn.
    table : astropy.table.Table
        Columns of the pairs, and ``magnitude``, ``colour`` as measured on the images.
    colour_name : str
    observed : dict of ndarray
        Of the pairs' own spectra, see ``photospec.evaluation.observed.measure_observed``.
    answers : list of Answer
        Of the spectrographs, then of the baselines.
    predicted : dict of str to dict of ndarray
        All that was kept of each spectrograph, see ``photospec.evaluation.predicted``.
    examples : dict of str to ndarray
        Spectra of the first galaxies, to be drawn.
    rivals : Rivals
    store : ResultStore
    """

    settings: Settings
    index: np.ndarray
    pairs: dict
    spectrographs: dict
    table: Table
    colour_name: str
    observed: dict
    answers: list[Answer]
    predicted: dict
    examples: dict
    rivals: Rivals
    store: ResultStore
    _truth: dict = field(default_factory=dict, repr=False)

    def __len__(self):
        return len(self.index)

    @property
    def redshift(self) -> np.ndarray:
        """True redshifts (n,)."""
        return np.asarray(self.table["redshift"], float)

    @property
    def truth(self) -> dict[str, np.ndarray]:
        """Quantities measured on the true spectra, dict of ndarray (n_measured,)."""
        if not self._truth:
            values = np.moveaxis(self.observed["measured"], -1, 0)
            self._truth.update(zip(QUANTITIES, values, strict=True))
        return self._truth

    @property
    def n_measured(self) -> int:
        """Galaxies measured in full."""
        return len(self.observed["measured"])

    def line_flux(self, name: str) -> np.ndarray:
        """Return the true flux (n,) of a line where the pairs tell it; else as measured
        (n_measured,).
        """
        column = f"{name}_flux"
        if column in self.table.colnames:
            return np.asarray(self.table[column], float)
        return self.truth[column]

    def having(self, what: str) -> list[Answer]:
        """Return answers that have `what`, an attribute."""
        return [a for a in self.answers if getattr(a, what) is not None]


def select(pairs, settings):
    """Return numbers of the test galaxies: the first so many in the ranges asked for."""
    z = np.asarray(pairs.object["redshift"], float)
    inside = (z > settings.redshift_range[0]) & (z < settings.redshift_range[1])
    table = pairs.truth
    if "magnitude_r" in table.colnames:
        inside &= np.asarray(table["magnitude_r"], float) < settings.r_limit
    index = np.flatnonzero(inside)[: settings.n_galaxies]
    if len(index) < 3:
        raise InputError(
            f"pairs: expected galaxies at {settings.redshift_range[0]} < z < "
            f"{settings.redshift_range[1]} to r = {settings.r_limit}, got {len(index)} in "
            f"{pairs.path}"
        )
    return index


def compare_pairs(
    spectrographs: Mapping[str, PhotoSpectrograph],
    pairs: PairsFile,
    training: Sequence[str | PathLike] = (),
    settings: Settings | None = None,
    *,
    folder: str | PathLike | None = None,
) -> Comparison:
    """Measure spectrographs and baselines on pairs.

    Parameters
    ----------
    spectrographs : dict of str to PhotoSpectrograph
        By name. They take the same images.
    pairs : PairsFile
        Never trained on.
    training : sequence of path-like
        Pairs files that the spectrographs learned from; the baselines learn from them too.
        Without, they learn from other galaxies of `pairs`.
    settings : Settings, optional
    folder : path-like, optional
        Keeps what was drawn and measured, for the next run.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        No galaxies in the ranges asked for; other bands or wavelengths.
    MissingPackageError
        jinja2, qp or scikit-learn is not installed: the extra ``report`` brings them.
    """
    settings = settings or Settings()
    if settings.n_measured < 3:
        raise InputError(f"n_measured: expected at least 3, got {settings.n_measured}")
    _check_packages()
    check_pairs(pairs)
    store, index = ResultStore(folder), select(pairs, settings)
    first = next(iter(spectrographs.values()))
    lsf = first.line_spread()
    size = settings.n_candidates, settings.seed, settings.redshift_range
    full = settings.n_measured, settings.method, QUANTITIES
    # Not of how many galaxies are used: with more of them, those that were drawn are kept.
    first_ones = np.asarray(pairs.object["redshift"][:64], float)
    ranges = settings.redshift_range, settings.r_limit
    chosen = key_of(pairs.provenance, len(pairs), first_ones, ranges)
    mine = store.within(f"pairs-{chosen}")
    observed = measure_observed(
        pairs, index, lsf, settings, mine.within(f"observed-{key_of(lsf, full)}")
    )
    predicted = {}
    for name, spectrograph in spectrographs.items():
        weights = weights_key(spectrograph, pair_images(pairs)(index[0]))
        key = key_of(weights, size, full, settings.n_set)
        predicted[name] = measure_predictions(
            spectrograph, pairs, index, settings, mine.within(f"predicted-{key}")
        )
    rivals = Rivals(pairs, index, training, settings, store)
    key = key_of(lsf, full, rivals.learned.redshift, rivals.own)
    found = measure_baselines(rivals, pairs, index, lsf, settings, mine.within(f"baselines-{key}"))
    table = _table(pairs, index)
    table["magnitude"], table["colour"], colour = brightness_and_colour(
        rivals.photometry, pairs.bands
    )
    truth = dict(zip(QUANTITIES, np.moveaxis(observed["measured"], -1, 0), strict=True))
    trees = property_trees(rivals, truth, lsf, settings, store)
    several = len(predicted) > 1
    answers = [
        answer
        for name, one in predicted.items()
        for answer in answers_of(name, one, prefix=name if several else "")
    ]
    return Comparison(
        settings=settings,
        index=index,
        pairs={
            "name": Path(pairs.path).name,
            "simulated": pairs.has_truth,
            "provenance": pairs.provenance,
            "bands": ",".join(pairs.bands),
            "number": len(pairs),
            "training": [Path(path).name for path in training],
        },
        spectrographs={name: _described(s, settings) for name, s in spectrographs.items()},
        table=table,
        colour_name=colour,
        observed=observed,
        answers=answers + baseline_answers(rivals, found, trees),
        predicted=predicted,
        examples=_examples(pairs, index, predicted, found),
        rivals=rivals,
        store=store,
    )


def _check_packages():
    with optional_imports():
        import jinja2  # noqa: F401
        import qp  # noqa: F401
        import sklearn  # noqa: F401


def _table(pairs, index):
    """Return columns of the catalogue and of the truth, one row per galaxy used."""
    objects, truth = pairs.object[index], pairs.truth
    if len(truth.colnames):
        truth = truth[index]
        truth.remove_columns([name for name in truth.colnames if name in objects.colnames])
        objects = hstack([objects, truth]) if truth.colnames else objects
    return objects


def _described(spectrograph, settings):
    config = spectrograph.config
    sampling = getattr(config, "sampling", None)
    told = {"bands": ",".join(config.bands), "n_candidates": settings.n_candidates}
    if sampling is not None:
        told |= {
            "sampler": f"{sampling.sampler}, {sampling.n_steps_base} and "
            f"{sampling.n_steps_super_resolution} steps",
            "best candidate": sampling.choose,
        }
    if getattr(spectrograph, "dtype", None):
        told["precision"] = f"{spectrograph.dtype} on {spectrograph.device}"
    return told | {str(key): str(value) for key, value in dict(config.provenance).items()}


def _examples(pairs, index, predicted, baselines):
    flux, _ = reference_spectra(pairs, index[:N_EXAMPLES])
    made = {"truth": np.asarray(flux, np.float32)}
    made |= {name: found["example"][: len(flux)] for name, found in predicted.items()}
    return made | {
        f"baseline {name.removesuffix('_example')}": values[: len(flux)]
        for name, values in baselines.items()
        if name.endswith("_example")
    }
