"""Search among images or spectra by what the networks see in them.

`PhotoSpectrograph` turns images and spectra into unit vectors of one space: the cosine of two is
their similarity. An `EmbeddingIndex` holds the vectors of many galaxies and finds those nearest to
another, be it an image or a spectrum::

    index = EmbeddingIndex.build(spectrograph, images, identifiers=names)
    index.save("galaxies.safetensors")
    found = index.query(spectrum, n=10, spectrograph=spectrograph)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import NDData
from astropy.table import QTable
from numpy.typing import ArrayLike
from safetensors import safe_open
from safetensors.numpy import save
from specutils import Spectrum

from photospec.config import whole_number
from photospec.errors import InputError
from photospec.image import ImageArray
from photospec.spectrum import WAVELENGTH, from_arrays
from photospec.utils.files import replacing
from photospec.utils.optional import optional_imports
from photospec.utils.reading import check_size, reading

if TYPE_CHECKING:
    from photospec.spectrograph import PhotoSpectrograph

__all__ = ["FORMAT", "EmbeddingIndex", "SearchResult"]

FORMAT = "photospec-index-1"
METHODS = ("exact", "faiss")
# Objects that are embedded together, and query vectors that are compared at once.
_AT_ONCE = 256
# Neighbours of each vector in the graph of approximate search (Malkov & Yashunin 2018).
_N_LINKS = 32
# Cosine of the two embeddings of one spectrum from which weights count as the same: other
# precisions stay above, other weights fall far below.
_SAME_WEIGHTS = 0.98


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What was found for each of n queries, the most similar first.

    Attributes
    ----------
    row : ndarray of int (n, m)
        Numbers in the index; -1 where an approximate search found fewer.
    similarity : ndarray (n, m)
        Cosine, -1 to 1.
    identifier : ndarray of str (n, m)
    """

    row: np.ndarray
    similarity: np.ndarray
    identifier: np.ndarray

    def __len__(self):
        return len(self.row)

    def to_table(self, queries: Sequence | None = None) -> QTable:
        """Return one row per query and finding: ``query``, ``rank``, ``identifier``,
        ``similarity``.

        Parameters
        ----------
        queries : sequence of str, optional
            Names of the queries; their numbers by default.
        """
        n, m = self.row.shape
        names = np.arange(n) if queries is None else np.asarray(queries)
        table = QTable(
            {
                "query": np.repeat(names, m),
                "rank": np.tile(np.arange(1, m + 1), n),
                "identifier": self.identifier.ravel(),
                "row": self.row.ravel(),
                "similarity": self.similarity.ravel(),
            }
        )
        table = table[table["row"] >= 0]
        table["similarity"].info.format = ".4f"
        return table

    def __repr__(self):
        return f"<SearchResult: {self.row.shape[1]} found for each of {len(self)} queries>"


