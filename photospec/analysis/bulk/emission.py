"""Emission lines of many spectra whose stars have been fitted on the pixels of the library.

The fit is that of `photospec.analysis.emission.fit`, one Gaussian per line. All spectra share
their pixels, so the lines of all of them are evaluated together, near the lines only, and the
normal equations are small matrices solved in one call. Broad or double lines are not fitted here:
`measure_lines_bulk` looks whether there may be any and leaves such spectra to `measure_lines`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike

import numpy as np
from scipy.ndimage import median_filter
from scipy.special import erf

from photospec.analysis.bulk.library import library_of
from photospec.analysis.emission.fit import (
    BACKGROUND,
    BROAD_STARS_ERROR,
    BROAD_ZONE,
    CHI2_GAIN,
    COARSE_LSF,
    COVERED,
    DISPERSION_RANGE,
    FREE_SNR,
    GAUSS_NEWTON_STEPS,
    LARGEST_STEP,
    LEVEL_CHI2,
    LINE_ZONE,
    MISFIT_SEEN,
    SHAPE_ERROR,
    SHAPE_ERROR_OIII,
    SHAPE_FACTOR,
    SMALLEST_STEP,
    STARS_ERROR,
    STARS_ERROR_BALMER,
    VELOCITY_RANGE,
    median_variance,
    near_lines,
)
from photospec.analysis.emission.measure import (
    ABSORPTION_ERROR,
    BAD_PIXELS,
    CONTINUUM_PIXELS,
    DEFAULT_DISPERSION,
    DETECTED,
    MISFIT_ERROR,
    TIED_ERROR,
    LineFluxes,
)
from photospec.analysis.emission.model import BROAD_GROUPS, line_groups, members
from photospec.analysis.populations.result import PopulationFit
from photospec.analysis.populations.templates import TemplateSet, load_templates
from photospec.lines import BALMER, Line, continuum_beside
from photospec.utils.constants import SPEED_OF_LIGHT
from photospec.utils.stats import robust_std

__all__ = ["measure_lines_bulk"]

BLOCK = 16  # spectra at a time
REACH = 3000.0  # km/s from its centre at rest where a line ends: 6 sigma of a broad one
# Broad components that are looked for: standard deviations, and velocities beside the narrow
# lines, in km/s; with narrow lines as they were fitted, and narrower by this factor.
BROAD_WIDTHS = (450.0, 700.0, 1100.0, 1700.0, 2600.0, 4000.0)
BROAD_VELOCITIES = (-1500.0, -750.0, 0.0, 750.0, 1500.0)
NARROWER = 0.75
RIDGE = 1e-12  # of the trace of the normal equations: as of the exact path
# Somewhat below the limits of the exact path it decides, so that both take the same model.
BROAD_SNR, MARGIN = 2.5, 0.5
MISFIT_SETTLED, NO_SIGNAL = 0.2, 1.0


class _Pixels:
    """Where the lines of some groups are on one grid of pixels in the rest frame.

    Attributes
    ----------
    near : ndarray (n_groups, n_pixels) of bool
        Within `LINE_ZONE` of a line of the group.
    used : ndarray of int (n_used,)
        Pixels near any line.
    group, rest, ratio : ndarray (n_lines,)
        As of `members`.
    edges : ndarray (n_lines, n_window + 1)
        Borders of the pixels within `REACH` of each line, Angstrom.
    runs : list of lists of (slice, slice)
        Runs of pixels of the window of each line that are used: where among those used, and
        where in the window.
    """

    def __init__(self, wavelength, groups):
        self.wavelength, self.groups = wavelength, groups
        self.step = np.log(wavelength[1] / wavelength[0])
        self.near = np.array([near_lines(wavelength, LINE_ZONE, (one,)) for one in groups])
        self.used = np.flatnonzero(self.near.any(axis=0))
        self.balmer = np.array([group.balmer for group in groups])
        self.first = np.array([group.wavelengths[0] for group in groups])
        shape = [SHAPE_ERROR_OIII if "oiii_5007" in g.names else SHAPE_ERROR for g in groups]
        self.shape_error = np.array(shape)
        self.group, self.rest, self.ratio = members(groups)
        window, self.edges = self.window(self.rest, REACH)
        where = np.full(wavelength.size, -1)
        where[self.used] = np.arange(self.used.size)
        place = np.where(
            (window >= 0) & (window < wavelength.size),
            where[window.clip(0, wavelength.size - 1)], -1,
        )  # fmt: skip
        self.runs = [_runs(one) for one in place]

    def window(self, centre, reach):
        """Return pixel numbers (n, n_window) within `reach` km/s, and their borders (n, n_window +
        1).
        """
        middle = np.rint(np.log(centre / self.wavelength[0]) / self.step).astype(int)
        half = int(reach / SPEED_OF_LIGHT / self.step)
        pixel = middle[:, None] + np.arange(-half, half + 1)
        border = np.column_stack([pixel, pixel[:, -1] + 1]) - 0.5
        return pixel, self.wavelength[0] * np.exp(self.step * border)


def _runs(place):
    """Return (slice of places, slice) of runs of rising places; -1 is none."""
    ends = np.flatnonzero((np.diff(place) != 1) | (place[:-1] < 0)) + 1
    starts = np.r_[0, ends]
    pairs = [
        (slice(place[first], place[first] + last - first), slice(first, last))
        for first, last in zip(starts, np.r_[ends, place.size], strict=True)
    ]
    return [(into, out) for into, out in pairs if place[out.start] >= 0]


@lru_cache(maxsize=4)
def _pixels(wavelength, groups):
    return _Pixels(np.frombuffer(wavelength), groups)


@dataclass(frozen=True, eq=False)
class _Residuals:
    """n spectra minus stars: `photospec.analysis.emission.fit.Residual` for many.

    Attributes
    ----------
    pixels : _Pixels
    flux, wide, sigma, continuum, lsf : ndarray (n, n_pixels)
        `wide` is levelled beside broad Balmer lines, `flux` beside narrow ones.
    good : ndarray (n, n_pixels) of bool
    seen : ndarray (n, n_groups) of bool
        Groups that are fitted: those that can be measured, and those on bad pixels. What is seen
        of the latter would else be taken for a part of their neighbours.
    measured : ndarray (n, n_groups) of bool
    reason : ndarray (n, n_groups) of str
        Why a group cannot.
    level_place, level_variance : ndarray (n, n_pixels)
        As of `photospec.analysis.emission.fit.Residual`.
    """

    pixels: _Pixels
    flux: np.ndarray
    wide: np.ndarray
    sigma: np.ndarray
    continuum: np.ndarray
    lsf: np.ndarray
    good: np.ndarray
    seen: np.ndarray
    measured: np.ndarray
    reason: np.ndarray
    level_place: np.ndarray
    level_variance: np.ndarray

    @classmethod
    def of(cls, fits, pixels):
        """From PopulationFits on the same pixels in the rest frame."""
        stretch = 1 + np.array([fit.redshift for fit in fits])[:, None]
        flux, sigma, continuum, lsf = (
            np.array([getattr(fit, name) for fit in fits])
            for name in ("flux", "sigma", "continuum", "lsf_sigma")
        )
        lsf = lsf / stretch
        known = np.isfinite(continuum)
        good = ~np.array([fit.mask for fit in fits]) & known & np.isfinite(sigma)
        continuum = np.where(known, continuum, 0.0)
        flux = np.where(good, np.nan_to_num(flux) - continuum, 0.0)
        reason = _why_not(pixels, good, lsf)
        measured = reason == ""
        seen = measured | (reason == BAD_PIXELS)
        broad = near_lines(pixels.wavelength, BROAD_ZONE, BROAD_GROUPS)
        wide, place, variance = flux.copy(), np.empty(flux.shape), np.empty(flux.shape)
        for i, one in enumerate(seen):
            calm = good[i] & ~pixels.near[one].any(axis=0)
            wide[i] -= _level(flux[i], calm & ~broad)[0]
            level, place[i], variance[i] = _level(flux[i], calm)
            flux[i] -= level
            continuum[i] += np.where(known[i], level, 0.0)
        return cls(
            pixels, np.where(good, flux, 0.0), np.where(good, wide, 0.0),
            np.where(good, sigma, np.inf), continuum, lsf, good, seen, measured, reason, place,
            variance,
        )  # fmt: skip

    def at(self, values, wavelength):
        """Return values (n, n_pixels) at some wavelengths, interpolated."""
        place = np.interp(
            wavelength, self.pixels.wavelength, np.arange(self.pixels.wavelength.size)
        )
        low = np.minimum(place.astype(int), self.pixels.wavelength.size - 2)
        return values[:, low] * (1 + low - place) + values[:, low + 1] * (place - low)

    def noise(self, wavelength):
        """Return errors of pixels (n, n_wave) at some wavelengths."""
        return np.array(
            [
                np.interp(wavelength, self.pixels.wavelength[good], one[good])
                for good, one in zip(self.good, self.sigma, strict=True)
            ]
        )

    def level_covariance(self, wavelength):
        """Return the covariance (n, n_wave, n_wave) of the running median:
        `Residual.level_covariance`.
        """
        place = self.at(self.level_place, wavelength)
        shared = (1 - np.abs(place[:, :, None] - place[:, None]) / BACKGROUND).clip(0)
        error = np.sqrt(self.at(self.level_variance, wavelength)) * self.noise(wavelength)
        return shared * error[:, :, None] * error[:, None]


def _level(flux, calm):
    """Return slow undulation (n_pixels,) of a residual, its `level_place` and `level_variance`."""
    pixels = np.arange(flux.size)
    if calm.sum() <= BACKGROUND:
        return np.zeros(flux.size), pixels, np.zeros(flux.size)
    index = np.flatnonzero(calm)
    level = median_filter(flux[index], BACKGROUND, mode="reflect")
    parts = level, np.arange(index.size), median_variance(index.size)
    return tuple(np.interp(pixels, index, part) for part in parts)


def _why_not(pixels, good, lsf):
    """Tell why a group (n, n_groups) cannot be measured; empty where it can."""
    n = len(good)
    profiles = _Profiles(pixels, lsf, np.zeros((n, 2)), np.full((n, 2), 100.0)).rows()
    weight = good * pixels.step * pixels.wavelength
    covered = (profiles @ weight[:, pixels.used, None])[..., 0]
    covered /= [sum(group.ratios) for group in pixels.groups]
    any_good = good.any(axis=1)[:, None]
    first = np.where(any_good, pixels.wavelength[good.argmax(axis=1)][:, None], np.inf)
    last = pixels.wavelength[-1 - good[:, ::-1].argmax(axis=1)][:, None]
    reason = np.where(covered > COVERED, "", BAD_PIXELS).astype(object)
    reason[~((first < pixels.first) & (pixels.first < last))] = "outside the fitted spectrum"
    return reason


class _Profiles:
    """Gaussian lines on the used pixels, and their derivatives.

    Parameters
    ----------
    pixels : _Pixels
    lsf : ndarray (n, n_pixels)
        Rest Angstrom.
    velocity, dispersion : ndarray (n, 2)
        Of forbidden and of Balmer lines, km/s.
    """

    def __init__(self, pixels, lsf, velocity, dispersion):
        self.pixels = pixels
        kind = pixels.balmer[pixels.group].astype(int)
        self.centre = pixels.rest * np.exp(velocity[:, kind] / SPEED_OF_LIGHT)
        place = np.log(self.centre / pixels.wavelength[0]) / pixels.step
        low = np.clip(place.astype(int), 0, pixels.wavelength.size - 2)
        along = np.clip(place - low, 0, 1)
        left, right = (np.take_along_axis(lsf, low + k, 1) for k in (0, 1))
        self.wide = self.centre * dispersion[:, kind] / SPEED_OF_LIGHT
        self.sigma = np.hypot(left + (right - left) * along, self.wide)
        self.far = (pixels.edges - self.centre[..., None]) / self.sigma[..., None]
        self.per_pixel = pixels.ratio[:, None] / np.diff(pixels.edges)

    def rows(self):
        """Return profiles (n, n_groups, n_used) per Angstrom: unit area of a group's first line."""
        values = np.diff(0.5 * erf(np.sqrt(0.5) * self.far)) * self.per_pixel
        pixels = self.pixels
        rows = np.zeros((len(values), len(pixels.groups), pixels.used.size))
        for line, group in enumerate(pixels.group):
            for into, out in pixels.runs[line]:
                rows[:, group, into] += values[:, line, out]
        return rows

    def slopes(self, flux):
        """Return derivatives (n, 4, n_used) of lines of some flux (n, n_groups), per km/s.

        By velocity and dispersion of forbidden lines, then of Balmer lines.
        """
        pixels = self.pixels
        height = np.exp(-0.5 * self.far**2)
        scale = flux[:, pixels.group] / self.sigma / np.sqrt(2 * np.pi)
        scale = self.per_pixel * (-scale * self.centre / SPEED_OF_LIGHT)[..., None]
        by_velocity = np.diff(height) * scale
        by_width = np.diff(height * self.far) * scale * (self.wide / self.sigma)[..., None]
        slopes = np.zeros((len(flux), 4, pixels.used.size))
        for line, group in enumerate(pixels.group):
            first = 2 * int(pixels.balmer[group])
            for into, out in pixels.runs[line]:
                slopes[:, first, into] += by_velocity[:, line, out]
                slopes[:, first + 1, into] += by_width[:, line, out]
        return slopes


