"""Spectra as arrays and files, and the arithmetic on wavelength grids."""

import numpy as np
import pytest
from astropy import constants
from astropy import units as u
from astropy.nddata import InverseVariance, StdDevUncertainty, VarianceUncertainty
from astropy.table import MaskedColumn
from specutils import Spectrum

from photospec.errors import InputError
from photospec.spectrum import (
    BASE_WAVELENGTH,
    FIBRE_RADIUS,
    FLUX_UNIT,
    SMOOTHING,
    WAVELENGTH,
    air_to_vacuum,
    from_arrays,
    rebin,
    smooth,
    to_arrays,
    to_base_grid,
    to_training_grid,
    vacuum_to_air,
)

LOGARITHMIC = 10 ** np.arange(3.58, 3.96, 1e-4)  # as SDSS: 0.87 to 2.1 Angstrom


def gaussian(wavelength, centre, sigma, area=1.0):
    return area / (np.sqrt(2 * np.pi) * sigma) * np.exp(-0.5 * ((wavelength - centre) / sigma) ** 2)


def moments(wavelength, flux):
    """Area, mean and standard deviation, by the trapezoid rule."""
    area = np.trapezoid(flux, wavelength)
    mean = np.trapezoid(flux * wavelength, wavelength) / area
    return area, mean, np.sqrt(np.trapezoid(flux * (wavelength - mean) ** 2, wavelength) / area)


def test_constants():
    assert WAVELENGTH.shape == (4500,)
    assert WAVELENGTH[[0, -1]].tolist() == [4000, 8499]
    assert BASE_WAVELENGTH.shape == (563,)
    assert BASE_WAVELENGTH[1] == 4008
    assert (SMOOTHING, FIBRE_RADIUS) == (2.0, 1.5)
    assert (1 * FLUX_UNIT).to_value("erg / (s cm2 Angstrom)") == pytest.approx(1e-17)
    with pytest.raises(ValueError, match="read-only"):
        WAVELENGTH[0] = 1


# ---------------------------------------------------------------- air and vacuum


@pytest.mark.parametrize(
    ("air", "vacuum"),  # NIST
    [(4861.33, 4862.69), (5006.843, 5008.240), (5889.950, 5891.583), (8542.09, 8544.44)],
)
def test_air_and_vacuum(air, vacuum):
    assert float(air_to_vacuum(air)) == pytest.approx(vacuum, abs=0.015)
    assert float(vacuum_to_air(vacuum)) == pytest.approx(air, abs=0.015)


def test_air_and_vacuum_are_inverse_and_stop_at_2000():
    wavelength = np.linspace(2001, 12000, 500)
    np.testing.assert_allclose(vacuum_to_air(air_to_vacuum(wavelength)), wavelength, atol=1e-5)
    np.testing.assert_array_equal(air_to_vacuum([1216.0, 1999.0]), [1216.0, 1999.0])


# ---------------------------------------------------------------- smoothing and binning


@pytest.mark.parametrize("sigma", [1.5, 2.0, 5.0, 20.0])
def test_smoothing_adds_variances(sigma):
    flux = gaussian(LOGARITHMIC, 6000, 3.0, 5.0)
    area, mean, width = moments(LOGARITHMIC, smooth(flux, LOGARITHMIC, sigma))
    assert area == pytest.approx(5.0, rel=1e-3)
    assert mean == pytest.approx(6000, abs=0.02 + 1e-4 * sigma**2)
    assert width == pytest.approx(np.hypot(3.0, sigma), rel=2e-3)


def test_smoothing_with_changing_width():
    flux = gaussian(LOGARITHMIC, 5000, 2.0) + gaussian(LOGARITHMIC, 7000, 2.0)
    sigma = np.where(LOGARITHMIC < 6000, 2.0, 6.0)
    result = smooth(flux, LOGARITHMIC, sigma)
    for centre, width in ((5000, np.hypot(2, 2)), (7000, np.hypot(2, 6))):
        part = np.abs(LOGARITHMIC - centre) < 60
        assert moments(LOGARITHMIC[part], result[part])[2] == pytest.approx(width, rel=5e-3)


def test_smoothing_keeps_constants_and_zero_width_keeps_all():
    flux = np.random.default_rng(0).random((2, 3, LOGARITHMIC.size))
    np.testing.assert_allclose(smooth(np.ones(LOGARITHMIC.size), LOGARITHMIC, 7.0), 1)
    np.testing.assert_array_equal(smooth(flux, LOGARITHMIC, 0.0), flux)
    many = smooth(flux, LOGARITHMIC, 3.0)
    np.testing.assert_allclose(many[1, 2], smooth(flux[1, 2], LOGARITHMIC, 3.0))
    with pytest.raises(InputError, match="sigma: expected"):
        smooth(flux, LOGARITHMIC, -1.0)
    with pytest.raises(InputError, match="sigma: expected"):
        smooth(flux, LOGARITHMIC, np.ones(3))


