"""The fit behind `photospec.analysis.emission`: Gaussians to continuum-subtracted pixels."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter
from scipy.optimize import least_squares

from photospec.analysis.emission.model import GROUPS, group_profiles, line_windows, pixel_edges
from photospec.lines import LINES
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["GroupFit", "Residual", "fit_groups", "gauss_newton", "minimise"]

LINE_ZONE = 1200.0  # km/s on either side of a line that belong to it
BACKGROUND = 151  # pixels of the running median that levels the residuals
FREE_SNR = 5.0  # lines of a kind must have this much for their own kinematics
# What the noise does not know, from simulated galaxies of two components with gas of their
# own (benchmarks/analysis_recovery.py). Lines are no single Gaussians: a factor on the
# noise and a part of the flux, more for [O III], whose width is its own where it comes from the
# nucleus. Stars under a line: Angstrom of their continuum, most for Balmer lines.
SHAPE_FACTOR, SHAPE_ERROR, SHAPE_ERROR_OIII = 1.05, 0.005, 0.02
STARS_ERROR, STARS_ERROR_BALMER = 0.02, 0.065
DISPERSION_RANGE = (5.0, 700.0)  # km/s
VELOCITY_RANGE = 600.0  # km/s
GAUSS_NEWTON_STEPS = 20
LARGEST_STEP, SMALLEST_STEP = 80.0, 1.0  # km/s; the next would be far smaller still
CHI2_GAIN = 1e-4  # of chi2, by one step: no more is to be had


@dataclass(frozen=True, eq=False)
class Residual:
    """Spectrum minus stars, rest frame of the stars.

    Attributes
    ----------
    wavelength : ndarray, shape (n_pixels,)
        Rest vacuum Angstrom of the pixels; fluxes stay per observed Angstrom.
    flux, sigma, continuum : ndarray, shape (n_pixels,)
    good : ndarray of bool, shape (n_pixels,)
    lsf_sigma : ndarray, shape (n_pixels,)
        Rest Angstrom.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray
    continuum: np.ndarray
    good: np.ndarray
    lsf_sigma: np.ndarray

    @classmethod
    def of(cls, fit):
        """Residual of a PopulationFit, its slow undulations taken out."""
        wavelength = fit.wavelength / (1 + fit.redshift)
        good = ~fit.mask & np.isfinite(fit.continuum) & np.isfinite(fit.sigma)
        step = np.log(wavelength[1] / wavelength[0])
        lsf = 0.3 * step * wavelength
        if fit.lsf_sigma is not None:
            lsf = fit.lsf_sigma / (1 + fit.redshift)
        continuum = np.where(np.isfinite(fit.continuum), fit.continuum, 0.0)
        flux = np.where(good, np.nan_to_num(fit.flux) - continuum, 0.0)
        calm = good & ~near_lines(wavelength)
        if calm.sum() > BACKGROUND:
            # The median over line-free pixels only, carried across the lines.
            index = np.flatnonzero(calm)
            level = median_filter(flux[index], BACKGROUND, mode="nearest")
            background = np.interp(np.arange(flux.size), index, level)
            flux, continuum = flux - background, continuum + background
        sigma = np.where(good, fit.sigma, np.inf)
        return cls(wavelength, np.where(good, flux, 0.0), sigma, continuum, good, lsf)

    def coverage(self, groups):
        """Part of the flux of groups (n_groups,) on good pixels, at rest and a common width."""
        profiles = group_profiles(
            self.wavelength, self.lsf_sigma, (0.0, 0.0), (100.0, 100.0), groups
        )
        step = np.log(self.wavelength[1] / self.wavelength[0])
        total = np.array([sum(group.ratios) for group in groups])
        return (step * self.wavelength * self.good) @ profiles / total


def near_lines(wavelength, zone=LINE_ZONE, groups=GROUPS):
    """True within `zone` km/s of any line of the groups."""
    near = np.zeros(wavelength.size, bool)
    for group in groups:
        for name in group.names:
            near |= np.abs(np.log(wavelength / LINES[name].wavelength)) < zone / SPEED_OF_LIGHT
    return near


@dataclass(frozen=True, eq=False)
class GroupFit:
    """Fitted line groups; fluxes in flux unit times rest Angstrom.

    Attributes
    ----------
    flux : ndarray, shape (n_groups,)
    covariance : ndarray, shape (n_groups, n_groups)
    kinematics, kinematics_error : ndarray, shape (2, 2)
        (forbidden, Balmer) x (velocity, dispersion), km/s.
    own : tuple of bool
        Whether the kinematics of (forbidden, Balmer) were free; tied to the other or to
        the start otherwise.
    inflation : float
        Factor that the covariance holds already, from line-free places.
    """

    flux: np.ndarray
    covariance: np.ndarray
    kinematics: np.ndarray
    kinematics_error: np.ndarray
    own: tuple
    inflation: float


