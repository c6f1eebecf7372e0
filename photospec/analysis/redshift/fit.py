"""From chi-square over redshift to the best few solutions of each spectrum."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter1d

from photospec.analysis.gate import N_PIXELS_MIN, good_pixels, take
from photospec.analysis.redshift.errors import (
    CORRELATED,
    jackknife_errors,
    residual_correlation,
)
from photospec.analysis.redshift.outliers import LINE_SHAPE, narrow_features, unexplained
from photospec.analysis.redshift.quasars import quasar_chi2
from photospec.analysis.redshift.scan import (
    chi2_at_shifts,
    chi2_scan,
    line_parts,
    log_overlaps,
    normal_equations,
    polynomial_terms,
    resample_log,
    solve_equations,
    templates_on_pixels,
)
from photospec.analysis.redshift.templates import (
    BROADENING,
    LINE_GROUPS,
    LOG_STEP,
    TEMPLATE_RANGE,
    redshift_templates,
)
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["Solutions", "find_solutions", "separate_minima"]

COARSE = 3  # template pixels per pixel of the coarse scan: 207 km/s
MODEL_ERROR = 0.01  # what the templates miss, as a share of the smooth flux
TEMPLATE_ERROR = 2e-6  # of 1 + z: scatter on simulated galaxies at high signal-to-noise
# The same where stars decide and not lines: ten principal spectra hold a mixture of populations of
# 1 to 10 Gyr no better, so that it is found up to 5 km/s off, at any signal-to-noise.
STARS_ERROR = 1e-5
OII_ERROR = 1e-5  # of 1 + z where all lines are [O II]: its ratio and width are known no better
RESAMPLED_CHI2, MIN_ERROR_SCALE = 0.72, 0.6  # so that errors cover on simulated galaxies
SEPARATION = 1500.0  # km/s between two solutions that count as different
REFINE = 60.0  # solutions within this scaled delta chi2 of the best get a fine fit
MARGIN = 0.12  # of ln(1 + z), searched beyond the range asked for, but not far below zero
N_REFINED = 3  # solutions that get a fine fit, the best of the scan first
COARSE_PIXEL = 1.5  # template pixels, 104 km/s: wider ones get a last fit on themselves
# Pixels wider than two standard deviations of the lines do not sample them (Nyquist): the redshift
# then rests on the shape of the lines, known to a part of the pixel. At 8 and 10 Angstrom and a
# signal-to-noise of 100 redshifts scatter by 10 and 8 km/s where noise alone makes 4.
UNSAMPLED_PIXEL, UNSAMPLED_ERROR = 2 * BROADENING / SPEED_OF_LIGHT, 0.02
_OII = [i for i, group in enumerate(LINE_GROUPS) if group.startswith("oii_")]
# [O II] of such a signal-to-noise may decide the redshift: the width of lines is fitted then.
# Widths in km/s, the instrument's included.
POLISHED_SIGNAL, LINE_WIDTHS, LINE_WIDTH_RANGE = 15.0, (110.0, 165.0, 230.0), (70.0, 400.0)
N_RIVALS = 3  # redshifts of each scan that outliers are judged at
N_PARAMETERS = 20  # of the model: continuum 10, lines 7, polynomials 4, in round numbers
SURE_DELTA = 300.0  # of delta chi2: no doubt about which redshift is best
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
    goodness : ndarray (n,)
        Reduced chi-square that forgives lines another width than the templates have.
    oii_signal, oii_share : ndarray (n,)
        Signal-to-noise of [O II], and its share of that of all lines, squared.
    template_error : ndarray (n,)
        Of ln(1 + z): what the templates do not know.
    """

    redshift: np.ndarray
    error: np.ndarray
    delta_chi2: np.ndarray
    reduced_chi2: np.ndarray
    negative: np.ndarray
    broad_line_redshift: np.ndarray
    correlation: np.ndarray
    goodness: np.ndarray
    oii_signal: np.ndarray
    oii_share: np.ndarray
    template_error: np.ndarray

    @classmethod
    def empty(cls, n, n_solutions):
        """Make solutions in which nothing is found yet."""
        nothing = [np.full((n, n_solutions), np.nan) for _ in range(3)]
        unknown = [np.full(n, np.nan) for _ in range(6)]
        return cls(*nothing, unknown[0], np.zeros(n, bool), unknown[1], np.ones(n), *unknown[2:])

    def weight(self):
        """Return the probability of each solution (n, n_solutions): Laplace's integral over its
        peak.
        """
        with np.errstate(over="ignore"):
            delta = self.delta_chi2 / self.correlation[:, None]
            weight = np.nan_to_num(np.exp(-0.5 * delta) * self.error)
        total = weight.sum(axis=1, keepdims=True)
        return np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)

    def spread(self):
        """Return the root mean square distance from the best (n,), over all solutions and their
        errors.
        """
        square = self.error**2 + (self.redshift - self.redshift[:, :1]) ** 2
        return np.sqrt(np.nansum(self.weight() * square, axis=1))


