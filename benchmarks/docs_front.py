"""The picture on the front page of the documentation, and the numbers under it.

Run from the root of the repository::

    python benchmarks/docs_front.py docs/_static
"""

import sys
import textwrap
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.nddata import NDData
from matplotlib import pyplot as plt

from photospec import PhotoSpectrograph
from photospec.analysis import measure_candidates
from photospec.figures import plot_spectrum, rgb_image
from photospec.image import NANOMAGGY
from photospec.simulation import Survey
from photospec.spectrum import WAVELENGTH, to_arrays

SEED = 40
STYLES = {"light": {}, "dark": plt.style.library["dark_background"]}


def main(folder):
    """Draw both pictures and write the caption."""
    survey = Survey.sdss_main(seed=SEED)
    batch = survey.simulate(24)
    # The brightest one that has gas and is not seen from its edge: there is something to see in
    # both panels. How well it is predicted plays no part.
    fit_to_show = (batch.truth["halpha_ew"] > 10) & (batch.truth["disk_axis_ratio"] > 0.5)
    fit_to_show &= batch.truth["redshift"] > 0.06  # Dn4000 lies within the spectrum
    chosen = int(np.where(fit_to_show, batch.truth["magnitude_r"], np.inf).argmin())
    image = NDData(
        batch.image[chosen],
        unit=NANOMAGGY,
        meta={
            "bands": survey.bands,
            "pixel_scale": survey.pixel_scale * u.arcsec,
            "galactic_ebv": float(batch.truth["galactic_ebv"][chosen]),
        },
    )
    candidates = PhotoSpectrograph.load().sample(image, n_candidates=16, seed=0)
    row = measure_candidates(candidates.spectra, candidates.best_index)[0]
    truth = {name: float(batch.truth[name][chosen]) for name in ("redshift", "dn4000", "halpha_ew")}

    for name, style in STYLES.items():
        with plt.rc_context(style):
            draw(folder / f"front-{name}.png", image, candidates, batch.truth_flux[chosen], row)
    (folder / "front.inc").write_text(caption(row, truth, len(candidates)), encoding="utf-8")


def draw(path, image, candidates, truth, row):
    """Draw the image beside the spectrum."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 3.3), width_ratios=[1, 3.1], layout="constrained"
    )
    left.imshow(rgb_image(image), origin="lower", interpolation="lanczos")
    left.set_axis_off()
    low, high = np.percentile(to_arrays(candidates.spectra).flux, [16, 84], axis=0)
    right.fill_between(
        WAVELENGTH, low, high, alpha=0.4, linewidth=0, label="16 to 84 % of the candidates"
    )
    redshift = float(row["redshift"])
    plot_spectrum(
        right, WAVELENGTH, to_arrays(candidates.best).flux[0], redshift=redshift, truth=truth
    )
    for line in right.lines:
        if line.get_label() == "predicted":
            line.set_color(plt.rcParams["text.color"])
    right.legend(loc="lower right", fontsize=8)
    right.set(xlabel="Observed wavelength in vacuum [Å]")
    right.set_ylabel(r"Flux [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$]", fontsize=8)
    figure.savefig(path, dpi=130, transparent=True)
    plt.close(figure)


def caption(row, truth, n_candidates):
    """Say what was measured, in reStructuredText."""

    def number(name, form):
        value, error = (getattr(row[key], "value", row[key]) for key in (name, f"{name}_error"))
        return f"{value:{form}} ± {error:{form}} ({truth[name]:{form}})"

    sentences = (
        "A simulated galaxy as the SDSS would see it, the spectrum that photospec predicts from "
        "this image, and the true one. Measured on "
        f"{n_candidates} candidates, in brackets what was put in: "
        f"redshift {number('redshift', '.3f')}, Dn4000 {number('dn4000', '.2f')}, "
        f"equivalent width of Hα {number('halpha_ew', '.0f')} Å."
    )
    return f".. Made by benchmarks/docs_front.py.\n\n{textwrap.fill(sentences, 98)}\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
