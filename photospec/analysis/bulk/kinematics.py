"""Velocities and dispersions of stars and gas by Gauss-Newton steps, for many spectra at once.

The problem is pPXF's (Cappellari 2017, MNRAS 466, 798, section 3): templates with non-negative
weights, additive polynomials and emission lines, at the velocity and the dispersion of stars and
of gas that make chi2 least. What is linear is solved exactly at each step, by non-negative least
squares; then chi2 is linearised in the four nonlinear numbers with all used columns free to
follow (variable projection: Golub & Pereyra 1973, SIAM J. Numer. Anal. 10, 413).

The velocity of the stars moves the spectrum instead of the templates, which share their pixels
with all spectra. No sum runs over spectra: a result does not depend on what is fitted beside it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.special import erf

from photospec.analysis.bulk.library import DEGREE
from photospec.analysis.bulk.nonnegative import column_norms, nearest, triangles
from photospec.analysis.emission.model import GROUPS, members
from photospec.analysis.populations.kinematics import SIGMA_MAX, V_RANGE
from photospec.analysis.populations.log_spectrum import SDSS_STEP
from photospec.analysis.populations.weights import CLIP
from photospec.utils.constants import SPEED_OF_LIGHT
from photospec.utils.stats import MAD_TO_STD

__all__ = ["Lines", "Motion", "fit_kinematics", "seen_groups"]

N_FREE = DEGREE + 1
START, GAS_START = 150.0, 100.0  # km/s
SIGMA_MIN = 3.0  # km/s
MAX_PASSES = 7
CONVERGED = np.array([25.0, 25.0, 30.0, 30.0])  # km/s; the next step would be a tenth of these
LARGEST = np.array([200.0, 80.0, 150.0, 80.0])  # km/s, of one step
N_SCREENED = 30  # templates that stay in play after the first fit with all of them
SEEN = 0.33  # part of a line on good pixels for which its group is fitted
LINE_REACH = 4000.0  # km/s from a line's centre where its profile ends
# Derivative of a sampled function from three neighbours to either side.
SLOPE = np.array([-1, 9, -45, 0, 45, -9, 1]) / 60


@dataclass(frozen=True, eq=False)
class Motion:
    """Kinematics of n spectra.

    Attributes
    ----------
    redshift : ndarray (n,)
        Of the stars.
    free, error : ndarray (n, 4)
        Velocity (zero, by definition of the redshift) and dispersion of the stars, velocity and
        dispersion of the gas, km/s, and their errors.
    outliers : ndarray (n, n_pixels) of bool
        Pixels of the library that no model explains.
    spread : ndarray (n,)
        Robust standard deviation of the residuals.
    chi2 : ndarray (n,)
        Reduced.
    kept : ndarray of int (n, n_kept)
        Templates that were in play.
    """

    redshift: np.ndarray
    free: np.ndarray
    error: np.ndarray
    outliers: np.ndarray
    spread: np.ndarray
    chi2: np.ndarray
    kept: np.ndarray


def fit_kinematics(sources, frames, step):
    """Fit the velocity and dispersion of stars and gas.

    Parameters
    ----------
    sources : ObservedSpectra
    frames : Frames
        All of the sources at their redshifts, within some hundred km/s.
    step : int
        Every so many pixels are summed over.

    Returns
    -------
    Motion
    """
    n, library, whole = len(frames), frames.library, frames
    redshift = frames.redshift.copy()
    free = np.tile([0.0, START, 0.0, GAS_START], (n, 1))
    outliers = np.zeros((n, library.wavelength.size), bool)
    spread, chi2, error = np.ones(n), np.full(n, np.nan), np.full((n, 4), np.nan)
    kept, todo = None, np.arange(n)
    for number in range(MAX_PASSES):
        if number:
            frames = sources.at(todo, redshift[todo], library, like=whole.take(todo))
        # The first pass only leads to the next: every second pixel of the others is enough.
        one = _Pass(frames, free[todo], outliers[todo], step if number else 2 * step)
        if kept is None:
            kept = one.choose()
        one.fit(kept[todo])
        if number == 1:
            outliers[todo], spread[todo] = one.clip(outliers[todo])
            one.solve()
        change, variance = one.step()
        degrees = np.maximum((~frames.mask & ~outliers[todo]).sum(1) - N_FREE - 4, 1)
        chi2[todo] = step * one.chi2 / spread[todo] ** 2 / degrees
        error[todo] = np.sqrt(variance / step) * spread[todo, None]
        error[todo] *= np.sqrt(np.maximum(chi2[todo], 1.0))[:, None]
        new = (1 + redshift[todo]) * np.exp(change[:, 0] / SPEED_OF_LIGHT) - 1
        far = np.abs(np.log((1 + new) / (1 + redshift[todo]))) * SPEED_OF_LIGHT > V_RANGE
        redshift[todo] = np.where(far, redshift[todo], new)
        free[todo, 1:] += change[:, 1:]
        if number:
            todo = todo[np.any(np.abs(change) > CONVERGED, axis=1)]
        if not todo.size:
            break
    return Motion(redshift, free, error, outliers, spread, chi2, kept)


class Lines:
    """Emission lines on every so many pixels of the library.

    Parameters
    ----------
    frames : Frames
    velocity, dispersion : ndarray (n,)
        Of all lines, km/s.
    step : int
    derivatives : bool
        Keep the derivatives by velocity and dispersion too.
    """

    def __init__(self, frames, velocity, dispersion, step=1, derivatives=False):
        library = frames.library
        self.shape = len(frames), -(-library.wavelength.size // step)
        self.group, rest, ratio = members(GROUPS)
        centre = rest * np.exp(velocity[:, None] / SPEED_OF_LIGHT)
        place = np.log(centre / library.wavelength[0]) / SDSS_STEP
        near = np.clip(np.rint(place).astype(int), 0, library.wavelength.size - 1)
        lsf = np.take_along_axis(frames.lsf_sigma, near, 1)
        wide = centre * dispersion[:, None] / SPEED_OF_LIGHT
        sigma = np.hypot(lsf, wide)[..., None]
        reach = int(LINE_REACH / (SDSS_STEP * SPEED_OF_LIGHT) / step)
        pixel = np.rint(place / step).astype(int)[..., None] + np.arange(-reach, reach + 1)
        inside = (pixel >= 0) & (pixel < self.shape[1])
        self.pixel = pixel.clip(0, self.shape[1] - 1)
        low, high = (
            (library.edges[self.pixel * step + end] - centre[..., None]) / sigma for end in (0, 1)
        )
        scale = np.where(inside, ratio[:, None], 0.0) / ((high - low) * sigma)
        cumulative = erf(np.sqrt(0.5) * np.array([low, high]))
        self.values = [0.5 * (cumulative[1] - cumulative[0]) * scale]
        if derivatives:
            heights = np.exp(-0.5 * low**2), np.exp(-0.5 * high**2)
            scale = scale / sigma / np.sqrt(2 * np.pi)
            by_centre = (heights[0] - heights[1]) * scale
            by_sigma = (heights[0] * low - heights[1] * high) * scale
            self.values += [
                by_centre * (centre / SPEED_OF_LIGHT)[..., None],
                by_sigma * (wide * centre / SPEED_OF_LIGHT)[..., None] / sigma,
            ]

    def columns(self):
        """Return profiles (n, n_chosen, n_groups) per Angstrom: unit area of the first line."""
        columns = np.zeros((*self.shape, len(GROUPS)))
        row = np.arange(self.shape[0])[:, None, None]
        np.add.at(columns, (row, self.pixel, self.group[:, None]), self.values[0])
        return columns

    def slopes(self, flux):
        """Return derivatives (2, n, n_chosen) of lines of some flux (n, n_groups)."""
        row = np.arange(self.shape[0])[:, None, None]
        slopes = np.zeros((2, *self.shape))
        for slope, value in zip(slopes, self.values[1:], strict=True):
            np.add.at(slope, (row, self.pixel), value * flux[:, self.group, None])
        return slopes


def seen_groups(profiles, good, library, step):
    """Return groups (n, n_groups) with at least a third of their strongest line on good pixels."""
    width = step * SDSS_STEP * library.wavelength[::step]
    return ((good * width)[:, None] @ profiles)[:, 0] > SEEN


class _Pass:
    """Chi2 around one set of velocities and dispersions for each spectrum."""

    def __init__(self, frames, free, outliers, step):
        library = frames.library
        self.frames, self.free, self.library = frames, free, library
        self.pixels = np.arange(0, library.wavelength.size, step)
        self.every = step
        good = ~(frames.mask | outliers)[:, self.pixels]
        self.good = good
        self.lines = Lines(frames, free[:, 2], free[:, 3], step, derivatives=True)
        self.profiles = self.lines.columns()
        seen = seen_groups(self.profiles, good, library, step)
        self.profiles *= good[:, :, None] & seen[:, None]
        self.basis = frames.basis(free[:, 1], self.pixels, good)

    def choose(self):
        """Fit all templates; return those that are worth keeping (n, n_kept)."""
        columns = self._beside(self.basis)
        last = N_FREE + self.basis.shape[2]
        rows = triangles(columns.swapaxes(1, 2) @ columns)[:, N_FREE:-1]
        kept = []
        for redshift, one in zip(self.frames.redshift, rows, strict=True):
            # Every other age: alike enough to show where the others belong.
            shape = self.library.until(redshift).light.shape
            index = np.arange(np.prod(shape)).reshape(shape)[::-2].ravel()
            templates = one[:, N_FREE:last] @ self.library.coefficients[:, index]
            matrix = np.hstack([templates, one[:, last:-1]])
            weights = nnls(matrix, one[:, -1], maxiter=20 * matrix.shape[1])[0]
            gradient = (one[:, -1] - matrix @ weights) @ templates
            near = nearest(gradient, column_norms(templates), weights[: index.size], N_SCREENED)
            kept.append(np.sort(index[near]))
        return np.array(kept)

    def _beside(self, stars):
        """Return columns (n, n_chosen, n): polynomials, stars, lines, flux."""
        n, n_chosen, n_stars = stars.shape
        columns = np.empty((n, n_chosen, N_FREE + n_stars + self.profiles.shape[2] + 1))
        np.multiply(
            self.library.polynomials[self.pixels], self.good[..., None], out=columns[..., :N_FREE]
        )
        columns[..., N_FREE : N_FREE + n_stars] = stars
        columns[..., N_FREE + n_stars : -1] = self.profiles
        np.multiply(self.frames.flux[:, self.pixels], self.good, out=columns[..., -1])
        return columns

    def fit(self, kept):
        """Pass the pixels with some of the templates."""
        self.chosen = self.library.coefficients[:, kept].swapaxes(0, 1).astype(np.float32)
        self.columns = self._beside(self.basis @ self.chosen)
        self.products = self.columns.swapaxes(1, 2) @ self.columns
        self.n_kept = kept.shape[1]
        self.solve()

    def solve(self):
        """Solve for the best linear fit: its residual is a sum of columns, `mix`."""
        reduced = triangles(self.products)
        n, size = len(reduced), reduced.shape[2] - 1
        mix = np.ones((n, size + 1))
        self.chi2 = np.empty(n)
        for i, one in enumerate(reduced):
            rows = one[N_FREE:-1]
            weights, norm = nnls(rows[:, N_FREE:-1], rows[:, -1], maxiter=2000)
            mix[i, N_FREE:-1] = -weights
            self.chi2[i] = norm**2 + one[-1, -1] ** 2
        free = reduced[:, :N_FREE, :N_FREE]
        right = reduced[:, :N_FREE, N_FREE:] @ mix[:, N_FREE:, None]
        mix[:, :N_FREE] = -np.linalg.solve(free, right)[..., 0]
        self.mix = mix
        self.residual = (self.columns @ mix[..., None])[..., 0]

    def clip(self, outliers):
        """Leave out pixels that no model of a galaxy explains, as `clip_outliers` does.

        Returns
        -------
        outliers : ndarray (n, n_pixels) of bool
        spread : ndarray (n,)
            Of the residuals of the others.
        """
        outliers, spread = outliers.copy(), np.empty(len(outliers))
        near = self.library.near_lines[self.pixels]
        for i, good in enumerate(self.good):
            residual = np.abs(self.residual[i])
            spread[i] = max(MAD_TO_STD * np.median(residual[good]), 1e-5)
            bad = good & ~near & (residual >= CLIP * spread[i])
            out = self.columns[i, bad]
            self.products[i] -= out.T @ out
            self.columns[i, bad] = 0.0
            for offset in range(self.every):
                place = self.pixels[bad] + offset
                outliers[i, place[place < outliers.shape[1]]] = True
        return outliers, spread

    def step(self):
        """Step (n, 4) to the minimum of chi2 as linearised here, and variances for unit noise."""
        n, size = len(self.mix), self.mix.shape[1] - 1
        stars = -self.mix[:, N_FREE : N_FREE + self.n_kept]
        gas = -self.mix[:, N_FREE + self.n_kept : size]
        vector = self.chosen @ stars[..., None].astype(np.float32)
        good = self.columns[:, :, 0] != 0  # and no outlier
        wider = self.frames.basis(self.free[:, 1], self.pixels, good, derivative=True) @ vector
        padded = np.pad(_filled(self.frames), [(0, 0), (3, 3)], mode="edge")
        n_pixels = self.frames.flux.shape[1]
        slope = sum(w * padded[:, k : k + n_pixels] for k, w in enumerate(SLOPE))
        slope = slope[:, self.pixels] / (SDSS_STEP * SPEED_OF_LIGHT)
        columns = np.stack(
            [
                -slope,
                2 * self.free[:, 1, None] * wider[..., 0],
                *self.lines.slopes(gas),
            ],
            axis=2,
        )
        columns *= good[..., None]
        gram = np.empty((n, size + 4, size + 4))
        gram[:, 4:, 4:] = self.products[:, :-1, :-1]
        crossed = columns.swapaxes(1, 2) @ self.columns
        gram[:, :4, 4:] = crossed[:, :, :-1]
        gram[:, 4:, :4] = crossed[:, :, :-1].swapaxes(1, 2)
        gram[:, :4, :4] = columns.swapaxes(1, 2) @ columns
        right = np.concatenate(
            [crossed @ self.mix[..., None], self.products[:, :-1] @ self.mix[..., None]], axis=1
        )
        used = np.ones((n, size + 4), bool)
        used[:, 4:] = self.mix[:, :-1] != 0
        used[:, 2:4] = gas.any(1)[:, None]
        norm = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
        norm = np.where(used & (norm > 0), norm, 1.0)
        gram *= (used / norm)[:, :, None] * (used / norm)[:, None]
        k = np.arange(size + 4)
        gram[:, k, k] += np.where(used, 1e-9, 1.0)
        sides = np.zeros((n, size + 4, 5))
        sides[..., 0] = right[..., 0] * used / norm
        sides[:, np.arange(4), np.arange(1, 5)] = 1.0
        solved = np.linalg.solve(gram, sides)[:, :4] / norm[:, :4, None]
        change = np.clip(solved[..., 0] * used[:, :4], -LARGEST, LARGEST)
        low = np.array([-np.inf, SIGMA_MIN, -V_RANGE, SIGMA_MIN])
        high = np.array([np.inf, SIGMA_MAX, V_RANGE, SIGMA_MAX])
        change = np.clip(self.free + change, low, high) - self.free
        variance = solved[:, np.arange(4), np.arange(1, 5)] / norm[:, :4]
        return change, np.where(used[:, :4], variance, np.nan)


def _filled(frames):
    """Interpolate the flux (n, n_pixels) over masked pixels."""
    flux = frames.flux.copy()
    pixel = np.arange(flux.shape[1])
    for one, mask in zip(flux, frames.mask, strict=True):
        if mask.any():
            one[mask] = np.interp(pixel[mask], pixel[~mask], one[~mask])
    return flux
