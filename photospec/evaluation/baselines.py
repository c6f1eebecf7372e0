"""What the spectrograph has to beat, trained on the same pairs.

Boosted trees on photometry, the most similar training galaxy, and networks that regress the
redshift or the mean spectrum directly (`photospec.training.direct_regression`).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.spatial import cKDTree

from photospec.errors import InputError
from photospec.evaluation.draws import ResultStore, key_of
from photospec.evaluation.features import Photometry, measure_photometry
from photospec.evaluation.observed import bridged, reference_spectra
from photospec.evaluation.redshift import sigma_mad
from photospec.pairs import PairsFile
from photospec.utils.optional import optional_imports
from photospec.utils.stats import robust_std

__all__ = ["TrainingPairs", "boosted_trees", "crossed", "nearest", "neighbours"]

#: Settings of the trees that are tried.
GRID = {"learning_rate": (0.05, 0.1), "max_leaf_nodes": (15, 31, 63)}
_N_TREES = 400  # at most: early stopping on a tenth of the galaxies ends sooner
# Galaxies from which trees can learn anything.
_LEAST = 20


@dataclass(frozen=True)
class TrainingPairs:
    """Photometry and truth of pairs to train baselines on.

    Attributes
    ----------
    paths : tuple of str
    photometry : Photometry
    redshift : ndarray (n,)
    truth : dict of ndarray (n,)
        Numeric columns of the truth table that all files have.
    place : ndarray (n, 2)
        File and row of each.
    """

    paths: tuple
    photometry: Photometry
    redshift: np.ndarray
    truth: dict
    place: np.ndarray

    def __len__(self):
        return len(self.redshift)

    @classmethod
    def read(cls, paths, *, bands, skip_last=512, store=None):
        """Measure the images of pairs files.

        Parameters
        ----------
        paths : sequence of path-like
        bands : sequence of str
        skip_last : int
            Pairs at the end of the first file that training kept for validation.
        store : ResultStore, optional
            Keeps the photometry.
        """
        if not paths:
            raise InputError("training: expected at least one pairs file, got none")
        store, parts, redshift, truth, place = store or ResultStore(), [], [], [], []
        for number, path in enumerate(paths):
            with PairsFile(path, bands=bands) as file:
                n = len(file) - (skip_last if number == 0 else 0)
                if n < 1:
                    raise InputError(
                        f"training: expected more than {skip_last} pairs, got {len(file)} in {path}"
                    )
                parts.append(photometry_of(file, n, store))
                redshift.append(np.asarray(file.object["redshift"][:n], float))
                table = file.truth
                truth.append(
                    {
                        c: np.asarray(table[c][:n])
                        for c in table.colnames
                        if table[c].dtype.kind in "fi"
                    }
                )
                place.append(np.stack([np.full(n, number), np.arange(n)], axis=1))
        common = set.intersection(*map(set, truth)) if truth else set()
        return cls(
            tuple(map(str, paths)),
            Photometry.concatenate(parts),
            np.concatenate(redshift),
            {c: np.concatenate([t[c] for t in truth]) for c in sorted(common)},
            np.concatenate(place),
        )

    def flux(self, rows):
        """Return spectra (n, n_wave) of rows of this table, noiseless if they were simulated."""
        place = self.place[rows]
        flux = None
        for number in np.unique(place[:, 0]):
            with PairsFile(self.paths[number]) as file:
                mine = place[:, 0] == number
                part = bridged(*reference_spectra(file, place[mine, 1]))
            if flux is None:
                flux = np.empty((len(place), part.shape[1]), part.dtype)
            flux[mine] = part
        return flux


def photometry_of(file, n, store=None):
    """Measure the photometry of the first n pairs of a file, kept in the store."""
    name = f"photometry-{key_of(file.provenance, len(file), n)}"
    made = (store or ResultStore()).get(
        name,
        lambda: vars(
            measure_photometry(file.image, n, bands=file.bands, pixel_scale=file.pixel_scale)
        ),
    )
    return Photometry(made["features"], made["compact"])


def boosted_trees(features, target, *, classify=False, tune=True, seed=0, merit=None):
    """Fit histogram gradient boosting, tuned over `GRID` with early stopping.

    Parameters
    ----------
    features : ndarray (n, n_features)
    target : ndarray (n,)
        Numbers, or with `classify` whether something is so.
    classify : bool
        Predict a probability; both classes weigh the same.
    tune : bool
        Try all of `GRID`; else only its middle.
    seed : int
    merit : callable, optional
        Of (prediction, target), the less the better; by default the mean absolute error.

    Returns
    -------
    predict : callable
        Features -> numbers (n,), or probabilities.
    """
    with optional_imports():
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    good = np.isfinite(target)
    features, target = features[good], target[good]
    held = np.random.default_rng(seed).random(len(target)) < 0.15
    merit = merit or (lambda prediction, truth: np.mean(np.abs(prediction - truth)))
    best = None
    losses = (None,) if classify else ("absolute_error", "squared_error")
    tried = list(product(losses, *GRID.values()))
    for loss, *values in tried if tune else tried[len(tried) // 4 :][:1]:
        options = dict(zip(GRID, values)) | {
            "max_iter": _N_TREES,
            "early_stopping": True,
            "validation_fraction": 0.1,
            "n_iter_no_change": 20,
            "l2_regularization": 1.0,
            "random_state": seed,
        }
        if classify:
            model = HistGradientBoostingClassifier(class_weight="balanced", **options)
            model.fit(features[~held], target[~held].astype(int))
            prediction = model.predict_proba(features[held])[:, 1]
        else:
            model = HistGradientBoostingRegressor(loss=loss, **options)
            model.fit(features[~held], target[~held])
            prediction = model.predict(features[held])
        found = merit(prediction, target[held].astype(float))
        if best is None or found < best[0]:
            best = found, model
    model = best[1]
    if classify:
        return lambda x: model.predict_proba(x)[:, 1]
    return model.predict


def redshift_merit(prediction, truth):
    """Scatter of redshifts, the merit of trees that predict them."""
    return sigma_mad(prediction, truth)


def crossed(fit, features, target, *, n_folds=5, seed=0):
    """Return answers for galaxies from models that learned from others of the same table.

    Parameters
    ----------
    fit : callable
        (features, target) -> a function of features.
    features : ndarray (n, n_features)
    target : ndarray (n,)
    n_folds, seed : int

    Returns
    -------
    ndarray (n,)
        NaN where too few others are known.
    """
    fold = np.random.default_rng(seed).permutation(len(target)) % n_folds
    found = np.full(len(target), np.nan)
    for k in range(n_folds):
        learn = (fold != k) & np.isfinite(np.asarray(target, float))
        if learn.sum() >= _LEAST and len(np.unique(target[learn])) > 1:
            found[fold == k] = fit(features[learn], target[learn])(features[fold == k])
    return found


def neighbours(compact, others, number, *, itself=False):
    """Return rows of the galaxies nearest in colours, magnitude and size.

    Parameters
    ----------
    compact, others : ndarray (n, n_columns), ndarray (n_others, n_columns)
        As of `photospec.evaluation.features.Photometry`.
    number : int
    itself : bool
        The galaxies are among the others, in the same order, and do not count for themselves.

    Returns
    -------
    ndarray of int (n, number)
        Nearest first.
    """
    # Robust scale per column; the bluest colour is the noisiest and counts accordingly.
    scale = robust_std(others, axis=0)
    scale = np.where(scale > 0, scale, 1) * np.array([2.0, *[1.0] * (others.shape[1] - 1)])
    number = min(number, len(others) - itself)
    found = cKDTree(others / scale).query(compact / scale, k=np.arange(1, number + 1 + itself))[1]
    if not itself:
        return found
    own = found == np.arange(len(found))[:, None]
    own[~own.any(axis=1), -1] = True  # of exact copies the last may be the galaxy itself
    return found[~own].reshape(len(found), number)


def nearest(training, photometry):
    """Return rows of the training galaxies nearest in colours, magnitude and size.

    Parameters
    ----------
    training : TrainingPairs
    photometry : Photometry

    Returns
    -------
    ndarray of int (n,)
    """
    return neighbours(photometry.compact, training.photometry.compact, 1)[:, 0]
