"""Dust and weights of all templates at known kinematics, with one pass over the pixels.

The fit is that of `photospec.analysis.population_weights`: chi2 over E(B-V), each time with all
templates. Here the attenuation is taken as linear between knots 256 pixels (6 % of the wavelength)
apart, which follows Calzetti's curve to 1e-3 of the flux at E(B-V) = 0.3. The products of the
templates with each other are then sums over the intervals of three products that do not know the
reddening, and a new E(B-V) costs no pixels. Chi2 is that of a model that can be written down, to
rounding, and not an interpolation of chi2.
"""

import numpy as np
from scipy.optimize import nnls

from photospec.analysis.bulk.kinematics import fit_kinematics
from photospec.analysis.bulk.nonnegative import Columns, column_norms, nearest, solve_screened
from photospec.analysis.emission.model import group_profiles
from photospec.analysis.populations.errors import N_DRAWS, shifts_of_ebv
from photospec.analysis.populations.finish import blank_fit, finish
from photospec.analysis.populations.regularisation import triangle_of_gram
from photospec.analysis.populations.steps import seen_groups
from photospec.analysis.populations.weights import EBV_MAX, Weights, minimum
from photospec.dust import calzetti00

__all__ = ["fit_populations_bulk"]

INTERVAL = 256  # pixels of the library between two knots of the attenuation
RIDGE = 1e-11  # changes chi2 by less than 1e-3
N_SCREENED = 40  # columns that later fits begin with


def fit_populations_bulk(source, redshift, library, seed):
    """Fit stellar populations, kinematics and gas of one spectrum without noise.

    Parameters
    ----------
    source : Source
    redshift : float
    library : Library
    seed : int
        Of the draws behind the errors, the same as of `fit_populations`.

    Returns
    -------
    PopulationFit
    """
    fit, spectrum, reason = fit_kinematics(source, redshift, library)
    if reason:
        return blank_fit(spectrum, library.until(redshift), reason)
    dusty = _Dusty(fit)
    weights = dusty.weights()
    rng = np.random.default_rng(seed)
    return finish(fit.data, fit.kinematics, weights, lambda: dusty.draws(weights, rng))


