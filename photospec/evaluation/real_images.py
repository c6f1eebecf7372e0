"""Real images: colours of the predicted spectra, flags, and whether spectra are physical."""

import numpy as np

from photospec.analysis import measure_redshift
from photospec.evaluation.colours import compare_colours
from photospec.evaluation.value import Section, bootstrap
from photospec.image import read_image
from photospec.spectrum import FLUX_UNIT

__all__ = ["images_card"]


def images_card(spectrograph, paths, *, seed=0):
    """Compare predictions for real images with the images themselves.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
    paths : sequence of path-like
        Images in nanomaggies.
    seed : int

    Returns
    -------
    Section
    """
    images = [read_image(path) for path in paths]
    spectra = spectrograph.predict(images, seed=seed)
    colours = compare_colours([spectrograph.prepare(image) for image in images], spectra)
    flux = spectra.flux.to_value(FLUX_UNIT)
    physical = np.isfinite(flux).all(axis=1) & (flux > 0).all(axis=1)
    flagged = np.array([bool(flags) for flags in spectra.meta["flags"]])
    fit = measure_redshift(spectra)
    rows = []
    for label, column in (("g-r", "d_g_r"), ("r-i", "d_r_i")):
        d = np.asarray(colours[column], float)
        d = d[np.isfinite(d)]
        rows.append(
            {
                "of the images": f"median |d({label})| (mag)",
                "value": bootstrap(np.median, np.abs(d)),
            }
        )
        rows.append({"of the images": f"median d({label}) (mag)", "value": bootstrap(np.median, d)})
    rows += [
        {
            "of the images": "spectra not positive or not finite",
            "value": int(np.count_nonzero(~physical)),
        },
        {"of the images": "images with a flag", "value": int(flagged.sum())},
        {
            "of the images": "spectra without a sure redshift",
            "value": int(np.count_nonzero(fit.warning)),
        },
        {"of the images": "images", "value": len(images)},
    ]
    return Section(
        "images",
        "Real images",
        rows,
        "Spectrum minus image, within the fibre. The spectrum ends at 4000 Angstrom and the g "
        "band does not.",
    )
