"""Dust and weights of all templates for many spectra, from products of their columns.

A spectrum is fitted at some ten values of E(B-V), and with fresh noise at three of them: some
thirty problems of non-negative least squares, for sixteen spectra at a time. They differ in their
numbers and not in their form, so all of them are solved at once: with the templates that are in
play, lines that cannot be negative eliminated beforehand. Then the gradient of all templates is
looked at: those that would lower chi2 take the place of others, and it is solved again.
"""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import nnls

from photospec.analysis.bulk.nonnegative import RIDGE, TOLERANCE, lower_triangles, triangles
from photospec.analysis.populations.errors import N_DRAWS, shifts_of_ebv
from photospec.analysis.populations.weights import (
    EBV_MAX,
    MINIMUM_STARTS,
    minimum_search,
)

__all__ = ["DustyFits"]

FIRST_EBV = 0.1  # where to see which columns matter; `minimum_search` looks there too
IN_PLAY = (
    24  # templates; of those of a fit six have a weight, or ten of eight fits with fresh noise
)
SURE = 5.0  # sigmas of a line that neither noise nor dust will make negative, nearly always
ROUNDS = 12  # of taking other templates at most, before all are taken


class DustyFits:
    """Linear fits of n spectra at any E(B-V): templates, lines and flux are the columns.

    Parameters
    ----------
    products : list of ndarray (3 n_intervals, n_basis^2)
        Of the template basis with itself, within intervals of the attenuation curve: weighted by
        what falls along them, by what rises, and not weighted.
    crossed : list of ndarray (2 n_intervals, n_basis * (n_lines + 1))
        With lines and flux, weighted by what falls and by what rises.
    other : ndarray (n, n_lines + 1, n_lines + 1)
        Products of lines and flux; zero for lines that are not seen.
    curve : ndarray (n_intervals + 1,)
        Attenuation over E(B-V) at the knots.
    coefficients : ndarray (n_basis, n_templates)
    n_young : ndarray of int (n,)
        The first so many templates are not too old for the spectrum.
    start : ndarray of int (n, n_start)
        Templates to begin with.

    Attributes
    ----------
    weights : ndarray (n, n_templates + n_lines)
        Of the best fit, see `search`.
    chi2, ebv, ebv_error : ndarray (n,)
    """

    def __init__(self, products, crossed, other, curve, coefficients, n_young, start):
        self.products, self.crossed, self.other, self.curve = products, crossed, other, curve
        self.coefficients = coefficients
        self.templates = np.ascontiguousarray(coefficients.T)
        self.n_templates, self.n_basis = self.templates.shape
        n, self.n_lines = len(other), other.shape[1] - 1
        self.seen = np.diagonal(other, axis1=1, axis2=2)[:, :-1] > 0
        self.young = np.arange(self.n_templates) < np.asarray(n_young)[:, None]
        self.weights = np.zeros((n, self.n_templates + self.n_lines))
        self.chi2, self.ebv, self.ebv_error = np.empty(n), np.empty(n), np.empty(n)
        self.order = np.tile(np.arange(self.n_lines), (n, 1))
        self.signal, self.n_sure = np.zeros(self.order.shape), np.zeros(n, int)
        score = np.full(self.young.shape, -np.inf)
        np.put_along_axis(score, start, np.arange(start.shape[1], 0.0, -1), axis=1)
        score[~self.young] = -np.inf
        self.in_play = np.argsort(-score, axis=1, kind="stable")[:, :IN_PLAY]

    def grams(self, rows, ebv):
        """Products (m, n_ebv, k, k) of basis, lines and flux of some spectra at E(B-V) (m, n_ebv).

        Several at a time, because it takes the time that it takes to read the products.
        """
        at = 10 ** (-0.4 * ebv[..., None] * self.curve)
        low, high = at[..., :-1], at[..., 1:]
        both = low * high
        squares = np.stack([low**2 - both, high**2 - both, both], -1).reshape(*ebv.shape, -1)
        singles = np.stack([low, high], -1).reshape(*ebv.shape, -1)
        n_basis = self.n_basis
        grams = np.empty((*ebv.shape, n_basis + self.n_lines + 1, n_basis + self.n_lines + 1))
        for gram, row, square, single in zip(grams, rows, squares, singles, strict=True):
            square = square @ self.products[row]
            gram[:, :n_basis, :n_basis] = square.reshape(-1, n_basis, n_basis)
            single = single @ self.crossed[row]
            gram[:, :n_basis, n_basis:] = single.reshape(len(single), n_basis, -1)
        grams[..., n_basis:, :n_basis] = grams[..., :n_basis, n_basis:].swapaxes(2, 3)
        grams[..., n_basis:, n_basis:] = self.other[rows, None]
        return grams

    def search(self):
        """Find the best fits over E(B-V)."""
        rows = np.arange(len(self.other))
        begin = np.array([FIRST_EBV, *(ebv for ebv in MINIMUM_STARTS if ebv != FIRST_EBV)])
        grams = self.grams(rows, np.tile(begin, (rows.size, 1)))
        star = self.templates @ grams[:, 0, : self.n_basis, : self.n_basis]
        self.norm = np.sqrt(np.maximum((star * self.templates).sum(axis=2), 0.0))
        self.norm[self.norm == 0] = 1.0
        solved = [{} for _ in rows]
        for k, ebv in enumerate(begin):
            self._solve_at(rows, np.full(rows.size, ebv), grams[:, k], solved)
            if k == 0:
                self._expect_lines(grams[:, 0], np.array([one[ebv][0] for one in solved]))
        searches = [minimum_search(EBV_MAX) for _ in rows]
        asked = {row: next(search) for row, search in enumerate(searches)}
        while asked:
            ebv = {row: round(float(one), 6) for row, one in asked.items()}
            new = np.array([row for row, one in ebv.items() if one not in solved[row]], int)
            if new.size:
                at = np.array([ebv[row] for row in new])
                self._solve_at(new, at, self.grams(new, at[:, None])[:, 0], solved)
            for row in list(asked):
                try:
                    asked[row] = searches[row].send(solved[row][ebv[row]][1])
                except StopIteration as stop:
                    del asked[row]
                    position, self.ebv_error[row] = stop.value
                    self.ebv[row] = round(float(position), 6)
                    self.weights[row], self.chi2[row], self.in_play[row] = solved[row][
                        self.ebv[row]
                    ]

    def _solve_at(self, rows, ebv, grams, solved):
        """Solve at E(B-V) (m,): weights, chi2 and templates in play, into a dictionary per row.

        Templates that were in play at the nearest E(B-V) come first.
        """
        for row, one in zip(rows, ebv, strict=True):
            if solved[row]:
                nearest = min(solved[row], key=lambda other: abs(other - one))
                self.in_play[row] = solved[row][nearest][2]
        found, chi2, score = self._solve(rows, grams)
        self._put_in_play(rows, score)
        for k, (row, one) in enumerate(zip(rows, ebv, strict=True)):
            solved[row][one] = found[k, 0], chi2[k, 0], self.in_play[row].copy()

    def draws(self, weights, rngs):
        """Light weights of fits with fresh noise, as `draw_weights` with the same noise.

        Parameters
        ----------
        weights : list of Weights
            Of the spectra.
        rngs : list of numpy.random.Generator

        Returns
        -------
        list of ndarray (n_draws, n_ages, n_metallicities)
        """
        found = [[] for _ in weights]
        scale = np.sqrt([max(one.chi2, 1.0) for one in weights])
        self.n_sure = (self.signal > SURE * scale[:, None]).sum(axis=1)
        shifts = [shifts_of_ebv(one) for one in weights]
        counts = np.array([len(one) for one in shifts])
        for count in np.unique(counts):
            rows = np.flatnonzero(counts == count)
            ebv = np.array([weights[row].ebv + shifts[row] for row in rows])
            grams = self.grams(rows, ebv)
            for index in range(count):
                n_draws = len(range(index, N_DRAWS, count))
                noise = self._noise(rows, grams[:, index], scale, rngs, n_draws)
                solved = self._solve(rows, grams[:, index], noise)[0]
                for row, one in zip(rows, solved, strict=True):
                    light = one[:, : weights[row].light.size]
                    light = light[light.sum(axis=1) > 0]
                    light = light / light.sum(axis=1, keepdims=True)
                    found[row].append(light.reshape(-1, *weights[row].light.shape))
        return [np.concatenate(one) for one in found]

    def _noise(self, rows, grams, scale, rngs, n_draws):
        """Products (m, n_draws, k) of columns with noise of the pixels' size."""
        triangle = triangles(grams[:, :-1, :-1])
        noise = np.zeros((len(rows), n_draws, triangle.shape[1]))
        for one, row in zip(noise, rows, strict=True):
            there = np.append(
                np.arange(self.n_basis), self.n_basis + np.flatnonzero(self.seen[row])
            )
            one[:, there] = scale[row] * rngs[row].standard_normal((n_draws, there.size))
        return noise @ triangle

    def _expect_lines(self, grams, weights):
        """See which lines are sure: the first ones in a new order."""
        lines, k = grams[:, self.n_basis : -1, self.n_basis : -1].copy(), np.arange(self.n_lines)
        lines[:, k, k] = np.where(self.seen, (1 + RIDGE) * lines[:, k, k], 1.0)
        variance = np.linalg.inv(lines)[:, k, k]  # lines beside each other take from each other
        signal = np.where(self.seen, weights[:, self.n_templates :] / np.sqrt(variance), -1.0)
        self.order = np.argsort(-signal, axis=1, kind="stable")
        self.signal = np.take_along_axis(signal, self.order, axis=1)
        self.n_sure = (self.signal > SURE).sum(axis=1)

    def _put_in_play(self, rows, score):
        """Take other templates: those with the highest scores (m, n_templates)."""
        self.in_play[rows] = np.argsort(-score, axis=1, kind="stable")[:, :IN_PLAY]

    def _solve(self, rows, grams, noise=None):
        """Solve for non-negative weights.

        Parameters
        ----------
        rows : ndarray of int (m,)
        grams : ndarray (m, k, k)
        noise : ndarray (m, n_draws, k - 1), optional
            Added to the products of columns and flux.

        Returns
        -------
        weights : ndarray (m, n_draws, n_templates + n_lines)
        chi2 : ndarray (m, n_draws)
            Without noise.
        score : ndarray (m, n_templates)
            How near to being used a template is; infinite if it is.
        """
        n_basis, n_templates = self.n_basis, self.n_templates
        right = grams[:, None, :-1, -1] + (0.0 if noise is None else noise)
        total = grams[:, -1, -1]
        limit = TOLERANCE * np.sqrt(total)
        weights = np.zeros((*right.shape[:2], self.weights.shape[1]))
        chi2, score = np.empty(right.shape[:2]), np.empty((len(rows), n_templates))
        todo, asked = np.arange(len(rows)), np.ones(right.shape[:2], bool)
        for _ in range(ROUNDS):
            some = rows[todo]
            found = self._solve_in_play(some, grams[todo], right[todo], asked[todo])
            weights[todo] = np.where(asked[todo, :, None], found, weights[todo])
            used = weights[todo, :, :n_templates] > 0
            mix = weights[todo, :, :n_templates] @ self.templates
            mix = np.concatenate([mix, weights[todo, :, n_templates:]], axis=2)
            left = right[todo] - mix @ grams[todo, :-1, :-1]
            chi2[todo] = total[todo, None] - (mix * (right[todo] + left)).sum(axis=2)
            gradient = left[..., :n_basis] @ self.coefficients / self.norm[some, None]
            gradient[~np.broadcast_to(self.young[some, None], gradient.shape)] = -np.inf
            score[todo] = np.where(used.any(axis=1), np.inf, gradient.max(axis=1))
            np.put_along_axis(gradient, self.in_play[some, None], -np.inf, axis=2)
            asked[todo] = gradient.max(axis=2) > limit[todo, None]
            todo = todo[asked[todo].any(axis=1)]
            if not todo.size:
                return weights, chi2, score
            self._put_in_play(rows[todo], score[todo])
        for k in todo:
            weights[k], chi2[k] = self._solve_whole(rows[k], grams[k], right[k])
        return weights, chi2, score

    def _solve_in_play(self, rows, grams, right, asked):
        """Weights (m, n_draws, n_templates + n_lines) with the templates in play, where asked for.

        The triangle behind lines, the surest first, and templates has the problem of all but the
        sure ones in its corner.
        """
        n_basis, n_lines = self.n_basis, self.n_lines
        in_play, order = self.in_play[rows], self.order[rows]
        stars = self.templates[in_play]
        size = n_lines + stars.shape[1]
        row, line = np.arange(len(rows))[:, None], slice(0, n_lines)
        # Data below the matrix: below its triangle they come out solved for. What stands in their
        # own corner only has to be large enough, and is not looked at.
        n_draws = right.shape[1]
        whole = np.zeros((len(rows), size + n_draws, size + n_draws))
        matrix, vector = whole[:, :size, :size], whole[:, size:, :size]
        matrix[:, n_lines:, n_lines:] = stars @ grams[:, :n_basis, :n_basis] @ stars.swapaxes(1, 2)
        beside = stars @ grams[:, :n_basis, n_basis:-1]
        matrix[:, n_lines:, line] = np.take_along_axis(beside, order[:, None], axis=2)
        matrix[:, line, n_lines:] = matrix[:, n_lines:, line].swapaxes(1, 2)
        lines = n_basis + order
        matrix[:, line, line] = grams[row[..., None], lines[:, :, None], lines[:, None]]
        vector[..., n_lines:] = right[..., :n_basis] @ stars.swapaxes(1, 2)
        vector[..., line] = np.take_along_axis(right[..., n_basis:], order[:, None], axis=2)
        k = np.arange(size)
        norm = np.sqrt(matrix[:, k, k])
        usable = norm > 0
        usable[:, n_lines:] &= np.take_along_axis(self.young[rows], in_play, axis=1)
        norm[norm == 0] = 1.0
        matrix /= norm[:, :, None] * norm[:, None]
        matrix[:, k, k] += RIDGE
        vector /= norm[:, None]
        k = size + np.arange(n_draws)
        whole[:, k, k] = 1 + (vector**2).sum(axis=2) * (n_draws / RIDGE)
        lower = lower_triangles(whole)
        data = lower[:, size:, :size]
        upper = lower[:, :size, :size].swapaxes(1, 2) * usable[:, None]
        weights = np.zeros(data.shape)
        problems = zip(weights, upper, data, asked, self.n_sure[rows], strict=True)
        for one, triangle, shown, wanted, n_sure in problems:
            one[wanted] = _solve_corner(triangle, shown[wanted], n_sure)
            wrong = (one < 0).any(axis=1)  # a line that was sure became negative
            if wrong.any():
                one[wrong] = _solve_corner(triangle, shown[wrong], 0)
        weights /= norm[:, None]
        found = np.zeros((*data.shape[:2], self.weights.shape[1]))
        draw = np.arange(data.shape[1])[:, None]
        found[row[..., None], draw, in_play[:, None]] = weights[..., n_lines:]
        found[row[..., None], draw, (self.n_templates + order)[:, None]] = weights[..., line]
        return found

    def _solve_whole(self, row, gram, right):
        """Weights (n_draws, n_templates + n_lines) of one spectrum with all templates, and chi2."""
        triangle = triangles(gram[None, :-1, :-1])[0]
        data = solve_triangular(triangle, right.T, trans=1).T
        rest = gram[-1, -1] - (data**2).sum(axis=1)
        matrix = np.hstack(
            [triangle[:, : self.n_basis] @ self.coefficients, triangle[:, self.n_basis :]]
        )
        matrix[:, : self.n_templates] *= self.young[row]
        matrix[:, self.n_templates :] *= self.seen[row]
        found = [nnls(matrix, one, maxiter=20 * matrix.shape[1]) for one in data]
        return np.array([one for one, _ in found]), [norm**2 for _, norm in found] + rest


def _solve_corner(triangle, data, n_free):
    """Weights (m, n_columns) for data (m, n_columns): all but the first `n_free` not negative."""
    weights = np.empty(data.shape)
    corner, most = np.ascontiguousarray(triangle[n_free:, n_free:]), 20 * data.shape[1]
    for one, shown in zip(weights, data, strict=True):
        one[n_free:] = nnls(corner, shown[n_free:], maxiter=most)[0]
    if n_free:
        left = data[:, :n_free] - weights[:, n_free:] @ triangle[:n_free, n_free:].T
        first = triangle[:n_free, :n_free]
        weights[:, :n_free] = np.linalg.solve(first, left.T).T
    return weights