class _Columns:
    """Profiles of line groups on the pixels near lines, each over the noise."""

    def __init__(self, residual, groups):
        self.residual, self.groups = residual, groups
        self.balmer = np.array([group.balmer for group in groups])
        self.use = residual.good & near_lines(residual.wavelength, groups=groups)
        self.sigma = residual.sigma[self.use]
        self.data = residual.flux[self.use] / self.sigma

    def __call__(self, kinematics, derivatives=False):
        """Columns (n, n_groups), with derivatives (3, n, n_groups): by velocity and dispersion."""
        velocity, dispersion = np.asarray(kinematics).reshape(2, 2).T
        profiles = group_profiles(
            self.residual.wavelength, self.residual.lsf_sigma, velocity, dispersion, self.groups,
            derivatives, self.use,
        )  # fmt: skip
        return profiles / self.sigma[:, None]

    def slopes(self, profiles, flux, own):
        """Derivatives (n, n_free) of the model by the free kinematics, from columns with theirs."""
        slopes = []
        for kind, free in ((~self.balmer, own[0]), (self.balmer, own[1])):
            if free:
                moved = kind if own.all() else np.ones_like(kind)  # a weak kind follows
                slopes += [part[:, moved] @ flux[moved] for part in profiles[1:]]
        return np.stack(slopes, axis=1) if slopes else np.zeros((self.data.size, 0))


def fit_groups(residual, groups, start, nonlinear=None):
    """Fit line groups to a residual.

    Parameters
    ----------
    residual : Residual
    groups : tuple of LineGroup
    start : tuple of float
        Velocity and dispersion, km/s.
    nonlinear : callable, optional
        Finds velocities and dispersions: `minimise` by default, or `gauss_newton`.

    Returns
    -------
    GroupFit
    """
    nonlinear = nonlinear or minimise
    inflation = _inflation(residual, start[1])
    columns = _Columns(residual, groups)
    kinematics = np.array([start, start], float)
    profiles = columns(kinematics, derivatives=True)
    flux, covariance = _linear(profiles[0], columns.data)
    own = _strong(flux, covariance, columns.balmer, inflation)
    for _ in range(2):
        if not own.any():
            break
        moved = nonlinear(columns, kinematics, own)
        profiles = columns(moved, derivatives=True)
        flux, covariance = _linear(profiles[0], columns.data)
        again = own & _strong(flux, covariance, columns.balmer, inflation)
        if (again == own).all():
            kinematics = moved
            break
        own = again
        profiles = columns(kinematics, derivatives=True)
    covariance, error = _full_covariance(columns, profiles, own, flux)
    covariance = covariance * (SHAPE_FACTOR * inflation) ** 2
    covariance += np.diag(_model_variance(residual, groups, flux))
    return GroupFit(
        flux, covariance, kinematics, error * inflation, tuple(map(bool, own)), inflation
    )


def _linear(matrix, data):
    normal = matrix.T @ matrix
    # Lines that hardly show get an infinitesimal ridge instead of a singular matrix.
    normal += np.diag(np.full(len(normal), 1e-12 * np.trace(normal)))
    covariance = np.linalg.inv(normal)
    return covariance @ (matrix.T @ data), covariance


def _strong(flux, covariance, balmer, inflation):
    """(forbidden, Balmer): whether the lines carry kinematics of their own."""
    strong = []
    for kind in (~balmer, balmer):
        rows = np.flatnonzero(kind & (flux > 0))
        # chi2 that the positive lines of this kind explain, each by itself.
        chi2 = np.sum(flux[rows] ** 2 / np.diag(covariance)[rows]) / inflation**2
        single = np.max(flux[rows] ** 2 / np.diag(covariance)[rows], initial=0.0) / inflation**2
        strong.append(chi2 > FREE_SNR**2 + rows.size and single > (FREE_SNR - 1) ** 2)
    return np.array(strong)


def _expand(free, kinematics, own):
    """Kinematics (2, 2) from the free parameters; a weak kind follows the strong one."""
    out = kinematics.copy()
    out[own] = free.reshape(-1, 2)
    if own.sum() == 1:
        out[~own] = out[own]
    return out


