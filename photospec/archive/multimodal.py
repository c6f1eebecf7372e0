"""Files of the Multimodal Universe on disk: its HDF5 layout, and HATS (Parquet).

In both, objects lie in partitions of the sky, and each has an ``object_id``. Spectra have
``flux``, ``ivar``, ``mask``, ``lambda`` (vacuum) and ``lsf_sigma`` in pixels; images have a
band name, ``flux`` (or ``array``), ``ivar``, ``mask`` and ``scale`` (arcsec) for each band.
Padding of spectra has a wavelength that is not positive.
"""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.nddata import InverseVariance, NDData

from photospec.archive.objects import ArchiveObject, Objects, wanted
from photospec.errors import InputError
from photospec.image import NANOMAGGY
from photospec.spectrum import from_arrays
from photospec.utils.optional import optional_imports
from photospec.utils.validity import to_sigma, usable

__all__ = ["MultimodalImages", "multimodal_files", "read_hats", "read_multimodal"]

SPECTRUM = ("flux", "ivar", "mask", "lambda", "lsf_sigma")
HDF5 = ("*.hdf5", "healpix=*/*.hdf5", "*/healpix=*/*.hdf5")
SKY = ("ra", "dec")
ROWS = 64  # of a Parquet file in memory at a time


def read_multimodal(path: str | PathLike, *, identifiers: Iterable | None = None) -> Objects:
    """Read objects of a Multimodal Universe data set in HDF5.

    Parameters
    ----------
    path : path-like
        One ``.hdf5`` file, or a folder with ``healpix=*/*.hdf5``.
    identifiers : iterable, optional
        Objects to take; all by default.

    Yields
    ------
    ArchiveObject
        With image or spectrum or both, whatever the data set has.

    Raises
    ------
    InputError
        There is no such file, or it is damaged.
    """
    import h5py

    take = wanted(identifiers)
    for file in _files(path, HDF5):
        try:
            with h5py.File(file, "r") as data:
                for i, raw in enumerate(data["object_id"][:]):
                    identifier = _text(raw)
                    if take(identifier):
                        yield _object(identifier, _Row(data, i))
        except (OSError, KeyError) as error:
            raise InputError(
                f"path: expected a Multimodal Universe file, got {file}"
                f" ({' '.join(str(error).split())[:80]})"
            ) from None


def read_hats(path: str | PathLike, *, identifiers: Iterable | None = None) -> Objects:
    """Read objects of a HATS catalogue of the Multimodal Universe on disk.

    Parameters
    ----------
    path : path-like
        One ``.parquet`` file, or the folder of a HATS catalogue
        (``dataset/Norder=*/Dir=*/Npix=*.parquet``).
    identifiers : iterable, optional
        Objects to take; all by default.

    Yields
    ------
    ArchiveObject
        With image or spectrum or both, whatever the data set has.

    Raises
    ------
    InputError
        There is no such file, it is damaged, or pyarrow is not installed.
    """
    with optional_imports():
        import pyarrow as pa
        import pyarrow.parquet as pq
    take = wanted(identifiers)
    patterns = ("*.parquet", "**/Npix=*.parquet", "**/Npix=*/*.parquet")
    for file in _files(path, patterns):
        try:
            with pq.ParquetFile(file) as source:
                for batch in source.iter_batches(batch_size=ROWS):
                    for row in batch.to_pylist():
                        identifier = _text(row["object_id"])
                        if take(identifier):
                            yield _object(identifier, _flat(row))
        except (OSError, KeyError, pa.ArrowException) as error:
            raise InputError(
                f"path: expected a HATS catalogue of the Multimodal Universe, got {file}"
                f" ({' '.join(str(error).split())[:80]})"
            ) from None


def multimodal_files(path):
    """Return HDF5 files of a data set: one file, or those of a folder; none if there are none."""
    path = Path(path)
    if path.is_file():
        return [path] if path.suffix in (".hdf5", ".h5") else []
    return sorted({file for pattern in HDF5 for file in path.glob(pattern)})


class MultimodalImages:
    """Images of a data set in HDF5, in any order.

    Parameters
    ----------
    path : path-like
        As in `read_multimodal`.

    Attributes
    ----------
    identifiers : list of str
    ra, dec : ndarray (n,)
        Degrees; NaN where the files have none.

    Raises
    ------
    InputError
        There is no such file, or it is damaged.
    """

    def __init__(self, path):
        import h5py

        self.identifiers, self._places, places = [], [], []
        for file in _files(path, HDF5):
            try:
                data = h5py.File(file, "r")
                names = [_text(raw) for raw in data["object_id"][:]]
                at = [data[name][:] if name in data else [np.nan] * len(names) for name in SKY]
            except (OSError, KeyError) as error:
                raise InputError(
                    f"path: expected a Multimodal Universe file, got {file}"
                    f" ({' '.join(str(error).split())[:80]})"
                ) from None
            self.identifiers += names
            self._places += [(data, i) for i in range(len(names))]
            places.append(np.asarray(at, float))
        self.ra, self.dec = np.concatenate(places, axis=1)

    def image(self, number):
        """Return the image (NDData) of the object of a number."""
        data, i = self._places[number]
        found = _image(self.identifiers[number], _Row(data, i))
        if found is None:
            raise InputError(f"image: expected one of {self.identifiers[number]}, got none")
        return found


