"""Aperture sums against areas, closed forms and fine sub-pixels."""

import numpy as np
import pytest
from astropy import units as u

from photospec.errors import InputError
from photospec.image import NANOMAGGY
from photospec.photometry.apertures import aperture_flux


def gaussian(nx, ny, center, width, flux=1.0):
    """Pixel-integrated round Gaussian of total `flux`."""
    from scipy.special import erf

    def share(n, middle):
        edges = (np.arange(n + 1) - 0.5 - middle) / (np.sqrt(2) * width)
        return np.diff(erf(edges)) / 2

    return flux * np.outer(share(ny, center[1]), share(nx, center[0]))


def test_aperture_flux_of_a_flat_image_is_its_area():
    data = np.full((3, 5, 64, 64), 2.0)
    radius = 1.5
    area = np.pi * (radius / 0.396) ** 2
    np.testing.assert_allclose(aperture_flux(data, radius), np.full((3, 5), 2 * area), rtol=1e-12)


def test_aperture_flux_against_closed_form():
    width, center = 5.0, (30.2, 33.7)
    data = gaussian(64, 64, center, width, 7.0)[None]
    radius = 3.0
    # Pixels blur twice: when light is summed into them, and when they count as flat.
    variance = width**2 + 2 / 12
    expected = 7.0 * (1 - np.exp(-((radius / 0.396) ** 2) / (2 * variance)))
    np.testing.assert_allclose(aperture_flux(data, radius, center=center), [expected], rtol=5e-4)


def test_aperture_flux_against_fine_subpixels():
    rng = np.random.default_rng(1)
    data = rng.random((2, 21, 21))
    center, radius, n = (9.4, 10.9), 4.3, 200
    fine = (np.arange(21 * n) + 0.5) / n - 0.5
    inside = (fine[None] - center[0]) ** 2 + (fine[:, None] - center[1]) ** 2 < radius**2
    weight = inside.reshape(21, n, 21, n).mean(axis=(1, 3))
    expected = (data * weight).sum(axis=(1, 2))
    result = aperture_flux(data, radius, pixel_scale=1.0, center=center)
    np.testing.assert_allclose(result, expected, rtol=1e-4)


def test_aperture_beyond_the_image_is_refused():
    with pytest.raises(InputError, match="radius: expected an aperture within"):
        aperture_flux(np.ones((5, 64, 64)), 20.0)
    with pytest.raises(InputError, match="data: expected"):
        aperture_flux(np.ones(5), 1.0)


def test_unit_name_is_astropy_s():
    assert u.Unit("nmgy") == NANOMAGGY