@dataclass(frozen=True, eq=False)
class _Problem:
    """Lines over errors on the used pixels of n spectra.

    Attributes
    ----------
    pixels : _Pixels
    lsf : ndarray (n, n_pixels)
    weight : ndarray (n, n_used)
        One over the error, zero where a pixel is not used.
    seen : ndarray (n, n_groups) of bool
    data : ndarray (n, n_used)
    """

    pixels: _Pixels
    lsf: np.ndarray
    weight: np.ndarray
    seen: np.ndarray
    data: np.ndarray

    @classmethod
    def of(cls, residuals):
        """Of the narrow lines of all spectra."""
        pixels = residuals.pixels
        near = np.array([pixels.near[one].any(axis=0) for one in residuals.seen])
        weight = ((residuals.good & near) / residuals.sigma)[:, pixels.used]
        data = residuals.flux[:, pixels.used] * weight
        return cls(pixels, residuals.lsf, weight, residuals.seen, data)

    def take(self, rows):
        """Return some of the spectra."""
        return _Problem(
            self.pixels, self.lsf[rows], self.weight[rows], self.seen[rows], self.data[rows]
        )

    def solve(self, kinematics):
        """Solve for the best fluxes at kinematics (n, 4), as a `_Solution`."""
        profiles = _Profiles(self.pixels, self.lsf, kinematics[:, ::2], kinematics[:, 1::2])
        matrix = profiles.rows()
        matrix *= self.weight[:, None]
        matrix *= self.seen[..., None]
        normal = _solvable(matrix @ matrix.swapaxes(1, 2))
        flux = np.linalg.solve(normal, matrix @ self.data[..., None])[..., 0] * self.seen
        residual = self.data - (flux[:, None] @ matrix)[:, 0]
        return _Solution(profiles, matrix, flux, normal, residual, (residual**2).sum(axis=1))


