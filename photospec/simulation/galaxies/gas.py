"""Emission-line luminosities of star-forming, Seyfert and LINER-like gas."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from photospec.dust import attenuation_curve
from photospec.simulation.galaxies.stars import stellar_basis
from photospec.simulation.galaxies.table import DUST_LAWS

__all__ = [
    "agn_ratios",
    "halpha_continuum",
    "line_index",
    "line_transmission",
    "star_forming_lines",
]

# Doublets of one upper level, strong over weak: Storey & Zeippen 2000, MNRAS 312, 813. Cloudy's
# older transition probabilities give 2.89 and 2.95.
_DOUBLETS = (("oiii_5007", "oiii_4959", 2.98), ("nii_6584", "nii_6548", 3.05))


@lru_cache
def line_index(name):
    """Return the position of a named line among the lines of the basis."""
    return stellar_basis().line_names.index(name)


def star_forming_lines(hbeta, gas_metallicity, log_u, nitrogen, sulphur):
    """Return intrinsic luminosities of all lines, shape (n, n_lines).

    Parameters
    ----------
    hbeta : ndarray, shape (n,)
        Intrinsic H-beta luminosity.
    gas_metallicity, log_u : ndarray, shape (n,)
        Where to read the Cloudy grid (bilinear in the logarithms).
    nitrogen, sulphur : ndarray, shape (n,)
        Abundance of nitrogen and sulphur relative to the grid's, dex, scaling their lines.
    """
    basis = stellar_basis()
    log_ratio = np.log10(np.clip(basis.line_ratio[:-1], 1e-12, None))
    nodes = basis.metallicity[:-1]
    i, f = _locate(nodes, gas_metallicity)
    j, g = _locate(basis.log_u, log_u)
    f, g = f[:, None], g[:, None]
    out = (1 - f) * ((1 - g) * log_ratio[i, j] + g * log_ratio[i, j + 1])
    out += f * ((1 - g) * log_ratio[i + 1, j] + g * log_ratio[i + 1, j + 1])
    for label, offset in (("ni", nitrogen), ("si", sulphur)):
        these = [k for k, x in enumerate(basis.line_names) if x.startswith(label)]
        out[:, these] += offset[:, None]
    for strong, weak, ratio in _DOUBLETS:
        out[:, line_index(weak)] = out[:, line_index(strong)] - np.log10(ratio)
    return hbeta[:, None] * 10**out


def agn_ratios(oiii_hbeta, nii_halpha, sii_halpha, oi_halpha, oii_hbeta):
    """Return line luminosities over H-alpha, (n, n_lines), from log ratios of shape (n,).

    Balmer lines follow case B with H-alpha/H-beta = 3.1 (Osterbrock & Ferland 2006, AGN2, ch. 11).
    """
    n = len(oiii_hbeta)
    out = np.zeros((n, len(stellar_basis().line_names)))
    hbeta = 1 / 3.1
    for name, ratio in (("halpha", 3.1), ("hbeta", 1.0), ("hgamma", 0.468), ("hdelta", 0.259)):
        out[:, line_index(name)] = ratio * hbeta
    out[:, line_index("h_epsilon")] = 0.159 * hbeta
    oiii = 10**oiii_hbeta * hbeta
    out[:, line_index("oiii_5007")] = oiii
    out[:, line_index("oiii_4959")] = oiii / 2.98
    out[:, line_index("neiii_3869")] = 0.1 * oiii
    out[:, line_index("neiii_3968")] = 0.03 * oiii
    out[:, line_index("nii_6584")] = 10**nii_halpha
    out[:, line_index("nii_6548")] = 10**nii_halpha / 3.05
    out[:, line_index("sii_6716")] = 10**sii_halpha * 0.55
    out[:, line_index("sii_6731")] = 10**sii_halpha * 0.45
    out[:, line_index("oi_6300")] = 10**oi_halpha
    out[:, line_index("oi_6364")] = 10**oi_halpha / 3.1
    out[:, line_index("oii_3726")] = 10**oii_hbeta * hbeta * 0.45
    out[:, line_index("oii_3729")] = 10**oii_hbeta * hbeta * 0.55
    return out


def _locate(grid, value):
    value = np.clip(value, grid[0], grid[-1])
    i = np.clip(np.searchsorted(grid, value) - 1, 0, len(grid) - 2)
    return i, (value - grid[i]) / (grid[i + 1] - grid[i])


@lru_cache
def _line_curves():
    wave = np.clip(stellar_basis().line_wavelength, 1250, 22000)
    return np.array([attenuation_curve(law, wave) for law in DUST_LAWS])


def line_transmission(law, av):
    """Return what dust leaves of each line, (n, n_lines); `law` indexes `DUST_LAWS`."""
    return np.exp(-0.4 * np.log(10) * _line_curves()[law] * av[:, None])


@lru_cache
def _halpha_rows():
    basis = stellar_basis()
    wave = basis.wavelength
    side = ((wave > 6490) & (wave < 6530)) | ((wave > 6600) & (wave < 6640))
    curve = np.array([attenuation_curve(law, np.array([6564.6]))[0] for law in DUST_LAWS])
    return basis.luminosity[:, side].mean(1).astype(float), curve


def halpha_continuum(weights, law, av):
    """Return the dimmed continuum beside H-alpha, solar luminosities per Angstrom, shape (n,)."""
    rows, curve = _halpha_rows()
    return (weights @ rows) * 10 ** (-0.4 * curve[law] * av)
