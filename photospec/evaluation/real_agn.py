"""AGN or not: real galaxies with the SDSS pipeline's class, beside trees that learnt from such.

Images have the galaxies' real fluxes with the noise that is missing to the survey's, as in
`photospec.evaluation.real_redshifts`. What is judged is what users get: ``agn_score`` and ``agn``
of `photospec.analysis.measure_candidates`, with the threshold of the weights.
"""

import numpy as np

from photospec.analysis import combine_candidates, measure_properties
from photospec.errors import InputError
from photospec.evaluation.agn import balanced_accuracy, crossed_decision
from photospec.evaluation.baselines import boosted_trees
from photospec.evaluation.draws import ResultStore, image_of, key_of
from photospec.evaluation.real_redshifts import MISSING, catalogue_photometry, render_noisy
from photospec.evaluation.value import Section, bootstrap

__all__ = ["area", "real_agn"]

_ORDINARY = ("starforming", "starburst")
_AT_ONCE = 16


def area(score, truth):
    """Return the area under the receiver operating characteristic: 1 for a perfect order, 0.5 for
    chance.

    Parameters
    ----------
    score : array_like (n,)
        The greater, the more of an AGN.
    truth : array_like of bool (n,)

    Returns
    -------
    Value
    """
    from sklearn.metrics import roc_auc_score

    def statistic(s, t):
        return np.nan if t.all() or not t.any() else roc_auc_score(t, s)

    return bootstrap(statistic, np.asarray(score, float), np.asarray(truth, bool))


def _of_known_class(galaxies):
    """Return galaxies that the pipeline calls AGN, star-forming or starburst, and which are AGN."""
    known = np.isin(galaxies.kind, ("agn", *_ORDINARY))
    return galaxies[known], galaxies.kind[known] == "agn"


def _scores(spectrograph, galaxies, n_candidates, seed, threshold, store):
    """Return ``agn_score`` (n,), NaN where there is none: of the images, or of their candidates'
    lines.
    """
    images = render_noisy(galaxies, MISSING, size=spectrograph.config.image_size, seed=seed)
    images = [image_of(image, tuple("ugriz"), 0.396, 0.0) for image in images]
    if spectrograph.tells_agn:
        return spectrograph.agn_score(images).astype(float)

    def scores(some):
        drawn = list(spectrograph.sample_each(some, n_candidates, seed=seed))
        # At the redshifts they were drawn at, and without indices: what is judged is the lines.
        redshift = np.concatenate([one.redshift for one in drawn])
        spectra = [one.spectra for one in drawn]
        table = measure_properties(spectra, redshift=redshift, indices=(), n_processes=1)
        best = [one.best_index for one in drawn]
        row = combine_candidates(table, best, agn_threshold=threshold)["agn_score"]
        return {"score": np.ma.filled(np.ma.asarray(row, float), np.nan)}

    found = [
        store.get(f"{start:05d}", lambda start=start: scores(images[start : start + _AT_ONCE]))
        for start in range(0, len(images), _AT_ONCE)
    ]
    return np.concatenate([part["score"] for part in found])


def real_agn(spectrograph, galaxies, others, *, n_candidates=8, seed=0, folder=None):
    """Tell AGN from star-forming galaxies by the lines of predicted spectra, and by trees.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
    galaxies : photospec.simulation.RealGalaxies
        With kinds, never trained on.
    others : photospec.simulation.RealGalaxies
        Of the same catalogue, for the trees to learn from.
    n_candidates : int
        Of each image.
    seed : int
    folder : path-like, optional
        Keeps the scores.

    Returns
    -------
    Section
    """
    (galaxies, truth), (others, learned) = _of_known_class(galaxies), _of_known_class(others)
    if truth.all() or not truth.any() or learned.all() or not learned.any():
        raise InputError(
            "galaxies, others: expected some of the kind agn and some starforming or starburst in "
            f"each, got {truth.sum()} of {len(truth)} and {learned.sum()} of {len(learned)}"
        )
    threshold = spectrograph.config.agn_threshold
    how = "Told from the image"
    if not spectrograph.tells_agn:
        how = f"Told from the lines of {n_candidates} candidates each"
    key = key_of(galaxies.flux, n_candidates, seed, spectrograph.config.provenance)
    store = ResultStore(folder).within(f"real-agn-{key}")
    score = _scores(spectrograph, galaxies, n_candidates, seed, threshold, store)
    # Without lines there is nothing to call an AGN by.
    ordered = np.where(np.isfinite(score), score, np.nanmin(score) - 1)
    trees = boosted_trees(
        catalogue_photometry(others), learned, classify=True, tune=False, seed=seed
    )(catalogue_photometry(galaxies))
    told = {
        f"agn, agn_score above {threshold:g}": (ordered, ordered > threshold),
        "agn_score, threshold from other galaxies": (ordered, crossed_decision(score, truth)),
        "trees, catalogue photometry": (trees, trees > 0.5),
    }
    rows = [
        {
            "decided by": name,
            "area": area(value, truth),
            "balanced accuracy": balanced_accuracy(decision, truth),
            "of AGN found": bootstrap(np.mean, decision[truth]),
            "of others called AGN": bootstrap(np.mean, decision[~truth]),
        }
        for name, (value, decision) in told.items()
    ]
    note = (
        f"{len(truth)} real galaxies that were never trained on, {truth.sum()} of them AGN by the "
        f"SDSS pipeline, the others star-forming or starburst. {how}; "
        f"{np.isnan(score).sum()} have no score and count as no AGN. Trees learnt from "
        f"{len(learned)} others."
    )
    return Section("real_agn", "AGN or not, real galaxies", rows, note)
