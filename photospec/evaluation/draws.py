"""Candidates for the images of pairs, drawn once and kept on disk.

A card takes hours of drawing and measuring on one core. Each chunk of galaxies goes to a
file when it is done, so that a run that was stopped goes on where it was.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

from photospec.analysis import measure_redshift
from photospec.image import NANOMAGGY
from photospec.spectrum import FLUX_UNIT, WAVELENGTH, SpectrumArrays
from photospec.utils.files import replacing
from photospec.utils.parallel import map_in_processes
from photospec.utils.progress import progress_bar

__all__ = ["Draws", "ResultStore", "arrays_of", "draw_images", "image_of", "pair_images"]

_CHUNK = 32  # images per task, and stored together: what a stopped run draws again


@dataclass(frozen=True)
class Draws:
    """Candidates of n images, m each.

    Attributes
    ----------
    flux : ndarray (n, m, n_wave)
        1e-17 erg/s/cm2/A.
    similarity, redshift : ndarray (n, m)
        Cosine similarity of image and spectrum; redshift measured on the spectrum.
    warning : ndarray (n, m)
        Bits of `photospec.analysis.RedshiftWarning`.
    best : ndarray (n,)
        Index of the candidate that `PhotoSpectrograph.predict` returns; by default the most
        similar one.
    expected : ndarray (n,)
        Mean of the density of the redshift; where that is not known (NaN, and by default) the
        mean of the candidates'.
    """

    flux: np.ndarray
    similarity: np.ndarray
    redshift: np.ndarray
    warning: np.ndarray
    best: np.ndarray | None = None
    expected: np.ndarray | None = None

    def __post_init__(self):
        if self.best is None:
            object.__setattr__(self, "best", self.similarity.argmax(axis=1))
        mean = self.redshift.mean(axis=1)
        expected = mean if self.expected is None else self.expected
        object.__setattr__(self, "expected", np.where(np.isnan(expected), mean, expected))

    def __len__(self):
        return len(self.similarity)

    def of_best(self, name="flux"):
        """Return an attribute of the best candidates, (n, ...)."""
        return getattr(self, name)[np.arange(len(self)), self.best]

    def most_similar(self, n_kept):
        """Return draws of the `n_kept` most similar candidates, the most similar first."""
        return self._taken(np.argsort(-self.similarity, axis=1, kind="stable")[:, :n_kept])

    def ranked(self, n_kept):
        """Return draws of `n_kept` candidates: the best, then the most similar of the others."""
        rank = self.similarity.copy()
        rank[np.arange(len(self)), self.best] = np.inf
        return self._taken(np.argsort(-rank, axis=1, kind="stable")[:, :n_kept])

    def _taken(self, order):
        rows = np.arange(len(self))[:, None]
        parts = self.flux, self.similarity, self.redshift, self.warning
        parts = [part[rows, order] for part in parts]
        return Draws(*parts, np.zeros(len(self), int), self.expected)


class ResultStore:
    """A folder of results by name; without one (None) nothing is kept.

    Parameters
    ----------
    folder : path-like or None
    """

    def __init__(self, folder=None):
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def within(self, name):
        """Return a store in a folder below."""
        return ResultStore(None if self.folder is None else self.folder / name)

    def get(self, name, make):
        """Return arrays of a name: read, or made by ``make()`` (a dict of arrays) and kept."""
        path = None if self.folder is None else self.folder / f"{name}.npz"
        if path is not None and path.is_file():
            with np.load(path) as file:
                return dict(file)
        arrays = make()
        if path is not None:
            with replacing(path) as temporary:
                np.savez(temporary, **arrays)
        return arrays

    def file(self, name):
        """Return the path of another kind of file in the folder, or None."""
        return None if self.folder is None else self.folder / name


def key_of(*parts):
    """Return the short name of what results depend on."""
    text = json.dumps(parts, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(value):
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    return str(value)


def image_of(data, bands, pixel_scale, galactic_ebv=None):
    """Return an NDData for the spectrograph of an array (n_bands, ny, nx), nanomaggies."""
    meta = {"bands": bands, "pixel_scale": pixel_scale * u.arcsec, "galactic_ebv": galactic_ebv}
    return NDData(data, unit=NANOMAGGY, meta=meta)


def pair_images(pairs):
    """Return a function from rows of a pairs file to its images, with the Galactic extinction it
    tells.
    """
    table = pairs.object
    ebv = np.full(len(pairs), np.nan)
    if "galactic_ebv" in table.colnames:
        ebv = np.ma.filled(np.ma.asarray(table["galactic_ebv"]).astype(float), np.nan)

    def image(row):
        known = float(ebv[row]) if np.isfinite(ebv[row]) else None
        return image_of(pairs.image(int(row)), pairs.bands, pairs.pixel_scale, known)

    return image


def arrays_of(flux, lsf, ivar=None):
    """Return spectra (n, n_wave) in the form that the analysis takes; observed ones with `ivar`."""
    flux = np.atleast_2d(np.asarray(flux, float))
    if ivar is None:
        return SpectrumArrays(WAVELENGTH, flux, None, np.zeros(flux.shape, bool), np.asarray(lsf))
    good = np.asarray(ivar) > 0
    sigma = np.where(good, 1 / np.sqrt(np.where(good, ivar, 1.0)), np.inf)
    return SpectrumArrays(WAVELENGTH, flux, sigma, ~good, np.asarray(lsf))


def _redshifts(flux, lsf):
    fit = measure_redshift(arrays_of(flux, lsf))
    return np.asarray(fit.redshift), np.asarray(fit.warning)


def _no_redshifts(flux, lsf):
    return np.full(len(flux), np.nan), np.full(len(flux), 128)


def redshifts_of(flux, lsf, n_processes=1):
    """Return the redshift and warning (...,) of spectra (..., n_wave)."""
    shape = flux.shape[:-1]
    flat = flux.reshape(-1, flux.shape[-1])
    tasks = [(flat[i : i + 32], lsf) for i in range(0, len(flat), 32)]
    if n_processes > 1:
        results = list(map_in_processes(_redshifts, tasks, n_processes, _no_redshifts))
    else:
        results = [_redshifts(*task) for task in tasks]
    redshift, warning = (np.concatenate(part) for part in zip(*results))
    return redshift.reshape(shape), warning.reshape(shape)


def draw_images(
    spectrograph, read, n, n_candidates, *, seed=0, store=None, n_processes=1, progress=False
):
    """Draw candidates and measure their redshifts.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
    read : callable
        Number of an image, 0 to n - 1 -> NDData. The store takes an image for the same if its
        number is, so give each set of images a store of its own.
    n : int
    n_candidates : int
    seed : int
    store : ResultStore, optional
    n_processes : int
        Of the redshifts; drawing takes place here.
    progress : bool

    Returns
    -------
    Draws
    """
    lsf = spectrograph.line_spread()

    def spectra(row, m):
        candidates = spectrograph.sample(read(row), m, seed=seed)
        flux = candidates.spectra.flux.to_value(FLUX_UNIT).astype(np.float32)
        expected = candidates.expected_redshift
        expected = np.nan if expected is None else expected
        return flux, np.asarray(candidates.similarity, float), candidates.best_index, expected

    def chunk(rows):
        flux, similarity, best, expected = (
            np.stack(part) for part in zip(*(spectra(r, n_candidates) for r in rows))
        )
        redshift, warning = redshifts_of(flux, lsf, n_processes)
        return {
            "flux": flux,
            "similarity": similarity,
            "redshift": redshift,
            "warning": warning,
            "best": best,
            "expected": expected,
        }

    store = store or ResultStore()
    if store.folder is not None:
        # What the weights make of the first image stands for the weights.
        store = store.within(f"draws-{key_of(spectra(0, 2)[0], n_candidates, seed)}")
    parts = []
    with progress_bar(n, "draw", show=progress) as bar:
        for start in range(0, n, _CHUNK):
            rows = range(start, min(start + _CHUNK, n))
            parts.append(store.get(f"{start:05d}-{len(rows)}", lambda rows=rows: chunk(rows)))
            bar.update(len(rows))
    return Draws(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
