"""Band fluxes of weights on the stellar basis without making the spectra.

The flux of each basis row through each band is tabulated against redshift and attenuation, per dust
law, and interpolated. The interpolation error stays below 0.0015 mag (0.006 in u; see the tests),
so that selecting galaxies costs microseconds and agrees with their rendered spectra.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from photospec.dust import attenuation_curve
from photospec.photometry.filters import AB_FACTOR, load_band
from photospec.simulation.galaxies.evolution import epoch_correction
from photospec.simulation.galaxies.stars import stellar_basis
from photospec.simulation.galaxies.table import DUST_LAWS

__all__ = ["BANDS", "LUMINOSITY_TO_FLUX", "PhotometryTable", "photometry_table"]

BANDS = "ugriz"
LUMINOSITY_TO_FLUX = 3.828e33 / (4 * np.pi * 3.0856776e24**2) * 1e17
"""Solar luminosity at one megaparsec in 1e-17 erg/s/cm2."""

_AV = np.array([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


class PhotometryTable:
    """Tables of one basis; make it with `photometry_table`.

    Parameters
    ----------
    redshift_range : tuple of float
        Redshifts covered.
    epoch : tuple of float, optional
        `EvolutionConfig.template_magnitude` of a population that evolves.
    """

    def __init__(self, redshift_range, epoch=None):
        basis = stellar_basis(deep=epoch is not None)
        self.basis = basis
        n_z = int(np.ceil((redshift_range[1] - redshift_range[0]) / 0.005)) + 1
        self.redshift = np.linspace(redshift_range[0], redshift_range[1], max(n_z, 2))
        wave = basis.wavelength
        pixel = wave * np.log(10) * 1e-4
        filters = [load_band(band) for band in BANDS]
        self._norm = np.array([_ab_norm(f) for f in filters])
        self._filters = filters
        curves = np.array([attenuation_curve(law, wave) for law in DUST_LAWS])
        dimming = np.exp(-0.4 * np.log(10) * curves[:, None] * _AV[:, None]).astype(np.float32)
        n_b, n_basis = len(BANDS), len(basis.luminosity)
        self.table = np.empty(
            (len(DUST_LAWS), len(self.redshift), len(_AV), n_b, n_basis), np.float32
        )
        self.slope = np.empty((len(DUST_LAWS), n_b, len(self.redshift)))
        for i, z in enumerate(self.redshift):
            factor = 1 if epoch is None else epoch_correction(epoch, wave, [z])[0]
            for b, band in enumerate(filters):
                observed = wave * (1 + z)
                response = np.interp(observed, band.wavelength, band.response, left=0, right=0)
                # L_lambda / (1+z) times observed pixel (1+z)
                weight = (response * observed * pixel / self._norm[b]).astype(np.float32) * factor
                inside = np.flatnonzero(weight)
                part = slice(inside[0], inside[-1] + 1)
                for law in range(len(DUST_LAWS)):
                    k = weight[part] * dimming[law][:, part]
                    self.table[law, i, :, b] = k @ basis.luminosity[:, part].T
                    effective = np.average(curves[law][part], weights=weight[part])
                    self.slope[law, b, i] = 0.4 * np.log(10) * effective
        # what is left after the effective dimming varies slowly and is safe to interpolate
        for law in range(len(DUST_LAWS)):
            gain = np.exp(self.slope[law].T[:, None, :] * _AV[None, :, None])
            self.table[law] *= gain[..., None]

    def band_flux(self, weights, redshift, av, law, *, bands=slice(None), rows=None):
        """Return band fluxes at one megaparsec's dilution, nanomaggies, shape (n, n_bands).

        Multiply by 1 / (luminosity distance in Mpc)^2. `weights` (n, n_basis or the chosen rows).
        """
        rows = slice(None) if rows is None else rows
        table = self.table[..., bands, :][..., rows]
        i, fz = _locate(self.redshift, redshift)
        j, fa = _locate(_AV, av)
        w = np.asarray(weights, np.float32)[..., None]
        flux = 0
        for di, share_z in ((0, 1 - fz), (1, fz)):
            for dj, share_a in ((0, 1 - fa), (1, fa)):
                corner = table[law, i + di, j + dj]
                flux = flux + (share_z * share_a)[:, None] * np.matmul(corner, w)[..., 0]
        slope = self.slope[:, bands]
        slope = (1 - fz)[:, None] * slope[law, :, i] + fz[:, None] * slope[law, :, i + 1]
        return flux * np.exp(-slope * np.asarray(av)[:, None]) * LUMINOSITY_TO_FLUX

    def line_flux(self, line_luminosity, redshift, *, bands=slice(None)):
        """Return what lines add to the band fluxes, as `band_flux`; luminosities after dust."""
        observed = self.basis.line_wavelength * (1 + np.asarray(redshift)[:, None])
        out = []
        for b in np.arange(len(BANDS))[bands]:
            band = self._filters[b]
            response = np.interp(observed, band.wavelength, band.response, left=0, right=0)
            out.append((line_luminosity * response * observed).sum(1) / self._norm[b])
        return np.stack(out, axis=1) * LUMINOSITY_TO_FLUX


def _ab_norm(band):
    """Return the photon-weighted integral of one nanomaggy in 1e-17 erg/s/cm2/A units."""
    wave = np.asarray(band.wavelength)
    return np.trapezoid(band.response * wave * (AB_FACTOR / wave**2), wave)


def _locate(grid, value):
    i = np.clip(np.searchsorted(grid, value) - 1, 0, len(grid) - 2)
    return i, (np.asarray(value) - grid[i]) / (grid[i + 1] - grid[i])


@lru_cache(maxsize=4)
def photometry_table(redshift_range=(0.02, 0.3), epoch=None) -> PhotometryTable:
    """Return the table for a redshift range, made once per process."""
    return PhotometryTable(redshift_range, epoch)
