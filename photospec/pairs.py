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

A writer may be killed at any time: rows are flushed to disk before the attribute
``n_pairs`` counts them, and readers believe that attribute alone. Opening with
``resume=True`` cuts off what was not counted and goes on.
"""

import json
import os
from pathlib import Path

import h5py
import numpy as np
from astropy.table import Table

from photospec.errors import InputError

__all__ = ["FORMAT", "PairsFile", "PairsWriter"]

#: Value of the attribute ``format``; the number changes when old readers would go wrong.
FORMAT = "photospec-pairs-1"

# Pairs per HDF5 chunk: small, because training reads pairs in random order.
_ROWS_IMAGE, _ROWS_SPECTRUM, _ROWS_COLUMN = 1, 4, 1024


class PairsWriter:
    """Write pairs, some at a time, safely against interruption.

    Parameters
    ----------
    path : path-like
        The file; made new, unless `resume`.
    bands : sequence of str
        Names of the bands, in the order of the images.
    pixel_scale : float
        Arcsec per pixel.
    wavelength : array_like (n_wave,)
        Angstrom, vacuum, observed frame.
    provenance : dict
        Where the pairs come from (JSON values): settings, seed, versions, licence.
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
    """

    def __init__(
        self, path, bands, pixel_scale, wavelength, provenance, resume=False, *, overwrite=False
    ):
        self.path = Path(path)
        self.bands = tuple(bands)
        self.wavelength = np.array(wavelength, dtype=float)
        self.pixel_scale = float(pixel_scale)
        self.provenance = json.dumps(provenance, sort_keys=True)
        if not self.path.parent.is_dir():
            raise InputError(f"path: expected an existing folder, got {self.path.parent}")
        if self.path.exists() and not (resume or overwrite):
            raise InputError(
                f"path: expected a new file, got {self.path} which exists; resume or overwrite it"
            )
        self._file = None
        if resume and self.path.exists():
            self._resume()
        else:
            self._create()

    def _create(self):
        # Made complete under another name, so that no half-made header is ever seen.
        temporary = self.path.with_name(self.path.name + ".partial")
        with h5py.File(temporary, "w") as file:
            file.attrs["format"] = FORMAT
            file.attrs["bands"] = list(self.bands)
            file.attrs["pixel_scale"] = self.pixel_scale
            file.attrs["provenance"] = self.provenance
            file.attrs["n_pairs"] = 0
            file.create_dataset("spectrum/wavelength", data=self.wavelength, track_times=False)
        os.replace(temporary, self.path)
        self._file = _open(self.path, "r+")
        self.n_pairs = 0

    def _resume(self):
        _check_format(self.path)
        self._file = _open(self.path, "r+")
        try:
            attrs = self._file.attrs
            for name, ours, theirs in (
                ("bands", self.bands, tuple(attrs["bands"])),
                ("pixel_scale", self.pixel_scale, float(attrs["pixel_scale"])),
                ("provenance", self.provenance, str(attrs["provenance"])),
            ):
                if ours != theirs:
                    raise InputError(
                        f"{name}: expected that of {self.path} in order to resume, "
                        f"{_short(theirs)}, got {_short(ours)}; write to a new file instead"
                    )
            if not np.array_equal(self._file["spectrum/wavelength"][:], self.wavelength):
                raise InputError(
                    f"wavelength: expected the grid of {self.path} in order to resume, got another"
                )
            self.n_pairs = int(attrs["n_pairs"])
            for dataset in _row_datasets(self._file):
                if len(dataset) < self.n_pairs:
                    raise InputError(
                        f"path: expected {self.n_pairs} pairs in {self.path}, got {len(dataset)} "
                        f"in {dataset.name}; the file is damaged"
                    )
                dataset.resize(self.n_pairs, axis=0)
        except BaseException:
            self._file.close()
            raise

    # `object` is the name of the group in the file, part of the public contract.
    def append(self, image, flux, ivar, object=None, truth=None, truth_flux=None):  # noqa: A002
        """Add pairs at the end; they are on disk when this returns.

        Parameters
        ----------
        image : array_like (n, n_bands, ny, nx)
            Nanomaggies; every file has one image size.
        flux, ivar : array_like (n, n_wave)
            In 1e-17 erg/s/cm2/A and its inverse square.
        object, truth : dict of str to array_like (n,), optional
            Columns; the same ones every time.
        truth_flux : array_like (n, n_wave), optional
            Flux without noise.

        Raises
        ------
        InputError
            If shapes or columns do not agree with each other or with what is there.
        """
        rows = self._rows(image, flux, ivar, object, truth, truth_flux)
        n = len(rows["image"])
        if n == 0:
            return
        names = {dataset.name.lstrip("/") for dataset in _row_datasets(self._file)}
        if names and names != set(rows):
            odd = ", ".join(sorted(names ^ set(rows)))
            raise InputError(
                f"columns: expected the same ones as before, got a difference in {odd}"
            )
        for name, data in rows.items():
            if name in names and self._file[name].shape[1:] != data.shape[1:]:
                raise InputError(
                    f"{name}: expected shape (n, {_sizes(self._file[name])}) as before, got "
                    f"{data.shape}"
                )
        for name, data in rows.items():
            dataset = self._file[name] if name in names else self._dataset(name, data)
            dataset.resize(self.n_pairs + n, axis=0)
            dataset[self.n_pairs :] = data
        self._sync()
        self.n_pairs += n
        self._file.attrs["n_pairs"] = self.n_pairs
        self._sync()

    def _rows(self, image, flux, ivar, columns, truth, truth_flux):
        rows = {
            "image": np.asarray(image, dtype=np.float32),
            "spectrum/flux": np.asarray(flux, dtype=np.float32),
            "spectrum/ivar": np.asarray(ivar, dtype=np.float32),
        }
        if truth_flux is not None:
            rows["truth/flux"] = np.asarray(truth_flux, dtype=np.float32)
        for group, entries in (("object", columns), ("truth", truth)):
            for name, column in (entries or {}).items():
                if not name.isidentifier() or (group, name) == ("truth", "flux"):
                    raise InputError(f"{group}: expected a plain column name, got {name!r}")
                rows[f"{group}/{name}"] = _column(column)
        n = len(rows["image"])
        shape = rows["image"].shape
        if len(shape) != 4 or shape[1] != len(self.bands):
            raise InputError(
                f"image: expected (n, {len(self.bands)}, ny, nx) for the bands "
                f"{''.join(self.bands)}, got {shape}"
            )
        spectra = ("spectrum/flux", "spectrum/ivar", "truth/flux")
        for name, data in rows.items():
            if name == "image":
                continue
            wanted = (n, self.wavelength.size) if name in spectra else (n,)
            if data.shape != wanted:
                raise InputError(f"{name}: expected shape {wanted}, got {data.shape}")
        return rows

    def _dataset(self, name, data):
        if name == "image":
            rows = _ROWS_IMAGE
        else:
            rows = _ROWS_COLUMN if data.ndim == 1 else _ROWS_SPECTRUM
        # Bands of one image and one spectrum lie together: a pair is one or two reads.
        return self._file.create_dataset(
            name,
            shape=(0, *data.shape[1:]),
            maxshape=(None, *data.shape[1:]),
            chunks=(rows, *data.shape[1:]),
            dtype=data.dtype,
            track_times=False,
        )

    def _sync(self):
        self._file.flush()
        handle = self._file.id.get_vfd_handle()
        os.fsync(handle)

    def close(self):
        """Close the file; safe to call twice."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class PairsFile:
    """Read pairs without loading them all.

    Any number of processes may have the same file open. An open `PairsFile` can be sent
    to another process (it opens the file anew there).

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
    """

    def __init__(self, path, bands=None):
        self.path = Path(path)
        _check_format(self.path)
        self._file = _open(self.path, "r")
        try:
            self._read_header()
            if bands is not None and tuple(bands) != self.bands:
                raise InputError(
                    f"bands: expected {','.join(bands)}, got {','.join(self.bands)} in {self.path}"
                )
        except InputError:
            self.close()
            raise
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            self.close()
            raise _damaged(self.path, error) from None

    def _read_header(self):
        attrs = self._file.attrs
        self.bands = tuple(str(band) for band in attrs["bands"])
        self.pixel_scale = float(attrs["pixel_scale"])
        self.provenance = json.loads(attrs["provenance"])
        self._n = int(attrs["n_pairs"])
        self.wavelength = self._file["spectrum/wavelength"][:]
        if self._n == 0:
            return
        for name in ("image", "spectrum/flux", "spectrum/ivar"):
            if name not in self._file:
                raise InputError(f"path: expected {name} in {self.path}, got none; not complete")
        for dataset in _row_datasets(self._file):
            if len(dataset) < self._n:
                raise InputError(
                    f"path: expected {self._n} pairs in {self.path}, got {len(dataset)} in "
                    f"{dataset.name}; the file is damaged"
                )
        shape, width = self._file["image"].shape, self._file["spectrum/flux"].shape[-1]
        if len(shape) != 4 or shape[1] != len(self.bands) or width != self.wavelength.size:
            raise InputError(
                f"path: expected images with {len(self.bands)} bands and spectra with "
                f"{self.wavelength.size} samples, got {shape} and {width} in {self.path}"
            )

    def __len__(self):
        return self._n

    def __repr__(self):
        return f"<PairsFile {self.path.name}: {self._n} pairs, bands {''.join(self.bands)}>"

    def image(self, index=slice(None)):
        """Images (n, n_bands, ny, nx), or one of them, float32 nanomaggies."""
        return self._get("image", index)

    def flux(self, index=slice(None)):
        """Spectra (n, n_wave), or one, float32, 1e-17 erg/s/cm2/A."""
        return self._get("spectrum/flux", index)

    def ivar(self, index=slice(None)):
        """Inverse variances (n, n_wave), or one, float32; 0 where bad."""
        return self._get("spectrum/ivar", index)

    def truth_flux(self, index=slice(None)):
        """Noiseless spectra (n, n_wave), or one; simulated pairs only."""
        return self._get("truth/flux", index)

    @property
    def has_truth(self):
        """Whether the pairs were simulated with their truth kept."""
        return "truth" in self._file

    @property
    def object(self):
        """Columns that a catalogue would have, as an astropy Table."""
        return self._table("object")

    @property
    def truth(self):
        """True properties of simulated galaxies, as an astropy Table (empty when observed)."""
        return self._table("truth")

    def _get(self, name, index):
        if name not in self._file:
            raise InputError(f"path: expected {name} in {self.path}, got none; are these observed?")
        index = _index(index, self._n)
        try:
            if isinstance(index, np.ndarray):
                # Row by row: several times faster than a list as h5py index, and any order goes.
                dataset = self._file[name]
                rows = np.empty((index.size, *dataset.shape[1:]), dataset.dtype)
                for place, row in enumerate(index):
                    dataset.read_direct(rows, np.s_[row], np.s_[place])
                return rows
            return self._file[name][index]
        except (OSError, RuntimeError) as error:
            raise _damaged(self.path, error) from None

    def _table(self, group):
        table = Table()
        for name, dataset in self._file.get(group, {}).items():
            if dataset.ndim == 1:
                column = dataset[: self._n]
                table[name] = column.astype(str) if column.dtype.kind == "S" else column
        return table

    def close(self):
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


