"""The population beyond the SDSS main sample: published trends, and what was measured there."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from astropy.table import Table
from scipy.spatial import cKDTree

from photospec.errors import InputError
from photospec.photometry.filters import band_flux
from photospec.simulation import EvolutionConfig, PopulationConfig, Survey, draw_galaxies
from photospec.simulation import render_spectra as render
from photospec.simulation.galaxies.evolution import mass_function, relation_shifts
from photospec.simulation.galaxies.population import surface_density

LOCAL = PopulationConfig()
DEEP = Survey.named("desi_legacy").population


@pytest.fixture(scope="module")
def galaxies():
    return draw_galaxies(DEEP, np.random.default_rng(1), 3000)


def test_nothing_moves_without_evolution_or_at_the_reference():
    mass = np.array([9.0, 10.5, 11.3])
    for config, z in ((LOCAL, 0.4), (DEEP, 0.1)):
        shifts = relation_shifts(config, mass, np.full(3, z))
        for name in shifts.__dataclass_fields__:
            if name != "log_tau":  # of massive galaxies at every redshift
                np.testing.assert_allclose(getattr(shifts, name), 0, atol=1e-12, err_msg=name)
    still = replace(DEEP, redshift_max=0.5, evolution=None)
    np.testing.assert_allclose(
        mass_function(DEEP, mass, np.array([0.1]))[0], mass_function(still, mass, 0.1)[0]
    )


def test_shifts_are_the_published_trends():
    mass, z = np.array([9.5, 10.5]), np.array([0.65, 0.65])
    s = relation_shifts(DEEP, mass, z)
    growth = np.log10(1.65 / 1.1)  # 0.176
    np.testing.assert_allclose(s.log_size_late, -0.75 * growth)  # van der Wel 2014
    np.testing.assert_allclose(s.log_size_early, -1.48 * growth)
    np.testing.assert_allclose(s.quiescent_mass, 3 * growth)  # Davidzon 2013
    np.testing.assert_allclose(s.ms_bend_mass, 2.5 * growth)  # Schreiber 2015
    age = FlatLambdaCDM(70, 0.3).age([0.1, 0.65]).value  # passive: as much younger as earlier
    np.testing.assert_allclose(s.onset, age[1] - age[0], atol=0.01)
    # Zahid 2014, fig. 5: metallicity at 10^9.5 falls more than at 10^10.5, by some 0.2 dex.
    assert -0.27 < s.gas_metallicity[0] < -0.12
    assert s.gas_metallicity[0] < s.gas_metallicity[1] < -0.02


def test_mass_function_thins_out_as_leja_has_it():
    # Leja et al. (2020): log phi1 at z = 0.2 and 1.6 is -2.44 and -3.08, log phi2 -2.89, -3.29.
    z, low = np.array([0.2, 1.6]), np.array([7.0])
    faint = mass_function(DEEP, low, z)[:, 0]
    slope = DEEP.schechter_alpha2 + 1
    knee = 0.88 - 0.79
    expected = 10 ** (-3.29 + 2.89) * 10 ** (-slope * knee)
    assert faint[1] / faint[0] == pytest.approx(expected, rel=0.02)
    # Little happens to the whole before 0.6: Moustakas et al. (2013) have less than 30 %.
    ten = mass_function(DEEP, np.array([10.5]), np.array([0.1, 0.5]))[:, 0]
    assert 0.6 < ten[1] / ten[0] < 1.0


def test_selection_and_finiteness(galaxies):
    r = galaxies.magnitude[:, 2]
    assert galaxies.redshift.min() > 0.01
    assert galaxies.redshift.max() < 0.7
    assert r.max() < 20.5
    assert np.mean(galaxies.redshift > 0.5) > 0.03
    for name in galaxies.__dataclass_fields__:
        assert np.isfinite(np.asarray(getattr(galaxies, name), float)).all(), name


def test_band_fluxes_are_those_of_the_selection_to_the_highest_redshift(galaxies):
    """Tables and rendered spectra agree; the templates reach the ultraviolet."""
    order = np.argsort(galaxies.redshift)
    some = galaxies[order[np.r_[:20, -60:0]]]
    assert some.redshift.max() > 0.6
    spectra = render(some, config=DEEP)
    flux = band_flux(spectra.wavelength, spectra.bulge + spectra.disk, "ugriz")
    difference = 22.5 - 2.5 * np.log10(flux) - some.magnitude
    assert np.abs(difference[:, 1:]).max() < 0.003
    assert np.abs(difference[:, 0]).max() < 0.02
    assert (spectra.bulge > 0).all()


def test_distant_galaxies_need_their_own_population(galaxies):
    distant = galaxies[galaxies.redshift > 0.55]
    with pytest.raises(InputError, match=r"expected redshifts up to 0.5.*pass the config"):
        render(distant)


def test_lines_beyond_the_spectrum_have_no_width():
    survey = Survey.named("desi_legacy", seed=5)
    far = replace(survey.population, redshift_min=0.68, redshift_max=0.75)
    pairs = survey.replace(population=far).simulate(4)
    assert np.isnan(pairs.truth["sii_6731_ew"]).all()
    assert np.isfinite(pairs.truth["hbeta_ew"]).all()


def test_mass_function_is_the_one_that_gama_counted():
    """Table 5 of Driver et al. (2022, MNRAS 513, 439), per dex, 0.0769 dex up to the SDSS's mean.

    Their own double Schechter function is 0.15 dex below the last point here.
    """
    mass = 9.375 + 0.25 * np.arange(9)
    counted = [-2.055, -2.142, -2.219, -2.274, -2.292, -2.361, -2.561, -2.922, -3.414]
    found = np.log10(
        np.log(10) * mass_function(replace(DEEP, evolution=None, redshift_max=0.5), mass, 0.1)[0]
    )
    gap = found - counted - 0.0769
    assert np.abs(gap[:-1]).max() < 0.04
    assert -0.17 < gap[-1] < 0


def test_counts_of_published_surveys():
    """Within 10 %: SDSS main sample (Strauss et al. 2002), GAMA II (Liske et al. 2015, MNRAS 452,
    2087) and DR4 (Driver et al. 2022). Their fluxes miss some light, and fields vary by 5 %.
    """
    for limit, highest, density, median in (
        (17.77, 0.3, 92, 0.104), (19.65, 0.6, 945, 0.2), (19.8, 0.6, 1050, 0.21)
    ):  # fmt: skip
        config = replace(DEEP, r_limit=limit, redshift_max=highest)
        found = surface_density(config, np.random.default_rng(2), 30)
        assert found == pytest.approx(density, rel=0.1)
        z = draw_galaxies(config, np.random.default_rng(3), 1500).redshift
        assert np.median(z) == pytest.approx(median, abs=0.015)


def test_redshifts_of_the_bright_galaxy_survey():
    """DESI's galaxies of r < 19.5 per square degree and redshift, each bin within 20 %.

    Numbers in 170 square degrees, corrected for what was not observed (DESI Collaboration 2024, AJ
    168, 58, fig. 6); benchmarks/simulation_deep.py has them in finer bins. r of DECam.
    """
    edges = [0.01, 0.11, 0.21, 0.31, 0.41, 0.51]
    observed = np.array([146, 302, 267, 110.6, 29.4])
    config = replace(DEEP, r_limit=19.75, redshift_max=0.6)
    galaxies = draw_galaxies(config, np.random.default_rng(4), 6000)
    r, i = galaxies.magnitude[:, 2:4].T
    z = galaxies.redshift[r + 0.017 - 0.262 * (r - i) < 19.5]
    share = surface_density(config, np.random.default_rng(5), 40) / len(galaxies)
    found = np.histogram(z, edges)[0] * share
    np.testing.assert_allclose(found, observed, rtol=0.2)
    assert found.sum() == pytest.approx(observed.sum(), rel=0.05)
    assert np.median(z) == pytest.approx(0.204, abs=0.01)


def test_r_of_decam_from_sdss(galaxies):
    """The line that comparisons with DESI use, against rendered spectra."""
    some = galaxies[:300]
    spectra = render(some, config=DEEP)
    found = band_flux(spectra.wavelength, spectra.bulge + spectra.disk, ("decam2014-r",))[:, 0]
    r, i = some.magnitude[:, 2:4].T
    gap = 22.5 - 2.5 * np.log10(found) - (r + 0.017 - 0.262 * (r - i))
    assert abs(np.median(gap)) < 0.005
    assert np.std(gap) < 0.02


def test_evolution_grows_with_redshift(galaxies):
    near, far = (
        (galaxies.redshift > a) & (galaxies.redshift < b) & (galaxies.stellar_mass > 10.5)
        for a, b in ((0.05, 0.2), (0.4, 0.6))
    )
    rate = galaxies.star_formation_rate - galaxies.stellar_mass
    forming = ~galaxies.quiescent
    lift = np.median(rate[far & forming]) - np.median(rate[near & forming])
    assert 0.15 < lift < 0.7
    assert np.median(galaxies.bulge_age[far]) < np.median(galaxies.bulge_age[near]) - 2


@pytest.mark.slow
def test_red_galaxies_have_the_colours_of_the_catalogue(shared):
    """Red galaxies of r > 16 at the same r and redshift: sdss_ugriz_redshift.fits, odd rows.

    The template correction was fitted to the even rows.
    """
    table = Table.read(shared / "real" / "catalogues" / "sdss_ugriz_redshift.fits")[1::2]
    flux = np.array([table[f"{b}_maggies"] for b in "ugriz"], float).T
    z = np.array(table["redshift"], float)
    good = (flux > 0).all(1) & (z > 0.05) & (z < 0.4)
    z, real = z[good], 22.5 - 2.5 * np.log10(flux[good])
    good = (real[:, 2] > 16) & (real[:, 2] < 20.5)
    z, real = z[good], real[good]
    rng = np.random.default_rng(0)
    drawn = draw_galaxies(DEEP, rng, 40000)
    scale = np.array([0.005, 0.1])
    tree = cKDTree(np.c_[drawn.redshift, drawn.magnitude[:, 2]] / scale)
    # One of five neighbours: bright red galaxies are rare, and one would stand for many.
    near = tree.query(np.c_[z, real[:, 2]] / scale, k=5)[1]
    fake = drawn.magnitude[near[np.arange(len(z)), rng.integers(0, 5, len(z))]]
    edge = np.interp(z, [0, 0.1, 0.2, 0.35, 0.6], [0.65, 0.83, 1.1, 1.45, 1.5])
    for low in np.arange(0.05, 0.4, 0.05):
        inside = (z > low) & (z < low + 0.05)
        a, b = (
            np.median(-np.diff(m[inside & (m[:, 1] - m[:, 2] > edge)], axis=1), axis=0)
            for m in (real, fake)
        )
        assert (np.abs(b - a)[1:] < [0.06, 0.03, 0.02]).all(), f"{low:.2f}: {b - a}"


def test_without_the_fitted_correction_they_are_too_blue():
    bare = replace(DEEP, evolution=EvolutionConfig(template_magnitude=(0.0,) * 12))
    one, other = (draw_galaxies(c, np.random.default_rng(1), 2000) for c in (DEEP, bare))
    colours = []
    for g in (one, other):
        red = g.quiescent & (g.redshift > 0.3) & (g.redshift < 0.4)
        colours.append(np.median((g.magnitude[:, 2] - g.magnitude[:, 3])[red]))
    assert colours[0] - colours[1] == pytest.approx(0.07, abs=0.03)
