"""Properties measured on predicted spectra, and the relations that they should obey."""

import numpy as np

from photospec.evaluation.comparisons import (
    plot_bpt,
    plot_colour_bimodality,
    plot_one_to_one,
    plot_relation,
)
from photospec.evaluation.parts import Chapter, Panel, Plot
from photospec.evaluation.properties import PROPERTIES, comparable, line_rows, property_rows
from photospec.evaluation.value import Section, Value, bootstrap
from photospec.utils.stats import robust_std

__all__ = ["chapter"]

# Equivalent width of Halpha, Angstrom, of galaxies on the main sequence of star formation.
_FORMING = 10.0
_BPT = {
    "nii": ("nii_6584",),
    "sii": ("sii_6716", "sii_6731"),
    "oi": ("oi_6300",),
}


def chapter(comparison):
    """Return the chapter on properties, a `Chapter`."""
    truth, n = comparison.truth, comparison.n_measured
    answers = [a for a in comparison.answers if a.measured is not None]
    full = {a.name: a.measured for a in answers if "halpha_flux" in a.measured}
    estimates = {a.name: a.measured for a in answers}
    correlation, scatter = property_rows(estimates, truth)
    first = next(iter(full))
    note = (
        f"{n} galaxies, measured alike on predicted and on true spectra. Spectra of baselines are "
        "measured as predicted ones are; trees predict the numbers themselves from the photometry."
    )
    parts = [
        Section("correlation", "Properties: Spearman correlation", correlation, note),
        Section("scatter", "Properties: scatter (1.4826 MAD)", scatter, note),
        Plot(
            "properties",
            f"Properties of the first answer ({first}) over those of the true spectra; the black "
            "line joins running medians.",
            [
                Panel(
                    label,
                    _property(
                        comparable(key, truth[key]), comparable(key, full[first][key]), label
                    ),
                )
                for key, (label, _) in PROPERTIES.items()
            ],
        ),
        Section("lines", "Emission lines: relative error", line_rows(full, truth), note),
        *_colours(comparison),
        *_relations(truth, full),
        *_bpt(truth, full),
    ]
    return Chapter(
        "properties",
        "Properties and relations",
        "What the published study compared (arXiv:2406.18175): colours and their bimodality, the "
        "star-forming main sequence, the relation of mass and metallicity, Dn4000, age, dust, "
        "velocity dispersion, and the BPT planes. All within the three arcsec of the spectra.",
        parts,
    )


def _property(true, found, label):
    return lambda axes: plot_one_to_one(axes, true, found, label=label)


def _colours(comparison):
    """Return the colours and Dn4000 of all galaxies, cheap as they are."""
    answers = [a for a in comparison.answers if a.colours]
    labels = {"g_r": "g - r (mag)", "r_i": "r - i (mag)", "dn4000": "Dn4000"}
    rows = []
    for key, label in labels.items():
        true = comparison.observed[key]
        row = {"of the spectrum": label}
        for answer in answers:
            difference = answer.colours[key] - true
            difference = difference[np.isfinite(difference)]
            row[answer.name] = bootstrap(robust_std, difference, n_bootstrap=100)
        rows.append(row | {"truth": bootstrap(robust_std, true[np.isfinite(true)])})
        row = {"of the spectrum": f"{label}: same side of the valley (%)"}
        valley = _valley(true)
        for answer in answers:
            good = np.isfinite(true) & np.isfinite(answer.colours[key])
            same = (true[good] > valley) == (answer.colours[key][good] > valley)
            row[answer.name] = bootstrap(np.mean, 100.0 * same)
        rows.append(row | {"truth": None})
    drawn = {key: {a.name: a.colours[key] for a in answers if a.main} for key in ("g_r", "dn4000")}
    return [
        Section(
            "colours",
            "Colours of the spectra: scatter",
            rows,
            "1.4826 MAD about the truth; g and r over the part of the band that spectra cover. "
            "The valley lies where two Gaussians fitted to the true values are equally likely.",
        ),
        Plot(
            "bimodality",
            "Red and blue galaxies: distributions over all galaxies.",
            [
                Panel(
                    labels[key],
                    lambda axes, key=key: plot_colour_bimodality(
                        axes, comparison.observed[key], drawn[key], label=labels[key]
                    ),
                )
                for key in drawn
            ],
        ),
    ]


def _valley(values):
    """Tell where two Gaussians fitted to a distribution are equally likely; else the median."""
    from sklearn.mixture import GaussianMixture

    values = values[np.isfinite(values)]
    middle = float(np.median(values))
    if len(values) < 30:
        return middle
    fit = GaussianMixture(2, random_state=0).fit(values[:, None])
    low, high = np.sort(fit.means_.ravel())
    grid = np.linspace(low, high, 400)
    second = fit.predict_proba(grid[:, None])[:, int(np.argmax(fit.means_))]
    return float(grid[np.argmin(np.abs(second - 0.5))]) if high > low else middle


