"""Weights of all templates at known kinematics, with dust and emission lines."""

from dataclasses import dataclass

import numpy as np

from photospec.analysis.emission.model import group_profiles
from photospec.analysis.populations.kinematics import losvd_convolve
from photospec.analysis.populations.regularisation import smoothness_rows
from photospec.analysis.populations.steps import polynomials, seen_groups
from photospec.dust import calzetti00

__all__ = ["EBV_MAX", "Weights", "gas_columns", "minimum", "population_weights"]

EBV_MAX = 1.5


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of the templates at fixed kinematics.

    Attributes
    ----------
    light : ndarray, shape (n_ages, n_metallicities)
        Light of each template, not normalised.
    ebv, ebv_error : float
    chi2 : float
        Reduced.
    continuum, gas : ndarray, shape (n_pixels,)
        Best-fitting stars and lines.
    basis, lines : ndarray, shapes (n_pixels, n_basis), (n_pixels, n_groups)
        Columns of the linear problem at the solution, for error draws.
    smoothness : ndarray or None
        Rows of the penalty that was used.
    averaged : bool
        Report the mean over error draws instead of this one solution.
    """

    light: np.ndarray
    ebv: float
    ebv_error: float
    chi2: float
    continuum: np.ndarray
    gas: np.ndarray
    basis: np.ndarray
    lines: np.ndarray
    smoothness: np.ndarray | None
    averaged: bool


def gas_columns(data, kinematics):
    """Line groups that good pixels see, at the kinematics of the gas."""
    if not len(kinematics.gas):
        return np.zeros((data.flux.size, 0))
    balmer, forbidden = kinematics.gas[0], kinematics.gas[-1]
    lines = group_profiles(
        data.wavelength, data.lsf_sigma, (forbidden[0], balmer[0]), (forbidden[1], balmer[1])
    )
    return lines[:, seen_groups(lines, data)]


def population_weights(data, kinematics, mdegree=0, regularization=0.0):
    """Fit all templates at fixed kinematics.

    Parameters
    ----------
    data : FitData
    kinematics : Kinematics
    mdegree : int
        Multiplicative polynomials on top of the dust, when above 0.
    regularization : float
        pPXF's ``regul``.

    Returns
    -------
    Weights
    """
    basis = losvd_convolve(data.matched, kinematics.stars)
    lines = gas_columns(data, kinematics)
    shape = data.library.light.shape
    smoothness = (
        smoothness_rows(shape, regularization, lines.shape[1]) if regularization > 0 else None
    )
    curve = 10 ** (-0.4 * calzetti00(data.wavelength))
    solved = {}

    def chi2_at(ebv):
        ebv = round(float(ebv), 6)
        if ebv not in solved:
            system = data.system(basis * (curve**ebv)[:, None], lines)
            solved[ebv] = system.solve(smoothness=smoothness)
        return solved[ebv][1]

    ebv, error = minimum(chi2_at, EBV_MAX)
    weights, chi2 = solved[round(float(ebv), 6)]
    basis = basis * (curve**ebv)[:, None]
    polynomial = np.ones(data.flux.size)
    if mdegree > 0:
        polynomial, weights, chi2 = _polynomial(data, basis, lines, weights, mdegree, smoothness)
        basis = basis * polynomial[:, None]
    stars = weights[: np.prod(shape)]
    return Weights(
        light=stars.reshape(shape),
        ebv=ebv,
        ebv_error=error,
        chi2=chi2 / max(data.good.sum() - 5 - max(mdegree, 0), 1),
        continuum=basis @ (data.coefficients @ stars),
        gas=lines @ weights[stars.size :],
        basis=basis,
        lines=lines,
        smoothness=smoothness,
        averaged=smoothness is None,
    )


def minimum(function, highest):
    """Minimum of chi2 over [0, highest] and its one-sigma width, by parabolas.

    Returns
    -------
    position, width : float
    """
    nodes = [0.0, 0.1, 0.3]
    values = [function(node) for node in nodes]
    while values[-1] == min(values) and nodes[-1] < highest:
        nodes.append(min(nodes[-1] + 0.3, highest))
        values.append(function(nodes[-1]))
    width = np.nan
    for _ in range(3):
        order = np.argsort(nodes)
        nodes, values = [nodes[i] for i in order], [values[i] for i in order]
        lowest = int(np.argmin(values))
        middle = int(np.clip(lowest, 1, len(nodes) - 2))
        x = np.array(nodes[middle - 1 : middle + 2])
        y = np.array(values[middle - 1 : middle + 2])
        curvature, slope, _ = np.polyfit(x - x[1], y - y[1], 2)
        if curvature <= 0:
            break
        width = 1 / np.sqrt(curvature)
        position = float(np.clip(x[1] - 0.5 * slope / curvature, 0.0, highest))
        if min(abs(position - node) for node in nodes) < 0.003:
            break
        nodes.append(position)
        values.append(function(position))
    return nodes[int(np.argmin(values))], width


def _polynomial(data, basis, lines, weights, mdegree, smoothness):
    """Multiplicative polynomial of mean one, together with the weights.

    Gauss-Newton: about the present stars the polynomial's change is linear, so that it can
    be fitted with the weights; its part goes into the basis, and again.
    """
    legendres, good = polynomials(data.flux.size, mdegree)[:, 1:], data.good
    n_templates = data.coefficients.shape[1]
    polynomial, before = np.ones(data.flux.size), np.inf
    for _ in range(12):
        scaled = basis * polynomial[:, None]
        change = legendres * (scaled @ (data.coefficients @ weights[:n_templates]))[:, None]
        system = data.system(scaled, lines, change)
        weights, _ = system.solve(smoothness=smoothness)
        stars = scaled @ (data.coefficients @ weights[:n_templates])
        left = data.flux - stars - lines @ weights[n_templates:]
        columns = (change / data.sigma[:, None])[good]
        factors = np.linalg.lstsq(columns, (left / data.sigma)[good], rcond=None)[0]
        polynomial = (polynomial * (1 + legendres @ factors)).clip(0.1)
        polynomial /= polynomial.mean()
        weights, chi2 = data.system(basis * polynomial[:, None], lines).solve(smoothness=smoothness)
        if before - chi2 < 0.1:
            break
        before = chi2
    return polynomial, weights, chi2