def exact_rebin(flux, edges, new_edges):
    """Overlap of every old with every new bin, the slow way."""
    low = np.maximum(new_edges[:-1, None], edges[None, :-1])
    high = np.minimum(new_edges[1:, None], edges[None, 1:])
    return (np.clip(high - low, 0, None) @ flux) / np.diff(new_edges)


@pytest.mark.parametrize("step", [0.4, 1.0, 2.7, 30.0])
def test_rebinning_against_exact_overlaps(step):
    old = np.arange(5000.0, 5400.0)
    new = np.arange(5040.0, 5340.0, step)
    flux = np.random.default_rng(1).random((2, old.size))
    old_edges = np.arange(4999.5, 5400.0)
    new_edges = np.append(new - step / 2, new[-1] + step / 2)
    expected = [exact_rebin(row, old_edges, new_edges) for row in flux]
    np.testing.assert_allclose(rebin(flux, old, new), expected, rtol=1e-10)


def test_rebinning_conserves_flux_and_says_what_is_missing():
    flux = gaussian(LOGARITHMIC, 6000, 3.0, 5.0)
    assert np.nansum(rebin(flux, LOGARITHMIC, WAVELENGTH)) == pytest.approx(5.0, rel=1e-6)
    result = rebin(np.ones(401), np.arange(5000.0, 5401.0), np.arange(4900.0, 5500.0))
    np.testing.assert_array_equal(
        np.isfinite(result), np.isin(np.arange(4900, 5500), np.arange(5000, 5401))
    )
    with pytest.raises(InputError, match="increasing"):
        rebin(flux, LOGARITHMIC[::-1], WAVELENGTH)
    with pytest.raises(InputError, match="belong together"):
        rebin(flux[1:], LOGARITHMIC, WAVELENGTH)


# ---------------------------------------------------------------- training grid


@pytest.mark.parametrize(
    "wavelength", [LOGARITHMIC, np.arange(3900.0, 8700.0, 1.5), np.arange(3800, 8800, 0.7)]
)
def test_training_grid_widens_lines_by_the_smoothing_alone(wavelength):
    """No pixel effects: that is what the line-spread function of an analysis relies on."""
    flux = gaussian(wavelength, 6000.3, 2.5, 4.0)
    area, mean, width = moments(WAVELENGTH, to_training_grid(wavelength, flux))
    assert area == pytest.approx(4.0, rel=1e-4)
    assert mean == pytest.approx(6000.3, abs=0.01)
    assert width == pytest.approx(np.hypot(2.5, SMOOTHING), rel=1e-3)


def test_training_grid_follows_the_published_recipe():
    """Spline to 1 Angstrom, then convolve: the same within a fraction of a percent."""
    from scipy.interpolate import CubicSpline
    from scipy.ndimage import gaussian_filter1d

    continuum = 1 + 0.3 * np.sin(LOGARITHMIC / 300)
    flux = continuum - gaussian(LOGARITHMIC, 5200, 4.0, 3.0) + gaussian(LOGARITHMIC, 7000, 3.0, 9.0)
    grid = np.arange(3950.0, 8600.0)
    published = gaussian_filter1d(CubicSpline(LOGARITHMIC, flux)(grid), 2.0)[50:4550]
    np.testing.assert_allclose(to_training_grid(LOGARITHMIC, flux), published, rtol=2e-3)


def test_training_grid_leaves_bad_samples_out():
    flux = np.full((2, LOGARITHMIC.size), 3.0)
    ivar = np.full(flux.shape, 4.0)
    ivar[0, 2000] = 0
    flux[0, 2000] = 1e4
    hole = (LOGARITHMIC > 6000) & (LOGARITHMIC < 6060)
    ivar[1, hole] = 0
    flux[1, hole] = np.nan
    smoothed, weight = to_training_grid(LOGARITHMIC, flux, ivar)
    np.testing.assert_allclose(smoothed[0], 3)
    assert np.isfinite(smoothed).all()
    inside = (WAVELENGTH > 6004) & (WAVELENGTH < 6056)
    assert not weight[1, inside].any()
    assert (weight[:, ~((WAVELENGTH > 5990) & (WAVELENGTH < 6070))] > 0).all()