def _column(column):
    column = np.asarray(column)
    if column.dtype.kind in "UO":
        text = np.char.encode(column.astype(str), "utf-8")
        if text.dtype.itemsize > 64:
            raise InputError("object: expected texts of at most 64 bytes, got a longer one")
        return text.astype("S64")  # a fixed width, so that later batches fit
    if column.dtype.kind not in "bifuS":
        raise InputError(f"object: expected numbers or text in columns, got {column.dtype}")
    return column


def _row_datasets(file):
    for group in (file, file.get("spectrum"), file.get("object"), file.get("truth")):
        for item in (group or {}).values():
            if isinstance(item, h5py.Dataset) and item.name != "/spectrum/wavelength":
                yield item


def _sizes(dataset):
    return ", ".join(str(size) for size in dataset.shape[1:])


def _short(value):
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _damaged(path, error):
    reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
    return InputError(
        f"path: expected a whole pairs file, got {path} which cannot be read ({reason}); "
        "was writing or downloading it interrupted?"
    )


def _open(path, mode):
    try:
        # No file locks: several processes read while one may still write.
        return h5py.File(path, mode, locking=False)
    except (OSError, RuntimeError) as error:
        raise _damaged(path, error) from None


def _check_format(path):
    if not path.is_file():
        raise InputError(f"path: expected a pairs file, got {path} which does not exist")
    if not h5py.is_hdf5(path):
        raise InputError(f"path: expected an HDF5 file of pairs, got {path} which is no HDF5")
    with _open(path, "r") as file:
        found = file.attrs.get("format", "none")
        if found != FORMAT:
            raise InputError(f"path: expected format {FORMAT}, got {found!s:.40} in {path}")
        if "n_pairs" not in file.attrs:
            raise InputError(f"path: expected a count of pairs, got none in {path}")
