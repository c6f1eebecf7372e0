"""Images unlike the training: are they flagged, and are they worse?"""

import numpy as np

from photospec.evaluation.chapters.bins import quantile_groups
from photospec.evaluation.parts import COLOURS, Chapter, Panel, Plot
from photospec.evaluation.redshift import outlier_fraction, sigma_mad
from photospec.evaluation.value import Section, bootstrap

__all__ = ["chapter"]


def chapter(comparison, unusual=()):
    """Return the chapter on images out of distribution, a `Chapter`.

    Parameters
    ----------
    comparison : Comparison
    unusual : sequence of Section
        Of images that were made to be flagged, `photospec.evaluation.ood.ood_card`.
    """
    rows, scores = [], {}
    z = comparison.redshift
    for name, found in comparison.predicted.items():
        score = np.asarray(found["ood_score"], float)
        if not np.isfinite(score).any():
            continue
        scores[name] = score
        prefix = f"{name}: " if len(comparison.predicted) > 1 else ""
        for label, mine in (("flagged", score > 1), ("not flagged", score <= 1)):
            chosen = np.flatnonzero(mine)
            row = {"images": prefix + label, "number": len(chosen)}
            for answer in _shown(comparison, name):
                row |= _quality(answer, z, chosen)
            rows.append(row)
    parts = []
    if rows:
        parts.append(
            Section(
                "ood_pairs",
                "Flagged and not",
                rows,
                "Flagged: OOD score above one. sigma_mad and outliers of the redshift, and error "
                "per pixel, where they exist.",
            )
        )
        parts.append(
            Plot(
                "ood",
                "Left: scores; above one (dashed) images are flagged. Right: scatter of the "
                "redshift in bins of the score.",
                [
                    Panel("OOD score of these images", _histogram(scores)),
                    Panel("sigma_mad by OOD score", _by_score(comparison, scores)),
                ],
            )
        )
    words = "" if rows else " These weights do not tell how unusual an image is."
    return Chapter(
        "ood",
        "Out of distribution",
        "An image is flagged where its photometry is unlike that of the training images: a star, "
        "an artefact, a galaxy beyond the redshifts of the training." + words,
        [*parts, *unusual],
    )


def _shown(comparison, name):
    own = [a for a in comparison.answers if a.source == name and a.main]
    baselines = [a for a in comparison.answers if a.source == "baseline" and a.main]
    return [*own[:1], *own[-1:], *baselines[:1]]


def _quality(answer, z, chosen):
    row = {}
    redshift = answer.redshift[chosen]
    good = np.isfinite(redshift)
    if good.sum() >= 3:
        pair = redshift[good], z[chosen][good]
        row[f"sigma_mad, {answer.name}"] = bootstrap(sigma_mad, *pair)
        row[f"outliers, {answer.name}"] = bootstrap(outlier_fraction, *pair)
    if answer.errors is not None and good.sum():
        error = answer.errors["all"][chosen]
        row[f"error per pixel (%), {answer.name}"] = bootstrap(
            np.median, 100 * error[np.isfinite(error)]
        )
    return row


def _histogram(scores):
    def draw(axes):
        for (name, score), color in zip(scores.items(), COLOURS):
            known = score[np.isfinite(score)]
            top = max(1.5, float(np.percentile(known, 99.5)))
            axes.hist(np.clip(known, None, top), 30, histtype="step", color=color, label=name)
        axes.axvline(1, color="black", linestyle="--", linewidth=0.9)
        axes.set(xlabel="OOD score", ylabel="images")
        axes.legend()

    return draw


def _by_score(comparison, scores):
    def draw(axes):
        colours = iter(COLOURS * 3)
        for name, score in scores.items():
            groups = quantile_groups(score)
            for answer in _shown(comparison, name):
                found = []
                for group in groups:
                    redshift = answer.redshift[group.rows]
                    good = np.isfinite(redshift)
                    z = comparison.redshift[group.rows]
                    found.append(bootstrap(sigma_mad, redshift[good], z[good], n_bootstrap=50))
                axes.errorbar(
                    [g.middle for g in groups], [v.value for v in found],
                    [v.error for v in found], marker="o", markersize=3, linewidth=1.1,
                    color=next(colours), label=answer.name,
                    linestyle="--" if answer.source == "baseline" else "-",
                )  # fmt: skip
        axes.set(xlabel="OOD score", ylabel="sigma_mad")
        axes.legend(fontsize=6.5)

    return draw
