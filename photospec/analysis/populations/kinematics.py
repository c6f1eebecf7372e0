"""Stellar and gas kinematics by pPXF (Cappellari & Emsellem 2004; Cappellari 2017, 2023).

pPXF does the fit; this module hands it what it needs, keeps it silent, and names
what comes back. Velocities follow pPXF: V = c ln(1 + z), here relative to the
redshift that the spectrum was brought to rest with.
"""

import contextlib
import io
from dataclasses import dataclass

import numpy as np
from scipy import fft

from photospec.dust import CALZETTI_RV
from photospec.utils.constants import FWHM, SPEED_OF_LIGHT
from photospec.utils.optional import optional_imports

__all__ = ["Kinematics", "PPXFSettings", "fit_kinematics", "losvd_convolve"]

# pPXF's names of the Balmer lines.
BALMER = ("Balmer", "Halpha", "Hbeta", "Hgamma", "Hdelta", "Heps", "H8", "H9", "H10")
V_RANGE = 800.0  # km/s around the redshift given
SIGMA_MAX = 600.0  # km/s


@dataclass(frozen=True)
class PPXFSettings:
    """What pPXF is asked for; names as in pPXF.

    Attributes
    ----------
    moments : int
        2 for velocity and dispersion, 4 with h3 and h4.
    degree, mdegree : int
        Of the additive and multiplicative Legendre polynomials; -1 or 0 for none.
    regul : float
        Regularisation; 0 for none.
    n_gas : int
        Kinematic components of the gas: 0 (no lines), 1 (all lines tied) or 2
        (Balmer lines, and the others).
    tie_balmer, limit_doublets : bool
        Balmer lines in the ratios of case B with their own reddening; [O II] and
        [S II] ratios kept within their physical limits.
    bias : float, optional
        Penalty on h3, h4; pPXF's own choice when None.
    """

    moments: int = 2
    degree: int = 15
    mdegree: int = 0
    regul: float = 0.0
    n_gas: int = 1
    tie_balmer: bool = False
    limit_doublets: bool = False
    bias: float | None = None


@dataclass(frozen=True)
class Kinematics:
    """Result of one pPXF run, velocities in km/s.

    Attributes
    ----------
    stars, stars_error : ndarray, shape (4,)
        Velocity, dispersion, h3, h4; NaN for moments that were not fitted.
    gas, gas_error : ndarray, shape (n_gas, 2)
        Velocity and dispersion; Balmer lines first where there are two components.
    chi2 : float
        Reduced.
    weights : ndarray, shape (n_templates,)
        Of the stellar templates.
    best_fit, gas_fit, polynomial : ndarray, shape (n_pixels,)
        Model, its emission lines, and its multiplicative polynomial.
    gas_names : tuple of str
    gas_flux : ndarray
        Of the gas templates, flux density summed over pixels.
    ebv, ebv_error : float
        Of the stars, when pPXF fitted it; NaN otherwise.
    """

    stars: np.ndarray
    stars_error: np.ndarray
    gas: np.ndarray
    gas_error: np.ndarray
    chi2: float
    weights: np.ndarray
    best_fit: np.ndarray
    gas_fit: np.ndarray
    polynomial: np.ndarray
    gas_names: tuple
    gas_flux: np.ndarray
    ebv: float = np.nan
    ebv_error: float = np.nan


