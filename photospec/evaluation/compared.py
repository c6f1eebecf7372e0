"""What the spectrograph has to beat, on the same pairs and reduced in the same way.

With the pairs that the spectrograph learned from, baselines learn from those: boosted trees,
nearest neighbours, and the networks of `photospec.training.direct_regression`. Without, they learn
from the evaluated pairs themselves, each galaxy answered by others: the photometric baselines
then know the survey, which the spectrograph may not.
"""

import numpy as np

from photospec.evaluation.answers import Answer, Mixture, binned_errors, spectrum_numbers
from photospec.evaluation.baselines import (
    TrainingPairs,
    boosted_trees,
    crossed,
    neighbours,
    photometry_of,
    redshift_merit,
)
from photospec.evaluation.draws import key_of, redshifts_of
from photospec.evaluation.measured import QUANTITIES, measure_spectra
from photospec.evaluation.observed import reference_spectra
from photospec.evaluation.properties import PROPERTIES
from photospec.evaluation.ranking import mean_spectrum
from photospec.evaluation.records import collect
from photospec.evaluation.spectra import pixel_errors

__all__ = ["TREES", "Rivals", "baseline_answers", "measure_baselines", "property_trees"]

#: Name of the trees that predict what they predict from photometry.
TREES = "boosted trees on photometry"
NEAREST, MEAN, DIRECT = "nearest neighbour", "mean of 10 neighbours", "direct regression"
_N_NEIGHBOURS, _N_MEAN = 20, 10
_MEASURES = ("all", "continuum", "line")


class Rivals:
    """Baselines that have learned.

    Parameters
    ----------
    pairs : PairsFile
    index : ndarray of int (n,)
        Rows of the pairs that are used.
    training : sequence of path-like
        Pairs files to learn from; empty: the pairs themselves.
    settings : photospec.evaluation.on_pairs.Settings
    store : photospec.evaluation.draws.ResultStore

    Attributes
    ----------
    own : bool
        Whether they learned from the evaluated pairs.
    learned : TrainingPairs
    photometry : Photometry
        Of the galaxies used.
    redshift : dict of str to ndarray (n,)
    neighbours : ndarray of int (n, k)
        Rows of `learned`.
    """

    def __init__(self, pairs, index, training, settings, store):
        from photospec.evaluation.features import Photometry

        self.own, self.settings, self.store = not training, settings, store
        # Of all pairs, not only those of this card: what trees say is kept for the next one.
        every = photometry_of(pairs, len(pairs), store)
        self.photometry = Photometry(every.features[index], every.compact[index])
        if self.own:
            z = np.asarray(pairs.object["redshift"], float)[index]
            table = pairs.truth
            truth = {
                name: np.asarray(table[name])[index]
                for name in table.colnames
                if table[name].dtype.kind in "fi"
            }
            place = np.stack([np.zeros(len(index), int), index], axis=1)
            self.learned = TrainingPairs((str(pairs.path),), self.photometry, z, truth, place)
        else:
            self.learned = TrainingPairs.read(
                training, bands=pairs.bands, skip_last=settings.skip_last, store=store
            )
        others = self.learned.photometry.compact
        options = {"itself": self.own}
        self.neighbours = neighbours(self.photometry.compact, others, _N_NEIGHBOURS, **options)
        self.redshift = {TREES: self._trees()}
        self.networks = {} if self.own else self._networks()

    def _trees(self):
        x, y, seed = self.learned.photometry.features, self.learned.redshift, self.settings.seed
        key = key_of(y, self.photometry.features, seed, self.own)

        def fit(features, target, tune=not self.own):
            return boosted_trees(features, target, merit=redshift_merit, tune=tune, seed=seed)

        def make():
            if self.own:
                return {"redshift": crossed(fit, x, y, seed=seed)}
            return {"redshift": fit(x, y)(self.photometry.features)}

        return self.store.get(f"trees-{key}", make)["redshift"]

    def _networks(self):
        # Training needs torch, which is no business of this room otherwise.
        from photospec.training.direct_regression import train_regressor

        quiet = {"progress": self.settings.progress}
        return {
            target: train_regressor(target, self.learned.paths, self.store.folder, **quiet)
            for target in ("redshift", "spectrum")
        }

    def spectra(self, rows, image):
        """Return the spectra (n, n_wave) by name, and redshifts (n,) at which they were learned."""
        near = self.neighbours[rows][:, :_N_MEAN]
        flux = self.learned.flux(near.ravel()).reshape(*near.shape, -1)
        z = self.learned.redshift[near]
        found = {NEAREST: flux[:, 0], MEAN: mean_spectrum(flux)}
        places = {NEAREST: z[:, 0], MEAN: z.mean(axis=1)}
        if self.networks:
            from photospec.training.direct_regression import predict_regressor

            direct = predict_regressor(self.networks["spectrum"], image)
            found[DIRECT] = np.maximum(direct, 1e-3)
            places[DIRECT] = predict_regressor(self.networks["redshift"], image)[:, 0]
        return found, places


