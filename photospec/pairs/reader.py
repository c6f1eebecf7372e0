"""Image-spectrum pairs on disk: HDF5, the one data format of the project.

Layout (``n`` pairs)::

    image               (n, n_bands, ny, nx) float32   nanomaggies
    spectrum/flux       (n, n_wave) float32            1e-17 erg/s/cm2/A
    spectrum/ivar       (n, n_wave) float32            its inverse square; 0 = bad
    spectrum/wavelength (n_wave,) float64              Angstrom, vacuum, observed frame
    object/<column>     (n,)                           redshift, ra, dec, identifiers
    truth/<column>      (n,)                           simulated pairs only
    truth/flux          (n, n_wave) float32            without noise
    attributes          format, n_pairs, bands, pixel_scale (arcsec), provenance (JSON)

The datasets may be longer than ``n_pairs`` says when a writer was interrupted: only that
attribute counts. Writing is in `photospec.pairs.writer`, which explains the safety.
"""

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import h5py
import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike

from photospec.errors import InputError
from photospec.pairs.format import (
    FORMAT,
    check_lengths,
    open_pairs,
    pairs_dataset,
    reading_pairs,
)
from photospec.pairs.writer import PairsWriter
from photospec.utils.reading import check_size, one_line

__all__ = ["FORMAT", "PairsFile", "PairsWriter"]


