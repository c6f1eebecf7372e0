"""From many candidates to one answer: what each rule of choosing is worth."""

import numpy as np

from photospec.candidates import best_candidate
from photospec.evaluation.value import bootstrap
from photospec.spectrum import to_base_grid
from photospec.utils.stats import robust_std

__all__ = ["choice_names", "choices", "ranking_rows"]

NUMBERS = (1, 2, 4, 8, 16, 32)  # of candidates to choose from
RULES = (
    "most similar",
    "medoid spectrum",
    "candidate of median redshift",
    "as predict chooses",
    "median redshift, mean spectrum",
)


def base_spectra(flux):
    """Return logarithmic spectra on the base grid, mean removed: where distances mean something."""
    flux = np.nan_to_num(flux)  # bad samples of observed spectra
    base = np.log(np.maximum(to_base_grid(flux / flux.mean(axis=-1, keepdims=True)), 1e-3))
    return base - base.mean(axis=-1, keepdims=True)


def mean_spectrum(flux):
    """Return the mean (n, n_wave) over candidates (n, m, n_wave) of equal mean flux."""
    return np.einsum("nmw,nm->nw", flux, 1 / flux.mean(axis=2)) / flux.shape[1]


def medoid(flux):
    """Return the candidate (n,) of each set (n, m, n_wave) whose mean distance from the others is
    least.
    """
    chosen = np.empty(len(flux), int)
    for i, spectra in enumerate(base_spectra(flux)):
        square = (spectra**2).sum(axis=1)
        distance2 = square[:, None] + square - 2 * spectra @ spectra.T
        chosen[i] = np.argmin(np.sqrt(np.maximum(distance2, 0)).mean(axis=1))
    return chosen


def _choose(draws, n):
    """Return answers of every rule from the first n candidates: {rule: (redshift, flux)}."""
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
    answers = (
        (redshift[rows, best], flux[rows, best]),
        (redshift[rows, central], flux[rows, central]),
        (redshift[rows, middle], flux[rows, middle]),
        (redshift[rows, chosen], flux[rows, chosen]),
        (np.median(redshift, axis=1), mean_spectrum(flux)),
    )
    return dict(zip(RULES, answers, strict=True))


def choices(draws):
    """Return answers of every rule from the first 1, 2, 4 ... candidates.

    Parameters
    ----------
    draws : Draws

    Returns
    -------
    dict of (ndarray (n,), ndarray (n, n_wave))
        (Number of candidates, rule) -> redshift and flux; one candidate leaves no choice.
    """
    made = {}
    for n in (n for n in NUMBERS if n <= draws.redshift.shape[1]):
        for rule, answer in _choose(draws, n).items():
            made[n, "the only one" if n == 1 else rule] = answer
            if n == 1:
                break
    return made


def choice_names(n_candidates):
    """Return keys of `choices`, in order, where so many candidates were drawn."""
    names = []
    for n in (n for n in NUMBERS if n <= n_candidates):
        names += [(1, "the only one")] if n == 1 else [(n, rule) for rule in RULES]
    return names


def ranking_rows(values, n_candidates, true_redshift):
    """Return rows of a table: number of candidates, rule, redshift scatter, errors per pixel.

    Parameters
    ----------
    values : ndarray (n, n_choices, 3)
        Redshift, error of continuum and of line pixels, in the order of `choice_names`.
    n_candidates : int
    true_redshift : ndarray (n,)

    Returns
    -------
    list of dict
    """
    rows = []
    for i, (n, rule) in enumerate(choice_names(n_candidates)):
        redshift, continuum, line = np.asarray(values[:, i], float).T
        good = np.isfinite(redshift)
        residual = ((redshift - true_redshift) / (1 + true_redshift))[good]
        rows.append(
            {
                "candidates": n,
                "rule": rule,
                "sigma_mad": bootstrap(_mad, residual),
                "outliers (0.05)": bootstrap(lambda d: np.mean(np.abs(d) > 0.05), residual),
                "continuum error (%)": bootstrap(np.nanmedian, 100 * continuum[good]),
                "line-pixel error (%)": bootstrap(np.nanmedian, 100 * line[good]),
            }
        )
    return rows


def _mad(residual):
    return robust_std(residual)
