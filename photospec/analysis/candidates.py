"""What the candidates of one galaxy say together: values of one, errors from all.

The error of a measurement on one predicted spectrum says how well that spectrum, which has no
noise, can be measured, not how well the galaxy is known. The candidates differ as much as the
image leaves open: their spread is the larger part of the error.
"""

from collections.abc import Sequence

import numpy as np
from astropy.table import MaskedColumn, QTable
from numpy.typing import ArrayLike
from specutils import Spectrum

from photospec.analysis.bpt import agn_height
from photospec.analysis.columns import describe
from photospec.analysis.properties import masked_column, measure_properties
from photospec.errors import InputError

__all__ = ["combine_candidates", "measure_candidates", "said_of_agn"]

FEWEST = 3  # with fewer values there is no spread to speak of
PERCENTILES = (16, 84)  # the central 68 %, as one sigma of a Gaussian


def measure_candidates(
    spectra: Spectrum | list[Spectrum],
    best_index: int | Sequence[int],
    **options: object,
) -> QTable:
    """Measure the candidates of one galaxy, or of several, with the errors of the prediction.

    Parameters
    ----------
    spectra : Spectrum, or list of Spectrum
        Flux (n_candidates, n_wave) of one galaxy (``CandidateSpectra.spectra``), or a list of
        such with equally many candidates.
    best_index : int, or sequence of int
        Which candidate stands for all (``CandidateSpectra.best_index``); one per galaxy.
    **options
        Of `measure_properties`.

    Returns
    -------
    astropy.table.QTable
        One row per galaxy: see `combine_candidates`.

    Raises
    ------
    InputError
        As `measure_properties` and `combine_candidates`.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.analysis import load_templates, measure_candidates
    >>> from photospec.spectrum import from_arrays
    >>> templates = load_templates("bc03")
    >>> wavelength = np.arange(3800.0, 9000.0)
    >>> rest = wavelength / np.array([[1.09], [1.10], [1.12]])
    >>> flux = np.interp(rest, templates.wavelength, templates.spectra[:, -5, 4])
    >>> spectra = from_arrays(wavelength, flux, sigma=np.full(flux.shape, 0.02))
    >>> table = measure_candidates(spectra, best_index=1, redshift=[0.09, 0.10, 0.12])
    >>> print(len(table), table["n_candidates"][0])
    1 3
    """
    table = measure_properties(spectra, **options)
    return combine_candidates(table, best_index, **said_of_agn(spectra, np.size(best_index)))


def said_of_agn(spectra, n_galaxies):
    """Return what predicted spectra say of active nuclei in ``meta``: options of
    `combine_candidates`.

    Parameters
    ----------
    spectra : Spectrum, or list of Spectrum
        As of `measure_candidates`, or all candidates of n galaxies in one.
    n_galaxies : int

    Returns
    -------
    dict
        ``agn_threshold``, ``agn_score`` and ``agn_probability``; None for what is not said.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from photospec.analysis.candidates import said_of_agn
    >>> spectra = [SimpleNamespace(meta={"agn_threshold": 0.2, "agn_score": s}) for s in (1.5, -3)]
    >>> said_of_agn(spectra, 2)["agn_score"]
    array([ 1.5, -3. ])
    """
    spectra = spectra if isinstance(spectra, list) else [spectra]
    metas = [getattr(one, "meta", None) or {} for one in spectra]
    found = {"agn_threshold": metas[0].get("agn_threshold") if metas else None}
    for name in ("agn_score", "agn_probability"):
        values = [np.atleast_1d(meta[name]).astype(float) for meta in metas if name in meta]
        values = np.concatenate(values) if len(values) == len(metas) and metas else np.empty(0)
        # One number for each galaxy, or the same for each of its candidates.
        whole = len(values) and len(values) % n_galaxies == 0
        found[name] = values.reshape(n_galaxies, -1)[:, 0] if whole else None
    return found


