"""Redshifts of spectra without noise: chi-square only where it is low.

The search of `photospec.analysis.redshift` spends its time on normal equations that differ from
spectrum to spectrum by the weights of the pixels. Where the minima are is seen with all pixels
weighing the same as well; then templates and their products are the same for all spectra on a
grid of wavelengths, and are computed once. Chi-square itself, at and beside each of the lowest
minima, is that of the spectrum's own weights.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from photospec.analysis.gate import Rows
from photospec.analysis.redshift.fit import separate_minima
from photospec.analysis.redshift.measure import RedshiftFit, search_redshift
from photospec.analysis.redshift.scan import (
    N_COARSE,
    N_POLYNOMIALS,
    RIDGE,
    LogSpectra,
    chi2_scan,
    normal_equations,
    polynomial_terms,
    reduction_of_chi2,
    shifted_templates,
    solve_equations,
)
from photospec.spectrum import SpectrumArrays

__all__ = ["chi2_near_minima", "measure_redshift_bulk"]

N_MINIMA = 4  # looked at closely
LOW_SHARE = 0.2  # of all shifts, by a bound on chi2: minima are looked for among these


def measure_redshift_bulk(
    arrays: SpectrumArrays, redshift_range: tuple[float, float]
) -> RedshiftFit:
    """Measure redshifts of spectra without uncertainty: `measure_redshift` in a third of the time.

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
    return search_redshift(Rows((arrays,), False), redshift_range, scan=chi2_near_minima)


@dataclass(frozen=True)
class _Shared:
    """Normal equations at all shifts where all pixels weigh the same, free unknowns solved for.

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
    lines, inverse : ndarray (n_lines, n_lines, n_shifts), (n_shifts, n_lines, n_lines)
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
    n_free, n_shifts = N_POLYNOMIALS + N_COARSE, shifts.size
    products = []
    for shift in shifts:
        columns = np.concatenate([terms, shifted_templates(grid, [shift], N_COARSE)[0]])
        products.append(columns @ columns.T)
    products = np.array(products)
    free = products[:, :n_free, :n_free].copy()
    k = np.arange(n_free)
    free[:, k, k] *= 1 + RIDGE
    whiten = np.linalg.inv(np.linalg.cholesky(free))
    along = products[:, n_free:, :n_free] @ whiten.swapaxes(1, 2)
    lines = products[:, n_free:, n_free:] - along @ along.swapaxes(1, 2)
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
        transform, length, whiten, along @ whiten, np.moveaxis(lines, 0, -1).copy(),
        np.linalg.inv(inverse),
    )  # fmt: skip


def _even_chi2(spectra, row, shift_low, shift_high):
    """Return the chi-square (n_shifts,), less a constant, as if all pixels weighed the same."""
    flux, n_shifts = spectra.flux[row], shift_high - shift_low
    shared = _shared(spectra.factor, spectra.first, flux.size, shift_low, shift_high)
    correlation = fft.irfft(fft.rfft(flux, shared.length) * shared.transform, shared.length)
    vector = correlation[:, (np.arange(n_shifts) - (n_shifts - 1)) % shared.length]
    terms = polynomial_terms(flux.size) @ flux
    free = np.concatenate(
        [np.broadcast_to(terms[:, None], (terms.size, n_shifts)), vector[:N_COARSE]]
    ).T[..., None]
    explained = ((shared.whiten @ free)[..., 0] ** 2).sum(axis=1)
    left = vector[N_COARSE:] - (shared.project @ free)[..., 0].T
    # Lines of either sign explain more than lines that may not be negative.
    bound = explained + np.einsum("lm,lm->m", left, (shared.inverse @ left.T[..., None])[..., 0].T)
    some = np.argsort(-bound, kind="stable")[: int(LOW_SHARE * n_shifts)]
    chi2 = np.full(n_shifts, np.inf)
    chi2[some] = -explained[some]
    chi2[some] -= reduction_of_chi2(shared.lines[:, :, some].copy(), left[:, some].copy(), 0)
    return chi2


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
    n_shifts = shift_high - shift_low
    chi2 = np.full((len(spectra.flux), n_shifts), np.inf)
    terms = polynomial_terms(spectra.flux.shape[1])
    for row, (flux, weight) in enumerate(zip(spectra.flux, spectra.weight, strict=True)):
        covered = np.flatnonzero(weight)
        if covered.size < covered[-1] - covered[0] + 1:  # a gap would look like a line
            one = LogSpectra(spectra.first, spectra.factor, flux[None], weight[None])
            chi2[row] = chi2_scan(one, shift_low, shift_high)[0]
            continue
        even = _even_chi2(spectra, row, shift_low, shift_high)
        wanted = np.unique(separate_minima(even)[:N_MINIMA, None] + np.arange(-1, 2))
        while wanted.size:
            design = shifted_templates(spectra, shift_low + wanted, N_COARSE)
            equations = normal_equations(design, flux, weight, terms)
            chi2[row, wanted], _ = solve_equations(equations, N_COARSE)
            # Where chi-square still falls towards what is not known yet, go on.
            known = np.isfinite(chi2[row])
            down = known[1:-1] & (chi2[row, 1:-1] < np.minimum(chi2[row, :-2], chi2[row, 2:]))
            edge = np.flatnonzero(down & (~known[:-2] | ~known[2:])) + 1
            wanted = np.unique(edge[:, None] + np.array([-1, 1]))
            wanted = wanted[~known[wanted]]
    return chi2
