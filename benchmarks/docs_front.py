"""The pictures on the front page of the documentation, and the numbers under them.

Run from the root of the repository, with the folder of real images::

    python benchmarks/docs_front.py docs/_static ../shared/real
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
from photospec.image import NANOMAGGY, read_image
from photospec.simulation import Survey
from photospec.spectrum import WAVELENGTH, to_arrays

SEED = 40
# The one of the real images with a known redshift that is neither blended nor masked.
REAL, REAL_REDSHIFT = "pair-003184-2-0169-ra244.50334.fits", 0.0280
STYLES = {"light": {}, "dark": plt.style.library["dark_background"]}
# Colours in which the marks of lines can be read on black.
ON_BLACK = {"#b2182b": "#f4a582", "#2166ac": "#92c5de"}
# Beside each other, or one below the other on a phone: inches, rows and columns, widths, dpi.
LAYOUTS = {
    "wide": ((11, 6.2), (2, 2), {"width_ratios": [1, 3.1]}, 110),
    "phone": ((4.3, 8.8), (4, 1), {}, 130),
}


def main(folder, real):
    """Draw all pictures and write the caption."""
    galaxies = [real_galaxy(real), simulated_galaxy()]
    spectrograph = PhotoSpectrograph.load()
    for galaxy in galaxies:
        galaxy["candidates"] = spectrograph.sample(galaxy["image"], n_candidates=16, seed=0)
        drawn = galaxy["candidates"]
        galaxy["row"] = measure_candidates(drawn.spectra, drawn.best_index)[0]
    for layout in LAYOUTS:
        for name, style in STYLES.items():
            with plt.rc_context(style):
                draw(folder / f"front-{layout}-{name}.png", layout, galaxies)
    (folder / "front.inc").write_text(caption(galaxies), encoding="utf-8")


def real_galaxy(folder):
    """Return an image of the SDSS whose redshift is known."""
    image = read_image(folder / "pairs" / REAL)
    return {"image": image, "known": {"redshift": REAL_REDSHIFT}, "truth": None}


def simulated_galaxy():
    """Return the image of a galaxy of which all is known."""
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
    known = {name: float(batch.truth[name][chosen]) for name in ("redshift", "dn4000", "halpha_ew")}
    return {"image": image, "known": known, "truth": batch.truth_flux[chosen]}


def draw(path, layout, galaxies):
    """Draw images and spectra."""
    size, grid, ratios, dpi = LAYOUTS[layout]
    figure, axes = plt.subplots(*grid, figsize=size, layout="constrained", **ratios)
    titles = ("SDSS image, predicted spectrum", "simulated image, predicted and true spectrum")
    for (left, right), galaxy, title in zip(axes.reshape(2, 2), galaxies, titles, strict=True):
        left.imshow(rgb_image(galaxy["image"]), origin="lower", interpolation="lanczos")
        left.set_axis_off()
        if layout == "phone":
            left.set_title(title, fontsize=9)
        draw_spectrum(right, galaxy)
        right.set_ylabel(r"Flux [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$]", fontsize=8)
    right.legend(loc="lower right", fontsize=8)
    right.set_xlabel("Observed wavelength in vacuum [Å]")
    figure.savefig(path, dpi=dpi, transparent=True)
    plt.close(figure)


def draw_spectrum(axes, galaxy):
    """Draw the prediction, its spread, and the true spectrum where it is known."""
    candidates = galaxy["candidates"]
    low, high = np.percentile(to_arrays(candidates.spectra).flux, [16, 84], axis=0)
    axes.fill_between(
        WAVELENGTH, low, high, alpha=0.4, linewidth=0, label="16 to 84 % of the candidates"
    )
    plot_spectrum(
        axes,
        WAVELENGTH,
        to_arrays(candidates.best).flux[0],
        redshift=float(galaxy["row"]["redshift"]),
        truth=galaxy["truth"],
    )
    for line in axes.lines:
        if line.get_label() == "predicted":
            line.set_color(plt.rcParams["text.color"])
    if plt.rcParams["text.color"] == "white":
        for mark in (*axes.texts, *axes.lines):
            mark.set_color(ON_BLACK.get(mark.get_color(), mark.get_color()))


def caption(galaxies):
    """Say what was measured, in reStructuredText."""
    forms = {
        "redshift": ("redshift {}", ".3f"),
        "dn4000": ("Dn4000 {}", ".2f"),
        "halpha_ew": ("equivalent width of Hα {} Å", ".0f"),
    }
    told = []
    for galaxy in galaxies:
        row, known = galaxy["row"], galaxy["known"]
        words = []
        for name, (text, form) in forms.items():
            if np.ma.is_masked(row[name]):
                continue
            value, error = (getattr(row[key], "value", row[key]) for key in (name, f"{name}_error"))
            true = f" ({known[name]:{form}})" if name in known else ""
            words.append(text.format(f"{value:{form}} ± {error:{form}}{true}"))
        told.append(", ".join(words))
    n_candidates = len(galaxies[0]["candidates"])
    sentences = (
        "Above a real image of the SDSS and the spectrum that photospec predicts from it, below a "
        "simulated galaxy beside whose prediction stands the true spectrum. Measured on "
        f"{n_candidates} candidates of each, in brackets what is known: of the real one "
        f"{told[0]}; of the simulated one {told[1]}. (Image: Sloan Digital Sky Survey.)"
    )
    return f".. Made by benchmarks/docs_front.py.\n\n{textwrap.fill(sentences, 98)}\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
