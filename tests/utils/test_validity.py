"""The one rule for samples without information."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import (
    InverseVariance,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.table import Column, MaskedColumn
from astropy.utils.masked import Masked

from photospec.utils.validity import HUGE, plain_numbers, standard_deviation, to_sigma, usable


@pytest.mark.parametrize("mark", [np.nan, np.inf, -np.inf, 1e20, -1e20, 1e30, 3.4e38])
def test_values_that_are_no_flux(mark):
    values = np.ones(100, dtype="f4")
    values[7] = mark
    assert np.flatnonzero(~usable(values)).tolist() == [7]


@pytest.mark.parametrize("mark", [0.0, -1.0, np.nan, np.inf, -np.inf, 1e10, 1100.0, 1e-10, 9e-4])
def test_errors_that_are_marks(mark):
    sigma = np.ones((2, 100))
    sigma[1, 7] = mark
    good = usable(np.ones((2, 100)), sigma)
    assert np.argwhere(~good).tolist() == [[1, 7]]


def test_errors_of_real_data_are_kept():
    # A factor of a hundred between the ends of one spectrum, and rows in units of their own.
    sigma = np.geomspace(1, 100, 500) * np.array([[1e-6], [1.0], [1e6]])
    assert usable(np.zeros(sigma.shape), sigma).all()


def test_marks_may_be_the_majority():
    sigma = np.r_[np.full(200, 1e10), np.ones(100)]
    assert usable(np.ones(300), sigma).tolist() == [False] * 200 + [True] * 100


def test_masked_errors_are_not_compared():
    sigma = np.r_[np.full(50, 1e-8), np.ones(50)]
    mask = np.arange(100) < 50
    assert np.array_equal(usable(np.ones(100), sigma, mask), ~mask)


def test_errors_are_compared_along_the_axes_asked_for():
    # One band in which all errors are large is not bad, and neither are single numbers.
    sigma = np.ones((2, 4, 5))
    sigma[1] = 1e6
    assert usable(np.ones(sigma.shape), sigma, axis=(-2, -1)).all()
    assert np.array_equal(usable(np.ones(sigma.shape), sigma, axis=(0, 1, 2)), sigma == 1)
    assert usable(1.0, 2.0).all()
    assert usable(np.zeros((0, 3)), 1.0).shape == (0, 3)
    assert not usable(np.ones((2, 3)), np.zeros((2, 3))).any()


def test_to_sigma():
    values = [4.0, 0.0, -4.0, np.inf, np.nan, 5e-324]
    assert np.array_equal(to_sigma(values, "std"), values, equal_nan=True)
    variance = [2, 0, np.nan, np.inf, np.nan]
    assert np.array_equal(to_sigma(values[:5], "var"), variance, equal_nan=True)
    assert np.array_equal(
        to_sigma(values[:5], "ivar"), [0.5, np.nan, np.nan, 0, np.nan], equal_nan=True
    )
    with pytest.raises(ValueError, match="kind"):
        to_sigma(values, "sigma")


@pytest.mark.parametrize(
    ("uncertainty", "sigma"),
    [
        (StdDevUncertainty([-2.0, 2.0], unit=u.Jy), [-2.0, 2.0]),
        (VarianceUncertainty([-4.0, 4.0], unit=u.Jy**2), [np.nan, 2.0]),
        (InverseVariance([0.0, 0.25], unit=u.Jy**-2), [np.nan, 2.0]),
    ],
)
def test_standard_deviation_keeps_marks_and_unit(uncertainty, sigma):
    found, unit = standard_deviation(uncertainty)
    assert np.array_equal(found, sigma, equal_nan=True)
    assert unit == u.Jy
    assert standard_deviation(type(uncertainty)([1.0]))[1] is None


def test_standard_deviation_of_nobody_knows_what():
    with pytest.raises(TypeError, match="UnknownUncertainty"):
        standard_deviation(UnknownUncertainty([1.0]))


def test_huge_is_brighter_than_the_sun():
    assert 22.5 - 2.5 * np.log10(HUGE) < -26.7


def test_short_floats_and_integers():
    assert usable(np.array([1, np.inf], np.float16)).tolist() == [True, False]
    assert usable(np.array([1, -5], np.int32), np.array([2, -1])).tolist() == [True, False]


@pytest.mark.parametrize("mark", [-999.0, -9999.0, -99.0, -32768.0])
def test_values_far_below_zero_are_marks(mark):
    """No noise goes there: seen from the error, or else from the largest value."""
    values = np.random.default_rng(0).normal(0, 0.02, (2, 50, 50))
    values[:, 20:30, 20:30] += 10
    values[1, 3, 4] = mark
    found = np.argwhere(~usable(values, axis=(-2, -1))).tolist()
    assert found == [[1, 3, 4]]
    sigma = np.full(values.shape, 0.02)
    assert np.argwhere(~usable(values, sigma, axis=(-2, -1))).tolist() == [[1, 3, 4]]
    # A star as bright as the mark is deep says that such numbers occur; errors know better.
    values[1, 40, 40] = -mark
    assert usable(values, axis=(-2, -1)).all()
    assert np.argwhere(~usable(values, sigma, axis=(-2, -1))).tolist() == [[1, 3, 4]]


def test_what_noise_and_oversubtraction_make_is_no_mark():
    noise = np.random.default_rng(1).normal(size=(3, 1000))
    assert usable(noise).all()
    assert usable(noise - 2).all()
    assert usable(-10 + 0.1 * noise).all()
    assert usable(np.zeros((2, 5))).all()
    assert usable(-900.0 + noise, np.ones(1000)).all()
    assert not usable(-1100.0 + noise, np.ones(1000)).any()
    bad = noise[0] > -np.inf
    assert not usable(noise[0], mask=bad).any()
    assert usable(np.array([200, 0, 7], np.uint8)).all()


@pytest.mark.parametrize("make", [np.ma.array, MaskedColumn, Masked])
def test_masked_numbers_are_nan(make):
    hidden = [False, True, False]
    plain = plain_numbers(make(np.array([1.0, 0.0, 3.0]), mask=hidden))
    assert type(plain) is np.ndarray
    np.testing.assert_array_equal(plain, [1.0, np.nan, 3.0])


def test_masked_numbers_with_a_unit():
    hidden = [False, True]
    for values in (
        MaskedColumn([1.0, 0.0], mask=hidden, unit="nm"),
        Masked([1.0, 0.0] * u.nm, mask=hidden),
    ):
        np.testing.assert_allclose(plain_numbers(values, u.AA), [10.0, np.nan])


def test_numbers_keep_type_and_change_unit():
    assert np.isnan(plain_numbers(np.ma.masked))
    assert plain_numbers(np.ones(2, np.float32)).dtype == np.float32
    assert plain_numbers([1, 2], u.AA).tolist() == [1, 2]
    assert plain_numbers(Column([1.0, 2.0], unit="nm"), u.AA) == pytest.approx([10.0, 20.0])
    assert plain_numbers(Masked(2.0 * u.nm, mask=False), u.AA) == pytest.approx(20)
    with pytest.raises(u.UnitConversionError):
        plain_numbers(3 * u.kg, u.AA)
