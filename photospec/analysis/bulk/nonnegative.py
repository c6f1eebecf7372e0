"""Small pieces of non-negative least squares on few templates out of many.

`scipy.optimize.nnls` takes a time that grows with the number of columns, and of some two hundred
templates all but a few dozen are far from being used. So problems are solved for some columns,
and then the gradient of all of them is looked at, which is one product. By the conditions of
Karush, Kuhn and Tucker the solution is that of the whole problem if no column left out would
lower chi2.
"""

import numpy as np

__all__ = ["RIDGE", "TOLERANCE", "column_norms", "lower_triangles", "nearest", "triangles"]

TOLERANCE = 1e-8  # of |column| |data|: gradients below are rounding
RIDGE = 1e-11  # of the squared norms: keeps products of alike templates solvable
RIDGES = (0.0, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)  # added to it where it is not enough


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
    return lower_triangles(scaled).swapaxes(1, 2) * norm[:, None]


def lower_triangles(matrices):
    """Return Cholesky's triangles (n, k, k) of matrices with diagonals of one.

    A matrix that rounding in single precision made singular gets the ridge that it needs.
    """
    try:
        return np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        return np.array([_lower_triangle(one) for one in matrices])


def _lower_triangle(matrix):
    for ridge in RIDGES:
        try:
            return np.linalg.cholesky(matrix + ridge * np.eye(len(matrix)))
        except np.linalg.LinAlgError:
            continue
    raise np.linalg.LinAlgError("products of columns are not positive definite")


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
