"""Spectra: specutils `~specutils.Spectrum` outside, plain arrays inside.

What a Spectrum cannot say by itself travels in its ``meta``:

=========================  ==================================================================
``lsf_sigma``              Gaussian line-spread function, standard deviation in Angstrom
``wavelength_medium``      ``"vacuum"`` (default) or ``"air"``
``redshift``               a redshift to start from, when one is known
=========================  ==================================================================
"""

from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from specutils import Spectrum

from photospec.errors import InputError
from photospec.spectrum.io import read_spectrum, write_spectra
from photospec.spectrum.wavelengths import (
    BASE_WAVELENGTH,
    SMOOTHING,
    WAVELENGTH,
    air_to_vacuum,
    rebin,
    smooth,
    to_base_grid,
    to_training_grid,
    vacuum_to_air,
)

__all__ = [
    "BASE_WAVELENGTH",
    "FIBRE_RADIUS",
    "FLUX_UNIT",
    "SMOOTHING",
    "WAVELENGTH",
    "SpectrumArrays",
    "air_to_vacuum",
    "from_arrays",
    "read_spectrum",
    "rebin",
    "smooth",
    "to_arrays",
    "to_base_grid",
    "to_training_grid",
    "vacuum_to_air",
    "write_spectra",
]

#: Unit of flux density in all arrays.
FLUX_UNIT = u.Unit(1e-17 * u.erg / (u.s * u.cm**2 * u.AA))
#: Radius of the SDSS spectrograph fibre on the sky, arcsec.
FIBRE_RADIUS = 1.5