def _inverse_variance(arrays):
    """Return the inverse variance (n, n_wave), zero on bad pixels; from the scatter if there are no
    errors.
    """
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


def find_solutions(
    block, usable, redshift_range, found, indices, scan=chi2_scan, jackknife=jackknife_errors
):
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
        Chi-square of LogSpectra over a range of shifts, as `chi2_scan`; infinite where it is not
        worth knowing.
    jackknife : callable
        Errors of shifts by parts of the spectra, as `jackknife_errors`.

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
        wavelength, flux, inverse_variance = _scaled(take(block, batch), inside)
        coverage[batch] = np.mean(inverse_variance > 0, axis=1)
        shifts = _shift_range(redshift_range)
        coarse, fine = (
            _log_spectra(wavelength, flux, inverse_variance, factor) for factor in (COARSE, 1)
        )
        chi2 = scan(coarse, *shifts)
        # Without errors, as in predicted spectra, lines that disagree are no cosmic rays.
        clean = (
            inverse_variance
            if bare
            else _without_outliers(wavelength, flux, inverse_variance, fine, chi2, shifts)
        )
        changed = np.any(clean != inverse_variance, axis=1)
        if changed.any():
            again = [
                _log_spectra(wavelength, flux[changed], clean[changed], f) for f in (COARSE, 1)
            ]
            for spectra, mended in zip((coarse, fine), again, strict=True):
                spectra.flux[changed], spectra.weight[changed] = mended.flux, mended.weight
            chi2[changed] = chi2_scan(again[0], *shifts)
        pixel = np.median(np.diff(np.log(wavelength)))
        for i, row in enumerate(rows[batch]):
            out = indices[row]
            reasons.append(_refine(coarse, fine, i, chi2[i], shifts[0], found, out, bare))
            if reasons[-1]:
                continue
            if found.correlation[out] > 1:
                continue  # the error is that of parts that disagree
            if pixel > COARSE_PIXEL * LOG_STEP or found.oii_signal[out] > POLISHED_SIGNAL:
                _polish(_on_pixels(wavelength, flux[i], clean[i], found, out), found, out, pixel)
        _inflate_errors(
            coarse,
            np.flatnonzero(found.correlation[indices[rows[batch]]] > 1),
            found,
            indices[rows[batch]],
            jackknife,
        )
    return reasons, coverage


def _log_spectra(wavelength, flux, inverse_variance, factor):
    return _with_model_error(resample_log(wavelength, flux, inverse_variance, factor))


