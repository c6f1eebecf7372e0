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

from photospec.analysis.redshift.templates import redshift_templates

__all__ = [
    "LogSpectra",
    "chi2_at_shifts",
    "chi2_near_minima",
    "chi2_scan",
    "normal_equations",
    "polynomial_terms",
    "reduction_of_chi2",
    "resample_log",
    "shifted_templates",
    "solve_equations",
    "window",
]

N_POLYNOMIALS = 4  # observed-frame Legendre terms: calibration, dust, what templates lack
N_COARSE = 5  # principal spectra in the coarse scan; the fine fit takes all
SOME_SHIFTS = 512  # so many at a time stay in the processor's cache
N_MINIMA = 6  # looked at closely by `chi2_near_minima`; five solutions are kept
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
    """Sparse matrix (n_pixels, n_wave): share of each input pixel inside each log pixel."""
    wavelength = np.frombuffer(wavelength_bytes)
    templates = redshift_templates()
    log_wavelength = np.log(wavelength)
    middle = 0.5 * (log_wavelength[1:] + log_wavelength[:-1])
    edges = np.concatenate([[2 * log_wavelength[0] - middle[0]], middle])
    edges = np.append(edges, 2 * log_wavelength[-1] - middle[-1])
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


def resample_log(wavelength, flux, ivar, factor):
    """Average spectra, inverse-variance weighted, into log pixels of `factor` template pixels.

    Parameters
    ----------
    wavelength : ndarray (n_wave,)
        Increasing, Angstrom, vacuum.
    flux, ivar : ndarray (n, n_wave)
    factor : int

    Returns
    -------
    LogSpectra
    """
    first, matrix = _overlaps(np.ascontiguousarray(wavelength, float).tobytes(), factor)
    weight = (matrix @ ivar.T).T
    weighted = (matrix @ (ivar * flux).T).T
    mean = np.divide(weighted, weight, out=np.zeros_like(weighted), where=weight > 0)
    return LogSpectra(first, factor, mean, weight)


@lru_cache(maxsize=4)
def _binned_templates(factor, n_continuum=None):
    """Templates (n_templates, n_pixels) averaged over `factor` pixels.

    With `n_continuum`, only the first so many principal spectra and the lines.
    """
    templates = redshift_templates()
    flux = templates.flux
    if n_continuum is not None:
        flux = np.concatenate([flux[:n_continuum], flux[templates.n_continuum :]])
    n_pixels = flux.shape[1] // factor
    return flux[:, : n_pixels * factor].reshape(len(flux), n_pixels, factor).mean(axis=2)


def window(values, start, stop):
    """Columns start:stop of `values`, zero where they leave the template grid."""
    low, high = max(start, 0), min(stop, values.shape[1])
    window = np.zeros((values.shape[0], stop - start))
    if high > low:
        window[:, low - start : high - start] = values[:, low:high]
    return window


@lru_cache(maxsize=8)
def _template_transforms(factor, first, n_pixels, shift_low, shift_high):
    """Conjugate transforms of the templates and of their products, and the length used."""
    start = first - (shift_high - 1)
    templates = _binned_templates(factor, N_COARSE)
    templates = window(templates, start, first + n_pixels - shift_low)
    length = fft.next_fast_len(templates.shape[1], real=True)
    upper = np.triu_indices(len(templates))
    products = templates[upper[0]] * templates[upper[1]]
    transform = np.conj(fft.rfft(np.concatenate([templates, products]), length))
    return transform, length, upper


@lru_cache(maxsize=16)
def polynomial_terms(n_pixels):
    """Legendre polynomials (n_polynomials, n_pixels) in the observed frame."""
    return np.polynomial.legendre.legvander(np.linspace(-1, 1, n_pixels), N_POLYNOMIALS - 1).T


