"""Figures of a model card."""

import numpy as np

from photospec.evaluation.properties import PROPERTIES, comparable
from photospec.spectrum import WAVELENGTH

__all__ = [
    "plot_calibration",
    "plot_properties",
    "plot_ranking",
    "plot_redshifts",
    "plot_spectra",
]

_COLORS = ("#2166ac", "#b2182b", "#1b7837", "#762a83")


def _figure(width, height, *grid, **options):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, np.atleast_1d(figure.subplots(*grid, **options)).ravel()


def plot_redshifts(card):
    """Redshifts of the best candidate, of the set, and of the best baselines over the truth."""
    found = {
        "best candidate": card.draws.of_best("redshift"),
        "median of the candidates": np.median(card.draws.redshift, axis=1),
        **dict(list(card.redshifts.items())[:2]),
    }
    figure, axes = _figure(11, 3.2, 1, len(found), sharex=True, sharey=True)
    z = card.true_redshift
    span = z.min() - 0.02, z.max() + 0.04
    for axis, (name, redshift) in zip(axes, found.items()):
        axis.plot(span, span, color="0.6", linewidth=0.8)
        axis.plot(z, redshift, ".", markersize=2, alpha=0.5, color=_COLORS[0])
        axis.set(xlim=span, ylim=span, title=name, xlabel="true redshift")
    axes[0].set_ylabel("redshift found")
    return figure


def plot_properties(card):
    """Properties of the best candidate over those of the true spectrum."""
    figure, axes = _figure(9, 6, 2, 3)
    for axis, name in zip(axes, PROPERTIES):
        true = comparable(name, card.truth[name])
        found = comparable(name, card.estimates["best candidate"][name])
        good = np.isfinite(true) & np.isfinite(found)
        if good.any():
            span = np.percentile(np.concatenate([true[good], found[good]]), [0.5, 99.5])
            axis.plot(span, span, color="0.6", linewidth=0.8)
        axis.plot(true, found, ".", markersize=3, alpha=0.5, color=_COLORS[0])
        axis.set(xlabel="true", ylabel="best candidate", title=PROPERTIES[name][0])
    return figure


def plot_calibration(card):
    """PIT histograms and expected coverage, of all candidates and of the most similar."""
    figure, axes = _figure(11, 3, 1, 4)
    names = list(next(iter(card.calibration.values())))
    for axis, name in zip(axes, names):
        for (label, values), color in zip(card.calibration.items(), _COLORS):
            flat = np.sort(values[name].ravel())
            if name.startswith("PIT"):
                axis.hist(
                    flat, 20, range=(0, 1), density=True, histtype="step", color=color, label=label
                )
            else:
                axis.plot(
                    flat, np.linspace(0, 1, flat.size), color=color, label=label, linewidth=1.2
                )
        if name.startswith("PIT"):
            axis.axhline(1, color="0.6", linewidth=0.8)
            axis.set(xlabel="rank of the truth", ylim=(0, None))
        else:
            axis.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
            axis.set(xlabel="credibility", ylabel="expected coverage", ylim=(0, 1))
        axis.set(title=name, xlim=(0, 1))
    axes[0].legend(fontsize=7, loc="lower center")
    return figure


def plot_ranking(card):
    """What each way to choose gains with the number of candidates."""
    rows = next(s for s in card.sections if s.name == "ranking").rows
    figure, axes = _figure(9, 3.2, 1, 3)
    first, rest = rows[0], rows[1:]
    for axis, name in zip(axes, ("sigma_mad", "outliers (0.05)", "continuum error (%)")):
        rules = dict.fromkeys(row["rule"] for row in rest)
        for rule, color in zip(rules, _COLORS):
            mine = [first, *(row for row in rest if row["rule"] == rule)]
            axis.errorbar(
                [row["candidates"] for row in mine],
                [row[name].value for row in mine],
                [row[name].error for row in mine],
                marker="o",
                markersize=3,
                linewidth=1,
                color=color,
                label=rule,
            )
        axis.set(xscale="log", xlabel="candidates", title=name)
        axis.set_xticks(
            [row["candidates"] for row in rows if row["rule"] == rows[-1]["rule"]] + [1]
        )
        axis.get_xaxis().set_major_formatter("{x:.0f}")
        axis.minorticks_off()
    axes[0].legend(fontsize=7)
    return figure


def plot_spectra(card, n=4):
    """True spectra, the candidates' spread, the best one, and what direct regression says."""
    figure, axes = _figure(10, 2.1 * n, n, 1, sharex=True)
    # Galaxies from red to blue: evenly spaced in rank of a colour of the true spectrum.
    colour = card.true_flux[:, :1000].mean(axis=1) / card.true_flux[:, 2500:].mean(axis=1)
    order = np.argsort(colour)
    chosen = order[np.linspace(0.08 * len(order), 0.92 * len(order), n).astype(int)]
    for axis, row in zip(axes, chosen):
        level = card.true_flux[row].mean()

        def scaled(flux, level=level):
            return flux / flux.mean(axis=-1, keepdims=True) * level

        low, high = np.percentile(scaled(card.draws.flux[row]), [16, 84], axis=0)
        axis.fill_between(WAVELENGTH, low, high, color="0.8", label="68 % of the candidates")
        for name, spectrum in list(card.spectra.items())[:1]:
            axis.plot(
                WAVELENGTH, scaled(spectrum[row]), color=_COLORS[1], linewidth=0.7, label=name
            )
        axis.plot(
            WAVELENGTH, scaled(card.draws.of_best()[row]), color="black", linewidth=0.6,
            label="best candidate",
        )  # fmt: skip
        axis.plot(WAVELENGTH, card.true_flux[row], color="tab:orange", linewidth=0.6, label="truth")
        axis.set(ylim=(0, 1.15 * np.percentile(card.true_flux[row], 99.7)), ylabel="flux")
        axis.set_title(f"z = {card.true_redshift[row]:.3f}", fontsize=9, loc="left")
    axes[0].legend(fontsize=7, ncols=4, loc="upper right")
    axes[-1].set(xlabel="wavelength (Å, observed, vacuum)", xlim=(WAVELENGTH[0], WAVELENGTH[-1]))
    return figure
