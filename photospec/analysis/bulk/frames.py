"""Many spectra on the rest-frame pixels of the template library."""

from dataclasses import dataclass, replace

import numpy as np

from photospec.analysis.gate import good_pixels
from photospec.analysis.populations.log_spectrum import SDSS_STEP, LogSpectrum, is_logarithmic
from photospec.analysis.populations.weights import LEAST_PIXELS
from photospec.spectrum import SpectrumArrays
from photospec.spectrum.wavelengths import pixel_edges
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["Frames", "ObservedSpectra", "reason_not_bulk"]

BAD_SHARE = 0.01  # of a pixel: as in `to_log_spectrum`


@dataclass(frozen=True, eq=False)
class ObservedSpectra:
    """Observed spectra without noise on one wavelength grid, ready for any rest frame.

    Attributes
    ----------
    wavelength : ndarray (n_wave,)
        Observed Angstrom.
    flux : ndarray (n, n_wave)
        Bad samples interpolated over.
    bad : ndarray (n, n_wave) of bool
    lsf : ndarray (n, n_wave)
        Standard deviation, Angstrom.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    bad: np.ndarray
    lsf: np.ndarray

    @classmethod
    def of(cls, rows):
        """Make one from one-row SpectrumArrays with the same wavelengths."""
        wavelength = np.asarray(rows[0].wavelength, float)
        flux = np.array([row.flux[0] for row in rows], float)
        bad = ~np.array([good_pixels(row)[0] for row in rows])
        for one, wrong in zip(flux, bad, strict=True):
            if wrong.any():
                one[wrong] = np.interp(wavelength[wrong], wavelength[~wrong], one[~wrong])
        lsf = [np.broadcast_to(np.atleast_2d(row.lsf)[0], wavelength.shape) for row in rows]
        return cls(wavelength, flux, bad, np.array(lsf, float))

    def take(self, rows):
        """Return some of the spectra."""
        return ObservedSpectra(self.wavelength, self.flux[rows], self.bad[rows], self.lsf[rows])

    def at(self, rows, redshift, library, like=None):
        """Bring some of the spectra to rest.

        Parameters
        ----------
        rows : ndarray of int (n,)
        redshift : ndarray (n,)
        library : Library
        like : Frames, optional
            The same spectra at redshifts so near that the line-spread functions are the same.

        Returns
        -------
        Frames
        """
        stretch = 1 + redshift[:, None]
        new = library.edges * stretch
        old = pixel_edges(self.wavelength)
        covered = (new[:, :-1] >= old[0]) & (new[:, 1:] <= old[-1])
        left = np.clip(np.searchsorted(old, new.ravel(), side="right") - 1, 0, len(old) - 2)
        left = left.reshape(new.shape)
        into = new - old[left]

        def mean(values):
            # Difference of the running integral, linear inside each sample, as `rebin` has it.
            integral = np.zeros((len(rows), old.size))
            np.cumsum(values * np.diff(old), axis=1, out=integral[:, 1:])
            at_edge = np.take_along_axis(integral, left, 1)
            at_edge += np.take_along_axis(values, left, 1) * into
            return np.diff(at_edge, axis=1) / np.diff(new, axis=1)

        flux, mask = mean(self.flux[rows]), ~covered
        if self.bad[rows].any():
            mask |= mean(self.bad[rows].astype(float)) > BAD_SHARE
        scale = np.ones(len(rows))
        for i, (one, wrong) in enumerate(zip(flux, mask, strict=True)):
            level = np.median(one[~wrong]) if not wrong.all() else np.nan
            scale[i] = level if np.isfinite(level) and level > 0 else 1.0
        flux = np.where(mask, 0.0, flux / scale[:, None])
        if like is not None:
            return replace(like, redshift=redshift, flux=flux, mask=mask, scale=scale)
        observed = library.wavelength * stretch
        lsf = [
            np.interp(one, self.wavelength, self.lsf[row])
            for one, row in zip(observed, rows, strict=True)
        ]
        # A sample stands for its whole pixel while it is shared out: a box more.
        width = np.interp(observed, self.wavelength, np.gradient(self.wavelength))
        lsf = np.sqrt(np.array(lsf) ** 2 + width**2 / 12) / stretch
        difference = (lsf**2 - library.own**2) * (SPEED_OF_LIGHT / library.wavelength) ** 2
        lowest = np.where(mask, np.inf, difference).min(axis=1)
        return Frames(
            library=library,
            redshift=redshift,
            flux=flux,
            mask=mask,
            scale=scale,
            lsf_sigma=lsf,
            difference=difference,
            floor=np.sqrt(np.clip(-lowest, 0, None)),
            pixel_box=self._pixel_box(),
        )

    def _pixel_box(self):
        """Return the standard deviation of the pixels, km/s; zero for logarithmic ones, as
        `LogSpectrum`.
        """
        if is_logarithmic(self.wavelength):
            return 0.0
        step = float(np.median(np.diff(np.log(self.wavelength))))
        return step * SPEED_OF_LIGHT / np.sqrt(12)


@dataclass(frozen=True, eq=False)
class Frames:
    """n spectra at rest.

    Attributes
    ----------
    library : Library
    redshift : ndarray (n,)
    flux : ndarray (n, n_pixels)
        Near unity; zero where masked.
    mask : ndarray (n, n_pixels) of bool
    scale : ndarray (n,)
        That the flux was divided by.
    lsf_sigma : ndarray (n, n_pixels)
        Rest-frame Angstrom.
    difference : ndarray (n, n_pixels)
        sigma_d^2 - sigma_t^2 of the line-spread functions, (km/s)^2.
    floor : ndarray (n,)
        Dispersion in the templates beyond the instrument's, km/s: see
        `photospec.analysis.populations.resolution`.
    pixel_box : float
        Standard deviation of the pixels that the spectra were shared out from, km/s; zero where
        they came on logarithmic pixels.
    """

    library: object
    redshift: np.ndarray
    flux: np.ndarray
    mask: np.ndarray
    scale: np.ndarray
    lsf_sigma: np.ndarray
    difference: np.ndarray
    floor: np.ndarray
    pixel_box: float

    def __len__(self):
        return len(self.redshift)

    def take(self, rows):
        """Return some of the spectra."""
        parts = {name: value[rows] for name, value in vars(self).items() if np.ndim(value)}
        return replace(self, **parts)

    def basis(self, dispersion, pixels, scale, derivative=False):
        """Return the template basis (n, n_chosen, n_basis) in single precision, convolved, on some
        pixels.

        Parameters
        ----------
        dispersion : ndarray (n,)
            km/s.
        pixels : ndarray of int (n_chosen,)
        scale : ndarray (n, n_chosen)
            Factor on every pixel; zero leaves it out.
        derivative : bool
            Give the derivative by the square of the dispersion instead.
        """
        wide = np.maximum(dispersion**2 - self.floor**2, 1.0)[:, None]
        square = (self.difference[:, pixels] + self.floor[:, None] ** 2).clip(0) + wide
        return self.library.broadened(square, pixels, scale, derivative)

    def spectrum(self, row):
        """Return one of the spectra as the exact path knows it."""
        return LogSpectrum(
            wavelength=self.library.wavelength,
            flux=self.flux[row],
            sigma=np.where(self.mask[row], np.inf, 1.0),
            mask=self.mask[row],
            lsf_sigma=self.lsf_sigma[row],
            scale=float(self.scale[row]),
            redshift=float(self.redshift[row]),
            has_sigma=False,
            pixel_box=self.pixel_box,
        )


def reason_not_bulk(arrays: SpectrumArrays) -> str:
    """Tell why a spectrum needs the exact path; empty if it does not.

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
    wavelength = np.asarray(arrays.wavelength)
    if wavelength.size < LEAST_PIXELS:
        return f"it has fewer than {LEAST_PIXELS} pixels"
    with np.errstate(invalid="ignore", divide="ignore"):
        widest = np.median(np.diff(np.log(wavelength)))
    if not widest <= 1.01 * SDSS_STEP:
        return "its pixels are wider than 69 km/s"
    return ""