class _Row:
    """One row of an HDF5 file, read column by column when asked for."""

    def __init__(self, data, i):
        self._data, self._i = data, i

    def get(self, name, default=None):
        return self._data[name][self._i] if name in self._data else default

    def items(self):
        return ((name, self._data[name][self._i]) for name in self._data if self._plain(name))

    def _plain(self, name):
        column = self._data[name]
        return column.ndim == 1 and column.dtype.kind in "biuf"


def _flat(row):
    """Bring the nested columns of a Parquet row to the names of the HDF5 layout."""
    flat = dict(row)
    spectrum = flat.pop("spectrum", None)
    if spectrum is not None:
        if isinstance(spectrum, list):  # a list of samples instead of a struct of lists
            spectrum = {name: [sample[name] for sample in spectrum] for name in spectrum[0]}
        flat |= {f"spectrum_{name}": spectrum[name] for name in SPECTRUM if name in spectrum}
    image = flat.pop("image", None)
    if image is not None:
        if isinstance(image, list):
            image = {name: [band[name] for band in image] for name in image[0]}
        flat |= {f"image_{'array' if k == 'flux' else k}": v for k, v in image.items()}
    return flat


def _object(identifier, row):
    redshift = row.get("Z", row.get("redshift", np.nan))
    columns = {
        name.lower(): value
        for name, value in row.items()
        if np.ndim(value) == 0
        and isinstance(value, int | float | np.number | np.bool_)
        and name.isidentifier()
        and name not in ("ra", "dec", "Z", "redshift", "object_id")
        and not name.startswith("_")
    }
    return ArchiveObject(
        identifier,
        float(row.get("ra", np.nan)),
        float(row.get("dec", np.nan)),
        float(np.nan if redshift is None else redshift),
        image=_image(identifier, row),
        spectrum=_spectrum(identifier, row),
        columns=columns,
    )


def _spectrum(identifier, row):
    if row.get("spectrum_flux") is None or row.get("spectrum_lambda") is None:
        return None
    values = {name: row.get(f"spectrum_{name}") for name in SPECTRUM}
    flux, wavelength = (np.asarray(values[name], dtype=float) for name in ("flux", "lambda"))
    ivar = np.zeros(flux.shape) if values["ivar"] is None else np.asarray(values["ivar"], float)
    mask = ~usable(flux, to_sigma(ivar, "ivar"), values["mask"])
    real = wavelength > 0
    wavelength = wavelength[real]
    lsf = None
    if values["lsf_sigma"] is not None:
        pixels = np.broadcast_to(np.asarray(values["lsf_sigma"], dtype=float), flux.shape)[real]
        lsf = pixels * np.gradient(wavelength)
    sigma = np.where(mask, np.inf, 1 / np.sqrt(np.where(mask, 1.0, ivar)))
    meta = {"identifier": identifier, "source": "Multimodal Universe"}
    return from_arrays(
        wavelength, flux[real], sigma=sigma[real], mask=mask[real], lsf=lsf, meta=meta
    )


def _image(identifier, row):
    if row.get("image_array") is None or row.get("image_band") is None:
        return None
    data = np.asarray(row.get("image_array"), dtype=np.float32)
    bands = tuple(_band(_text(band)) for band in row.get("image_band"))
    mask = np.zeros(data.shape, bool)
    given = row.get("image_mask", row.get("bit_mask"))
    if given is not None:
        mask |= np.broadcast_to(np.asarray(given) != 0, data.shape)
    ivar = row.get("image_ivar")
    sigma = None if ivar is None else to_sigma(ivar, "ivar")
    mask = ~usable(data, sigma, mask, axis=(-2, -1))
    if ivar is not None:
        ivar = np.asarray(ivar, dtype=np.float32)
        ivar = InverseVariance(np.where(mask, 0, ivar), unit=NANOMAGGY**-2)
    scale = row.get("image_scale")
    meta = {"bands": bands, "name": identifier}
    if scale is not None:
        meta["pixel_scale"] = float(np.mean(scale)) * u.arcsec
    return NDData(np.where(mask, 0, data), uncertainty=ivar, mask=mask, unit=NANOMAGGY, meta=meta)


def _band(name):
    """Return the band of a name such as "DES-G": that behind the survey; one letter is in lower
    case.
    """
    band = name.rsplit("-", 1)[-1]
    return band.lower() if len(band) == 1 else band


def _text(value):
    return (value.decode() if isinstance(value, bytes) else str(value)).strip()


def _files(path, patterns):
    path = Path(path)
    if path.is_file():
        return [path]
    files = sorted({file for pattern in patterns for file in path.glob(pattern)})
    if not files:
        raise InputError(f"path: expected a file or a folder of partitions, got none in {path}")
    return files
