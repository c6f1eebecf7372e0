"""Spectra that are no quiet galaxies: broad lines, quasars, stars, and parts that disagree."""

import numpy as np
import pytest

from photospec.analysis import RedshiftWarning, measure_properties, measure_redshift
from photospec.analysis.redshift.errors import CORRELATED, residual_correlation
from photospec.analysis.redshift.quasars import _LINES, quasar_chi2
from photospec.analysis.redshift.scan import resample_log
from photospec.lines import LINES
from photospec.spectrum import WAVELENGTH, from_arrays, to_arrays

SDSS = np.exp(np.arange(np.log(3800.0), np.log(9200.0), 1e-4 * np.log(10)))
LIGHT = 299792.458
# Rest equivalent width in Angstrom, full width at half maximum in km/s; as in quasars.
QUASAR_LINES = {
    1216: (90, 6000), 1549: (25, 6000), 1909: (21, 7000), 2799: (32, 5000), 4341.7: (12, 4000),
    4862.7: (46, 4500), 5008.2: (13, 800), 6564.6: (195, 4500),
}  # fmt: skip


def _noisy(flux, signal_to_noise, seed=0):
    sigma = np.full(flux.shape, np.median(flux) / signal_to_noise)
    noise = np.random.default_rng(seed).standard_normal(flux.shape)
    return from_arrays(SDSS, flux + sigma * noise, sigma=sigma, lsf=SDSS * 65 / LIGHT)


def _line(centre, ew, width):
    sigma = centre * width / 2.355 / LIGHT
    return ew * np.exp(-0.5 * ((SDSS - centre) / sigma) ** 2) / sigma / 2.5066


def _quasar(redshift):
    lines = [
        _line(rest * (1 + redshift), ew * (1 + redshift), width)
        for rest, (ew, width) in QUASAR_LINES.items()
    ]
    return 10 * (SDSS / 5000) ** -1.5 * (1 + np.sum(lines, axis=0))


@pytest.mark.parametrize("redshift", [0.35, 1.9, 2.8])
def test_quasars_are_flagged(redshift):
    fit = measure_redshift(_noisy(_quasar(redshift), 12))
    assert fit.warning & RedshiftWarning.QUASAR or abs(fit.redshift - redshift) < 0.01
    assert fit.warning & (RedshiftWarning.QUASAR | RedshiftWarning.BROAD_LINES)
    assert fit.solutions.broad_line_redshift[0] == pytest.approx(redshift, abs=0.02)


def test_lines_of_quasars_are_those_of_their_mean_spectrum():
    """Vanden Berk et al. 2001, table 2 (vacuum); 5,000 km/s wide at half maximum."""
    known = {
        "lya": 1216.25, "nv": 1239.85, "siiv": 1398.33, "civ": 1546.15, "ciii": 1905.73,
        "mgii": 2800.26, "hdelta": 4102.73, "hgamma": 4346.42, "hbeta": 4853.13, "hei": 5877.29,
        "halpha": 6564.93, "oiii": 5008.22,
    }  # fmt: skip
    for name, wavelength in known.items():
        centre, sigma = _LINES[name]
        # The peaks of broad Balmer lines lie up to 600 km/s beside the laboratory's.
        assert centre == pytest.approx(wavelength, rel=2.2e-3), name
        if name != "oiii":
            assert sigma / centre * LIGHT * 2.3548 == pytest.approx(4950, rel=0.01), name
    assert len(_LINES) == len(known) + 5  # and humps of iron, and of the Balmer continuum


@pytest.mark.parametrize(
    ("redshift", "seen"), [(0.0, True), (3.3, True), (4.3, True), (4.8, False)]
)
def test_quasars_are_looked_for_to_a_redshift(redshift, seen):
    """Beyond 4.5 the forest takes the light below Lyman alpha; another one is named then."""
    flux = _quasar(redshift)
    spectra = resample_log(SDSS, flux[None], np.full((1, flux.size), 4.0), 1)
    chi2, found = quasar_chi2(spectra, 0)
    assert found <= 4.5
    assert (abs(found - redshift) < 0.02 * (1 + redshift)) == seen
    worse, _ = quasar_chi2(
        resample_log(SDSS, flux[::-1][None].copy(), np.full((1, flux.size), 4.0), 1), 0
    )
    assert not seen or chi2 < worse


