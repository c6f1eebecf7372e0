"""Kinds of FITS files of spectra, told apart by what they hold and say, and how each is read.

Units come from TUNIT, BUNIT and CUNIT of the column, extension or axis itself. A file that says
nothing of its units is refused, except those whose documentation fixes them (SDSS).
"""

import re
import warnings
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance, StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS
from specutils import Spectrum, SpectrumList

from photospec.errors import InputError
from photospec.spectrum.headers import FLUX_UNIT, parse_unit, spectral_frame, wavelength_medium
from photospec.utils.validity import to_sigma

__all__ = ["GivenUnits", "image_spectrum", "known_kind", "table_spectrum"]

SDSS_COLUMNS = {"flux", "loglam", "ivar"}
# Names of columns and extensions, in lower case.
WAVELENGTH = {
    "wavelength", "wavelengths", "wave", "lambda", "lam", "spectral_axis", "frequency", "freq",
    "nu", "energy", "wavenumber", "loglam", "log_lam", "loglambda", "log_lambda", "logwave",
    "log_wave", "wave_vac", "wave_air", "lambda_vac", "lambda_air", "wavelength_vac",
    "wavelength_air", "vacuum_wavelength", "air_wavelength",
}  # fmt: skip
FLUX = {
    "flux", "fluxes", "flux_density", "fluxdensity", "flam", "f_lambda", "flux_lambda", "fnu",
    "f_nu", "flux_nu", "spectrum", "spec", "sci",
}  # fmt: skip
ERRORS = {
    StdDevUncertainty: {
        "error", "err", "errors", "sigma", "sig", "uncertainty", "unc", "uncert", "std", "stddev",
        "noise", "flux_err", "flux_error", "fluxerr", "fluxerror", "flux_sigma", "flux_unc",
        "flux_uncertainty", "e_flux", "err_flux", "eflux", "dflux", "flam_err", "fnu_err",
    },
    VarianceUncertainty: {"var", "variance", "flux_var", "flux_variance", "stat"},
    InverseVariance: {"ivar", "invvar", "inverse_variance", "flux_ivar", "ivar_flux"},
}  # fmt: skip
MASKS = {"mask", "dq", "qual", "quality", "bpm", "badpix", "bad"}
GOOD = {"good", "goodpix", "goodpixel", "goodpixels", "good_pixel", "good_pixels", "valid"}
POWER = {StdDevUncertainty: 1, VarianceUncertainty: 2, InverseVariance: -2}
NAMES = {StdDevUncertainty: "std", VarianceUncertainty: "var", InverseVariance: "ivar"}


@dataclass(frozen=True)
class GivenUnits:
    """Units that the caller gives for what a file does not say.

    Attributes
    ----------
    flux, axis : astropy.units.UnitBase or None
    """

    flux: u.UnitBase | None = None
    axis: u.UnitBase | None = None

    def __bool__(self):
        return self.flux is not None or self.axis is not None

    def settle(self, kind, said, what):
        """Return the unit that the file says, else the one given; raise InputError where they
        contradict.

        Parameters
        ----------
        kind : {"flux", "axis"}
        said : Unit or None
            By the file.
        what : str
            Who says it, for the error.

        Returns
        -------
        Unit or None
        """
        given = getattr(self, kind)
        if said is None or given is None or said == given:
            return given if said is None else said
        argument = {"flux": "flux_unit", "axis": "wavelength_unit"}[kind]
        raise InputError(
            f"{argument}: expected none, got {given}, but {what} says {said}; give units only "
            "where the file has none"
        )


NO_UNITS = GivenUnits()


