"""Spectra: specutils `~specutils.Spectrum` outside, plain arrays inside.

`to_arrays` is the one gate through which spectra enter: units, air and vacuum, the order of
axes, samples without information and samples that are missing are put right there, so that
no measurement asks again. What a Spectrum cannot say by itself travels in its ``meta``:

=========================  ==================================================================
``lsf_sigma``              Gaussian line-spread function, standard deviation in Angstrom
``wavelength_medium``      ``"vacuum"`` or ``"air"``; where it is absent the FITS header in
                           ``header`` is asked, and then vacuum is assumed
``redshift``               a redshift to start from, when one is known; otherwise
                           ``Spectrum.redshift`` is taken, where it is not zero
``spectral_frame``         ``"heliocentric"``, ``"barycentric"``, ``"topocentric"`` ... as the
                           file says; nothing is converted, others than the first two are flagged
``flux_calibration``       ``"relative"`` where fluxes are right up to a factor only (LAMOST)
=========================  ==================================================================
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from numpy.typing import ArrayLike
from specutils import Spectrum

from photospec.errors import InputError
from photospec.spectrum.headers import (
    FLUX_UNIT,
    angstrom_for_ampere,
    spectral_frame,
    wavelength_medium,
)
from photospec.spectrum.wavelengths import air_to_vacuum, fill_gaps
from photospec.utils.validity import plain_numbers, standard_deviation, usable

__all__ = [
    "FIBRE_RADIUS",
    "SpectrumArrays",
    "fill_missing",
    "from_arrays",
    "medium_of",
    "to_arrays",
]

#: Radius of the SDSS spectrograph fibre on the sky, arcsec.
FIBRE_RADIUS = 1.5


@dataclass(frozen=True, eq=False)
class SpectrumArrays:
    """One or more spectra on one wavelength grid, as arrays.

    Attributes
    ----------
    wavelength : ndarray, shape (n_wave,)
        Increasing, Angstrom, vacuum, observed frame.
    flux : ndarray, shape (n, n_wave)
        In 1e-17 erg/s/cm2/A.
    sigma : ndarray, shape (n, n_wave), or None
        Standard deviations of `flux`.
    mask : ndarray of bool, shape (n, n_wave)
        True where a sample is bad.
    lsf : ndarray, shape (n_wave,) or (n, n_wave), or None
        Standard deviation of the Gaussian line-spread function, Angstrom.
    redshift : ndarray, shape (n,), or None
        A redshift to start from, NaN where there is none; never more than a hint.
    meta : dict
        The rest of the spectrum's ``meta``.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.spectrum import from_arrays, to_arrays
    >>> to_arrays(from_arrays(np.linspace(4000, 8000, 801), np.ones(801)))
    <SpectrumArrays: 1 spectra, 801 samples, 4000.0 to 8000.0 Angstrom>
    """

    wavelength: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray | None
    mask: np.ndarray
    lsf: np.ndarray | None = None
    redshift: np.ndarray | None = None
    meta: dict = field(default_factory=dict)

    def __len__(self):
        return len(self.flux)

    def __repr__(self):
        low, high = self.wavelength[[0, -1]]
        return (
            f"<SpectrumArrays: {len(self)} spectra, {self.wavelength.size} samples, "
            f"{low:.1f} to {high:.1f} Angstrom>"
        )


def to_arrays(spectrum: Spectrum) -> SpectrumArrays:
    """Turn a Spectrum into arrays in the units of this package.

    Parameters
    ----------
    spectrum : specutils.Spectrum
        One spectrum or n of them, flux (n_wave,) or (n, n_wave), or (n_wave, n) where its
        ``spectral_axis_index`` says so; any spectral unit, any unit of flux density per
        wavelength or frequency, standard deviations, variances or inverse variances.

    Returns
    -------
    SpectrumArrays
        Wavelengths increase, in vacuum. Samples that are masked, not finite, or have no usable
        uncertainty (`photospec.utils.validity.usable`) are in ``mask``; their flux is finite (0
        where it was not). Where samples were taken out of the spectrum there are masked ones:
        there may be more samples than in `spectrum`.

    Raises
    ------
    InputError
        If it is no Spectrum, its units are not those of a spectrum, or its header contradicts
        itself.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from specutils import Spectrum
    >>> from photospec.spectrum import to_arrays
    >>> wavelength = np.linspace(400, 800, 401) * u.nm
    >>> spectrum = Spectrum(flux=np.full(401, 3.336) * u.mJy, spectral_axis=wavelength)
    >>> arrays = to_arrays(spectrum)
    >>> arrays.wavelength[[0, -1]], arrays.flux[0, [0, -1]].round(1)
    (array([4000., 8000.]), array([625.1, 156.3]))
    """
    if not isinstance(spectrum, Spectrum):
        raise InputError(
            f"spectrum: expected a specutils Spectrum, got {type(spectrum).__name__}; "
            "make one with photospec.spectrum.from_arrays or read_spectrum"
        )
    if spectrum.flux.ndim not in (1, 2):
        raise InputError(
            "spectrum.flux: expected (n_wave,) or (n_spectra, n_wave), got shape "
            f"{spectrum.flux.shape}; flatten a cube to a list of spectra first"
        )
    meta = dict(spectrum.meta)
    medium = meta["wavelength_medium"] = medium_of(meta)
    frame = _frame(meta)
    if frame:
        meta["spectral_frame"] = frame
    wavelength = _wavelength(spectrum, medium)
    if not wavelength.size:
        raise InputError("spectrum: expected samples, got a spectral axis of length 0")
    meta["wavelength_medium"] = "vacuum"
    equivalent = u.spectral_density(wavelength * u.AA)
    flux = _flux(spectrum, equivalent)
    sigma = _sigma(spectrum, equivalent)
    hidden = None if spectrum.mask is None else _rows(spectrum, np.asarray(spectrum.mask) != 0)
    lsf = _lsf(meta.pop("lsf_sigma", None), flux.shape, spectrum.spectral_axis_index)
    redshift = _hint(meta.pop("redshift", None), spectrum, len(flux))
    # Values as they came: fill values are known by their size, whatever the unit.
    values = _rows(spectrum, spectrum.flux.value)
    good = usable(values, None if sigma is None else sigma / _in_one(spectrum, equivalent), hidden)
    good &= np.isfinite(flux)
    if sigma is not None:
        # What is masked keeps its error; what is bad because of its error has an infinite one.
        keep = good if hidden is None else good | (hidden & (sigma > 0))
        sigma = np.where(keep, sigma, np.inf)
    if wavelength[0] > wavelength[-1]:
        wavelength, flux, good = wavelength[::-1], flux[:, ::-1], good[:, ::-1]
        sigma = None if sigma is None else sigma[:, ::-1]
        lsf = None if lsf is None else lsf[..., ::-1]
    if not np.all(np.isfinite(wavelength)):
        raise InputError(
            "spectrum: expected a spectral axis of finite numbers, got NaN or infinity among them; "
            "does it hold zeros, as frequencies?"
        )
    if not np.all(np.diff(wavelength) > 0):
        raise InputError(
            "spectrum: expected a spectral axis that runs one way, got one that turns back or "
            "stands still; is it made of several orders?"
        )
    return fill_missing(
        SpectrumArrays(
            np.ascontiguousarray(wavelength),
            np.where(np.isfinite(flux), flux, 0.0),
            None if sigma is None else np.ascontiguousarray(sigma),
            np.ascontiguousarray(~good),
            lsf,
            redshift,
            meta,
        )
    )


def fill_missing(arrays: SpectrumArrays) -> SpectrumArrays:
    """Put masked samples where samples were taken out of spectra.

    Parameters
    ----------
    arrays : SpectrumArrays

    Returns
    -------
    SpectrumArrays
        The same one where nothing is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.spectrum import from_arrays, to_arrays
    >>> grid = np.delete(np.arange(5000.0, 5100.0), [40, 41, 42])
    >>> arrays = to_arrays(from_arrays(grid, np.ones(97)))  # to_arrays fills them in
    >>> arrays.flux.shape, np.flatnonzero(arrays.mask[0])
    ((1, 100), array([40, 41, 42]))
    """
    filled, place = fill_gaps(arrays.wavelength)
    if filled.size == arrays.wavelength.size:
        return arrays

    def spread(values, fill):
        whole = np.full((len(values), filled.size), fill, dtype=np.asarray(values).dtype)
        whole[:, place] = values
        return whole

    lsf = arrays.lsf
    if np.ndim(lsf) == 1 and np.size(lsf) == place.size:
        lsf = np.interp(filled, arrays.wavelength, lsf)
    elif np.ndim(lsf) == 2 and np.shape(lsf)[1] == place.size:
        lsf = np.array([np.interp(filled, arrays.wavelength, row) for row in lsf])
    mask = np.zeros(arrays.flux.shape, bool) if arrays.mask is None else arrays.mask
    return replace(
        arrays,
        wavelength=filled,
        flux=spread(arrays.flux, 0.0),
        sigma=None if arrays.sigma is None else spread(np.asarray(arrays.sigma, float), np.inf),
        mask=spread(mask, True),
        lsf=lsf,
    )


def medium_of(meta):
    """Return the medium of a spectrum's wavelengths: what meta says, then its header, then vacuum.

    Parameters
    ----------
    meta : dict
        ``meta`` of a Spectrum.

    Returns
    -------
    {"air", "vacuum"}

    Raises
    ------
    InputError
        If it is another word, or the header says both.

    Examples
    --------
    >>> from photospec.spectrum.arrays import medium_of
    >>> medium_of({"header": {"AIRORVAC": "air"}})
    'air'
    """
    medium = meta.get("wavelength_medium")
    if medium is None:
        header = meta.get("header")
        medium = (wavelength_medium(header) if isinstance(header, Mapping) else None) or "vacuum"
    if medium not in ("vacuum", "air"):
        raise InputError(
            f"spectrum.meta['wavelength_medium']: expected 'vacuum' or 'air', got {medium!r}"
        )
    return medium


def _frame(meta):
    header = meta.get("header")
    frame = meta.get("spectral_frame")
    return frame or (spectral_frame(header) if isinstance(header, Mapping) else None)


def _wavelength(spectrum, medium):
    """Return wavelengths (n_wave,) in vacuum, in the order of the spectrum."""
    axis = spectrum.spectral_axis
    try:
        wavelength = u.Quantity(axis).to_value(u.AA, u.spectral())
    except u.UnitConversionError:
        if not axis.unit.is_equivalent(u.km / u.s):
            raise InputError(
                "spectrum.spectral_axis: expected wavelength, frequency or energy, got "
                f"{axis.unit}; is it still in pixels?"
            ) from None
        try:
            wavelength = axis.to(u.AA).value
        except (ValueError, u.UnitConversionError):
            raise InputError(
                "spectrum.spectral_axis: expected wavelength, frequency or energy, got velocities "
                "without rest_value and velocity_convention; give both to Spectrum"
            ) from None
    # Frequencies and energies do not change in air.
    lengths = axis.unit.is_equivalent(u.AA) or axis.unit.is_equivalent(u.km / u.s)
    return air_to_vacuum(wavelength) if medium == "air" and lengths else wavelength


def _rows(spectrum, values):
    """Bring values of the shape of the flux to (n, n_wave)."""
    values = np.broadcast_to(np.asarray(values), spectrum.flux.shape)
    if values.ndim == 2 and spectrum.spectral_axis_index == 0:
        values = values.T
    return np.atleast_2d(values)


def _flux(spectrum, equivalent):
    unit = angstrom_for_ampere(spectrum.flux.unit)
    try:
        flux = u.Quantity(_rows(spectrum, spectrum.flux.value), unit)
        return np.asarray(flux.to_value(FLUX_UNIT, equivalent), dtype=float)
    except u.UnitConversionError:
        raise InputError(
            "spectrum.flux: expected a flux density such as erg/s/cm2/Angstrom or Jy, got "
            f"{str(spectrum.flux.unit) or 'no unit'}{' (A is ampere)' * (u.A in unit.bases)}; "
            "multiply a calibrated array by its unit"
        ) from None


def _in_one(spectrum, equivalent):
    """Return one of the unit of the flux, at each wavelength, in the unit of the package."""
    one = np.ones(spectrum.spectral_axis.size) * angstrom_for_ampere(spectrum.flux.unit)
    return one.to_value(FLUX_UNIT, equivalent)


def _sigma(spectrum, equivalent):
    if spectrum.uncertainty is None:
        return None
    try:
        sigma, unit = standard_deviation(spectrum.uncertainty)
        unit = angstrom_for_ampere(spectrum.flux.unit if unit is None else unit)
        sigma = u.Quantity(_rows(spectrum, sigma), unit).to_value(FLUX_UNIT, equivalent)
        return np.asarray(sigma, dtype=float)
    except (TypeError, AttributeError, ValueError, u.UnitConversionError):
        raise InputError(
            "spectrum.uncertainty: expected a standard deviation, variance or inverse variance in "
            f"the unit of the flux, got {type(spectrum.uncertainty).__name__} in "
            f"{str(spectrum.uncertainty.unit or '') or 'no unit'}; give it its kind and unit"
        ) from None


def _lsf(lsf, shape, spectral_axis_index):
    if lsf is None:
        return None
    try:
        lsf = plain_numbers(lsf, u.AA).astype(float)
    except (TypeError, ValueError, u.UnitConversionError):
        raise InputError(
            "spectrum.meta['lsf_sigma']: expected numbers in Angstrom, got "
            f"{str(lsf)[:40]!r}; is it in km/s, or a resolving power?"
        ) from None
    if lsf.ndim == 2 and spectral_axis_index == 0 and lsf.shape[0] == shape[1]:
        lsf = lsf.T
    if lsf.shape not in ((), shape[1:], shape, (shape[0], 1)):
        raise InputError(
            f"spectrum.meta['lsf_sigma']: expected one number or {shape[1]}, in Angstrom, got "
            f"shape {lsf.shape}"
        )
    lsf = np.broadcast_to(lsf, shape if lsf.ndim == 2 else shape[1:]).astype(float)
    known = np.isfinite(lsf)
    if np.any(lsf[known] < 0) or not np.all(known.any(axis=-1)):
        raise InputError(
            "spectrum.meta['lsf_sigma']: expected numbers in Angstrom that are not negative, got "
            + ("negative ones" if np.any(lsf[known] < 0) else "no finite one")
        )
    # It changes slowly with wavelength: where it is missing that of the next samples is as good.
    pixel = np.arange(shape[1])
    for row, there in zip(np.atleast_2d(lsf), np.atleast_2d(known), strict=True):
        row[~there] = np.interp(pixel[~there], pixel[there], row[there])
    return lsf


def _hint(redshift, spectrum, n):
    """Return redshifts (n,) to start from; NaN for what cannot be read, without an error."""
    if redshift is None:
        redshift = spectrum.redshift
        # Specutils has zero where nothing was given.
        redshift = None if redshift is None or not np.any(redshift != 0) else redshift
    try:
        value = plain_numbers(redshift).astype(float)
        if isinstance(redshift, u.Quantity):
            value = value if str(redshift.unit) == "redshift" else redshift.to_value(u.one)
        value = np.broadcast_to(value, (n,)).astype(float)
    except (TypeError, ValueError):  # UnitConversionError is both
        return None
    value = np.where(np.isfinite(value) & (value > -1), value, np.nan)
    return value if np.isfinite(value).any() else None


def from_arrays(
    wavelength: ArrayLike,
    flux: ArrayLike,
    *,
    sigma: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    lsf: ArrayLike | None = None,
    redshift: ArrayLike | None = None,
    meta: Mapping | None = None,
) -> Spectrum:
    """Make a Spectrum from arrays in the units of this package.

    Parameters
    ----------
    wavelength : array_like or Quantity, shape (n_wave,)
        Angstrom, vacuum, observed frame.
    flux : array_like or Quantity, shape (n_wave,) or (n, n_wave)
        In 1e-17 erg/s/cm2/A. A Quantity is converted; what is masked in a masked array is masked
        in the spectrum.
    sigma : float, array_like or Quantity, optional
        Standard deviations, in the shape of `flux` or broadcast to it.
    mask : array_like of bool, optional
        True = bad; the same.
    lsf : float or array_like, optional
        Standard deviation of the line-spread function, Angstrom.
    redshift : float or array_like, optional
        A redshift to start from.
    meta : dict, optional
        More to carry.

    Returns
    -------
    specutils.Spectrum

    Raises
    ------
    InputError
        If shapes do not belong together, or a Quantity is of another kind.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.spectrum import from_arrays
    >>> wavelength = np.linspace(4000, 8000, 401)
    >>> spectrum = from_arrays(wavelength, np.ones(401), sigma=np.full(401, 0.1), lsf=1.2)
    >>> spectrum.flux.shape, str(spectrum.flux.unit), spectrum.meta["lsf_sigma"]
    ((401,), '1e-17 erg / (Angstrom s cm2)', 1.2)
    """
    wavelength = _given("wavelength", wavelength, u.AA, u.spectral()).astype(float)
    density = u.spectral_density(wavelength * u.AA)
    flux = _given("flux", flux, FLUX_UNIT, density)
    sigma = None if sigma is None else _given("sigma", sigma, FLUX_UNIT, density)
    if wavelength.ndim != 1 or flux.ndim not in (1, 2) or flux.shape[-1] != wavelength.size:
        raise InputError(
            f"flux: expected ({wavelength.size},) or (n, {wavelength.size}) samples, got shape "
            f"{flux.shape}; do wavelength and flux belong together?"
        )
    sigma, mask = _like("sigma", sigma, flux, float), _like("mask", mask, flux, bool)
    meta = {**(meta or {}), "wavelength_medium": "vacuum"}
    if lsf is not None:
        meta["lsf_sigma"] = lsf
    if redshift is not None:
        meta["redshift"] = redshift
    return Spectrum(
        flux=flux * FLUX_UNIT,
        spectral_axis=wavelength * u.AA,
        spectral_axis_index=flux.ndim - 1,
        uncertainty=None if sigma is None else StdDevUncertainty(sigma * FLUX_UNIT),
        mask=mask,
        meta=meta,
    )


def _given(name, values, unit, equivalencies):
    """Return numbers of an argument in a unit; what is masked is NaN."""
    try:
        return plain_numbers(values, unit, equivalencies)
    except (TypeError, ValueError):  # UnitConversionError is both
        raise InputError(
            f"{name}: expected numbers in {unit} or a Quantity that can be turned into it, got "
            f"{getattr(values, 'unit', None) or type(values).__name__}"
        ) from None


def _like(name, values, flux, dtype):
    if values is None:
        return None
    try:
        return np.broadcast_to(np.asarray(values, dtype=dtype), flux.shape).copy()
    except (TypeError, ValueError):
        raise InputError(
            f"{name}: expected numbers in the shape of flux {flux.shape}, got {np.shape(values)}; "
            "do they belong together?"
        ) from None
