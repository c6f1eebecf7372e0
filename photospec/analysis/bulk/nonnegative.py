"""Non-negative least squares for many right-hand sides on one small matrix.

`scipy.optimize.nnls` takes a time that grows with the number of columns, and of some two hundred
templates all but a few dozen are far from being used. So the problem is solved for some columns,
and then the gradient of all of them is looked at, which is one product. By the conditions of
Karush, Kuhn and Tucker the solution is that of the whole problem if no column left out would
lower chi2; those that would are added, and it is solved again.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

__all__ = ["Columns", "nearest", "solve_screened"]

ADDED = 20  # columns added at a time: the steepest first
TOLERANCE = 1e-9  # of |column| |data|: gradients below are rounding
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


def solve_screened(columns, data, kept, norm):
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
        found = np.array([nnls(part, data[i], maxiter=20 * n_columns)[0] for i in todo])
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
