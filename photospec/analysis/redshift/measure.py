"""Redshifts: a coarse scan over all, then a fine fit around the best few.

The model at each redshift is the best linear mix of stellar-population spectra (either
sign), emission lines (never negative) and a low-order polynomial in the observed frame;
confidence is the chi-square that the second-best redshift costs more (Bolton et al. 2012,
AJ 144, 144; the scheme of redrock, Guy et al. 2023, AJ 165, 144).
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import IntFlag

import numpy as np
from astropy.table import QTable
from scipy.special import ndtr
from specutils import Spectrum

from photospec.analysis.gate import gather, reason_unusable
from photospec.analysis.redshift.fit import Solutions, find_solutions
from photospec.errors import InputError
from photospec.utils.parallel import one_thread

__all__ = ["RedshiftFit", "RedshiftWarning", "measure_redshift"]

DELTA_CHI2_MIN = 50.0  # scaled; rivals nearer than this are flagged
DENSITY_STEP = 0.001  # 300 km/s, of the default grid of redshift densities
N_SOLUTIONS = 5  # kept in a fit, the best first
# Reduced chi-square, 1 % of model error included, where lines may have any width. Galaxies of high
# signal-to-noise stay below 2; residual sky and wrong errors begin above.
POOR_GOODNESS = 4.0
SAME_OBJECT = 0.02  # of 1 + z: broad lines may be so far from narrow ones


class RedshiftWarning(IntFlag):
    """Warning bits; those that SDSS ZWARNING has too share its values."""

    #: Much of the spectrum is masked.
    LITTLE_COVERAGE = 2
    #: Another redshift is almost as good.
    SMALL_DELTA_CHI2 = 4
    #: The best model is negative on average.
    NEGATIVE_MODEL = 8
    #: The best model is far from the spectrum.
    POOR_FIT = 16
    #: The best redshift is outside the range asked for.
    OUT_OF_RANGE = 32
    #: Nothing to measure: see `RedshiftFit.reason`.
    NO_DATA = 128
    #: Consistent with zero: a rest-frame spectrum, or a star.
    ZERO_REDSHIFT = 256
    #: Broad lines at another redshift fit better than any galaxy.
    QUASAR = 512
    #: Broad lines at this redshift fit better than any galaxy.
    BROAD_LINES = 1024


@dataclass(frozen=True, repr=False, eq=False)
class RedshiftFit:
    """Redshifts of n spectra (scalars for a single one-dimensional spectrum).

    Attributes
    ----------
    redshift : float or ndarray (n,)
        Vacuum, heliocentric if the wavelengths are; NaN where nothing could be measured.
    error : float or ndarray (n,)
        Standard error from the curvature of chi-square, scaled by the reduced chi-square. For
        spectra without uncertainty whose residuals are alike over many pixels, as of predicted
        ones, from how far parts of the spectrum disagree (jackknife), if that is more.
    delta_chi2 : float or ndarray (n,)
        Chi-square of the second-best solution minus the best, per reduced chi-square.
    reduced_chi2 : float or ndarray (n,)
        Of the best model. Without uncertainties it only measures the template mismatch.
    second_redshift : float or ndarray (n,)
        Second-best solution, more than 1500 km/s away.
    warning : int or ndarray (n,)
        Bits of `RedshiftWarning`; zero means trust it.
    reason : str or tuple of str
        Why there is no redshift; empty where there is one.
    density : ndarray (n_grid,) or (n, n_grid)
        Probability density over `density_redshift`, integral one.
    density_redshift : ndarray (n_grid,)
        Bin centres, even step.
    solutions : Solutions
        The best few redshifts with their errors and chi-squares.
    """

    redshift: np.ndarray
    error: np.ndarray
    delta_chi2: np.ndarray
    reduced_chi2: np.ndarray
    second_redshift: np.ndarray
    warning: np.ndarray
    reason: tuple
    density: np.ndarray
    density_redshift: np.ndarray
    solutions: Solutions

    def __repr__(self):
        if np.ndim(self.redshift) == 0:
            names = warning_names(self.warning) or "no warning"
            return (
                f"<RedshiftFit {self.redshift:.5f} +/- {self.error:.5f}, "
                f"delta_chi2 {self.delta_chi2:.0f}, {names}>"
            )
        n_flagged = np.count_nonzero(self.warning)
        return f"<RedshiftFit of {len(self.redshift)} spectra, {n_flagged} with a warning>"

    def to_table(self) -> QTable:
        """Return one row per spectrum; `warning` as text.

        Returns
        -------
        astropy.table.QTable
        """
        table = QTable()
        names = ("redshift", "error", "delta_chi2", "reduced_chi2", "second_redshift")
        for name in names:
            values = np.atleast_1d(getattr(self, name))
            table["redshift_error" if name == "error" else name] = np.ma.masked_invalid(values)
        table["warning"] = [warning_names(bits) for bits in np.atleast_1d(self.warning)]
        table["reason"] = np.atleast_1d(self.reason)
        return table


def warning_names(bits: int) -> str:
    """Give the names of warning bits.

    Parameters
    ----------
    bits : int
        Of `RedshiftWarning`, added.

    Returns
    -------
    str
        Names joined with ``|``; empty for zero.

    Examples
    --------
    >>> from photospec.analysis import warning_names
    >>> warning_names(0)
    ''
    """
    return "|".join(flag.name for flag in RedshiftWarning if flag & int(bits))


def measure_redshift(
    spectrum: Spectrum | Iterable[Spectrum],
    *,
    redshift_range: tuple[float, float] = (0.0, 0.8),
    delta_chi2_min: float = DELTA_CHI2_MIN,
) -> RedshiftFit:
    """Measure the redshift of galaxies from their spectra.

    Parameters
    ----------
    spectrum : Spectrum, SpectrumList, SpectrumCollection or list of Spectrum
        One spectrum or many, with or without uncertainty and mask.
    redshift_range : tuple of float
        Lowest and highest redshift looked for, -0.01 to 1.5.
    delta_chi2_min : float
        Below this `RedshiftFit.delta_chi2` the warning SMALL_DELTA_CHI2 is set.

    Returns
    -------
    RedshiftFit

    Raises
    ------
    InputError
        If `redshift_range` is no range, or a spectrum cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.analysis import load_templates, measure_redshift
    >>> from photospec.spectrum import from_arrays
    >>> templates = load_templates("bc03")
    >>> wavelength = np.arange(3800.0, 9000.0)
    >>> flux = np.interp(wavelength / 1.1, templates.wavelength, templates.spectra[:, -5, 4])
    >>> fit = measure_redshift(from_arrays(wavelength, flux, sigma=np.full(flux.size, 0.02)))
    >>> print(f"{fit.redshift:.3f}")
    0.100
    """
    return search_redshift(gather(spectrum), redshift_range, delta_chi2_min)


def search_redshift(rows, redshift_range, delta_chi2_min=DELTA_CHI2_MIN, **ways):
    """Measure the redshifts of spectra that have passed the gate, see `measure_redshift`.

    Parameters
    ----------
    rows : Rows
    redshift_range, delta_chi2_min
        As of `measure_redshift`.
    **ways
        ``scan`` and ``jackknife`` of `photospec.analysis.redshift.fit.find_solutions`.

    Returns
    -------
    RedshiftFit
    """
    low, high = checked_range(redshift_range)
    n = len(rows)
    found = Solutions.empty(n, N_SOLUTIONS)
    reasons, warning = [""] * n, np.zeros(n, int)
    start = 0
    for block in rows.blocks:
        indices = np.arange(start, start + len(block.flux))
        start += len(block.flux)
        for i in indices:
            reasons[i] = reason_unusable(block, i - indices[0])
        usable = np.array([not reasons[i] for i in indices])
        if usable.any():
            with one_thread():
                reason, coverage = find_solutions(
                    block, usable, (low, high), found, indices, **ways
                )
            for i, text in zip(indices[usable], reason, strict=True):
                reasons[i] = text
            warning[indices[usable]] |= RedshiftWarning.LITTLE_COVERAGE * (coverage < 0.6)
    warning |= _warnings(found, low, high, delta_chi2_min)
    warning[[bool(text) for text in reasons]] = RedshiftWarning.NO_DATA
    grid = np.arange(low + 0.5 * DENSITY_STEP, high, DENSITY_STEP)
    fit = RedshiftFit(
        redshift=found.redshift[:, 0],
        error=found.error[:, 0],
        delta_chi2=found.delta_chi2[:, 1],
        reduced_chi2=found.reduced_chi2,
        second_redshift=found.redshift[:, 1],
        warning=warning,
        reason=tuple(reasons),
        density=_density(found, grid),
        density_redshift=grid,
        solutions=found,
    )
    return _first(fit) if rows.single else fit


def checked_range(redshift_range):
    """Return the lowest and highest redshift as floats, or raise an InputError."""
    try:
        low, high = (float(value) for value in redshift_range)
    except (TypeError, ValueError):
        low = high = np.nan
    if not -0.01 <= low < high <= 1.5:
        raise InputError(
            f"redshift_range: expected two increasing numbers from -0.01 to 1.5, got "
            f"{redshift_range!r}; are they swapped?"
        )
    return low, high


def _warnings(found, low, high, delta_chi2_min):
    best, error = found.redshift[:, 0], np.nan_to_num(found.error[:, 0])
    with np.errstate(invalid="ignore"):
        second = np.where(np.isnan(found.delta_chi2[:, 1]), np.inf, found.delta_chi2[:, 1])
        warning = RedshiftWarning.SMALL_DELTA_CHI2 * (second < delta_chi2_min)
        poor = found.goodness > POOR_GOODNESS
        warning |= RedshiftWarning.OUT_OF_RANGE * ((best < low - 5e-4) | (best > high))
        warning |= RedshiftWarning.ZERO_REDSHIFT * (np.abs(best) < 3e-4 + 3 * error)
        near = np.abs(found.broad_line_redshift - best) < SAME_OBJECT * (1 + best)
    broad = np.isfinite(found.broad_line_redshift)
    warning |= RedshiftWarning.POOR_FIT * (poor & ~broad)
    warning |= RedshiftWarning.QUASAR * (broad & ~near)
    warning |= RedshiftWarning.BROAD_LINES * (broad & near)
    return warning | RedshiftWarning.NEGATIVE_MODEL * found.negative


def _density(found, grid):
    """Return the mixture of one Gaussian per solution, averaged over the bins of `grid`."""
    edges = np.append(grid - 0.5 * DENSITY_STEP, grid[-1] + 0.5 * DENSITY_STEP)
    density = np.zeros((len(found.redshift), grid.size))
    for mean, error, weight in zip(found.redshift.T, found.error.T, found.weight().T, strict=True):
        good = np.isfinite(mean) & (weight > 1e-8)
        cumulative = ndtr((edges - mean[good, None]) / error[good, None])
        density[good] += weight[good, None] * np.diff(cumulative, axis=1)
    total = density.sum(axis=1, keepdims=True) * DENSITY_STEP
    return np.divide(density, total, out=density, where=total > 0)


def _first(fit):
    """Return the only row of `fit`, as scalars."""
    picked = {field.name: getattr(fit, field.name) for field in fields(fit)}
    for name, value in picked.items():
        if name not in ("density_redshift", "solutions"):
            picked[name] = value[0]
    return RedshiftFit(**picked)
