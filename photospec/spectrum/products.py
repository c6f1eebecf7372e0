"""Predicted spectra as files with the extensions and columns of the published study's products.

One file per galaxy (arXiv:2406.18175; the script ``utils/results_to_fits.py`` of the public code):

====  =========================  ===================================================================
HDU   name                       columns
====  =========================  ===================================================================
1     ``OBJECT``                 one row: position, identifiers, redshift, velocity dispersion,
                                 magnitudes, stellar masses and morphology; NaN where not known
2     ``OBSERVED``               ``orig_wavelength``, ``orig_spectrum``, ``ivar``: the observed
                                 spectrum, without rows where there is none
3     ``GENERATED``              ``wavelength``, ``gt_spectrum`` (the observed one on the same grid,
                                 smoothed), ``generated_spectrum``: both over their mean from 6900
                                 to 6950 Angstrom; and ``flux`` and ``spread`` in absolute units
====  =========================  ===================================================================

Theirs are told by their numbers; names, units, ``flux`` and ``spread`` are added here.
"""

from os import PathLike
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from specutils import Spectrum

from photospec.errors import InputError
from photospec.spectrum.arrays import to_arrays
from photospec.spectrum.headers import FLUX_UNIT
from photospec.spectrum.wavelengths import to_training_grid
from photospec.utils.files import replacing

__all__ = ["write_product"]

#: Angstrom; over the mean flux of which published spectra are divided.
NORMALISED_AT = (6900.0, 6950.0)
# Columns of the table of the object -> (format, unit).
_OBJECT = {
    "ra": ("D", "deg"),
    "dec": ("D", "deg"),
    "obj_id": ("40A", None),
    "redshift": ("D", None),
    "z_err": ("D", None),
    "vel_disp": ("D", "km s-1"),
    "vel_disp_err": ("D", "km s-1"),
    **{f"mag_{band}": ("D", "mag") for band in "ugriz"},
    "plate": ("J", None),
    "mjd": ("J", None),
    "fiberID": ("J", None),
    **dict.fromkeys(("log_mass_maraston", "log_mass_conroy_dust"), ("D", None)),
    **dict.fromkeys(("log_mass_conroy_no_dust", "p_mg", "p_el_debiased"), ("D", None)),
    **dict.fromkeys(("p_cs_debiased", "spiral", "elliptical", "uncertain"), ("D", None)),
}
_NO_NUMBER = {"D": np.nan, "J": -1}