def combine_candidates(
    table: QTable,
    best_index: ArrayLike,
    *,
    agn_threshold: float | None = None,
    agn_score: ArrayLike | None = None,
    agn_probability: ArrayLike | None = None,
) -> QTable:
    """Make the measured candidates of a galaxy one row: values of one, errors from all.

    Parameters
    ----------
    table : astropy.table.QTable
        From `measure_properties`: a row per candidate; of several galaxies, which have equally
        many candidates, one galaxy after the other.
    best_index : int, or array_like of int (n_galaxies,)
        Row, among those of its galaxy, of the candidate that stands for all.
    agn_threshold : float, optional
        ``agn_score`` above which a galaxy is called an AGN; ``meta["agn_threshold"]`` of
        predicted spectra. `measure_candidates` finds it there.
    agn_score, agn_probability : array_like (n_galaxies,), optional
        What the image of each galaxy said, of weights that tell active nuclei by it
        (``photospec.analysis.candidates.said_of_agn``).

    Returns
    -------
    astropy.table.QTable
        One row per galaxy. Values are those of the candidate that stands for all.
        ``<column>_error`` is its measurement error and half the range from the 16th to the 84th
        percentile of the candidates in quadrature, masked where fewer than three candidates
        could be measured. ``bpt_class_probability`` is the fraction of the candidates with a
        class that are of this class. ``agn_score`` is what the image said; without that, the mean
        over the candidates of the height of their lines above the SDSS pipeline's curve for AGN,
        dex (`~photospec.analysis.bpt.agn_height`), masked where fewer than three candidates have
        all four lines. ``agn``, with an `agn_threshold`, tells whether it is above that, and
        ``agn_probability``, where the image said it, how probable an AGN is. One candidate is a
        draw, and its ``bpt_class`` is one too: whether the galaxy is an AGN is better told by
        all. ``n_candidates`` says how many there are, and so does ``flags``; with one, errors are
        of the measurement only.

    Raises
    ------
    InputError
        If the table has other rows or columns than these, or `best_index` points at none.

    Notes
    -----
    Percentiles by definition 8 of Hyndman & Fan (1996, The American Statistician 50, 361): for
    eight normal values the half range is 1.04 sigma; by the usual linear interpolation 0.81.
    """
    best = np.atleast_1d(np.asarray(best_index))
    n_candidates = _candidates_per_galaxy(table, best)
    chosen = np.arange(len(best)) * n_candidates + best
    combined = table[chosen]
    notes = [[text] if text else [] for text in map(str, combined["flags"])]
    if n_candidates > 1:
        _widen_errors(combined, table, n_candidates, notes)
    _add_class_probability(combined, table, n_candidates)
    if agn_score is None:
        agn_score = _line_heights(table, n_candidates)
    _add_agn(combined, agn_score, agn_probability, agn_threshold)
    combined["n_candidates"] = np.full(len(best), n_candidates)
    combined["flags"] = ["; ".join([*note, _origin(n_candidates)]) for note in notes]
    describe(combined)
    return combined


def _candidates_per_galaxy(table, best):
    """Check the arguments; return how many candidates each galaxy has."""
    missing = {"flags", "bpt_class", "redshift"} - set(table.colnames)
    if missing:
        raise InputError(
            f"table: expected the result of measure_properties, got no column {min(missing)}"
        )
    n_candidates, rest = divmod(len(table), best.size) if best.size else (0, 0)
    if n_candidates < 1 or rest:
        raise InputError(
            f"table: expected equally many candidates of {best.size} galaxies, got {len(table)} "
            "rows; is there one best_index per galaxy?"
        )
    if (
        best.dtype.kind not in "iu"
        or best.ndim != 1
        or not np.all((best >= 0) & (best < n_candidates))
    ):
        raise InputError(
            f"best_index: expected whole numbers from 0 to {n_candidates - 1}, got {best.tolist()}"
        )
    return n_candidates