def test_quasars_have_no_redshift_in_the_table():
    table = measure_properties(_noisy(_quasar(1.2), 12))
    assert table["redshift"].mask[0]
    assert "QUASAR" in table["flags"][0]


def test_broad_lines_of_a_galaxy_leave_its_redshift(make_galaxy):
    host = make_galaxy(0.12, wavelength=SDSS, lines=1.5).flux.value
    broad = sum(
        _line(LINES[name].wavelength * 1.12, 1.12 * ew, 4000)
        for name, ew in (("halpha", 150), ("hbeta", 45), ("hgamma", 18))
    )
    fit = measure_redshift(_noisy(host + 10 * (broad + (SDSS / 5000) ** -1.5), 15))
    assert fit.redshift == pytest.approx(0.12, abs=3e-4)
    assert fit.warning == RedshiftWarning.BROAD_LINES


def test_galaxies_are_no_quasars(make_galaxy):
    spectra = [
        _noisy(make_galaxy(z, wavelength=SDSS, lines=lines, age=age).flux.value, 4, seed)
        for seed, (z, lines, age) in enumerate([(0.05, 2, 3e8), (0.3, 0, 9e9), (0.5, 0, 7e9)])
    ]
    fit = measure_redshift(spectra)
    assert np.all(fit.warning == 0)
    np.testing.assert_allclose(fit.redshift, [0.05, 0.3, 0.5], atol=3e-4)


@pytest.mark.parametrize("kind", ["hot", "cool"])
def test_stars_are_flagged(kind):
    flux = (SDSS / 5000) ** (-3.0 if kind == "hot" else 3.0)
    if kind == "hot":
        for name in ("halpha", "hbeta", "hgamma", "hdelta"):
            flux = flux * (1 - 0.5 * np.exp(-np.abs(SDSS - LINES[name].wavelength) / 12))
    else:  # steps like the heads of titanium oxide bands
        for head in (4760, 4955, 5167, 5448, 5847, 6158, 6651, 7053, 7589, 8432):
            behind = SDSS - head
            flux = flux * np.where(behind > 0, 1 - 0.5 * np.exp(-behind / 150), 1)
    fit = measure_redshift(_noisy(10 * flux, 20))
    expected = RedshiftWarning.ZERO_REDSHIFT if kind == "hot" else RedshiftWarning.POOR_FIT
    assert fit.warning & (expected | RedshiftWarning.QUASAR | RedshiftWarning.ZERO_REDSHIFT)


def _with_shifted_red(make_galaxy, shift):
    """A spectrum as networks may draw it: noiseless, red lines off by a share of wavelength."""
    blue, red = (
        make_galaxy(z, wavelength=WAVELENGTH, lines=3, age=9e8).flux.value
        for z in (0.1, 1.1 * (1 + shift) - 1)
    )
    ripple = 1 + 0.06 * np.sin(WAVELENGTH / 15)  # what no template has, the same over many pixels
    return from_arrays(WAVELENGTH, np.where(WAVELENGTH < 5000, blue, red) * ripple)


def test_parts_that_disagree_widen_the_error(make_galaxy):
    agree, disagree = (measure_redshift(_with_shifted_red(make_galaxy, s)) for s in (0.0, 0.008))
    assert agree.redshift == pytest.approx(0.1, abs=max(3 * agree.error, 3e-4))
    assert agree.error < 2e-3
    assert disagree.error > 3e-3  # half the disagreement in 1 + z is 0.0044
    assert abs(disagree.redshift - 0.1) < 3 * disagree.error
    table = measure_properties(_with_shifted_red(make_galaxy, 0.008))
    assert not table["redshift"].mask[0]
    assert table["redshift_error"][0] >= disagree.error * 0.999


def test_noise_is_not_correlated(make_galaxy):
    """With noise alone the jackknife stays out, and errors are those of chi-square."""
    rng = np.random.default_rng(0)
    model, weight = np.ones(4000), np.full(4000, 4.0)
    noise = 0.5 * rng.standard_normal(4000)
    assert residual_correlation(model + noise, model, weight) == pytest.approx(1, abs=0.3)
    smooth = np.convolve(noise, np.ones(12) / 12, mode="same")
    assert residual_correlation(model + smooth, model, weight) > CORRELATED
    arrays = to_arrays(make_galaxy(0.1, signal_to_noise=15))
    bare = measure_redshift(from_arrays(arrays.wavelength, arrays.flux[0]))
    assert bare.solutions.correlation[0] == 1