def fit_kinematics(data, chosen, settings, dispersion=150.0):
    """Fit stars and gas lines with pPXF.

    Parameters
    ----------
    data : FitData
        The spectrum and its matched templates.
    chosen : ndarray of int or slice
        Indices of the templates to use; `slice(None)` for all.
    settings : PPXFSettings
    dispersion : float
        To start from, km/s.

    Returns
    -------
    Kinematics
    """
    matched, wavelength, good = data.matched, data.wavelength, data.good
    stars = matched.basis @ data.coefficients[:, chosen]
    template_wavelength, floor = matched.wavelength, matched.floor
    with contextlib.redirect_stdout(io.StringIO()):
        with optional_imports():
            from ppxf import ppxf_util
            from ppxf.ppxf import ppxf

        step = np.log(wavelength[-1] / wavelength[0]) / (wavelength.size - 1)
        names, gas = (), np.zeros((len(stars), 0))
        if settings.n_gas:
            seen = wavelength[good][[0, -1]]
            gas, names, _ = ppxf_util.emission_lines(
                np.log(template_wavelength),
                seen,
                {"lam": wavelength, "fwhm": FWHM * data.lsf_sigma},
                tie_balmer=settings.tie_balmer,
                limit_doublets=settings.limit_doublets,
                vacuum=True,
            )
            # A line that no good pixel sees would only be a column of zeros.
            used = np.sum(gas[matched.n_pad : matched.n_pad + wavelength.size][good], 0) > 0.3
            gas, names = gas[:, used], tuple(np.asarray(names)[used])
        second = np.array([name not in BALMER for name in names], bool)
        n_gas = min(settings.n_gas, 1 + (second.any() and not second.all())) if names else 0
        which = 1 + second.astype(int) if n_gas == 2 else np.ones(len(names), int)
        component = np.concatenate([np.zeros(stars.shape[1], int), which])
        start = [0.0, np.sqrt(max(dispersion**2 - floor**2, 900.0))]
        bounds = [[-V_RANGE, V_RANGE], [step * SPEED_OF_LIGHT / 100, SIGMA_MAX]]
        star_bounds = bounds + [[-0.3, 0.3]] * (settings.moments - 2)
        # With neither polynomials nor dust the continuum has no freedom at all.
        options = {"reddening": 0.1} if settings.degree < 0 and settings.mdegree <= 0 else {}
        if names:
            options |= {"gas_component": component > 0, "gas_names": np.array(names)}
            if settings.tie_balmer and "Balmer" in names:
                options["gas_reddening"] = 0.0
        fit = ppxf(
            np.hstack([stars, gas]),
            data.flux,
            data.sigma,
            step * SPEED_OF_LIGHT,
            [start] + [[0.0, 100.0]] * n_gas if n_gas else start,
            moments=[settings.moments] + [2] * n_gas if n_gas else settings.moments,
            bounds=[star_bounds] + [bounds] * n_gas if n_gas else star_bounds,
            component=component if n_gas else 0,
            degree=settings.degree,
            mdegree=settings.mdegree,
            regul=settings.regul,
            reg_dim=data.library.light.shape if settings.regul > 0 else None,
            bias=settings.bias,
            lam=wavelength,
            lam_temp=template_wavelength,
            mask=good,
            quiet=True,
            **options,
        )
    return _named(fit, n_gas, stars.shape[1], tuple(str(n) for n in names), floor)


def _named(fit, n_gas, n_stars, names, floor):
    solution = fit.sol if n_gas else [fit.sol]
    scale = np.sqrt(max(fit.chi2, 1.0))
    error = [np.asarray(e) * scale for e in (fit.error if n_gas else [fit.error])]
    stars, stars_error = np.full(4, np.nan), np.full(4, np.nan)
    stars[: len(solution[0])], stars_error[: len(error[0])] = solution[0], error[0]
    total = np.hypot(stars[1], floor)
    stars_error[1] *= stars[1] / total
    stars[1] = total
    pixels = np.zeros(fit.galaxy.size)
    return Kinematics(
        stars=stars,
        stars_error=stars_error,
        gas=np.array([s[:2] for s in solution[1:]]).reshape(n_gas, 2),
        gas_error=np.array([e[:2] for e in error[1:]]).reshape(n_gas, 2),
        chi2=float(fit.chi2),
        weights=fit.weights[:n_stars],
        best_fit=fit.bestfit,
        gas_fit=pixels if fit.gas_bestfit is None else fit.gas_bestfit,
        polynomial=pixels + 1 if fit.mpoly is None else fit.mpoly,
        gas_names=names,
        gas_flux=np.zeros(0) if fit.gas_flux is None else fit.gas_flux,
        ebv=np.nan if fit.reddening is None else fit.reddening / CALZETTI_RV,
        ebv_error=np.nan,
    )


def losvd_convolve(matched, stars):
    """Return the template basis convolved with a line-of-sight velocity distribution.

    Analytic Fourier transform of the Gauss-Hermite series
    (Cappellari 2017, MNRAS 466, 798, eq. 38), taken from pPXF.

    Parameters
    ----------
    matched : MatchedTemplates
    stars : ndarray, shape (4,)
        Velocity and dispersion in km/s, h3, h4 (NaN for none).

    Returns
    -------
    ndarray, shape (n_pixels, n_basis)
        On the pixels of the spectrum.
    """
    with optional_imports():
        from ppxf.ppxf import losvd_rfft

    n_pixels = len(matched.basis)
    step = np.log(matched.wavelength[-1] / matched.wavelength[0]) / (n_pixels - 1)
    moments = np.nan_to_num(stars).astype(float)
    moments[1] = np.sqrt(
        max(moments[1] ** 2 - matched.floor**2, (0.01 * step * SPEED_OF_LIGHT) ** 2)
    )
    moments[:2] /= step * SPEED_OF_LIGHT
    n = fft.next_fast_len(n_pixels, real=True)
    kernel = losvd_rfft(moments, 1, [4], n // 2 + 1, 1, 0.0, 1, 0.0)[:, 0, 0]
    columns = fft.irfft(fft.rfft(matched.basis, n, axis=0) * kernel[:, None], n, axis=0)
    return columns[matched.n_pad : n_pixels - matched.n_pad]