def known_kind(hdus):
    """Read a file whose survey fixes its layout; None if it is of none of these kinds.

    A COEFF0 card alone is no proof: spSpec, spPlate and LAMOST files all have it.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList

    Returns
    -------
    specutils.Spectrum, specutils.SpectrumList or None

    Raises
    ------
    InputError
        If the file belongs to one of these surveys, but not to a layout that is known.
    """
    from photospec.spectrum.desi import is_desi, read_desi_spectra

    if is_desi(hdus):
        spectra = read_desi_spectra(hdus)
        return spectra[0] if len(spectra) == 1 else SpectrumList(spectra)
    header, data = hdus[0].header, hdus[0].data
    if _is_lamost(hdus):
        return _lamost(hdus)
    if data is not None and data.ndim == 2 and "COEFF0" in header:
        second = hdus[1] if len(hdus) > 1 else None
        is_image = isinstance(second, fits.ImageHDU) and second.data is not None
        if is_image and second.data.shape == data.shape:
            return _spplate(hdus)
        if header.get("FIBERID", 0) > 0 and data.shape[0] in (3, 4, 5):
            return _spspec(hdus[0])
        raise InputError(
            f"path: expected spSpec (5 rows and FIBERID) or spPlate (an extension of inverse "
            f"variances) where COEFF0 is, got an image of shape {data.shape}; which survey is it?"
        )
    table = next((hdu for hdu in hdus[1:2] if isinstance(hdu, fits.BinTableHDU)), None)
    if table is not None and {name.lower() for name in table.columns.names} >= SDSS_COLUMNS:
        return _sdss(hdus)
    return None


def _loglinear(header, n):
    return 10 ** (header["COEFF0"] + header["COEFF1"] * np.arange(n)) * u.AA


def _says(header, medium="vacuum", **more):
    """Return the meta of a spectrum: what the header says of medium and frame."""
    meta = {"wavelength_medium": wavelength_medium(header) or medium, **more}
    frame = spectral_frame(header)
    return {**meta, "spectral_frame": frame} if frame else meta


def _sdss_unit(header):
    """Return the unit of BUNIT; spSpec files have cm for cm2."""
    unit = parse_unit(header.get("BUNIT"), "BUNIT") or FLUX_UNIT
    return unit / u.cm if (unit / u.cm).is_equivalent(FLUX_UNIT) else unit


def _sdss(hdus):
    """Read a table of loglam, flux, ivar: ``spec-*.fits`` of SDSS-III and later, and its lite form.

    specobj columns of the second table, what the survey measured, go into ``meta["sdss"]``.
    """
    header = hdus[0].header
    spectrum = table_spectrum(
        hdus[1], header, default_flux=_sdss_unit(header), default_axis=u.dex(u.AA)
    )
    if not isinstance(spectrum, Spectrum):
        return spectrum
    spectrum.mask = ~(spectrum.uncertainty.array > 0)
    meta = spectrum.meta
    for key, card in (("ra", "PLUG_RA"), ("dec", "PLUG_DEC")):
        if card in header:
            meta[key] = float(header[card])
    meta["identifier"] = "-".join(
        f"{int(header[card]):0{width}d}"
        for card, width in (("PLATEID", 4), ("MJD", 5), ("FIBERID", 4))
        if card in header
    )
    second = hdus[2] if len(hdus) > 2 else None
    if isinstance(second, fits.BinTableHDU) and "Z" in second.columns.names and len(second.data):
        row = second.data[0]
        wanted = ("Z", "Z_ERR", "ZWARNING", "VDISP", "VDISP_ERR", "CLASS", "SN_MEDIAN_ALL")
        meta["sdss"] = {
            name.lower(): row[name].item() if hasattr(row[name], "item") else row[name]
            for name in wanted
            if name in second.columns.names
        }
    return spectrum


def _spspec(hdu):
    """Read SDSS-I and II: rows are flux, flux less continuum, error (0 where bad), and a mask.

    specutils' own reader is one pixel (69 km/s) off, see
    classic.sdss.org/dr7/products/spectra/read_spSpec.php.
    """
    flux, sigma = hdu.data[0].astype(float), hdu.data[2].astype(float)
    unit = _sdss_unit(hdu.header)
    return Spectrum(
        flux=flux * unit,
        spectral_axis=_loglinear(hdu.header, flux.size),
        uncertainty=StdDevUncertainty(sigma * unit),
        mask=~(sigma > 0),
        meta=_says(hdu.header),
    )


