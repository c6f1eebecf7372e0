"""Files of spectra that this package writes: what is in them, and how they are read back.

=============  ====================================================================================
HDU            holds
=============  ====================================================================================
``SPECTRA``    one sample per row: ``spectral_axis``, ``flux`` and, where they are known,
               ``uncertainty``, ``spread`` (standard deviation over the candidates of a
               prediction), ``mask``, ``lsf_sigma``. With many spectra a cell holds one number for
               each of them: the "tabular-fits" layout, which specutils reads by itself.
``OBJECTS``    one spectrum per row: `OBJECT_COLUMNS`, as far as they are known
``META``       ``meta`` of the Spectrum, all of it, as JSON text
=============  ====================================================================================
"""

import json

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.table import QTable, Table
from specutils import Spectrum

from photospec.errors import InputError
from photospec.spectrum.arrays import medium_of
from photospec.utils.validity import standard_deviation

__all__ = ["FORMAT", "OBJECT_COLUMNS", "is_own", "own_hdus", "own_spectra", "own_spectrum"]

#: Card FORMAT of the table of spectra.
FORMAT = "photospec-spectra-1"
#: Columns of OBJECTS -> (entry of ``meta``, unit, description).
OBJECT_COLUMNS = {
    "image": ("images", None, "image that the spectrum was predicted from"),
    "candidate": ("candidate", None, "number of the candidate, from 0, among those of its image"),
    "best": ("best", None, "whether this candidate stands for all of its image"),
    "ra": ("ra", u.deg, "right ascension of the target, ICRS"),
    "dec": ("dec", u.deg, "declination of the target, ICRS"),
    "similarity": ("similarity", None, "cosine of the embeddings of image and spectrum"),
    "drawn_redshift": ("drawn_redshift", None, "redshift at which the networks drew the spectrum"),
    "expected_redshift": ("expected_redshift", None, "mean of the density of the redshift"),
    "agn_score": ("agn_score", None, "of the image: log odds of an active nucleus"),
    "agn_probability": ("agn_probability", None, "probability of an active nucleus"),
    "galactic_ebv": ("galactic_ebv", u.mag, "E(B-V) of the Milky Way, scale of the SFD map"),
    "flags": ("flags", None, "what was odd about the image"),
}
# Descriptions of the columns of SPECTRA.
_SAMPLES = {
    "spectral_axis": "wavelength, observed frame",
    "flux": "flux density",
    "uncertainty": "standard deviation of the noise",
    "spread": "standard deviation over the candidates",
    "mask": "true where a sample is bad",
    "lsf_sigma": "standard deviation of the line-spread function",
}


def is_own(hdus):
    """Tell whether an HDUList is a file of `own_hdus`."""
    table = hdus[1] if len(hdus) > 1 else None
    return isinstance(table, fits.BinTableHDU) and table.header.get("FORMAT") == FORMAT


def own_hdus(spectrum):
    """Return HDUs of one or more spectra.

    Parameters
    ----------
    spectrum : specutils.Spectrum
        Flux (n_wave,) or (n, n_wave). ``meta["spread"]``, a Quantity of its shape, becomes a
        column.

    Returns
    -------
    astropy.io.fits.HDUList
    """
    first = spectrum.flux.ndim == 2 and spectrum.spectral_axis_index == 0
    shape = spectrum.flux.shape
    axis = u.Quantity(spectrum.spectral_axis)
    if axis.unit.is_equivalent(u.km / u.s):  # the line that velocities belong to would be lost
        axis = spectrum.spectral_axis.to(u.AA)

    def along(values):
        """Return the wavelength along the rows of the table."""
        return values if first else values.T

    table = QTable()
    table["spectral_axis"] = u.Quantity(axis)
    table["flux"] = along(spectrum.flux)
    if spectrum.uncertainty is not None:
        sigma, unit = standard_deviation(spectrum.uncertainty)
        table["uncertainty"] = along(sigma * (spectrum.flux.unit if unit is None else unit))
    meta = dict(spectrum.meta)
    spread = meta.pop("spread", None)
    if spread is not None:
        # Two digits of it matter.
        table["spread"] = along(u.Quantity(_like_flux("spread", spread, spectrum), dtype="f4"))
    if spectrum.mask is not None:
        table["mask"] = along(np.broadcast_to(np.asarray(spectrum.mask) != 0, shape))
    meta["wavelength_medium"] = medium_of(meta)  # its header, where it says so, becomes text
    if np.any(spectrum.redshift != 0):
        meta["_redshift"] = spectrum.redshift.value
    lsf = meta.pop("lsf_sigma", None)
    if lsf is not None:
        lsf = np.asarray(u.Quantity(lsf, u.AA).value, dtype=float)
        if lsf.ndim == 2:
            table["lsf_sigma"] = along(np.broadcast_to(lsf, shape)) * u.AA
        else:
            table["lsf_sigma"] = np.broadcast_to(lsf, axis.shape) * u.AA
    samples = fits.BinTableHDU(table, name="SPECTRA")
    samples.header["FORMAT"] = (FORMAT, "layout of this file")
    _describe(samples, _SAMPLES)
    objects = _objects(meta, 1 if len(shape) == 1 else shape[1 if first else 0], len(shape) == 1)
    text = json.dumps(_plain(meta), sort_keys=True)
    extra = fits.ImageHDU(np.frombuffer(text.encode(), dtype=np.uint8).copy(), name="META")
    return fits.HDUList([fits.PrimaryHDU(), samples, *objects, extra])


