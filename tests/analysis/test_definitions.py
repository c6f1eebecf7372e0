"""Numbers of the literature, typed in from the papers and compared one by one."""

import numpy as np
import pytest
from astropy import units as u

from photospec.analysis import measure_indices, measure_redshift
from photospec.analysis.bpt import (
    BPTClass,
    WHANClass,
    cidfernandes11,
    classify_ratios,
    kauffmann03,
    kewley01,
    kewley06,
    schawinski07,
)
from photospec.analysis.indices import corrections
from photospec.analysis.indices.bands import vacuum_bands
from photospec.analysis.indices.definitions import BREAKS, EXTRA, INDICES, LICK
from photospec.spectrum import from_arrays, to_arrays
from photospec.stellar_grids import stellar_grid

LIGHT = 299792.458

# Index band, blue and red pseudo-continuum (air, Angstrom) and kind.
# Trager et al. 1998, table 1, the limits of Worthey et al. 1994 refined.
TRAGER = """
cn1      4142.125 4177.125  4080.125 4117.625  4244.125 4284.125  mag
cn2      4142.125 4177.125  4083.875 4096.375  4244.125 4284.125  mag
ca4227   4222.250 4234.750  4211.000 4219.750  4241.000 4251.000  angstrom
g4300    4281.375 4316.375  4266.375 4282.625  4318.875 4335.125  angstrom
fe4383   4369.125 4420.375  4359.125 4370.375  4442.875 4455.375  angstrom
ca4455   4452.125 4474.625  4445.875 4454.625  4477.125 4492.125  angstrom
fe4531   4514.250 4559.250  4504.250 4514.250  4560.500 4579.250  angstrom
fe4668   4634.000 4720.250  4611.500 4630.250  4742.750 4756.500  angstrom
hbeta    4847.875 4876.625  4827.875 4847.875  4876.625 4891.625  angstrom
fe5015   4977.750 5054.000  4946.500 4977.750  5054.000 5065.250  angstrom
mg1      5069.125 5134.125  4895.125 4957.625  5301.125 5366.125  mag
mg2      5154.125 5196.625  4895.125 4957.625  5301.125 5366.125  mag
mgb      5160.125 5192.625  5142.625 5161.375  5191.375 5206.375  angstrom
fe5270   5245.650 5285.650  5233.150 5248.150  5285.650 5318.150  angstrom
fe5335   5312.125 5352.125  5304.625 5315.875  5353.375 5363.375  angstrom
fe5406   5387.500 5415.000  5376.250 5387.500  5415.000 5425.000  angstrom
fe5709   5696.625 5720.375  5672.875 5696.625  5722.875 5736.625  angstrom
fe5782   5776.625 5796.625  5765.375 5775.375  5797.875 5811.625  angstrom
nad      5876.875 5909.375  5860.625 5875.625  5922.125 5948.125  angstrom
tio1     5936.625 5994.125  5816.625 5849.125  6038.625 6103.625  mag
tio2     6189.625 6272.125  6066.625 6141.625  6372.625 6415.125  mag
"""
# Worthey & Ottaviani 1997, table 1.
WORTHEY_OTTAVIANI = """
hdelta_a 4083.500 4122.250  4041.600 4079.750  4128.500 4161.000  angstrom
hgamma_a 4319.750 4363.500  4283.500 4319.750  4367.250 4419.750  angstrom
hdelta_f 4091.000 4112.250  4057.250 4088.500  4114.750 4137.250  angstrom
hgamma_f 4331.250 4352.250  4283.500 4319.750  4354.750 4384.750  angstrom
"""
# Balogh 1999 ([O II]); Serven 2005 (CaHK, Mg4780); Cervantes & Vazdekis 2009 (Hbeta_o);
# Spiniello 2014 (bTiO, aTiO, CaH1, CaH2); Trager's TiO3 and TiO4 after Gizis 1997;
# La Barbera 2013 (Na I 8190); Cenarro 2001 (Ca II).
OTHERS = """
oii_3727 3713.000 3741.000  3653.000 3713.000  3741.000 3801.000  angstrom
cahk     3899.500 4003.500  3806.500 3833.800  4020.700 4052.400  angstrom
hbeta_o  4839.275 4877.097  4821.175 4838.404  4897.445 4915.845  angstrom
mg4780   4760.780 4798.800  4738.910 4757.310  4819.780 4835.510  angstrom
btio     4758.500 4800.000  4742.750 4756.500  4827.875 4847.875  mag
atio     5445.000 5600.000  5420.000 5442.000  5630.000 5655.000  mag
cah1     6357.500 6401.750  6342.125 6356.500  6408.500 6429.750  mag
cah2     6775.000 6900.000  6510.000 6539.250  7017.000 7064.000  mag
tio3     7123.750 7162.500  7017.000 7064.000  7234.000 7269.000  mag
tio4     7643.250 7717.250  7527.000 7577.750  7735.500 7782.750  mag
nai_8190 8180.000 8200.000  8143.000 8153.000  8233.000 8244.000  angstrom
cat1     8484.000 8513.000  8474.000 8484.000  8563.000 8577.000  angstrom
cat2     8522.000 8562.000  8474.000 8484.000  8563.000 8577.000  angstrom
cat3     8642.000 8682.000  8619.000 8642.000  8700.000 8725.000  angstrom
"""
ROWS = [
    (words[0], np.array(words[1:7], float).reshape(3, 2), words[7])
    for line in (TRAGER + WORTHEY_OTTAVIANI + OTHERS).splitlines()
    if (words := line.split())
]