def _spplate(hdus):
    """Read an SDSS plate: flux of all fibres, ivar, masks, dispersion (pixels), PLUGMAP, sky."""
    header, flux = hdus[0].header, hdus[0].data.astype(float)
    ivar, unit = hdus[1].data.astype(float), _sdss_unit(header)
    wavelength = _loglinear(header, flux.shape[1])
    meta = _says(header)
    if len(hdus) > 4 and np.shape(hdus[4].data) == flux.shape:
        # In pixels of COEFF1 dex; zero where nothing was observed.
        pixel = header["COEFF1"] * np.log(10) * wavelength.value
        index = np.arange(pixel.size)
        rows = hdus[4].data.astype(float)
        meta["lsf_sigma"] = np.stack([pixel * _known(row, index) for row in rows])
    plugmap = next((hdu for hdu in hdus[1:] if isinstance(hdu, fits.BinTableHDU)), None)
    if plugmap is not None and len(plugmap.data) == len(flux):
        for key, name in (("fiber", "FIBERID"), ("ra", "RA"), ("dec", "DEC")):
            if name in plugmap.columns.names:
                meta[key] = plugmap.data[name].tolist()
    return Spectrum(
        flux=flux * unit,
        spectral_axis=wavelength,
        spectral_axis_index=1,
        uncertainty=InverseVariance(ivar / unit**2),
        mask=~(ivar > 0),
        meta=meta,
    )


def _known(width, place):
    """Return widths at increasing places, those that are not positive bridged; ones if there are
    none.
    """
    known = width > 0
    return np.interp(place, place[known], width[known]) if known.any() else np.ones(width.size)


def _is_lamost(hdus):
    cards = (hdus[0].header.get(card, "") for card in ("TELESCOP", "ORIGIN", "DATA_V", "SURVEY"))
    return any("LAMOST" in str(card).upper() for card in cards)


def _lamost(hdus):
    """Read LAMOST: image rows (flux, ivar, wavelength, masks) to DR5, then one table row of arrays.

    The fluxes are calibrated up to a factor only (www.lamost.org/public/dr), so that their unit
    here is nominal; ``meta["flux_calibration"]`` says so.
    """
    header, data = hdus[0].header, hdus[0].data
    if data is not None and data.ndim == 2 and data.shape[0] in (3, 4, 5):
        flux, ivar, wavelength = (row.astype(float) for row in data[:3])
    elif len(hdus) > 1 and isinstance(hdus[1], fits.BinTableHDU):
        names = {name.lower(): name for name in hdus[1].columns.names}
        missing = {"flux", "ivar", "wavelength"} - set(names)
        if missing:
            raise InputError(
                f"path: expected columns flux, ivar and wavelength in a LAMOST file, got no "
                f"{', '.join(sorted(missing))}; is it a catalogue?"
            )
        flux, ivar, wavelength = (
            np.ravel(hdus[1].data[names[name]]).astype(float)
            for name in ("flux", "ivar", "wavelength")
        )
    else:
        shape = None if data is None else data.shape
        raise InputError(
            "path: expected a LAMOST spectrum (5 rows, or a table), got an image of shape "
            f"{shape}; is it another product of LAMOST?"
        )
    return Spectrum(
        flux=flux * FLUX_UNIT,
        spectral_axis=wavelength * u.AA,
        uncertainty=InverseVariance(ivar / FLUX_UNIT**2),
        mask=~(ivar > 0),
        meta=_says(header, flux_calibration="relative"),
    )


# ---------------------------------------------------------------- tables