@dataclass(frozen=True, eq=False)
class _Solution:
    """Linear fit at some kinematics: see `_Problem.solve`."""

    profiles: _Profiles
    matrix: np.ndarray
    flux: np.ndarray
    normal: np.ndarray
    residual: np.ndarray
    chi2: np.ndarray

    def jacobian(self, weight, follows):
        """Return rows (n, n_groups + 4, n_used): fluxes, then the free kinematics."""
        slopes = self.profiles.slopes(self.flux) * weight[:, None]
        return np.concatenate([self.matrix, follows.swapaxes(1, 2) @ slopes], axis=1)


def _solvable(normal):
    """Return normal equations (n, k, k) with a small ridge, and ones for columns of zeros."""
    k = np.arange(normal.shape[1])
    diagonal = normal[:, k, k]
    ridge = RIDGE * diagonal.sum(axis=1, keepdims=True)
    normal = normal.copy()
    normal[:, k, k] += np.where(diagonal > 0, ridge, 1.0)
    return normal


def _inverse(normal):
    """Return inverses (n, k, k) of normal equations, with ones for columns of zeros."""
    return np.linalg.inv(_solvable(normal))


def _follows(own):
    """Return a matrix (n, 4, 4): which free kinematics each of the four follows, those of a weak
    kind the strong kind's.
    """
    own = np.asarray(own, bool)
    alone = own.sum(axis=1) == 1
    follows = np.zeros((len(own), 4, 4))
    for kind in (0, 1):
        for k in (0, 1):
            at = 2 * kind + k
            follows[own[:, kind], at, at] = 1.0
            follows[own[:, kind] & alone, 2 * (1 - kind) + k, at] = 1.0
    return follows


