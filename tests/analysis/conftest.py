"""Made-up galaxies for the analysis tests, straight from the model grids."""

import numpy as np
import pytest

from photospec.lines import LINES
from photospec.spectrum import from_arrays, smooth
from photospec.stellar_grids import stellar_grid

LINE_STRENGTHS = {
    "oii_3726": 15.0, "oii_3729": 20.0, "hbeta": 10.0, "oiii_4959": 3.5, "oiii_5007": 10.5,
    "nii_6548": 3.5, "halpha": 31.0, "nii_6584": 10.5, "sii_6716": 6.0, "sii_6731": 4.5,
}  # fmt: skip


def _galaxy(
    redshift, *, age=4e9, metallicity=0.02, lines=1.0, signal_to_noise=None, seed=0,
    wavelength=None, dispersion=150.0, uncertainty=True, level=10.0,
):  # fmt: skip
    """One galaxy as a Spectrum: a population plus a tenth of young light and lines."""
    wavelength = np.arange(3800.0, 9200.0, 1.0) if wavelength is None else wavelength
    grid = stellar_grid((1800.0, 9400.0))
    metal = np.argmin(np.abs(grid.metallicity - metallicity))
    old, young = (grid.flux[metal, np.argmin(np.abs(grid.age - a))] for a in (age, 3e8))
    optical = (grid.wavelength > 5000) & (grid.wavelength < 6000)
    rest = 0.9 * old / old[optical].mean() + 0.1 * young / young[optical].mean()
    sigma = grid.wavelength * dispersion / 299792.458
    rest = smooth(rest.astype(float), grid.wavelength, sigma, bridge_gaps=True)
    flux = level * np.interp(wavelength / (1 + redshift), grid.wavelength, rest)
    for name, strength in LINE_STRENGTHS.items():
        centre = LINES[name].wavelength * (1 + redshift)
        sigma = centre * dispersion / 299792.458
        offset = (wavelength - centre) / sigma
        flux += lines * level / 10 * strength / sigma / 2.5066 * np.exp(-0.5 * offset**2)
    sigma = None
    if signal_to_noise:
        sigma = np.full(flux.shape, np.median(flux) / signal_to_noise)
        flux = flux + np.random.default_rng(seed).normal(size=flux.size) * sigma
    return from_arrays(wavelength, flux, sigma=sigma if uncertainty else None, lsf=1.0)


@pytest.fixture(scope="session")
def make_galaxy():
    """Function that makes one galaxy spectrum."""
    return _galaxy