def table_spectrum(hdu, primary, *, default_flux=None, default_axis=None, given=NO_UNITS):
    """Read spectra from a table with columns for wavelength, flux and perhaps errors, by name.

    Parameters
    ----------
    hdu : astropy.io.fits.BinTableHDU or TableHDU
        One sample per row, or one spectrum per row.
    primary : astropy.io.fits.Header
        The primary header; its cards hold where the table says nothing.
    default_flux, default_axis : Unit, optional
        Units where the file has none.
    given : GivenUnits
        Units where the file has none, by the caller of `read_spectrum`.

    Returns
    -------
    specutils.Spectrum or SpectrumList, or None
        None if there are no such columns.

    Raises
    ------
    InputError
        If a unit is missing or is no unit of what the column holds.
    """
    columns = {name.lower(): name for name in hdu.columns.names}
    axis_name = next((n for n in columns if n in WAVELENGTH), None)
    flux_name = next((n for n in columns if n in FLUX), None)
    if axis_name is None or flux_name is None:
        return None
    header = {**dict(primary), **dict(hdu.header)}

    def column(name):
        return np.asarray(hdu.data[columns[name]])

    def unit(name):
        return parse_unit(hdu.columns[columns[name]].unit, f"TUNIT of {columns[name]}")

    axis_unit = unit(axis_name) or default_axis
    axis_unit = given.settle("axis", axis_unit, f"column {columns[axis_name]}")
    flux_unit = unit(flux_name) or parse_unit(header.get("BUNIT"), "BUNIT") or default_flux
    flux_unit = given.settle("flux", flux_unit, f"column {columns[flux_name]}")
    missing = {}
    if axis_unit is None and not axis_name.startswith("log"):
        missing[columns[axis_name]] = "wavelength_unit='Angstrom'"
    if flux_unit is None:
        missing[columns[flux_name]] = "flux_unit='1e-17 erg/(s cm2 Angstrom)'"
    if missing:
        raise InputError(
            f"path: expected the units of {' and '.join(missing)}, got none; give them to "
            f"read_spectrum, as in {', '.join(missing.values())}"
        )
    _no_logarithm(flux_unit, columns[flux_name])
    axis = _axis(column(axis_name), axis_unit, axis_name)
    values = column(flux_name).astype(float)
    uncertainty = None
    for kind, names in ERRORS.items():
        name = next((n for n in columns if n in names), None)
        if name is not None and uncertainty is None:
            error = column(name).astype(float)
            uncertainty = (kind, error, unit(name), columns[name])
    mask = None
    for name in columns:
        # The "mask" of PypeIt (DMODCLS is a card of its data models) is true where all is well.
        good = name in GOOD or (name == "mask" and "DMODCLS" in header)
        if good or name in MASKS:
            hidden = (column(name) != 0) ^ good
            mask = hidden if mask is None else mask | hidden
    medium = "air" if "air" in axis_name else "vacuum"
    meta = _says(header, medium)
    lsf = None
    if "wdisp" in columns and set(columns) >= SDSS_COLUMNS:
        # In pixels of 1e-4 dex; zero where nothing was observed.
        width = column("wdisp").astype(float)
        if np.any(width > 0):
            pixel = 1e-4 * np.log(10) * axis.to_value(u.AA)
            lsf = pixel * _known(width, column("loglam").astype(float))
    return _assemble(axis, values * flux_unit, uncertainty, mask, lsf, meta)


def _no_logarithm(unit, what):
    """Refuse fluxes in magnitudes."""
    if isinstance(unit, u.function.FunctionUnitBase):
        raise InputError(
            f"path: expected flux densities in {what}, got the logarithmic unit {unit}; undo the "
            "magnitudes first"
        )


def _axis(values, unit, name):
    """Return the spectral axis of a column; logarithms undone."""
    values = values.astype(float)
    if isinstance(unit, u.DexUnit):
        return 10**values * unit.physical_unit
    if name.startswith("log"):
        return 10**values * (unit if unit is not None and unit != u.one else u.AA)
    return values * unit


