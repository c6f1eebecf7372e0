"""Truth columns: parameters, line fluxes and indices of the noiseless fibre spectrum."""

from functools import lru_cache

import numpy as np

from photospec.simulation.attenuation import attenuation_curve
from photospec.simulation.basis import stellar_basis
from photospec.simulation.gas import line_index

__all__ = ["dn4000", "truth_columns"]


def dn4000(wavelength, flux, redshift):
    """Narrow 4000 A break: mean F_nu in 4000-4100 over 3850-3950 A (Balogh et al. 1999).

    Parameters
    ----------
    wavelength : ndarray
        Shape (n_w,), observed vacuum Angstrom.
    flux : ndarray
        Shape (n, n_w), per unit wavelength.
    redshift : ndarray
        Shape (n,).

    Returns
    -------
    ndarray
        Shape (n,).
    """
    # F_nu dnu is F_lambda dlambda; F_nu averaged in wavelength is F_lambda lambda^2.
    middle = np.concatenate([wavelength[:1], 0.5 * (wavelength[1:] + wavelength[:-1])])
    edges = np.append(middle, wavelength[-1])
    running = np.zeros((len(flux), len(wavelength) + 1))
    np.cumsum(flux * (wavelength**2 * np.diff(edges)), axis=1, out=running[:, 1:])
    value = np.empty(len(flux))
    for i, (curve, z) in enumerate(zip(running, np.asarray(redshift), strict=True)):
        a, b, c, d = np.interp((1 + z) * np.array([3850, 3950, 4000, 4100]), edges, curve)
        value[i] = (d - c) / (b - a)
    return value


@lru_cache(maxsize=2)
def _galactic_curve(wavelength):
    """Milky Way extinction, mag per unit E(B-V), at the samples."""
    return 3.1 * attenuation_curve("cardelli89", np.frombuffer(wavelength))


def truth_columns(
    galaxies, spectra, apertures, totals, wavelength, fibre_flux, *, galactic_extinction=False
):
    """Columns known without error, one number per galaxy.

    Parameters
    ----------
    galaxies : Galaxies
    spectra : ComponentSpectra
    apertures : ndarray
        Shape (3, n, n_bands): flux of bulge, disk and others inside the fibre, nanomaggies.
    totals : ndarray
        Shape (2, n, n_bands): total flux of bulge and disk.
    wavelength, fibre_flux : ndarray
        Noiseless fibre spectra, shape (n, n_w).
    galactic_extinction : bool
        The spectra are dimmed by the Milky Way; line fluxes are then given dimmed as well.

    Returns
    -------
    dict of ndarray
        Line fluxes are those in the fibre, 1e-17 erg/s/cm2; equivalent widths are rest-frame
        Angstrom, emission positive.
    """
    columns = dict(galaxies.to_columns())
    share = (apertures[:2] / np.maximum(totals, 1e-12)).mean(axis=-1)
    columns["bulge_fibre_fraction"], columns["disk_fibre_fraction"] = share
    curve = _galactic_curve(np.ascontiguousarray(wavelength, float).tobytes())
    for name in spectra.bulge_line_flux:
        flux, continuum = (
            share[0] * getattr(spectra, f"bulge_line_{part}")[name]
            + share[1] * getattr(spectra, f"disk_line_{part}")[name]
            for part in ("flux", "continuum")
        )
        observed = stellar_basis().line_wavelength[line_index(name)] * (1 + galaxies.redshift)
        dimming = np.interp(observed, wavelength, curve) * galaxies.galactic_ebv
        through = 10 ** (-0.4 * dimming) if galactic_extinction else 1.0
        columns[f"{name}_flux"] = flux * through
        columns[f"{name}_ew"] = flux / np.maximum(continuum, 1e-12) / (1 + galaxies.redshift)
    columns["dn4000"] = dn4000(wavelength, fibre_flux, galaxies.redshift)
    return columns
