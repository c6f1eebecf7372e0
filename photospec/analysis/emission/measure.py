"""Emission lines on what the stars leave: fluxes, equivalent widths, widths.

Gaussians convolved with the line-spread function are fitted to spectrum minus stellar
continuum: fluxes linearly and of either sign, so that a faint line is not biased; velocity
and dispersion once for the Balmer lines and once for the others, where there is enough
signal for it. Doublets of one upper level keep their ratio.

Errors come from the full covariance, kinematics included, times the scatter that the
same fit finds at places without lines: that holds the imperfect continuum as well.
"""

from dataclasses import dataclass, field

import numpy as np

from photospec.analysis.emission.fit import Residual, fit_groups
from photospec.analysis.emission.model import GROUPS, LineGroup, group_profiles
from photospec.errors import InputError
from photospec.lines import LINES

__all__ = ["LineFluxes", "measure_lines"]

DETECTED = 3.0  # sigmas
# Part of the Balmer absorption under a line that is put down to the population models: one
# set of models against the next moves Hbeta by 0.35 Angstrom (Groves, Brinchmann & Walcher
# 2012, MNRAS 419, 1402), the continua of the SDSS pipeline against ours by 0.5 and more.
ABSORPTION_ERROR = 0.2
# Of the flux of the weaker line of a doublet: dust dims the bluer one by one per cent more per
# magnitude of A_V, and transition probabilities are not known better either.
TIED_ERROR = 0.01
COVERED = 0.9  # part of a line that must lie on good pixels
DEFAULT_DISPERSION = 100.0  # km/s, of gas that shows none of its own


@dataclass(frozen=True, eq=False)
class LineFluxes:
    """Emission lines of one spectrum.

    Attributes
    ----------
    names : tuple of str
        Keys of `photospec.lines.LINES`.
    flux, flux_error : ndarray, shape (n_lines,)
        1e-17 erg/s/cm2, observed, not corrected for dust; NaN where not measured.
    ew, ew_error : ndarray, shape (n_lines,)
        Rest-frame Angstrom, emission positive, over the stellar continuum at the line,
        absorption included (as SDSS has it). For Balmer lines the error also holds the
        uncertainty of the stellar absorption, which that of the flux does not.
    continuum : ndarray, shape (n_lines,)
        That continuum, averaged over the line's profile; 1e-17 erg/s/cm2/A.
    velocity, width, width_error : ndarray, shape (n_lines,)
        Centre relative to the stars and dispersion without the instrument's, km/s; NaN
        for lines below 3 sigma and where the kinematics are not the lines' own.
    covariance : ndarray, shape (n_lines, n_lines)
        Of the fluxes.
    reason : tuple of str
        Why a line was not measured, "" where it was.
    flags : tuple of str
    """

    names: tuple
    flux: np.ndarray
    flux_error: np.ndarray
    ew: np.ndarray
    ew_error: np.ndarray
    continuum: np.ndarray
    velocity: np.ndarray
    width: np.ndarray
    width_error: np.ndarray
    covariance: np.ndarray = field(repr=False)
    reason: tuple = ()
    flags: tuple = ()

    @property
    def mask(self):
        """True where a line was not measured."""
        return ~np.isfinite(self.flux)

    @property
    def snr(self):
        """Flux over error."""
        return self.flux / self.flux_error

    @property
    def detected(self):
        """True above three sigma."""
        return np.nan_to_num(self.snr) > DETECTED

    def upper_limit(self, n_sigma=3.0):
        """Flux that each line is below: measured flux, if positive, plus n sigma."""
        return self.flux.clip(0) + n_sigma * self.flux_error

    def index(self, name):
        """Position of a line."""
        try:
            return self.names.index(name)
        except ValueError:
            raise InputError(
                f"line: expected one of {', '.join(self.names)}, got {name!r}"
            ) from None

    def __getitem__(self, name):
        """(flux, error) of a line."""
        i = self.index(name)
        return float(self.flux[i]), float(self.flux_error[i])

    def total(self, *names):
        """(flux, error) of several lines together, covariance included."""
        rows = [self.index(name) for name in names]
        variance = self.covariance[np.ix_(rows, rows)].sum()
        return float(self.flux[rows].sum()), float(np.sqrt(variance))

    def log_ratio(self, upper, lower):
        """Log10 of the flux ratio of two lines and its error; NaN unless both are detected.

        Parameters
        ----------
        upper, lower : str or tuple of str
            Lines; the fluxes of a tuple are summed.

        Returns
        -------
        value, error : float
            dex.
        """
        upper = (upper,) if isinstance(upper, str) else tuple(upper)
        lower = (lower,) if isinstance(lower, str) else tuple(lower)
        (a, da), (b, db) = self.total(*upper), self.total(*lower)
        if not (a > DETECTED * da and b > DETECTED * db):
            return np.nan, np.nan
        rows = [[self.index(name) for name in side] for side in (upper, lower)]
        shared = self.covariance[np.ix_(*rows)].sum()
        variance = (da / a) ** 2 + (db / b) ** 2 - 2 * shared / (a * b)
        return float(np.log10(a / b)), float(np.sqrt(max(variance, 0.0)) / np.log(10))

    def __repr__(self):
        seen = [n for n, ok in zip(self.names, self.detected, strict=True) if ok]
        return f"LineFluxes({len(self.names)} lines, detected: {', '.join(seen) or 'none'})"

    def to_table(self):
        """QTable with one row per line."""
        from astropy import units as u
        from astropy.table import QTable

        flux = 1e-17 * u.erg / u.s / u.cm**2
        table = QTable()
        table["name"], table["wavelength"] = (
            list(self.names),
            [LINES[n].wavelength for n in self.names] * u.AA,
        )
        for name, unit in (("flux", flux), ("ew", u.AA), ("width", u.km / u.s)):
            table[name] = getattr(self, name) * unit
            table[f"{name}_error"] = getattr(self, f"{name}_error") * unit
        table["snr"], table["reason"] = self.snr, list(self.reason)
        return table


