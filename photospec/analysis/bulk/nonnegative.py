"""Small pieces of non-negative least squares on few templates out of many.

`scipy.optimize.nnls` takes a time that grows with the number of columns, and of some two hundred
templates all but a few dozen are far from being used. So problems are solved for some columns,
and then the gradient of all of them is looked at, which is one product. By the conditions of
Karush, Kuhn and Tucker the solution is that of the whole problem if no column left out would
lower chi2.
"""

import numpy as np

__all__ = ["RIDGE", "TOLERANCE", "column_norms", "nearest", "triangles"]

TOLERANCE = 1e-8  # of |column| |data|: gradients below are rounding
RIDGE = 1e-11  # of the squared norms: keeps products of alike templates solvable


def column_norms(matrix):
    """Return norms (n_columns,), one for columns of zeros."""
    norm = np.sqrt(np.einsum("ij,ij->j", matrix, matrix))
    norm[norm == 0] = 1.0
    return norm


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