def _uncertainty(kind, values, unit, flux_unit, axis, shown):
    """Return the uncertainty of a class, in its own unit or that of the flux; wavelength last in
    `values`.
    """
    expected = flux_unit ** POWER[kind]
    if unit is None or unit.is_equivalent(expected):
        return kind(values * (unit or expected))
    try:  # errors per frequency beside fluxes per wavelength, or the other way round
        sigma = to_sigma(values, NAMES[kind]) * unit ** (1 / POWER[kind])
        return StdDevUncertainty(sigma.to(flux_unit, u.spectral_density(axis)))
    except u.UnitConversionError:
        raise InputError(
            f"path: expected {shown} in {expected} or the like, got {unit}; was the unit copied "
            "from the flux?"
        ) from None


def _assemble(axis, flux, uncertainty, mask, lsf, meta):
    """Return the spectrum of one sample per row; or of one spectrum per row; or many on their own
    grids.
    """
    if axis.ndim == 1 and flux.ndim == 2 and flux.shape[0] == axis.size:
        # One sample per row, many spectra: wavelength last from here on.
        flux, mask = flux.T, None if mask is None or mask.ndim == 1 else mask.T
        if uncertainty is not None:
            kind, error, *rest = uncertainty
            uncertainty = (kind, error.T, *rest)

    def make(axis, rows):
        error = None
        if uncertainty is not None:
            kind, values, unit, shown = uncertainty
            error = _uncertainty(kind, values[rows], unit, flux.unit, axis, shown)
        more = {} if lsf is None else {"lsf_sigma": lsf[rows]}
        return Spectrum(
            flux=flux[rows],
            spectral_axis=axis,
            spectral_axis_index=flux[rows].ndim - 1,
            uncertainty=error,
            mask=None if mask is None else mask[rows],
            meta={**meta, **more},
        )

    if axis.ndim == 1:
        return make(axis, slice(None))
    if len(axis) == 1:
        return make(axis[0], 0)
    if np.all(axis == axis[0]):
        return make(axis[0], slice(None))
    return SpectrumList([make(axis[i], i) for i in range(len(axis))])


# ---------------------------------------------------------------- images

SPECTRAL = {
    "WAVE", "AWAV", "FREQ", "ENER", "WAVN", "VRAD", "VOPT", "ZOPT", "VELO", "BETA",
    "LAMBDA", "WAVELENGTH", "LINEAR", "LOGLAM",
}  # fmt: skip
# Words in the names of rows of an image that are errors, or neither errors nor fluxes.
BANDS = {
    InverseVariance: ["inverse", "ivar"],
    VarianceUncertainty: ["varian"],
    StdDevUncertainty: ["sigma", "error", "stddev"],
}
OTHER_BANDS = ["sky", "background", "raw", "unflux", "continuum", "mask", "normal"]
VELOCITIES = {"VRAD": u.doppler_radio, "VOPT": u.doppler_optical, "VELO": u.doppler_relativistic}


