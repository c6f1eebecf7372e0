"""How good weights for a deep survey are on its simulated pairs, by magnitude and redshift.

`photospec.evaluation.model_card` judges the SDSS weights in one narrow window, where redshifts,
lines and properties can all be measured. A deep survey has galaxies of all kinds: here redshifts
are compared with trees on the same images in bins of magnitude and of redshift, with and without
the bands that may be missing, and colours and fluxes of predicted spectra with the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from photospec.evaluation.baselines import boosted_trees, redshift_merit
from photospec.evaluation.draws import image_of
from photospec.evaluation.features import measure_photometry
from photospec.evaluation.redshift import bias, outlier_fraction, sigma_mad
from photospec.evaluation.value import Section, Value, bootstrap, write_sections
from photospec.pairs import PairsFile
from photospec.photometry.apertures import aperture_flux
from photospec.photometry.filters import band_flux, band_weights
from photospec.spectrum import FLUX_UNIT, WAVELENGTH
from photospec.utils.stats import ks_distance, robust_std

if TYPE_CHECKING:
    from photospec.spectrograph import PhotoSpectrograph

__all__ = ["survey_card"]

# Galaxies that a bin has to hold.
_LEAST = 50
# Colours of bands of which the spectrum sees less say nothing.
_COVERED = 0.9


def survey_card(
    spectrograph: PhotoSpectrograph,
    pairs: Sequence[str | PathLike],
    training: Sequence[str | PathLike],
    folder: str | PathLike,
    *,
    magnitudes: Sequence[float] = (14.0, 17.5, 18.5, 19.5, 20.5),
    redshifts: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.7),
    n_training: int = 40_000,
    n_spectra: int = 500,
    skip_last: int = 512,
    seed: int = 0,
    report: Callable[[Section], object] = print,
) -> list[Section]:
    """Measure what a card of a deep survey says, and write it.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
        Of weights that draw no redshifts only the spectra are judged.
    pairs : sequence of path-like
        Simulated pairs of the survey, never trained on. Those of one magnitude count alike, from
        whichever file they are.
    training : sequence of path-like
        Pairs of the training: the trees learn from them.
    folder : path-like
        Gets ``card.txt``, an ``.ecsv`` and a reStructuredText ``.inc`` per table.
    magnitudes, redshifts : sequence of float
        Edges of the bins, of the total r magnitude.
    n_training : int
        Training pairs that trees learn from, at most.
    n_spectra : int
        Galaxies whose spectra are predicted.
    skip_last : int
        Pairs at the end of the first training file, which training validated on.
    seed : int
    report : callable
        Is given each table.

    Returns
    -------
    list of Section
    """
    config = spectrograph.config
    bands, known = config.bands, _read(pairs, config)
    learnt = _read(training, config, skip_last=skip_last, limit=n_training)
    sets = [bands, *(tuple(b for b in bands if b != gone) for gone in config.may_miss)]
    estimates, sections = {}, []
    for these in sets:
        if spectrograph.draws_redshifts:
            density = spectrograph.redshift_density(known.images(these))
            # The median, as the trees are fitted to absolute errors, which it makes smallest.
            own = density.quantile(0.5), density.std, density.pit(known.redshift)
            estimates[f"networks, {''.join(these)}"] = own
        trees = boosted_trees(
            learnt.features(these), learnt.redshift, merit=redshift_merit, tune=False, seed=seed
        )
        estimates[f"trees, {''.join(these)}"] = trees(known.features(these)), None, None

    def add(section):
        sections.append(section)
        report(str(section))
        write_sections(sections, folder)

    note = (
        "Median of the density of the redshift, and boosted trees, fitted to absolute errors, on "
        "aperture photometry, colours and radii of the same images. Beyond 0.05: of abs(dz) / "
        "(1 + z). Mean error: of the densities' standard deviation over (1 + z). PIT: largest "
        "distance of the ranks of the true redshifts from uniform ones."
    )
    for name, title, column, edges in (
        ("by_magnitude", "Redshift by r magnitude", known.magnitude, magnitudes),
        ("by_redshift", "Redshift by redshift", known.redshift, redshifts),
    ):
        rows = []
        for low, high in pairwise(edges):
            inside = (column >= low) & (column < high)
            if inside.sum() >= _LEAST:
                rows += _rows(f"{low:g} to {high:g}", estimates, known.redshift, inside)
        add(Section(name, title, rows, note))
    add(_colours(spectrograph, known, n_spectra, seed))
    return sections


class _Pairs:
    """Images, redshifts and magnitudes of the pairs of some files."""

    def __init__(self, image, redshift, magnitude, ebv, flux, bands, main, pixel_scale):
        self.image, self.redshift, self.magnitude, self.ebv = image, redshift, magnitude, ebv
        self.flux, self.bands, self.main, self.pixel_scale = flux, bands, main, pixel_scale

    def _rows(self, bands):
        return [self.bands.index(band) for band in bands]

    def images(self, bands, rows=slice(None)):
        """Return the NDData of the images, with these bands only."""
        chosen = zip(self.image[rows][:, self._rows(bands)], self.ebv[rows], strict=True)
        return [image_of(data, bands, self.pixel_scale, float(ebv)) for data, ebv in chosen]

    def features(self, bands):
        """Return the photometry for trees (n, n_features)."""
        image = self.image[:, self._rows(bands)]
        # The band that sets the flux stands for r.
        names = tuple("r" if band == self.main else band for band in bands)
        return measure_photometry(
            image.__getitem__, len(image), bands=names, pixel_scale=self.pixel_scale
        ).features


def _read(paths, config, *, skip_last=0, limit=None):
    """Read `_Pairs` of files, as many of each; the true spectra only where all are read."""
    parts = []
    for number, path in enumerate(paths):
        with PairsFile(path, bands=config.bands) as file:
            n = len(file) - (skip_last if number == 0 else 0)
            n = n if limit is None else min(n, limit // len(paths))
            rows = slice(0, n)
            table, truth, scale = file.object, file.truth, file.pixel_scale
            flux = file.truth_flux(rows) if limit is None else np.zeros((n, 0), np.float32)
            parts.append(
                (
                    file.image(rows),
                    np.asarray(table["redshift"][rows], float),
                    np.asarray(truth["magnitude_r"][rows], float),
                    np.asarray(table["galactic_ebv"][rows], float),
                    flux,
                )
            )
    columns = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _Pairs(*columns, config.bands, config.scale_band, scale)


def _rows(label, estimates, redshift, inside):
    """Return a row for each estimate of the galaxies of a bin."""
    z, rows = redshift[inside], []
    for name, (estimate, std, pit) in estimates.items():
        row = {"galaxies": f"{label} ({inside.sum()})", "from": name}
        for column, measure in (("bias", bias), ("sigma_mad", sigma_mad)):
            row[column] = bootstrap(measure, estimate[inside], z)
        row["beyond 0.05 (%)"] = bootstrap(
            lambda m, t: 100 * outlier_fraction(m, t), estimate[inside], z
        )
        if pit is not None:
            row["mean error"] = float(np.mean(std[inside] / (1 + estimate[inside])))
            row["PIT"] = Value(ks_distance(pit[inside]), 0.5 / np.sqrt(inside.sum()))
        rows.append(row)
    return rows


def _colours(spectrograph, known, n, seed):
    """Return colours and fluxes of predicted spectra against those of the image and the true
    spectrum.
    """
    config = spectrograph.config
    order = np.random.default_rng(seed).permutation(len(known.redshift))[:n]
    order = np.sort(order)
    images = known.images(config.bands, order)
    predicted = spectrograph.predict(images, seed=seed, intrinsic=True)
    flux = predicted.flux.to_value(FLUX_UNIT)
    responses = config.responses or config.bands
    of_spectrum = band_flux(WAVELENGTH, flux, responses, partial=True)
    of_image = np.array(
        [
            aperture_flux(one.data, config.fibre_radius, pixel_scale=one.pixel_scale)
            for one in map(spectrograph.prepare, images)
        ]
    )
    rows = []
    magnitude = known.magnitude[order]
    for low, high in ((14.0, 19.5), (19.5, 20.5)):
        inside = (magnitude >= low) & (magnitude < high) & (of_image > 0).all(axis=1)
        if inside.sum() < _LEAST // 2:
            continue
        row = {"galaxies": f"{low:g} < r < {high:g} ({inside.sum()})"}
        for i, (blue, red) in enumerate(zip(config.bands[:-1], config.bands[1:], strict=True)):
            if not _seen(responses[i : i + 2]):
                continue
            colours = [
                -2.5 * np.log10(f[inside, i] / f[inside, i + 1]) for f in (of_spectrum, of_image)
            ]
            gap = colours[0] - colours[1]
            row[f"{blue}-{red}, median"] = bootstrap(np.median, gap)
            row[f"{blue}-{red}, scatter"] = bootstrap(robust_std, gap)
        shape = [
            f[inside] / f[inside].mean(axis=1, keepdims=True) for f in (flux, known.flux[order])
        ]
        error = np.median(np.abs(shape[0] / shape[1] - 1), axis=1)
        row["pixel error (%)"] = bootstrap(lambda e: 100 * np.median(e), error)
        rows.append(row)
    note = (
        "Best candidate minus image, mag, in the fibre; bands by their own response curves, over "
        "the part that the spectrum covers. Pixel error: median absolute relative difference from "
        "the true spectrum, both divided by their means."
    )
    return Section("colours", "Colours of predicted spectra", rows, note)


def _seen(responses):
    """Tell whether spectra see enough of bands for their colour."""
    return bool((band_weights(WAVELENGTH, responses)[1] > _COVERED).all())
