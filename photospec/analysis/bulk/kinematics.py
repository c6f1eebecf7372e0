"""Velocities and dispersions of stars and gas by Gauss-Newton steps.

The problem is pPXF's (Cappellari 2017, MNRAS 466, 798, section 3): templates with non-negative
weights, additive polynomials and emission lines, at the velocity and the dispersion of stars and
of gas that make chi2 least. What is linear is solved exactly at each step, by non-negative least
squares; then chi2 is linearised in the four nonlinear numbers with all used columns free to
follow (variable projection: Golub & Pereyra 1973, SIAM J. Numer. Anal. 10, 413).

Pixels are passed two or three times in all: with the columns of the fit come their derivatives by
velocity and dispersion, and the products of all of them are enough for a few steps.
The velocity of the stars moves the spectrum instead of the templates, which share their pixels
with all spectra.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from photospec.analysis.bulk.library import DEGREE
from photospec.analysis.bulk.nonnegative import column_norms, nearest
from photospec.analysis.emission.model import group_profiles
from photospec.analysis.populations.kinematics import SIGMA_MAX, V_RANGE, Kinematics
from photospec.analysis.populations.regularisation import triangle_of_gram
from photospec.analysis.populations.steps import (
    CLIP,
    FitData,
    reason_unfit,
    seen_groups,
)
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["Fit", "fit_kinematics"]

START, GAS_START = 150.0, 100.0  # km/s
SIGMA_MIN = 3.0  # km/s
# Where line-spread function and dispersion leave no structure between every second pixel, sums
# over those are half the sums over all: to 1e-4 of the line fluxes, and far better for stars.
THIN, THIN_LSF = 2, 75.0  # and the narrowest line-spread function for it, km/s
MAX_PASSES = 7
# Further steps on the same products once the derivatives are those of the place itself: linear
# columns are wrong in second order, by 1e-3 of a line for the first of these.
NEAR = np.array([15.0, 15.0, 20.0, 20.0])  # km/s
CONVERGED = 0.3  # km/s
LARGEST = np.array([200.0, 80.0, 150.0, 80.0])  # km/s, of one step
N_SCREENED = 30  # templates that stay in play after the first fit with all of them
RIDGE = 1e-11  # of the squared norms: keeps products of alike templates solvable
# Derivative of a sampled function from three neighbours to either side.
SLOPE = np.array([-1, 9, -45, 0, 45, -9, 1]) / 60


@dataclass(frozen=True, eq=False)
class Fit:
    """The spectrum in the rest frame of its stars, and its kinematics.

    Attributes
    ----------
    data : FitData
        Without outliers, and with errors from the residuals.
    matched : Matched
    kinematics : Kinematics
    pixels : ndarray of int
        Pixels of `data` that are summed over; each stands for `weight` pixels.
    weight : int
    """

    data: FitData
    matched: object
    kinematics: Kinematics
    pixels: np.ndarray
    weight: int


def fit_kinematics(source, redshift, library):
    """Velocity and dispersion of stars and gas.

    Parameters
    ----------
    source : Source
    redshift : float
        Within some hundred km/s.
    library : Library

    Returns
    -------
    Fit or None
    spectrum : LogSpectrum
    reason : str
        Why there is no fit.
    """
    first = redshift
    free = np.array([0.0, START, 0.0, GAS_START])  # velocity, dispersion of stars, of gas
    outliers = kept = spread = None
    for number in range(MAX_PASSES):
        spectrum, frame, reason = _Frame.at(source, redshift, library, outliers)
        if reason:
            return None, spectrum, reason
        one = _Pass(frame, free)
        if kept is None:
            kept = one.choose()
        one.multiply(kept)
        one.step()
        if number:
            one.undo()
            if outliers is None:
                outliers, spread = one.clip()
            for _ in range(3):
                if np.abs(one.step()).max() < CONVERGED:
                    break
        shift, free, moved = one.place()
        new = (1 + redshift) * np.exp(shift / SPEED_OF_LIGHT) - 1
        if abs(np.log((1 + new) / (1 + first))) < V_RANGE / SPEED_OF_LIGHT:
            redshift = new
        if outliers is not None and np.all(np.abs(moved) < NEAR):
            break
    spectrum, frame, reason = _Frame.at(source, redshift, library, outliers)
    if reason:
        return None, spectrum, reason
    chi2 = one.chi2 / spread**2 / max(frame.data.good.sum() - DEGREE - 5, 1)
    error = np.sqrt(np.diag(one.covariance)) * spread * np.sqrt(max(chi2, 1.0))
    kinematics = Kinematics(
        stars=np.array([0.0, free[1], np.nan, np.nan]),
        stars_error=np.array([error[0], error[1], np.nan, np.nan]),
        gas=free[None, 2:],
        gas_error=error[None, 2:],
        chi2=chi2,
        weights=np.zeros(0),
        best_fit=np.zeros(0),
        gas_fit=np.zeros(0),
        polynomial=np.ones(0),
        gas_names=(),
        gas_flux=np.zeros(0),
    )
    data = frame.with_errors(spread)
    return Fit(data, frame.matched, kinematics, frame.pixels, frame.weight), spectrum, ""


@dataclass(frozen=True, eq=False)
class _Frame:
    """A spectrum brought to rest at one redshift.

    Attributes
    ----------
    data : FitData
    matched : Matched
    pixels : ndarray of int
        As in `Fit`.
    used : ndarray of int
        Those of `pixels` that are good.
    weight : int
    """

    data: FitData
    matched: object
    pixels: np.ndarray
    used: np.ndarray
    weight: int

    @classmethod
    def at(cls, source, redshift, library, outliers):
        """LogSpectrum, _Frame or None, and the reason why there is none."""
        spectrum = source.at(redshift, library.wavelength)
        part, good = library.until(redshift), ~spectrum.mask
        reason = reason_unfit(spectrum, good, part.fit_range)
        if reason:
            return spectrum, None, reason
        matched = library.match(spectrum.lsf_sigma, good)
        first, last = np.flatnonzero(good)[[0, -1]]
        window = slice(int(first), int(last) + 1)
        good = good[window]
        if outliers is not None:
            good = good & ~outliers[window]
        lsf = spectrum.lsf_sigma[window]
        data = FitData(
            spectrum=spectrum,
            window=window,
            wavelength=spectrum.wavelength[window],
            flux=spectrum.flux[window],
            sigma=np.where(spectrum.mask[window], 1e6, 1.0),
            good=good,
            lsf_sigma=lsf,
            matched=library.matched_templates(part, matched),
        )
        weight = THIN if np.min(lsf / data.wavelength) * SPEED_OF_LIGHT > THIN_LSF else 1
        # Fixed on the library, so that a shift by less than a pixel changes none of them.
        pixels = np.arange(-window.start % weight, good.size, weight)
        return spectrum, cls(data, matched, pixels, pixels[good[pixels]], weight), ""

    def with_errors(self, spread):
        """The data with errors from their residuals."""
        data = self.data
        return FitData(**{**vars(data), "sigma": data.sigma * spread})


class _Pass:
    """The columns of the fit at one place, their derivatives, and steps from there.

    Everything but what passes pixels is in terms of the columns

        polynomials, templates, lines, flux | their derivatives: templates by the square of the
        dispersion, lines by velocity, lines by dispersion, flux by velocity
    """

    def __init__(self, frame, free):
        self.frame, self.free = frame, free
        data, used = frame.data, frame.used
        place = data.window.start + used
        self.polynomials = frame.matched.library.polynomials[place]
        profiles = group_profiles(
            data.wavelength, data.lsf_sigma, free[[2, 2]], free[[3, 3]], derivatives=True
        )
        seen = seen_groups(profiles[0], data)
        self.lines = profiles[:, used][:, :, seen]
        self.basis = frame.matched.basis(free[1], place)

    def choose(self):
        """Fit all templates; return those that are worth keeping."""
        data = self.frame.data
        columns = np.column_stack(
            [self.polynomials, self.basis, self.lines[0], data.flux[self.frame.used]]
        )
        reduced = triangle_of_gram(columns.T @ columns, RIDGE)
        first, last = DEGREE + 1, DEGREE + 1 + self.basis.shape[1]
        rows = reduced[first:-1]
        templates = rows[:, first:last] @ data.coefficients
        matrix = np.hstack([templates, rows[:, last:-1]])
        weights = nnls(matrix, rows[:, -1], maxiter=20 * matrix.shape[1])[0]
        gradient = (rows[:, -1] - matrix @ weights) @ templates
        n_templates = templates.shape[1]
        return nearest(gradient, column_norms(templates), weights[:n_templates], N_SCREENED)

    def multiply(self, kept):
        """Pass the pixels: products of all columns."""
        frame, free = self.frame, self.free
        data, used = frame.data, frame.used
        chosen = data.coefficients[:, kept[kept < data.coefficients.shape[1]]]
        wider = frame.matched.basis(free[1], data.window.start + used, derivative=True)
        slope = np.correlate(_filled(data), SLOPE, mode="same")[used]
        self.columns = np.column_stack(
            [
                self.polynomials,
                self.basis @ chosen,
                self.lines[0],
                data.flux[used],
                wider @ chosen,
                self.lines[1],
                self.lines[2],
                slope / (data.spectrum.step * SPEED_OF_LIGHT),
            ]
        )
        self.products = self.columns.T @ self.columns
        p, k, n = DEGREE + 1, chosen.shape[1], self.lines.shape[2]
        self.n_base = p + k + n + 1
        self.templates, self.gas = slice(p, p + k), slice(p + k, p + k + n)
        self.by_square = slice(0, k)
        self.by_velocity, self.by_dispersion = slice(k, k + n), slice(k + n, k + 2 * n)
        self.undo()

    def undo(self):
        """Go back to where the pixels were passed."""
        self.moved = np.zeros(4)  # shift, square of the dispersion, velocity and dispersion of gas

    def _mixing(self):
        """Matrix (n_columns, n_base): the columns of the fit after the steps so far."""
        n_base, (shift, square, velocity, dispersion) = self.n_base, self.moved
        mixing = np.zeros((len(self.products), n_base))
        mixing[np.arange(n_base), np.arange(n_base)] = 1.0
        change = mixing[n_base:]
        np.fill_diagonal(change[self.by_square, self.templates], square)
        np.fill_diagonal(change[self.by_velocity, self.gas], velocity)
        np.fill_diagonal(change[self.by_dispersion, self.gas], dispersion)
        change[-1, -1] = shift
        return mixing

    def _solve(self):
        """Best linear fit: mixing, and the residual as a sum of columns of the fit."""
        mixing = self._mixing()
        half = self.products @ mixing
        reduced = triangle_of_gram(mixing.T @ half, RIDGE)
        p = DEGREE + 1
        rows = reduced[p:-1]
        weights, norm = nnls(rows[:, p:-1], rows[:, -1], maxiter=2000)
        self.chi2 = (norm**2 + reduced[-1, -1] ** 2) * self.frame.weight
        additive = np.linalg.solve(reduced[:p, :p], reduced[:p, -1] - reduced[:p, p:-1] @ weights)
        return mixing, half, np.concatenate([-additive, -weights, [1.0]])

    def clip(self):
        """Leave out pixels that no model of a galaxy explains, as `clip_outliers` does.

        Returns
        -------
        outliers : ndarray of bool
            On all pixels of the library.
        spread : float
            Of the residuals of the others.
        """
        frame = self.frame
        mixing, _, residual = self._solve()
        residual = np.abs(self.columns @ (mixing @ residual))
        spread = max(1.4826 * np.median(residual), 1e-5)
        window = frame.data.window
        near = frame.matched.library.near_lines[window.start + frame.used]
        bad = ~((residual < CLIP * spread) | near)
        out = self.columns[bad]
        self.products -= out.T @ out
        outliers = np.zeros(frame.matched.library.wavelength.size, bool)
        for offset in range(frame.weight):
            place = window.start + frame.used[bad] + offset
            outliers[place[place < outliers.size]] = True
        return outliers, spread

    def step(self):
        """Move to the minimum of chi2 as the derivatives see it; return by how much (4,), km/s."""
        mixing, half, residual = self._solve()
        n_base = self.n_base
        stars, gas = -residual[self.templates], -residual[self.gas]
        has_gas = bool(gas.any())
        nonlinear = np.zeros((len(self.products), 4))
        nonlinear[-1, 0] = -1.0
        dispersion = np.sqrt(self.free[1] ** 2 + self.moved[1])
        nonlinear[n_base:][self.by_square, 1] = 2 * dispersion * stars
        nonlinear[n_base:][self.by_velocity, 2] = gas
        nonlinear[n_base:][self.by_dispersion, 3] = gas
        linear = np.flatnonzero(residual[:-1])
        projected = self.products @ nonlinear
        n = 4 + linear.size
        gram = np.empty((n, n))
        gram[:4, :4] = nonlinear.T @ projected
        gram[:4, 4:] = (mixing.T @ projected)[linear].T
        gram[4:, :4] = gram[:4, 4:].T
        both = mixing.T @ half
        gram[4:, 4:] = both[np.ix_(linear, linear)]
        left = half @ residual
        right = np.concatenate([nonlinear.T @ left, (mixing.T @ left)[linear]])
        norm = np.sqrt(np.diag(gram))
        norm[norm == 0] = 1.0
        gram /= np.outer(norm, norm)
        gram[np.diag_indices(n)] += 1e-9
        if not has_gas:
            gram[[2, 3], [2, 3]] = 1.0
        inverse = np.linalg.inv(gram)[:4] / norm[:4, None] / norm
        self.covariance = inverse[:, :4] / self.frame.weight
        change = np.clip(inverse @ right, -LARGEST, LARGEST)
        if not has_gas:
            change[2:] = 0.0
        new = np.clip(dispersion + change[1], SIGMA_MIN, SIGMA_MAX)
        change[1] = new - dispersion
        self.moved[0] += change[0]
        self.moved[1] = new**2 - self.free[1] ** 2
        self.moved[2:] += change[2:]
        return change

    def place(self):
        """Shift of the spectrum, the other nonlinear numbers, and how far they moved (4,)."""
        free = self.free.copy()
        free[1] = np.sqrt(self.free[1] ** 2 + self.moved[1])
        free[2] = np.clip(free[2] + self.moved[2], -V_RANGE, V_RANGE)
        free[3] = np.clip(free[3] + self.moved[3], SIGMA_MIN, SIGMA_MAX)
        moved = free - self.free
        moved[0] = self.moved[0]
        return self.moved[0], free, moved


def _filled(data):
    """Flux on the pixels of the data, bad ones interpolated."""
    bad = data.spectrum.mask[data.window]
    if not bad.any():
        return data.flux
    pixel = np.arange(bad.size)
    return np.interp(pixel, pixel[~bad], data.flux[~bad])
