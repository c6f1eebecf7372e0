"""From many candidates to one answer: what each rule of choosing is worth."""

import numpy as np

from photospec.candidates import best_candidate
from photospec.evaluation.spectra import pixel_errors
from photospec.evaluation.value import bootstrap
from photospec.spectrum import to_base_grid
from photospec.utils.stats import robust_std

__all__ = ["ranking_rows"]

NUMBERS = (1, 2, 4, 8, 16, 32)  # of candidates to choose from


def base_spectra(flux):
    """Logarithmic spectra on the base grid, mean removed: where distances mean something."""
    base = np.log(np.maximum(to_base_grid(flux / flux.mean(axis=-1, keepdims=True)), 1e-3))
    return base - base.mean(axis=-1, keepdims=True)


def mean_spectrum(flux):
    """Mean (n, n_wave) over candidates (n, m, n_wave) of equal mean flux."""
    return np.einsum("nmw,nm->nw", flux, 1 / flux.mean(axis=2)) / flux.shape[1]


def medoid(flux):
    """Candidate (n,) of each set (n, m, n_wave) whose mean distance from the others is least."""
    chosen = np.empty(len(flux), int)
    for i, spectra in enumerate(base_spectra(flux)):
        square = (spectra**2).sum(axis=1)
        distance2 = square[:, None] + square - 2 * spectra @ spectra.T
        chosen[i] = np.argmin(np.sqrt(np.maximum(distance2, 0)).mean(axis=1))
    return chosen


def _choose(draws, n):
    """Answers of every rule from the first n candidates: {rule: (redshift, flux)}."""
    rows = np.arange(len(draws))
    flux, redshift = draws.flux[:, :n], draws.redshift[:, :n]
    best = draws.similarity[:, :n].argmax(axis=1)
    central = medoid(flux)
    chosen = [
        best_candidate(*of_one)
        for of_one in zip(flux, draws.similarity[:, :n], redshift, draws.expected, strict=True)
    ]
    # The candidate whose redshift is the set's median: a spectrum that can be measured.
    middle = np.argsort(redshift, axis=1)[:, n // 2]
    return {
        "most similar": (redshift[rows, best], flux[rows, best]),
        "medoid spectrum": (redshift[rows, central], flux[rows, central]),
        "candidate of median redshift": (redshift[rows, middle], flux[rows, middle]),
        "as predict chooses": (redshift[rows, chosen], flux[rows, chosen]),
        "median redshift, mean spectrum": (np.median(redshift, axis=1), mean_spectrum(flux)),
    }


def ranking_rows(draws, true_redshift, true_flux):
    """Rows of a table: number of candidates, rule, redshift scatter, errors per pixel.

    Parameters
    ----------
    draws : Draws
    true_redshift : ndarray (n,)
    true_flux : ndarray (n, n_wave)

    Returns
    -------
    list of dict
    """
    rows = []
    for n in (n for n in NUMBERS if n <= draws.redshift.shape[1]):
        for rule, (redshift, flux) in _choose(draws, n).items():
            residual = (redshift - true_redshift) / (1 + true_redshift)
            error = pixel_errors(flux, true_flux, true_redshift)
            rows.append(
                {
                    "candidates": n,
                    "rule": rule,
                    "sigma_mad": bootstrap(_mad, residual),
                    "outliers (0.05)": bootstrap(lambda d: np.mean(np.abs(d) > 0.05), residual),
                    "continuum error (%)": bootstrap(np.median, 100 * error["continuum"]),
                    "line-pixel error (%)": bootstrap(np.median, 100 * error["line"]),
                }
            )
            if n == 1:
                rows[-1]["rule"] = "the only one"
                break
    return rows


def _mad(residual):
    return robust_std(residual)
