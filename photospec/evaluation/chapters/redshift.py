"""How good redshifts are, in all and by brightness, colour and redshift."""

import numpy as np

from photospec.evaluation.chapters.bins import axes_of
from photospec.evaluation.parts import COLOURS, Chapter, Panel, Plot
from photospec.evaluation.redshift import bias, outlier_fraction, sigma_mad
from photospec.evaluation.redshift_table import redshift_row
from photospec.evaluation.value import Section, bootstrap

__all__ = ["chapter"]

_MEASURES = {
    "bias": bias,
    "sigma_mad": sigma_mad,
    "outliers (0.05)": outlier_fraction,
}


def chapter(comparison):
    """Return the chapter on redshifts, a `Chapter`."""
    z, answers = comparison.redshift, comparison.having("redshift")
    rows = [redshift_row(a.name, a.redshift, z) for a in answers]
    main = [a for a in answers if a.main]
    parts = [
        Section(
            "redshift",
            "Redshift",
            rows,
            f"{len(z)} galaxies, {comparison.settings.sample}; "
            f"{comparison.settings.n_candidates} candidates each; errors by bootstrap.",
        ),
        Plot(
            "redshifts",
            "Redshifts found over those of the pairs.",
            [Panel(a.name, _scatter(z, a.redshift)) for a in main],
        ),
    ]
    curves = []
    for label, name, groups in axes_of(comparison):
        binned = [_group_row(label, group, main, z) for group in groups]
        values = {m: [row[m] for row in binned] for m in _MEASURES}
        curves += [
            Panel(f"{measure} by {label}", _curves(groups, values[measure], main, label, measure))
            for measure in _MEASURES
        ]
        parts.append(
            Section(
                f"redshift_by_{name}",
                f"Redshift by {label}",
                [row["rows"] for row in binned],
                "sigma_mad of each answer; bins of equal numbers.",
            )
        )
    parts.insert(
        2,
        Plot(
            "redshift_by",
            "Bias, scatter and outliers in bins of equal numbers of galaxies.",
            curves,
        ),
    )
    return Chapter(
        "redshift",
        "Redshift",
        "Differences are dz = (found - true) / (1 + true): their median (bias), 1.4826 times "
        "their median absolute deviation (sigma_mad), and the part beyond 0.05 (outliers).",
        parts,
    )


def _group_row(label, group, answers, z):
    found = {m: {} for m in _MEASURES}
    for answer in answers:
        redshift = answer.redshift[group.rows]
        good = np.isfinite(redshift)
        for measure, function in _MEASURES.items():
            found[measure][answer.name] = bootstrap(
                function, redshift[good], z[group.rows][good], n_bootstrap=100
            )
    row = {label: group.label, "galaxies": len(group)} | found["sigma_mad"]
    return found | {"rows": row}


def _scatter(z, redshift):
    def draw(axes):
        span = np.array([max(0, z.min() - 0.02), z.max() + 0.04])
        axes.plot(span, span, color="0.6", linewidth=0.8)
        for sign in (-1, 1):
            axes.plot(span, span + sign * 0.05 * (1 + span), ":", color="0.6", linewidth=0.8)
        alpha = float(np.clip(30 / np.sqrt(len(z)), 0.05, 0.6))
        axes.plot(z, redshift, ".", markersize=3, alpha=alpha, color=COLOURS[0])
        axes.set(xlim=span, ylim=span, xlabel="true redshift", ylabel="redshift found")

    return draw


def _curves(groups, values, answers, label, measure):
    def draw(axes):
        middle = [group.middle for group in groups]
        for answer, color in zip(answers, COLOURS):
            found = [row[answer.name] for row in values]
            axes.errorbar(
                middle, [v.value for v in found], [v.error for v in found], marker="o",
                markersize=3, linewidth=1.1, color=color, label=answer.name,
                linestyle="--" if answer.source == "baseline" else "-",
            )  # fmt: skip
        if measure == "bias":
            axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        axes.set(xlabel=label, ylabel=measure)
        if measure == "bias":
            axes.legend(fontsize=6.5, framealpha=0.6)

    return draw
