"""The fit behind `photospec.analysis.emission`: Gaussians to continuum-subtracted pixels.

First one Gaussian per line: velocity and dispersion once for the Balmer lines and once for the
others. Where the data ask for more, one of two larger models takes its place: a broad component
of the Balmer lines (Greene & Ho 2005, ApJ 630, 122), or two velocity components of all lines.
"Ask" means that chi-square, per square of the scatter where there are no lines, falls by more
than the Bayesian information criterion charges for the parameters (Schwarz 1978, Ann. Stat. 6,
461): ln(n_pixels) for each.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import median_filter
from scipy.optimize import least_squares

from photospec.analysis.emission.model import (
    BROAD_GROUPS,
    GROUPS,
    WIDE_STEP,
    group_profiles,
    line_windows,
)
from photospec.lines import near_centres
from photospec.spectrum.wavelengths import pixel_edges
from photospec.utils.constants import SPEED_OF_LIGHT
from photospec.utils.stats import robust_std

__all__ = [
    "BROAD_SNR",
    "COVERED",
    "BroadLines",
    "GroupFit",
    "Residual",
    "fit_groups",
    "fit_lines",
    "gauss_newton",
    "minimise",
]

LINE_ZONE = 1200.0  # km/s on either side of a line that belong to it
BROAD_ZONE = (
    8000.0  # the same for broad Balmer lines: 3 sigma of 2700 km/s; more if they are broader
)
BACKGROUND = 151  # pixels of the running median that levels the residuals
COVERED = 0.9  # part of a line that must lie on good pixels
FREE_SNR = 5.0  # lines of a kind must have this much for their own kinematics
# In wide pixels a pair like [O II] can be mimicked by a strong line less another, both too narrow:
# kinematics that make a line so negative, in errors, are not those of the lines.
NEGATIVE = -5.0
# What the noise does not know, from simulated galaxies of two components with gas of their
# own (benchmarks/analysis_recovery.py). Lines are no single Gaussians: a factor on the
# noise and a part of the flux, more for [O III], whose width is its own where it comes from the
# nucleus. Stars under a line: Angstrom of their continuum, most for Balmer lines.
SHAPE_FACTOR, SHAPE_ERROR, SHAPE_ERROR_OIII = 1.05, 0.005, 0.02
STARS_ERROR, STARS_ERROR_BALMER = 0.02, 0.065
DISPERSION_RANGE = (5.0, 700.0)  # km/s
VELOCITY_RANGE = 600.0  # km/s
GAUSS_NEWTON_STEPS = 20  # at most: a fit that wanders is stopped here
LARGEST_STEP, SMALLEST_STEP = 80.0, 1.0  # km/s; the next would be far smaller still
CHI2_GAIN = 1e-4  # of chi2, by one step: no more is to be had
# Broad-line regions have full widths at half maximum of 1000 km/s and more, which no
# narrow-line region reaches (Hao et al. 2005, AJ 129, 1783).
BROAD_DISPERSION_RANGE, BROAD_VELOCITY_RANGE = (425.0, 6000.0), 2000.0
BROAD_TRIALS = (500.0, 1000.0, 2000.0, 4000.0)  # km/s, where the search for a broad line begins
BROAD_SHIFTS = (-1000.0, -500.0, 500.0, 1000.0)  # km/s, of the narrow lines from the redshift given
# Stars that fit badly leave humps and hollows as broad as broad lines. A twentieth of the stellar
# continuum over the width of the line stands in the error of its flux: at three sigma a broad
# line is 15 % as high as the continuum beside it.
BROAD_STARS_ERROR, BROAD_SNR = 0.05, 3.0
TWO_RANGE = 800.0  # km/s, of the velocity of each of two components
# Where one Gaussian leaves more than this share of the lines (root of chi-square over that of
# the lines), two components are tried: two peaks leave 0.36 at 200 km/s to either side. Winds of
# Seyfert galaxies leave up to 0.23; there one Gaussian is what catalogues give, and the misfit
# goes into its error.
MISFIT_TRIED = 0.25
MISFIT_SEEN = 0.1
COARSE_LSF = 300.0  # km/s: broader than narrow lines themselves ever are
LEVEL_CHI2 = 25.0  # in units of the scatter: what a change of model must gain at least


@dataclass(frozen=True, eq=False)
class Residual:
    """Spectrum minus stars, rest frame of the stars.

    Attributes
    ----------
    wavelength : ndarray, shape (n_pixels,)
        Rest vacuum Angstrom of the pixels; fluxes stay per observed Angstrom.
    flux, sigma, continuum : ndarray, shape (n_pixels,)
        The continuum is zero where the stars are not known.
    good : ndarray of bool, shape (n_pixels,)
    lsf_sigma : ndarray, shape (n_pixels,)
        Rest Angstrom.
    level_place : ndarray, shape (n_pixels,)
        Position in the row of line-free pixels: the running median at two pixels shares
        1 - distance / `BACKGROUND` of its pixels.
    level_variance : ndarray, shape (n_pixels,)
        Of the running median that was taken off, in units of the variance of a pixel; zero
        where there was none.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray
    continuum: np.ndarray
    good: np.ndarray
    lsf_sigma: np.ndarray
    level_place: np.ndarray
    level_variance: np.ndarray

    @classmethod
    def of(cls, fit, groups=GROUPS, broad_zone=0.0):
        """Return the residual of a PopulationFit, its slow undulations taken out.

        They are the running median of pixels that are not within `LINE_ZONE` of a line, nor
        within `broad_zone` (km/s) of one of the Balmer lines.
        """
        wavelength = fit.wavelength / (1 + fit.redshift)
        good = ~fit.mask & np.isfinite(fit.continuum) & np.isfinite(fit.sigma)
        lsf = _least_lsf(wavelength)
        if fit.lsf_sigma is not None:
            lsf = fit.lsf_sigma / (1 + fit.redshift)
        continuum = np.where(np.isfinite(fit.continuum), fit.continuum, 0.0)
        flux = np.where(good, np.nan_to_num(fit.flux) - continuum, 0.0)
        calm = good & ~near_lines(wavelength, groups=groups)
        if broad_zone:
            calm &= ~near_lines(wavelength, broad_zone, BROAD_GROUPS)
        pixels = np.arange(flux.size)
        place, variance = pixels.astype(float), np.zeros(flux.size)
        if calm.sum() > BACKGROUND:
            # The median over line-free pixels only, carried across the lines.
            index = np.flatnonzero(calm)
            # Reflected at the ends: a repeated last pixel would decide the median there.
            level = median_filter(flux[index], BACKGROUND, mode="reflect")
            background = np.interp(pixels, index, level)
            flux = flux - background
            place = np.interp(pixels, index, np.arange(index.size))
            variance = np.interp(pixels, index, median_variance(index.size))
            continuum = np.where(np.isfinite(fit.continuum), continuum + background, 0.0)
        sigma = np.where(good, fit.sigma, np.inf)
        flux = np.where(good, flux, 0.0)
        return cls(wavelength, flux, sigma, continuum, good, lsf, place, variance)

    def level_covariance(self, at):
        """Return covariance of the running median at some wavelengths, in units of flux squared.

        Parameters
        ----------
        at : ndarray, shape (n,)
            Rest Angstrom.

        Returns
        -------
        ndarray, shape (n, n)
        """
        place = np.interp(at, self.wavelength, self.level_place)
        shared = (1 - np.abs(place[:, None] - place) / BACKGROUND).clip(0)
        variance = np.interp(at, self.wavelength, self.level_variance)
        noise = np.interp(at, self.wavelength[self.good], self.sigma[self.good])
        error = np.sqrt(variance) * noise
        return shared * error[:, None] * error

    def coverage(self, group):
        """Return the part of a group's flux on good pixels, at rest and a common width."""
        profile = group_profiles(
            self.wavelength, self.lsf_sigma, (0.0, 0.0), (100.0, 100.0), (group,)
        )[:, 0]
        width = np.diff(pixel_edges(self.wavelength))
        return float((profile * width * self.good).sum() / sum(group.ratios))