def measure_lines(fit, nonlinear=None):
    """Measure emission lines on a spectrum whose stars have been fitted.

    Parameters
    ----------
    fit : PopulationFit
    nonlinear : callable, optional
        See `photospec.analysis.line_fit.fit_groups`.

    Returns
    -------
    LineFluxes
        NaN with a reason for lines that cannot be measured.
    """
    names = tuple(sorted((n for g in GROUPS for n in g.names), key=lambda n: LINES[n].wavelength))
    if not np.isfinite(fit.continuum).any():
        return _blank(names, fit.flags[-1] if fit.flags else "no stellar continuum")
    residual = Residual.of(fit)
    reasons = dict(zip(GROUPS, _why_not(residual, GROUPS), strict=True))
    groups = tuple(group for group in GROUPS if not reasons[group])
    by_name = {name: reason for group, reason in reasons.items() for name in group.names}
    if not groups:
        return _blank(names, "no line inside the fitted spectrum", by_name)
    start = (0.0, DEFAULT_DISPERSION)
    if fit.gas:
        (velocity, _), (dispersion, _) = next(iter(fit.gas.values()))
        if abs(velocity - fit.velocity) < 500 and dispersion < 500:
            start = (velocity - fit.velocity, max(dispersion, 20.0))
    lines = fit_groups(residual, groups, start, nonlinear)
    return _named(fit, residual, groups, lines, names, by_name)


def _why_not(residual, groups):
    """Why each group cannot be measured; empty where it can."""
    usable = residual.wavelength[residual.good]
    reasons = []
    for group, coverage in zip(groups, residual.coverage(groups), strict=True):
        if not usable[0] < LINES[group.names[0]].wavelength < usable[-1]:
            reasons.append("outside the fitted spectrum")
        else:
            reasons.append("" if coverage > COVERED else "bad pixels at the line")
    return reasons