class PairsFile:
    """Read pairs without loading them all.

    Any number of processes may read the same file, also while one writes it; the number
    of pairs is that at the time of opening. A `PairsFile` that is sent to another process
    opens the file anew there; after a fork each process needs its own.

    Parameters
    ----------
    path : path-like
        File written by `PairsWriter`.
    bands : sequence of str, optional
        Refuse a file with other bands.

    Attributes
    ----------
    bands : tuple of str
    pixel_scale : float
        Arcsec.
    wavelength : ndarray (n_wave,)
        Angstrom, vacuum, observed frame.
    provenance : dict

    Raises
    ------
    InputError
        If the file is not there, is no pairs file, is damaged, or has other bands.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from photospec.pairs import PairsFile, PairsWriter
    >>> image, flux, ivar = np.ones((2, 3, 8, 8)), np.ones((2, 1000)), np.ones((2, 1000))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "pairs.h5"
    ...     with PairsWriter(path, "gri", 0.4, np.arange(4000.0, 5000.0), {}) as writer:
    ...         writer.append(image, flux, ivar, object={"redshift": [0.1, 0.2]})
    ...     with PairsFile(path, bands="gri") as pairs:
    ...         print(pairs.flux(0).shape, pairs.object["redshift"].max())
    (1000,) 0.2
    """

    def __init__(self, path: str | PathLike, bands: Sequence[str] | None = None):
        self.path = Path(path)
        self._file = open_pairs(self.path)
        try:
            with reading_pairs(self.path):
                self._read_header()
            if bands is not None and tuple(bands) != self.bands:
                raise InputError(
                    f"bands: expected {','.join(bands)}, got {','.join(self.bands)} in {self.path}"
                )
        except BaseException:
            self.close()
            raise

    def _read_header(self):
        file, path = self._file, self.path
        bands = np.asarray(file.attrs["bands"])
        if bands.ndim != 1 or not all(isinstance(band, str | bytes) for band in bands.tolist()):
            raise InputError(f"path: expected names of bands in {path}, got {one_line(bands, 60)}")
        self.bands = tuple(np.char.decode(bands).tolist() if bands.dtype.kind == "S" else bands)
        self.pixel_scale = _number(file, "pixel_scale")
        if not 0 < self.pixel_scale < np.inf:
            raise InputError(
                f"path: expected a pixel scale in arcsec in {path}, got {self.pixel_scale}"
            )
        provenance = file.attrs["provenance"]
        if not isinstance(provenance, str):
            raise InputError(
                f"path: expected provenance as text in {path}, got {one_line(provenance, 60)}"
            )
        self.provenance = json.loads(provenance)
        self._n = int(_number(file, "n_pairs"))
        if self._n < 0:
            raise InputError(f"path: expected a count of pairs in {path}, got {self._n}")
        self.wavelength = pairs_dataset(file, "spectrum/wavelength", 1, "fiu")[:]
        if self._n == 0:
            return
        image = pairs_dataset(file, "image", 4)
        flux = pairs_dataset(file, "spectrum/flux", 2)
        pairs_dataset(file, "spectrum/ivar", 2)
        check_lengths(file, self._n)
        if image.shape[1] != len(self.bands) or flux.shape[1] != self.wavelength.size:
            raise InputError(
                f"path: expected images with {len(self.bands)} bands and spectra with "
                f"{self.wavelength.size} samples, got {image.shape} and {flux.shape[1]} in {path}"
            )

    def __len__(self):
        return self._n

    def __repr__(self):
        return f"<PairsFile {self.path.name}: {self._n} pairs, bands {''.join(self.bands)}>"

    def image(self, index: int | slice | ArrayLike = slice(None)) -> np.ndarray:
        """Return images (n, n_bands, ny, nx), or one of them, float32 nanomaggies."""
        return self._get("image", index)

    def flux(self, index: int | slice | ArrayLike = slice(None)) -> np.ndarray:
        """Return the spectra (n, n_wave), or one, float32, 1e-17 erg/s/cm2/A."""
        return self._get("spectrum/flux", index)

    def ivar(self, index: int | slice | ArrayLike = slice(None)) -> np.ndarray:
        """Return inverse variances (n, n_wave), or one, float32; 0 where bad."""
        return self._get("spectrum/ivar", index)

    def truth_flux(self, index: int | slice | ArrayLike = slice(None)) -> np.ndarray:
        """Return the noiseless spectra (n, n_wave), or one; simulated pairs only."""
        return self._get("truth/flux", index)

    @property
    def has_truth(self) -> bool:
        """Whether the pairs were simulated with their truth kept."""
        return "truth" in self._file

    @property
    def object(self) -> Table:
        """Columns that a catalogue would have, as an astropy Table."""
        return self._table("object")

    @property
    def truth(self) -> Table:
        """True properties of simulated galaxies, as an astropy Table (empty when observed)."""
        return self._table("truth")

    def _get(self, name, index):
        if self._file is None:
            raise InputError(f"path: expected an open file, got {self.path} after close()")
        if name not in self._file:
            raise InputError(f"path: expected {name} in {self.path}, got none; are these observed?")
        index = _index(index, self._n)
        with reading_pairs(self.path):
            if isinstance(index, np.ndarray):
                # Row by row: several times faster than a list as h5py index, and any order goes.
                dataset = self._file[name]
                rows = np.empty((index.size, *dataset.shape[1:]), dataset.dtype)
                for place, row in enumerate(index):
                    dataset.read_direct(rows, np.s_[row], np.s_[place])
                return rows
            return self._file[name][index]

    def _table(self, group):
        if self._file is None:
            raise InputError(f"path: expected an open file, got {self.path} after close()")
        table = Table()
        with reading_pairs(self.path):
            members = self._file.get(group, {})
            for name in members if isinstance(members, h5py.Group) else ():
                dataset = members[name]
                if isinstance(dataset, h5py.Dataset) and dataset.ndim == 1:
                    check_size(self._n * dataset.dtype.itemsize, f"{group}/{name}", self.path)
                    column = dataset[: self._n]
                    table[name] = np.char.decode(column) if column.dtype.kind == "S" else column
        return table

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if getattr(self, "_file", None) is not None:
            self._file.close()
            self._file = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __reduce__(self):
        return (PairsFile, (self.path,))


def _number(file, name):
    value = np.asarray(file.attrs[name])
    if value.ndim or value.dtype.kind not in "fiu" or not np.isfinite(value):
        raise InputError(
            f"path: expected a number {name} in {file.filename}, got {one_line(value, 60)}"
        )
    return float(value)


def _index(index, n):
    if isinstance(index, slice):
        start, stop, step = index.indices(n)
        return slice(start, stop, step) if step > 0 else np.arange(n)[index]
    if isinstance(index, int | np.integer):
        if not -n <= index < n:
            raise IndexError(f"index: expected one of {n} pairs, got {index}")
        return int(index) % n
    index = np.asarray(index)
    if index.dtype == bool and index.shape == (n,):
        return np.flatnonzero(index)
    if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
        raise IndexError(
            f"index: expected integers or a mask of {n}, got {index.dtype} {index.shape}"
        )
    if index.size and not (index.min() >= -n and index.max() < n):
        raise IndexError(f"index: expected numbers below {n}, got up to {index.max()}")
    return index.astype(int) % max(n, 1)