@pytest.mark.parametrize(("name", "limits", "kind"), ROWS, ids=[row[0] for row in ROWS])
def test_index_bands(name, limits, kind):
    index = INDICES[name]
    np.testing.assert_allclose([index.band, index.blue, index.red], limits, rtol=0, atol=5e-4)
    assert index.kind == kind


def test_every_index_is_in_the_tables_above():
    assert {row[0] for row in ROWS} == {*LICK, *EXTRA}
    assert len(LICK) == 25
    assert set(BREAKS) == {"dn4000", "d4000"}


@pytest.mark.parametrize(
    ("name", "blue", "red"),
    [
        ("dn4000", (3850, 3950), (4000, 4100)),  # Balogh et al. 1999
        ("d4000", (3750, 3950), (4050, 4250)),  # Bruzual 1983
    ],
)
def test_bands_of_the_breaks(name, blue, red):
    index = INDICES[name]
    assert (index.blue, index.band, index.red) == (blue, None, red)
    assert index.kind == "break"


def test_bands_are_measured_in_vacuum():
    """The tables are in air, spectra in vacuum."""
    blue, band, red = vacuum_bands(INDICES["mgb"])
    # Refractive index of air at 5175 Angstrom less one: 2.7809e-4 (Ciddor 1996, 15 C).
    np.testing.assert_allclose(band, np.array([5160.125, 5192.625]) * 1.00027809, atol=0.01)
    np.testing.assert_allclose(blue, np.array([5142.625, 5161.375]) * 1.00027809, atol=0.01)
    np.testing.assert_allclose(red, np.array([5191.375, 5206.375]) * 1.00027809, atol=0.01)


def test_resolution_of_the_lick_system():
    """Worthey & Ottaviani 1997, table 8."""
    assert corrections.LICK_WAVELENGTH == (4000, 4400, 4900, 5400, 6000)
    assert corrections.LICK_FWHM == (11.5, 9.2, 8.4, 8.4, 9.8)
    # A full width at half maximum of 2.354820 standard deviations.
    assert corrections.lick_sigma(4900.0) == pytest.approx(8.4 / 2.354820, rel=1e-6)
    assert corrections.lick_sigma(4200.0) == pytest.approx(10.35 / 2.354820, rel=1e-6)


# Log ratio and log [O III]/Hbeta on each curve, worked out by hand.
POINTS = [
    (kauffmann03, (-1.2,), 1.3 - 0.61 / 1.25),
    (kauffmann03, (-0.45,), 0.08),
    (kauffmann03, (-0.2,), -1.14),
    (kewley01, (-0.53, "nii"), 0.58),
    (kewley01, (0.22, "nii"), -1.25),
    (kewley01, (-0.4, "sii"), 0.3),
    (kewley01, (-0.08, "sii"), -0.5),
    (kewley01, (-1.59, "oi"), 0.6),
    (kewley01, (-1.09, "oi"), -0.13),
    (kewley06, (-0.4, "sii"), 0.004),
    (kewley06, (0.0, "sii"), 0.76),
    (kewley06, (-1.0, "oi"), 0.12),
    (kewley06, (-0.5, "oi"), 0.71),
    (schawinski07, (-0.2,), 0.24),
    (schawinski07, (0.2,), 0.66),
]


