"""Weights of the templates: the prepared spectrum, the choice of templates, the linear fits.

The model is dust * (B C w) + G g (+ polynomials), with B (n_pixels, n_basis) the
convolved basis of the templates, C its coefficients, G the emission lines, and
w, g >= 0. A QR decomposition of the weighted [B, G, data] shortens the problem from
thousands of pixels to some tens of rows, with the same chi2 for all w and g; there
non-negative least squares takes a millisecond and Monte-Carlo errors are cheap:
noise of unit variance on the pixels is noise of unit variance on the rows.
"""

from dataclasses import dataclass, replace

import numpy as np
from astropy.cosmology import Planck18
from numpy.polynomial import legendre
from scipy.optimize import nnls

from photospec.analysis.emission.model import GROUPS, group_profiles
from photospec.analysis.populations.kinematics import losvd_convolve
from photospec.analysis.populations.log_spectrum import LogSpectrum
from photospec.analysis.populations.resolution import MatchedTemplates, match_templates
from photospec.dust import calzetti00
from photospec.lines import LINES, near_centres
from photospec.utils.stats import robust_std

__all__ = [
    "MINIMUM_STARTS",
    "FitData",
    "LinearSystem",
    "Weights",
    "build_system",
    "choose_templates",
    "clip_outliers",
    "gas_columns",
    "minimum",
    "minimum_search",
    "polynomials",
    "population_weights",
    "seen_groups",
    "smoothness_rows",
]

# A fit has some forty unknowns: weights that are not zero, polynomial and lines.
LEAST_PIXELS = 200
CLIP = 4.0  # residuals beyond so many robust sigmas are left out
LINE_ZONE = 800.0  # km/s around lines where nothing is clipped
AGE_SLACK = 1.05  # templates may be so much older than the universe
MINIMUM_STARTS = (0.0, 0.1, 0.3)  # mag, where the search for the minimum of chi2 begins
EBV_MAX = 1.5  # mag, 6 in A_V: redder galaxies are too faint to be in optical samples


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
        """Solve for non-negative weights and their chi2, with noise added or rows of a penalty."""
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
    triangle = _triangle(np.hstack(parts) / sigma[:, None])[n_free:, n_free:]
    n_basis = basis.shape[1]
    rows = triangle[:-1]
    matrix = np.hstack([rows[:, :n_basis] @ coefficients, rows[:, n_basis:-1]])
    return LinearSystem(matrix, rows[:, -1].copy(), float(triangle[-1, -1] ** 2))


def _triangle(columns):
    """Return R of the QR decomposition, by Cholesky where that is accurate: half the time."""
    norm = np.sqrt(np.einsum("ij,ij->j", columns, columns))
    norm[norm == 0] = 1.0
    gram = columns.T @ columns / np.outer(norm, norm)
    try:
        triangle = np.linalg.cholesky(gram).T
    except np.linalg.LinAlgError:
        triangle = np.zeros((1, 1))
    if np.min(np.diag(triangle)) < 1e-5:  # rounding of the Gram matrix would show
        return np.linalg.qr(columns, mode="r")
    return triangle * norm


