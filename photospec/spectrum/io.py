"""Spectra on disk: SDSS ``spec-*.fits``, this package's own files, and what specutils reads.

Own files are tables in the "tabular-fits" layout of specutils (columns ``spectral_axis``,
``flux``, ``uncertainty``, ``mask``, wavelength along the rows), so that any specutils
reads them; what is left of ``meta`` is in an extension META as JSON text, and the
line-spread function in a column of its own.
"""

import json
import os
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance, StdDevUncertainty
from astropy.table import QTable
from specutils import Spectrum

from photospec.errors import InputError
from photospec.image.headers import open_fits

__all__ = ["read_spectrum", "write_spectra"]

_FORMAT = "photospec-spectra-1"
_SDSS_COLUMNS = {"flux", "loglam", "ivar"}
_FLUX_UNIT = u.Unit(1e-17 * u.erg / (u.s * u.cm**2 * u.AA))


def read_spectrum(path):
    """Read one or more spectra from a file.

    Parameters
    ----------
    path : path-like
        An SDSS ``spec-*.fits`` or ``spSpec-*.fit``, a file of `write_spectra`, or anything that
        specutils knows.

    Returns
    -------
    specutils.Spectrum
        For SDSS files with the resolution in ``meta["lsf_sigma"]``, the position, and what
        the survey itself measured in ``meta["sdss"]`` (a reference, not a hint).

    Raises
    ------
    InputError
        If the file is not there, damaged, or holds no spectrum.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"path: expected a spectrum file, got {path} which does not exist")
    if _is_fits(path):
        hdus = open_fits(path)
        try:
            if hdus[0].data is not None and "COEFF0" in hdus[0].header:
                return _read_spspec(hdus[0])
            if len(hdus) > 1 and isinstance(hdus[1], fits.BinTableHDU):
                names = {name.lower() for name in hdus[1].columns.names}
                if hdus[1].header.get("FORMAT") == _FORMAT:
                    return _read_own(hdus)
                if names >= _SDSS_COLUMNS:
                    return _read_sdss(hdus)
        except (TypeError, KeyError, IndexError, ValueError) as error:
            raise InputError(
                f"path: expected a whole file of spectra, got {path} which lacks something "
                f"({_reason(error)}); is it damaged?"
            ) from None
    try:
        spectrum = Spectrum.read(str(path))
    except Exception as error:  # specutils loaders raise anything
        raise InputError(
            f"path: expected a spectrum that specutils can read, got {path} ({_reason(error)})"
        ) from None
    if not isinstance(spectrum, Spectrum):
        raise InputError(
            f"path: expected spectra on one grid, got {type(spectrum).__name__} in {path}"
        )
    return spectrum


def _is_fits(path):
    with open(path, "rb") as file:
        start = file.read(6)
    suffixes = {suffix.lower() for suffix in path.suffixes}
    return start == b"SIMPLE" or bool(suffixes & {".fits", ".fit"})


def _reason(error):
    text = str(error).strip().splitlines()
    return text[0][:100] if text else type(error).__name__


def _read_sdss(hdus):
    data = hdus[1].data
    names = {name.lower(): name for name in data.names}
    loglam = data[names["loglam"]].astype(float)
    wavelength = 10**loglam
    flux = data[names["flux"]].astype(float)
    ivar = data[names["ivar"]].astype(float)
    meta = {"wavelength_medium": "vacuum"}
    if "wdisp" in names:
        # wdisp is in pixels of 1e-4 dex.
        pixel = 1e-4 * np.log(10) * wavelength
        width = data[names["wdisp"]].astype(float)
        known = width > 0
        if known.any():  # zero where nothing was observed
            meta["lsf_sigma"] = pixel * np.interp(loglam, loglam[known], width[known])
    header = hdus[0].header
    for key, card in (("ra", "PLUG_RA"), ("dec", "PLUG_DEC")):
        if card in header:
            meta[key] = float(header[card])
    meta["identifier"] = "-".join(
        f"{int(header[card]):0{width}d}"
        for card, width in (("PLATEID", 4), ("MJD", 5), ("FIBERID", 4))
        if card in header
    )
    if len(hdus) > 2 and "Z" in (hdus[2].columns.names or []):
        row = hdus[2].data[0]
        wanted = ("Z", "Z_ERR", "ZWARNING", "VDISP", "VDISP_ERR", "CLASS", "SN_MEDIAN_ALL")
        meta["sdss"] = {
            name.lower(): row[name].item() if hasattr(row[name], "item") else row[name]
            for name in wanted
            if name in hdus[2].columns.names
        }
    return Spectrum(
        flux=flux * _FLUX_UNIT,
        spectral_axis=wavelength * u.AA,
        uncertainty=InverseVariance(ivar / _FLUX_UNIT**2),
        mask=~(ivar > 0),
        meta=meta,
    )


def _read_spspec(hdu):
    """SDSS-I and II: rows are flux, flux less continuum, error (0 where bad), and a mask.

    specutils' own reader is one pixel (69 km/s) off, see
    classic.sdss.org/dr7/products/spectra/read_spSpec.php.
    """
    flux, sigma = hdu.data[0].astype(float), hdu.data[2].astype(float)
    loglam = hdu.header["COEFF0"] + hdu.header["COEFF1"] * np.arange(flux.size)
    return Spectrum(
        flux=flux * _FLUX_UNIT,
        spectral_axis=10**loglam * u.AA,
        uncertainty=StdDevUncertainty(sigma * _FLUX_UNIT),
        mask=~(sigma > 0),
        meta={"wavelength_medium": "vacuum"},
    )


def _read_own(hdus):
    table = hdus[1].data
    units = {column.name: column.unit for column in hdus[1].columns}
    meta = json.loads(bytes(hdus["META"].data).decode())
    uncertainty = None
    if "uncertainty" in table.names:
        value = table["uncertainty"].astype(float).T * u.Unit(units["uncertainty"])
        uncertainty = StdDevUncertainty(value)
    if "lsf_sigma" in table.names:
        meta["lsf_sigma"] = table["lsf_sigma"].astype(float).T
    return Spectrum(
        flux=table["flux"].astype(float).T * u.Unit(units["flux"]),
        spectral_axis=table["spectral_axis"].astype(float) * u.Unit(units["spectral_axis"]),
        uncertainty=uncertainty,
        mask=table["mask"].astype(bool).T if "mask" in table.names else None,
        meta=meta,
    )


def _plain(value):
    """Turn meta values into what JSON has; leave out (with its name as text) what it has not."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, u.Quantity):
        return {"value": _plain(value.value), "unit": value.unit.to_string()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return str(value)


def write_spectra(path, spectrum, overwrite=False):
    """Write one or more spectra to a FITS table that specutils and `read_spectrum` read.

    Parameters
    ----------
    path : path-like
        Output file.
    spectrum : specutils.Spectrum
        Flux (n_wave,) or (n, n_wave).
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    InputError
        If the file exists and `overwrite` is false, or the folder does not.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError(f"path: expected a new file, got {path} which exists; allow overwrite")
    if not path.parent.is_dir():
        raise InputError(f"path: expected an existing folder, got {path.parent}; create it first")
    table = QTable()
    table["spectral_axis"] = u.Quantity(spectrum.spectral_axis)
    table["flux"] = spectrum.flux.T
    if spectrum.uncertainty is not None:
        with np.errstate(divide="ignore", invalid="ignore"):  # ivar = 0 becomes infinite
            deviation = spectrum.uncertainty.represent_as(StdDevUncertainty)
        table["uncertainty"] = (deviation.array * (deviation.unit or spectrum.flux.unit)).T
    if spectrum.mask is not None:
        table["mask"] = np.broadcast_to(spectrum.mask, spectrum.flux.shape).T
    meta = dict(spectrum.meta)
    lsf = meta.pop("lsf_sigma", None)
    if lsf is not None:
        lsf = np.asarray(u.Quantity(lsf, u.AA).value, dtype=float)
        shape = spectrum.flux.shape if lsf.ndim == 2 else spectrum.flux.shape[-1:]
        table["lsf_sigma"] = np.broadcast_to(lsf, shape).T * u.AA
    hdu = fits.BinTableHDU(table, name="SPECTRA")
    hdu.header["FORMAT"] = (_FORMAT, "layout of this file")
    text = json.dumps(_plain(meta), sort_keys=True)
    extra = fits.ImageHDU(np.frombuffer(text.encode(), dtype=np.uint8).copy(), name="META")
    hdus = fits.HDUList([fits.PrimaryHDU(), hdu, extra])
    temporary = path.with_name(path.name + ".partial")
    try:
        hdus.writeto(temporary, overwrite=True)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
