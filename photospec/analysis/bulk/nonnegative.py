"""Non-negative least squares for many right-hand sides on one small matrix.

`scipy.optimize.nnls` takes a time that grows with the number of columns, and of some two hundred
templates all but a few dozen are far from being used. So the problem is solved for some columns,
and then the gradient of all of them is looked at, which is one product. By the conditions of
Karush, Kuhn and Tucker the solution is that of the whole problem if no column left out would
lower chi2; those that would are added, and it is solved again.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import nnls

__all__ = ["Columns", "nearest", "solve_screened", "triangles"]

ADDED = 20  # columns added at a time: the steepest first
TOLERANCE = 1e-8  # of |column| |data|: gradients below are rounding
RIDGE = 1e-11  # of the squared norms: keeps products of alike templates solvable
ROUNDS = 30  # of adding columns at most: a guard against columns that come and go


@dataclass(frozen=True, eq=False)
class Columns:
    """Matrix ``[rows[:, :n_basis] @ coefficients, rows[:, n_basis:]]`` that is not written out.

    Attributes
    ----------
    rows : ndarray (n_rows, n_basis + n_other)
    coefficients : ndarray (n_basis, n_templates)
    """

    rows: np.ndarray
    coefficients: np.ndarray

    @property
    def shape(self):
        """Number of rows and of columns."""
        n_basis, n_templates = self.coefficients.shape
        return len(self.rows), n_templates + self.rows.shape[1] - n_basis

    def take(self, kept):
        """Return some columns, in increasing order, (n_rows, n_kept)."""
        n_basis, n_templates = self.coefficients.shape
        some = kept[kept < n_templates]
        stars = self.rows[:, :n_basis] @ self.coefficients[:, some]
        return np.hstack([stars, self.rows[:, kept[some.size :] - n_templates + n_basis]])

    def all(self):
        """Return all columns, (n_rows, n_columns)."""
        return self.take(np.arange(self.shape[1]))

    def gradient(self, residual):
        """Return residuals (n, n_rows) times the matrix."""
        n_basis = len(self.coefficients)
        product = residual @ self.rows
        return np.hstack([product[:, :n_basis] @ self.coefficients, product[:, n_basis:]])

    def norms(self):
        """Return norms (n_columns,) of the columns, one for columns of zeros."""
        return column_norms(self.all())


def column_norms(matrix):
    """Return norms (n_columns,), one for columns of zeros."""
    norm = np.sqrt(np.einsum("ij,ij->j", matrix, matrix))
    norm[norm == 0] = 1.0
    return norm


def solve_screened(columns, data, kept, norm, positive=None):
    """Solve non-negative least squares, beginning with some of the columns.

    Parameters
    ----------
    columns : Columns
    data : ndarray (n, n_rows)
        n right-hand sides.
    kept : ndarray of int
        Columns to begin with, increasing.
    norm : ndarray (n_columns,)
        Norms of the columns, roughly: they only say which gradients are rounding.
    positive : ndarray (n_columns,) of bool, optional
        Columns that will hardly be negative: they are solved for without that limit first.

    Returns
    -------
    weights : ndarray (n, n_columns)
        That minimise ``|matrix @ weights - data|``, none negative.
    kept : ndarray of int
        Columns that were in play in the end.
    chi2 : ndarray (n,)
        Squares of what is left.
    """
    n_columns = columns.shape[1]
    if not len(kept):  # scipy's routine ends the process if there is no column
        kept = np.arange(min(ADDED, n_columns))
    weights, chi2 = np.zeros((len(data), n_columns)), np.empty(len(data))
    todo = np.arange(len(data))
    limit = TOLERANCE * np.sqrt(np.einsum("ij,ij->i", data, data))[:, None]
    for _ in range(ROUNDS):
        part = columns.take(kept)
        if positive is None:
            found = np.array([nnls(part, data[i], maxiter=20 * n_columns)[0] for i in todo])
        else:
            found = _solve(part, data[todo], positive[kept])
        residual = data[todo] - found @ part.T
        chi2[todo] = np.einsum("ij,ij->i", residual, residual)
        gradient = columns.gradient(residual) / norm
        gradient[:, kept] = 0.0
        weights[todo] = 0.0
        weights[todo[:, None], kept] = found
        again = gradient.max(axis=1) > limit[todo, 0]
        if not again.any():
            break
        outside = gradient > limit[todo]
        steepest = np.max(np.where(outside, gradient / limit[todo], 0.0), axis=0)
        order = np.argsort(-steepest, kind="stable")[:ADDED]
        kept = np.union1d(kept, order[steepest[order] > 0])
        todo = todo[again]
    else:
        matrix = columns.all()
        for i in todo:
            weights[i], norm = nnls(matrix, data[i], maxiter=20 * n_columns)
            chi2[i] = norm**2
    return weights, kept, chi2


def _solve(matrix, data, free):
    """Return weights (n, n_columns), none negative, of all columns for data (n, n_rows).

    Columns that are `free` are solved for without that limit, and with it where that makes one of
    them negative: what is left for the others is a small triangle.
    """
    order, n_free = np.argsort(~free, kind="stable"), int(free.sum())
    matrix = matrix[:, order]
    triangle = triangles((matrix.T @ matrix)[None])[0]
    norm = column_norms(triangle)
    triangle = np.ascontiguousarray(triangle / norm)
    right = (matrix.T @ data[..., None])[..., 0].T / norm[:, None]
    right = solve_triangular(triangle, right, trans=1, check_finite=False)
    weights, most = np.empty((len(data), norm.size)), 20 * norm.size
    if n_free < norm.size:
        bound = np.ascontiguousarray(triangle[n_free:, n_free:])
        for one, target in zip(weights, right.T, strict=True):
            one[n_free:] = nnls(bound, target[n_free:], maxiter=most)[0]
    if n_free:
        left = right[:n_free] - triangle[:n_free, n_free:] @ weights[:, n_free:].T
        first = triangle[:n_free, :n_free]
        weights[:, :n_free] = solve_triangular(first, left, check_finite=False).T
        for i in np.flatnonzero((weights[:, :n_free] < 0).any(axis=1)):
            weights[i] = nnls(triangle, right[:, i], maxiter=most)[0]
    found = np.empty(weights.shape)
    found[:, order] = weights / norm
    return found


def triangles(gram):
    """Return R (n, k, k) of the QR decompositions behind products of columns."""
    norm = np.sqrt(np.diagonal(gram, axis1=1, axis2=2))
    norm = np.where(norm == 0, 1.0, norm)
    scaled = gram / (norm[:, :, None] * norm[:, None])
    k = np.arange(gram.shape[1])
    scaled[:, k, k] += RIDGE
    return np.linalg.cholesky(scaled).swapaxes(1, 2) * norm[:, None]


def nearest(gradient, norm, weights, n_columns):
    """Return columns that are used, and those closest to being used: so many in all.

    Parameters
    ----------
    gradient : ndarray (n_columns,)
        Of half the chi2, downwards, at the solution.
    norm, weights : ndarray (n_columns,)
        Norms of the columns, and the solution.
    n_columns : int

    Returns
    -------
    ndarray of int
        Increasing.
    """
    score = gradient / norm
    score[weights > 0] = np.inf
    return np.sort(np.argsort(-score, kind="stable")[:n_columns])