@pytest.mark.parametrize(("curve", "arguments", "value"), POINTS)
def test_points_on_the_curves(curve, arguments, value):
    assert curve(*arguments) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    ("diagram", "x", "y", "below", "above"),
    [
        ("nii", -0.45, 0.08, BPTClass.STAR_FORMING, BPTClass.COMPOSITE),
        ("nii", -0.53, 0.58, BPTClass.COMPOSITE, BPTClass.SEYFERT),
        ("nii", 0.3, 0.765, BPTClass.LINER, BPTClass.SEYFERT),
        ("sii", -0.4, 0.3, BPTClass.STAR_FORMING, BPTClass.SEYFERT),
        ("sii", 0.0, 0.76, BPTClass.LINER, BPTClass.SEYFERT),
        ("oi", -1.59, 0.6, BPTClass.STAR_FORMING, BPTClass.SEYFERT),
        ("oi", -0.5, 0.71, BPTClass.LINER, BPTClass.SEYFERT),
    ],
)
def test_classes_change_at_the_curves(diagram, x, y, below, above):
    assert classify_ratios(x, y - 0.01, diagram)[()] is below
    assert classify_ratios(x, y + 0.01, diagram)[()] is above


def test_limits_of_whan():
    """Cid Fernandes et al. 2011: 0.5, 3 and 6 Angstrom, log [N II]/Halpha of -0.4."""
    x = [-0.3, -0.3, -0.3, -0.3, -0.3, -0.3, -0.41, -0.39]
    w = [0.49, 0.51, 2.99, 3.01, 5.99, 6.01, 7.0, 7.0]
    names = ["PASSIVE", "RETIRED", "RETIRED", "WEAK_AGN", "WEAK_AGN", "STRONG_AGN"]
    names += ["STAR_FORMING", "STRONG_AGN"]
    assert [kind.name for kind in cidfernandes11(x, w)] == names
    assert {*names, "UNCLASSIFIED"} == {kind.name for kind in WHANClass}


@pytest.mark.parametrize("pair", [(0.06, 0.21), (0.27, 0.11)])
def test_second_redshift_of_two_galaxies_on_one_line_of_sight(make_galaxy, pair):
    """The brighter one decides; the fainter one is the second solution."""
    wavelength = np.arange(3800.0, 9200.0)
    bright = make_galaxy(pair[0], lines=1.5, wavelength=wavelength).flux.value
    faint = make_galaxy(pair[1], lines=1.5, level=7.0, wavelength=wavelength).flux.value
    flux = bright + faint
    sigma = np.full(flux.size, np.median(flux) / 25)
    noise = np.random.default_rng(3).standard_normal(flux.size)
    fit = measure_redshift(from_arrays(wavelength, flux + sigma * noise, sigma=sigma, lsf=1.0))
    assert fit.redshift == pytest.approx(pair[0], abs=3e-4)
    assert fit.second_redshift == pytest.approx(pair[1], abs=3e-4)
    found = fit.solutions
    assert fit.second_redshift == found.redshift[0, 1]
    assert fit.delta_chi2 == found.delta_chi2[0, 1]
    # Best first, and each more than 1500 km/s from the others.
    assert np.all(np.diff(found.delta_chi2[0][np.isfinite(found.delta_chi2[0])]) >= 0)
    known = np.log1p(found.redshift[0][np.isfinite(found.redshift[0])])
    apart = np.abs(known[:, None] - known)[np.triu_indices(known.size, 1)] * LIGHT
    assert apart.min() > 1200
    table = fit.to_table()
    assert table["second_redshift"][0] == fit.second_redshift


@pytest.mark.parametrize("which", ["band", "blue", "red"])
@pytest.mark.parametrize("name", ["mgb", "hdelta_a", "mg2"])
def test_a_fifth_of_a_band_may_be_bad(name, which):
    """Just below: measured, from interpolated pixels. Just above: masked, with the reason."""
    redshift, step = 0.05, 0.05
    wavelength = np.arange(4000.0, 5800.0, step)
    flux = 3 + 2e-4 * (wavelength - 4500)
    limits = getattr(INDICES[name], which)
    low, high = np.array(limits) * 1.00028 * (1 + redshift)
    # The part that is bad begins where no other band of the index is.
    others = [getattr(INDICES[name], other) for other in ("band", "blue", "red") if other != which]
    start = max([low] + [b * 1.00028 * 1.05 for a, b in others if a < limits[0] < b]) + 2 * step
    for share, reason in ((0.19, ""), (0.21, "bad pixels")):
        mask = (wavelength > start) & (wavelength < start + share * (high - low))
        spectrum = from_arrays(
            wavelength, np.where(mask, 1e5, flux), sigma=np.ones(wavelength.size), mask=mask
        )
        fit = measure_indices(spectrum, redshift=redshift, indices=[name, "fe4531"])
        assert fit.reason[0, 0] == reason
        assert fit.reason[0, 1] == ""
        table = fit.to_table()
        assert table[name].mask[0] == (reason != "")
        assert table[f"{name}_error"].mask[0] == (reason != "")
        if reason:
            assert np.isnan(fit[name][0])
            assert f"{name}: bad pixels" in table["flags"][0]
        else:
            assert fit[name][0] == pytest.approx(0, abs=1e-4)


