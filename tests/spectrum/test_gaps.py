"""Samples that were taken out of a spectrum are missing data, as if they were masked."""

import numpy as np
import pytest

from photospec.errors import InputError
from photospec.spectrum import (
    SMOOTHING,
    WAVELENGTH,
    SpectrumArrays,
    fill_gaps,
    fill_missing,
    from_arrays,
    rebin,
    smooth,
    to_arrays,
    to_training_grid,
)

LOGARITHMIC = 10 ** np.arange(3.58, 3.96, 1e-4)
LINEAR = np.arange(3800.0, 9000.0, 1.25)


@pytest.mark.parametrize("grid", [LOGARITHMIC, LINEAR, LOGARITHMIC.astype("f4").astype(float)])
@pytest.mark.parametrize(
    "holes", [[(500, 501)], [(500, 540)], [(500, 502), (503, 505)], [(1000, 1600)], [(1, 4)]]
)
def test_what_was_taken_out_is_put_back(grid, holes):
    keep = np.ones(grid.size, bool)
    for first, last in holes:
        keep[first:last] = False
    filled, place = fill_gaps(grid[keep])
    assert filled.size == grid.size
    np.testing.assert_allclose(filled, grid, rtol=2e-7)
    np.testing.assert_array_equal(place, np.flatnonzero(keep))


@pytest.mark.parametrize(
    "grid",
    [
        LOGARITHMIC,
        LINEAR,
        WAVELENGTH,
        np.round(np.arange(3800, 9000, 1.4)),  # steps of 1 and 2
        np.round(np.arange(3800, 9000, 1.25), 1),
        np.r_[np.arange(3000, 5500, 0.2), np.arange(5500.1, 9000, 0.6)],  # two arms
        np.r_[np.arange(3000, 5500, 0.6), np.arange(5500.1, 9000, 0.2)],
        1e4 / np.linspace(3.0, 1.0, 500),  # even in wavenumber
        np.geomspace(1000, 1e5, 60),
        np.array([1.0, 2.0]),
        np.array([5000.0]),
    ],
)
def test_nothing_is_put_where_nothing_is_missing(grid):
    filled, place = fill_gaps(grid)
    np.testing.assert_array_equal(filled, grid)
    np.testing.assert_array_equal(place, np.arange(grid.size))


def test_scattered_samples_taken_out():
    keep = np.random.default_rng(0).random(LOGARITHMIC.size) > 0.03
    keep[[0, -1]] = True
    np.testing.assert_allclose(fill_gaps(LOGARITHMIC[keep])[0], LOGARITHMIC, rtol=1e-12)


def test_one_stray_wavelength_takes_no_memory():
    filled, place = fill_gaps(np.append(LINEAR, 1e30))
    assert filled.size < 1.5 * LINEAR.size
    assert np.all(np.diff(filled) > 0)
    assert filled[place[-1]] == 1e30
    # The last sample before it is as wide as its neighbours.
    assert filled[LINEAR.size] - filled[LINEAR.size - 1] == pytest.approx(1.25)


def test_arrays_get_masked_samples():
    keep = np.ones(LINEAR.size, bool)
    keep[400:440] = False
    flux = np.stack([LINEAR, 2 * LINEAR])
    made = from_arrays(
        LINEAR[keep],
        flux[:, keep],
        sigma=0.1 * flux[:, keep],
        lsf=LINEAR[keep] / 4000,
        redshift=0.1,
    )
    arrays = to_arrays(made)
    np.testing.assert_allclose(arrays.wavelength, LINEAR)
    np.testing.assert_array_equal(arrays.mask, np.stack([~keep, ~keep]))
    np.testing.assert_array_equal(arrays.flux, np.where(keep, flux, 0))
    np.testing.assert_array_equal(arrays.sigma, np.where(keep, 0.1 * flux, np.inf))
    np.testing.assert_allclose(arrays.lsf, LINEAR / 4000)
    np.testing.assert_array_equal(arrays.redshift, [0.1, 0.1])
    rows = np.stack([LINEAR / 4000, LINEAR / 5000])[:, keep]
    lsf = to_arrays(from_arrays(LINEAR[keep], flux[:, keep], lsf=rows)).lsf
    np.testing.assert_allclose(lsf, np.stack([LINEAR / 4000, LINEAR / 5000]))


