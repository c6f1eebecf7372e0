"""The drawn population: selection, seeds, and the relations it was given."""

from dataclasses import fields, replace

import numpy as np
import pytest

from photospec.errors import InputError
from photospec.simulation.galaxies import relations
from photospec.simulation.galaxies.cosmology import (
    kpc_per_arcsec,
    luminosity_distance,
    universe_age,
)
from photospec.simulation.galaxies.population import (
    PopulationConfig,
    draw_galaxies,
    redshift_mass_sampler,
)
from photospec.simulation.galaxies.stars import AGE_EDGES, stellar_basis
from photospec.simulation.galaxies.table import Galaxies

CONFIG = PopulationConfig()


@pytest.fixture(scope="module")
def galaxies():
    return draw_galaxies(CONFIG, np.random.default_rng(1), 3000)


def test_selection(galaxies):
    assert len(galaxies) == 3000
    assert galaxies.redshift.min() >= 0.02
    assert galaxies.redshift.max() <= 0.3
    r = galaxies.magnitude[:, 2]
    assert r.min() > 14.0
    assert r.max() < 17.77
    # a magnitude limit piles galaxies up at the faint end: N(<m) ~ 10^(0.6 m) for small z
    assert 1.6 < np.mean(r > 17.27) / np.mean((r > 16.77) & (r < 17.27)) < 2.4


def test_every_column_is_finite(galaxies):
    for field in fields(Galaxies):
        value = getattr(galaxies, field.name)
        assert len(value) == 3000, field.name
        assert np.isfinite(value.astype(float)).all(), field.name


def test_same_seed_same_galaxies(galaxies):
    again = draw_galaxies(CONFIG, np.random.default_rng(1), 200)
    np.testing.assert_array_equal(again.disk_weights, galaxies.disk_weights[:200])
    other = draw_galaxies(CONFIG, np.random.default_rng(2), 200)
    assert not np.array_equal(other.redshift, again.redshift)


def test_living_mass_is_the_stellar_mass(galaxies):
    live = stellar_basis().live_mass_fraction
    mass = np.log10((galaxies.bulge_weights + galaxies.disk_weights).astype(float) @ live)
    np.testing.assert_allclose(mass, galaxies.stellar_mass, atol=1e-4)


def test_no_star_is_older_than_the_universe(galaxies):
    n_ages = len(stellar_basis().age)
    formed = (galaxies.bulge_weights + galaxies.disk_weights).reshape(3000, -1, n_ages).sum(1)
    age = universe_age(CONFIG, galaxies.redshift)[:, None] * 1e9
    assert not formed[(AGE_EDGES[:-1] > age) & np.ones(formed.shape, bool)].any()


def test_star_formation_rate_follows_the_main_sequence(galaxies):
    g = galaxies[~galaxies.quiescent]
    expected = relations.main_sequence(CONFIG, g.stellar_mass, g.redshift)
    offset = g.star_formation_rate - expected
    # bursts, and a flux limit that favours the young at a given mass, lift the median
    assert 0.0 < np.median(offset) < 0.35
    assert 0.6 * CONFIG.ms_scatter < 0.5 * np.diff(np.percentile(offset, [16, 84]))[0] < 0.6
    quiescent = galaxies[galaxies.quiescent]
    ssfr = quiescent.star_formation_rate - quiescent.stellar_mass
    assert np.median(ssfr) < -11.3


def test_mass_metallicity_and_gradient(galaxies):
    g = galaxies
    massive = g.bulge_metallicity[g.stellar_mass > 10.9].mean()
    assert massive > g.bulge_metallicity[g.stellar_mass < 10.0].mean() + 0.2
    np.testing.assert_allclose(
        g.disk_metallicity - g.bulge_metallicity, g.metallicity_gradient, atol=1e-12
    )


def test_velocity_dispersion_follows_mass(galaxies):
    g = galaxies[galaxies.quiescent]
    slope = np.polyfit(g.stellar_mass - 10.5, np.log10(g.bulge_velocity_dispersion), 1)
    assert 0.2 < slope[0] < 0.4
    assert 120 < 10 ** slope[1] < 170


