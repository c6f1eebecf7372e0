"""Redshifts of real galaxies, from images rendered with their real fluxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from photospec.errors import InputError
from photospec.evaluation.baselines import TrainingPairs, boosted_trees, redshift_merit
from photospec.evaluation.draws import ResultStore, draw_images, image_of, key_of
from photospec.evaluation.features import measure_photometry
from photospec.evaluation.redshift import sigma_mad
from photospec.evaluation.redshift_table import redshift_rows
from photospec.evaluation.rendering import render_catalogue
from photospec.evaluation.value import Section, bootstrap

if TYPE_CHECKING:
    from photospec.evaluation.on_pairs import Comparison, Settings
    from photospec.spectrograph import PhotoSpectrograph

__all__ = ["PhotometricCatalogue", "photometry_card", "read_catalogue"]

_N_FOLDS = 5  # trees learn from four fifths and are judged on the rest, in turn


@dataclass(frozen=True)
class PhotometricCatalogue:
    """Real galaxies.

    Attributes
    ----------
    flux : ndarray (n, 5)
        Total u, g, r, i, z, nanomaggies, corrected for Galactic extinction.
    redshift : ndarray (n,)
        Spectroscopic.
    """

    flux: np.ndarray
    redshift: np.ndarray

    def __len__(self):
        return len(self.redshift)


def read_catalogue(
    path: str | PathLike,
    *,
    redshift_range: tuple[float, float] = (0.05, 0.15),
    r_limit: float = 17.77,
    r_bright: float = 14.0,
) -> PhotometricCatalogue:
    """Read the galaxies of a range from a table with ``<band>_maggies`` and ``redshift``.

    Parameters
    ----------
    path : path-like
        Any table that astropy reads; fluxes in nanomaggies.
    redshift_range : tuple of float
    r_limit, r_bright : float

    Returns
    -------
    PhotometricCatalogue
    """
    try:
        table = Table.read(path)
        flux = np.stack([np.asarray(table[f"{b}_maggies"], float) for b in "ugriz"], axis=1)
        z = np.asarray(table["redshift"], float)
    except (KeyError, OSError, ValueError, TypeError) as error:
        raise InputError(
            f"catalogue: expected a table with u_maggies to z_maggies and redshift, got {path} "
            f"({type(error).__name__}: {str(error).splitlines()[0][:80]})"
        ) from None
    with np.errstate(invalid="ignore", divide="ignore"):
        r = 22.5 - 2.5 * np.log10(flux[:, 2])
    good = np.isfinite(flux).all(axis=1) & (flux > 0).all(axis=1)
    good &= (z > redshift_range[0]) & (z < redshift_range[1]) & (r < r_limit) & (r > r_bright)
    if good.sum() < 2 * _N_FOLDS:
        raise InputError(
            f"catalogue: expected galaxies at {redshift_range[0]} < z < {redshift_range[1]} and "
            f"r < {r_limit}, got {good.sum()} in {path}; are the fluxes in nanomaggies?"
        )
    return PhotometricCatalogue(flux[good], z[good])


def photometry_card(
    spectrograph: PhotoSpectrograph,
    catalogue: PhotometricCatalogue,
    training: Sequence[str | PathLike],
    settings: Settings,
    *,
    folder: str | PathLike | None = None,
    simulated: Comparison | None = None,
) -> Section:
    """Compare the spectrograph and trees with spectroscopic redshifts.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
    catalogue : PhotometricCatalogue
        A random part of it is drawn, `settings.n_galaxies` at most; all train the trees.
    training : sequence of path-like
        Pairs files that the spectrograph learned from.
    settings : photospec.evaluation.on_pairs.Settings
    folder : path-like, optional
        Keeps what was drawn.
    simulated : photospec.evaluation.on_pairs.Comparison, optional
        The same on simulated galaxies, for the gap.

    Returns
    -------
    Section
    """
    from photospec.simulation import Survey

    store, config = ResultStore(folder), spectrograph.config
    # The catalogue's fluxes are corrected for Galactic extinction, and so are the images.
    survey = Survey.sdss_main().replace(size=config.image_size, galactic_extinction=False)
    key = key_of(catalogue.flux, catalogue.redshift, settings.seed, config.image_size)
    made = store.get(
        f"rendered-{key}",
        lambda: {
            "image": render_catalogue(
                catalogue.flux, catalogue.redshift, survey, seed=settings.seed
            )
        },
    )
    image = made["image"]
    chosen = np.random.default_rng(settings.seed).permutation(len(catalogue))
    chosen = chosen[: settings.n_galaxies]
    draws = draw_images(
        spectrograph,
        lambda row: image_of(image[chosen[row]], survey.bands, survey.pixel_scale, 0.0),
        len(chosen),
        settings.n_candidates,
        seed=settings.seed,
        store=store.within(f"rendered-{key}"),
        n_processes=settings.n_processes,
        progress=settings.progress,
    )
    photometry = measure_photometry(
        image.__getitem__, len(image), bands=survey.bands, pixel_scale=survey.pixel_scale
    )
    learned = TrainingPairs.read(
        training, bands=survey.bands, skip_last=settings.skip_last, store=store
    )

    def trees():
        predict = boosted_trees(
            learned.photometry.features, learned.redshift, merit=redshift_merit, seed=settings.seed
        )
        return {
            "simulated": predict(photometry.features),
            "real": _crossed_trees(photometry.features, catalogue.redshift, settings.seed),
        }

    of_trees = store.get(f"photometry-trees-{key}-{key_of(learned.redshift)}", trees)
    z = catalogue.redshift[chosen]
    others = {
        "trees trained on simulated photometry": of_trees["simulated"][chosen],
        "trees trained on real photometry": of_trees["real"][chosen],
    }
    rows = redshift_rows(draws, z, others)
    note = (
        f"{len(z)} of {len(catalogue)} real galaxies: their spectroscopic redshifts against those "
        "found from images with their fluxes. "
    )
    if simulated is not None:
        note += _gap(draws, z, simulated)
    return Section("photometry", "Redshift, real photometry", rows, note)


def _crossed_trees(features, z, seed):
    """Return redshifts (n,) of trees trained on the other folds."""
    fold = np.random.default_rng(seed).integers(_N_FOLDS, size=len(z))
    predicted = np.empty(len(z))
    for k in range(_N_FOLDS):
        learn = fold != k
        predict = boosted_trees(features[learn], z[learn], tune=False, seed=seed)
        predicted[~learn] = predict(features[~learn])
    return predicted


def _gap(draws, z, simulated):
    """Return the sentence with the gap between simulated and real photometry."""
    candidates = next(iter(simulated.predicted.values()))["redshift"]
    scatter = [
        bootstrap(sigma_mad, np.median(redshift, axis=1), truth)
        for redshift, truth in ((draws.redshift, z), (candidates, simulated.redshift))
    ]
    real, fake = scatter
    ratio = real.value / fake.value
    error = ratio * np.hypot(real.error / real.value, fake.error / fake.value)
    return (
        f"The gap: sigma_mad of the candidate set's median is {real} here and {fake} on simulated "
        f"galaxies, {ratio:.2f} ± {error:.2f} times as much."
    )
