"""Redshift densities, scored."""

import numpy as np

from photospec.evaluation.chapters.bins import axes_of
from photospec.evaluation.density_metrics import cde_loss, crps, density_row, redshift_grid
from photospec.evaluation.parts import COLOURS, Chapter, Panel, Plot
from photospec.evaluation.value import Section, bootstrap

__all__ = ["chapter"]


def chapter(comparison):
    """Return the chapter on redshift densities, a `Chapter`."""
    z, answers = comparison.redshift, comparison.having("density")
    grid = redshift_grid(z, [a.density for a in answers])
    rows, pits = [], {}
    for answer in answers:
        row, pits[answer.name] = density_row(answer.name, answer.density, z, grid)
        rows.append(row)
    curves, tables = [], []
    for label, name, groups in axes_of(comparison):
        scores = [
            {
                a.name: (
                    cde_loss(a.density.take(g.rows), z[g.rows], grid),
                    bootstrap(np.mean, crps(a.density.take(g.rows), z[g.rows], grid)),
                )
                for a in answers
            }
            for g in groups
        ]
        for place, measure in enumerate(("CDE loss", "CRPS")):
            curves.append(
                Panel(
                    f"{measure} by {label}",
                    _curves(groups, scores, place, answers, label, measure),
                )
            )
        tables.append(
            Section(
                f"density_by_{name}",
                f"CRPS by {label}",
                [
                    {label: g.label, "galaxies": len(g)} | {n: s[1] for n, s in score.items()}
                    for g, score in zip(groups, scores)
                ],
                "Bins of equal numbers.",
            )
        )
    return Chapter(
        "densities",
        "Redshift densities",
        "Densities that are right have uniform PIT values (the probability below the true "
        "redshift). CDE loss (Izbicki & Lee 2017) and CRPS (in units of redshift) are the less "
        "the better, and reward narrow densities that are right. PIT and CDE loss are those of "
        "the package qp. Baselines: densities around the redshifts of the 20 galaxies nearest in "
        "photometry, and the distribution of redshifts, the same for all.",
        [
            Section("densities", "Redshift densities", rows, f"{len(z)} galaxies."),
            Plot(
                "pit",
                "PIT values; the dashed line is uniform.",
                [Panel(name, _histogram(values)) for name, values in pits.items()],
            ),
            Plot("density_by", "Scores in bins of equal numbers of galaxies.", curves),
            *tables,
        ],
    )


def _histogram(values):
    def draw(axes):
        n_bins = int(np.clip(len(values) // 15, 5, 20))
        axes.hist(values, n_bins, range=(0, 1), density=True, color=COLOURS[0], alpha=0.7)
        axes.axhline(1, color="black", linestyle="--", linewidth=0.9)
        axes.set(xlabel="PIT", ylabel="density", xlim=(0, 1))

    return draw


def _curves(groups, scores, place, answers, label, measure):
    def draw(axes):
        middle = [group.middle for group in groups]
        for answer, color in zip(answers, COLOURS):
            found = [score[answer.name][place] for score in scores]
            axes.errorbar(
                middle, [v.value for v in found], [v.error for v in found], marker="o",
                markersize=3, linewidth=1.1, color=color, label=answer.name,
                linestyle="--" if answer.source == "baseline" else "-",
            )  # fmt: skip
        axes.set(xlabel=label, ylabel=measure)
        if place == 0:
            axes.legend(fontsize=6, framealpha=0.6)

    return draw
