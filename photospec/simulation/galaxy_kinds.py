"""Which emission lines real galaxies have, from their photometry, when frequencies are skewed.

A catalogue of classified galaxies may hold as many of each class, which no sample of the sky
does. Colours at a redshift say how likely each class is; that the classes are rarer or commoner
than in the catalogue is found from the sample itself by the expectation maximisation of Saerens,
Latinne & Decaestecker (2002, Neural Computation 14, 21).
"""

from dataclasses import replace

import numpy as np

from photospec.errors import InputError
from photospec.utils.optional import optional_imports

__all__ = ["assign_kinds", "label_shift", "natural_sample"]

_N_TREES = 150  # at most: early stopping ends sooner


def label_shift(posterior, prior, *, n_iterations=500, tolerance=1e-6):
    """Estimate the class frequencies of a sample, when a classifier learnt from others.

    Equation 2.2 of Saerens et al. (2002), repeated until it does not change: frequencies are the
    means of the posteriors, which are those given times new over old frequencies.

    Parameters
    ----------
    posterior : array_like (n, n_classes)
        Of the sample, from a classifier that was trained where the frequencies are `prior`.
    prior : array_like (n_classes,)
    n_iterations : int
    tolerance : float
        Largest change of a frequency at which it ends.

    Returns
    -------
    frequency : ndarray (n_classes,)
    posterior : ndarray (n, n_classes)
        With these frequencies.

    Raises
    ------
    InputError
        If the shapes do not agree.

    Examples
    --------
    The less certain the classifier, the less the posterior moves from the prior.

    >>> import numpy as np
    >>> from photospec.simulation.galaxy_kinds import label_shift
    >>> sure = np.repeat([[0.99, 0.01], [0.01, 0.99]], [900, 100], axis=0)
    >>> frequency, _ = label_shift(sure, [0.5, 0.5])
    >>> frequency.round(2)
    array([0.91, 0.09])
    """
    posterior, prior = np.asarray(posterior, float), np.asarray(prior, float)
    if posterior.ndim != 2 or prior.shape != posterior.shape[1:] or not (prior > 0).all():
        raise InputError(
            "posterior, prior: expected (n, n_classes) and (n_classes,) positive, got shapes "
            f"{posterior.shape} and {prior.shape}"
        )
    frequency = prior / prior.sum()
    given = posterior / frequency
    for _ in range(n_iterations):
        new = given * frequency
        new /= new.sum(axis=1, keepdims=True)
        before, frequency = frequency, new.mean(axis=0)
        if np.abs(frequency - before).max() < tolerance:
            break
    return frequency, new


def _features(galaxies):
    magnitude = galaxies.magnitude
    colours = magnitude[:, :-1] - magnitude[:, 1:]
    return np.column_stack([galaxies.redshift, magnitude[:, 2], colours])


def assign_kinds(galaxies, examples, *, r_limit=17.77, seed=0):
    """Draw the class of each real galaxy from its likelihood given photometry and redshift.

    Parameters
    ----------
    galaxies : RealGalaxies
        Those with a kind keep it.
    examples : RealGalaxies
        With kinds, in any frequencies.
    r_limit : float
        Examples and the galaxies whose frequencies are found are brighter: both samples have to
        see the same galaxies of a class.
    seed : int

    Returns
    -------
    RealGalaxies
        With kinds.
    frequency : dict of str to float
        How often each kind is found among the galaxies.

    Raises
    ------
    InputError
        Examples of fewer than two kinds.
    """
    with optional_imports():
        from sklearn.ensemble import HistGradientBoostingClassifier

    bright = (examples.magnitude[:, 2] < r_limit) & (examples.kind != "")
    examples = examples[bright]
    names, counts = np.unique(examples.kind, return_counts=True)
    if len(names) < 2:
        raise InputError(f"examples: expected galaxies of several kinds, got {list(names)}")
    model = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_leaf_nodes=15,
        max_iter=_N_TREES,
        l2_regularization=1.0,
        early_stopping=True,
        random_state=seed,
    )
    model.fit(_features(examples), examples.kind)
    posterior = model.predict_proba(_features(galaxies))
    known = galaxies.magnitude[:, 2] < r_limit
    frequency, _ = label_shift(posterior[known], counts / counts.sum())
    posterior = posterior * frequency / (counts / counts.sum())
    posterior /= posterior.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    drawn = (rng.random((len(galaxies), 1)) > posterior.cumsum(axis=1)).sum(axis=1)
    drawn = model.classes_[np.minimum(drawn, len(names) - 1)]
    kind = np.where(galaxies.kind == "", drawn, galaxies.kind)
    return replace(galaxies, kind=kind), dict(zip(model.classes_.tolist(), frequency.tolist()))


def natural_sample(examples, frequency, *, seed=0):
    """Leave out classified galaxies until the kinds are as frequent as given.

    Parameters
    ----------
    examples : RealGalaxies
    frequency : dict of str to float
    seed : int

    Returns
    -------
    RealGalaxies
    """
    count = {kind: max(1, int((examples.kind == kind).sum())) for kind in frequency}
    share = {kind: frequency[kind] / count[kind] for kind in frequency}
    # The largest sample would be as large as the scarcest kind allows; twice the median is less
    # wasteful, and a kind of which there are too few is complete.
    top = 2 * np.median(list(share.values()))
    keep = np.array([share.get(kind, 0.0) / top for kind in examples.kind])
    return examples[np.random.default_rng(seed).random(len(examples)) < keep]