def _gauss_newton(problem, kinematics, own):
    """Fit the kinematics (n, 4) of the lines: `photospec.analysis.emission.fit.gauss_newton`."""
    low = np.array([-VELOCITY_RANGE, DISPERSION_RANGE[0]] * 2)
    high = np.array([VELOCITY_RANGE, DISPERSION_RANGE[1]] * 2)
    follows = _follows(own)
    free = kinematics.clip(low + 1, high - 1)
    kept, step, best = free.copy(), np.zeros_like(free), np.full(len(free), np.inf)
    better, todo = np.ones(len(free), bool), np.arange(len(free))
    for _ in range(GAUSS_NEWTON_STEPS):
        some = problem.take(todo)
        solution = some.solve(_expand(free[todo], follows[todo]))
        gain = best[todo] - solution.chi2
        better[todo] = gain > 0
        improved = todo[better[todo]]
        kept[improved] = free[improved]
        best[improved] = solution.chi2[better[todo]]
        jacobian = solution.jacobian(some.weight, follows[todo])
        normal = _solvable(jacobian @ jacobian.swapaxes(1, 2))
        change = np.linalg.solve(normal, jacobian @ solution.residual[..., None])[:, -4:]
        change = change[..., 0].clip(-LARGEST_STEP, LARGEST_STEP)
        step[todo] = np.where(better[todo, None], change, step[todo] / 2)
        free[todo] = (kept[todo] + step[todo]).clip(low, high)
        step[todo] = free[todo] - kept[todo]
        done = np.abs(step[todo]).max(axis=1) < SMALLEST_STEP
        done |= better[todo] & (gain < CHI2_GAIN * solution.chi2)
        todo = todo[~done]
        if not todo.size:
            break
    return _expand(np.where(better[:, None], free, kept), follows)


def _expand(free, follows):
    return (follows @ free[..., None])[..., 0]


