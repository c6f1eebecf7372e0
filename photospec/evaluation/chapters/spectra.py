"""How good spectra are: by wavelength, type and brightness."""

import numpy as np

from photospec.evaluation.answers import BINS
from photospec.evaluation.chapters.bins import galaxy_types, quantile_groups
from photospec.evaluation.parts import COLOURS, Chapter, Panel, Plot
from photospec.evaluation.value import Section, bootstrap
from photospec.spectrum import WAVELENGTH

__all__ = ["chapter"]

_N_EXAMPLES = 6
_MEASURES = {"all": "all pixels", "continuum": "continuum", "line": "line pixels"}


def chapter(comparison):
    """Return the chapter on spectra, a `Chapter`."""
    answers = comparison.having("errors")
    parts = [
        Section(
            "spectrum",
            "Spectrum: error per pixel",
            [
                {"spectrum": a.name} | {f"{k} (%)": _median(100 * v) for k, v in a.errors.items()}
                for a in answers
            ],
            "Median over galaxies of each one's median abs(predicted / true - 1) at equal mean "
            "flux; line pixels lie within 8 rest Angstrom of an emission line.",
        ),
        _examples(comparison),
        Plot(
            "spectrum_by_wavelength",
            "Median over galaxies of the median error within bins of 125 Å; the grey band holds "
            "the middle 68 % of the galaxies for the first answer.",
            [Panel("error by observed wavelength", _by_wavelength(answers))],
        ),
        Section(
            "spectrum_by_wavelength",
            "Spectrum by wavelength: error (%)",
            [
                {"wavelength (Å)": f"{wavelength:.0f}"}
                | {a.name: _median(100 * a.bins[:, i]) for a in answers if a.bins is not None}
                for i, wavelength in enumerate(BINS)
            ],
            "Middles of the bins, observed.",
        ),
    ]
    types, how = galaxy_types(comparison)
    by = (
        ("type", "type", types, f"Types: {how}."),
        (
            "r magnitude",
            "brightness",
            quantile_groups(comparison.table["magnitude"]),
            "Within 6.5 arcsec on the image; bins of equal numbers.",
        ),
    )
    for label, name, groups, note in by:
        parts += [
            Section(
                f"spectrum_by_{name}",
                f"Spectrum by {label}: error (%)",
                [
                    {label: g.label, "galaxies": len(g)}
                    | {a.name: _median(100 * a.errors["all"][g.rows]) for a in answers}
                    for g in groups
                ],
                note,
            ),
            Plot(
                f"spectrum_by_{name}",
                f"Error by {label}.",
                [
                    Panel(f"{text} by {label}", _by_group(groups, answers, key, label))
                    for key, text in _MEASURES.items()
                ],
            ),
        ]
    reference = "noiseless true" if comparison.pairs["simulated"] else "observed"
    return Chapter(
        "spectra",
        "Spectra",
        f"Predicted spectra against the {reference} ones, at equal mean flux: absolute flux is "
        "the image's affair.",
        parts,
    )


def _median(values):
    return bootstrap(np.nanmedian, values[np.isfinite(values)], n_bootstrap=100)


def _examples(comparison):
    truth = comparison.examples["truth"]
    spectra = [n for n in comparison.examples if n.startswith("baseline ")][-1:]
    name = next(iter(comparison.predicted))
    kept = comparison.examples[name]
    usable = np.flatnonzero(np.isfinite(kept[:, 2]).all(axis=1) & np.isfinite(truth).any(axis=1))
    # Galaxies from red to blue: evenly spaced in rank of a colour of the true spectrum.
    colour = np.nanmean(truth[usable, :1000], axis=1) / np.nanmean(truth[usable, 2500:], axis=1)
    order = usable[np.argsort(colour)]
    places = np.linspace(0.08 * len(order), 0.92 * len(order), min(_N_EXAMPLES, len(order)))
    chosen = order[np.minimum(places.astype(int), len(order) - 1)]
    panels = []
    for row in chosen:
        others = {n.removeprefix("baseline "): comparison.examples[n][row] for n in spectra}
        z = comparison.redshift[row]
        panels.append(
            Panel(f"row {comparison.index[row]}, z = {z:.3f}", _one(truth[row], kept[row], others))
        )
    return Plot(
        "spectra",
        f"Examples from red to blue: the truth, {name}'s best candidate and the middle 68 % of "
        "its candidates, and a baseline; each at the mean flux of the truth.",
        panels,
    )


def _one(truth, kept, others):
    def draw(axes):
        level = np.nanmean(truth)
        low, high, best = kept * level
        axes.fill_between(WAVELENGTH, low, high, color="0.82", label="68 % of the candidates")
        for (name, spectrum), color in zip(others.items(), COLOURS[1:]):
            axes.plot(
                WAVELENGTH, spectrum / spectrum.mean() * level, color=color, linewidth=0.6,
                label=name,
            )  # fmt: skip
        axes.plot(WAVELENGTH, truth, color=COLOURS[3], linewidth=0.7, label="truth")
        axes.plot(WAVELENGTH, best, color="black", linewidth=0.6, label="best candidate")
        axes.set(ylim=(0, 1.25 * np.nanpercentile(truth, 99.7)))
        axes.set(xlim=(WAVELENGTH[0], WAVELENGTH[-1]))
        axes.set(xlabel="wavelength (Å, observed)", ylabel="flux (1e-17 erg/s/cm²/Å)")
        axes.legend(fontsize=6, ncols=2, loc="lower right")  # lines reach upwards

    return draw


def _by_wavelength(answers):
    def draw(axes):
        drawn = [a for a in answers if a.bins is not None]
        low, high = np.nanpercentile(100 * drawn[0].bins, [16, 84], axis=0)
        axes.fill_between(BINS, low, high, color="0.88")
        for answer, color in zip(drawn, COLOURS):
            axes.plot(
                BINS, np.nanmedian(100 * answer.bins, axis=0), color=color, linewidth=1.2,
                label=answer.name, linestyle="--" if answer.source == "baseline" else "-",
            )  # fmt: skip
        axes.set(xlabel="wavelength (Å, observed)", ylabel="error (%)", ylim=(0, None))
        axes.legend(fontsize=6.5)

    return draw


def _by_group(groups, answers, key, label):
    def draw(axes):
        kinds = not np.isfinite([g.middle for g in groups]).all()
        x = np.arange(len(groups)) if kinds else np.array([g.middle for g in groups])
        for answer, color in zip(answers, COLOURS):
            found = [_median(100 * answer.errors[key][g.rows]) for g in groups]
            axes.errorbar(
                x, [v.value for v in found], [v.error for v in found], marker="o", markersize=3,
                color=color, label=answer.name, linewidth=0 if kinds else 1.1, elinewidth=1,
                linestyle="--" if answer.source == "baseline" else "-",
            )  # fmt: skip
        if kinds:
            axes.set_xticks(x, [g.label for g in groups])
            axes.set_xlim(-0.5, len(groups) - 0.5)
        axes.set(xlabel=label, ylabel="error (%)", ylim=(0, None))
        if key == "all":
            axes.legend(fontsize=6, framealpha=0.6)

    return draw