def _relations(truth, full):
    """Return the main sequence and mass-metallicity relation: how far predicted ones lie from true
    ones.
    """
    names = {
        "sequence": ("log_stellar_mass", "log_sfr", "star-forming main sequence"),
        "metallicity": ("log_stellar_mass", "oxygen_abundance", "mass and metallicity"),
    }
    labels = {
        "log_stellar_mass": "log stellar mass in the fibre (solar)",
        "log_sfr": "log SFR in the fibre (solar masses a year)",
        "oxygen_abundance": "12 + log(O/H)",
    }
    forming = truth["halpha_ew"] > _FORMING
    rows, panels = [], []
    for x, y, title in names.values():
        row = {"relation": title, "galaxies": int(np.isfinite(truth[x] + truth[y])[forming].sum())}
        for name, values in full.items():
            row[name] = _offset(truth, values, forming, x, y)
        rows.append(row)
    first = next(iter(full))
    for name in list(full)[:1]:
        mine = full[name]["halpha_ew"] > _FORMING
        for x, y, title in names.values():
            panels.append(
                Panel(
                    title,
                    lambda axes, x=x, y=y, name=name, mine=mine: plot_relation(
                        axes,
                        (truth[x][forming], truth[y][forming]),
                        (full[name][x][mine], full[name][y][mine]),
                        labels=(labels[x], labels[y]),
                        name=name,
                    ),
                )
            )
    mass = {key: values["log_stellar_mass"] for key, values in full.items()}
    panels.append(
        Panel(
            "stellar mass",
            lambda axes: plot_one_to_one(
                axes, truth["log_stellar_mass"], mass[first], label="log stellar mass"
            ),
        )
    )
    return [
        Section(
            "relations",
            "Relations: median offset from the truth (dex)",
            rows,
            "Galaxies with an equivalent width of Hα above 10 Å. Median over galaxies of the "
            "predicted minus the true ordinate. Mass from the population fit; star-formation rate "
            "from Hα and the Balmer decrement (Kennicutt & Evans 2012); abundance from [N II]/Hα "
            "(Pettini & Pagel 2004).",
        ),
        Plot(
            "relations",
            f"Scaling relations, of the first answer ({first}). Lines join medians by mass.",
            panels,
        ),
    ]


def _offset(truth, values, forming, x, y):
    difference = (values[y] - truth[y])[forming & np.isfinite(truth[x])]
    difference = difference[np.isfinite(difference)]
    if len(difference) < 3:
        return Value(np.nan, np.nan)
    return bootstrap(np.median, difference)


def bpt_point(values, diagram):
    """Return coordinates (n,) and (n,) in a BPT plane from measured lines above three sigma."""
    above = sum(np.asarray(values[f"{line}_flux"], float) for line in _BPT[diagram])
    lines = ("halpha", "hbeta", "oiii_5007")
    halpha, hbeta, oiii = (np.asarray(values[f"{line}_flux"], float) for line in lines)
    seen = np.all([values[f"{name}_snr"] > 3 for name in (*lines, *_BPT[diagram])], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = np.log10(above / halpha), np.log10(oiii / hbeta)
    usable = seen & np.isfinite(x) & np.isfinite(y)
    return np.where(usable, x, np.nan), np.where(usable, y, np.nan)


def _bpt(truth, full):
    """Return the three planes, true and predicted side by side."""
    from photospec.analysis.bpt import classify_ratios

    first = next(iter(full))
    panels, rows = [], []
    for diagram in _BPT:
        true = bpt_point(truth, diagram)
        agn = _above(*true, diagram)
        for name, values in (("true", truth), (first, full[first])):
            x, y = bpt_point(values, diagram)
            panels.append(
                Panel(
                    name,
                    lambda axes, x=x, y=y, diagram=diagram, agn=agn: plot_bpt(
                        axes, x, y, diagram=diagram, agn=agn
                    ),
                )
            )
        row = {"plane": _TITLES[diagram]}
        classes = classify_ratios(*true, diagram)
        for name, values in full.items():
            found = classify_ratios(*bpt_point(values, diagram), diagram)
            known = np.isfinite(true[0]) & np.isfinite(bpt_point(values, diagram)[0])
            same = np.array([a is b for a, b in zip(classes[known], found[known])], float)
            row[name] = bootstrap(np.mean, 100 * same)
        rows.append(row | {"galaxies": int(np.isfinite(true[0]).sum())})
    return [
        Section(
            "bpt",
            "BPT planes: same class as the truth (%)",
            rows,
            "Of galaxies whose lines are above three sigma in both; the last column counts those "
            "of the truth.",
        ),
        Plot(
            "bpt",
            "BPT planes: true spectra beside predicted ones. Colours tell the true place.",
            panels,
        ),
    ]


_TITLES = {"nii": "[N II]", "sii": "[S II]", "oi": "[O I]"}


def _above(x, y, diagram):
    from photospec.analysis.bpt import kauffmann03, kewley01

    with np.errstate(invalid="ignore"):
        curve = kauffmann03(x) if diagram == "nii" else kewley01(x, diagram)
        return np.isfinite(x) & ~(y <= curve)