def _strong(solution, pixels, inflation):
    """Tell whether (forbidden, Balmer) lines carry kinematics of their own, (n, 2)."""
    variance = np.diagonal(np.linalg.inv(solution.normal), axis1=1, axis2=2)
    chi2 = np.where(solution.flux > 0, solution.flux**2 / variance, 0.0) / inflation[:, None] ** 2
    strong = []
    for kind in (~pixels.balmer, pixels.balmer):
        count = (solution.flux[:, kind] > 0).sum(axis=1)
        total, single = chi2[:, kind].sum(axis=1), chi2[:, kind].max(axis=1, initial=0.0)
        strong.append((total > FREE_SNR**2 + count) & (single > (FREE_SNR - 1) ** 2))
    return np.array(strong).T


@dataclass(frozen=True, eq=False)
class _Groups:
    """Fitted groups of n spectra: `photospec.analysis.emission.fit.GroupFit` for many."""

    flux: np.ndarray
    covariance: np.ndarray
    kinematics: np.ndarray
    error: np.ndarray
    own: np.ndarray
    inflation: np.ndarray
    level_response: np.ndarray
    misfit: np.ndarray


def _fit_groups(residuals, start):
    """Fit one Gaussian per line: `photospec.analysis.emission.fit.fit_groups`."""
    pixels, problem = residuals.pixels, _Problem.of(residuals)
    inflation = _inflation(residuals, start[:, 1])
    start = np.tile(start, 2)
    kinematics, own = start.copy(), _strong(problem.solve(start), pixels, inflation)
    todo = np.flatnonzero(own.any(axis=1))
    for _ in range(2):
        if not todo.size:
            break
        some = problem.take(todo)
        found = _gauss_newton(some, kinematics[todo], own[todo])
        again = own[todo] & _strong(some.solve(found), pixels, inflation[todo])
        same = (again == own[todo]).all(axis=1)
        kinematics[todo], own[todo] = np.where(same[:, None], found, start[todo]), again
        todo = todo[~same & again.any(axis=1)]
    solution, follows = problem.solve(kinematics), _follows(own)
    jacobian = solution.jacobian(problem.weight, follows)
    norm = np.sqrt((jacobian**2).sum(axis=2))
    norm[norm == 0] = 1.0
    scaled = jacobian / norm[..., None]
    covariance = _inverse(scaled @ scaled.swapaxes(1, 2)) / (norm[:, :, None] * norm[:, None])
    n_groups, scale = len(pixels.groups), inflation[:, None]
    # How fluxes and kinematics follow the level that was taken off.
    response = (covariance @ (jacobian @ problem.weight[..., None]))[..., 0]
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    level = residuals.level_covariance(pixels.first)
    signal = np.abs(solution.flux) / np.sqrt(variance[:, :n_groups])
    error = np.full(kinematics.shape, np.nan)
    for kind in (0, 1):  # the level under the kinematics is that under the strongest line
        main = np.where(pixels.balmer == kind, signal, -1.0).argmax(axis=1)
        under = np.take_along_axis(np.diagonal(level, axis1=1, axis2=2), main[:, None], 1)
        part = slice(n_groups + 2 * kind, n_groups + 2 * kind + 2)
        found = scale * np.sqrt(variance[:, part] + response[:, part] ** 2 * under)
        error[:, 2 * kind : 2 * kind + 2] = np.where(own[:, kind, None], found, np.nan)
    response = response[:, :n_groups]
    covariance = covariance[:, :n_groups, :n_groups] * SHAPE_FACTOR**2
    covariance += response[:, :, None] * level * response[:, None]
    covariance *= scale[..., None] ** 2
    stars = residuals.at(residuals.continuum, pixels.first)
    stars_error = np.where(pixels.balmer, STARS_ERROR_BALMER, STARS_ERROR)
    k = np.arange(n_groups)
    covariance[:, k, k] += (pixels.shape_error * solution.flux) ** 2 + (stars_error * stars) ** 2
    misfit = _misfit(problem, solution, inflation)
    return _Groups(solution.flux, covariance, kinematics, error, own, inflation, response, misfit)


def _misfit(problem, solution, inflation):
    """Return the share (n,) of the lines that the model leaves, beyond the noise."""
    lines = solution.matrix * solution.flux[..., None]
    strong = np.sqrt((lines**2).sum(axis=2)) > 10 * inflation[:, None]
    lines *= strong[..., None]
    size = np.abs(lines)
    there = ((size > 0.03 * size.max(axis=2, keepdims=True)) & strong[..., None]).any(axis=1)
    excess = (solution.residual**2 * there).sum(axis=1) - inflation**2 * there.sum(axis=1)
    total = (lines.sum(axis=1) ** 2 * there).sum(axis=1)
    return np.sqrt(excess.clip(0) / np.where(total > 0, total, 1.0))


