"""Redshifts of real galaxies: rows of the card, on stand-ins."""

import numpy as np
import pytest

from photospec.errors import InputError
from photospec.evaluation.real_redshifts import density_rows, real_redshifts, render_noisy
from photospec.redshift_density import ImageRedshiftDensity
from photospec.simulation import PopulationConfig, RealGalaxies, draw_galaxies


@pytest.fixture(scope="module")
def galaxies():
    drawn = draw_galaxies(PopulationConfig(), np.random.default_rng(0), 80)
    return RealGalaxies(10 ** (0.4 * (22.5 - drawn.magnitude)), drawn.redshift)


def known(redshift, rng, width=0.01, claimed=None):
    """Densities that are right, if the claimed width is the true one."""
    centre = np.log1p(redshift) + width * rng.standard_normal(len(redshift))
    one = np.ones((len(redshift), 1))
    return ImageRedshiftDensity(one, centre[:, None], (claimed or width) * one)


def test_right_densities_are_told_from_wrong_ones():
    rng = np.random.default_rng(1)
    z = rng.uniform(0.05, 0.25, 4000)
    right = density_rows("right", known(z, rng), z)
    assert right["sigma_mad"].value == pytest.approx(0.01, rel=0.06)
    assert right["PIT"].value < 0.03
    for share in (0.68, 0.95):
        assert abs(right[f"within {share:.0%}".replace("%", " %")].value - share) < 0.03
    # entropy of a Gaussian, in units of 0.05
    expected = 0.5 * np.log(2 * np.pi * np.e) + np.log(0.01 / 0.05)
    assert right["negative log-density"].value == pytest.approx(expected, abs=0.03)
    for claimed in (0.004, 0.03):
        wrong = density_rows("wrong", known(z, rng, claimed=claimed), z)
        assert wrong["PIT"].value > 0.08
        assert wrong["negative log-density"].value > right["negative log-density"].value + 0.1


def test_images_of_either_noise(galaxies):
    once, twice = (render_noisy(galaxies[:24], noise, seed=3) for noise in (0.2, 1.0))
    corner = [np.median(np.abs(image[:, 2, :6, :6])) for image in (once, twice)]
    assert corner[0] < 0.5 * corner[1]


def test_section(galaxies):
    class Stub:
        class config:
            image_size = 64

        def redshift_density(self, images):
            assert all(image.meta["galactic_ebv"] == 0.0 for image in images)
            return known(galaxies.redshift[:20], np.random.default_rng(0))

    section = real_redshifts(Stub(), galaxies[:20], galaxies[20:])
    assert [row["redshift from"] for row in section.rows] == [
        "images, noise counted once",
        "images, noise counted twice",
        "trees, catalogue",
    ]
    assert "20 real galaxies" in section.note
    assert section.rows[0]["sigma_mad"].value < 0.02
    with pytest.raises(InputError, match="expected some of each"):
        real_redshifts(Stub(), galaxies[:20], galaxies[:0])