def test_arrays_given_directly():
    keep = np.ones(LINEAR.size, bool)
    keep[400:440] = False
    bare = SpectrumArrays(LINEAR[keep], LINEAR[None, keep], None, None, lsf=1.5)
    arrays = fill_missing(bare)
    assert arrays.lsf == 1.5
    assert arrays.sigma is None
    np.testing.assert_array_equal(arrays.mask[0], ~keep)
    assert fill_missing(arrays) is arrays


def test_rebinning_does_not_bridge():
    keep = (LINEAR < 5000) | (LINEAR > 5100)
    new = np.arange(4900.0, 5200.0, 2.5)
    whole, holed = rebin(LINEAR, LINEAR, new), rebin(LINEAR[keep], LINEAR[keep], new)
    inside = (new > 4998) & (new < 5102)
    assert np.isnan(holed[inside]).all()
    outside = (new < 4997) | (new > 5103)
    np.testing.assert_allclose(holed[outside], whole[outside])
    bridged = rebin(LINEAR[keep], LINEAR[keep], new, bridge_gaps=True)
    assert np.isfinite(bridged[inside]).all()


def test_smoothing_does_not_bridge():
    keep = (LINEAR < 5000) | (LINEAR > 5100)
    flux = np.where(LINEAR < 5050, 1.0, 3.0)
    smoothed = smooth(flux[keep], LINEAR[keep], 4.0, new_wavelength=LINEAR)
    assert np.isnan(smoothed[~keep]).all()
    # Beside the gap each side keeps its own level: nothing leaks from the other.
    np.testing.assert_allclose(smoothed[keep], flux[keep], atol=1e-6)
    np.testing.assert_allclose(smooth(flux[keep], LINEAR[keep], 4.0), flux[keep], atol=1e-6)
    far = smooth(flux[keep], LINEAR[keep], 4.0, new_wavelength=LINEAR, bridge_gaps=True)
    assert np.isfinite(far).all()


def test_training_grid_needs_to_know_what_is_missing():
    keep = (LINEAR < 6000) | (LINEAR > 6060)
    with pytest.raises(InputError, match=r"samples missing .then ivar is needed"):
        to_training_grid(LINEAR[keep], LINEAR[keep])
    flux, ivar = to_training_grid(LINEAR[keep], LINEAR[keep], np.ones(keep.sum()))
    masked = np.where(keep, 1.0, 0.0)
    expected = to_training_grid(LINEAR, np.where(keep, LINEAR, 0), masked)
    np.testing.assert_allclose(ivar, expected[1])
    np.testing.assert_allclose(flux, expected[0])
    inside = np.abs(WAVELENGTH - 6030) < 30 - SMOOTHING
    assert not ivar[inside].any()


def test_a_sample_missing_in_an_arm_of_finer_steps():
    """Seen from its neighbours it is a gap, though steps as large occur elsewhere."""
    grid = np.r_[np.arange(4000.0, 5000.0, 2.0), np.arange(5001.0, 6000.0)]
    missing = np.searchsorted(grid, [5300.0, 5301.0, 5700.0])
    filled, place = fill_gaps(np.delete(grid, missing))
    np.testing.assert_allclose(filled, grid)
    assert np.array_equal(np.setdiff1d(np.arange(grid.size), place), missing)


def test_half_of_a_logarithmic_grid():
    """Steps grow by half across the gap; the number of samples is that of the grid."""
    grid = 10 ** np.arange(3.6, 3.95, 1e-4)
    keep = (grid < 5000) | (grid > 8000)
    filled, place = fill_gaps(grid[keep])
    np.testing.assert_allclose(filled, grid, rtol=1e-9)
    assert np.array_equal(np.sort(place), np.flatnonzero(keep))
