"""Redshift errors by a jackknife over parts of the spectrum, where noise is no measure.

A predicted spectrum has no noise: what its model leaves over is wrong in the same way over
many pixels, and lines in the blue and in the red may disagree. Chi-square then claims far
too little error. The delete-one jackknife compares the parts of the spectrum (Quenouille 1956;
Efron & Stein 1981, Ann. Stat. 9, 586): the redshift is fitted without each of eight parts in
turn, and the scatter is the error.
"""

import numpy as np

from photospec.analysis.redshift.scan import (
    N_COARSE,
    N_POLYNOMIALS,
    polynomial_terms,
    reduction_of_chi2,
    shifted_templates,
)

__all__ = [
    "CORRELATED",
    "N_PARTS",
    "REACHES",
    "jackknife_errors",
    "part_edges",
    "residual_correlation",
    "scatter_of_parts",
]

BLOCK = 20  # pixels, 1400 km/s: residuals are summed over so many
CORRELATED = 3.0  # residuals of noise have a correlation near one, of predicted spectra 5 to 14
N_PARTS = 8  # of the jackknife, some 500 Angstrom each
# Pixels searched to either side: the second where the first is not enough. Within fewer than
# eight, parts that disagree each stop at a minimum of their own beside the common one.
REACHES = (8, 50)


def residual_correlation(flux, model, weight):
    """Return the variance of sums over `BLOCK` pixels over what independent pixels would have.

    Parameters
    ----------
    flux, model, weight : ndarray (n_pixels,)
        Weight is the inverse variance, zero where there is no data.

    Returns
    -------
    float
        About one for noise, up to `BLOCK` where neighbours are wrong alike.
    """
    good = weight > 0
    residual = ((flux - model) * np.sqrt(weight))[good]
    n_blocks = residual.size // BLOCK
    residual = residual[: n_blocks * BLOCK].reshape(n_blocks, BLOCK)
    total = np.sum(residual**2)
    return float(np.sum(residual.sum(axis=1) ** 2) / total) if total > 0 else 1.0


def jackknife_errors(spectra, rows, shifts):
    """Return errors of shifts from leaving out parts of the spectra.

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
    return [_jackknife_error(spectra, row, shift) for row, shift in zip(rows, shifts, strict=True)]


def _jackknife_error(spectra, row, shift):
    """Return the error of a shift from leaving out parts of the spectrum.

    Parameters
    ----------
    spectra : LogSpectra
    row : int
    shift : int
        The best, in pixels of `spectra`.

    Returns
    -------
    float
        Standard error in pixels.
    """
    for reach in REACHES:
        shifts = shift + np.arange(-reach, reach + 1)
        lowest = _without_each_part(spectra, row, shifts)
        if np.all(np.abs(lowest - shift) < reach - 1):
            break
    return scatter_of_parts(lowest)


def part_edges(weight):
    """Return pixels (n_parts + 1,) where parts of equally many pixels with data begin and end."""
    pixels = np.flatnonzero(weight)
    return pixels[np.linspace(0, pixels.size - 1, N_PARTS + 1).astype(int)]


def scatter_of_parts(lowest):
    """Return the jackknife's standard error of a number found without each part (n_parts,)."""
    return float(np.sqrt((N_PARTS - 1) / N_PARTS * np.sum((lowest - lowest.mean()) ** 2)))


def _without_each_part(spectra, row, shifts):
    """Return the best shift (n_parts,) without each part of the spectrum."""
    flux, weight = spectra.flux[row], spectra.weight[row]
    design = shifted_templates(spectra, shifts, N_COARSE)
    terms = polynomial_terms(flux.size)
    edges = part_edges(weight)
    # Polynomials first, then continua, then lines: the normal equations of all of them.
    m, n_free = shifts.size, N_POLYNOMIALS + N_COARSE
    columns = np.concatenate(
        [
            np.broadcast_to(terms, (m, *terms.shape)),
            design,
            np.broadcast_to(flux, (m, 1, flux.size)),
        ],
        axis=1,
    )
    weighted = columns * weight
    parts = np.array(
        [
            weighted[..., part] @ columns[..., part].swapaxes(1, 2)
            for part in map(slice, edges[:-1], edges[1:])
        ]
    )
    rest = np.moveaxis((parts.sum(axis=0) - parts).reshape(N_PARTS * m, *parts.shape[2:]), 0, -1)
    total = rest[-1, -1].copy()
    chi2 = total - reduction_of_chi2(rest[:-1, :-1].copy(), rest[:-1, -1].copy(), n_free)
    best = []
    for one in chi2.reshape(N_PARTS, m):
        lowest = int(np.clip(np.argmin(one), 1, m - 2))
        left, middle, right = one[lowest - 1 : lowest + 2]
        curvature = left - 2 * middle + right
        offset = 0.5 * (left - right) / curvature if curvature > 0 else 0.0
        best.append(shifts[lowest] + np.clip(offset, -1, 1))
    return np.array(best)
