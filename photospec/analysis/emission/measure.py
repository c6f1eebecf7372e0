"""Emission lines on what the stars leave: fluxes, equivalent widths, widths.

Gaussians convolved with the line-spread function are fitted to spectrum minus stellar
continuum: fluxes linearly and of either sign, so that a faint line is not biased; velocity
and dispersion once for the Balmer lines and once for the others, where there is enough
signal for it. Doublets of one upper level keep their ratio. Where the data ask for it, the
Balmer lines get a broad component besides, or all lines a second velocity component
(`photospec.analysis.emission.fit`). Equivalent widths are over the continuum beside the line.

Errors come from the full covariance, kinematics included, times the scatter that the
same fit finds at places without lines: that holds the imperfect continuum as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from photospec.analysis.emission.fit import BROAD_SNR, COVERED, Residual, fit_lines
from photospec.analysis.emission.model import line_groups
from photospec.errors import InputError
from photospec.lines import BALMER, continuum_beside

if TYPE_CHECKING:
    from astropy.table import QTable

    from photospec.analysis.populations.result import PopulationFit

__all__ = ["LineFluxes", "measure_lines"]

DETECTED = 3.0  # sigmas
# Part of the Balmer absorption under a line that is put down to the population models: one
# set of models against the next moves Hbeta by 0.35 Angstrom (Groves, Brinchmann & Walcher
# 2012, MNRAS 419, 1402), the continua of the SDSS pipeline against ours by 0.5 and more.
ABSORPTION_ERROR = 0.2
# Of the flux of the weaker line of a doublet: dust dims the bluer one by one per cent more per
# magnitude of A_V, and transition probabilities are not known better either.
TIED_ERROR = 0.01
# Pixels whose noise the continuum beside a line averages over where no running median levels it:
# the side bands have 80 pixels of SDSS, and the stellar fit reaches further.
CONTINUUM_PIXELS = 100
# Lines that the best model misses by more than this share are no Gaussians: no class from them.
MISFIT_MAX = 0.25
# Of the misfit that stands in the error of the flux, as a share: with two components the fluxes
# of three real galaxies with misfits of 0.2 grow by 10 % on average, some lines by 25 %.
MISFIT_ERROR = 0.5
DEFAULT_DISPERSION = 100.0  # km/s, of gas that shows none of its own
BAD_PIXELS = "bad pixels at the line"  # why a line is not measured


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
        Rest-frame Angstrom, emission positive: flux over the stellar continuum beside the line
        (`photospec.lines.continuum_beside`). For Balmer lines the error also holds the
        uncertainty of the stellar absorption, which that of the flux does not.
    continuum : ndarray, shape (n_lines,)
        That continuum; 1e-17 erg/s/cm2/A.
    velocity, width, width_error : ndarray, shape (n_lines,)
        Centre relative to the stars and dispersion without the instrument's, km/s; NaN
        for lines below 3 sigma and where the kinematics are not the lines' own.
    covariance : ndarray, shape (n_lines, n_lines)
        Of the fluxes.
    wavelength : ndarray, shape (n_lines,)
        Rest, vacuum, Angstrom.
    reason : tuple of str
        Why a line was not measured, "" where it was.
    flags : tuple of str
    broad_flux, broad_flux_error : ndarray, shape (n_lines,)
        Of the broad component; NaN except for Balmer lines that have one. `flux`, `ew` and
        line ratios are of the narrow lines then.
    broad_velocity, broad_width, broad_width_error : float
        Of the broad component, km/s; the width is a standard deviation. NaN without one.
    misfit : float
        What the model leaves of the lines beyond the noise, as a share of them.
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
    wavelength: np.ndarray = field(repr=False)
    reason: tuple = ()
    flags: tuple = ()
    broad_flux: np.ndarray = field(default=None, repr=False)
    broad_flux_error: np.ndarray = field(default=None, repr=False)
    broad_velocity: float = np.nan
    broad_width: float = np.nan
    broad_width_error: float = np.nan
    misfit: float = 0.0

    def __post_init__(self):
        for name in ("broad_flux", "broad_flux_error"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.full(len(self.names), np.nan))

    @property
    def broad_line(self) -> bool:
        """True where the Balmer lines have a broad component."""
        return bool(np.isfinite(self.broad_width))

    @property
    def gaussian(self) -> bool:
        """True unless the lines are so unlike the model that no class should rest on them."""
        return self.misfit <= MISFIT_MAX

    @property
    def mask(self) -> np.ndarray:
        """True where a line was not measured."""
        return ~np.isfinite(self.flux)

    @property
    def snr(self) -> np.ndarray:
        """Flux over error."""
        return self.flux / self.flux_error

    @property
    def detected(self) -> np.ndarray:
        """True above three sigma."""
        return np.nan_to_num(self.snr) > DETECTED

    def upper_limit(self, n_sigma: float = 3.0) -> np.ndarray:
        """Return the flux that each line is below: measured flux, if positive, plus n sigma."""
        return self.flux.clip(0) + n_sigma * self.flux_error

    def index(self, name: str) -> int:
        """Return the position of a line."""
        try:
            return self.names.index(name)
        except ValueError:
            raise InputError(
                f"line: expected one of {', '.join(self.names)}, got {name!r}"
            ) from None

    def __getitem__(self, name):
        """Return (flux, error) of a line."""
        i = self.index(name)
        return float(self.flux[i]), float(self.flux_error[i])

    def total(self, *names: str) -> tuple[float, float]:
        """Return (flux, error) of several lines together, covariance included."""
        rows = [self.index(name) for name in names]
        variance = self.covariance[np.ix_(rows, rows)].sum()
        return float(self.flux[rows].sum()), float(np.sqrt(variance))

    def log_ratio(
        self, upper: str | tuple[str, ...], lower: str | tuple[str, ...]
    ) -> tuple[float, float]:
        """Return log10 of the flux ratio of two lines and its error; NaN unless both are detected.

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

    def to_table(self) -> QTable:
        """Return a QTable with one row per line."""
        from astropy import units as u
        from astropy.table import QTable

        flux = 1e-17 * u.erg / u.s / u.cm**2
        table = QTable()
        table["name"], table["wavelength"] = (
            list(self.names),
            self.wavelength * u.AA,
        )
        units = {"flux": flux, "ew": u.AA, "width": u.km / u.s, "broad_flux": flux}
        for name, unit in units.items():
            table[name] = getattr(self, name) * unit
            table[f"{name}_error"] = getattr(self, f"{name}_error") * unit
        table["snr"], table["reason"] = self.snr, list(self.reason)
        return table


