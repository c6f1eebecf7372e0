"""From chi-square over redshift to the best few solutions of each spectrum."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter1d

from photospec.analysis.gate import N_PIXELS_MIN, good_pixels, take
from photospec.analysis.redshift.consistency import (
    CORRELATED,
    jackknife_error,
    residual_correlation,
)
from photospec.analysis.redshift.quasars import quasar_chi2
from photospec.analysis.redshift.scan import chi2_at_shifts, chi2_scan, resample_log
from photospec.analysis.redshift.templates import LOG_STEP, TEMPLATE_RANGE
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["Solutions", "find_solutions"]

COARSE = 3  # template pixels per pixel of the coarse scan: 207 km/s
MODEL_ERROR = 0.01  # what the templates miss, as a share of the smooth flux
TEMPLATE_ERROR = 2e-6  # of 1 + z: scatter on simulated galaxies at high signal-to-noise
RESAMPLED_CHI2, MIN_ERROR_SCALE = 0.72, 0.6  # so that errors cover on simulated galaxies
SEPARATION = 1500.0  # km/s between two solutions that count as different
REFINE = 60.0  # solutions within this scaled delta chi2 of the best get a fine fit
MARGIN = 0.12  # of ln(1 + z), searched beyond the range asked for, but not far below zero
N_REFINED = 3
N_PARAMETERS = 20
QUASAR_CHI2 = 25.0  # scaled; broad lines must fit better than galaxies by this
SUSPECT_CHI2, SUSPECT_DELTA = 0.9, 150.0  # worse reduced chi2, smaller delta: try broad lines
NOT_COVERED = "too few pixels inside the wavelength range of the templates"
BATCH = 64  # spectra resampled at a time: keeps memory flat


@dataclass(frozen=True)
class Solutions:
    """The best few redshifts of n spectra, best first, NaN where there are fewer.

    Attributes
    ----------
    redshift, error, delta_chi2 : ndarray (n, n_solutions)
        Chi-square above the best, divided by the reduced chi-square (if above one).
    reduced_chi2 : ndarray (n,)
    negative : ndarray (n,) of bool
        True where the best model is negative on average.
    broad_line_redshift : ndarray (n,)
        Where broad emission lines fit better than any galaxy, their redshift; else NaN.
    correlation : ndarray (n,)
        How many pixels are wrong alike, for spectra without uncertainty; else one.
    """

    redshift: np.ndarray
    error: np.ndarray
    delta_chi2: np.ndarray
    reduced_chi2: np.ndarray
    negative: np.ndarray
    broad_line_redshift: np.ndarray
    correlation: np.ndarray

    @classmethod
    def empty(cls, n, n_solutions):
        """Nothing found yet."""
        nothing = [np.full((n, n_solutions), np.nan) for _ in range(3)]
        return cls(*nothing, np.full(n, np.nan), np.zeros(n, bool), np.full(n, np.nan), np.ones(n))

    def weight(self):
        """Probability of each solution (n, n_solutions): Laplace's integral over its peak."""
        with np.errstate(over="ignore"):
            delta = self.delta_chi2 / self.correlation[:, None]
            weight = np.nan_to_num(np.exp(-0.5 * delta) * self.error)
        total = weight.sum(axis=1, keepdims=True)
        return np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)

    def spread(self):
        """Root mean square distance from the best (n,), over all solutions and their errors."""
        square = self.error**2 + (self.redshift - self.redshift[:, :1]) ** 2
        return np.sqrt(np.nansum(self.weight() * square, axis=1))


def _inverse_variance(arrays):
    """Inverse variance (n, n_wave), zero on bad pixels; from the scatter if there are no errors."""
    good = good_pixels(arrays)
    if arrays.sigma is not None:
        sigma = np.where(good, arrays.sigma, 1.0)
    else:
        flux = np.where(good, arrays.flux, 0.0)
        # Difference of each pixel to its second neighbours: blind to a smooth continuum
        # (the DER_SNR estimator of Stoehr et al. 2008), here as a running mean.
        jump = np.zeros_like(flux)
        jump[:, 2:-2] = np.abs(2 * flux[:, 2:-2] - flux[:, :-4] - flux[:, 4:])
        sigma = uniform_filter1d(jump, 301, axis=1, mode="nearest") * np.sqrt(np.pi / 12)
        scale = np.median(np.abs(flux), axis=1, keepdims=True)
        sigma = np.maximum(sigma, 1e-3 * np.maximum(scale, 1e-30))
    return np.where(good, 1.0 / sigma**2, 0.0)