def measure_baselines(rivals, pairs, index, lsf, settings, store):
    """Measure the baselines' spectra, a row per pair.

    Parameters
    ----------
    rivals : Rivals
    pairs : PairsFile
    index : ndarray of int (n,)
    lsf : ndarray (n_wave,)
    settings : photospec.evaluation.on_pairs.Settings
    store : photospec.evaluation.draws.ResultStore

    Returns
    -------
    dict of ndarray (n, ...)
    """
    redshift = np.asarray(pairs.object["redshift"], float)

    def measure(rows):
        chosen, found = index[rows], {}
        truth, _ = reference_spectra(pairs, chosen)
        few = rows < settings.n_measured
        spectra, places = rivals.spectra(rows, pairs.image(chosen))
        for name, flux in spectra.items():
            errors = pixel_errors(flux, truth, redshift[chosen])
            found[f"{name}_errors"] = np.stack([errors[m] for m in _MEASURES], axis=1)
            found[f"{name}_bins"] = binned_errors(flux, truth)
            found[f"{name}_redshift"] = places[name]
            numbers = spectrum_numbers(flux, places[name], lsf)
            found |= {f"{name}_{key}": value for key, value in numbers.items()}
            if few.any():
                own, _ = redshifts_of(np.asarray(flux[few], np.float32), lsf, settings.n_processes)
                values = measure_spectra(
                    flux[few], own, lsf, method=settings.method, n_processes=settings.n_processes
                )
                values = np.stack([values[q] for q in QUANTITIES], axis=-1)
                found[f"{name}_measured"] = values
            if rows[0] == 0:
                found[f"{name}_example"] = np.asarray(flux, np.float32)
        return found

    return collect(measure, len(index), store, progress=settings.progress, description="baselines")


def baseline_answers(rivals, found, trees):
    """Return answers of the baselines.

    Parameters
    ----------
    rivals : Rivals
    found : dict of ndarray
        From `measure_baselines`.
    trees : dict of ndarray (n_measured,)
        From `property_trees`.

    Returns
    -------
    list of Answer
    """
    z = rivals.redshift[TREES]
    made = [Answer(TREES, "baseline", z, measured=trees, main=True)]
    near = Mixture.of_draws(rivals.learned.redshift[rivals.neighbours])
    names = [n for n in (NEAREST, MEAN, DIRECT) if f"{n}_errors" in found]
    made += [
        Answer(
            name,
            "baseline",
            found[f"{name}_redshift"],
            dict(zip(_MEASURES, found[f"{name}_errors"].T, strict=True)),
            found[f"{name}_bins"],
            {key: found[f"{name}_{key}"] for key in ("g_r", "r_i", "dn4000")},
            dict(zip(QUANTITIES, np.moveaxis(found[f"{name}_measured"], -1, 0), strict=True)),
            density=near if name == MEAN else None,
            main=name in (MEAN, DIRECT),
        )
        for name in names
    ]
    quantiles = np.quantile(rivals.learned.redshift, (np.arange(24) + 0.5) / 24)
    # One density for all, which takes no memory for each.
    prior = Mixture.of_draws(quantiles[None])
    parts = (getattr(prior, key) for key in ("weight", "centre", "width"))
    prior = Mixture(*(np.broadcast_to(part, (len(z), 24)) for part in parts))
    same = np.full(len(z), np.median(rivals.learned.redshift))
    made.append(Answer("the same for all", "baseline", same, density=prior))
    return made


def property_trees(rivals, measured, lsf, settings, store):
    """Return properties of the measured galaxies by trees on photometry.

    Parameters
    ----------
    rivals : Rivals
    measured : dict of ndarray (n_measured,)
        True properties of the evaluated pairs.
    lsf : ndarray (n_wave,)
    settings : photospec.evaluation.on_pairs.Settings
    store : photospec.evaluation.draws.ResultStore

    Returns
    -------
    dict of ndarray (n_measured,)
        Keys of `photospec.evaluation.properties.PROPERTIES`.
    """
    n = len(next(iter(measured.values())))
    x, seed = rivals.photometry.features[:n], settings.seed

    def fit(features, target):
        return boosted_trees(features, target, tune=False, seed=seed)

    if rivals.own:
        key = key_of(x, *(measured[name] for name in PROPERTIES))
        return store.get(
            f"crossed-properties-{key}",
            lambda: {name: crossed(fit, x, measured[name], seed=seed) for name in PROPERTIES},
        )
    learned = rivals.learned
    some = min(settings.n_training_measured, len(learned))
    rows = np.sort(np.random.default_rng(seed).choice(len(learned), some, replace=False))
    target = measure_spectra(
        learned.flux(rows),
        learned.redshift[rows],
        lsf,
        method=settings.method,
        store=store.within("measured"),
        n_processes=settings.n_processes,
        progress=settings.progress,
    )

    def make():
        made = {}
        for name in PROPERTIES:
            known = name in learned.truth
            features = learned.photometry.features
            y = learned.truth[name] if known else target[name]
            made[name] = fit(features if known else features[rows], y)(x)
        return made

    return store.get(f"properties-{key_of(x, learned.redshift, some, seed)}", make)