def _inflation(residuals, dispersion):
    """Scatter over expected scatter (n,) of lines where there are none, at least 1."""
    pixels = residuals.pixels
    velocity = SPEED_OF_LIGHT * pixels.step
    quiet = ~np.array([near_lines(pixels.wavelength, 600.0, (one,)) for one in pixels.groups])
    inflation = np.ones(len(dispersion))
    for i, width in enumerate(dispersion):
        good = residuals.good[i]
        calm = good & quiet[residuals.seen[i]].all(axis=0)
        stride = max(int(4 * np.hypot(width, 70.0) / velocity), 1)
        index = np.flatnonzero(good)[stride:-stride:stride]
        index = index[calm[index]]
        if index.size < 20:
            continue
        centre = pixels.wavelength[index]
        sigma = np.hypot(residuals.lsf[i, index], centre * width / SPEED_OF_LIGHT)
        reach = int(np.ceil(6 * np.max(sigma / centre) / pixels.step)) + 1
        pixel = index[:, None] + np.arange(-reach, reach + 1)
        inside = (pixel >= 0) & (pixel < good.size)
        pixel = pixel.clip(0, good.size - 1)
        far = (np.arange(-reach, reach + 1) * pixels.step) * (centre / sigma)[:, None]
        profile = np.exp(-0.5 * far**2) * inside
        weight = (calm / residuals.sigma[i])[pixel]
        profile *= weight
        ratio = (profile * weight * residuals.flux[i, pixel]).sum(axis=1)
        ratio /= np.sqrt((profile**2).sum(axis=1))
        inflation[i] = max(1.0, robust_std(ratio, about=0.0))
    return inflation


def _may_be_broad(residuals, groups):
    """Tell whether (n,) broad Balmer lines may beat the narrow ones, and their largest
    signal-to-noise: the exact path decides.

    Every Balmer line is looked at by itself, beside narrow lines with kinematics as they were
    fitted or somewhat narrower.
    """
    pixels = residuals.pixels
    seen = residuals.measured[:, [pixels.groups.index(one) for one in BROAD_GROUPS]]
    first = np.where(seen[:, 0], 0, 1)  # the line whose signal counts
    price = LEVEL_CHI2 + (2 + seen.sum(axis=1)) * np.log(residuals.good.sum(axis=1))
    alone, trials = [], []
    for factor in (1.0, NARROWER):
        kinematics = groups.kinematics * [1, factor, 1, factor]
        profiles = _Profiles(pixels, residuals.lsf, kinematics[:, ::2], kinematics[:, 1::2])
        chi2, gain, signal = 0.0, 0.0, 0.0
        for k, group in enumerate(BROAD_GROUPS):
            without, lower, ratio = _broad_line(residuals, groups, group.wavelengths[0], profiles)
            chi2 = chi2 + np.where(seen[:, k], without, 0.0)
            gain = gain + np.where(seen[:, k, None], lower, 0.0)
            signal = np.where((first == k)[:, None], ratio, signal)
        alone.append(chi2[:, None])
        trials.append((alone[0] - alone[-1] + gain, signal))
    gain, signal = (np.hstack(part) for part in zip(*trials, strict=True))
    gain /= groups.inflation[:, None] ** 2
    # The minimiser ends where most is gained, on finer steps than these.
    least = MARGIN * np.maximum(price, gain.max(axis=1))
    asked = (gain > least[:, None]) & (signal > BROAD_SNR)
    return asked.any(axis=1) & seen[:, :2].any(axis=1), signal.max(axis=1)


def _broad_line(residuals, groups, centre, profiles):
    """Return the chi-square (n,) without a broad line, and what each trial gains and its
    signal-to-noise.

    The last two have shape (n, n_trials).
    """
    pixels = residuals.pixels
    window, broad, width = _broad_trials(pixels, centre)
    weight = (residuals.good / residuals.sigma)[:, window]
    near = np.flatnonzero(np.abs(np.log(pixels.rest / centre)) < 1.2 * BROAD_ZONE / SPEED_OF_LIGHT)
    far = np.log(pixels.wavelength[window] / profiles.centre[:, near, None])
    far *= (profiles.centre / profiles.sigma)[:, near, None]
    lines = np.exp(-0.5 * far**2) * weight[:, None]
    belong = pixels.group[near] == np.unique(pixels.group[near])[:, None]
    narrow = (belong * (pixels.ratio / pixels.rest)[near]) @ lines  # (n, n_groups, n_window)
    data = residuals.wide[:, window] * weight
    # What narrow lines cannot explain, of the data and of every trial.
    explained = _inverse(narrow @ narrow.swapaxes(1, 2)) @ narrow
    crossed = narrow @ (weight[..., None] * broad)
    left = data - ((explained @ data[..., None]).swapaxes(1, 2) @ narrow)[:, 0]
    taken = (crossed * (explained @ (weight[..., None] * broad))).sum(axis=1)
    norm = _each_row(weight**2, broad**2) - taken
    # A trial without good samples, or one that narrow lines explain whole, gains nothing.
    useful = norm > 0
    norm = np.where(useful, norm, 1.0)
    flux = np.where(useful, (_each_row(left * weight, broad) / norm).clip(0), 0.0)
    stars = residuals.at(residuals.continuum, centre)[:, None]
    extent = np.sqrt(2 * np.pi) * centre * width / SPEED_OF_LIGHT
    error = np.hypot(
        SHAPE_FACTOR * groups.inflation[:, None] / np.sqrt(norm), BROAD_STARS_ERROR * stars * extent
    )
    narrow_width = np.median(profiles.sigma / profiles.centre, axis=1) * SPEED_OF_LIGHT
    resolved = width > 2 * narrow_width[:, None]
    signal = np.where(resolved, flux / error, 0.0)
    return (left**2).sum(axis=1), norm * flux**2, signal