def image_spectrum(hdus, given=NO_UNITS):
    """Read spectra from an image whose header gives the spectral axis (FITS WCS, IRAF).

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        The first image that is no error and no mask holds the fluxes; extensions of the same
        shape named ERR, VAR, IVAR, MASK and the like belong to it.
    given : GivenUnits
        Units where the header has none.

    Returns
    -------
    specutils.Spectrum or None
        None if there is no such image, or its axis is of a kind that is left to specutils.

    Raises
    ------
    InputError
        If units or axes do not make sense.
    """
    images = [hdu for hdu in hdus if getattr(hdu, "is_image", False) and np.ndim(hdu.data) > 0]
    main = next((hdu for hdu in images if _role(hdu) is None), None)
    if main is None or str(main.header.get("CTYPE1", "")).upper().startswith("MULTISPE"):
        return None
    header = {**dict(hdus[0].header), **dict(main.header)}
    data, bands = _bands(main)
    if data.ndim > 2:
        return None
    number = _spectral_number(header, data, main.data.ndim)
    if number is None:
        return None
    shape = main.data.shape
    n = shape[len(shape) - number]
    axis = _image_axis(header, number, n, given)
    if axis is None:
        axis = _standard_axis(main.header, number, n)
    if axis is None:
        return None
    index = 0 if data.ndim == 1 or number > 1 else 1
    squeezed, data = data.shape, np.moveaxis(data, index, -1)
    flux_unit = parse_unit(main.header.get("BUNIT", header.get("BUNIT")), "BUNIT")
    flux_unit = given.settle("flux", flux_unit, "BUNIT")
    _no_logarithm(flux_unit, "the image")
    uncertainty, mask = None, None
    for kind, values in bands.items():
        unit = (flux_unit or u.one) ** POWER[kind]
        uncertainty = kind(values * unit) if uncertainty is None else uncertainty
    for hdu in images:
        role = _role(hdu)
        if role is None or np.size(hdu.data) != data.size:
            continue
        values = np.moveaxis(np.squeeze(hdu.data).reshape(squeezed), index, -1)
        if role == "mask":
            mask = values != 0 if mask is None else mask | (values != 0)
        elif uncertainty is None:
            unit = parse_unit(hdu.header.get("BUNIT"), f"BUNIT of {hdu.name}")
            shown, unit_of_flux = f"extension {hdu.name}", flux_unit or u.one
            values = values.astype(float)
            uncertainty = _uncertainty(role, values, unit, unit_of_flux, axis, shown)
    return Spectrum(
        flux=data.astype(float) * (flux_unit or u.one),
        spectral_axis=axis,
        spectral_axis_index=data.ndim - 1,
        uncertainty=uncertainty,
        mask=mask,
        meta=_says(header),
    )


def _role(hdu):
    """Return the class of uncertainty, "mask", or None for an image of fluxes."""
    name = hdu.name.lower().split("_")[0]
    said = {kind.__name__: kind for kind in ERRORS}.get(str(hdu.header.get("UTYPE", "")))
    if said:
        return said
    if name in MASKS:
        return "mask"
    return next((kind for kind, names in ERRORS.items() if name in names), None)


def _bands(hdu):
    """Return fluxes of an image without axes of length one, and the errors among the rows that it
    names.

    IRAF's apall stacks spectrum, background, raw spectrum and sigma along an axis, named by
    the cards BANDID; GAMA and others of the AAT name rows by ROW or ARRAY.
    """
    data = np.asarray(hdu.data)
    bands = {}
    for card in ("BANDID", "ROW", "ARRAY"):
        # "spectrum: background median, weights variance" is a spectrum.
        names = [
            re.split("[:,-]", str(hdu.header.get(f"{card}{i}", "")).lower())[0]
            for i in range(1, len(data) + 1)
        ]
        if data.ndim > 1 and any(names):
            for kind, words in BANDS.items():
                i = next((i for i, name in enumerate(names) if any(w in name for w in words)), None)
                if i is not None:
                    bands[kind] = np.squeeze(data[i]).astype(float)
            other = [*OTHER_BANDS, *(word for words in BANDS.values() for word in words)]
            plain = [bool(n) and not any(word in n for word in other) for n in names]
            data = data[plain.index(True) if any(plain) else 0]
            break
    data = np.squeeze(data)
    return (data if data.ndim else data.reshape(1)), bands


def _spectral_number(header, data, n_axes):
    """Tell which FITS axis (1 is the last of the array) is spectral; None if that is not to be
    told.
    """
    if data.ndim == 1:
        lengths = [header.get(f"NAXIS{i}", 0) for i in range(1, n_axes + 1)]
        return next((i for i, n in enumerate(lengths, 1) if n == data.size), 1)
    if "DISPAXIS" in header and header["DISPAXIS"] in range(1, n_axes + 1):
        return int(header["DISPAXIS"])
    for i in range(1, n_axes + 1):
        name = str(header.get(f"CTYPE{i}", "")).upper().split("-")[0].strip()
        if name in SPECTRAL:
            return i
    return None


