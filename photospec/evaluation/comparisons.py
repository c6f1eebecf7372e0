"""The comparisons of the published study (arXiv:2406.18175), each a drawing on given axes.

Predicted spectra against true ones, measured alike: distributions that must look the same, and
galaxies that must lie in the same place. Every function takes matplotlib axes first and arrays
with one number per galaxy; NaN are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from photospec.analysis.bpt import kauffmann03, kewley01, kewley06, schawinski07
from photospec.evaluation.parts import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import ColorType

__all__ = [
    "plot_bpt",
    "plot_colour_bimodality",
    "plot_confusion",
    "plot_one_to_one",
    "plot_relation",
    "plot_roc",
]

_TRUE = "0.45"
_LABELS = {
    "nii": "log [N II] 6584 / Hα",
    "sii": "log [S II] 6716, 6731 / Hα",
    "oi": "log [O I] 6300 / Hα",
}
_LIMITS = {"nii": (-1.6, 0.7), "sii": (-1.4, 0.6), "oi": (-2.6, 0.0)}


def _finite(*arrays):
    arrays = [np.asarray(a, float) for a in arrays]
    good = np.all([np.isfinite(a) for a in arrays], axis=0)
    return [a[good] for a in arrays]


def _range(values):
    """Return the limits of an axis that shows all but the farthest 0.5 % on either side."""
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    bottom, top = np.percentile(values, [0.5, 99.5])
    pad = 0.05 * max(top - bottom, 1e-3)
    return bottom - pad, top + pad


def _density(values, edges):
    """Return the density of all galaxies, also those out of view, which may be all."""
    values = values[np.isfinite(values)]
    counts, _ = np.histogram(values, edges)
    return counts / max(values.size, 1) / np.diff(edges)


def plot_colour_bimodality(
    axes: Axes,
    true: ArrayLike,
    found: Mapping[str, ArrayLike],
    *,
    label: str = "g - r (mag)",
    n_bins: int = 30,
) -> None:
    """Draw the distribution of a colour: red and blue galaxies, the green valley between.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    true : array_like (n,)
    found : dict of str to array_like (n,)
        By name of the answer.
    label : str
    n_bins : int

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from photospec.evaluation import plot_colour_bimodality
    >>> true = np.concatenate([np.linspace(0.3, 0.6, 50), np.linspace(0.8, 1.0, 50)])
    >>> axes = Figure().subplots()
    >>> plot_colour_bimodality(axes, true, {"predicted": true + 0.01})
    >>> axes.get_xlabel()
    'g - r (mag)'
    """
    true = np.asarray(true, float)
    span = _range(true)
    edges = np.linspace(*span, n_bins + 1)
    axes.stairs(_density(true, edges), edges, fill=True, color="0.82", label="true")
    for (name, values), color in zip(found.items(), COLOURS):
        density = _density(np.asarray(values, float), edges)
        axes.stairs(density, edges, color=color, label=name)
    axes.set(xlabel=label, ylabel="density", xlim=span)
    axes.legend()


def plot_one_to_one(
    axes: Axes, true: ArrayLike, found: ArrayLike, *, label: str = "", color: ColorType = COLOURS[0]
) -> None:
    """Draw found over true values, with the line of equality and the running median.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    true, found : array_like (n,)
    label : str
        Of the quantity, with its unit.
    color : color

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from photospec.evaluation import plot_one_to_one
    >>> axes = Figure().subplots()
    >>> plot_one_to_one(axes, [1.2, 1.5, 1.8], [1.25, 1.5, 1.7], label="Dn4000")
    >>> axes.get_xlabel()
    'true Dn4000'
    """
    true, found = _finite(true, found)
    span = _range(np.concatenate([true, found]))
    axes.plot(span, span, color="0.6", linewidth=0.8)
    axes.plot(true, found, ".", markersize=3, alpha=_alpha(len(true)), color=color)
    if len(true) >= 40:
        edges = np.quantile(true, np.linspace(0, 1, 9))
        place = np.clip(np.searchsorted(edges, true, side="right") - 1, 0, 7)
        middle = [np.median(true[place == k]) for k in range(8) if (place == k).any()]
        level = [np.median(found[place == k]) for k in range(8) if (place == k).any()]
        axes.plot(middle, level, color="black", linewidth=1.2)
    axes.set(xlabel=f"true {label}".strip(), ylabel=f"predicted {label}".strip())
    axes.set(xlim=span, ylim=span)


def _alpha(n):
    return float(np.clip(30 / np.sqrt(max(n, 1)), 0.08, 0.6))


def plot_relation(
    axes: Axes,
    true: tuple[ArrayLike, ArrayLike],
    found: tuple[ArrayLike, ArrayLike],
    *,
    labels: tuple[str, str],
    name: str = "predicted",
    n_bins: int = 8,
) -> None:
    """Draw a scaling relation: true and predicted galaxies in one plane, and their medians.

    The star-forming main sequence (log mass, log star-formation rate), and the relation of mass
    and metallicity (log mass, oxygen abundance), for instance.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    true, found : pair of array_like (n,)
        Abscissa and ordinate.
    labels : pair of str
    name : str
        Of what was found.
    n_bins : int

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from photospec.evaluation import plot_relation
    >>> mass = np.linspace(9, 11, 200)
    >>> axes = Figure().subplots()
    >>> plot_relation(axes, (mass, mass - 10), (mass, mass - 9.9), labels=("log M", "log SFR"))
    >>> len(axes.lines)
    4
    """
    sets = (
        (_finite(*true), _TRUE, "true", "o"),
        (_finite(*found), COLOURS[0], name, "s"),
    )
    for (x, y), color, label, marker in sets:
        axes.plot(x, y, ".", markersize=2.5, alpha=_alpha(len(x)), color=color)
        if len(x) >= 5 * n_bins:
            edges = np.quantile(x, np.linspace(0, 1, n_bins + 1))
            place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, n_bins - 1)
            some = [k for k in range(n_bins) if (place == k).any()]
            middle = [np.median(x[place == k]) for k in some]
            level = [np.median(y[place == k]) for k in some]
            axes.plot(middle, level, marker, linestyle="-", markersize=4, color=color, label=label)
        else:
            axes.plot([], [], marker, markersize=4, color=color, label=label)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.set(xlim=_range(np.concatenate([sets[0][0][0], sets[1][0][0]])))
    axes.set(ylim=_range(np.concatenate([sets[0][0][1], sets[1][0][1]])))
    axes.legend()


def plot_bpt(
    axes: Axes,
    log_ratio: ArrayLike,
    log_oiii_hb: ArrayLike,
    *,
    diagram: str = "nii",
    agn: ArrayLike | None = None,
) -> None:
    """Draw galaxies in a BPT plane, with the curves that divide it.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    log_ratio, log_oiii_hb : array_like (n,)
        As of ``photospec.analysis.bpt.classify_ratios``.
    diagram : {"nii", "sii", "oi"}
    agn : array_like of bool (n,), optional
        True class, which gives the points their colours.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from photospec.evaluation import plot_bpt
    >>> axes = Figure().subplots()
    >>> plot_bpt(axes, [-0.5, 0.1], [-0.3, 0.6], agn=[False, True])
    >>> axes.get_ylabel()
    'log [O III] 5007 / Hβ'
    """
    x, y = np.asarray(log_ratio, float), np.asarray(log_oiii_hb, float)
    kinds = {"": np.ones(len(x), bool)}
    if agn is not None:
        agn = np.asarray(agn, bool)
        kinds = {"truly star forming": ~agn, "truly AGN or composite": agn}
    for (label, mine), color in zip(kinds.items(), COLOURS):
        axes.plot(
            x[mine], y[mine], ".", markersize=3, alpha=_alpha(len(x)), color=color, label=label
        )
    low, high = _LIMITS[diagram]
    grid = np.linspace(low, high, 300)
    axes.plot(grid, kewley01(grid, diagram), color="black", linewidth=1, label="Kewley+01")
    with np.errstate(invalid="ignore"):
        if diagram == "nii":
            axes.plot(grid, kauffmann03(grid), "--", color="black", linewidth=1,
                      label="Kauffmann+03")  # fmt: skip
            line, name = schawinski07(grid), "Schawinski+07"
        else:
            line, name = kewley06(grid, diagram), "Kewley+06"
        above = ~(line < kewley01(grid, diagram))
        axes.plot(grid[above], line[above], ":", color="black", linewidth=1, label=name)
    axes.set(xlim=(low, high), ylim=(-1.3, 1.4))
    axes.set(xlabel=_LABELS[diagram], ylabel="log [O III] 5007 / Hβ")
    handles = axes.legend(loc="lower left", fontsize=6).legend_handles
    for handle in handles:
        handle.set_alpha(1)


def plot_confusion(
    axes: Axes,
    truth: ArrayLike,
    decision: ArrayLike,
    *,
    labels: Sequence[str] = ("star forming", "AGN"),
) -> None:
    r"""Draw the confusion matrix of a decision, as parts of each true class and numbers.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    truth, decision : array_like of bool or int (n,)
        Classes by number.
    labels : sequence of str
        Of the classes.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from photospec.evaluation import plot_confusion
    >>> axes = Figure().subplots()
    >>> plot_confusion(axes, [0, 0, 1, 1], [0, 1, 1, 1])
    >>> [text.get_text() for text in axes.texts]
    ['50 %\n1', '50 %\n1', '0 %\n0', '100 %\n2']
    """
    from sklearn.metrics import confusion_matrix

    numbers = list(range(len(labels)))
    matrix = confusion_matrix(np.asarray(truth, int), np.asarray(decision, int), labels=numbers)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
    for i in numbers:
        for j in numbers:
            axes.text(
                j, i, f"{share[i, j]:.0%}".replace("%", " %") + f"\n{matrix[i, j]}",
                ha="center", va="center", fontsize=8 if len(labels) < 4 else 6.5,
            )  # fmt: skip
    axes.set_xticks(numbers, labels)
    axes.set_yticks(numbers, labels, rotation=90, va="center")
    axes.set(xlabel="predicted", ylabel="true")


def plot_roc(axes: Axes, truth: ArrayLike, scores: Mapping[str, ArrayLike]) -> None:
    """Draw receiver operating characteristics, with the areas below them.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    truth : array_like of bool (n,)
    scores : dict of str to array_like (n,)
        The greater, the likelier; by name.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from photospec.evaluation import plot_roc
    >>> axes = Figure().subplots()
    >>> plot_roc(axes, [False, False, True, True], {"a guess": [0.1, 0.4, 0.35, 0.8]})
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['a guess: 0.750']
    """
    from sklearn.metrics import RocCurveDisplay, roc_auc_score

    truth = np.asarray(truth, bool)
    for (name, score), color in zip(scores.items(), COLOURS):
        area = roc_auc_score(truth, score)
        RocCurveDisplay.from_predictions(
            truth, score, ax=axes, curve_kwargs={"color": color, "linewidth": 1.2},
            plot_chance_level=False, name=None,
        )  # fmt: skip
        axes.lines[-1].set_label(f"{name}: {area:.3f}")
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    axes.set(xlabel="star forming told AGN", ylabel="AGN told AGN", xlim=(-0.02, 1.02))
    axes.set(ylim=(-0.02, 1.02), aspect="auto")
    # Below the axes: long names would hide the curves.
    axes.legend(loc="upper left", bbox_to_anchor=(-0.1, -0.22), frameon=False, fontsize=7)
