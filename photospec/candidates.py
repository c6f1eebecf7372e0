"""The candidate spectra drawn for one image."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
from astropy.nddata import StdDevUncertainty
from astropy.table import QTable
from astropy.units import Quantity
from specutils import Spectrum

from photospec.errors import InputError
from photospec.spectrum import read_spectrum, write_spectra

__all__ = [
    "CHOICES",
    "CandidateSpectra",
    "best_candidate",
    "read_candidates",
    "write_candidates",
]

#: Ways to choose one candidate, see `best_candidate`.
CHOICES = ("central", "similar")
# Spectra are compared in steps of this many samples, above the width of a line.
_STEP = 4
_FLOOR = 1e-3  # of the mean flux: logarithms of less would decide the distance


def best_candidate(
    flux: np.ndarray,
    similarity: np.ndarray,
    redshift: np.ndarray | None = None,
    expected_redshift: float | None = None,
    *,
    choose: str = "central",
) -> int:
    """Return the index of the candidate to show when only one can be shown.

    Parameters
    ----------
    flux : ndarray (n_candidates, n_wave)
    similarity : ndarray (n_candidates,)
        Of each to the image.
    redshift : ndarray (n_candidates,), optional
        At which they were drawn. Then the central one is looked for among the quarter (two at
        least) whose redshift is nearest to `expected_redshift`.
    expected_redshift : float, optional
        Mean of the density that the redshifts come from; by default that of the candidates'.
    choose : {"central", "similar"}
        ``"central"``: the one nearest to all others, in the mean absolute difference of the
        logarithmic flux: a median in many dimensions (the medoid of Kaufman & Rousseeuw
        1987). Of two equally near ones the more similar. ``"similar"``: the most similar,
        as published (arXiv:2406.18175).

    Returns
    -------
    int
    """
    if choose == "similar":
        return int(np.argmax(similarity))
    level = flux.mean(axis=-1, keepdims=True)
    coarse = np.log(np.maximum(flux[:, ::_STEP] / level, _FLOOR))
    distance = [np.abs(coarse - one).mean(axis=-1).sum() for one in coarse]
    # Symmetric pairs differ in the last digits only.
    order = np.lexsort((-similarity, np.round(distance, 9)))
    if redshift is not None:
        centre = np.mean(redshift) if expected_redshift is None else expected_redshift
        away = np.abs(redshift - centre)
        near = np.argsort(away, kind="stable")[: max(2, len(away) // 4)]
        order = order[np.isin(order, near)]
    return int(order[0])


@dataclass(frozen=True, eq=False)
class CandidateSpectra:
    """Spectra that one image allows, and how well each agrees with it.

    The candidates are draws from the distribution of spectra given the image: their
    spread is the uncertainty of a prediction, in every quantity measured on them.

    Attributes
    ----------
    spectra : specutils.Spectrum
        Flux (n_candidates, n_wave), erg s-1 cm-2 Angstrom-1.
    similarity : ndarray (n_candidates,)
        Cosine of image and spectrum embeddings, -1 to 1.
    redshift : ndarray (n_candidates,), optional
        At which the networks drew each; what can be measured on it agrees within about 1e-3.
    best_index : int, optional
        Index of the candidate that stands for all (`best_candidate`); the most similar one
        if not given.
    expected_redshift : float, optional
        Mean of the density that the redshifts were drawn from: without the noise that the mean
        of few candidates has.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec import CandidateSpectra
    >>> from photospec.spectrum import from_arrays
    >>> spectra = from_arrays(np.arange(4000.0, 8000.0), np.ones((3, 4000)))
    >>> candidates = CandidateSpectra(spectra, similarity=np.array([0.2, 0.7, 0.4]))
    >>> len(candidates), candidates.best_index, candidates.best.flux.shape
    (3, 1, (4000,))
    """

    spectra: Spectrum
    similarity: np.ndarray
    redshift: np.ndarray | None = None
    best_index: int | None = None
    expected_redshift: float | None = None

    def __post_init__(self):
        if self.best_index is None:
            object.__setattr__(self, "best_index", int(np.argmax(self.similarity)))

    def __len__(self):
        return len(self.similarity)

    @property
    def best(self) -> Spectrum:
        """The candidate that stands for all, a Spectrum (n_wave,).

        ``meta`` holds its ``similarity``, ``drawn_redshift`` and ``expected_redshift``, and the
        ``spread`` of all candidates, which a file of spectra keeps.
        """
        meta = dict(self.spectra.meta) | {"similarity": float(self.similarity[self.best_index])}
        if len(self) > 1:
            meta["spread"] = self.spread
        if self.redshift is not None:
            meta["drawn_redshift"] = float(self.redshift[self.best_index])
            meta["expected_redshift"] = self.expected_redshift
        return Spectrum(
            flux=self.spectra.flux[self.best_index],
            spectral_axis=self.spectra.spectral_axis,
            meta=meta,
        )

    @property
    def mean(self) -> Spectrum:
        """Mean spectrum with the candidates' standard deviation as uncertainty."""
        return Spectrum(
            flux=self.spectra.flux.mean(axis=0),
            spectral_axis=self.spectra.spectral_axis,
            uncertainty=StdDevUncertainty(self.spread),
            meta=dict(self.spectra.meta),
        )

    @property
    def spread(self) -> Quantity:
        """Standard deviation over the candidates, Quantity (n_wave,)."""
        return self.spectra.flux.std(axis=0)

    def to_table(self) -> QTable:
        """Return one row per candidate, best first: ``similarity``, ``redshift``, ``flux``."""
        order = np.argsort(-self.similarity)
        columns = {"candidate": order, "similarity": self.similarity[order]}
        if self.redshift is not None:
            columns["redshift"] = self.redshift[order]
        return QTable(columns | {"flux": self.spectra.flux[order]})

    def __repr__(self):
        return (
            f"<CandidateSpectra: {len(self)} candidates of {self.spectra.flux.shape[-1]} samples, "
            f"similarity {self.similarity.min():.3f} to {self.similarity.max():.3f}>"
        )


