"""The population against the real catalogues, where they are there."""

import numpy as np
import pytest
from astropy.table import Table
from scipy.spatial import cKDTree
from scipy.stats import wasserstein_distance

from photospec.simulation.galaxies.population import PopulationConfig, draw_galaxies
from photospec.simulation.galaxies.stars import template_correction, young_weight


def test_colours_at_given_magnitude_and_redshift(shared):
    """Distances of each colour of the main sample; 0.04 mag is the goal, the rest is noise."""
    table = Table.read(shared / "real" / "catalogues" / "sdss_ugriz_redshift.fits")
    flux = np.array([table[f"{b}_maggies"] for b in "ugriz"], float).T
    ivar = np.array([table[f"{b}_maggies_ivar"] for b in "ugriz"], float).T
    z = np.array(table["redshift"], float)
    good = (flux > 0).all(1) & (ivar > 0).all(1) & (z > 0.05) & (z < 0.15)
    good &= flux[:, 2] > 10 ** (0.4 * (22.5 - 17.77))
    flux, ivar, z = flux[good], ivar[good], z[good]
    rng = np.random.default_rng(4)
    galaxies = draw_galaxies(PopulationConfig(), rng, 8000)
    scale = np.array([0.005, 0.1])
    r = 22.5 - 2.5 * np.log10(flux[:, 2])
    tree = cKDTree(np.c_[galaxies.redshift, galaxies.magnitude[:, 2]] / scale)
    _, near = tree.query(np.c_[z, r] / scale)
    error = 1 / np.sqrt(ivar) / flux * rng.standard_normal(flux.shape)
    fake = galaxies.magnitude[near] - 2.5 * np.log10(np.clip(1 + error, 0.05, None))
    real = 22.5 - 2.5 * np.log10(flux)
    for a, b in zip(-np.diff(real, axis=1).T, -np.diff(fake, axis=1).T, strict=True):
        assert wasserstein_distance(a, b) < 0.05


def test_template_correction_is_smooth_and_small_in_the_optical():
    wavelength = np.linspace(3600, 10000, 500)
    for age in (1e8, 2e9, 1e10):
        factor = template_correction(wavelength, age)
        assert abs(factor - 1).max() < 0.1
        # no step between neighbouring pixels: a slope, never a feature
        assert abs(np.diff(np.log(factor)) / np.diff(np.log(wavelength))).max() < 1.0
    # from the Mg b region to either side by less than what a flux calibration gets wrong
    blue, middle = template_correction(np.array([4800.0, 5500.0]))
    assert abs(middle / blue - 1) < 0.05


def test_young_templates_differ_from_old_ones_slowly():
    assert young_weight(1e8) == young_weight(6e8) == 1
    assert young_weight(6e9) == young_weight(1.3e10) == 0
    assert young_weight(6e8 * np.sqrt(10)) == pytest.approx(0.5)
    young, old = (template_correction(np.array([7000.0]), age) for age in (1e7, 1e10))
    assert young / old == pytest.approx(1.0, abs=0.03)
