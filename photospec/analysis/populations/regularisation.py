"""Weights of the templates at fixed kinematics: a small linear problem.

The model is dust * (B C w) + G g (+ polynomials), with B (n_pixels, n_basis) the
convolved basis of the templates, C its coefficients, G the emission lines, and
w, g >= 0. A QR decomposition of the weighted [B, G, data] shortens the problem from
thousands of pixels to some tens of rows, with the same chi2 for all w and g; there
non-negative least squares takes a millisecond and Monte-Carlo errors are cheap:
noise of unit variance on the pixels is noise of unit variance on the rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

__all__ = ["LinearSystem", "build_system", "smoothness_rows", "triangle", "triangle_of_gram"]


@dataclass(frozen=True)
class LinearSystem:
    """Least squares on few rows: chi2 = |matrix @ weights - data|^2 + rest.

    Attributes
    ----------
    matrix : ndarray, shape (n_rows, n_columns)
    data : ndarray, shape (n_rows,)
    rest : float
        chi2 that no weights can remove.
    """

    matrix: np.ndarray
    data: np.ndarray
    rest: float

    def solve(self, noise=None, smoothness=None):
        """Non-negative weights and their chi2, with noise added or rows of a penalty."""
        matrix, data = self.matrix, self.data if noise is None else self.data + noise
        if smoothness is not None:
            matrix = np.vstack([matrix, smoothness])
            data = np.concatenate([data, np.zeros(len(smoothness))])
        weights = nnls(matrix, data, maxiter=20 * matrix.shape[1])[0]
        residual = self.matrix @ weights - data[: self.data.size]
        return weights, residual @ residual + self.rest


def build_system(basis, coefficients, other, flux, sigma, free=None):
    """Shorten a fit of templates to some tens of rows.

    Parameters
    ----------
    basis : ndarray, shape (n_pixels, n_basis)
        Template basis, convolved and attenuated.
    coefficients : ndarray, shape (n_basis, n_templates)
    other : ndarray, shape (n_pixels, n_other)
        Further columns with non-negative weights (emission lines).
    flux, sigma : ndarray, shape (n_pixels,)
        Data and standard errors.
    free : ndarray, shape (n_pixels, n_free), optional
        Columns of either sign (additive polynomials); projected out.

    Returns
    -------
    LinearSystem
        Columns: templates, then `other`.
    """
    parts = [basis, other, flux[:, None]] if free is None else [free, basis, other, flux[:, None]]
    n_free = 0 if free is None else free.shape[1]
    reduced = triangle(np.hstack(parts) / sigma[:, None])[n_free:, n_free:]
    n_basis = basis.shape[1]
    rows = reduced[:-1]
    matrix = np.hstack([rows[:, :n_basis] @ coefficients, rows[:, n_basis:-1]])
    return LinearSystem(matrix, rows[:, -1].copy(), float(reduced[-1, -1] ** 2))


def triangle(columns):
    """R of the QR decomposition, by Cholesky where that is accurate: half the time."""
    reduced = triangle_of_gram(columns.T @ columns)
    return np.linalg.qr(columns, mode="r") if reduced is None else reduced


def triangle_of_gram(gram, ridge=0.0):
    """R of the QR decomposition from the products of the columns; None if that is not accurate.

    Parameters
    ----------
    gram : ndarray, shape (n_columns, n_columns)
    ridge : float
        Added to the square of the norm of every column, as a share of it.

    Returns
    -------
    ndarray, shape (n_columns, n_columns), or None
    """
    norm = np.sqrt(np.diag(gram))
    norm[norm == 0] = 1.0
    scaled = gram / np.outer(norm, norm)
    if ridge:
        scaled[np.diag_indices(len(scaled))] += ridge
    try:
        upper = np.linalg.cholesky(scaled).T
    except np.linalg.LinAlgError:
        return None
    if np.min(np.diag(upper)) < 1e-5 and not ridge:  # rounding of the products would show
        return None
    return upper * norm


def smoothness_rows(shape, strength, n_other):
    """Penalty on the curvature of the weights over age and metallicity.

    Second differences along both axes, times `strength`
    (Cappellari 2017, MNRAS 466, 798, eq. 26, with the two axes as separate terms).

    Parameters
    ----------
    shape : tuple of int
        (n_ages, n_metallicities).
    strength : float
        pPXF's ``regul``: inverse of the allowed deviation from a straight line.
    n_other : int
        Columns without a penalty, after the templates.

    Returns
    -------
    ndarray, shape (n_rows, n_ages * n_metallicities + n_other)
    """
    n_age, n_metal = shape
    identity_age, identity_metal = np.eye(n_age), np.eye(n_metal)
    rows = []
    if n_age > 2:
        rows.append(np.kron(np.diff(identity_age, 2, axis=0), identity_metal))
    if n_metal > 2:
        rows.append(np.kron(identity_age, np.diff(identity_metal, 2, axis=0)))
    if not rows:
        return np.zeros((0, n_age * n_metal + n_other))
    return strength * np.pad(np.vstack(rows), [(0, 0), (0, n_other)])