def measure_lines(
    fit: PopulationFit,
    lines: Sequence | None = None,
    *,
    nonlinear: Callable | None = None,
    broad_snr: float = BROAD_SNR,
) -> LineFluxes:
    """Measure emission lines on a spectrum whose stars have been fitted.

    Parameters
    ----------
    fit : PopulationFit
    lines : sequence of str or Line, optional
        Which lines to report: names of `photospec.lines.LINES`, and `photospec.lines.Line`
        objects of your own; ``...`` among them stands for the default lines. Blended neighbours
        are fitted in any case.
    nonlinear : callable, optional
        See `photospec.analysis.emission.fit.fit_lines`.
    broad_snr : float
        Least signal-to-noise of broad Balmer lines.

    Returns
    -------
    LineFluxes
        NaN with a reason for lines that cannot be measured.

    Raises
    ------
    InputError
        If a line is not known.
    """
    fit = fit.on_own_pixels()
    groups, names = line_groups(lines)
    rest = {n: w for group in groups for n, w in zip(group.names, group.wavelengths, strict=True)}
    wavelength = np.array([rest[name] for name in names])
    if not np.isfinite(fit.continuum).any():
        reason = fit.flags[-1] if fit.flags else "no stellar continuum"
        return _blank(names, wavelength, reason)
    residual = Residual.of(fit, groups)
    reasons = {group: _why_not(residual, group) for group in groups}
    by_name = {name: reason for group, reason in reasons.items() for name in group.names}
    if not any(reason == "" for reason in reasons.values()):
        return _blank(names, wavelength, "no line inside the fitted spectrum", by_name)
    # Lines on bad pixels are fitted with their neighbours: what is seen of them would else be
    # taken for a part of those.
    groups = tuple(group for group in groups if reasons[group] in ("", BAD_PIXELS))
    start = (0.0, DEFAULT_DISPERSION)
    if fit.gas:
        (velocity, _), (dispersion, _) = next(iter(fit.gas.values()))
        if abs(velocity - fit.velocity) < 500 and dispersion < 500:
            start = (velocity - fit.velocity, max(dispersion, 20.0))
    residual, found = fit_lines(fit, groups, start, nonlinear, broad_snr)
    return _named(fit, residual, groups, found, names, wavelength, by_name)


def _why_not(residual, group):
    wavelength = group.wavelengths[0]
    usable = residual.wavelength[residual.good]
    if not usable[0] < wavelength < usable[-1]:
        return "outside the fitted spectrum"
    return "" if residual.coverage(group) > COVERED else BAD_PIXELS


