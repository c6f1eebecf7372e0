"""Redshifts of spectra without noise: chi-square only where it is low.

The search of `photospec.analysis.redshift` spends its time on normal equations that differ from
spectrum to spectrum by the weights of the pixels. Where the minima are is seen with all pixels
weighing the same as well; then templates and their products are the same for all spectra on a
grid of wavelengths, and are computed once. Chi-square itself, at and beside each of the lowest
minima, is that of the spectrum's own weights; there, and for the jackknife, a shift moves the
weights along products of templates that are computed once.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy import fft

from photospec.analysis.gate import Rows
from photospec.analysis.redshift.errors import N_PARTS, REACHES, part_edges, scatter_of_parts
from photospec.analysis.redshift.fit import separate_minima
from photospec.analysis.redshift.measure import RedshiftFit, search_redshift
from photospec.analysis.redshift.scan import (
    N_COARSE,
    N_POLYNOMIALS,
    RIDGE,
    LogSpectra,
    binned_templates,
    chi2_scan,
    polynomial_terms,
    reduction_of_chi2,
    shifted_templates,
)
from photospec.spectrum import SpectrumArrays

__all__ = ["chi2_near_minima", "jackknife_errors_bulk", "measure_redshift_bulk"]

N_MINIMA, SIDE = 4, 2  # looked at closely, and so many shifts to either side
LOW_SHARE = 0.1  # of all shifts, by a bound on chi2: minima are looked for among these
BLOCK = 16  # spectra at a time: arrays over shifts stay near the processor
# Without any part the best shift of nearly every spectrum is within one: looked for there first.
NEAR_REACHES = (3, *REACHES)
N_FREE = N_POLYNOMIALS + N_COARSE


def measure_redshift_bulk(
    arrays: SpectrumArrays, redshift_range: tuple[float, float]
) -> RedshiftFit:
    """Measure redshifts of spectra without uncertainty: `measure_redshift` in a fraction of the
    time.

    Parameters
    ----------
    arrays : SpectrumArrays
        n spectra on one grid of wavelengths.
    redshift_range : tuple of float

    Returns
    -------
    RedshiftFit
        Of n rows. A row does not depend on the other spectra.
    """
    return search_redshift(
        Rows((arrays,), False),
        redshift_range,
        scan=chi2_near_minima,
        jackknife=jackknife_errors_bulk,
    )


@dataclass(frozen=True)
class _Shared:
    """Normal equations at all shifts where all pixels weigh the same, free unknowns solved for.

    Attributes
    ----------
    transform : ndarray
        Conjugate transforms of the templates.
    length : int
        Of the transforms.
    whiten : ndarray (n_free, n_free, n_shifts)
        Polynomials and principal spectra times this, a lower triangle, are orthonormal.
    project : ndarray (n_lines, n_free, n_shifts)
        What they take off the lines.
    lines, inverse : ndarray (n_lines, n_lines, n_shifts)
        Products of what is left of the lines, and their inverse.
    """

    transform: np.ndarray
    length: int
    whiten: np.ndarray
    project: np.ndarray
    lines: np.ndarray
    inverse: np.ndarray


@lru_cache(maxsize=4)
def _shared(factor, first, n_pixels, shift_low, shift_high):
    shifts = np.arange(shift_low, shift_high)
    terms = polynomial_terms(n_pixels)
    grid = LogSpectra(first, factor, np.zeros((1, n_pixels)), np.zeros((1, n_pixels)))
    n_shifts = shifts.size
    products = []
    for shift in shifts:
        columns = np.concatenate([terms, shifted_templates(grid, [shift], N_COARSE)[0]])
        products.append(columns @ columns.T)
    products = np.array(products)
    free = products[:, :N_FREE, :N_FREE].copy()
    k = np.arange(N_FREE)
    free[:, k, k] *= 1 + RIDGE
    whiten = np.linalg.inv(np.linalg.cholesky(free))
    along = products[:, N_FREE:, :N_FREE] @ whiten.swapaxes(1, 2)
    lines = products[:, N_FREE:, N_FREE:] - along @ along.swapaxes(1, 2)
    k = np.arange(lines.shape[1])
    ridge = np.where(lines[:, k, k] > 1e-10 * lines[:, k, k].max(), 1e-6 * lines[:, k, k], 1e30)
    inverse = lines.copy()
    inverse[:, k, k] += ridge
    # Template pixel = data pixel - shift: all shifts from one transform of the templates.
    templates = shifted_templates(
        LogSpectra(first - shift_high + 1, factor, np.zeros((1, n_pixels + n_shifts - 1)), None),
        [0], N_COARSE,
    )[0]  # fmt: skip
    length = fft.next_fast_len(templates.shape[1], real=True)
    transform = np.conj(fft.rfft(templates, length))
    return _Shared(
        transform, length,
        *(np.moveaxis(one, 0, -1).copy() for one in (
            whiten, along @ whiten, lines, np.linalg.inv(inverse))),
    )  # fmt: skip


def _even_chi2(spectra, rows, shift_low, shift_high):
    """Return the chi-square (n, n_shifts), less a constant, as if all pixels weighed the same.

    Of some rows. All sums are of whole arrays, one term after the other: none depends on what
    other spectra there are.
    """
    flux, n_shifts = spectra.flux[rows], shift_high - shift_low
    shared = _shared(spectra.factor, spectra.first, flux.shape[1], shift_low, shift_high)
    lag = (np.arange(n_shifts) - (n_shifts - 1)) % shared.length
    vector = np.empty((len(shared.transform), len(rows), n_shifts))
    for row, one in enumerate(flux):
        correlation = fft.irfft(fft.rfft(one, shared.length) * shared.transform, shared.length)
        vector[:, row] = correlation[:, lag]
    terms = np.array([polynomial_terms(flux.shape[1]) @ one for one in flux]).T[..., None]
    free, left = [*terms, *vector[:N_COARSE]], vector[N_COARSE:]
    explained, bound = np.zeros((2, len(rows), n_shifts))
    for k in range(N_FREE):
        explained += sum(shared.whiten[k, j] * free[j] for j in range(k + 1)) ** 2
        left -= shared.project[:, k, None] * free[k]
    # Lines of either sign explain more than lines that may not be negative.
    for k in range(len(left)):
        along = 0.5 * shared.inverse[k, k] * left[k]
        bound += left[k] * (along + sum(shared.inverse[k, j] * left[j] for j in range(k)))
    bound = explained + 2 * bound
    some = np.argsort(-bound, axis=1, kind="stable")[:, : int(LOW_SHARE * n_shifts)]
    row = np.arange(len(rows))[:, None]
    reduction = reduction_of_chi2(
        shared.lines[:, :, some.ravel()], left[:, row, some].reshape(len(left), -1), 0
    )
    chi2 = np.full((len(rows), n_shifts), np.inf)
    chi2[row, some] = -explained[row, some] - reduction.reshape(some.shape)
    return chi2


@lru_cache(maxsize=4)
def _products(factor):
    """Return templates (n_templates) and their products with each other, (n_pixels, n_columns), and
    where these products belong, (2, n_products).
    """
    templates = binned_templates(factor, N_COARSE)
    upper = np.triu_indices(len(templates))
    columns = np.concatenate([templates, templates[upper[0]] * templates[upper[1]]])
    return np.ascontiguousarray(columns.T), np.array(upper)


@dataclass(frozen=True)
class _Weighed:
    """One spectrum with what is the same at all shifts.

    Attributes
    ----------
    columns : ndarray (n_template_pixels, n_columns)
        Templates and their products.
    upper : ndarray of int (2, n_products)
        Where the products belong.
    first : int
        Pixel of the first pixel of the spectrum.
    others, weighted : ndarray (N_POLYNOMIALS + 1, n_pixels)
        Polynomials and flux, and the same times the weights.
    """

    columns: np.ndarray
    upper: np.ndarray
    first: int
    others: np.ndarray
    weighted: np.ndarray

    @classmethod
    def of(cls, spectra, row):
        flux = spectra.flux[row]
        others = np.concatenate([polynomial_terms(flux.size), flux[None]])
        columns, upper = _products(spectra.factor)
        return cls(columns, upper, spectra.first, others, others * spectra.weight[row])


def _sums(one, shifts, edges):
    """Return products (n_parts, n_shifts, k, k) of polynomials, templates and flux of one spectrum.

    Parameters
    ----------
    one : _Weighed
    shifts : ndarray of int
        Consecutive, rising.
    edges : ndarray of int (n_parts + 1,)
        Pixels where parts of the spectrum begin, and where the last one ends.
    """
    n_templates, m, n_parts = one.upper[0, -1] + 1, shifts.size, len(edges) - 1
    n_others = len(one.others)
    paired = np.empty((n_parts, m, one.columns.shape[1]))
    crossed = np.empty((n_parts, n_others - 1, m, n_templates))
    own = np.empty((n_parts, 1, n_others, n_others))
    for part, (low, high) in enumerate(pairwise(edges)):
        # Row i of a moving window: the weights that meet the template pixels at shift i. The
        # first polynomial is one.
        padded = np.zeros((n_others, high - low + 2 * (m - 1)))
        padded[:, m - 1 : m - 1 + high - low] = one.weighted[:, low:high]
        step, next_one = padded.strides
        moving = np.ndarray(
            (n_others, m, high - low + m - 1), buffer=padded, strides=(step, next_one, next_one)
        )
        start = one.first + low - shifts[-1]
        meeting = _rows(one.columns, start, start + high - low + m - 1)
        np.matmul(moving[0], meeting, out=paired[part])
        np.matmul(moving[1:], meeting[:, :n_templates], out=crossed[part])
        np.matmul(one.weighted[:, low:high], one.others[:, low:high].T, out=own[part, 0])
    sums = np.empty((n_parts, m, n_others + n_templates, n_others + n_templates))
    # Polynomials first, then templates, then flux: that is where `p` and `t` are.
    p, t = slice(0, N_POLYNOMIALS), slice(N_POLYNOMIALS, -1)
    upper = one.upper + N_POLYNOMIALS
    sums[:, :, upper[0], upper[1]] = sums[:, :, upper[1], upper[0]] = paired[..., n_templates:]
    sums[:, :, 0, t] = sums[:, :, t, 0] = paired[..., :n_templates]
    sums[:, :, 1:N_POLYNOMIALS, t] = crossed[:, :-1].swapaxes(1, 2)
    sums[:, :, t, 1:N_POLYNOMIALS] = crossed[:, :-1].transpose(0, 2, 3, 1)
    sums[:, :, -1, t] = sums[:, :, t, -1] = crossed[:, -1]
    sums[:, :, p, p], sums[:, :, -1, p] = own[..., :-1, :-1], own[..., -1, :-1]
    sums[:, :, p, -1], sums[:, :, -1, -1] = own[..., :-1, -1], own[..., -1, -1]
    return sums


def _rows(values, start, stop):
    """Return rows start:stop of `values`, zero where they leave it."""
    if start >= 0 and stop <= len(values):
        return values[start:stop]
    found = np.zeros((stop - start, values.shape[1]))
    low, high = max(start, 0), min(stop, len(values))
    if high > low:
        found[low - start : high - start] = values[low:high]
    return found


class _Bounded:
    """Chi-square of the best mixes behind some products (m, k, k) of columns, data last.

    The first `N_FREE` columns may have either sign, the others none below zero: those that come
    out negative are left out, three times at most, as in `solve_equations`.

    Attributes
    ----------
    least : ndarray (m,)
        Chi-square where lines have either sign: that with the limit is not lower.
    """

    def __init__(self, products):
        k = np.arange(products.shape[-1])
        diagonal = products[:, k, k]
        templates = diagonal[:, N_POLYNOMIALS:-1]
        seen = np.ones(diagonal.shape, bool)
        seen[:, N_POLYNOMIALS:-1] = templates > 1e-10 * templates.max(axis=1, keepdims=True)
        scaled = products * (seen[:, None] & seen[:, :, None])
        scaled[:, k, k] += np.where(seen, RIDGE * diagonal, 1.0)
        triangle = np.linalg.cholesky(scaled)
        self.least = triangle[:, -1, -1] ** 2 - RIDGE * diagonal[:, -1]
        self.seen = seen[:, N_FREE:-1]
        self.lines, self.data = triangle[:, N_FREE:-1, N_FREE:-1], triangle[:, -1, N_FREE:-1]

    def chi2(self, which):
        """Chi-square of some of the mixes."""
        lines, data = self.lines[which], self.data[which]
        matrix = lines @ lines.swapaxes(1, 2)
        vector = (lines @ data[..., None])[..., 0]
        keep, k = self.seen[which], np.arange(lines.shape[1])
        explained = np.zeros(len(data))
        todo = np.arange(len(data))
        for _ in range(4):
            some = keep[todo]
            reduced = matrix[todo] * (some[:, None] & some[:, :, None])
            reduced[:, k, k] += ~some
            amplitude = np.linalg.solve(reduced, (vector[todo] * some)[..., None])[..., 0]
            explained[todo] = (amplitude.clip(0) * vector[todo]).sum(axis=1)
            negative = amplitude < 0
            again = negative.any(axis=1)
            if not again.any():
                break
            keep[todo] &= ~negative
            todo = todo[again]
        return self.least[which] + (data**2).sum(axis=1) - explained


def chi2_near_minima(spectra, shift_low, shift_high):
    """Return chi-square where it is low, infinite elsewhere: `chi2_scan` in a fraction of the time.

    Parameters
    ----------
    spectra : LogSpectra
        Of n spectra.
    shift_low, shift_high : int

    Returns
    -------
    chi2 : ndarray (n, n_shifts)
    """
    chi2 = np.full((len(spectra.flux), shift_high - shift_low), np.inf)
    whole = []
    for row, (flux, weight) in enumerate(zip(spectra.flux, spectra.weight, strict=True)):
        covered = np.flatnonzero(weight)
        if covered.size < covered[-1] - covered[0] + 1:  # a gap would look like a line
            one = LogSpectra(spectra.first, spectra.factor, flux[None], weight[None])
            chi2[row] = chi2_scan(one, shift_low, shift_high)[0]
        else:
            whole.append(row)
    for start in range(0, len(whole), BLOCK):
        rows = whole[start : start + BLOCK]
        even = _even_chi2(spectra, rows, shift_low, shift_high)
        minima = {row: separate_minima(one)[:N_MINIMA] for row, one in zip(rows, even, strict=True)}
        _look_closely(spectra, minima, shift_low, chi2)
    return chi2


def _look_closely(spectra, minima, shift_low, chi2):
    """Fill in the chi-square (n, n_shifts) of some rows at minima and beside them.

    The minima are a dictionary: of each row.
    """
    last, n_pixels = chi2.shape[1] - 1, spectra.flux.shape[1]
    wanted = [
        (row, np.arange(max(at - SIDE, 0), min(at + SIDE, last) + 1))
        for row, found in minima.items()
        for at in found
    ]
    weighed = {row: _Weighed.of(spectra, row) for row in minima}
    while wanted:
        sums = [_sums(weighed[row], shift_low + some, (0, n_pixels))[0] for row, some in wanted]
        found = _Bounded(np.concatenate(sums)).chi2(slice(None))
        ends = np.cumsum([some.size for _, some in wanted])[:-1]
        for (row, some), one in zip(wanted, np.split(found, ends), strict=True):
            chi2[row, some] = one
        # Where chi-square still falls towards what is not known yet, go on.
        wanted = []
        for row in minima:
            known = np.isfinite(chi2[row])
            down = chi2[row, 1:-1] < np.minimum(chi2[row, :-2], chi2[row, 2:])
            edge = np.flatnonzero(down & (~known[:-2] | ~known[2:])) + 1
            for at in edge:
                wanted += [(row, np.array([k])) for k in (at - 1, at + 1) if not known[k]]


def jackknife_errors_bulk(spectra, rows, shifts):
    """Return errors of shifts from leaving out parts: `jackknife_errors` in less time.

    Parameters
    ----------
    spectra : LogSpectra
    rows : sequence of int (n,)
    shifts : sequence of int (n,)
        The best of each row, in pixels of `spectra`.

    Returns
    -------
    list of float
        Standard errors in pixels.
    """
    errors = [None] * len(rows)
    todo = list(range(len(rows)))
    for reach in NEAR_REACHES:
        again = []
        for start in range(0, len(todo), BLOCK):
            block = todo[start : start + BLOCK]
            near = [shifts[i] + np.arange(-reach, reach + 1) for i in block]
            rest = []
            for i, some in zip(block, near, strict=True):
                row = rows[i]
                parts = _sums(_Weighed.of(spectra, row), some, part_edges(spectra.weight[row]))
                rest.append(parts.sum(axis=0) - parts)
            lowest = _lowest(np.concatenate(rest)) - reach
            for i, one in zip(block, lowest.reshape(-1, N_PARTS), strict=True):
                errors[i] = scatter_of_parts(one)
                if not np.all(np.abs(one) < reach - 1):
                    again.append(i)
        todo = again
    return errors


def _lowest(products):
    """Return where chi-square is lowest among shifts, between pixels: of products (n, n_shifts, k,
    k).
    """
    n, m = products.shape[:2]
    bounded = _Bounded(products.reshape(-1, *products.shape[2:]))
    least = bounded.least.reshape(n, m)
    chi2 = np.full((n, m), np.inf)
    beside = np.array([-1, 0, 1])
    wanted = np.zeros((n, m), bool)
    wanted[np.arange(n), least.argmin(axis=1)] = True
    while wanted.any():
        chi2[wanted] = bounded.chi2(np.flatnonzero(wanted))
        # What may still be lower, and the neighbours of what is lowest.
        wanted = least < chi2.min(axis=1, keepdims=True)
        at = chi2.argmin(axis=1).clip(1, m - 2)
        np.put_along_axis(wanted, at[:, None] + beside, True, axis=1)
        wanted &= np.isinf(chi2)
    left, middle, right = np.take_along_axis(chi2, at[:, None] + beside, axis=1).T
    curvature = left - 2 * middle + right
    offset = np.where(curvature > 0, 0.5 * (left - right), 0.0)
    return at + (offset / np.where(curvature > 0, curvature, 1.0)).clip(-1, 1)
