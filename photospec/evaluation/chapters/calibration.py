"""Are the candidates spread as widely as they are wrong?"""

import numpy as np

from photospec.evaluation.calibration import coverage_distance
from photospec.evaluation.parts import COLOURS, Chapter, Panel, Plot
from photospec.evaluation.value import Section, bootstrap
from photospec.utils.stats import ks_distance

__all__ = ["chapter"]

_NAMES = {
    "pit_redshift": "PIT of redshift",
    "pit_pixels": "PIT of pixels",
    "coverage_redshift": "coverage of redshift",
    "coverage_spectra": "coverage of spectra",
}


def chapter(comparison):
    """Return the chapter on calibration, a `Chapter`."""
    m = comparison.settings.n_candidates
    sets = {"all": f"all {m} candidates", "similar": f"the {max(2, m // 4)} most similar"}
    rows, values = [], {}
    for name, found in comparison.predicted.items():
        prefix = f"{name}: " if len(comparison.predicted) > 1 else ""
        for key, label in sets.items():
            kept = {what: found[f"{key}_{what}"] for what in _NAMES}
            kept = {what: v[np.isfinite(v).reshape(len(v), -1).all(1)] for what, v in kept.items()}
            values[prefix + label] = kept
            rows.append(
                {"candidates": prefix + label}
                | {
                    _NAMES[what]: bootstrap(
                        coverage_distance if what.startswith("cov") else ks_distance,
                        v,
                        n_bootstrap=50,
                    )
                    for what, v in kept.items()
                }
            )
    return Chapter(
        "calibration",
        "Calibration",
        "Candidates are draws from the distribution of spectra that an image allows. If they are "
        "calibrated, the rank of the truth among them is uniform (PIT), and regions of credibility "
        "alpha around random points hold the truth alpha of the time (expected coverage, TARP: "
        "Lemos et al. 2023). Baselines give one spectrum and no distribution; densities of "
        "redshift are compared under Redshift densities.",
        [
            Section(
                "calibration",
                "Calibration: distance from uniform or from the diagonal",
                rows,
                "Chance alone gives about "
                f"{0.87 / np.sqrt(len(comparison)):.3f} for so many galaxies where values are "
                "independent. Candidates outside of the test galaxies' range of redshift do not "
                "count.",
            ),
            Plot(
                "calibration",
                "Ranks of the truth (black dashes: uniform), and expected coverage.",
                [Panel(label, _panel(values, what)) for what, label in _NAMES.items()],
            ),
        ],
    )


def _panel(values, what):
    def draw(axes):
        for (label, found), color in zip(values.items(), COLOURS):
            flat = np.sort(found[what].ravel())
            if what.startswith("pit"):
                axes.hist(
                    flat, 20, range=(0, 1), density=True, histtype="step", color=color, label=label
                )
            else:
                share = np.linspace(0, 1, flat.size)
                axes.plot(flat, share, color=color, label=label, linewidth=1.2)
        if what.startswith("pit"):
            axes.axhline(1, color="black", linestyle="--", linewidth=0.9)
            axes.set(xlabel="rank of the truth", ylabel="density", xlim=(0, 1))
        else:
            axes.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=0.9)
            axes.set(xlabel="credibility", ylabel="expected coverage", xlim=(0, 1), ylim=(0, 1))
        axes.legend(loc="lower center" if what.startswith("pit") else "lower right")

    return draw