@lru_cache(maxsize=16)
def _broad_trials(pixels, centre):
    """Return the window, profiles (n_window, n_trials) and widths (n_trials,) of trial lines at a
    centre.
    """
    window = np.flatnonzero(near_lines(pixels.wavelength, BROAD_ZONE, BROAD_GROUPS))
    distance = np.log(pixels.wavelength[window] / centre) * SPEED_OF_LIGHT
    window, distance = (one[np.abs(distance) < BROAD_ZONE] for one in (window, distance))
    velocity, width = np.meshgrid(BROAD_VELOCITIES, BROAD_WIDTHS)
    velocity, width = velocity.ravel(), width.ravel()
    extent = np.sqrt(2 * np.pi) * centre * width / SPEED_OF_LIGHT
    profiles = np.exp(-0.5 * ((distance[:, None] - velocity) / width) ** 2) / extent
    return window, profiles, width


def measure_lines_bulk(
    fits: Sequence[PopulationFit],
    lines: Sequence[str | Line] | None = None,
    *,
    templates: str | PathLike | TemplateSet = "bc03",
) -> list[LineFluxes | None]:
    """Measure emission lines on spectra whose stars were fitted in bulk.

    `photospec.analysis.emission.measure_lines` for many spectra.

    Parameters
    ----------
    fits : list of PopulationFit
        From `photospec.analysis.bulk.fit_populations_bulk`.
    lines : sequence of str or Line, optional
        As of `measure_lines`.
    templates : str, path or TemplateSet
        That the fits were made with.

    Returns
    -------
    list of LineFluxes or None
        None where the lines may be broad, double, no Gaussians, narrower than the line-spread
        function, or where nothing could be fitted: `measure_lines` has to look.
    """
    groups, names = line_groups(lines)
    pixels = _pixels(library_of(load_templates(templates)).wavelength.tobytes(), groups)
    found = [None] * len(fits)
    fitted = [i for i, fit in enumerate(fits) if np.isfinite(fit.continuum).any()]
    for start in range(0, len(fitted), BLOCK):
        rows = fitted[start : start + BLOCK]
        for i, one in zip(
            rows, _measure_block([fits[i] for i in rows], pixels, names), strict=True
        ):
            found[i] = one
    return found


def _measure_block(fits, pixels, names):
    """Return LineFluxes, or None, of a few spectra."""
    residuals = _Residuals.of(fits, pixels)
    fitted = _fit_groups(residuals, np.array([_start(fit) for fit in fits]))
    asked, signal = _may_be_broad(residuals, fitted)
    # Of lines that are no Gaussians the exact path looks for broad ones farther off.
    far = (fitted.misfit > MISFIT_SEEN) & (signal > NO_SIGNAL)
    settled = residuals.measured.any(axis=1) & (fitted.misfit < MISFIT_SETTLED) & ~asked & ~far
    narrow = np.where(fitted.own, fitted.kinematics[:, 1::2], np.inf).min(axis=1)
    resolution = np.median(residuals.lsf / pixels.wavelength, axis=1) * SPEED_OF_LIGHT
    settled &= (narrow > 3 * DISPERSION_RANGE[0]) & (resolution < COARSE_LSF)
    found = _named(fits, residuals, fitted, names)
    return [one if fine else None for one, fine in zip(found, settled, strict=True)]


def _start(fit):
    """Return the velocity and dispersion, km/s, where the fit of the lines begins."""
    if fit.gas:
        (velocity, _), (dispersion, _) = next(iter(fit.gas.values()))
        if abs(velocity - fit.velocity) < 500 and dispersion < 500:
            return velocity - fit.velocity, max(dispersion, 20.0)
    return 0.0, DEFAULT_DISPERSION