def _without_outliers(wavelength, flux, inverse_variance, fine, chi2, shifts):
    """Set the inverse variance to zero on cosmic rays and hot pixels."""
    doubtful = narrow_features(flux, inverse_variance)
    rows = np.flatnonzero(doubtful.any(axis=1))
    if not rows.size:
        return inverse_variance
    bare = np.where(doubtful, 0.0, inverse_variance)[rows]
    without = chi2_scan(_log_spectra(wavelength, flux[rows], bare, COARSE), *shifts)
    _, overlaps = log_overlaps(wavelength, 1)
    clean = inverse_variance.copy()
    for row, other in zip(rows, without, strict=True):
        minima = [separate_minima(scan)[:N_RIVALS] for scan in (chi2[row], other)]
        tried = np.unique(np.concatenate(minima))
        if not tried.size:
            continue
        at = [(shifts[0] + index + _vertex(chi2[row], index)) * COARSE for index in tried]
        touched = (overlaps @ doubtful[row].astype(float)) > 0
        left = unexplained(fine, row, touched, np.rint(at))
        # A pixel is out where any of the log pixels that it touches is.
        clean[row, doubtful[row] & ((overlaps.T @ left.astype(float)) > 0)] = 0.0
    return clean


def _vertex(chi2, index):
    return _parabola(chi2[index - 1 : index + 2])[0]


def _scaled(arrays, inside):
    """Return the wavelength, flux and inverse variance `inside`, scaled so that squares stay in
    range.
    """
    flux = np.where(good_pixels(arrays), arrays.flux, 0.0)
    scale = np.abs(flux).max(axis=1, keepdims=True)
    sigma = None if arrays.sigma is None else arrays.sigma / scale
    arrays = replace(arrays, flux=arrays.flux / scale, sigma=sigma)
    # Row by row in memory: sums over pixels then do not depend on how many spectra there are.
    inverse_variance, flux = (
        np.ascontiguousarray(values[:, inside])
        for values in (_inverse_variance(arrays), arrays.flux)
    )
    flux = np.where(inverse_variance > 0, flux, 0.0)
    level = np.sqrt(np.mean(flux**2, axis=1, keepdims=True))
    level = np.where(level > 0, level, 1.0)
    return arrays.wavelength[inside], flux / level, inverse_variance * level**2


def _shift_range(redshift_range):
    """Return coarse shifts that span the range, with margins to see what lies outside."""
    low, high = np.log1p(redshift_range) + [-MARGIN, MARGIN]
    low = max(low, min(np.log1p(redshift_range[0]), 0) - 0.01)
    step = COARSE * LOG_STEP
    return int(np.floor(low / step)), int(np.ceil(high / step)) + 1


def separate_minima(chi2):
    """Return interior local minima, lowest first, more than `SEPARATION` apart: pixel indices."""
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
    """Return the vertex offset, vertex value and second derivative of three equidistant values."""
    left, middle, right = values
    curvature = left - 2 * middle + right
    if curvature <= 0:
        return 0.0, middle, 0.0
    offset = np.clip(0.5 * (left - right) / curvature, -1, 1)
    return offset, middle - 0.125 * (left - right) ** 2 / curvature, curvature