def median_variance(n_pixels):
    """Return the variance of a running median over `BACKGROUND` pixels, at each of a row of pixels.

    pi / 2n of that of a pixel (Kendall & Stuart 1977, The Advanced Theory of Statistics, vol. 1,
    sec. 14.6) in the middle of the row; more at its ends, where reflected pixels count twice.

    Parameters
    ----------
    n_pixels : int

    Returns
    -------
    ndarray, shape (n_pixels,)
    """
    place = np.arange(n_pixels)
    twice = (BACKGROUND // 2 - np.minimum(place, n_pixels - 1 - place)).clip(0)
    return 0.5 * np.pi * (BACKGROUND + 2 * twice) / BACKGROUND**2


def _least_lsf(wavelength):
    """Return the line-spread function where none is known: a Gaussian well inside one pixel."""
    return 0.3 * np.diff(pixel_edges(wavelength))


def near_lines(wavelength, zone=LINE_ZONE, groups=GROUPS):
    """Tell which pixels lie within `zone` km/s of any line of the groups."""
    centres = [centre for group in groups for centre in group.wavelengths]
    return near_centres(wavelength, centres, zone)


@dataclass(frozen=True, eq=False)
class BroadLines:
    """Broad components of the Balmer lines; fluxes in flux unit times rest Angstrom.

    Attributes
    ----------
    names : tuple of str
    flux, flux_error : ndarray, shape (n_lines,)
    velocity, width, width_error : float
        km/s, the width a standard deviation without the instrument's.
    """

    names: tuple
    flux: np.ndarray
    flux_error: np.ndarray
    velocity: float
    width: float
    width_error: float


@dataclass(frozen=True, eq=False)
class GroupFit:
    """Fitted line groups; fluxes in flux unit times rest Angstrom.

    Attributes
    ----------
    flux : ndarray, shape (n_groups,)
        Of the narrow lines; of both velocity components where there are two.
    covariance : ndarray, shape (n_groups, n_groups)
    kinematics, kinematics_error : ndarray, shape (2, 2)
        (forbidden, Balmer) x (velocity, dispersion), km/s.
    own : tuple of bool
        Whether the kinematics of (forbidden, Balmer) were free; tied to the other or to
        the start otherwise.
    inflation : float
        Factor that the covariance holds already, from line-free places.
    level_response : ndarray, shape (n_groups,)
        Change of the fluxes where the level under the lines is raised by one.
    chi2 : float
        Not divided by anything, over the pixels of `_Problem.use`.
    misfit : float
        What the model leaves of the lines beyond the noise, as a share of them.
    broad : BroadLines or None
    flags : tuple of str
    """

    flux: np.ndarray
    covariance: np.ndarray
    kinematics: np.ndarray
    kinematics_error: np.ndarray
    own: tuple
    inflation: float
    level_response: np.ndarray
    chi2: float = np.nan
    misfit: float = 0.0
    broad: BroadLines | None = None
    flags: tuple = ()


@dataclass(frozen=True, eq=False)
class _Problem:
    """Gaussians on pixels: which lines, which of them move together, which pixels count."""

    residual: Residual
    groups: tuple
    component: np.ndarray
    use: np.ndarray

    def columns(self, kinematics):
        """Return the profiles of lines over the errors (n_used, n_groups) at kinematics
        (n_components, 2).
        """
        velocity, dispersion = np.asarray(kinematics, float).reshape(-1, 2).T
        residual = self.residual
        profiles = group_profiles(
            residual.wavelength,
            residual.lsf_sigma,
            velocity,
            dispersion,
            self.groups,
            self.component,
        )
        return profiles[self.use] / residual.sigma[self.use, None]

    @property
    def data(self):
        return self.residual.flux[self.use] / self.residual.sigma[self.use]

    def solve(self, kinematics):
        """Return fluxes, their covariance, and chi-square."""
        matrix = self.columns(kinematics)
        flux, covariance = _linear(matrix, self.data)
        return flux, covariance, float(np.sum((self.data - matrix @ flux) ** 2))


def fit_lines(fit, groups, start, nonlinear=None, broad_snr=BROAD_SNR):
    """Fit lines with the model that the data ask for.

    Parameters
    ----------
    fit : PopulationFit
    groups : tuple of LineGroup
        All lines of the spectrum.
    start : tuple of float
        Velocity and dispersion, km/s.
    nonlinear : callable, optional
        Finds velocities and dispersions: `minimise` by default, or `gauss_newton`.
    broad_snr : float
        Least signal-to-noise of a broad line.

    Returns
    -------
    residual : Residual
        What the chosen model was fitted to.
    lines : GroupFit
    """
    residual = Residual.of(fit, groups)
    nonlinear = nonlinear or minimise
    lines = fit_groups(residual, groups, start, nonlinear)
    flags = ()
    if fit.lsf_sigma is not None:
        sharper = _without_lsf(residual, groups, start, lines, nonlinear)
        if sharper is not None:
            residual, lines = sharper
            flags = (
                "lines are narrower than the line-spread function; is it a standard deviation "
                "in Angstrom?",
            )
    zone, single = BROAD_ZONE, lines
    while zone:
        wide = replace(Residual.of(fit, groups, zone), lsf_sigma=residual.lsf_sigma)
        broad = _with_broad_lines(wide, groups, start, single, nonlinear, broad_snr, zone)
        # Of a line broader than the zone the running median takes the wings away: once more.
        again = broad is not None and 3 * broad.broad.width > zone == BROAD_ZONE
        zone = 3 * broad.broad.width if again else 0.0
        if broad is not None:
            residual, lines = wide, broad
    if lines.misfit > MISFIT_TRIED:
        two = _with_two_components(residual, groups, lines, nonlinear)
        if two is not None:
            lines = two
    return residual, replace(lines, flags=flags + lines.flags)


def fit_groups(residual, groups, start, nonlinear=None):
    """Fit line groups to a residual, one Gaussian per line.

    Parameters
    ----------
    residual : Residual
    groups : tuple of LineGroup
    start : tuple of float
        Velocity and dispersion, km/s.
    nonlinear : callable, optional
        See `fit_lines`.

    Returns
    -------
    GroupFit
    """
    nonlinear = nonlinear or minimise
    inflation = _inflation(residual, start[1], groups)
    balmer = np.array([group.balmer for group in groups])
    use = residual.good & near_lines(residual.wavelength, groups=groups)
    problem = _Problem(residual, groups, balmer.astype(int), use)
    kinematics = np.array([start, start], float)
    flux, covariance, chi2 = problem.solve(kinematics)
    own = _strong(flux, covariance, balmer, inflation)
    limits, first = _limits(2), flux / np.sqrt(np.diag(covariance)) / inflation
    wide = np.median(np.diff(np.log(residual.wavelength))) > WIDE_STEP
    for _ in range(2):
        if not own.any():
            break
        kinematics = nonlinear(problem, kinematics, own, limits)
        flux, covariance, chi2 = problem.solve(kinematics)
        again = own & _strong(flux, covariance, balmer, inflation)
        if wide:
            last = flux / np.sqrt(np.diag(covariance)) / inflation
            fell = (last < NEGATIVE) & (first > NEGATIVE)
            again &= [not fell[kind].any() for kind in (~balmer, balmer)]
        if (again == own).all():
            break
        kinematics, own = np.array([start, start], float), again
        flux, covariance, chi2 = problem.solve(kinematics)
    errors = _propagate(problem, kinematics, own, flux, inflation)
    covariance = errors.covariance + np.diag(_model_variance(residual, groups, flux))
    return GroupFit(
        flux,
        covariance,
        kinematics,
        errors.kinematics_error,
        tuple(map(bool, own)),
        inflation,
        errors.level_response,
        chi2,
        _misfit(problem, kinematics, flux, inflation),
    )


def _limits(n):
    """Return lowest and highest kinematics (n, 2) of narrow lines."""
    low = np.tile([-VELOCITY_RANGE, DISPERSION_RANGE[0]], (n, 1))
    high = np.tile([VELOCITY_RANGE, DISPERSION_RANGE[1]], (n, 1))
    return low, high


def _without_lsf(residual, groups, start, lines, nonlinear):
    """Fit without the line-spread function, if the lines are narrower than it; or None."""
    narrow = np.array(lines.own) & (lines.kinematics[:, 1] < 3 * DISPERSION_RANGE[0])
    resolution = np.median(residual.lsf_sigma / residual.wavelength) * SPEED_OF_LIGHT
    if not narrow.any() and resolution < COARSE_LSF:
        return None
    sharp = replace(residual, lsf_sigma=_least_lsf(residual.wavelength))
    fitted = fit_groups(sharp, groups, start, nonlinear)
    gain = (lines.chi2 - fitted.chi2) / lines.inflation**2
    # A misfit of some per cent is no reason: pixels are coarse, and line-spread functions rough.
    share = np.sqrt(max(gain, 0.0) / max(_chi2_of_lines(residual, groups, lines), 1e-30))
    return (sharp, fitted) if gain > LEVEL_CHI2 and share > 0.1 else None


def _chi2_of_lines(residual, groups, lines):
    """Return the chi-square that the lines themselves make, in units of the scatter."""
    profiles = group_profiles(residual.wavelength, residual.lsf_sigma, *lines.kinematics.T, groups)
    model = (profiles @ lines.flux)[residual.good] / residual.sigma[residual.good]
    return float(np.sum(model**2)) / lines.inflation**2


def _with_broad_lines(residual, groups, start, single, nonlinear, broad_snr, zone=BROAD_ZONE):
    """Fit of narrow and broad lines, or None where the data do not ask for it."""
    seen = tuple(group for group in BROAD_GROUPS if residual.coverage(group) > COVERED)
    if not seen or seen[0].names[0] not in ("halpha", "hbeta"):
        return None  # the higher lines of the series alone prove nothing
    n_groups, inflation = len(groups), single.inflation
    balmer = np.array([group.balmer for group in groups])
    component = np.concatenate([balmer.astype(int), np.full(len(seen), 2)])
    use = residual.good & (
        near_lines(residual.wavelength, groups=groups) | near_lines(residual.wavelength, zone, seen)
    )
    problem = _Problem(residual, (*groups, *seen), component, use)
    one = _Problem(residual, groups, component[:n_groups], use)
    before = min(one.solve(single.kinematics)[2], np.sum(one.data**2))
    # With a broad component in the fit, a wide single Gaussian is no start for the narrow one.
    narrow = single.kinematics[0] if single.own[0] else np.array(start)
    if narrow[1] > 0.7 * BROAD_DISPERSION_RANGE[0]:
        narrow = np.array(start)
    trials = [np.array([narrow, narrow, (narrow[0], width)]) for width in BROAD_TRIALS]
    chi2 = [problem.solve(trial)[2] for trial in trials]
    best, trial = min(chi2), trials[int(np.argmin(chi2))]
    if single.misfit > MISFIT_SEEN:
        # The redshift of such an object may be that of its broad lines.
        for velocity in BROAD_SHIFTS:
            shifted = trial + np.array([[velocity, 0], [velocity, 0], [0, 0]])
            lower = problem.solve(shifted)[2]
            best, trial = (lower, shifted) if lower < best else (best, trial)
    if (before - best) / inflation**2 < LEVEL_CHI2:
        return None
    price = (2 + len(seen)) * np.log(use.sum())
    low, high = _limits(3)
    low[:2] = -LINE_ZONE, DISPERSION_RANGE[0]
    high[:2] = LINE_ZONE, BROAD_DISPERSION_RANGE[0]
    low[2] = -BROAD_VELOCITY_RANGE, BROAD_DISPERSION_RANGE[0]
    high[2] = BROAD_VELOCITY_RANGE, BROAD_DISPERSION_RANGE[1]
    # The narrow lines move together: a kind of its own would take part of the broad one.
    own = np.array([True, False, True])
    kinematics = nonlinear(problem, trial, own, (low, high))
    flux, covariance, after = problem.solve(kinematics)
    gain = (before - after) / inflation**2 - price
    errors = _propagate(problem, kinematics, own, flux, inflation)
    covariance, error = errors.covariance.copy(), errors.kinematics_error
    covariance[:n_groups, :n_groups] += np.diag(_model_variance(residual, groups, flux[:n_groups]))
    centre = np.array([group.wavelengths[0] for group in seen])
    stars = np.interp(centre, residual.wavelength, residual.continuum)
    extent = np.sqrt(2 * np.pi) * centre * kinematics[2, 1] / SPEED_OF_LIGHT
    variance = np.diag(covariance)[n_groups:] + (BROAD_STARS_ERROR * stars * extent) ** 2
    broad_error = np.sqrt(variance)
    lsf = np.interp(centre[0], residual.wavelength, residual.lsf_sigma) / centre[0]
    narrow_width = np.hypot(kinematics[0, 1], lsf * SPEED_OF_LIGHT)
    resolved = kinematics[2, 1] > max(1.05 * BROAD_DISPERSION_RANGE[0], 2.5 * narrow_width)
    if gain < LEVEL_CHI2 or flux[n_groups] < broad_snr * broad_error[0] or not resolved:
        return None
    flux, broad_flux = flux[:n_groups], flux[n_groups:]
    scale = np.array([True, bool(single.own[1])])
    return GroupFit(
        flux,
        covariance[:n_groups, :n_groups],
        kinematics[:2],
        np.array([error[0], error[0]]),
        tuple(map(bool, scale)),
        inflation,
        errors.level_response[:n_groups],
        after,
        _misfit(problem, kinematics, np.append(flux, broad_flux), inflation),
        BroadLines(
            tuple(group.names[0] for group in seen),
            broad_flux,
            broad_error,
            float(kinematics[2, 0]),
            float(kinematics[2, 1]),
            float(error[2, 1]),
        ),
        (f"broad_line: Balmer lines of {kinematics[2, 1]:.0f} km/s beside the narrow ones",),
    )


def _with_two_components(residual, groups, single, nonlinear):
    """Fit of two velocity components in all lines, or None where the data do not ask for it."""
    n_groups, inflation = len(groups), single.inflation
    use = residual.good & near_lines(residual.wavelength, groups=groups)
    component = np.repeat([0, 1], n_groups)
    problem = _Problem(residual, (*groups, *groups), component, use)
    one = _Problem(residual, groups, np.array([int(group.balmer) for group in groups]), use)
    before = one.solve(single.kinematics)[2]
    if single.broad is not None:
        before = min(before, single.chi2)
    velocity, dispersion = single.kinematics[0 if single.own[0] else 1]
    low, high = _limits(2)
    low[:, 0], high[:, 0] = -TWO_RANGE, TWO_RANGE
    best = (np.inf, None)
    for apart, ratio in ((0.8, (0.6, 0.6)), (0.3, (0.5, 2.0)), (-0.3, (0.5, 2.0))):
        trial = np.array(
            [
                (velocity - apart * dispersion, ratio[0] * dispersion),
                (velocity + apart * dispersion, ratio[1] * dispersion),
            ]
        )
        chi2 = problem.solve(trial)[2]
        if chi2 < best[0]:
            best = (chi2, trial)
    own = np.array([True, True])
    kinematics = nonlinear(problem, best[1], own, (low, high), tied=False)
    flux, covariance, after = problem.solve(kinematics)
    price = n_groups * np.log(use.sum())
    if (before - after) / inflation**2 < LEVEL_CHI2 + price:
        return None
    errors = _propagate(problem, kinematics, own, flux, inflation, tied=False)
    both = np.hstack([np.eye(n_groups), np.eye(n_groups)])
    total = both @ flux
    covariance = both @ errors.covariance @ both.T
    covariance += np.diag(_model_variance(residual, groups, total))
    apart = abs(kinematics[1, 0] - kinematics[0, 0])
    return replace(
        single,
        flux=total,
        covariance=covariance,
        level_response=both @ errors.level_response,
        chi2=after,
        misfit=_misfit(problem, kinematics, flux, inflation),
        broad=None,
        flags=(f"lines have two velocity components, {apart:.0f} km/s apart; their sum is given",),
    )


def _misfit(problem, kinematics, flux, inflation):
    """Return the share of the lines that the model leaves, beyond the noise."""
    matrix = problem.columns(kinematics)
    model = matrix @ flux
    # Where lines are seen: a tenth of the strongest pixel of each strong one.
    signal = np.sqrt(np.sum((matrix * flux) ** 2, axis=0))
    strong = signal > 10 * inflation
    if not strong.any():
        return 0.0
    lines = np.abs(matrix[:, strong] * flux[strong])
    there = (lines > 0.03 * lines.max(axis=0)).any(axis=1)
    chi2 = np.sum((problem.data - model)[there] ** 2)
    excess = chi2 - inflation**2 * there.sum()
    total = np.sum((matrix[:, strong] @ flux[strong])[there] ** 2)
    return float(np.sqrt(max(excess, 0.0) / total))


def _linear(matrix, data):
    normal = matrix.T @ matrix
    # Lines that hardly show get an infinitesimal ridge instead of a singular matrix.
    normal += np.diag(np.full(len(normal), 1e-12 * np.trace(normal)))
    covariance = np.linalg.inv(normal)
    return covariance @ (matrix.T @ data), covariance


def _strong(flux, covariance, balmer, inflation):
    """Tell whether the (forbidden, Balmer) lines carry kinematics of their own."""
    strong = []
    for kind in (~balmer, balmer):
        rows = np.flatnonzero(kind & (flux > 0))
        # chi2 that the positive lines of this kind explain, each by itself.
        chi2 = np.sum(flux[rows] ** 2 / np.diag(covariance)[rows]) / inflation**2
        single = np.max(flux[rows] ** 2 / np.diag(covariance)[rows], initial=0.0) / inflation**2
        strong.append(chi2 > FREE_SNR**2 + rows.size and single > (FREE_SNR - 1) ** 2)
    return np.array(strong)


def _expand(free, kinematics, own, tied=True):
    """Fill kinematics (n, 2) from the free ones; of the first two a weak kind follows the strong
    one.
    """
    out = kinematics.copy()
    out[own] = free.reshape(-1, 2)
    if tied and own[:2].sum() == 1:
        strong = int(np.flatnonzero(own[:2])[0])
        out[1 - strong] = out[strong]
    return out


def minimise(problem, kinematics, own, limits, tied=True):
    """Fit velocities and dispersions by a trust-region minimiser."""
    data = problem.data

    def residuals(free):
        matrix = problem.columns(_expand(free, kinematics, own, tied))
        flux, _ = _linear(matrix, data)
        return data - matrix @ flux

    low, high = (limit[own].ravel() for limit in limits)
    free = kinematics[own].ravel().clip(low + 1, high - 1)
    result = least_squares(
        residuals, free, bounds=(low, high), x_scale=50.0, diff_step=1e-2, ftol=1e-4, xtol=1e-4,
        max_nfev=30,
    )  # fmt: skip
    return _expand(result.x, kinematics, own, tied)


def gauss_newton(problem, kinematics, own, limits, tied=True):
    """Fit velocities and dispersions by Gauss-Newton steps, the fluxes free to follow each.

    Where there is little noise this takes a third of the evaluations of `minimise`. A step that
    makes chi-square worse is halved.
    """
    data = problem.data
    low, high = (limit[own].ravel() for limit in limits)
    kept = free = kinematics[own].ravel().clip(low + 1, high - 1)
    best, step, better = np.inf, np.zeros(free.size), True
    for _ in range(GAUSS_NEWTON_STEPS):
        matrix = problem.columns(_expand(free, kinematics, own, tied))
        flux, _ = _linear(matrix, data)
        residual = data - matrix @ flux
        chi2 = residual @ residual
        gain, better = best - chi2, chi2 < best
        if better:
            kept, best = free, chi2
            slopes = _slopes(problem, matrix, free, kinematics, own, flux, tied)
            change, _ = _linear(np.column_stack([matrix, *slopes]), residual)
            step = change[flux.size :].clip(-LARGEST_STEP, LARGEST_STEP)
        else:
            step = step / 2
        free = (kept + step).clip(low, high)
        step = free - kept
        if np.abs(step).max() < SMALLEST_STEP or (better and gain < CHI2_GAIN * chi2):
            break
    return _expand(free if better else kept, kinematics, own, tied)


def _slopes(problem, matrix, free, kinematics, own, flux, tied):
    """Return derivatives of the model by the free kinematics, per km/s."""
    slopes = []
    for index in range(free.size):
        shifted = free.copy()
        shifted[index] += 2.0
        moved = problem.columns(_expand(shifted, kinematics, own, tied))
        slopes.append((moved - matrix) @ flux / 2.0)
    return slopes


@dataclass(frozen=True, eq=False)
class _Propagated:
    """Linear propagation of errors at a solution, the kinematics free.

    Attributes
    ----------
    covariance : ndarray, shape (n_groups, n_groups)
        Of the fluxes: noise of the pixels, scaled, and of the level that was taken off.
    kinematics_error : ndarray, shape of the kinematics
        NaN where they were not free.
    level_response : ndarray, shape (n_groups,)
        Change of the fluxes where the level under all lines is raised by one.
    """

    covariance: np.ndarray
    kinematics_error: np.ndarray
    level_response: np.ndarray


def _propagate(problem, kinematics, own, flux, inflation, tied=True):
    """Return errors of fluxes with free kinematics marginalised, and of the latter."""
    matrix = problem.columns(kinematics)
    derivatives = _slopes(problem, matrix, kinematics[own].ravel(), kinematics, own, flux, tied)
    jacobian = np.column_stack([matrix, *derivatives])
    norm = np.linalg.norm(jacobian, axis=0)
    norm[norm == 0] = 1.0
    scaled = jacobian / norm
    covariance = np.linalg.pinv(scaled.T @ scaled, rcond=1e-10) / np.outer(norm, norm)
    response = covariance @ (jacobian.T @ (1 / problem.residual.sigma[problem.use]))
    n_groups = flux.size
    strongest = np.array([group.wavelengths[0] for group in problem.groups])
    level = problem.residual.level_covariance(strongest)
    of_level = response[:n_groups, None] * level * response[:n_groups] * inflation**2
    # The level under the kinematics is that under the strongest of their lines.
    error = np.full(kinematics.shape, np.nan)
    # Of a line without good pixels it is zero, to rounding.
    of_flux = np.diag(covariance)[:n_groups]
    signal = np.abs(flux) / np.sqrt(np.where(of_flux > 0, of_flux, np.inf))
    strong = np.flatnonzero(own)
    main = [np.argmax(np.where(problem.component == row, signal, -np.inf)) for row in strong]
    variance = np.diag(covariance)[n_groups:].reshape(-1, 2)
    shifted = response[n_groups:].reshape(-1, 2) ** 2 * np.diag(level)[main, None]
    error[own] = inflation * np.sqrt(variance + shifted)
    noise = covariance[:n_groups, :n_groups] * (SHAPE_FACTOR * inflation) ** 2
    return _Propagated(noise + of_level, error, response[:n_groups])


def _model_variance(residual, groups, flux):
    """Return variance (n_groups,) of fluxes from line shapes and from the stars under the lines."""
    strongest = [group.wavelengths[0] for group in groups]
    stars = np.interp(strongest, residual.wavelength, residual.continuum)
    balmer = np.array([group.balmer for group in groups])
    shape = [SHAPE_ERROR_OIII if "oiii_5007" in g.names else SHAPE_ERROR for g in groups]
    return (shape * flux) ** 2 + (np.where(balmer, STARS_ERROR_BALMER, STARS_ERROR) * stars) ** 2


def _inflation(residual, dispersion, groups=GROUPS):
    """Scatter over expected scatter of line fluxes where there are no lines, at least 1."""
    calm = residual.good & ~near_lines(residual.wavelength, 600.0, groups)
    step = np.median(np.diff(np.log(residual.wavelength)))
    stride = max(int(4 * np.hypot(dispersion, 70.0) / SPEED_OF_LIGHT / step), 1)
    index = np.flatnonzero(residual.good)[stride:-stride:stride]
    index = index[calm[index]]
    if index.size < 20:
        return 1.0
    centre = residual.wavelength[index]
    sigma = np.hypot(residual.lsf_sigma[index], centre * dispersion / SPEED_OF_LIGHT)
    pixel, profile = line_windows(pixel_edges(residual.wavelength), centre, sigma)
    profile = profile * calm[pixel]
    weight = np.where(calm, residual.sigma, np.inf)[pixel] ** -2
    flux = (profile * weight * residual.flux[pixel]).sum(1)
    flux_over_error = flux / np.sqrt((profile**2 * weight).sum(1))
    # About zero, not about the median: an offset is an error too.
    return float(max(1.0, robust_std(flux_over_error, about=0.0)))
