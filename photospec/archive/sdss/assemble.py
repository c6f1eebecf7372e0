"""From a download folder to a pairs file, joined by identifier, never by position in a list."""

import math
import os

import numpy as np

from photospec.archive.sdss.addresses import spectrum_name
from photospec.archive.sdss.columns import IDENTIFIERS, MEASUREMENTS, PHOTOMETRY, kind_of
from photospec.archive.sdss.cutouts import PIXEL_SCALE, read_cutout
from photospec.archive.sdss.fields import cutout_path
from photospec.archive.sdss.spectra import training_spectrum
from photospec.errors import InputError

__all__ = ["assemble"]

BATCH = 64
COLUMNS = (*IDENTIFIERS, *PHOTOMETRY, *(n for group in MEASUREMENTS.values() for n in group))


def assemble(folder, config, store, note=None):
    """Write all galaxies that are complete to ``pairs.h5``.

    Parameters
    ----------
    folder : Path
        Download folder.
    config : DownloadConfig
        Settings.
    store : Store
        State; galaxies whose files turn out unusable are marked 'failed' in it.
    note : callable, optional
        Told in one line about the end.

    Returns
    -------
    Path
        The pairs file.
    """
    from photospec.pairs import PairsWriter
    from photospec.spectrum import WAVELENGTH

    path, partial = folder / "pairs.h5", folder / "pairs.building.h5"
    if path.exists() and store.get("n_pairs") == store.counts().get("done", 0):
        return path
    provenance = {
        "source": f"SDSS data release {config.release}",
        "selection": store.get("settings"),
        "begun": store.get("begun"),
        "acknowledgement": "https://www.sdss.org/collaboration/citing-sdss/",
    }
    columns = [*COLUMNS, *_extra_columns(store)]
    with PairsWriter(
        partial, tuple(config.bands), PIXEL_SCALE, WAVELENGTH, provenance, overwrite=True
    ) as writer:
        batch = []
        for row, _ in store.galaxies("done"):
            try:
                batch.append(_pair(folder, row, columns))
            except (InputError, OSError) as error:
                store.mark([(row["specobjid"], "failed", str(error))])
                continue
            if len(batch) == BATCH:
                _append(writer, batch)
                batch = []
        _append(writer, batch)
        n_pairs = writer.n_pairs
    os.replace(partial, path)
    store.set("n_pairs", n_pairs)
    if note is not None:
        note(f"{n_pairs} pairs written to {path}")
    return path


def _pair(folder, row, columns):
    """Read image and spectrum of one galaxy and make sure that they are its own."""
    cutout, header = read_cutout(cutout_path(folder, row))
    if header["SPECOBJ"] != str(row["specobjid"]):
        raise InputError(f"cutout of {row['specobjid']} says SPECOBJ = {header['SPECOBJ']} inside")
    flux, ivar, lsf_sigma = training_spectrum(
        folder / spectrum_name(row["plate"], row["mjd"], row["fiberid"])
    )
    # Pixels off the frame are few; sky, which is zero, stands in for them.
    image = np.where(cutout.mask, 0.0, cutout.data)
    values = {name: _value(row.get(name), kind_of(name)) for name in columns}
    values["masked_fraction"] = float(cutout.mask.mean())
    values["lsf_sigma"] = lsf_sigma
    return image, flux, ivar, values


def _append(writer, batch):
    if not batch:
        return
    images, fluxes, ivars, values = zip(*batch)
    columns = {
        name: np.array([value[name] for value in values], dtype=_dtype(name)) for name in values[0]
    }
    writer.append(np.array(images), np.array(fluxes), np.array(ivars), object=columns)


def _extra_columns(store):
    """Names of numeric columns that a user's own catalogue brings along."""
    for row, _ in store.galaxies("done"):
        return [
            name
            for name, value in row.items()
            if name not in COLUMNS and name.isidentifier() and not isinstance(value, str)
        ]
    return []


def _value(value, kind):
    if value is None:
        return {"str": "", "float": math.nan, "int": -1, "id": 0}[kind]
    return value


def _dtype(name):
    kind = kind_of(name)
    return {"id": np.uint64, "int": np.int64, "float": np.float64, "str": "S16"}[kind]