def test_training_grid_propagates_variance():
    rng = np.random.default_rng(2)
    sigma = np.linspace(0.5, 2, LOGARITHMIC.size)
    flux = rng.normal(size=(150, LOGARITHMIC.size)) * sigma
    smoothed, ivar = to_training_grid(LOGARITHMIC, flux, np.broadcast_to(sigma**-2, flux.shape))
    # 150 draws and some 600 independent places: 0.5 % of scatter
    assert np.mean(smoothed.var(axis=0, ddof=1) * ivar[0]) == pytest.approx(1, abs=0.02)


def test_training_grid_refuses():
    flux = np.ones(LOGARITHMIC.size)
    with pytest.raises(InputError, match="coverage of 4000 to 8499"):
        to_training_grid(LOGARITHMIC * 1.1, flux)
    with pytest.raises(InputError, match=r"steps of at most 2.5"):
        to_training_grid(LOGARITHMIC[::4], flux[::4])


def test_base_grid():
    flux = np.random.default_rng(0).random((3, 4500))
    result = to_base_grid(flux)
    assert result.shape == (3, 563)
    np.testing.assert_allclose(result[1, 5], flux[1, 40:48].mean())
    np.testing.assert_allclose(result[:, -1], flux[:, 4496:].mean(axis=1))
    with pytest.raises(InputError, match="training grid"):
        to_base_grid(flux[:, :-1])


def test_training_grid_keeps_single_precision():
    flux = np.random.default_rng(0).random((64, LOGARITHMIC.size), dtype=np.float32)
    assert to_training_grid(LOGARITHMIC, flux).dtype == np.float32


# ---------------------------------------------------------------- Spectrum and arrays

CENTRES = np.linspace(4000.0, 8000.0, 400)
FLUX = 1 + np.random.default_rng(3).random((2, 400))


def spectrum(**kwargs):
    return Spectrum(**{"flux": FLUX * FLUX_UNIT, "spectral_axis": CENTRES * u.AA, **kwargs})


def test_round_trip_of_arrays():
    mask = np.zeros(FLUX.shape, bool)
    mask[1, 3] = True
    made = from_arrays(
        CENTRES, FLUX, sigma=FLUX / 10, mask=mask, lsf=1.2, redshift=0.1, meta={"name": "x"}
    )
    arrays = to_arrays(made)
    assert len(arrays) == 2
    np.testing.assert_allclose(arrays.wavelength, CENTRES)
    np.testing.assert_allclose(arrays.flux, FLUX)
    np.testing.assert_allclose(arrays.sigma, FLUX / 10)
    np.testing.assert_array_equal(arrays.mask, mask)
    np.testing.assert_allclose(arrays.lsf, np.full(400, 1.2))
    np.testing.assert_allclose(arrays.redshift, [0.1, 0.1])
    assert arrays.meta["name"] == "x"
    assert "2 spectra" in repr(arrays)


def test_single_spectrum_becomes_one_row():
    arrays = to_arrays(spectrum(flux=FLUX[0] * FLUX_UNIT))
    assert arrays.flux.shape == (1, 400)
    assert arrays.sigma is None
    assert arrays.lsf is None
    assert arrays.redshift is None
    assert not arrays.mask.any()


@pytest.mark.parametrize(
    ("axis", "flip"),
    [
        (CENTRES / 10 * u.nm, False),
        (CENTRES / 1e4 * u.um, False),
        ((constants.c / (CENTRES * u.AA)).to(u.THz), True),
        ((CENTRES * u.AA).to(u.eV, u.spectral()), True),
    ],
)
def test_spectral_units(axis, flip):
    order = slice(None, None, -1) if flip else slice(None)
    arrays = to_arrays(
        spectrum(
            spectral_axis=axis[order],
            flux=FLUX[:, order] * FLUX_UNIT,
            uncertainty=StdDevUncertainty(FLUX[:, order] / 10 * FLUX_UNIT),
            meta={"lsf_sigma": CENTRES[order] / 4000},
        )
    )
    np.testing.assert_allclose(arrays.wavelength, CENTRES, rtol=1e-9)
    np.testing.assert_allclose(arrays.flux, FLUX)
    np.testing.assert_allclose(arrays.sigma, FLUX / 10)
    np.testing.assert_allclose(arrays.lsf, CENTRES / 4000)


