"""Active nuclei: told from star formation?"""

import numpy as np

from photospec.analysis.bpt import BPTClass, classify_ratios
from photospec.evaluation import agn
from photospec.evaluation.baselines import boosted_trees, crossed
from photospec.evaluation.comparisons import plot_confusion, plot_roc
from photospec.evaluation.draws import key_of
from photospec.evaluation.measured import QUANTITIES
from photospec.evaluation.parts import Chapter, Panel, Plot
from photospec.evaluation.value import Section, bootstrap

__all__ = ["chapter"]

_TREES = "boosted trees on photometry"
_CLASSES = (
    BPTClass.STAR_FORMING,
    BPTClass.COMPOSITE,
    BPTClass.SEYFERT,
    BPTClass.LINER,
    BPTClass.UNCLASSIFIED,
)


def chapter(comparison):
    """Return chapter on active nuclei, a `Chapter`; one of words only where none can be told."""
    n = comparison.n_measured
    flux = {f"{name}_flux": comparison.line_flux(name)[:n] for name in agn.BPT_LINES}
    truth = agn.above_kauffmann(flux)
    if "seen" in comparison.observed:
        seen = np.asarray(comparison.observed["seen"][:n], bool)
    else:
        seen = np.all([comparison.truth[f"{name}_snr"] > 3 for name in agn.BPT_LINES], axis=0)
    title = "AGN"
    told = {}
    for name, found in comparison.predicted.items():
        prefix = f"{name}: " if len(comparison.predicted) > 1 else ""
        told |= {f"{prefix}{key}": value for key, value in _scores_and_decisions(found).items()}
    probability = _trees(comparison, truth)
    if probability is not None:
        told[_TREES] = (probability, probability > 0.5)
    rows = []
    for name, (score, decision) in told.items():
        row = {"decided by": name}
        for label, chosen in (("measurable", seen), ("all", np.ones(n, bool))):
            known = chosen & np.isfinite(score)
            taken = decision
            if taken is None:
                taken = np.zeros(n, bool)
                taken[known] = agn.crossed_decision(score[known], truth[known])
            row[f"balanced accuracy, {label}"] = agn.balanced_accuracy(taken[known], truth[known])
            row[f"area below the ROC, {label}"] = _area(truth[known], score[known])
        rows.append(row)
    share = truth[seen].mean() if seen.any() else np.nan
    note = (
        f"{n} galaxies, {seen.sum()} of them with four lines above 3 sigma in a spectrum as noisy "
        f"as the pair's, of which {share:.0%} lie above the Kauffmann et al. (2003) curve."
    )
    parts = [Section("agn", "AGN or not", rows, note)]
    if truth[seen].any() and not truth[seen].all():
        scores = {
            name: np.nan_to_num(score[seen], nan=-9.0)
            for name, (score, decision) in told.items()
            if decision is not None
        }
        best = next(name for name in scores if name.endswith("curve, zero"))
        panels = [
            Panel("ROC, measurable galaxies", lambda axes: plot_roc(axes, truth[seen], scores)),
            Panel(
                "AGN or not",
                lambda axes: plot_confusion(axes, truth[seen], told[best][1][seen]),
            ),
        ]
        panels.append(Panel("BPT classes", _classes(comparison, flux, seen)))
        parts.append(
            Plot(
                "agn",
                f"Left: by thresholds. Others: decided by the {best}; BPT classes ([N II] plane) "
                "of the best candidate over the true ones.",
                panels,
            )
        )
    return Chapter(
        "agn",
        title,
        "A galaxy counts as active above the curve of Kauffmann et al. (2003), composites "
        "included. Trees learn from photometry alone.",
        parts,
    )


def _scores_and_decisions(found):
    """Return scores (n_measured,) and decisions (None: threshold from other galaxies) by name."""
    measured = dict(zip(QUANTITIES, np.moveaxis(found["measured"], -1, 0), strict=True))
    height = agn.kauffmann_height(agn.ratios(measured))
    # Galaxies whose candidates have no lines to tell by lie where most of such do: above.
    mean_height = np.mean(np.where(np.isfinite(height), height, 2.0), axis=1)
    above = ~(height <= 0)
    share = above.mean(axis=1)
    best = np.where(np.isfinite(height), height, 2.0)[:, 0]
    # Of images that could not be used nothing is known.
    unusable = ~np.asarray(found["usable"][: len(height)], bool)
    for score in (mean_height, share, best):
        score[unusable] = np.nan
    return {
        "best candidate": (best, above[:, 0]),
        "share of the candidates above the curve, half": (share, share > 0.5),
        "mean height of the candidates above the curve, zero": (mean_height, mean_height > 0),
        "share, threshold from other galaxies": (share, None),
        "mean height, threshold from other galaxies": (mean_height, None),
    }


def _area(truth, score):
    from sklearn.metrics import roc_auc_score

    def area(t, s):
        return roc_auc_score(t, s) if 0 < t.sum() < len(t) else np.nan

    return bootstrap(area, truth, score, n_bootstrap=100)


def _trees(comparison, truth):
    """Return probabilities (n_measured,) by trees on photometry; None where there are too few to
    learn.
    """
    rivals, n = comparison.rivals, comparison.n_measured
    x, seed = rivals.photometry.features[:n], comparison.settings.seed
    lines = {f"{name}_flux" for name in agn.BPT_LINES}

    def fit(features, target):
        return boosted_trees(features, target, classify=True, tune=False, seed=seed)

    if rivals.own:
        if min(truth.sum(), (~truth).sum()) < 10:
            return None
        return comparison.store.get(
            f"crossed-agn-{key_of(x, truth)}",
            lambda: {"p": crossed(fit, x, truth.astype(float), seed=seed)},
        )["p"]
    if not lines <= set(rivals.learned.truth):
        return None
    trained = agn.above_kauffmann(rivals.learned.truth)
    features = rivals.learned.photometry.features
    return comparison.store.get(
        f"agn-{key_of(x, len(rivals.learned))}",
        lambda: {"p": fit(features, trained.astype(float))(x)},
    )["p"]


def _classes(comparison, flux, seen):
    found = next(iter(comparison.predicted.values()))
    best = dict(zip(QUANTITIES, found["measured"][:, 0].T, strict=True))
    true = classify_ratios(*agn.ratios(flux).T)[seen]
    told = classify_ratios(*agn.ratios(best).T)[seen]
    number = {kind: i for i, kind in enumerate(_CLASSES)}
    labels = ("SF", "comp.", "Seyfert", "LINER", "none")

    def draw(axes):
        plot_confusion(axes, [number[k] for k in true], [number[k] for k in told], labels=labels)

    return draw