@dataclass(frozen=True, eq=False)
class SpectrumArrays:
    """One or more spectra on one wavelength grid, as arrays.

    Attributes
    ----------
    wavelength : ndarray (n_wave,)
        Increasing, Angstrom, vacuum, observed frame.
    flux : ndarray (n, n_wave)
        In 1e-17 erg/s/cm2/A.
    sigma : ndarray (n, n_wave) or None
        Standard deviations of `flux`.
    mask : ndarray (n, n_wave) of bool
        True where a sample is bad.
    lsf : ndarray (n_wave,) or (n, n_wave) or None
        Standard deviation of the Gaussian line-spread function, Angstrom.
    redshift : ndarray (n,) or None
        A redshift to start from; never more than a hint.
    meta : dict
        The rest of the spectrum's ``meta``.
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


def to_arrays(spectrum):
    """Turn a Spectrum into arrays in the units of this package.

    Parameters
    ----------
    spectrum : specutils.Spectrum
        One spectrum or n of them, flux (n_wave,) or (n, n_wave); any spectral unit, any
        unit of flux density per wavelength or frequency, any uncertainty class.

    Returns
    -------
    SpectrumArrays
        Samples that are masked, not finite, or have no usable uncertainty are in ``mask``;
        their flux is finite (0 where it was not).

    Raises
    ------
    InputError
        If it is no Spectrum, or its units are not those of a spectrum.
    """
    if not isinstance(spectrum, Spectrum):
        raise InputError(
            f"spectrum: expected a specutils Spectrum, got {type(spectrum).__name__}; "
            "make one with photospec.spectrum.from_arrays or read_spectrum"
        )
    wavelength, flux = _units(spectrum)
    meta = dict(spectrum.meta)
    medium = meta.get("wavelength_medium", "vacuum")
    if medium not in ("vacuum", "air"):
        raise InputError(
            f"spectrum.meta['wavelength_medium']: expected 'vacuum' or 'air', got {medium!r}"
        )
    sigma = _sigma(spectrum, wavelength)
    mask = ~np.isfinite(flux)
    if spectrum.mask is not None:
        mask |= np.atleast_2d(np.asarray(spectrum.mask, dtype=bool))
    if sigma is not None:
        bad = ~(np.isfinite(sigma) & (sigma > 0))
        mask |= bad
        sigma = np.where(bad, np.inf, sigma)
    lsf = _lsf(meta.pop("lsf_sigma", None), flux.shape)
    if wavelength[0] > wavelength[-1]:
        wavelength, flux, mask = wavelength[::-1], flux[:, ::-1], mask[:, ::-1]
        sigma = None if sigma is None else sigma[:, ::-1]
        lsf = None if lsf is None else lsf[..., ::-1]
    if not np.all(np.diff(wavelength) > 0):
        raise InputError(
            "spectrum: expected a spectral axis that runs one way, got one that turns back or "
            "stands still; is it made of several orders?"
        )
    if medium == "air":
        wavelength = air_to_vacuum(wavelength)
    meta["wavelength_medium"] = "vacuum"
    redshift = meta.pop("redshift", None)
    if redshift is not None:
        redshift = np.broadcast_to(u.Quantity(redshift).to_value(u.one), (len(flux),)).astype(float)
    return SpectrumArrays(
        np.ascontiguousarray(wavelength),
        np.where(np.isfinite(flux), flux, 0.0),
        None if sigma is None else np.ascontiguousarray(sigma),
        np.ascontiguousarray(mask),
        lsf,
        redshift,
        meta,
    )


def _units(spectrum):
    try:
        wavelength = u.Quantity(spectrum.spectral_axis).to_value(u.AA, u.spectral())
    except u.UnitConversionError:
        raise InputError(
            "spectrum.spectral_axis: expected wavelength, frequency or energy, got "
            f"{spectrum.spectral_axis.unit}; is it still in pixels or velocity?"
        ) from None
    if spectrum.flux.ndim not in (1, 2):
        raise InputError(
            "spectrum.flux: expected (n_wave,) or (n_spectra, n_wave), got shape "
            f"{spectrum.flux.shape}; flatten a cube to a list of spectra first"
        )
    try:
        flux = spectrum.flux.to_value(FLUX_UNIT, u.spectral_density(wavelength * u.AA))
    except u.UnitConversionError:
        raise InputError(
            "spectrum.flux: expected a flux density such as erg/s/cm2/Angstrom or Jy, got "
            f"{spectrum.flux.unit or 'no unit'}; multiply a calibrated array by its unit"
        ) from None
    return wavelength, np.atleast_2d(np.asarray(flux, dtype=float))


def _sigma(spectrum, wavelength):
    if spectrum.uncertainty is None:
        return None
    try:
        with np.errstate(divide="ignore", invalid="ignore"):  # ivar = 0 becomes infinite
            deviation = spectrum.uncertainty.represent_as(StdDevUncertainty)
        unit = deviation.unit or spectrum.flux.unit
        sigma = u.Quantity(deviation.array, unit)
        sigma = sigma.to_value(FLUX_UNIT, u.spectral_density(wavelength * u.AA))
    except (TypeError, AttributeError, u.UnitConversionError) as error:
        raise InputError(
            "spectrum.uncertainty: expected a standard deviation, variance or inverse variance in "
            f"the unit of the flux, got {type(spectrum.uncertainty).__name__} "
            f"({type(error).__name__})"
        ) from None
    return np.broadcast_to(np.asarray(sigma, dtype=float), np.atleast_2d(spectrum.flux).shape)


def _lsf(lsf, shape):
    if lsf is None:
        return None
    lsf = u.Quantity(lsf, u.AA).value if isinstance(lsf, u.Quantity) else np.asarray(lsf, float)
    if lsf.shape not in ((), shape[1:], shape, (shape[0], 1)) or not np.all(lsf >= 0):
        raise InputError(
            f"spectrum.meta['lsf_sigma']: expected one number or {shape[1]}, in Angstrom and not "
            f"negative, got shape {lsf.shape}"
        )
    return np.broadcast_to(lsf, shape if lsf.ndim == 2 else shape[1:]).astype(float)


def from_arrays(wavelength, flux, *, sigma=None, mask=None, lsf=None, redshift=None, meta=None):
    """Make a Spectrum from arrays in the units of this package.

    Parameters
    ----------
    wavelength : array_like (n_wave,)
        Increasing, Angstrom, vacuum, observed frame.
    flux : array_like (n_wave,) or (n, n_wave)
        In 1e-17 erg/s/cm2/A.
    sigma : array_like, optional
        Standard deviations, same shape as `flux`.
    mask : array_like of bool, optional
        True = bad, same shape.
    lsf : float or array_like, optional
        Standard deviation of the line-spread function, Angstrom.
    redshift : float or array_like, optional
        A redshift to start from.
    meta : dict, optional
        More to carry.

    Returns
    -------
    specutils.Spectrum
    """
    wavelength = np.asarray(wavelength, dtype=float)
    flux = np.asarray(flux)
    if wavelength.ndim != 1 or flux.ndim not in (1, 2) or flux.shape[-1] != wavelength.size:
        raise InputError(
            f"flux: expected ({wavelength.size},) or (n, {wavelength.size}) samples, got shape "
            f"{flux.shape}; do wavelength and flux belong together?"
        )
    meta = {**(meta or {}), "wavelength_medium": "vacuum"}
    if lsf is not None:
        meta["lsf_sigma"] = lsf
    if redshift is not None:
        meta["redshift"] = redshift
    return Spectrum(
        flux=flux * FLUX_UNIT,
        spectral_axis=wavelength * u.AA,
        uncertainty=None if sigma is None else StdDevUncertainty(np.asarray(sigma) * FLUX_UNIT),
        mask=None if mask is None else np.asarray(mask, dtype=bool),
        meta=meta,
    )