def _named(fit, residual, groups, lines, names, wavelength, by_name):
    n_lines, stretch = len(names), 1 + fit.redshift
    # Row i of this matrix makes line i from the groups.
    share = np.zeros((n_lines, len(groups)))
    balmer, (measured, tied) = np.zeros(n_lines, int), np.zeros((2, n_lines), bool)
    for column, group in enumerate(groups):
        for name, ratio in zip(group.names, group.ratios, strict=True):
            if name in names:
                row = names.index(name)
                share[row, column], balmer[row] = ratio, group.balmer
                measured[row] = not by_name[name]
                tied[row] = name != group.names[0]
    flux = np.where(measured, share @ lines.flux * stretch, np.nan)
    covariance = share @ lines.covariance @ share.T * stretch**2
    covariance += np.diag(np.where(tied, TIED_ERROR * flux, 0.0) ** 2)
    covariance += np.diag((MISFIT_ERROR * lines.misfit * flux) ** 2)
    covariance[~measured] = covariance[:, ~measured] = np.nan
    error = np.sqrt(np.diag(covariance))
    stars = np.where(residual.continuum != 0, residual.continuum, np.nan)
    continuum = continuum_beside(residual.wavelength, stars, wavelength)
    continuum = np.where(measured, continuum, np.nan)
    good = residual.good
    noise = np.interp(wavelength, residual.wavelength[good], residual.sigma[good])
    variance = np.diag(residual.level_covariance(wavelength))
    variance = lines.inflation**2 * np.maximum(variance, noise**2 / CONTINUUM_PIXELS)
    positive = np.where(continuum > 3 * np.sqrt(variance), continuum, np.nan)
    ew = flux / positive / stretch
    # A level that is too high is in the continuum and missing in the flux.
    together = 2 * ew * (share @ lines.level_response) * variance / positive**2
    ew_error = (error / positive) ** 2 + (flux / positive**2) ** 2 * variance
    ew_error = np.sqrt(ew_error / stretch**2 + np.maximum(together, 0.0))
    for row in np.flatnonzero(measured & np.isin(names, BALMER)):
        absorption = _absorption(residual, wavelength[row])
        ew_error[row] = np.hypot(ew_error[row], ABSORPTION_ERROR * absorption)
    own = np.array(lines.own)
    shown = measured & (flux > DETECTED * error) & (own | own.any())[balmer]
    kinematics = lines.kinematics[balmer].T
    width_error = np.where(own[:, None], lines.kinematics_error, lines.kinematics_error[::-1])
    flags = list(lines.flags)
    if not own.any():
        flags.append("no lines strong enough for kinematics of their own")
    if lines.misfit > MISFIT_MAX:
        flags.append(f"lines are no Gaussians: the fit misses {100 * lines.misfit:.0f} % of them")
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
        wavelength=wavelength,
        reason=tuple(by_name[name] for name in names),
        flags=tuple(flags),
        misfit=lines.misfit,
        **_broad(lines.broad, names, stretch),
    )


def _broad(broad, names, stretch):
    """Return columns of the broad component; nothing where there is none."""
    if broad is None:
        return {}
    flux, error = np.full((2, len(names)), np.nan)
    for name, value, sigma in zip(broad.names, broad.flux, broad.flux_error, strict=True):
        if name in names:
            flux[names.index(name)] = value * stretch
            error[names.index(name)] = sigma * stretch
    return {
        "broad_flux": flux,
        "broad_flux_error": error,
        "broad_velocity": broad.velocity,
        "broad_width": broad.width,
        "broad_width_error": broad.width_error,
    }


def _absorption(residual, centre):
    """Return equivalent width of stellar absorption at a Balmer line, Angstrom, not negative."""
    distance = residual.wavelength - centre
    with_stars = residual.continuum > 0
    sides = with_stars & (np.abs(distance) > 25) & (np.abs(distance) < 45)
    inside = with_stars & (np.abs(distance) < 25)
    if sides.sum() < 5 or inside.sum() < 10:
        return 0.0
    level = np.polynomial.Polynomial.fit(distance[sides], residual.continuum[sides], 1)
    depth = 1 - residual.continuum[inside] / level(distance[inside])
    return float(max(np.trapezoid(depth, distance[inside]), 0.0))


def _blank(names, wavelength, reason, by_name=None):
    nothing = np.full(len(names), np.nan)
    return LineFluxes(
        names,
        *[nothing] * 8,
        covariance=np.full((len(names),) * 2, np.nan),
        wavelength=wavelength,
        reason=tuple((by_name or {}).get(name) or reason for name in names),
        flags=(reason,),
    )
