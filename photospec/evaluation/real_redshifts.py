"""Redshifts of real galaxies with spectroscopic ones, beside trees that learnt from real ones.

Images have the galaxies' real fluxes (`photospec.evaluation.rendering`). A catalogue's fluxes hold
photometric noise already: images with a fifth of the survey's noise show it once, images with all
of it twice. Trees learn from photometry of other galaxies of the same catalogue, over all of its
redshifts: a window in redshift that the test galaxies were chosen by would forbid them outliers.
"""

from dataclasses import replace

import numpy as np

from photospec.errors import InputError
from photospec.evaluation.baselines import boosted_trees, redshift_merit
from photospec.evaluation.draws import image_of
from photospec.evaluation.redshift_table import redshift_row
from photospec.evaluation.value import Section, Value, bootstrap

__all__ = [
    "MISSING",
    "NOISE",
    "catalogue_photometry",
    "density_rows",
    "real_redshifts",
    "render_noisy",
]

#: Noise of an image over the survey's that is missing to the catalogue's.
MISSING = 0.2
#: Noise of the images over the survey's, by what it does to the catalogue's.
NOISE = {"noise counted once": MISSING, "noise counted twice": 1.0}

# Densities of ln(1 + z) are quoted per this, about the scatter of the Main Galaxy Sample.
_SCALE = 0.05


def render_noisy(galaxies, noise, *, size=64, seed=0):
    """Render images (n, 5, size, size) of real galaxies without Galactic dust.

    Parameters
    ----------
    galaxies : photospec.simulation.RealGalaxies
    noise : float
        Over the survey's.
    size, seed : int
    """
    from photospec.evaluation.rendering import render_catalogue
    from photospec.simulation import Survey

    survey = Survey.sdss_main()
    config = replace(
        survey.noise,
        sky_rms=tuple(noise * np.asarray(survey.noise.sky_rms)),
        electron=tuple(noise**2 * np.asarray(survey.noise.electron)),
    )
    survey = survey.replace(noise=config, galactic_extinction=False, size=size)
    return render_catalogue(galaxies.flux, galaxies.redshift, survey, seed=seed)


def density_rows(name, density, redshift):
    """Return one row of the table: the mean of the densities, and the densities themselves."""
    redshift = np.asarray(redshift, float)
    pit = density.pit(redshift)
    own = density.pdf_at(redshift) * (1 + redshift)
    score = -np.log(np.maximum(own * _SCALE, 1e-12))
    return redshift_row(name, density.mean, redshift) | {
        "negative log-density": bootstrap(np.mean, score),
        "PIT": Value(_distance(pit), 0.5 / np.sqrt(len(pit))),
        "within 68 %": _covered(pit, 0.68),
        "within 95 %": _covered(pit, 0.95),
    }


def _covered(pit, share):
    """Return how many of the redshifts lie in the central interval of that probability."""
    return bootstrap(np.mean, (np.abs(pit - 0.5) < share / 2).astype(float))


def _distance(pit):
    """Return the Kolmogorov-Smirnov distance from uniform."""
    rank = (np.arange(len(pit)) + 0.5) / len(pit)
    return float(np.abs(np.sort(pit) - rank).max())


def real_redshifts(
    spectrograph,
    galaxies,
    others,
    *,
    seed=0,
    title="Redshift, real galaxies",
    name="real_redshift",
):
    """Compare the densities with spectroscopic redshifts, and with trees.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
    galaxies : photospec.simulation.RealGalaxies
        Never trained on.
    others : photospec.simulation.RealGalaxies
        Of the same catalogue, for the trees to learn from.
    seed : int
    title, name : str
        Of the table, and of its files.

    Returns
    -------
    Section
    """
    if not len(galaxies) or not len(others):
        raise InputError(
            f"galaxies, others: expected some of each, got {len(galaxies)} and {len(others)}"
        )
    rows = []
    for what, noise in NOISE.items():
        images = render_noisy(galaxies, noise, size=spectrograph.config.image_size, seed=seed)
        images = [image_of(image, tuple("ugriz"), 0.396, 0.0) for image in images]
        density = spectrograph.redshift_density(images)
        rows.append(density_rows(f"images, {what}", density, galaxies.redshift))
    predict = boosted_trees(
        catalogue_photometry(others), others.redshift, merit=redshift_merit, seed=seed, tune=False
    )
    rows.append(
        redshift_row("trees, catalogue", predict(catalogue_photometry(galaxies)), galaxies.redshift)
    )
    note = (
        f"{len(galaxies)} real galaxies, none of them trained on; trees learnt from {len(others)} "
        "others. Negative log-density of ln(1 + z) per 0.05; PIT: "
        "distance from uniform."
    )
    return Section(name, title, rows, note)


def catalogue_photometry(galaxies):
    """Return magnitudes and colours (n, 9) of the catalogue itself, for trees."""
    magnitude = galaxies.magnitude
    return np.column_stack([magnitude, magnitude[:, :-1] - magnitude[:, 1:]])