def _refine(coarse, fine, row, chi2, shift_low, found, out, bare):
    """Refine the best solutions of one spectrum into row `out` of `found`; the reason if there is
    none.
    """
    minima = separate_minima(chi2)
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
            shift, value, curvature, *model = _fine_fit(fine, row, log1z[rank] / LOG_STEP)
            log1z[rank] = shift * LOG_STEP
            fine_chi2.append(value)
            fine_free = max(np.count_nonzero(fine.weight[row]) - N_PARAMETERS, 1)
            if curvature > 0:
                error[rank] = LOG_STEP * np.sqrt(2 * _error_scale(value / fine_free) / curvature)
            if best_model is None or value <= min(fine_chi2):
                best_model = (*model, curvature)
    best_fine = min(fine_chi2)
    fine_free = max(np.count_nonzero(fine.weight[row]) - N_PARAMETERS, 1)
    fine_scale = max(1.0, best_fine / fine_free)
    delta[: len(fine_chi2)] = (np.array(fine_chi2) - best_fine) / fine_scale
    order = np.argsort(delta, kind="stable")[: found.redshift.shape[1]]
    n_found = order.size
    found.redshift[out, :n_found] = np.expm1(log1z[order])
    found.delta_chi2[out, :n_found] = delta[order]
    found.reduced_chi2[out] = best_fine / fine_free
    best_model, lines, curvature = best_model
    weight = fine.weight[row]
    found.template_error[out] = _template_error(lines, weight, curvature)
    error = np.hypot(error, found.template_error[out])
    found.error[out, :n_found] = error[order] * np.exp(log1z[order])
    variance = np.divide(1.0, weight, out=np.ones(best_model.size), where=weight > 0)
    square = (fine.flux[row] - best_model) ** 2 / (variance + (LINE_SHAPE * lines) ** 2)
    found.goodness[out] = np.sum(square * (weight > 0)) / fine_free
    oii = line_parts(fine, int(np.rint(log1z[order[0]] / LOG_STEP)))[_OII].any(axis=0)
    signal = weight * lines**2
    of_oii = np.sum(signal[oii])
    found.oii_signal[out] = np.sqrt(of_oii)
    found.oii_share[out] = of_oii / max(np.sum(signal), 1e-30)
    found.negative[out] = np.mean(best_model) <= 0
    if bare:
        # The scale of the noise is a guess: only where there is a rival is a poor fit a warning.
        rival = found.delta_chi2[out, 1] < SURE_DELTA
        found.goodness[out] = found.reduced_chi2[out] if rival else np.nan
        correlation = residual_correlation(fine.flux[row], best_model, weight)
        if correlation >= CORRELATED:
            found.correlation[out] = correlation
    suspect = found.reduced_chi2[out] > SUSPECT_CHI2 or found.delta_chi2[out, 1] < SUSPECT_DELTA
    if suspect and found.correlation[out] == 1:
        rival, redshift = quasar_chi2(fine, row)
        if best_fine - rival > QUASAR_CHI2 * fine_scale:
            found.broad_line_redshift[out] = redshift
    return ""


def _template_error(lines, weight, curvature):
    """Return the error of ln(1 + z) by the templates, by how much of the redshift is the lines'.

    Parameters
    ----------
    lines, weight : ndarray (n_pixels,)
        Lines of the best model, and the inverse variance of the spectrum.
    curvature : float
        Second derivative of chi-square by the shift in pixels: twice the information on it.
    """
    of_lines = 2 * np.sum(weight * np.gradient(lines) ** 2)
    share = min(of_lines / curvature, 1.0) if curvature > 0 else 0.0
    return np.hypot(TEMPLATE_ERROR, STARS_ERROR * (1 - share))


def _inflate_errors(coarse, correlated, found, out, jackknife):
    """Widen errors of spectra without noise to the disagreement of their parts.

    Of those rows of `coarse` that are `correlated`; `out` are the rows of `found` of all.
    """
    out, step = out[correlated], COARSE * LOG_STEP
    stretch = 1 + found.redshift[out, 0]
    shifts = np.rint(np.log(stretch) / step).astype(int)
    error = step * np.array(jackknife(coarse, correlated, shifts)) * stretch
    found.error[out, 0] = np.maximum(found.error[out, 0], error)


