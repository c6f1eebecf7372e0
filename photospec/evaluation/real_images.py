"""Real images: colours of the predicted spectra, flags, known redshifts, and what is no galaxy."""

import numpy as np

from photospec.analysis import measure_redshift
from photospec.evaluation.colours import compare_colours
from photospec.evaluation.value import Section, Value, bootstrap
from photospec.image import read_image
from photospec.spectrum import FLUX_UNIT

__all__ = ["flagged_card", "images_card", "known_card"]


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


def known_card(spectrograph, images):
    """Return redshifts of single real images beside the spectroscopic ones.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
    images : dict of str to (path-like, float)
        Name -> image and redshift.

    Returns
    -------
    Section
    """
    density = spectrograph.redshift_density([read_image(path) for path, _ in images.values()])
    low, high = density.quantile([0.16, 0.84]).T
    truth = np.array([redshift for _, redshift in images.values()])
    rows = [
        {
            "image": name,
            "redshift": f"{truth[i]:.4f}",
            "mean of the density": Value(density.mean[i], density.std[i]),
            "68 %": f"{low[i]:.4f} to {high[i]:.4f}",
            "rank of the truth": round(float(density.pit(truth)[i]), 2),
            "flags": ", ".join(density.flags[i]) or "none",
        }
        for i, name in enumerate(images)
    ]
    note = "Rank: probability below the spectroscopic redshift."
    return Section("real_known", "Real images of known redshift", rows, note)


def flagged_card(spectrograph, kinds):
    """Return how many images of each kind are flagged as unlike those of the training.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
    kinds : dict of str to sequence of path-like
        Kind -> images.

    Returns
    -------
    Section
    """
    rows = []
    for kind, paths in kinds.items():
        score = np.asarray(spectrograph.ood_score([read_image(path) for path in paths]), float)
        rows.append(
            {
                "images": kind,
                "flagged": int((score > 1).sum()),
                "of": len(score),
                "smallest score": round(float(score.min()), 2),
            }
        )
    return Section("real_flagged", "Real images that are no galaxies", rows)