@pytest.mark.parametrize("unit", ["W / (m2 um)", "erg / (s cm2 nm)", "uJy", "mJy"])
@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
def test_flux_units_and_uncertainty_classes(unit, kind):
    equivalency = u.spectral_density(CENTRES * u.AA)
    flux = (FLUX * FLUX_UNIT).to(unit, equivalency)
    sigma = (FLUX / 10 * FLUX_UNIT).to(unit, equivalency)
    power = {StdDevUncertainty: 1, VarianceUncertainty: 2, InverseVariance: -2}[kind]
    arrays = to_arrays(spectrum(flux=flux, uncertainty=kind(sigma**power)))
    np.testing.assert_allclose(arrays.flux, FLUX)
    np.testing.assert_allclose(arrays.sigma, FLUX / 10)


def test_bad_samples_are_masked():
    flux = FLUX.copy()
    flux[0, 5] = np.nan
    ivar = np.full(FLUX.shape, 4.0)
    ivar[1, 7] = 0
    arrays = to_arrays(
        spectrum(flux=flux * FLUX_UNIT, uncertainty=InverseVariance(ivar / FLUX_UNIT**2))
    )
    assert np.argwhere(arrays.mask).tolist() == [[0, 5], [1, 7]]
    assert arrays.flux[0, 5] == 0
    assert np.isinf(arrays.sigma[1, 7])
    assert arrays.sigma[0, 0] == 0.5


def test_air_wavelengths_are_turned_to_vacuum():
    arrays = to_arrays(spectrum(meta={"wavelength_medium": "air"}))
    np.testing.assert_allclose(arrays.wavelength, air_to_vacuum(CENTRES))
    assert arrays.meta["wavelength_medium"] == "vacuum"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"flux": FLUX * u.one}, "flux: expected a flux density"),
        ({"flux": FLUX * u.ct}, "got ct"),
        ({"flux": np.ones((2, 2, 400)) * u.Jy}, "n_spectra, n_wave"),
        ({"spectral_axis": np.arange(400) * u.pix}, "still in pixels"),
        ({"meta": {"wavelength_medium": "water"}}, "'vacuum' or 'air'"),
        ({"meta": {"lsf_sigma": np.ones(3)}}, "lsf_sigma"),
        ({"meta": {"lsf_sigma": -1.0}}, "lsf_sigma"),
    ],
)
def test_unusable_spectra(change, match):
    with pytest.raises(InputError, match=match) as caught:
        to_arrays(spectrum(**change))
    assert "\n" not in str(caught.value)


def test_no_spectrum():
    with pytest.raises(InputError, match="specutils Spectrum, got ndarray"):
        to_arrays(FLUX)
    with pytest.raises(InputError, match="belong together"):
        from_arrays(CENTRES, FLUX[:, :-1])


GRID = np.arange(4000.0, 5000.0)
SHAPE = 10 + np.sin(GRID / 30)


@pytest.mark.parametrize("make", [np.ma.array, MaskedColumn])
def test_masked_arrays_keep_their_masks(make):
    hidden = np.arange(GRID.size) % 7 == 3
    noise = np.full(SHAPE.shape, 0.1)
    assert np.array_equal(to_arrays(from_arrays(GRID, make(SHAPE, mask=hidden))).mask[0], hidden)
    bad = to_arrays(from_arrays(GRID, SHAPE, sigma=make(noise, mask=hidden)))
    assert np.array_equal(bad.mask[0], hidden)


def test_quantities_are_converted_or_refused():
    """A number alone is in the units of the package; a Quantity says its own."""
    plain = to_arrays(from_arrays(GRID, SHAPE, sigma=0.1 * SHAPE, lsf=1.2))
    density = u.spectral_density(GRID * u.AA)
    janskys = (SHAPE * FLUX_UNIT).to(u.mJy, density)
    other = to_arrays(from_arrays(GRID / 10 * u.nm, janskys, sigma=0.1 * janskys, lsf=0.12 * u.nm))
    for name in ("wavelength", "flux", "sigma", "lsf"):
        np.testing.assert_allclose(getattr(other, name), getattr(plain, name), rtol=1e-6)
    for arguments, name in (
        ((GRID * u.kg, SHAPE), "wavelength"),
        ((GRID, SHAPE * u.adu), "flux"),
    ):
        with pytest.raises(InputError, match=f"{name}: expected numbers in"):
            from_arrays(*arguments)
    with pytest.raises(InputError, match="sigma: expected numbers in"):
        from_arrays(GRID, SHAPE, sigma=SHAPE * u.s)


def test_a_masked_redshift_is_no_hint():
    for hint in (np.ma.masked, np.ma.array([0.1], mask=[True]), MaskedColumn([0.1], mask=[True])):
        assert to_arrays(from_arrays(GRID, SHAPE, redshift=hint)).redshift is None