def _named(fits, residuals, fitted, names):
    """Return LineFluxes of each spectrum: `photospec.analysis.emission.measure._named` for many."""
    pixels, n_lines = residuals.pixels, len(names)
    share, group, tied = np.zeros((n_lines, len(pixels.groups))), np.zeros(n_lines, int), []
    for row, name in enumerate(names):
        column = next(k for k, one in enumerate(pixels.groups) if name in one.names)
        group[row], which = column, pixels.groups[column].names.index(name)
        share[row, column] = pixels.groups[column].ratios[which]
        tied.append(which > 0)
    rest = np.array([pixels.groups[k].wavelengths[pixels.groups[k].names.index(name)]
                     for k, name in zip(group, names, strict=True)])  # fmt: skip
    stretch = 1 + np.array([fit.redshift for fit in fits])[:, None]
    measured = residuals.measured[:, group]
    flux = np.where(measured, _each_row(fitted.flux, share.T) * stretch, np.nan)
    covariance = share @ fitted.covariance @ share.T * stretch[..., None] ** 2
    k = np.arange(n_lines)
    covariance[:, k, k] += (np.array(tied) * TIED_ERROR * flux) ** 2
    covariance[:, k, k] += (MISFIT_ERROR * fitted.misfit[:, None] * flux) ** 2
    covariance[~(measured[:, None] & measured[..., None])] = np.nan
    error = np.sqrt(covariance[:, k, k])
    stars = np.where(residuals.continuum != 0, residuals.continuum, np.nan)
    continuum = continuum_beside(pixels.wavelength, stars, np.broadcast_to(rest, flux.shape))
    continuum = np.where(measured, continuum, np.nan)
    variance = np.diagonal(residuals.level_covariance(rest), axis1=1, axis2=2)
    variance = np.maximum(variance, residuals.noise(rest) ** 2 / CONTINUUM_PIXELS)
    variance = fitted.inflation[:, None] ** 2 * variance
    positive = np.where(continuum > 3 * np.sqrt(variance), continuum, np.nan)
    ew = flux / positive / stretch
    # A level that is too high is in the continuum and missing in the flux.
    together = 2 * ew * _each_row(fitted.level_response, share.T) * variance / positive**2
    ew_error = (error / positive) ** 2 + (flux / positive**2) ** 2 * variance
    ew_error = np.sqrt(ew_error / stretch**2 + np.maximum(together, 0.0))
    for row in np.flatnonzero(np.isin(names, BALMER)):
        absorption = ABSORPTION_ERROR * _absorption(residuals, rest[row])
        ew_error[:, row] = np.hypot(ew_error[:, row], absorption)
    kind = pixels.balmer[group].astype(int)
    any_own = fitted.own.any(axis=1)
    shown = measured & (flux > DETECTED * error) & (fitted.own | any_own[:, None])[:, kind]
    velocity, width = fitted.kinematics[:, ::2][:, kind], fitted.kinematics[:, 1::2][:, kind]
    width_error = fitted.error[:, 1::2]
    width_error = np.where(fitted.own, width_error, width_error[:, ::-1])[:, kind]
    flags = [
        () if own else ("no lines strong enough for kinematics of their own",) for own in any_own
    ]
    return [
        LineFluxes(
            names=names,
            flux=flux[i],
            flux_error=error[i],
            ew=ew[i],
            ew_error=ew_error[i],
            continuum=continuum[i],
            velocity=np.where(shown[i], velocity[i], np.nan),
            width=np.where(shown[i], width[i], np.nan),
            width_error=np.where(shown[i], width_error[i], np.nan),
            covariance=covariance[i],
            wavelength=rest,
            reason=tuple(residuals.reason[i, group]),
            flags=flags[i],
            misfit=float(fitted.misfit[i]),
        )
        for i in range(len(fits))
    ]


def _each_row(rows, matrix):
    """Multiply rows (n, k) by a matrix (k, m), each as if it were alone.

    A product of many rows is added up in another order than that of one, and the last digits
    would depend on which spectra are measured together.
    """
    return (rows[:, None, :] @ matrix)[:, 0]


def _absorption(residuals, centre):
    """Return the equivalent width (n,) of stellar absorption at a Balmer line, Angstrom, not
    negative.
    """
    wavelength = residuals.pixels.wavelength
    near = np.flatnonzero(np.abs(wavelength - centre) < 45)
    distance, stars = wavelength[near] - centre, residuals.continuum[:, near]
    known, inside = stars > 0, np.abs(distance) < 25
    sides = known & (np.abs(distance) > 25)
    enough = (sides.sum(axis=1) >= 5) & ((known & inside).sum(axis=1) >= 10)
    # Straight line through the sides, by its normal equations.
    powers = distance ** np.arange(3)[:, None]
    zero, one, two = _each_row(sides.astype(float), powers.T).T
    level, slope = _each_row(sides * stars, powers[:2].T).T
    determinant = np.where(enough, zero * two - one**2, 1.0)
    at_centre = (two * level - one * slope) / determinant
    slope = (zero * slope - one * level) / determinant
    line = at_centre[:, None] + slope[:, None] * distance
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(known & inside, 1 - stars / line, 0.0)
    width = residuals.pixels.step * wavelength[near]
    return np.where(enough, (depth * width).sum(axis=1).clip(0), 0.0)