def test_inclined_disks_are_dustier(galaxies):
    g = galaxies[~galaxies.quiescent]
    # at the median mass the face-on attenuation is the same on both sides
    steep = g.disk_av[(g.disk_axis_ratio < 0.4)].mean()
    assert steep > 1.15 * g.disk_av[g.disk_axis_ratio > 0.8].mean()


def test_fainter_surveys_reach_lower_mass_and_higher_redshift(galaxies):
    deep = draw_galaxies(replace(CONFIG, r_limit=19.5), np.random.default_rng(1), 1000)
    assert np.median(deep.redshift) > np.median(galaxies.redshift) + 0.03
    assert deep.magnitude[:, 2].max() > 19.3


def test_cosmology_against_closed_forms():
    flat = replace(CONFIG, omega_m=1.0, h0=50.0)
    z = np.array([0.05, 0.1, 0.3])
    hubble = 299792.458 / 50.0
    expected = 2 * hubble * (1 + z) * (1 - 1 / np.sqrt(1 + z))  # Einstein-de Sitter
    np.testing.assert_allclose(luminosity_distance(flat, z), expected, rtol=1e-4)
    age = 2 / 3 * 977.79222 / 50.0 * (1 + z) ** -1.5
    np.testing.assert_allclose(universe_age(flat, z), age, rtol=2e-3)
    assert kpc_per_arcsec(CONFIG, 0.1) == pytest.approx(1.844, abs=0.005)


def test_mass_function_is_baldry():
    """A survey without a faint limit that bites recovers the double Schechter function."""
    config = replace(CONFIG, redshift_min=0.02, redshift_max=0.03, r_limit=21.0)
    rng = np.random.default_rng(0)
    _, mass = redshift_mass_sampler(config)(rng.random(200000), rng.random(200000))
    count = np.histogram(mass, np.arange(9.0, 11.6, 0.5))[0]
    fine = np.linspace(9.0, 11.5, 2501)
    x = 10 ** (fine - 10.66)
    phi = np.exp(-x) * (3.96e-3 * x**0.65 + 0.79e-3 * x**-0.47)
    expected = [phi[(fine >= a) & (fine < a + 0.5)].sum() for a in np.arange(9.0, 11.5, 0.5)]
    np.testing.assert_allclose(count / count.sum(), expected / np.sum(expected), rtol=0.08)


@pytest.mark.parametrize(
    "change",
    [
        {"redshift_min": 0.4},
        {"redshift_max": 2.0},
        {"r_limit": 12.0},
        {"r_bright": 25.0},
        {"h0": -70.0},
        {"omega_m": 3.0},
    ],
)
def test_impossible_ranges_are_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        replace(CONFIG, **change)


def test_joining_and_choosing(galaxies):
    parts = Galaxies.concatenate([galaxies[:10], galaxies[np.array([20, 30])], galaxies[40]])
    assert len(parts) == 13
    assert parts.redshift[11] == galaxies.redshift[30]
    assert "redshift" in repr(parts)
    assert "none" in repr(galaxies[:0])
    columns = parts.to_columns()
    assert columns["magnitude_r"][12] == galaxies.magnitude[40, 2]
    assert "disk_weights" not in columns


def test_shares_of_active_nuclei_are_those_of_massive_galaxies():
    """The settings hold at 10.8 dex, where the sigmoid over mass is 0.77; half at 10.5 is less."""
    u = (np.arange(20_000) + 0.5) / 20_000
    for mass, rise in ((10.8, 1.0), (10.5, 0.5 / 0.77), (12.5, 1 / 0.77)):
        for quiescent, green, share in ((0, 0, 1.0), (1, 1, 1.0), (1, 0, 0.2)):
            flags = np.full(u.size, bool(quiescent)), np.full(u.size, bool(green))
            kind = relations.agn_type(CONFIG, np.full(u.size, mass), *flags, u)
            seyfert = CONFIG.seyfert_fraction * rise * share
            assert np.mean(kind == 1) == pytest.approx(seyfert, abs=2e-3)
            liner = CONFIG.liner_fraction * rise
            assert np.mean(kind == 2) == pytest.approx(liner, abs=2e-3)