def _named(fit, residual, groups, lines, names, by_name):
    n_lines, stretch = len(names), 1 + fit.redshift
    # Row i of this matrix makes line i from the groups.
    share = np.zeros((n_lines, len(groups)))
    balmer, (measured, tied) = np.zeros(n_lines, int), np.zeros((2, n_lines), bool)
    for column, group in enumerate(groups):
        for name, ratio in zip(group.names, group.ratios, strict=True):
            row = names.index(name)
            share[row, column], balmer[row], measured[row] = ratio, group.balmer, True
            tied[row] = name != group.names[0]
    flux = np.where(measured, share @ lines.flux * stretch, np.nan)
    covariance = share @ lines.covariance @ share.T * stretch**2
    covariance += np.diag(np.where(tied, TIED_ERROR * flux, 0.0) ** 2)
    covariance[~measured] = covariance[:, ~measured] = np.nan
    error = np.sqrt(np.diag(covariance))
    continuum = np.where(measured, _continuum_at(residual, names, lines.kinematics), np.nan)
    continuum_error = lines.inflation * np.interp(
        [LINES[n].wavelength for n in names], residual.wavelength[residual.good],
        residual.sigma[residual.good],
    ) / np.sqrt(20)  # fmt: skip
    positive = np.where(continuum > 3 * continuum_error, continuum, np.nan)
    ew = flux / positive / stretch
    ew_error = np.hypot(error / positive, flux * continuum_error / positive**2) / stretch
    for row in np.flatnonzero(measured & (balmer == 1)):
        absorption = _absorption(residual, LINES[names[row]].wavelength)
        ew_error[row] = np.hypot(ew_error[row], ABSORPTION_ERROR * absorption)
    own = np.array(lines.own)
    shown = measured & (flux > DETECTED * error) & (own | own.any())[balmer]
    kinematics = lines.kinematics[balmer].T
    width_error = np.where(own[:, None], lines.kinematics_error, lines.kinematics_error[::-1])
    return LineFluxes(
        names=names,
        flux=flux,
        flux_error=error,
        ew=ew,
        ew_error=ew_error,
        continuum=continuum,
        velocity=np.where(shown, kinematics[0], np.nan),
        width=np.where(shown, kinematics[1], np.nan),
        width_error=np.where(shown, width_error[balmer, 1], np.nan),
        covariance=covariance,
        reason=tuple(by_name[name] for name in names),
        flags=() if own.any() else ("no lines strong enough for kinematics of their own",),
    )


def _continuum_at(residual, names, kinematics):
    """Stellar continuum (n_lines,) under lines, averaged over their profiles."""
    balmer = {name: group.balmer for group in GROUPS for name in group.names}
    single = tuple(LineGroup((name,), balmer=balmer[name]) for name in names)
    profiles = group_profiles(residual.wavelength, residual.lsf_sigma, *kinematics.T, single)
    profiles = profiles * (residual.continuum != 0)[:, None]
    total = profiles.sum(0)
    return np.where(
        total > 0, residual.continuum @ profiles / np.where(total > 0, total, 1), np.nan
    )


def _absorption(residual, centre):
    """Equivalent width of stellar absorption at a Balmer line, Angstrom, not negative."""
    low, high = np.searchsorted(residual.wavelength, [centre - 45, centre + 45])
    distance = residual.wavelength[low:high] - centre
    continuum = residual.continuum[low:high]
    with_stars = continuum > 0
    sides = with_stars & (np.abs(distance) > 25) & (np.abs(distance) < 45)
    inside = with_stars & (np.abs(distance) < 25)
    if sides.sum() < 5 or inside.sum() < 10:
        return 0.0
    # A straight line through the sides.
    middle, mean = distance[sides].mean(), continuum[sides].mean()
    away = distance[sides] - middle
    slope = away @ continuum[sides] / (away @ away)
    level = mean + slope * (distance[inside] - middle)
    depth = 1 - continuum[inside] / level
    return float(max(np.trapezoid(depth, distance[inside]), 0.0))


def _blank(names, reason, by_name=None):
    nothing = np.full(len(names), np.nan)
    return LineFluxes(
        names,
        *[nothing] * 8,
        covariance=np.full((len(names),) * 2, np.nan),
        reason=tuple((by_name or {}).get(name) or reason for name in names),
        flags=(reason,),
    )