def _eliminate_polynomials(matrix, vector, cross, poly_matrix, poly_vector):
    """Schur complement: normal equations of the templates alone, polynomials solved for."""
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
    """Reduction of chi-square (m,) and amplitudes (m, k), those from `n_free` on >= 0.

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


def reduction_of_chi2(matrix, vector, n_free, n_passes=4):
    """By how much the best mix lowers chi-square (m,): `_solve_bounded` without the amplitudes.

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
    n_passes : int
        How often unknowns that came out negative are removed.
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
    for _ in range(n_passes):
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
    """Solutions (k, m) of systems (k, k, m) for the unknowns to keep; zero for the others."""
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
    """Chi-square at all whole-pixel shifts.

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


@dataclass(frozen=True)
class _EvenSystem:
    """Normal equations of all shifts where all pixels weigh the same, free unknowns solved for.

    Attributes
    ----------
    transform : ndarray
        Conjugate transforms of the templates.
    length : int
        Of the transforms.
    whiten : ndarray (n_shifts, n_free, n_free)
        Polynomials and principal spectra times this are orthonormal.
    project : ndarray (n_shifts, n_lines, n_free)
        What they take off the lines.
    lines : ndarray (n_lines, n_lines, n_shifts)
        Products of what is left of the lines.
    """

    transform: np.ndarray
    length: int
    whiten: np.ndarray
    project: np.ndarray
    lines: np.ndarray


@lru_cache(maxsize=4)
def _even_system(factor, first, n_pixels, shift_low, shift_high):
    shifts = np.arange(shift_low, shift_high)
    terms = polynomial_terms(n_pixels)
    n_free, k = N_POLYNOMIALS + N_COARSE, len(_binned_templates(factor, N_COARSE))
    n_lines = k - N_COARSE
    whiten = np.empty((shifts.size, n_free, n_free))
    project = np.empty((shifts.size, n_lines, n_free))
    lines = np.empty((n_lines, n_lines, shifts.size))
    grid = LogSpectra(first, factor, np.zeros((1, n_pixels)), np.zeros((1, n_pixels)))
    for i, shift in enumerate(shifts):
        columns = np.concatenate([terms, shifted_templates(grid, [shift], N_COARSE)[0]])
        products = columns @ columns.T
        free = products[:n_free, :n_free]
        free[np.diag_indices(n_free)] *= 1 + RIDGE
        whiten[i] = np.linalg.inv(np.linalg.cholesky(free))
        along = products[n_free:, :n_free] @ whiten[i].T
        project[i] = along @ whiten[i]
        lines[:, :, i] = products[n_free:, n_free:] - along @ along.T
    transform, length, _ = _template_transforms(factor, first, n_pixels, shift_low, shift_high)
    return _EvenSystem(transform[:k], length, whiten, project, lines)


def _even_chi2(spectra, row, shift_low, shift_high):
    """Chi-square (n_shifts,), less a constant, as if all pixels weighed the same."""
    flux, n_shifts = spectra.flux[row], shift_high - shift_low
    even = _even_system(spectra.factor, spectra.first, flux.size, shift_low, shift_high)
    correlation = fft.irfft(fft.rfft(flux, even.length) * even.transform, even.length)
    vector = correlation[:, (np.arange(n_shifts) - (n_shifts - 1)) % even.length]
    terms = polynomial_terms(flux.size) @ flux
    free = np.concatenate(
        [np.broadcast_to(terms[:, None], (terms.size, n_shifts)), vector[:N_COARSE]]
    ).T[..., None]
    explained = ((even.whiten @ free)[..., 0] ** 2).sum(axis=1)
    left = vector[N_COARSE:] - (even.project @ free)[..., 0].T
    return -explained - reduction_of_chi2(even.lines, left, 0, n_passes=2)


def chi2_near_minima(spectra, shift_low, shift_high):
    """Chi-square where it is low, infinite elsewhere: `chi2_scan` in a third of the time.

    Where the minima are is seen with all pixels weighing the same: most of the work is then the
    same for all spectra. Chi-square itself is that of the spectrum's own weights.

    Parameters
    ----------
    spectra : LogSpectra
        Of n spectra.
    shift_low, shift_high : int

    Returns
    -------
    chi2 : ndarray (n, n_shifts)
    """
    n_shifts = shift_high - shift_low
    chi2 = np.full((len(spectra.flux), n_shifts), np.inf)
    for row, weight in enumerate(spectra.weight):
        covered = np.flatnonzero(weight)
        if covered.size < covered[-1] - covered[0] + 1:  # a gap would look like a line
            one = LogSpectra(spectra.first, spectra.factor, spectra.flux[[row]], weight[None])
            chi2[row] = chi2_scan(one, shift_low, shift_high)[0]
            continue
        even = _even_chi2(spectra, row, shift_low, shift_high)
        inner = np.flatnonzero((even[1:-1] <= even[:-2]) & (even[1:-1] < even[2:])) + 1
        best = inner[np.argsort(even[inner], kind="stable")[:N_MINIMA]]
        wanted = np.unique(best[:, None] + np.arange(-1, 2))
        while wanted.size:
            equations = normal_equations(
                shifted_templates(spectra, shift_low + wanted, N_COARSE),
                spectra.flux[row], weight, polynomial_terms(weight.size),
            )  # fmt: skip
            chi2[row, wanted], _ = solve_equations(equations, N_COARSE)
            # Where chi-square still falls towards what is not known yet, go on.
            known = np.isfinite(chi2[row])
            down = known[1:-1] & (chi2[row, 1:-1] < np.minimum(chi2[row, :-2], chi2[row, 2:]))
            edge = np.flatnonzero(down & (~known[:-2] | ~known[2:])) + 1
            wanted = np.unique(edge[:, None] + np.array([-1, 1]))
            wanted = wanted[~known[wanted]]
    return chi2


def normal_equations(design, flux, weight, polynomials):
    """Everything that chi-square depends on, as sums over pixels: parts of a spectrum add up.

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
    """Chi-square (m,) and amplitudes (m, k) of the best mix at every shift."""
    matrix, vector, cross, poly_matrix, poly_vector, total = equations
    matrix, vector, explained = _eliminate_polynomials(
        matrix, vector, cross, poly_matrix, poly_vector
    )
    reduction, amplitude = _solve_bounded(matrix, vector, n_free)
    return total - explained - reduction, amplitude


