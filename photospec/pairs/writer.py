"""Write pairs so that a crash at any moment loses the last batch at most.

The file is written in the single-writer-multiple-readers mode of HDF5, in which the
library orders its own book-keeping so that the file is whole at every moment. A batch is
flushed to disk before the attribute ``n_pairs`` counts it. All datasets are made under a
temporary name, before the file appears.

A writer that is killed leaves a mark in the file by which HDF5 refuses to write it again;
resuming then copies what was counted into a fresh file and goes on with that.
"""

import json
import os
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import ArrayLike

from photospec.errors import InputError
from photospec.pairs.format import FORMAT, check_lengths, open_pairs, row_datasets
from photospec.utils.files import replacing

__all__ = ["PairsWriter"]

# Pairs per HDF5 chunk: small, because training reads pairs in random order.
_ROWS_IMAGE, _ROWS_SPECTRUM, _ROWS_COLUMN = 1, 4, 1024
_TEXT = 64  # bytes of a text column; fixed, so that later batches fit


class PairsWriter:
    """Write pairs, some at a time, safely against interruption.

    Parameters
    ----------
    path : path-like
        The file; made new, unless `resume`. It appears with the first pairs (or on closing).
    bands : sequence of str
        Names of the bands, in the order of the images.
    pixel_scale : float
        Arcsec per pixel.
    wavelength : array_like (n_wave,)
        Angstrom, vacuum, observed frame.
    provenance : dict
        Where the pairs come from (JSON values): settings, seed, versions, licence. No time
        stamps: the same input gives the same bytes.
    resume : bool
        Go on with an existing file whose layout and provenance agree.
    overwrite : bool
        Replace an existing file.

    Attributes
    ----------
    n_pairs : int
        Pairs written so far and safe on disk.

    Raises
    ------
    InputError
        If the file exists (and neither `resume` nor `overwrite` is given), is damaged,
        or was made differently.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from photospec.pairs import PairsFile, PairsWriter
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "pairs.h5"
    ...     with PairsWriter(path, "gri", 0.4, np.arange(4000.0, 5000.0), {"seed": 1}) as writer:
    ...         writer.append(np.ones((2, 3, 8, 8)), np.ones((2, 1000)), np.ones((2, 1000)))
    ...     with PairsFile(path) as pairs:
    ...         len(pairs), pairs.image(0).shape
    (2, (3, 8, 8))
    """

    def __init__(
        self,
        path: str | PathLike,
        bands: Sequence[str],
        pixel_scale: float,
        wavelength: ArrayLike,
        provenance: dict,
        resume: bool = False,
        *,
        overwrite: bool = False,
    ):
        self.path = Path(path)
        self.bands = tuple(bands)
        self.wavelength = np.array(wavelength, dtype=float)
        self.pixel_scale = float(pixel_scale)
        self.provenance = json.dumps(provenance, sort_keys=True)
        self.n_pairs = 0
        self._file = None
        self._closed = False
        if not self.path.parent.is_dir():
            raise InputError(f"path: expected an existing folder, got {self.path.parent}")
        if self.path.exists():
            if resume:
                self._resume()
            elif not overwrite:
                raise InputError(
                    f"path: expected a new file, got {self.path} which exists; "
                    "resume or overwrite it"
                )

    def append(
        self,
        image: ArrayLike,
        flux: ArrayLike,
        ivar: ArrayLike,
        object: Mapping[str, ArrayLike] | None = None,  # noqa: A002
        truth: Mapping[str, ArrayLike] | None = None,
        truth_flux: ArrayLike | None = None,
    ) -> None:
        """Add pairs at the end; they are on disk when this returns.

        Parameters
        ----------
        image : array_like (n, n_bands, ny, nx)
            Nanomaggies; every file has one image size.
        flux, ivar : array_like (n, n_wave)
            In 1e-17 erg/s/cm2/A and its inverse square.
        object, truth : dict of str to array_like (n,), optional
            Columns, numbers or text of at most 64 bytes; the same ones every time.
        truth_flux : array_like (n, n_wave), optional
            Flux without noise.

        Raises
        ------
        InputError
            If shapes or columns do not agree with each other or with what is there.
        """
        if self._closed:
            raise InputError(f"path: expected an open writer, got one of {self.path} after close()")
        rows = self._rows(image, flux, ivar, object, truth, truth_flux)
        n = len(rows["image"])
        if n == 0:
            return
        if self._file is None:
            self._create(rows)
        self._check_layout(rows)
        try:
            for name, data in rows.items():
                dataset = self._file[name]
                dataset.resize(self.n_pairs + n, axis=0)
                dataset[self.n_pairs :] = data
            self._sync()
            self._file.attrs.modify("n_pairs", np.int64(self.n_pairs + n))
            self._sync()
        except OSError as error:
            raise InputError(
                f"path: expected room to write {n} pairs to {self.path}, got {error}; "
                "is the disk full?"
            ) from None
        self.n_pairs += n

    def _check_layout(self, rows):
        there = {dataset.name.lstrip("/"): dataset for dataset in row_datasets(self._file)}
        if set(there) != set(rows):
            odd = ", ".join(sorted(set(there) ^ set(rows)))
            raise InputError(
                f"columns: expected the same ones as before, got a difference in {odd}"
            )
        for name, data in rows.items():
            dataset = there[name]
            if dataset.shape[1:] != data.shape[1:]:
                raise InputError(
                    f"{name}: expected shape (n, {', '.join(map(str, dataset.shape[1:]))}) as "
                    f"before, got {data.shape}"
                )
            if dataset.dtype != data.dtype and not np.can_cast(data.dtype, dataset.dtype):
                raise InputError(f"{name}: expected {dataset.dtype} as before, got {data.dtype}")

    def _rows(self, image, flux, ivar, columns, truth, truth_flux):
        """Return everything as arrays by dataset name, shapes checked."""
        rows = {
            "image": np.asarray(image, dtype=np.float32),
            "spectrum/flux": np.asarray(flux, dtype=np.float32),
            "spectrum/ivar": np.asarray(ivar, dtype=np.float32),
        }
        shape = rows["image"].shape
        if len(shape) != 4 or shape[1] != len(self.bands):
            raise InputError(
                f"image: expected (n, {len(self.bands)}, ny, nx) for the bands "
                f"{''.join(self.bands)}, got {shape}"
            )
        if truth_flux is not None:
            rows["truth/flux"] = np.asarray(truth_flux, dtype=np.float32)
        for name, data in rows.items():
            if name != "image" and data.shape != (shape[0], self.wavelength.size):
                raise InputError(
                    f"{name}: expected shape ({shape[0]}, {self.wavelength.size}), got {data.shape}"
                )
        for group, entries in (("object", columns), ("truth", truth)):
            for name, column in (entries or {}).items():
                if not str(name).isidentifier() or (group, name) == ("truth", "flux"):
                    raise InputError(f"{group}: expected a plain column name, got {name!r}")
                data = _column(column, f"{group}/{name}")
                if data.shape != shape[:1]:
                    raise InputError(
                        f"{group}/{name}: expected shape ({shape[0]},), got {data.shape}"
                    )
                rows[f"{group}/{name}"] = data
        return rows

    def _create(self, rows):
        # Made complete under another name, so that no half-made file is ever seen.
        with (
            replacing(self.path) as temporary,
            h5py.File(temporary, "w", libver="latest", locking=False) as file,
        ):
            file.attrs["format"] = FORMAT
            file.attrs["bands"] = list(self.bands)
            file.attrs["pixel_scale"] = self.pixel_scale
            file.attrs["provenance"] = self.provenance
            file.attrs["n_pairs"] = np.int64(0)
            file.create_dataset("spectrum/wavelength", data=self.wavelength, track_times=False)
            for name, data in (rows or {}).items():
                length = _ROWS_COLUMN if data.ndim == 1 else _ROWS_SPECTRUM
                file.create_dataset(
                    name,
                    shape=(0, *data.shape[1:]),
                    maxshape=(None, *data.shape[1:]),
                    chunks=(_ROWS_IMAGE if name == "image" else length, *data.shape[1:]),
                    dtype=data.dtype,
                    track_times=False,
                )
        if rows:
            self._open()

    def _open(self):
        # Opened for writing and in the safe mode in one step: a kill in between two steps
        # would leave a mark with which no reader opens the file.
        access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
        access.set_libver_bounds(h5py.h5f.LIBVER_LATEST, h5py.h5f.LIBVER_LATEST)
        access.set_file_locking(False, True)
        mode = h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_WRITE
        self._file = h5py.File(h5py.h5f.open(os.fsencode(self.path), mode, access))

    def _resume(self):
        with open_pairs(self.path) as file:
            self._check_same(file)
            self.n_pairs = int(file.attrs["n_pairs"])
            check_lengths(file, self.n_pairs)
            lengths = {len(dataset) for dataset in row_datasets(file)}
        if not lengths:  # closed before the first pair: start over
            self.path.unlink()
            return
        try:
            self._open()  # after a clean end
        except OSError:
            self._copy()
            self._open()

    def _copy(self):
        """Replace a file that a killed writer left by a copy of what was counted."""
        n_pairs, path = self.n_pairs, self.path
        with replacing(path) as aside, open_pairs(path) as old:
            first = {dataset.name.lstrip("/"): dataset[:0] for dataset in row_datasets(old)}
            copy = PairsWriter.__new__(PairsWriter)
            copy.__dict__.update(self.__dict__)
            copy.path = aside
            copy._create(first)
            with copy._file as new:
                for name in first:
                    new[name].resize(n_pairs, axis=0)
                    for start in range(0, n_pairs, 1024):
                        stop = min(start + 1024, n_pairs)
                        new[name][start:stop] = old[name][start:stop]
                new.attrs.modify("n_pairs", np.int64(n_pairs))
                new.flush()

    def _check_same(self, file):
        attrs = file.attrs
        for name, ours, theirs in (
            ("bands", self.bands, tuple(attrs["bands"])),
            ("pixel_scale", self.pixel_scale, float(attrs["pixel_scale"])),
            ("provenance", self.provenance, str(attrs["provenance"])),
        ):
            if ours != theirs:
                raise InputError(
                    f"{name}: expected that of {self.path} in order to resume, {_short(theirs)}, "
                    f"got {_short(ours)}; write to a new file instead"
                )
        if not np.array_equal(file["spectrum/wavelength"][:], self.wavelength):
            raise InputError(
                f"wavelength: expected the grid of {self.path} in order to resume, got another"
            )

    def _sync(self):
        self._file.flush()
        os.fsync(self._file.id.get_vfd_handle())

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if self._file is not None:
            self._file.close()
            self._file = None
        elif not self.path.exists() or self.n_pairs == 0:
            self._create(None)

    def __enter__(self):
        return self

    def __exit__(self, kind, *exception):
        if kind is not None and self._file is None:
            self._closed = True  # failed before the first pair: leave no file behind
        self.close()


def _column(column, name):
    column = np.asarray(column)
    if column.dtype.kind in "UO":
        text = np.char.encode(column.astype(str), "utf-8")
        if text.dtype.itemsize > _TEXT:
            raise InputError(f"{name}: expected texts of at most {_TEXT} bytes, got a longer one")
        return text.astype(f"S{_TEXT}")
    if column.dtype.kind == "S":
        return column.astype(f"S{_TEXT}")
    if column.dtype.kind not in "bifu":
        raise InputError(f"{name}: expected numbers or text, got {column.dtype}")
    return column


def _short(value):
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