def smoothness_rows(shape, strength, n_other):
    """Return the penalty on the curvature of the weights over age and metallicity.

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


@dataclass(frozen=True, eq=False)
class FitData:
    """One spectrum ready to fit: pixels from the first to the last good one.

    Attributes
    ----------
    spectrum : LogSpectrum
        All of it.
    window : slice
        The pixels of `spectrum` that the arrays below hold.
    wavelength, flux, sigma : ndarray, shape (n_pixels,)
        Rest vacuum Angstrom; flux near unity.
    good : ndarray of bool, shape (n_pixels,)
    lsf_sigma : ndarray, shape (n_pixels,)
        For the lines, rest Angstrom.
    matched : MatchedTemplates
    flags : tuple of str
    """

    spectrum: LogSpectrum
    window: slice
    wavelength: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray
    good: np.ndarray
    lsf_sigma: np.ndarray
    matched: MatchedTemplates
    flags: tuple = ()

    @property
    def library(self):
        """The templates."""
        return self.matched.templates

    @property
    def coefficients(self):
        """Coefficients of all templates, shape (n_basis, n_templates)."""
        coefficients = self.library.coefficients
        return coefficients.reshape(len(coefficients), -1)

    @classmethod
    def prepare(cls, spectrum, library, fit_range, limit_age):
        """Return a FitData, or None and the reason why there is none."""
        low, high = library.fit_range
        if fit_range is not None:
            low, high = max(low, fit_range[0]), min(high, fit_range[1])
        good = ~spectrum.mask & (spectrum.wavelength > low) & (spectrum.wavelength < high)
        reason = reason_unfit(spectrum, good, (low, high))
        if reason:
            return None, reason
        first, last = np.flatnonzero(good)[[0, -1]]
        window = slice(int(first), int(last) + 1)
        wavelength = spectrum.wavelength[window]
        flags = []
        lsf = spectrum.lsf_sigma
        if lsf is None:
            flags.append("no line-spread function: dispersions include the instrument's")
            line_lsf = 0.3 * spectrum.step * wavelength
        else:
            lsf = line_lsf = lsf[window]
        if limit_age:
            library = library.until(AGE_SLACK * Planck18.age(max(spectrum.redshift, 0)).value)
        data = cls(
            spectrum=spectrum,
            window=window,
            wavelength=wavelength,
            flux=spectrum.flux[window],
            sigma=np.where(good[window], spectrum.sigma[window], 1e6),
            good=good[window],
            lsf_sigma=line_lsf,
            matched=match_templates(library, wavelength, lsf, good[window]),
            flags=tuple(flags),
        )
        return data, ""

    def system(self, basis, lines, free=None):
        """Return the LinearSystem of the good pixels."""
        good = self.good
        return build_system(
            basis[good], self.coefficients, lines[good], self.flux[good], self.sigma[good],
            None if free is None else free[good],
        )  # fmt: skip


def reason_unfit(spectrum, good, fit_range):
    """Tell why no population can be fitted to good pixels of a LogSpectrum; empty if one can."""
    if good.sum() < LEAST_PIXELS:
        where = f"{fit_range[0]:.0f}-{fit_range[1]:.0f} A of the rest frame"
        return f"only {good.sum()} good pixels in {where}, {LEAST_PIXELS} needed"
    level = np.median(spectrum.flux[good])
    if not level > 0:
        return "no positive flux in the fitted range"
    if np.ptp(spectrum.flux[good]) < 1e-6 * level:
        return "constant flux"
    return ""


def polynomials(n_pixels, degree):
    """Return Legendre polynomials up to a degree, shape (n_pixels, degree + 1)."""
    return legendre.legvander(np.linspace(-1, 1, n_pixels), degree)


def near_lines(wavelength):
    """Tell where an emission line may be, so that nothing is clipped there."""
    centres = [LINES[name].wavelength for group in GROUPS for name in group.names]
    return near_centres(wavelength, centres, LINE_ZONE)


def clip_outliers(data, model):
    """Mask pixels that no model of a galaxy explains; give data without errors some.

    Residuals beyond `CLIP` times their robust spread about zero (at least the given errors) go,
    except near emission lines.
    """
    residual = (data.flux - model) / data.sigma
    spread = robust_std(residual[data.good], about=0.0)
    if not data.spectrum.has_sigma:
        # The fit's own residuals are the only measure of the noise.
        spread = max(spread, 1e-5)
        data = replace(data, sigma=data.sigma * spread)
        residual, spread = residual / spread, 1.0
    keep = (np.abs(residual) < CLIP * max(spread, 1.0)) | near_lines(data.wavelength)
    return replace(data, good=data.good & keep)


def choose_templates(data, degree, n_gas=1):
    """Choose templates that matter for the kinematics, by two linear fits.

    Non-negative fits with additive polynomials at two dispersions; every template
    with weight in either is kept.

    Returns
    -------
    data : FitData
        Without outliers.
    chosen : ndarray of int
        Indices of the templates.
    dispersion : float
        The better of the two, km/s.
    """
    free = polynomials(data.flux.size, max(degree, 0))
    zero, wide = (0.0, 0.0), (120.0, 120.0)
    lines = group_profiles(data.wavelength, data.lsf_sigma, zero, wide)
    lines = lines[:, seen_groups(lines, data)] if n_gas else lines[:, :0]
    chosen, best = set(), (np.inf, None, None)
    for dispersion in (110.0, 220.0):
        basis = losvd_convolve(data.matched, np.array([0.0, dispersion, np.nan, np.nan]))
        system = data.system(basis, lines, free)
        weights, chi2 = system.solve()
        stars = weights[: data.coefficients.shape[1]]
        chosen |= set(np.flatnonzero(stars > 1e-3 * stars.sum()))
        if chi2 < best[0]:
            partial = basis @ (data.coefficients @ stars) + lines @ weights[stars.size :]
            best = chi2, dispersion, partial
    _, dispersion, partial = best
    good = data.good
    left = (data.flux - partial)[good] / data.sigma[good]
    polynomial = np.linalg.lstsq(free[good] / data.sigma[good, None], left, rcond=None)[0]
    data = clip_outliers(data, partial + free @ polynomial)
    return data, np.array(sorted(chosen)), dispersion


def seen_groups(lines, data):
    """Return groups with at least a third of their (strongest) line on good pixels."""
    width = data.spectrum.step * data.wavelength
    return (lines * (width * data.good)[:, None]).sum(0) > 0.33


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
    """Return line groups that good pixels see, at the kinematics of the gas."""
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
    """Return the minimum of chi2 over [0, highest] and its one-sigma width, by parabolas.

    Returns
    -------
    position, width : float
    """
    search = minimum_search(highest)
    position = next(search)
    while True:
        try:
            position = search.send(function(position))
        except StopIteration as stop:
            return stop.value


def minimum_search(highest):
    """Search as `minimum` does, step by step.

    Yields
    ------
    position : float
        Where chi2 is wanted: send it.

    Returns
    -------
    position, width : float
    """
    nodes, values = [], []
    for node in MINIMUM_STARTS:
        nodes.append(node)
        values.append((yield node))
    while values[-1] == min(values) and nodes[-1] < highest:
        nodes.append(min(nodes[-1] + 0.3, highest))
        values.append((yield nodes[-1]))
    width = np.nan
    for _ in range(3):
        order = np.argsort(nodes)
        nodes, values = [nodes[i] for i in order], [values[i] for i in order]
        middle = int(np.clip(np.argmin(values), 1, len(nodes) - 2))
        left, x, right = nodes[middle - 1 : middle + 2]
        y = values[middle]
        below, above = (y - values[middle - 1]) / (x - left), (values[middle + 1] - y) / (right - x)
        curvature = (above - below) / (right - left)
        if curvature <= 0:
            break
        slope = (below * (right - x) + above * (x - left)) / (right - left)
        width = 1 / np.sqrt(curvature)
        position = float(np.clip(x - 0.5 * slope / curvature, 0.0, highest))
        if min(abs(position - node) for node in nodes) < 0.003:
            break
        nodes.append(position)
        values.append((yield position))
    return nodes[int(np.argmin(values))], width


def _polynomial(data, basis, lines, weights, mdegree, smoothness):
    """Fit a multiplicative polynomial of mean one, together with the weights.

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
