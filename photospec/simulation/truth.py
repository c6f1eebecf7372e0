"""Truth columns: parameters, line fluxes and indices of the noiseless fibre spectrum."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from photospec.dust import galactic_extinction
from photospec.simulation.galaxies.gas import line_index
from photospec.simulation.galaxies.stars import stellar_basis
from photospec.spectrum.wavelengths import air_to_vacuum

__all__ = ["index_columns", "truth_columns"]


@dataclass(frozen=True)
class IndexBands:
    """Definition of a spectral index, as far as `index_columns` needs it."""

    name: str
    blue: tuple
    band: tuple | None
    red: tuple
    kind: str


_DN4000 = IndexBands("dn4000", (3850.0, 3950.0), None, (4000.0, 4100.0), "break")


class _Means:
    """Mean over any band of each of many spectra on one grid, through running integrals."""

    def __init__(self, wavelength, flux, redshift):
        middle = 0.5 * (wavelength[1:] + wavelength[:-1])
        self.edges = np.concatenate([wavelength[:1], middle, wavelength[-1:]])
        self.running = np.zeros((len(flux), len(wavelength) + 1))
        np.cumsum(flux * np.diff(self.edges), axis=1, out=self.running[:, 1:])
        self.stretch = 1 + np.asarray(redshift, float)
        self.row = np.arange(len(flux))

    def integral(self, low, high):
        """Return the integral (n,) over rest-frame bands; NaN where the grid does not reach."""
        ends = []
        for limit in (low, high):
            at = limit * self.stretch
            i = np.clip(np.searchsorted(self.edges, at) - 1, 0, len(self.edges) - 2)
            share = (at - self.edges[i]) / (self.edges[i + 1] - self.edges[i])
            part = self.running[self.row, i] * (1 - share)
            part += self.running[self.row, i + 1] * share
            ends.append(np.where((at >= self.edges[0]) & (at <= self.edges[-1]), part, np.nan))
        return ends[1] - ends[0]

    def mean(self, low, high):
        """Return the mean (n,) over rest-frame bands."""
        return self.integral(low, high) / ((high - low) * self.stretch)


def index_columns(wavelength, flux, redshift, indices=()):
    """Measure spectral indices of noiseless spectra at their own resolution.

    Parameters
    ----------
    wavelength : ndarray
        Shape (n_w,), observed vacuum Angstrom.
    flux : ndarray
        Shape (n, n_w), per unit wavelength.
    redshift : ndarray
        Shape (n,).
    indices : sequence, optional
        Objects with `name`, `kind` ("angstrom", "mag" or "break"), and limits `blue`, `band` (None
        for breaks), `red` in air Angstrom (Trager et al. 1998, ApJS 116, 1, equations 1 to 3).

    Returns
    -------
    dict of ndarray
        Dn4000 (Balogh et al. 1999, ApJ 527, 54) always; others as ``lick_<name>``, breaks by
        their name. Rest-frame Angstrom or mag.
    """
    wavelength = np.asarray(wavelength, float)
    columns = {}
    by_flux = _Means(wavelength, flux, redshift) if any(i.band for i in indices) else None
    # F_nu averaged over wavelength: F_lambda lambda^2.
    by_frequency = _Means(wavelength, flux * wavelength**2, redshift)
    for index in (_DN4000, *(i for i in indices if i.name != "dn4000")):
        blue, red = _vacuum(tuple(index.blue)), _vacuum(tuple(index.red))
        if index.kind == "break":
            columns[index.name] = by_frequency.mean(*red) / by_frequency.mean(*blue)
            continue
        band = _vacuum(tuple(index.band))
        columns[f"lick_{index.name}"] = _absorption(
            wavelength, flux, by_flux, blue, band, red, index.kind
        )
    return columns


@lru_cache(maxsize=1024)
def _vacuum(limits):
    """Return vacuum wavelengths of air limits; the conversion costs more than an index does."""
    return np.asarray(air_to_vacuum(limits), float)


def _absorption(wavelength, flux, means, blue, band, red, kind):
    """Return the equivalent width or magnitude against the line through the side bands' means."""
    low, high = means.mean(*blue), means.mean(*red)
    x_low, x_high = blue.mean(), red.mean()
    edges, stretch = means.edges, means.stretch[:, None]
    ends = band * stretch
    first = np.searchsorted(edges, ends[:, 0], side="right") - 1
    last = np.searchsorted(edges, ends[:, 1])
    inside = (first >= 0) & (last < len(edges))
    # As many pixels for every spectrum; those beyond the band get no width.
    pixel = first[:, None] + np.arange((last - first).max())
    pixel = np.clip(pixel, 0, len(wavelength) - 1)
    width = np.clip(edges[pixel + 1], *ends.T[..., None]) - np.clip(
        edges[pixel], *ends.T[..., None]
    )
    x = wavelength[pixel] / stretch
    level = low[:, None] + (high - low)[:, None] * (x - x_low) / (x_high - x_low)
    value = (width / stretch * (1 - flux[means.row[:, None], pixel] / level)).sum(axis=1)
    value[~inside] = np.nan
    if kind == "mag":
        value = -2.5 * np.log10(np.maximum(1 - value / (band[1] - band[0]), 1e-9))
    return value


@lru_cache(maxsize=2)
def _galactic_curve(wavelength):
    """Return the Milky Way extinction, mag per unit E(B-V), at the samples."""
    return galactic_extinction(np.frombuffer(wavelength))


def truth_columns(galaxies, spectra, apertures, totals, wavelength, *, galactic_extinction=False):
    """Return the columns that are known without error, one number per galaxy.

    Parameters
    ----------
    galaxies : Galaxies
    spectra : ComponentSpectra
    apertures : ndarray
        Shape (3, n, n_bands): flux of bulge, disk and others inside the fibre, nanomaggies.
    totals : ndarray
        Shape (2, n, n_bands): total flux of bulge and disk.
    wavelength : ndarray
        Shape (n_w,), of the spectra.
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
    return columns