def _like_flux(name, values, spectrum):
    """Return values in unit and shape of the flux, or an error."""
    values = u.Quantity(values, spectrum.flux.unit)
    if values.shape != spectrum.flux.shape:
        raise InputError(
            f"spectrum.meta[{name!r}]: expected the shape of the flux {spectrum.flux.shape}, got "
            f"{values.shape}"
        )
    return values


def _describe(hdu, descriptions):
    """Say what columns are in cards TCOMM, which astropy and TOPCAT take for descriptions."""
    for number, name in enumerate(hdu.columns.names, 1):
        if name in descriptions:
            hdu.header.set(f"TCOMM{number}", descriptions[name], after=f"TTYPE{number}")


def _objects(meta, n, single):
    """Return a table of what `meta` says of each of n spectra, in a list; empty where it says
    nothing.
    """
    table = Table()
    for name, (key, unit, _) in OBJECT_COLUMNS.items():
        values = meta.get(key)
        if single and values is not None and not _is_list_of(values, 1, key):
            values = [values]
        if values is None or not _is_list_of(values, n, key):
            continue
        if key == "flags":
            values = ["; ".join(one) for one in values]
        values = [np.nan if value is None else value for value in values]
        if any(isinstance(value, str) for value in values):
            values = [str(value) for value in values]
        table[name] = values
        table[name].unit = unit
    if not table.colnames:
        return []
    hdu = fits.table_to_hdu(table)
    hdu.name = "OBJECTS"
    _describe(hdu, {name: text for name, (*_, text) in OBJECT_COLUMNS.items()})
    return [hdu]


def _is_list_of(values, n, key):
    """Tell whether values are one for each of n spectra: of flags, lists themselves."""
    if not isinstance(values, list | tuple | np.ndarray) or len(values) != n:
        return False
    return all(isinstance(value, list | tuple) == (key == "flags") for value in values)


def own_spectrum(hdus):
    """Return the spectrum of a file of `own_hdus`: what was given to it.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList

    Returns
    -------
    specutils.Spectrum
    """
    table = hdus[1].data
    units = {column.name: column.unit for column in hdus[1].columns}

    def column(name):
        return table[name].astype(float).T * u.Unit(units[name])

    meta = _restored(json.loads(bytes(hdus["META"].data).decode()))
    uncertainty = None
    if "uncertainty" in table.names:
        uncertainty = StdDevUncertainty(column("uncertainty"))
    if "spread" in table.names:
        meta["spread"] = column("spread")
    if "lsf_sigma" in table.names:
        meta["lsf_sigma"] = table["lsf_sigma"].astype(float).T
    flux = column("flux")
    return Spectrum(
        flux=flux,
        spectral_axis=table["spectral_axis"].astype(float) * u.Unit(units["spectral_axis"]),
        spectral_axis_index=flux.ndim - 1,
        redshift=meta.pop("_redshift", None),
        uncertainty=uncertainty,
        mask=table["mask"].astype(bool).T if "mask" in table.names else None,
        meta=meta,
    )


def own_spectra(spectrum):
    """Return each spectrum of a file for itself, as other programs want them.

    The spread of the candidates, where there is no other uncertainty, is the uncertainty: it is
    what is not known of the spectrum. (It is no noise: neighbouring samples differ together.
    This is why `read_spectrum`, from which spectra are measured, leaves it in ``meta``.)

    Parameters
    ----------
    spectrum : specutils.Spectrum
        From `own_spectrum`.

    Returns
    -------
    list of specutils.Spectrum
        Flux (n_wave,). In ``meta`` is what belongs to this spectrum; ``meta["image"]`` is the
        name of its image.
    """
    if spectrum.flux.ndim == 1:
        return [_with_spread(spectrum, spectrum.meta)]
    return [_with_spread(spectrum, _meta_of(spectrum, i), i) for i in range(len(spectrum.flux))]


def _meta_of(spectrum, i):
    """Return what `meta` says of spectrum `i` of several."""
    n, meta = len(spectrum.flux), dict(spectrum.meta)
    for key, value in meta.items():
        each = key in ("spread", "lsf_sigma") and np.ndim(value) == 2
        each |= isinstance(value, list | tuple) and len(value) == n
        each |= key == "redshift" and np.shape(value) == (n,)
        if each:
            meta[key] = value[i]
    if "images" in meta:
        meta["image"] = meta.pop("images")
    return meta


def _with_spread(spectrum, meta, i=...):
    error, meta = spectrum.uncertainty, dict(meta)
    spread = meta.get("spread")
    if error is not None:
        error = type(error)(error.array[i], unit=error.unit)
    elif spread is not None:
        error = StdDevUncertainty(spread)
    redshift = np.ravel(spectrum.redshift.value)
    if redshift.size:
        redshift = redshift[i if i is not ... and redshift.size > 1 else 0]
    return Spectrum(
        flux=spectrum.flux[i],
        spectral_axis=u.Quantity(spectrum.spectral_axis),
        redshift=float(redshift) or None,
        uncertainty=error,
        mask=None if spectrum.mask is None else spectrum.mask[i],
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


def _restored(value):
    """Return the inverse of `_plain` for quantities."""
    if isinstance(value, dict):
        if value.keys() == {"value", "unit"}:
            try:
                return u.Quantity(value["value"], value["unit"])
            except (TypeError, ValueError):
                return value
        return {key: _restored(item) for key, item in value.items()}
    return [_restored(item) for item in value] if isinstance(value, list) else value