def write_product(
    path: str | PathLike,
    spectrum: Spectrum,
    *,
    observed: Spectrum | None = None,
    overwrite: bool = False,
) -> None:
    """Write a predicted spectrum as the published study's products are.

    Parameters
    ----------
    path : path-like
        FITS file.
    spectrum : specutils.Spectrum
        Predicted, flux (n_wave,). Of ``meta``, ``ra``, ``dec`` (degrees), ``image``,
        ``expected_redshift``, ``redshift_std``, ``spread``, ``weights`` and ``seed`` are written.
    observed : specutils.Spectrum, optional
        Observed spectrum of the same galaxy, flux (n_wave,), as of
        `photospec.spectrum.read_spectrum`. What its survey measured goes before what was predicted.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    InputError
        If the file exists and `overwrite` is false, or a spectrum is none of one galaxy.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from photospec.spectrum import WAVELENGTH, from_arrays, write_product
    >>> spectrum = from_arrays(WAVELENGTH, np.full(4500, 2.0), meta={"ra": 150.0, "dec": 2.0})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_product(f"{folder}/galaxy.fits", spectrum)
    ...     with fits.open(f"{folder}/galaxy.fits") as hdus:
    ...         print([hdu.name for hdu in hdus], hdus[3].data["generated_spectrum"][0])
    ['PRIMARY', 'OBJECT', 'OBSERVED', 'GENERATED'] 1.0
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError(f"path: expected a new file, got {path} which exists; allow overwrite")
    for name, one in (("spectrum", spectrum), ("observed", observed)):
        if one is not None and np.size(one.flux) != np.size(one.spectral_axis):
            raise InputError(
                f"{name}: expected the spectrum of one galaxy, got shape {one.flux.shape}"
            )
    primary = fits.PrimaryHDU()
    for key, card in (("weights", "WEIGHTS"), ("seed", "SEED"), ("image", "IMAGE")):
        if key in spectrum.meta:
            primary.header[card] = spectrum.meta[key]
    hdus = [_object(spectrum, observed), _observed(observed), _generated(spectrum, observed)]
    with replacing(path) as temporary:
        fits.HDUList([primary, *hdus]).writeto(temporary, overwrite=True)


def _object(spectrum, observed):
    """Return a table of one row, and in its header where the redshift comes from."""
    meta = spectrum.meta
    known = {
        "ra": meta.get("ra"),
        "dec": meta.get("dec"),
        "obj_id": meta.get("image", ""),
        "redshift": meta.get("expected_redshift"),
        "z_err": meta.get("redshift_std"),
    }
    source = "predicted"
    if observed is not None:
        identifier = str(observed.meta.get("identifier", ""))
        if identifier:
            known["obj_id"] = identifier
            numbers = identifier.split("-")
            if len(numbers) == 3 and all(number.isdigit() for number in numbers):
                known |= zip(("plate", "mjd", "fiberID"), map(int, numbers), strict=True)
        survey = observed.meta.get("sdss", {})
        if survey.get("z") is not None:
            source = "observed"
            known |= {"redshift": survey["z"], "z_err": survey.get("z_err")}
        known |= {"vel_disp": survey.get("vdisp"), "vel_disp_err": survey.get("vdisp_err")}
    columns = []
    for name, (form, unit) in _OBJECT.items():
        value = known.get(name)
        value = _NO_NUMBER.get(form, "") if value is None else value
        null = -1 if form == "J" else None
        columns.append(fits.Column(name, form, unit=unit, null=null, array=[value]))
    hdu = fits.BinTableHDU.from_columns(columns, name="OBJECT")
    hdu.header["Z_ORIGIN"] = (source, "where the redshift comes from")
    return hdu


def _observed(observed):
    """Return a table of the observed spectrum, in vacuum."""
    wavelength = flux = ivar = np.zeros(0)
    if observed is not None:
        arrays = to_arrays(observed)
        wavelength, flux = arrays.wavelength, arrays.flux[0]
        sigma = np.full(flux.shape, np.inf) if arrays.sigma is None else arrays.sigma[0]
        ivar = np.where(arrays.mask[0] | ~(sigma > 0), 0.0, 1 / np.maximum(sigma, 1e-30) ** 2)
    flux_unit = FLUX_UNIT.to_string("fits")
    columns = [
        fits.Column("orig_wavelength", "D", unit="Angstrom", array=wavelength),
        fits.Column("orig_spectrum", "E", unit=flux_unit, array=flux),
        fits.Column("ivar", "E", unit=(FLUX_UNIT**-2).to_string("fits"), array=ivar),
    ]
    return fits.BinTableHDU.from_columns(columns, name="OBSERVED")


def _generated(spectrum, observed):
    """Return a table of the predicted spectrum beside the observed one on its grid."""
    wavelength = spectrum.spectral_axis.to_value(u.AA)
    flux = np.ravel(spectrum.flux.to_value(FLUX_UNIT))
    truth = np.full(flux.shape, np.nan)
    if observed is not None:
        truth = _on_our_grid(observed, flux.shape)
    spread = spectrum.meta.get("spread")
    spread = np.full(flux.shape, np.nan) if spread is None else spread.to_value(FLUX_UNIT)
    flux_unit = FLUX_UNIT.to_string("fits")
    columns = [
        fits.Column("wavelength", "D", unit="Angstrom", array=wavelength),
        fits.Column("gt_spectrum", "E", array=truth / _level(wavelength, truth)),
        fits.Column("generated_spectrum", "E", array=flux / _level(wavelength, flux)),
        fits.Column("flux", "E", unit=flux_unit, array=flux),
        fits.Column("spread", "E", unit=flux_unit, array=np.ravel(spread)),
    ]
    return fits.BinTableHDU.from_columns(columns, name="GENERATED")


def _on_our_grid(observed, shape):
    """Return the observed flux smoothed as predicted ones are; NaN where it has none."""
    arrays = to_arrays(observed)
    ivar = np.where(arrays.mask, 0.0, 1.0)
    try:
        flux, weight = to_training_grid(arrays.wavelength, arrays.flux, ivar)
    except InputError:  # it does not cover the range
        return np.full(shape, np.nan)
    found = np.where(weight > 0, flux, np.nan)[0]
    return found if found.shape == shape else np.full(shape, np.nan)


def _level(wavelength, flux):
    low, high = NORMALISED_AT
    within = flux[(wavelength >= low) & (wavelength < high)]
    within = within[np.isfinite(within)]
    return within.mean() if within.size else np.nan
