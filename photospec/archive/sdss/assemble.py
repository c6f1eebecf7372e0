"""From a download folder to a pairs file, joined by identifier, never by position in a list."""

import math

import numpy as np
from astropy.io import fits

from photospec.archive.galactic_dust import ebv_from_extinction, galactic_ebv_at
from photospec.archive.sdss.addresses import PIXEL_SCALE, cutout_path, spectrum_name
from photospec.archive.sdss.catalogue import IDENTIFIERS, MEASUREMENTS, PHOTOMETRY, kind_of
from photospec.errors import InputError
from photospec.image import read_image
from photospec.pairs import PairsWriter
from photospec.spectrum import WAVELENGTH, read_spectrum, to_arrays, to_training_grid
from photospec.utils.files import replacing

__all__ = ["assemble", "training_spectrum"]

# Bits of and_mask (bad in every exposure) that make a sample no measurement of the object:
# 18 FULLREJECT, 22 NOSKY, 23 BRIGHTSKY, 24 NODATA.
_BAD = (1 << 18) | (1 << 22) | (1 << 23) | (1 << 24)
BATCH = 64  # pairs per append to the file
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
    path = folder / "pairs.h5"
    if path.exists() and store.get("n_pairs") == store.counts().get("done", 0):
        return path
    provenance = {
        "source": f"SDSS data release {config.release}",
        "selection": store.get("settings"),
        "begun": store.get("begun"),
        "acknowledgement": "https://www.sdss.org/collaboration/citing-sdss/",
    }
    columns = [*COLUMNS, *_extra_columns(store)]
    with (
        replacing(path) as partial,
        PairsWriter(
            partial, tuple(config.bands), PIXEL_SCALE, WAVELENGTH, provenance, overwrite=True
        ) as writer,
    ):
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
    store.set("n_pairs", n_pairs)
    if note is not None:
        note(f"{n_pairs} pairs written to {path}")
    return path


def _pair(folder, row, columns):
    """Read image and spectrum of one galaxy and make sure that they are its own."""
    cutout = read_image(cutout_path(folder, row))
    if cutout.meta.get("specobjid") != row["specobjid"]:
        raise InputError(
            f"cutout of {row['specobjid']}: expected specobjid {row['specobjid']} inside, got "
            f"{cutout.meta.get('specobjid')}"
        )
    mask = np.zeros(cutout.data.shape, bool) if cutout.mask is None else cutout.mask
    flux, ivar, lsf_sigma = training_spectrum(
        folder / spectrum_name(row["plate"], row["mjd"], row["fiberid"])
    )
    # Pixels off the frame are few; sky, which is zero, stands in for them.
    image = np.where(mask, 0.0, cutout.data)
    values = {name: _value(row.get(name), kind_of(name)) for name in columns}
    values["galactic_ebv"] = _galactic_ebv(values)
    values["masked_fraction"] = float(mask.mean())
    values["lsf_sigma"] = lsf_sigma
    return image, flux, ivar, values


def _galactic_ebv(values):
    """Return E(B-V) (mag): a catalogue's own, else of its extinctions, else of a map, else NaN."""
    own = values.get("galactic_ebv", math.nan)
    if math.isfinite(own):
        return own
    ebv = float(ebv_from_extinction([values.get(f"extinction_{b}", math.nan) for b in "ugriz"]))
    if math.isnan(ebv):
        try:
            ebv = galactic_ebv_at(values["ra"], values["dec"])
        except InputError:  # no map on this machine
            return math.nan
    return ebv


def _append(writer, batch):
    if not batch:
        return
    images, fluxes, ivars, values = zip(*batch)
    columns = {
        name: np.array([value[name] for value in values], dtype=_dtype(name)) for name in values[0]
    }
    writer.append(np.array(images), np.array(fluxes), np.array(ivars), object=columns)


def _extra_columns(store):
    """Return names of numeric columns that a user's own catalogue brings along."""
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


def training_spectrum(path):
    """Read a spectrum and put it on `photospec.spectrum.WAVELENGTH`.

    Parameters
    ----------
    path : Path
        SDSS spectrum file.

    Returns
    -------
    flux, ivar : ndarray (4500,)
        Smoothed as all training spectra are, in 1e-17 erg/s/cm2/A and its inverse square.
    lsf_sigma : float
        Standard deviation of the spectrograph's line-spread function, Angstrom, before that
        smoothing: median over the grid.

    Raises
    ------
    InputError
        The spectrum does not cover the grid, or holds nothing.
    """
    arrays = to_arrays(read_spectrum(path))
    ivar = np.where(arrays.mask | ~np.isfinite(arrays.sigma), 0.0, arrays.sigma**-2.0)[0]
    ivar[np.isin(arrays.wavelength, _bad_wavelengths(path))] = 0.0
    # All SDSS spectra share one grid in log10 wavelength, but begin and end anywhere. Cut to
    # what is needed they are on the very same samples, and the smoothing is set up once.
    pixel = np.rint(1e4 * np.log10(arrays.wavelength)).astype(int)
    first, last = np.rint(1e4 * np.log10([WAVELENGTH[0] - 15, WAVELENGTH[-1] + 15])).astype(int)
    inside = (pixel >= first) & (pixel <= last)
    wavelength = 10 ** (1e-4 * pixel[inside])
    if np.abs(wavelength / arrays.wavelength[inside] - 1).max(initial=0) > 1e-5:
        wavelength = arrays.wavelength[inside]
    if not inside.any() or not np.any(ivar[inside] > 0):
        raise InputError(
            f"spectrum: expected flux at 4000 to 8500 Angstrom, got none in {path.name}"
        )
    flux, ivar = to_training_grid(wavelength, arrays.flux[0, inside], ivar[inside])
    lsf = np.nan if arrays.lsf is None else float(np.median(arrays.lsf[..., inside]))
    return flux, ivar, lsf


def _bad_wavelengths(path):
    """Return wavelengths of samples that the survey calls bad; `to_arrays` may have added some."""
    with fits.open(path, memmap=False) as hdus:
        data = hdus[1].data
        bad = (data[_name(hdus[1], "and_mask")] & _BAD) != 0
        return 10 ** data[_name(hdus[1], "loglam")][bad].astype(float)


def _name(hdu, wanted):
    return next(name for name in hdu.columns.names if name.lower() == wanted)
