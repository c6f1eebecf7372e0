"""Do the parts of a spectrum agree on its redshift? Errors where noise is no measure.

A predicted spectrum has no noise: what its model leaves over is wrong in the same way over
many pixels, and lines in the blue and in the red may disagree. Chi-square then claims far
too much. The delete-one jackknife asks the parts of the spectrum instead (Quenouille 1956;
Efron & Stein 1981, Ann. Stat. 9, 586): the redshift is fitted without each of eight parts in
turn, and the scatter is the error.
"""

import numpy as np

from photospec.analysis.redshift.scan import (
    N_COARSE,
    normal_equations,
    polynomial_terms,
    shifted_templates,
    solve_equations,
)

__all__ = ["CORRELATED", "jackknife_error", "residual_correlation"]

BLOCK = 20  # pixels, 1400 km/s: residuals are summed over so many
CORRELATED = 3.0  # residuals of noise have a correlation near one, of predicted spectra 5 to 14
N_PARTS = 8
NEAR, FAR = 8, 50  # pixels searched to either side: the second where the first is not enough


def residual_correlation(flux, model, weight):
    """Variance of sums over `BLOCK` pixels over what independent pixels would have.

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


def jackknife_error(spectra, row, shift):
    """Error of a shift from leaving out parts of the spectrum.

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
    for reach in (NEAR, FAR):
        shifts = shift + np.arange(-reach, reach + 1)
        lowest = _without_each_part(spectra, row, shifts)
        if np.all(np.abs(lowest - shift) < reach - 1):
            break
    return float(np.sqrt((N_PARTS - 1) / N_PARTS * np.sum((lowest - lowest.mean()) ** 2)))


def _without_each_part(spectra, row, shifts):
    """Best shift (n_parts,) without each part of the spectrum."""
    flux, weight = spectra.flux[row], spectra.weight[row]
    design = shifted_templates(spectra, shifts, N_COARSE)
    polynomials = polynomial_terms(flux.size)
    pixels = np.flatnonzero(weight)
    edges = pixels[np.linspace(0, pixels.size - 1, N_PARTS + 1).astype(int)]
    parts = [
        normal_equations(design[..., part], flux[part], weight[part], polynomials[:, part])
        for part in map(slice, edges[:-1], edges[1:])
    ]
    total = [sum(terms) for terms in zip(*parts, strict=True)]
    best = []
    for part in parts:
        rest = [all_of_it - term for all_of_it, term in zip(total, part, strict=True)]
        chi2, _ = solve_equations(rest, N_COARSE)
        lowest = int(np.clip(np.argmin(chi2), 1, shifts.size - 2))
        left, middle, right = chi2[lowest - 1 : lowest + 2]
        curvature = left - 2 * middle + right
        offset = 0.5 * (left - right) / curvature if curvature > 0 else 0.0
        best.append(shifts[lowest] + np.clip(offset, -1, 1))
    return np.array(best)