# Entries of ``meta`` with one value for each candidate of a file.
_OF_CANDIDATES = ("images", "candidate", "best", "similarity", "drawn_redshift")
_OF_IMAGES = ("expected_redshift", "flags", "galactic_ebv", "agn_score", "agn_probability")


def write_candidates(
    path: str | PathLike,
    candidates: Sequence[CandidateSpectra],
    *,
    images: Sequence[str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write all candidates of one or more images to a file of spectra.

    Parameters
    ----------
    path : path-like
        FITS file, as of `photospec.spectrum.write_spectra`; its table OBJECTS says of each
        spectrum of which image it is, which candidate, and whether it stands for all.
    candidates : sequence of CandidateSpectra
        On one wavelength grid.
    images : sequence of str, optional
        Names of the images; numbers by default.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    InputError
        As `photospec.spectrum.write_spectra`, and if there are not as many names as images.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from photospec import CandidateSpectra
    >>> from photospec.candidates import read_candidates, write_candidates
    >>> from photospec.spectrum import from_arrays
    >>> spectra = from_arrays(np.arange(4000.0, 5000.0), np.ones((3, 1000)))
    >>> drawn = CandidateSpectra(spectra, similarity=np.array([0.2, 0.7, 0.4]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_candidates(f"{folder}/all.fits", [drawn, drawn], images=["a", "b"])
    ...     back = read_candidates(f"{folder}/all.fits")
    >>> list(back), back["b"].best_index
    (['a', 'b'], 1)
    """
    candidates = list(candidates)
    names = [str(i) for i in range(len(candidates))] if images is None else list(map(str, images))
    if not candidates or len(names) != len(candidates) or len(set(names)) != len(names):
        raise InputError(
            f"images: expected a name of its own for each of {len(candidates)} images, got "
            f"{len(names)} names"
        )
    first = candidates[0].spectra
    meta = {key: value for key, value in first.meta.items() if key != "spread"}
    meta |= {key: [] for key in (*_OF_CANDIDATES, *_OF_IMAGES)}
    for name, drawn in zip(names, candidates, strict=True):
        n, best = len(drawn), drawn.best_index
        meta["images"] += [name] * n
        meta["candidate"] += range(n)
        meta["best"] += [i == best for i in range(n)]
        meta["similarity"] += drawn.similarity.tolist()
        meta["drawn_redshift"] += [None] * n if drawn.redshift is None else drawn.redshift.tolist()
        meta["expected_redshift"] += [drawn.expected_redshift] * n
        for key in _OF_IMAGES[1:]:
            meta[key] += [drawn.spectra.meta.get(key)] * n
    meta = {key: value for key, value in meta.items() if key not in _OF_IMAGES or _said(value)}
    flux = np.concatenate([drawn.spectra.flux for drawn in candidates]).astype(np.float32)
    spectra = Spectrum(
        flux=flux, spectral_axis=first.spectral_axis, spectral_axis_index=-1, meta=meta
    )
    write_spectra(path, spectra, overwrite=overwrite)


def _said(values):
    return any(value is not None for value in values)


def read_candidates(path: str | PathLike) -> dict[str, CandidateSpectra]:
    """Read the candidates of a file of `write_candidates` or ``photospec predict --candidates``.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict of str to CandidateSpectra
        By name of the image, in the order of the file.

    Raises
    ------
    InputError
        If it is another file.

    Examples
    --------
    See `write_candidates`.
    """
    found = read_spectrum(path)
    meta = getattr(found, "meta", {})
    if not {"images", "candidate", "best", "similarity"} <= meta.keys():
        raise InputError(
            f"path: expected a file of candidates, got {path}, which holds other spectra; was it "
            "written by photospec predict -o?"
        )
    rows = {}
    for i, name in enumerate(meta["images"]):
        rows.setdefault(name, []).append(i)
    common = {key: value for key, value in meta.items() if key not in _OF_CANDIDATES}
    return {name: _candidates_at(found, common, np.array(at)) for name, at in rows.items()}


def _candidates_at(spectra, common, rows):
    """Return the candidates of the rows of a file that belong to one image."""
    meta, first = dict(common), rows[0]
    for key in _OF_IMAGES:
        if key in meta:
            meta[key] = meta[key][first]
    expected = meta.pop("expected_redshift", None)
    redshift = [spectra.meta["drawn_redshift"][i] for i in rows]
    return CandidateSpectra(
        Spectrum(
            flux=spectra.flux[rows],
            spectral_axis=spectra.spectral_axis,
            spectral_axis_index=-1,
            meta=meta,
        ),
        similarity=np.array([spectra.meta["similarity"][i] for i in rows], float),
        redshift=None if None in redshift else np.array(redshift, float),
        best_index=int(np.argmax([spectra.meta["best"][i] for i in rows])),
        expected_redshift=expected,
    )
