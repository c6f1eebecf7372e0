"""One spectrum on the rest-frame pixels of the template library."""

from dataclasses import dataclass

import numpy as np

from photospec.analysis.populations.log_spectrum import SDSS_STEP, LogSpectrum
from photospec.analysis.populations.steps import LEAST_PIXELS
from photospec.spectrum import rebin

__all__ = ["Source", "reason_not_bulk"]

# A line-spread function this narrow (km/s, standard deviation) leaves structure between every
# second pixel of 69 km/s; the sums over pixels would then depend on which half is taken.
NARROWEST_LSF = 75.0


@dataclass(frozen=True, eq=False)
class Source:
    """One observed spectrum without noise, ready to be brought to any rest frame.

    Attributes
    ----------
    wavelength : ndarray (n_wave,)
        Observed Angstrom.
    flux : ndarray (n_wave,)
        Bad samples interpolated over.
    bad : ndarray (n_wave,) of bool, or None
    lsf : ndarray (n_wave,)
    """

    wavelength: np.ndarray
    flux: np.ndarray
    bad: np.ndarray | None
    lsf: np.ndarray

    @classmethod
    def of(cls, arrays):
        """From one-row SpectrumArrays."""
        flux, wavelength = np.asarray(arrays.flux[0], float), arrays.wavelength
        bad = ~np.isfinite(flux)
        if arrays.mask is not None:
            bad = bad | np.asarray(arrays.mask[0])
        if bad.any():
            flux = np.where(bad, np.interp(wavelength, wavelength[~bad], flux[~bad]), flux)
        lsf = np.broadcast_to(np.atleast_2d(arrays.lsf)[0], wavelength.shape)
        return cls(wavelength, flux, bad if bad.any() else None, lsf)

    def at(self, redshift, rest_wavelength):
        """LogSpectrum on rest-frame pixels; as `to_log_spectrum` makes it on the observed ones."""
        observed = rest_wavelength * (1 + redshift)
        flux = rebin(self.flux, self.wavelength, observed)
        mask = ~np.isfinite(flux)
        if self.bad is not None:
            mask |= ~(rebin(self.bad.astype(float), self.wavelength, observed) <= 0.01)
        level = float(np.median(flux[~mask])) if not mask.all() else np.nan
        scale = level if np.isfinite(level) and level > 0 else 1.0
        return LogSpectrum(
            wavelength=rest_wavelength,
            flux=np.where(mask, 0.0, flux / scale),
            sigma=np.where(mask, np.inf, 1.0),
            mask=mask,
            lsf_sigma=np.interp(observed, self.wavelength, self.lsf) / (1 + redshift),
            scale=scale,
            redshift=float(redshift),
            has_sigma=False,
        )


def reason_not_bulk(arrays):
    """Why a spectrum needs the exact path; empty if it does not.

    Parameters
    ----------
    arrays : SpectrumArrays

    Returns
    -------
    str
    """
    if arrays.sigma is not None:
        return "it has an uncertainty"
    if arrays.lsf is None:
        return "it has no line-spread function (meta['lsf_sigma'])"
    if np.median(np.diff(np.log(arrays.wavelength))) > 1.01 * SDSS_STEP:
        return "its pixels are wider than 69 km/s"
    wavelength = np.asarray(arrays.wavelength)
    if wavelength.size < LEAST_PIXELS:
        return f"it has fewer than {LEAST_PIXELS} pixels"
    return ""