def shifted_templates(spectra, shifts, n_continuum=None):
    """Templates (m, k, n_pixels) on the pixels of `spectra` at m shifts."""
    templates, n_pixels = _binned_templates(spectra.factor, n_continuum), spectra.flux.shape[1]
    starts = [spectra.first - shift for shift in shifts]
    return np.stack([window(templates, start, start + n_pixels) for start in starts])


def chi2_at_shifts(spectra, row, shifts, n_continuum=None):
    """Chi-square and best model of one spectrum at a few shifts, directly.

    Parameters
    ----------
    spectra : LogSpectra
    row : int
    shifts : ndarray (m,) of int
        In pixels of `spectra`.
    n_continuum : int, optional
        Principal spectra used; all by default.

    Returns
    -------
    chi2 : ndarray (m,)
    model : ndarray (m, n_pixels)
    """
    n_free = n_continuum or redshift_templates().n_continuum
    polynomials = polynomial_terms(spectra.flux.shape[1])
    design = shifted_templates(spectra, shifts, n_continuum)
    equations = normal_equations(design, spectra.flux[row], spectra.weight[row], polynomials)
    chi2, amplitude = solve_equations(equations, n_free)
    _, _, cross, poly_matrix, poly_vector, _ = equations
    ridge = RIDGE * np.trace(poly_matrix) * np.eye(N_POLYNOMIALS)
    rest = poly_vector - np.einsum("mkp,mk->mp", cross, amplitude)
    coefficients = np.linalg.solve(poly_matrix + ridge, rest.T).T
    model = np.einsum("mk,mkp->mp", amplitude, design) + coefficients @ polynomials
    return chi2, model