def _image_axis(header, number, n, given):
    """Return the spectral axis (n,) from the cards of one axis; None where they are not to be
    understood.
    """
    name = str(header.get(f"CTYPE{number}", "")).upper().strip()
    delta = _step(header, number)
    start = header.get(f"CRVAL{number}")
    if start is None and "COEFF0" in header and "COEFF1" in header:
        given.settle("axis", u.AA, "COEFF0")
        return _loglinear(header, n)
    if delta is None or start is None:
        return None
    steps = (np.arange(n) + 1.0 - float(header.get(f"CRPIX{number}", 1.0))) * float(delta)
    unit = parse_unit(header.get(f"CUNIT{number}"), f"CUNIT{number}") or _iraf_unit(header, number)
    unit = given.settle("axis", unit, f"CUNIT{number}")
    code, _, algorithm = name.partition("-")
    algorithm = algorithm.strip("-")
    logarithms = isinstance(unit, u.DexUnit) or code.startswith("LOG")
    if logarithms or (header.get("DC-FLAG") == 1 and not algorithm):
        physical = unit.physical_unit if isinstance(unit, u.DexUnit) else unit
        return 10 ** (float(start) + steps) * (physical or u.AA)
    if code in ("PIXEL", "PIX"):
        return (float(start) + steps) * u.pix
    if code in VELOCITIES or code == "ZOPT":
        return _from_velocity(header, code, float(start) + steps, unit)
    if algorithm == "LOG":
        return float(start) * np.exp(steps / float(start)) * (unit or u.m)
    if algorithm:
        return None
    standard = {"WAVE": u.m, "AWAV": u.m, "FREQ": u.Hz, "ENER": u.J, "WAVN": 1 / u.m}
    # Without CUNIT a standard axis would be in SI units; values tell when it is not.
    values = float(start) + steps
    if unit is None and code in standard and np.all(np.abs(values) < 1e-3):
        unit = standard[code]
    return values * (unit or u.AA)


def _step(header, number):
    """Return the wavelength per pixel: CDi_i, or CDELTi times PCi_i (Greisen & Calabretta 2002); or
    None.
    """
    diagonal = f"{number}_{number}"
    if f"CD{diagonal}" in header:
        return header[f"CD{diagonal}"]
    step = header.get(f"CDELT{number}")
    return None if step is None else step * header.get(f"PC{diagonal}", 1.0)


def _iraf_unit(header, number):
    """Return the unit from an IRAF card such as WAT1_001 = 'wtype=linear label=Wavelength
    units=angstroms'.
    """
    words = str(header.get(f"WAT{number}_001", "")).replace("=", " = ").split()
    for key, equals, value in zip(words, words[1:], words[2:], strict=False):
        if (key, equals) == ("units", "="):
            return parse_unit(value, f"WAT{number}_001")
    return None


def _from_velocity(header, code, values, unit):
    """Return wavelengths of a velocity (or optical redshift) axis, from its rest wavelength."""
    if header.get("RESTWAV"):
        rest = float(header["RESTWAV"]) * u.m
    elif header.get("RESTFRQ", header.get("RESTFREQ")):
        rest = float(header.get("RESTFRQ", header.get("RESTFREQ"))) * u.Hz
    else:
        raise InputError(
            f"path: expected RESTWAV or RESTFRQ beside a spectral axis of type {code}, got none; "
            "to which line do the velocities belong?"
        )
    if code == "ZOPT":
        return rest.to(u.AA, u.spectral()) * (1 + values)
    return (values * (unit or u.m / u.s)).to(u.AA, VELOCITIES[code](rest))


def _standard_axis(header, number, n):
    """Return the axis of an algorithm code such as WAVE-TAB or WAVE-GRI, by astropy's WCS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wcs = WCS(header).sub([number])
            return wcs.pixel_to_world_values(np.arange(n)) * u.Unit(wcs.wcs.cunit[0])
        except Exception:  # specutils may know more
            return None
