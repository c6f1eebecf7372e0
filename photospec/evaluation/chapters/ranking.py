"""How many candidates, and which of them?"""

from photospec.evaluation.parts import COLOURS, Chapter, Panel, Plot
from photospec.evaluation.ranking import ranking_rows
from photospec.evaluation.value import Section

__all__ = ["chapter"]


def chapter(comparison):
    """Return the chapter on ways to choose, a `Chapter`."""
    parts = []
    for number, (name, found) in enumerate(comparison.predicted.items()):
        suffix = f": {name}" if len(comparison.predicted) > 1 else ""
        rows = ranking_rows(found["ranking"], comparison.settings.n_candidates, comparison.redshift)
        key = "ranking" if not number else f"ranking_{number}"
        parts += [
            Section(key, f"Ways to choose{suffix}", rows),
            Plot(
                key,
                "What each way to choose one answer gains with the number of candidates.",
                [
                    Panel(measure, _panel(rows, measure))
                    for measure in ("sigma_mad", "outliers (0.05)", "continuum error (%)")
                ],
            ),
        ]
    return Chapter(
        "ranking",
        "How many candidates, and which?",
        "Each image allows many spectra. One answer is the most similar candidate, the one in the "
        "middle of the others, or the mean of all.",
        parts,
    )


def _panel(rows, measure):
    def draw(axes):
        first, rest = rows[0], rows[1:]
        rules = dict.fromkeys(row["rule"] for row in rest)
        for rule, color in zip(rules, COLOURS):
            mine = [first, *(row for row in rest if row["rule"] == rule)]
            axes.errorbar(
                [row["candidates"] for row in mine],
                [row[measure].value for row in mine],
                [row[measure].error for row in mine],
                marker="o", markersize=3, linewidth=1, color=color, label=rule,
            )  # fmt: skip
        axes.set(xscale="log", xlabel="candidates", ylabel=measure)
        axes.set_xticks(sorted({row["candidates"] for row in rows}))
        axes.get_xaxis().set_major_formatter("{x:.0f}")
        axes.minorticks_off()
        if measure == "sigma_mad":
            axes.legend(fontsize=6, framealpha=0.6)

    return draw