class _Dusty:
    """Linear systems of one spectrum at any E(B-V)."""

    def __init__(self, fit):
        data, pixels = fit.data, fit.pixels
        self.fit, self.data = fit, data
        place = data.window.start + pixels
        self.good = data.good[pixels]
        sigma = data.sigma[pixels] / np.sqrt(fit.weight)
        gas = fit.kinematics.gas[0]
        lines = group_profiles(data.wavelength, data.lsf_sigma, (gas[0], gas[0]), (gas[1], gas[1]))
        self.lines = lines[:, seen_groups(lines, data)]
        first, last = place[0] // INTERVAL, place[-1] // INTERVAL
        knots = np.arange(first, last + 2) * INTERVAL
        ln_wave = np.log(data.wavelength[0]) + data.spectrum.step * (knots - data.window.start)
        self.curve = calzetti00(np.exp(ln_wave))
        # Whole intervals: pixels outside the spectrum, and bad ones, have no weight.
        n, per = last - first + 1, INTERVAL // fit.weight
        start = first * INTERVAL + place[0] % fit.weight
        every = start + fit.weight * np.arange(n * per)
        inverse = np.zeros(n * per)
        row = (place - start) // fit.weight
        inverse[row[self.good]] = 1 / sigma[self.good]
        inside = every.clip(0, fit.matched.difference.size - 1)
        basis = fit.matched.basis(fit.kinematics.stars[1], inside)
        self.continuum_basis = basis[row]
        stars = basis * inverse[:, None]
        other = np.zeros((n * per, self.lines.shape[1] + 1))
        other[row, :-1], other[row, -1] = self.lines[pixels], data.flux[pixels]
        other *= inverse[:, None]
        along = ((every - first * INTERVAL) % INTERVAL / INTERVAL)[:, None]
        right = (stars * along).reshape(n, per, -1)
        stars = stars.reshape(n, per, -1)
        left = stars - right
        whole, low, high = (part.swapaxes(1, 2) @ part for part in (stars, left, right))
        self.products = np.stack([low, high, whole - low - high], 1).reshape(3 * n, -1)
        blocks = other.reshape(n, per, -1)
        crossed = [part.swapaxes(1, 2) @ blocks for part in (left, right)]
        self.crossed = np.stack(crossed, 1).reshape(2 * n, -1)
        self.other = other.T @ other
        self.n_basis = basis.shape[1]
        self.kept = None

    def system(self, ebv):
        """Columns, all templates and then the lines, data and unavoidable chi2 at some E(B-V)."""
        at = 10 ** (-0.4 * ebv * self.curve)
        low, high = at[:-1], at[1:]
        n_basis, size = self.n_basis, self.n_basis + len(self.other)
        gram = np.empty((size, size))
        factors = np.stack([low**2, high**2, low * high], 1).ravel()
        gram[:n_basis, :n_basis] = (factors @ self.products).reshape(n_basis, n_basis)
        crossed = np.stack([low, high], 1).ravel() @ self.crossed
        gram[:n_basis, n_basis:] = crossed.reshape(n_basis, -1)
        gram[n_basis:, :n_basis] = gram[:n_basis, n_basis:].T
        gram[n_basis:, n_basis:] = self.other
        reduced = triangle_of_gram(gram, RIDGE)
        columns = Columns(reduced[:-1, :-1], self.data.coefficients)
        return columns, reduced[:-1, -1], reduced[-1, -1] ** 2

    def solve(self, columns, data, rest):
        """Weights of the best fit and chi2."""
        if self.kept is None:
            matrix = columns.all()
            self.norm = column_norms(matrix)
            weights = nnls(matrix, data, maxiter=20 * matrix.shape[1])[0]
            self.keep_nearest(columns, data, weights)
        else:
            found, self.kept = solve_screened(columns, data[None], self.kept, self.norm)
            weights = found[0]
        residual = data - columns.take(self.kept) @ weights[self.kept]
        return weights, residual @ residual + rest

    def keep_nearest(self, columns, data, weights):
        """Begin the next fits with the columns that matter here."""
        used = np.flatnonzero(weights)
        residual = data - columns.take(used) @ weights[used]
        gradient = columns.gradient(residual[None])[0]
        self.kept = nearest(gradient, self.norm, weights, N_SCREENED)

    def weights(self):
        """Weights at the E(B-V) with the lowest chi2."""
        solved = {}

        def chi2_at(ebv):
            ebv = round(float(ebv), 6)
            if ebv not in solved:
                system = self.system(ebv)
                solved[ebv] = (*self.solve(*system), system)
            return solved[ebv][1]

        ebv, error = minimum(chi2_at, EBV_MAX)
        found, chi2, self.best = solved[round(float(ebv), 6)]
        data, fit = self.data, self.fit
        n_templates = data.coefficients.shape[1]
        stars = found[:n_templates]
        window = np.arange(data.window.start, data.window.stop)
        continuum = fit.matched.basis(fit.kinematics.stars[1], window) @ (data.coefficients @ stars)
        self.keep_nearest(*self.best[:2], found)
        return Weights(
            light=stars.reshape(data.library.light.shape),
            ebv=ebv,
            ebv_error=error,
            chi2=chi2 / max(data.good.sum() - 5, 1),
            continuum=continuum * 10 ** (-0.4 * ebv * calzetti00(data.wavelength)),
            gas=self.lines @ found[n_templates:],
            basis=None,
            lines=None,
            smoothness=None,
            averaged=True,
        )

    def draws(self, weights, rng):
        """Light weights (n_draws, n_ages, n_metallicities) of fits with fresh noise.

        As `photospec.analysis.population_errors.draw_weights`, with the same noise.
        """
        scale = np.sqrt(max(weights.chi2, 1.0))
        shape = weights.light.shape
        shifts = shifts_of_ebv(weights)
        draws = []
        for index, shift in enumerate(shifts):
            columns, data, _ = self.best if shift == 0 else self.system(weights.ebv + shift)
            n = len(range(index, N_DRAWS, len(shifts)))
            noise = scale * rng.standard_normal((n, data.size))
            found, self.kept = solve_screened(columns, data + noise, self.kept, self.norm)
            light = found[:, : np.prod(shape)]
            light = light[light.sum(1) > 0]
            draws.append(light / light.sum(1, keepdims=True))
        return np.concatenate(draws).reshape(-1, *shape)
