"""Redshift quality against numbers worked out by hand."""

import numpy as np
import pytest

from photospec.errors import InputError
from photospec.evaluation.redshift import bias, outlier_fraction, redshift_quality, sigma_mad


def test_known_residuals():
    z_spec = np.full(5, 0.1)
    z_phot = z_spec + 1.1 * np.array([-0.02, -0.01, 0.0, 0.01, 0.2])
    assert bias(z_phot, z_spec) == pytest.approx(0.0, abs=1e-12)
    assert sigma_mad(z_phot, z_spec) == pytest.approx(1.4826 * 0.01, rel=1e-5)
    assert outlier_fraction(z_phot, z_spec) == pytest.approx(0.2)
    assert outlier_fraction(z_phot, z_spec, threshold=0.015) == pytest.approx(0.4)


def test_gaussian_residuals_and_their_bootstrap_errors():
    rng = np.random.default_rng(0)
    z_spec = rng.uniform(0.05, 0.15, 4000)
    z_phot = z_spec + (1 + z_spec) * (0.003 + 0.01 * rng.standard_normal(4000))
    quality = redshift_quality(z_phot, z_spec)
    assert quality.bias == pytest.approx(0.003, abs=4 * quality.bias_error)
    assert quality.sigma_mad == pytest.approx(0.01, abs=4 * quality.sigma_mad_error)
    # The median of n normal numbers scatters by 1.2533 sigma / sqrt(n).
    assert quality.bias_error == pytest.approx(1.2533 * 0.01 / np.sqrt(4000), rel=0.3)
    assert "sigma_mad 0.0" in str(quality)


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"z_phot: expected the shape of z_spec"):
        bias([0.1, 0.2], [0.1])
    with pytest.raises(InputError, match="at least one galaxy"):
        bias([], [])