def test_marks_are_known_in_the_unit_of_the_errors():
    """-999 is thousands of errors below zero, whatever the unit."""
    flux = SHAPE.copy()
    flux[10:20] = -999.0
    unit = u.erg / (u.s * u.cm**2 * u.AA)
    for scale, given in ((1.0, FLUX_UNIT), (1e-17, unit)):
        spectrum = Spectrum(
            flux=flux * scale * given,
            spectral_axis=GRID * u.AA,
            uncertainty=StdDevUncertainty(np.full(SHAPE.shape, 0.05) * scale * given),
        )
        assert np.flatnonzero(to_arrays(spectrum).mask[0]).tolist() == list(range(10, 20))


def test_a_descending_axis_turns_everything_that_belongs_to_it():
    lsf = np.linspace(1.0, 2.0, GRID.size)
    noise = np.linspace(0.1, 0.2, GRID.size)
    mask = GRID > 4900
    there = to_arrays(from_arrays(GRID, SHAPE, sigma=noise, mask=mask, lsf=lsf))
    back = to_arrays(
        from_arrays(GRID[::-1], SHAPE[::-1], sigma=noise[::-1], mask=mask[::-1], lsf=lsf[::-1])
    )
    for name in ("wavelength", "flux", "sigma", "mask", "lsf"):
        np.testing.assert_array_equal(getattr(back, name), getattr(there, name), err_msg=name)
    np.testing.assert_array_equal(there.lsf, lsf)


@pytest.mark.parametrize(("hint", "kept"), [(-0.5, True), (-1.0, False), (-1.5, False), (7, True)])
def test_hints_below_minus_one_are_none(hint, kept):
    found = to_arrays(from_arrays(GRID, SHAPE, redshift=hint)).redshift
    assert (found is not None) == kept
    assert not kept or found.tolist() == [hint]


@pytest.mark.parametrize("step", [1e-3, 0.1, 1.0, 100.0])
def test_no_width_changes_nothing_on_any_grid(step):
    wavelength = 5000.0 + step * np.arange(300)
    np.testing.assert_allclose(smooth(SHAPE[:300], wavelength, 0.0), SHAPE[:300], rtol=1e-12)


def test_filler_where_nothing_was_seen_is_finite():
    """Zero for NaN, as for what is masked with ivar 0; what was seen is the plain mean."""
    flux = 1.0 + 0 * LOGARITHMIC
    hole = (LOGARITHMIC > 5000) & (LOGARITHMIC < 5100)
    ivar = np.where(hole, 0.0, 1.0)
    for filler, want in ((np.nan, 0.0), (3.0, 3.0)):
        smoothed, weight = to_training_grid(LOGARITHMIC, np.where(hole, filler, flux), ivar)
        deep = (WAVELENGTH > 5020) & (WAVELENGTH < 5080)
        np.testing.assert_allclose(smoothed[deep], want)
        assert not weight[deep].any()
        far = (WAVELENGTH < 4980) | (WAVELENGTH > 5120)
        np.testing.assert_allclose(smoothed[far], 1.0)


def test_base_grid_of_any_number_of_axes():
    flux = np.arange(2 * 3 * 4500.0).reshape(2, 3, 4500)
    found = to_base_grid(flux)
    assert found.shape == (2, 3, 563)
    np.testing.assert_array_equal(found[1, 2], to_base_grid(flux[1, 2]))


def test_gaps_of_a_line_spread_function_are_bridged():
    """NaN, infinite or masked at some samples: in between, and as the next at the ends."""
    lsf = np.linspace(1.0, 2.0, GRID.size)
    holes = lsf.copy()
    holes[5:9], holes[20] = np.nan, np.inf
    masked = np.ma.masked_array(lsf, np.arange(lsf.size) < 3)
    rows = np.array([lsf, holes])
    flux = np.array([SHAPE, SHAPE])
    np.testing.assert_allclose(to_arrays(from_arrays(GRID, SHAPE, lsf=holes)).lsf, lsf)
    np.testing.assert_allclose(to_arrays(from_arrays(GRID, flux, lsf=rows)).lsf, [lsf, lsf])
    ends = to_arrays(from_arrays(GRID, SHAPE, lsf=masked)).lsf
    np.testing.assert_allclose(ends, np.maximum(lsf, lsf[3]))
    for bad, word in ((np.full(lsf.size, np.nan), "no finite one"), (-lsf, "negative ones")):
        with pytest.raises(InputError, match=f"lsf_sigma.*not negative, got {word}"):
            to_arrays(from_arrays(GRID, SHAPE, lsf=bad))