def _widen_errors(combined, table, n_candidates, notes):
    """Add the spread of the candidates to the errors, in quadrature."""
    few = [[] for _ in notes]
    names = [name for name in table.colnames if f"{name}_error" in table.colnames]
    spreads = _half_range(
        np.array([_numbers(table[name]).reshape(-1, n_candidates) for name in names])
    )
    for name, spread in zip(names, spreads, strict=True):
        column = combined[f"{name}_error"]
        value, measured = _numbers(combined[name]), _numbers(column)
        error = np.hypot(np.nan_to_num(measured), spread)
        # A redshift that was given has no error, and no spread.
        known = np.isfinite(value) & (np.isfinite(measured) | (spread > 0))
        column[:] = masked_column(np.where(known, error, np.nan), column.unit)
        for i in np.flatnonzero(np.isfinite(value) & np.isnan(spread)):
            few[i].append(name)
    if n_candidates >= FEWEST:  # otherwise it is all of them, which the last flag says
        for note, names in zip(notes, few, strict=True):
            if names:
                note.append(f"{', '.join(names)}: no error, fewer than {FEWEST} candidates have it")


def _half_range(values):
    """Return half the 16 to 84 % range along the last axis (..., n_candidates); NaN for too few."""
    half = np.full(values.shape[:-1], np.nan)
    enough = np.isfinite(values).sum(axis=-1) >= FEWEST
    if enough.any():
        low, high = np.nanpercentile(values[enough], PERCENTILES, axis=-1, method="median_unbiased")
        half[enough] = (high - low) / 2
    return half


def _add_class_probability(combined, table, n_candidates):
    """Add how many of the candidates with a class have that of the one that stands for all."""
    known = ~np.ma.getmaskarray(table["bpt_class"]).reshape(-1, n_candidates)
    names = np.asarray(table["bpt_class"].astype(str)).reshape(-1, n_candidates)
    chosen = np.ma.filled(np.ma.asarray(combined["bpt_class"]).astype(str), "")
    same = (names == chosen[:, None]) & known
    # Without enough of them, or without a class, there is no probability.
    enough = (known.sum(axis=-1) >= FEWEST) & ~np.ma.getmaskarray(combined["bpt_class"])
    share = same.sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    column = MaskedColumn(np.where(enough, share, np.nan), mask=~enough, format=".3f")
    place = combined.colnames.index("bpt_class") + 1
    combined.add_column(column, name="bpt_class_probability", index=place)


def _line_heights(table, n_candidates):
    """Return the mean height above the curve for AGN (n_galaxies,); None where lines were not
    measured.
    """
    names = [f"{line}_flux" for line in ("nii_6584", "halpha", "oiii_5007", "hbeta")]
    if not {*names} <= {*table.colnames}:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        nii, halpha, oiii, hbeta = (np.log10(_numbers(table[name])) for name in names)
        height = agn_height(nii - halpha, oiii - hbeta).reshape(-1, n_candidates)
        seen = np.isfinite(height)
        mean = np.where(seen, height, 0.0).sum(axis=-1) / seen.sum(axis=-1)
    return np.where(seen.sum(axis=-1) < FEWEST, np.nan, mean)


def _add_agn(combined, score, probability, threshold):
    """Add the score of an active nucleus, what a threshold makes of it, and its probability."""
    if score is None:
        return
    score = np.asarray(score, float)
    few = np.isnan(score)
    columns = {"agn_score": MaskedColumn(score, mask=few, format=".3f")}
    if threshold is not None:
        columns["agn"] = MaskedColumn(score > threshold, mask=few)
    if probability is not None:
        probability = np.asarray(probability, float)
        columns["agn_probability"] = MaskedColumn(
            probability, mask=np.isnan(probability), format=".3f"
        )
    place = combined.colnames.index("bpt_class_probability") + 1
    combined.add_columns(list(columns.values()), [place] * len(columns), names=list(columns))


def _origin(n_candidates):
    if n_candidates == 1:
        return "one candidate: errors are of the measurement only"
    if n_candidates < FEWEST:
        return f"{n_candidates} candidates: too few for errors"
    return f"errors from {n_candidates} candidates"


def _numbers(column):
    """Return a column of any kind as floats without unit, NaN where masked."""
    mask = getattr(column, "mask", False)
    bare = getattr(column, "unmasked", column)
    return np.where(mask, np.nan, np.asarray(getattr(bare, "value", bare), float))