def _broadened(flux, wavelength, dispersion):
    """Direct sum over a Gaussian whose width grows with wavelength."""
    if dispersion == 0:
        return flux
    width = np.gradient(wavelength)
    out = np.empty_like(flux)
    for i, centre in enumerate(wavelength):
        weight = width * np.exp(-0.5 * ((wavelength - centre) / (centre * dispersion / LIGHT)) ** 2)
        out[i] = weight @ flux / weight.sum()
    return out


def _mean_over_old_populations(name, dispersion):
    """Index of each of nine populations, broadened by hand; air bands brought to vacuum."""
    grid = stellar_grid((3500.0, 9000.0))
    low, high = INDICES[name].limits
    near = (grid.wavelength > low - 80) & (grid.wavelength < high + 80)
    wavelength, values = grid.wavelength[near], []
    for age in (2e9, 5e9, 10e9):
        for metallicity in (0.008, 0.02, 0.05):
            row = np.argmin(np.abs(grid.metallicity - metallicity))
            flux = grid.flux[row, np.argmin(np.abs(grid.age - age))][near].astype(float)
            flux = _broadened(flux / flux.mean(), wavelength, dispersion)
            values.append(
                measure_indices(from_arrays(wavelength, flux), redshift=0.0, indices=[name])[name]
            )
    return np.ravel(values)


@pytest.mark.parametrize("dispersion", [200.0, 350.0])
def test_dispersion_correction_of_hbeta_is_a_shift(make_galaxy, dispersion):
    """Hbeta passes through zero in young populations: a factor could not mend it there."""
    arrays = to_arrays(make_galaxy(0.0, lines=0, wavelength=np.arange(4500.0, 5300.0)))
    arrays = from_arrays(arrays.wavelength, arrays.flux[0])
    factor, offset = corrections.broadening_correction(
        INDICES["hbeta"], dispersion, to_arrays(arrays), 0.0, "native"
    )
    sharp, broad = (_mean_over_old_populations("hbeta", d) for d in (0.0, dispersion))
    assert factor == 1.0
    assert offset > 0.01
    assert offset == pytest.approx(np.mean(sharp - broad), rel=0.03)


@pytest.mark.parametrize("name", ["hbeta", "hdelta_a", "hgamma_f", "mg2", "cn1"])
def test_additive_correction_leaves_the_error(make_galaxy, name):
    spectrum = make_galaxy(0.02, lines=0, signal_to_noise=30)
    plain = measure_indices(spectrum, redshift=0.02, indices=[name])
    shifted = measure_indices(spectrum, redshift=0.02, indices=[name], velocity_dispersion=250.0)
    factor, offset = corrections.broadening_correction(
        INDICES[name], 250.0, to_arrays(spectrum), 0.02, "native"
    )
    assert factor == 1.0
    assert offset != 0
    assert shifted[name][0] == pytest.approx(plain[name][0] + offset, rel=1e-9)
    assert shifted.error[0, 0] == plain.error[0, 0]


def test_correction_of_an_atomic_index_is_a_factor(make_galaxy):
    spectrum = make_galaxy(0.02, lines=0, signal_to_noise=30)
    plain = measure_indices(spectrum, redshift=0.02, indices=["fe5270"])
    scaled = measure_indices(
        spectrum, redshift=0.02, indices=["fe5270"], velocity_dispersion=[250.0] * u.one
    )
    sharp, broad = (_mean_over_old_populations("fe5270", d) for d in (0.0, 250.0))
    # The spectrum's own line-spread function of 1 Angstrom is part of what is broadened.
    assert scaled["fe5270"][0] / plain["fe5270"][0] == pytest.approx(
        sharp.sum() / broad.sum(), rel=0.03
    )
    ratio = scaled.error[0, 0] / plain.error[0, 0]
    assert ratio == pytest.approx(scaled["fe5270"][0] / plain["fe5270"][0], rel=1e-9)