class EmbeddingIndex:
    """Unit vectors of many images or spectra, to be searched.

    Made with `build`, or read with `load`.

    Parameters
    ----------
    vectors : array_like (n, size)
        Embeddings; brought to unit length.
    identifiers : sequence of str
        One per vector.
    kind : {"image", "spectrum"}
        What they are of.
    probe : array_like (size,), optional
        Embedding of `probe_spectrum` by the same weights: queries with others are refused.

    Examples
    --------
    >>> from photospec.search import EmbeddingIndex
    >>> index = EmbeddingIndex([[1, 0], [0, 1], [0.6, 0.8]], ["a", "b", "c"], "image")
    >>> found = index.query([[0.0, 2.0]], n=2)
    >>> found.identifier[0].tolist(), found.similarity[0].astype(float).round(2).tolist()
    (['b', 'c'], [1.0, 0.8])
    """

    def __init__(
        self,
        vectors: ArrayLike,
        identifiers: Sequence[str],
        kind: str,
        *,
        probe: ArrayLike | None = None,
    ):
        self.vectors = _unit(vectors, "vectors")
        self.identifiers = np.asarray([str(name) for name in identifiers])
        if len(self.identifiers) != len(self.vectors):
            raise InputError(
                f"identifiers: expected one for each of {len(self.vectors)} vectors, got "
                f"{len(self.identifiers)}"
            )
        if kind not in ("image", "spectrum"):
            raise InputError(f"kind: expected image or spectrum, got {kind!r}")
        self.kind = kind
        self.probe = None if probe is None else _unit([probe], "probe")[0]
        self._graph = None

    def __len__(self):
        return len(self.vectors)

    def __repr__(self):
        return f"<EmbeddingIndex: {len(self)} embeddings of {self.kind}s>"

    @classmethod
    def build(
        cls,
        spectrograph: PhotoSpectrograph,
        objects: Iterable[NDData] | Iterable[Spectrum] | Spectrum,
        *,
        identifiers: Iterable[str] | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> EmbeddingIndex:
        """Embed images or spectra.

        Parameters
        ----------
        spectrograph : PhotoSpectrograph
        objects : iterable of NDData, iterable of Spectrum, or Spectrum
            Images as `PhotoSpectrograph.predict` takes them, or spectra as
            `PhotoSpectrograph.embed_spectrum` does. They are taken a few at a time, so a
            generator may give more than memory holds.
        identifiers : iterable of str, optional
            One per object; by default ``meta["identifier"]``, else the number.
        progress : callable, optional
            Called with the number of objects just embedded.

        Returns
        -------
        EmbeddingIndex

        Raises
        ------
        InputError
            No objects, images and spectra mixed, or one that cannot be used.
        """
        vectors, names, kind = [], [], None
        for chunk in _chunks(objects):
            found, this = _embed(spectrograph, chunk)
            if kind not in (None, this):
                raise InputError("objects: expected images or spectra, got both")
            kind = this
            names += _names(chunk, len(names), len(found))
            vectors.append(found)
            if progress is not None:
                progress(len(found))
        if not vectors:
            raise InputError("objects: expected at least one image or spectrum, got none")
        names = names if identifiers is None else list(identifiers)
        return cls(np.concatenate(vectors), names, kind, probe=_probe(spectrograph))

    def query(
        self,
        what: NDData | Spectrum | Sequence[NDData | Spectrum] | ArrayLike,
        n: int = 10,
        *,
        spectrograph: PhotoSpectrograph | None = None,
        method: str = "exact",
    ) -> SearchResult:
        """Find the most similar objects.

        Parameters
        ----------
        what : NDData, Spectrum, sequence of either, or array_like (n_queries, size)
            Images or spectra, whichever the index holds; or their embeddings.
        n : int
            How many for each query; all where the index has fewer.
        spectrograph : PhotoSpectrograph, optional
            Embeds images and spectra; of the same weights as the index.
        method : {"exact", "faiss"}
            ``"exact"`` compares with every vector. ``"faiss"`` follows a graph (HNSW, Malkov &
            Yashunin 2018) that is built once: faster from about a million vectors, and it may
            miss some.

        Returns
        -------
        SearchResult

        Raises
        ------
        InputError
            A query that cannot be used; weights other than those of the index.
        MissingPackageError
            ``"faiss"`` without the package: the extra ``search`` brings it.
        """
        if method not in METHODS:
            raise InputError(f"method: expected {' or '.join(METHODS)}, got {method!r}")
        n = whole_number("n", n, 1)
        vectors = self._vectors_of(what, spectrograph)
        n = min(n, len(self))
        row, similarity = self._faiss(vectors, n) if method == "faiss" else self._exact(vectors, n)
        names = np.where(row >= 0, self.identifiers[row], "")
        return SearchResult(row, similarity, names)

    def _vectors_of(self, what, spectrograph):
        if isinstance(what, NDData | ImageArray | Spectrum) or _holds_objects(what):
            if spectrograph is None:
                raise InputError(
                    "spectrograph: expected the one that made the index, to embed images and "
                    "spectra with; got none"
                )
            self.check_weights(spectrograph)
            chunks = _chunks(what)
            return _unit(np.concatenate([_embed(spectrograph, c)[0] for c in chunks]), "what")
        vectors = _unit(what, "what")
        if vectors.shape[1] != self.vectors.shape[1]:
            raise InputError(
                f"what: expected embeddings of {self.vectors.shape[1]} numbers, got "
                f"{vectors.shape[1]}"
            )
        return vectors

    def check_weights(self, spectrograph: PhotoSpectrograph) -> None:
        """Raise `InputError` unless a spectrograph has the weights that made the index."""
        if self.probe is None:
            return
        probe = _probe(spectrograph)
        if probe.shape != self.probe.shape or probe @ self.probe < _SAME_WEIGHTS:
            raise InputError(
                "spectrograph: expected the weights that made the index, got others; embeddings "
                "of different weights cannot be compared"
            )

    def _exact(self, vectors, n):
        rows, values = [], []
        for start in range(0, len(vectors), _AT_ONCE):
            similarity = vectors[start : start + _AT_ONCE] @ self.vectors.T
            # First the n best in any order, then those in order: of equal ones the first.
            best = np.sort(np.argpartition(-similarity, n - 1, axis=1)[:, :n], axis=1)
            found = np.take_along_axis(similarity, best, axis=1)
            order = np.argsort(-found, axis=1, kind="stable")
            rows.append(np.take_along_axis(best, order, axis=1))
            values.append(np.take_along_axis(found, order, axis=1))
        return np.concatenate(rows), np.clip(np.concatenate(values), -1, 1)

    def _faiss(self, vectors, n):
        with optional_imports():
            import faiss

        if self._graph is None:
            size = self.vectors.shape[1]
            self._graph = faiss.IndexHNSWFlat(size, _N_LINKS, faiss.METRIC_INNER_PRODUCT)
            self._graph.add(np.ascontiguousarray(self.vectors))
        self._graph.hnsw.efSearch = max(4 * n, 64)
        similarity, row = self._graph.search(np.ascontiguousarray(vectors), n)
        return row, np.where(row >= 0, np.clip(similarity, -1, 1), np.nan)

    def save(self, path: str | PathLike) -> None:
        """Write the index: one safetensors file, replaced in full or not at all.

        Parameters
        ----------
        path : path-like
        """
        names = json.dumps(self.identifiers.tolist()).encode()
        tensors = {"vectors": self.vectors, "identifiers": np.frombuffer(names, np.uint8)}
        if self.probe is not None:
            tensors["probe"] = self.probe
        header = {"format": FORMAT, "kind": self.kind, "photospec": version("photospec")}
        with replacing(path) as temporary:
            temporary.write_bytes(save(tensors, header))

    @classmethod
    def load(cls, path: str | PathLike) -> EmbeddingIndex:
        """Read an index that `save` wrote.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        EmbeddingIndex

        Raises
        ------
        InputError
            The file is missing, damaged, or something else.
        """
        path = Path(path)
        with reading(path, "an index", cause="was it written by EmbeddingIndex.save?"):
            check_size(path.stat().st_size, "vectors", path)
            with safe_open(path, "np") as file:
                header = file.metadata() or {}
                if header.get("format") != FORMAT:
                    raise InputError(
                        f"path: expected an index of format {FORMAT}, got {path} of "
                        f"{header.get('format', 'none')}"
                    )
                keys = set(file.keys())
                vectors = file.get_tensor("vectors")
                names = json.loads(file.get_tensor("identifiers").tobytes())
                probe = file.get_tensor("probe") if "probe" in keys else None
            return cls(vectors, names, header.get("kind"), probe=probe)


def probe_spectrum():
    """Return a spectrum whose embedding tells weights apart: a slope, a break and two lines."""
    flux = np.linspace(1.3, 0.8, WAVELENGTH.size)
    flux[WAVELENGTH < 4400] *= 0.6
    for centre, height in ((5500.0, 1.0), (7200.0, 3.0)):
        flux += height * np.exp(-0.5 * ((WAVELENGTH - centre) / 4.0) ** 2)
    return from_arrays(WAVELENGTH, flux)


def _probe(spectrograph):
    return _unit(spectrograph.embed_spectrum(probe_spectrum()), "spectrograph")[0]


def _unit(vectors, argument):
    """Return vectors (n, size) of length one, float32."""
    try:
        array = np.asarray(vectors, np.float32)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        raise InputError(
            f"{argument}: expected images, spectra, or embeddings (n, size) of finite numbers, got "
            f"{type(vectors).__name__} of shape {array.shape}"
        )
    length = np.linalg.norm(array, axis=1, keepdims=True)
    if not (length > 0).all():
        raise InputError(f"{argument}: expected embeddings longer than zero, got one of zero")
    # What has unit length already keeps its bits, through files and back.
    return array / np.where(np.abs(length - 1) < 1e-6, 1, length)


def _holds_objects(what):
    return (
        isinstance(what, Iterable)
        and not isinstance(what, np.ndarray)
        and all(isinstance(one, NDData | ImageArray | Spectrum) for one in what)
        and bool(len(what))
    )


def _chunks(objects):
    """Yield lists of some images or spectra; a Spectrum of many is one."""
    if isinstance(objects, NDData | ImageArray | Spectrum):
        yield [objects]
        return
    chunk = []
    for one in objects:
        chunk.append(one)
        if len(chunk) == _AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _embed(spectrograph, chunk):
    """Embed images or spectra (n, size), and say which they were."""
    # A Spectrum is an NDData too.
    kinds = {isinstance(one, Spectrum) for one in chunk}
    if len(kinds) > 1:
        raise InputError("objects: expected images or spectra, got both")
    if kinds == {True}:
        return np.concatenate([spectrograph.embed_spectrum(one) for one in chunk]), "spectrum"
    return spectrograph.embed_image(chunk), "image"


def _names(chunk, first, n):
    """Return identifiers of the objects of a chunk, else their numbers."""
    names = []
    for one in chunk:
        given = getattr(one, "meta", {}).get("identifier")
        rows = 1
        if isinstance(one, Spectrum) and one.flux.ndim > 1:
            rows = one.flux.shape[0]
        if isinstance(given, list | tuple | np.ndarray) and len(given) == rows:
            names += list(given)
        elif given is not None and rows == 1:
            names.append(given)
        else:
            names += list(range(first + len(names), first + len(names) + rows))
    return names[:n]