def _polish(fit, found, out, pixel):
    """Fit the best redshift and its error once more, with lines of the width that they have.

    A doublet whose ratio is free and whose width is wrong makes up for it by another ratio,
    and the redshift pays: 20 km/s for [O II] of 130 km/s with templates of 165.

    Parameters
    ----------
    fit : callable
        Of a line width in km/s and steps of ln(1 + z); gives ln(1 + z), its error, and chi-square.
    found : Solutions
    out : int
    pixel : float
        Of the spectrum, in ln(wavelength).
    """
    steps, widths = (LOG_STEP, LOG_STEP / 3), list(LINE_WIDTHS)
    chi2 = [fit(width, steps)[2] for width in widths]
    for end, further in ((0, LINE_WIDTH_RANGE[0]), (-1, LINE_WIDTH_RANGE[1])):
        if np.argmin(chi2) == end % len(chi2):
            widths.insert(end % len(chi2) + (end < 0), further)
            chi2.insert(end % len(chi2) + (end < 0), fit(further, steps)[2])
    lowest = int(np.clip(np.argmin(chi2), 1, len(chi2) - 2))
    square = np.array(widths[lowest - 1 : lowest + 2]) ** 2
    bend, slope, _ = np.polyfit(square - square[1], chi2[lowest - 1 : lowest + 2], 2)
    best = square[1] - 0.5 * slope / bend if bend > 0 else square[np.argmin(chi2) - lowest + 1]
    best = np.sqrt(np.clip(best, LINE_WIDTH_RANGE[0] ** 2, LINE_WIDTH_RANGE[1] ** 2))
    width = float(5 * np.rint(best / 5))  # few templates are kept
    # Where a doublet's ratio reaches its limit chi-square has a kink: small steps at the end.
    log1z, error, _ = fit(width, (LOG_STEP, LOG_STEP / 8))
    if np.isfinite(error):
        found.redshift[out, 0] = np.expm1(log1z)
        model = np.hypot(found.template_error[out], OII_ERROR * found.oii_share[out])
        if pixel > UNSAMPLED_PIXEL:
            model = np.hypot(model, UNSAMPLED_ERROR * pixel)
        found.error[out, 0] = np.hypot(error, model) * np.exp(log1z)


def _on_pixels(wavelength, flux, inverse_variance, found, out):
    """Fit for `_polish` with templates integrated over the pixels of the spectrum.

    Pixels much wider than those of the templates do not sample lines; what `resample_log` makes
    of them has steps that shift a line by a part of a pixel.
    """
    good = inverse_variance > 0
    width = max(int(225 * LOG_STEP / np.median(np.diff(np.log(wavelength)))), 3)
    level = uniform_filter1d(np.where(good, flux, 0.0), width) / np.maximum(
        uniform_filter1d(good.astype(float), width), 1e-3
    )
    variance = np.divide(1.0, inverse_variance, out=np.ones_like(inverse_variance), where=good)
    weight = good / (variance + (MODEL_ERROR * level) ** 2)
    polynomials = polynomial_terms(flux.size)
    n_continuum = redshift_templates().n_continuum
    start = np.log1p(found.redshift[out, 0])

    def chi2_near(centre, line_width, step):
        """Return the lowest chi-square (position, value, second derivative) and whether it is
        inside.
        """
        trials = centre + step * np.arange(-2, 3)
        design = [templates_on_pixels(wavelength, trial, line_width) for trial in trials]
        equations = normal_equations(np.stack(design), flux, weight, polynomials)
        chi2, _ = solve_equations(equations, n_continuum)
        lowest = int(np.clip(np.argmin(chi2), 1, 3))
        offset, value, curvature = _parabola(chi2[lowest - 1 : lowest + 2])
        return trials[lowest] + offset * step, value, curvature, 0 < np.argmin(chi2) < 4

    def fit(line_width, steps):
        centre = start
        for step in steps:
            for _ in range(4):
                centre, value, curvature, inside = chi2_near(centre, line_width, step)
                if inside:
                    break
        scale = max(value / max(good.sum() - N_PARAMETERS, 1), 1.0)
        error = step * np.sqrt(2 * scale / curvature) if curvature > 0 else np.nan
        return centre, error, value

    return fit


def _error_scale(reduced_chi2):
    """Return the factor on squared errors: resampling makes neighbours share noise, and chi-square
    small.
    """
    return max(reduced_chi2 / RESAMPLED_CHI2, MIN_ERROR_SCALE)


def _fine_fit(fine, row, start):
    """Return the shift in template pixels with the lowest chi-square near `start`, its chi2, its
    curvature, and model and lines there.
    """
    centre = int(np.rint(start))
    for _ in range(8):
        shifts = centre + np.arange(-1, 2)
        chi2, model, lines = chi2_at_shifts(fine, row, shifts, with_lines=True)
        lowest = int(np.argmin(chi2))
        if lowest == 1:
            break
        centre = shifts[lowest]
    offset, value, curvature = _parabola(chi2)
    return shifts[1] + offset, value, curvature, model[1], lines[1]
