"""Linear algebra of the redshift search: chi-square of the best template mix at every redshift.

On an even grid in log wavelength a redshift is a shift by whole pixels, so every entry
of the normal equations is a correlation between weights and products of templates, and
Fourier transforms give it at all redshifts at once (Tonry & Davis 1979 made the same
use of it; Glazebrook et al. 1998 for the least-squares form).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft, sparse

from photospec.analysis.redshift.templates import redshift_templates, with_line_width
from photospec.spectrum.wavelengths import pixel_edges

__all__ = [
    "LogSpectra",
    "binned_templates",
    "chi2_at_shifts",
    "chi2_scan",
    "line_parts",
    "log_overlaps",
    "normal_equations",
    "polynomial_terms",
    "reduction_of_chi2",
    "resample_log",
    "shifted_templates",
    "solve_equations",
    "templates_on_pixels",
    "window",
]

N_POLYNOMIALS = 4  # observed-frame Legendre terms: calibration, dust, what templates lack
N_COARSE = 5  # principal spectra in the coarse scan; the fine fit takes all
SOME_SHIFTS = 512  # so many at a time stay in the processor's cache
RIDGE = 1e-9  # keeps nearly degenerate principal spectra solvable


@dataclass(frozen=True)
class LogSpectra:
    """Spectra on the logarithmic pixel lattice of the templates.

    Attributes
    ----------
    first : int
        Template pixel with the wavelength of the first pixel here (at redshift zero).
    factor : int
        Width of a pixel in pixels of the template grid.
    flux : ndarray (n, n_pixels)
    weight : ndarray (n, n_pixels)
        Inverse variance; zero where there is no data.
    """

    first: int
    factor: int
    flux: np.ndarray
    weight: np.ndarray


@lru_cache(maxsize=8)
def _overlaps(wavelength_bytes, factor):
    """Return sparse matrix (n_pixels, n_wave): share of each input pixel inside each log pixel."""
    wavelength = np.frombuffer(wavelength_bytes)
    templates = redshift_templates()
    edges = pixel_edges(np.log(wavelength))
    origin = templates.log_wavelength[0] - 0.5 * templates.step
    edges = (edges - origin) / (templates.step * factor)
    low, high = np.maximum(edges[:-1], 0), np.maximum(edges[1:], 0)
    first, last = int(low[0]), int(np.ceil(high[-1]))
    rows, columns, shares = [], [], []
    for offset in range(int(np.ceil((high - low).max())) + 1):
        pixel = np.floor(low).astype(int) + offset
        share = np.minimum(high, pixel + 1) - np.maximum(low, pixel)
        inside = share > 0
        rows.append(pixel[inside] - first)
        columns.append(np.flatnonzero(inside))
        shares.append(share[inside] / (high - low)[inside])
    matrix = sparse.csr_matrix(
        (np.concatenate(shares), (np.concatenate(rows), np.concatenate(columns))),
        shape=(last - first, wavelength.size),
    )
    return first, matrix


def log_overlaps(wavelength, factor):
    """Return the first log pixel, and the sparse matrix (n_pixels, n_wave) of shares of pixels in
    them.
    """
    return _overlaps(np.ascontiguousarray(wavelength, float).tobytes(), factor)


def resample_log(wavelength, flux, inverse_variance, factor):
    """Average spectra, inverse-variance weighted, into log pixels of `factor` template pixels.

    Parameters
    ----------
    wavelength : ndarray (n_wave,)
        Increasing, Angstrom, vacuum.
    flux, inverse_variance : ndarray (n, n_wave)
    factor : int

    Returns
    -------
    LogSpectra
    """
    first, matrix = log_overlaps(wavelength, factor)
    # Row by row in memory: sums over pixels then do not depend on how many spectra there are.
    weight, weighted = (
        np.ascontiguousarray((matrix @ values.T).T)
        for values in (inverse_variance, inverse_variance * flux)
    )
    mean = np.divide(weighted, weight, out=np.zeros_like(weighted), where=weight > 0)
    return LogSpectra(first, factor, mean, weight)


@lru_cache(maxsize=8)
def binned_templates(factor, n_continuum=None, line_width=None):
    """Return templates (n_templates, n_pixels) averaged over `factor` pixels.

    With `n_continuum`, only the first so many principal spectra and the lines.
    """
    templates = redshift_templates() if line_width is None else with_line_width(line_width)
    flux = templates.flux
    if n_continuum is not None:
        flux = np.concatenate([flux[:n_continuum], flux[templates.n_continuum :]])
    n_pixels = flux.shape[1] // factor
    return flux[:, : n_pixels * factor].reshape(len(flux), n_pixels, factor).mean(axis=2)


def window(values, start, stop):
    """Return the columns start:stop of `values`, zero where they leave the template grid."""
    low, high = max(start, 0), min(stop, values.shape[1])
    window = np.zeros((values.shape[0], stop - start))
    if high > low:
        window[:, low - start : high - start] = values[:, low:high]
    return window


@lru_cache(maxsize=8)
def _template_transforms(factor, first, n_pixels, shift_low, shift_high):
    """Return conjugate transforms of the templates and of their products, and the length used."""
    start = first - (shift_high - 1)
    templates = binned_templates(factor, N_COARSE)
    templates = window(templates, start, first + n_pixels - shift_low)
    length = fft.next_fast_len(templates.shape[1], real=True)
    upper = np.triu_indices(len(templates))
    products = templates[upper[0]] * templates[upper[1]]
    transform = np.conj(fft.rfft(np.concatenate([templates, products]), length))
    return transform, length, upper


@lru_cache(maxsize=16)
def polynomial_terms(n_pixels):
    """Return Legendre polynomials (n_polynomials, n_pixels) in the observed frame."""
    return np.polynomial.legendre.legvander(np.linspace(-1, 1, n_pixels), N_POLYNOMIALS - 1).T


def _eliminate_polynomials(matrix, vector, cross, poly_matrix, poly_vector):
    """Form the Schur complement: normal equations of templates alone, polynomials solved for."""
    poly_matrix = poly_matrix + RIDGE * np.trace(poly_matrix) * np.eye(len(poly_matrix))
    solved = np.linalg.solve(poly_matrix, np.column_stack([poly_vector, np.eye(len(poly_vector))]))
    inverse = solved[:, 1:]
    gain = cross @ inverse
    return (
        matrix - gain @ np.swapaxes(cross, -1, -2),
        vector - gain @ poly_vector,
        poly_vector @ solved[:, 0],
    )


def _solve_bounded(matrix, vector, n_free):
    """Return the reduction of chi-square (m,) and amplitudes (m, k), those from `n_free` on >= 0.

    Unknowns that come out negative are removed and the rest is solved again, three times at
    most: the active-set step of non-negative least squares, done for all m at once.
    """
    k = vector.shape[-1]
    diagonal = np.einsum("mkk->mk", matrix)
    active = diagonal > 1e-10 * np.max(diagonal, axis=-1, keepdims=True)
    identity = np.eye(k)
    amplitude = np.zeros_like(vector)
    todo = np.arange(len(vector))
    for _ in range(4):
        keep = active[todo]
        reduced = matrix[todo] * (keep[:, :, None] & keep[:, None, :])
        reduced += identity * np.where(keep, RIDGE * diagonal[todo], 1.0)[:, None, :]
        amplitude[todo] = np.linalg.solve(reduced, (vector[todo] * keep)[..., None])[..., 0]
        negative = amplitude[todo] < 0
        negative[:, :n_free] = False
        again = negative.any(axis=1)
        if not again.any():
            break
        active[todo] &= ~negative
        todo = todo[again]
    amplitude[:, n_free:] = np.maximum(amplitude[:, n_free:], 0)
    return np.einsum("mk,mk->m", amplitude, vector), amplitude


def reduction_of_chi2(matrix, vector, n_free):
    """Return by how much the best mix lowers chi-square (m,): `_solve_bounded` without the
    amplitudes.

    Many small systems at once, by elimination with the systems on the last axis: each step is
    a few operations on long arrays. Free unknowns are eliminated first; those that may not be
    negative are then few.

    Parameters
    ----------
    matrix : ndarray (k, k, m)
        Overwritten.
    vector : ndarray (k, m)
        Overwritten.
    n_free : int
        Unknowns from this one on are not negative.
    """
    k = len(vector)
    diagonal = matrix[np.arange(k), np.arange(k)].copy()
    active = diagonal > 1e-10 * diagonal.max(axis=0)
    explained = np.zeros(vector.shape[1])
    for p in range(n_free):
        pivot = np.where(active[p], (1 + RIDGE) * matrix[p, p], np.inf)
        row = matrix[p, p + 1 :] / pivot
        explained += vector[p] ** 2 / pivot
        vector[p + 1 :] -= row * vector[p]
        matrix[p + 1 :, p + 1 :] -= row[:, None] * matrix[p, None, p + 1 :]
    matrix, vector, active = matrix[n_free:, n_free:], vector[n_free:], active[n_free:]
    ridge = RIDGE * diagonal[n_free:]
    todo = np.arange(vector.shape[1])
    lowered = np.zeros(vector.shape[1])
    for _ in range(4):
        keep = active[:, todo]
        amplitude = _solve_masked(matrix[:, :, todo], vector[:, todo], ridge[:, todo], keep)
        lowered[todo] = np.einsum("km,km->m", np.maximum(amplitude, 0), vector[:, todo])
        negative = amplitude < 0
        again = negative.any(axis=0)
        if not again.any():
            break
        active[:, todo] &= ~negative
        todo = todo[again]
    return explained + lowered


def _solve_masked(matrix, vector, ridge, keep):
    """Solve systems (k, k, m) for the unknowns to keep (k, m); zero for the others."""
    k = len(vector)
    matrix = matrix * (keep[:, None] & keep)
    matrix[np.arange(k), np.arange(k)] += np.where(keep, ridge, 1.0)
    vector = vector * keep
    for p in range(k):
        row = matrix[p, p + 1 :] / matrix[p, p]
        vector[p + 1 :] -= row * vector[p]
        matrix[p + 1 :, p + 1 :] -= row[:, None] * matrix[p, None, p + 1 :]
    for p in range(k)[::-1]:
        vector[p] -= np.einsum("km,km->m", matrix[p, p + 1 :], vector[p + 1 :])
        vector[p] /= matrix[p, p]
    return vector


def chi2_scan(spectra, shift_low, shift_high):
    """Return the chi-square at all whole-pixel shifts.

    Parameters
    ----------
    spectra : LogSpectra
        Of n spectra.
    shift_low, shift_high : int
        First shift, and one past the last, in pixels of `spectra`.

    Returns
    -------
    chi2 : ndarray (n, n_shifts)
    """
    n, n_pixels = spectra.flux.shape
    transform, length, upper = _template_transforms(
        spectra.factor, spectra.first, n_pixels, shift_low, shift_high
    )
    k, n_shifts = len(transform) - len(upper[0]), shift_high - shift_low
    polynomials = polynomial_terms(n_pixels)
    chi2 = np.empty((n, n_shifts))
    for i, (flux, weight) in enumerate(zip(spectra.flux, spectra.weight, strict=True)):
        inputs = np.concatenate([[weight, weight * flux], weight * polynomials])
        inputs = fft.rfft(inputs, length)
        pairs = np.concatenate(
            [
                inputs[0] * transform[k:],
                inputs[1] * transform[:k],
                (inputs[2:, None] * transform[:k]).reshape(-1, transform.shape[1]),
            ]
        )
        correlation = fft.irfft(pairs, length, overwrite_x=True)
        poly_matrix = (polynomials * weight) @ polynomials.T
        poly_matrix += RIDGE * np.trace(poly_matrix) * np.eye(N_POLYNOMIALS)
        lower = np.linalg.cholesky(poly_matrix)
        poly_vector = np.linalg.solve(lower, polynomials @ (weight * flux))
        for first in range(0, n_shifts, SOME_SHIFTS):
            # Template pixel = data pixel - shift + (shift_high - 1): lags run backwards.
            lag = np.arange(first, min(first + SOME_SHIFTS, n_shifts)) - (n_shifts - 1)
            some = correlation[:, lag % length]
            vector = some[len(upper[0]) : len(upper[0]) + k]
            # In orthonormal polynomials their part comes off as a sum of products.
            cross = some[len(upper[0]) + k :].reshape(N_POLYNOMIALS, -1)
            cross = np.linalg.solve(lower, cross).reshape(N_POLYNOMIALS, k, -1)
            for term, value in zip(cross, poly_vector, strict=True):
                vector -= value * term
                some[: len(upper[0])] -= term[upper[0]] * term[upper[1]]
            matrix = np.empty((k, k, lag.size))
            matrix[upper] = matrix[upper[::-1]] = some[: len(upper[0])]
            chi2[i, first : first + SOME_SHIFTS] = -reduction_of_chi2(matrix, vector, N_COARSE)
        chi2[i] += np.sum(weight * flux**2) - poly_vector @ poly_vector
    return chi2


def normal_equations(design, flux, weight, polynomials):
    """Return everything that chi-square depends on, as sums over pixels: parts of a spectrum add
    up.

    Parameters
    ----------
    design : ndarray (m, k, n_pixels)
        Templates at m shifts.
    flux, weight : ndarray (n_pixels,)
    polynomials : ndarray (p, n_pixels)

    Returns
    -------
    tuple of ndarray
        For `solve_equations`.
    """
    weighted = design * weight
    return (
        weighted @ np.swapaxes(design, 1, 2),
        weighted @ flux,
        weighted @ polynomials.T,
        (polynomials * weight) @ polynomials.T,
        polynomials @ (weight * flux),
        np.sum(weight * flux**2),
    )


def solve_equations(equations, n_free):
    """Return the chi-square (m,) and amplitudes (m, k) of the best mix at every shift."""
    matrix, vector, cross, poly_matrix, poly_vector, total = equations
    matrix, vector, explained = _eliminate_polynomials(
        matrix, vector, cross, poly_matrix, poly_vector
    )
    reduction, amplitude = _solve_bounded(matrix, vector, n_free)
    return total - explained - reduction, amplitude


def shifted_templates(spectra, shifts, n_continuum=None, line_width=None):
    """Return templates (m, k, n_pixels) on the pixels of `spectra` at m shifts."""
    templates = binned_templates(spectra.factor, n_continuum, line_width)
    n_pixels = spectra.flux.shape[1]
    starts = spectra.first - np.asarray(shifts)
    low = starts.min()
    wide = window(templates, low, starts.max() + n_pixels)
    return np.stack([wide[:, start : start + n_pixels] for start in starts - low])


@lru_cache(maxsize=8)
def _template_integrals(line_width):
    """Return the rest wavelength of the borders of template pixels, and integrals of templates up
    to them.
    """
    templates = with_line_width(line_width)
    half = 0.5 * templates.step
    borders = np.exp(
        np.append(templates.log_wavelength - half, templates.log_wavelength[-1] + half)
    )
    integral = np.cumsum(templates.flux * np.diff(borders), axis=1)
    return borders, np.pad(integral, ((0, 0), (1, 0)))


def templates_on_pixels(wavelength, log1z, line_width):
    """Return templates (k, n_wave) at a redshift, averaged over the pixels of a spectrum.

    Parameters
    ----------
    wavelength : ndarray (n_wave,)
        Observed, vacuum, Angstrom.
    log1z : float
        ln(1 + z).
    line_width : float
        km/s.
    """
    edges = pixel_edges(wavelength) * np.exp(-log1z)
    borders, integral = _template_integrals(line_width)
    at = np.array([np.interp(edges, borders, one) for one in integral])
    return np.diff(at, axis=1) / np.diff(edges)


def line_parts(spectra, shift):
    """Tell which pixels (n_groups, n_pixels) each group of lines reaches at a shift: 1 % of its
    peak.
    """
    n_lines = redshift_templates().flux.shape[0] - redshift_templates().n_continuum
    lines = shifted_templates(spectra, [shift])[0, -n_lines:]
    return lines > 0.01


def chi2_at_shifts(spectra, row, shifts, n_continuum=None, with_lines=False, line_width=None):
    """Return the chi-square and best model of one spectrum at a few shifts, directly.

    Parameters
    ----------
    spectra : LogSpectra
    row : int
    shifts : ndarray (m,) of int
        In pixels of `spectra`.
    n_continuum : int, optional
        Principal spectra used; all by default.
    with_lines : bool
        Give the part of the model that is lines, too.
    line_width : float, optional
        Of the lines, km/s, instead of that of the templates.

    Returns
    -------
    chi2 : ndarray (m,)
    model : ndarray (m, n_pixels)
    lines : ndarray (m, n_pixels)
        Only `with_lines`.
    """
    n_free = n_continuum or redshift_templates().n_continuum
    polynomials = polynomial_terms(spectra.flux.shape[1])
    design = shifted_templates(spectra, shifts, n_continuum, line_width)
    equations = normal_equations(design, spectra.flux[row], spectra.weight[row], polynomials)
    chi2, amplitude = solve_equations(equations, n_free)
    _, _, cross, poly_matrix, poly_vector, _ = equations
    ridge = RIDGE * np.trace(poly_matrix) * np.eye(N_POLYNOMIALS)
    rest = poly_vector - np.einsum("mkp,mk->mp", cross, amplitude)
    coefficients = np.linalg.solve(poly_matrix + ridge, rest.T).T
    model = (amplitude[:, None] @ design)[:, 0] + coefficients @ polynomials
    if with_lines:
        return chi2, model, (amplitude[:, None, n_free:] @ design[:, n_free:])[:, 0]
    return chi2, model