def _bounds(own):
    low = np.tile([-VELOCITY_RANGE, DISPERSION_RANGE[0]], own.sum())
    high = np.tile([VELOCITY_RANGE, DISPERSION_RANGE[1]], own.sum())
    return low, high


def minimise(columns, kinematics, own):
    """Velocities and dispersions by a trust-region minimiser: slow, and asks for no slopes."""

    def residuals(free):
        matrix = columns(_expand(free, kinematics, own))
        flux, _ = _linear(matrix, columns.data)
        return columns.data - matrix @ flux

    low, high = _bounds(own)
    free = kinematics[own].ravel().clip(low + 1, high - 1)
    result = least_squares(
        residuals, free, bounds=(low, high), x_scale=50.0, diff_step=1e-2, ftol=1e-4, xtol=1e-4,
        max_nfev=30,
    )  # fmt: skip
    return _expand(result.x, kinematics, own)


def gauss_newton(columns, kinematics, own):
    """Velocities and dispersions by Gauss-Newton steps, the fluxes free to follow each.

    A step that makes chi2 worse is halved.
    """
    low, high = _bounds(own)
    kept = free = kinematics[own].ravel().clip(low + 1, high - 1)
    best, step = np.inf, np.zeros(free.size)
    for _ in range(GAUSS_NEWTON_STEPS):
        profiles = columns(_expand(free, kinematics, own), derivatives=True)
        flux, _ = _linear(profiles[0], columns.data)
        residual = columns.data - profiles[0] @ flux
        chi2 = residual @ residual
        gain, better = best - chi2, chi2 < best
        if better:
            kept, best = free, chi2
            both = np.hstack([profiles[0], columns.slopes(profiles, flux, own)])
            change, _ = _linear(both, residual)
            step = change[flux.size :].clip(-LARGEST_STEP, LARGEST_STEP)
        else:
            step = step / 2
        free = (kept + step).clip(low, high)
        step = free - kept
        if np.abs(step).max() < SMALLEST_STEP or (better and gain < CHI2_GAIN * chi2):
            break
    return _expand(free if better else kept, kinematics, own)


def _full_covariance(columns, profiles, own, flux):
    """Covariance of fluxes with free kinematics marginalised, and errors of the latter."""
    jacobian = np.hstack([profiles[0], columns.slopes(profiles, flux, own)])
    norm = np.linalg.norm(jacobian, axis=0)
    norm[norm == 0] = 1.0
    scaled = jacobian / norm
    covariance = np.linalg.pinv(scaled.T @ scaled, rcond=1e-10) / np.outer(norm, norm)
    error = np.full((2, 2), np.nan)
    error[own] = np.sqrt(np.diag(covariance)[flux.size :]).reshape(-1, 2)
    return covariance[: flux.size, : flux.size], error


def _model_variance(residual, groups, flux):
    """Variance (n_groups,) of fluxes from line shapes and from the stars under the lines."""
    strongest = [LINES[group.names[0]].wavelength for group in groups]
    stars = np.interp(strongest, residual.wavelength, residual.continuum)
    balmer = np.array([group.balmer for group in groups])
    shape = [SHAPE_ERROR_OIII if "oiii_5007" in g.names else SHAPE_ERROR for g in groups]
    return (shape * flux) ** 2 + (np.where(balmer, STARS_ERROR_BALMER, STARS_ERROR) * stars) ** 2


def _inflation(residual, dispersion):
    """Scatter over expected scatter of line fluxes where there are no lines, at least 1."""
    calm = residual.good & ~near_lines(residual.wavelength, 600.0)
    step = np.log(residual.wavelength[1] / residual.wavelength[0])
    stride = max(int(4 * np.hypot(dispersion, 70.0) / SPEED_OF_LIGHT / step), 1)
    index = np.flatnonzero(residual.good)[stride:-stride:stride]
    index = index[calm[index]]
    if index.size < 20:
        return 1.0
    centre = residual.wavelength[index]
    sigma = np.hypot(residual.lsf_sigma[index], centre * dispersion / SPEED_OF_LIGHT)
    pixel, profile = line_windows(pixel_edges(residual.wavelength), centre, sigma)
    profile = profile * calm[pixel]
    weight = np.where(calm, residual.sigma, np.inf)[pixel] ** -2
    flux = (profile * weight * residual.flux[pixel]).sum(1)
    flux_over_error = flux / np.sqrt((profile**2 * weight).sum(1))
    return float(max(1.0, 1.4826 * np.median(np.abs(flux_over_error))))