def _with_model_error(spectra):
    """Add `MODEL_ERROR` of the smooth flux to the errors, in quadrature."""
    covered = (spectra.weight > 0).astype(float)
    width = 225 // spectra.factor

    def smooth(values):  # a running mean twice: a triangle, in time independent of its width
        once = uniform_filter1d(values, width, axis=1, mode="nearest")
        return uniform_filter1d(once, width, axis=1, mode="nearest")

    level = np.abs(smooth(spectra.flux * covered)) / np.maximum(smooth(covered), 1e-3)
    variance = np.divide(1.0, spectra.weight, out=np.ones_like(level), where=covered > 0)
    weight = covered / (variance + (MODEL_ERROR * level) ** 2)
    return type(spectra)(spectra.first, spectra.factor, spectra.flux, weight)


def find_solutions(block, usable, redshift_range, found, indices, scan=chi2_scan):
    """Fill `found` at `indices` for the `usable` spectra of one block.

    Parameters
    ----------
    block : SpectrumArrays
        n spectra on one wavelength grid.
    usable : ndarray (n,) of bool
    redshift_range : tuple of float
    found : Solutions
        Of all spectra; written to.
    indices : ndarray (n,) of int
        Rows of `found` that belong to this block.
    scan : callable
        `chi2_scan`, or `chi2_near_minima` for spectra without noise.

    Returns
    -------
    reason : list of str
        For each usable spectrum, why it failed; empty if it did not.
    coverage : ndarray
        Share of the wavelength range with data.
    """
    rows = np.flatnonzero(usable)
    stretch = np.exp(np.log1p(redshift_range[1]) + MARGIN)
    inside = block.wavelength > TEMPLATE_RANGE[0]
    inside &= block.wavelength < TEMPLATE_RANGE[1] * stretch
    if np.count_nonzero(inside) < N_PIXELS_MIN:
        return [NOT_COVERED] * rows.size, np.zeros(rows.size)
    block = replace(take(block, rows), meta={})
    reasons, coverage, bare = [], np.zeros(rows.size), block.sigma is None
    for first in range(0, rows.size, BATCH):
        batch = slice(first, first + BATCH)
        wavelength, flux, ivar = _scaled(take(block, batch), inside)
        coverage[batch] = np.mean(ivar > 0, axis=1)
        coarse, fine = (
            _with_model_error(resample_log(wavelength, flux, ivar, factor))
            for factor in (COARSE, 1)
        )
        shifts = _shift_range(redshift_range)
        chi2 = scan(coarse, *shifts)
        for i, row in enumerate(rows[batch]):
            reasons.append(_refine(coarse, fine, i, chi2[i], shifts[0], found, indices[row], bare))
    return reasons, coverage


def _scaled(arrays, inside):
    """Wavelength, flux and inverse variance `inside`, scaled so that squares stay in range."""
    flux = np.where(good_pixels(arrays), arrays.flux, 0.0)
    scale = np.abs(flux).max(axis=1, keepdims=True)
    sigma = None if arrays.sigma is None else arrays.sigma / scale
    arrays = replace(arrays, flux=arrays.flux / scale, sigma=sigma)
    ivar = _inverse_variance(arrays)[:, inside]
    flux = np.where(ivar > 0, arrays.flux[:, inside], 0.0)
    level = np.sqrt(np.mean(flux**2, axis=1, keepdims=True))
    level = np.where(level > 0, level, 1.0)
    return arrays.wavelength[inside], flux / level, ivar * level**2


def _shift_range(redshift_range):
    """Coarse shifts that span the range, with margins to see what lies outside."""
    low, high = np.log1p(redshift_range) + [-MARGIN, MARGIN]
    low = max(low, min(np.log1p(redshift_range[0]), 0) - 0.01)
    step = COARSE * LOG_STEP
    return int(np.floor(low / step)), int(np.ceil(high / step)) + 1


def _minima(chi2):
    """Interior local minima, lowest first, more than `SEPARATION` apart: pixel indices."""
    inner = np.flatnonzero((chi2[1:-1] <= chi2[:-2]) & (chi2[1:-1] < chi2[2:])) + 1
    kept = []
    distance = SEPARATION / SPEED_OF_LIGHT / (COARSE * LOG_STEP)
    for index in inner[np.argsort(chi2[inner])]:
        if all(abs(index - other) > distance for other in kept):
            kept.append(index)
        if len(kept) == 8:
            break
    return np.array(kept, int)


def _parabola(values):
    """Vertex offset, vertex value and second derivative of three equidistant values."""
    left, middle, right = values
    curvature = left - 2 * middle + right
    if curvature <= 0:
        return 0.0, middle, 0.0
    offset = np.clip(0.5 * (left - right) / curvature, -1, 1)
    return offset, middle - 0.125 * (left - right) ** 2 / curvature, curvature


def _refine(coarse, fine, row, chi2, shift_low, found, out, bare):
    """Best solutions of one spectrum into row `out` of `found`; the reason if there is none."""
    minima = _minima(chi2)
    if minima.size == 0:
        return "no minimum of chi-square inside the redshift range"
    n_free = np.count_nonzero(coarse.weight[row]) - N_PARAMETERS
    if n_free < 20:
        return NOT_COVERED
    scale = max(1.0, chi2[minima[0]] / n_free)
    delta = (chi2[minima] - chi2[minima[0]]) / scale
    log1z, error = np.empty(minima.size), np.empty(minima.size)
    step = COARSE * LOG_STEP
    fine_chi2, best_model = [], None
    for rank, index in enumerate(minima):
        offset, _, curvature = _parabola(chi2[index - 1 : index + 2])
        log1z[rank] = (shift_low + index + offset) * step
        variance = 2 * _error_scale(chi2[minima[0]] / n_free) / curvature if curvature > 0 else 1
        error[rank] = step * np.sqrt(variance)
        if rank < N_REFINED and delta[rank] < REFINE:
            shift, value, curvature, model = _fine_fit(fine, row, log1z[rank] / LOG_STEP)
            log1z[rank] = shift * LOG_STEP
            fine_chi2.append(value)
            fine_free = max(np.count_nonzero(fine.weight[row]) - N_PARAMETERS, 1)
            if curvature > 0:
                error[rank] = LOG_STEP * np.sqrt(2 * _error_scale(value / fine_free) / curvature)
            best_model = model if best_model is None or value <= min(fine_chi2) else best_model
    best_fine = min(fine_chi2)
    fine_free = max(np.count_nonzero(fine.weight[row]) - N_PARAMETERS, 1)
    fine_scale = max(1.0, best_fine / fine_free)
    delta[: len(fine_chi2)] = (np.array(fine_chi2) - best_fine) / fine_scale
    order = np.argsort(delta, kind="stable")[: found.redshift.shape[1]]
    n_found = order.size
    found.redshift[out, :n_found] = np.expm1(log1z[order])
    found.error[out, :n_found] = np.hypot(error, TEMPLATE_ERROR)[order] * np.exp(log1z[order])
    found.delta_chi2[out, :n_found] = delta[order]
    found.reduced_chi2[out] = best_fine / fine_free
    found.negative[out] = np.mean(best_model) <= 0
    if bare:
        _ask_the_parts(coarse, fine, row, best_model, found, out)
    suspect = found.reduced_chi2[out] > SUSPECT_CHI2 or found.delta_chi2[out, 1] < SUSPECT_DELTA
    if suspect and found.correlation[out] == 1:
        rival, redshift = quasar_chi2(fine, row)
        if best_fine - rival > QUASAR_CHI2 * fine_scale:
            found.broad_line_redshift[out] = redshift
    return ""


def _ask_the_parts(coarse, fine, row, model, found, out):
    """Widen the error of a spectrum without noise to the disagreement of its parts."""
    correlation = residual_correlation(fine.flux[row], model, fine.weight[row])
    if correlation < CORRELATED:
        return
    stretch, step = 1 + found.redshift[out, 0], COARSE * LOG_STEP
    error = step * jackknife_error(coarse, row, int(np.rint(np.log(stretch) / step)))
    found.correlation[out] = correlation
    found.error[out, 0] = max(found.error[out, 0], error * stretch)


def _error_scale(reduced_chi2):
    """Factor on squared errors: resampling makes neighbours share noise, and chi-square small."""
    return max(reduced_chi2 / RESAMPLED_CHI2, MIN_ERROR_SCALE)


def _fine_fit(fine, row, start):
    """Shift in template pixels with the lowest chi-square near `start`, its chi2 and curvature."""
    centre = int(np.rint(start))
    for _ in range(4):
        shifts = centre + np.arange(-2, 3)
        chi2, model = chi2_at_shifts(fine, row, shifts)
        lowest = int(np.argmin(chi2))
        if 0 < lowest < 4:
            break
        centre = shifts[lowest]
    lowest = min(max(lowest, 1), 3)
    offset, value, curvature = _parabola(chi2[lowest - 1 : lowest + 2])
    return shifts[lowest] + offset, value, curvature, model[lowest]
