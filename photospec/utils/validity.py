"""Which samples hold information: one rule, for spectra and images alike.

Pipelines mark a sample without information in many ways: a mask, NaN, an inverse variance of
zero, an error that is negative, zero, infinite, or absurdly large, a value such as -999. `usable`
knows all of them, so that each reader and each gate agrees on what a bad sample is.
"""

import warnings

import numpy as np
from astropy import units as u
from astropy.nddata import InverseVariance, StdDevUncertainty, VarianceUncertainty
from astropy.utils.masked import Masked

__all__ = ["HUGE", "SIGMA_RANGE", "plain_numbers", "standard_deviation", "to_sigma", "usable"]

#: Numbers as large as this are fill values (1e20, 1e30, the largest float32), no fluxes: in
#: nanomaggies it is brighter than the Sun, and no unit in use has fluxes as large.
HUGE = 1e20
#: Errors further than this factor from those of the other samples are marks, no errors: the
#: weight of such a sample would be a millionth, or a million times, that of its neighbours.
#: Errors within one real SDSS spectrum differ by a factor of at most 31.
SIGMA_RANGE = 1e3
# Without errors a value further below zero than this times the largest one is a mark such as -999:
# noise reaches as far up as down.
_BELOW = 3
# The error that others are compared with is a low quantile of the sample errors, not their
# median: marks of bad samples are nearly always too large, and may be the majority (a dead arm).
_QUANTILE = 0.1


def usable(values, sigma=None, mask=None, *, axis=-1):
    """Tell which samples hold information.

    Parameters
    ----------
    values : array_like
        Fluxes, in the unit in which they came (fill values are known by their size) and, where
        `sigma` is given, in its unit.
    sigma : array_like, optional
        Standard deviations, broadcast to the shape of `values`. Make them with `to_sigma` or
        `standard_deviation`, which keep the sign of an error and turn an inverse variance
        that is not positive into NaN.
    mask : array_like of bool, optional
        True = bad.
    axis : int or tuple of int
        Axes along which the samples belong together: their errors are compared. The last one
        for spectra, the last two for images.

    Returns
    -------
    ndarray of bool, same shape as `values`
        True where the value is finite and below `HUGE`, not masked, and its error (where
        there are errors) is finite, positive, and within a factor `SIGMA_RANGE` of the others.
        A value further below zero than `SIGMA_RANGE` times its error is a mark (-999) and no
        noise; without errors, one further below than three times the largest value.

    Examples
    --------
    >>> from photospec.utils.validity import usable
    >>> usable([1.0, 2.0, float("nan"), 4.0], sigma=[0.1, -1.0, 0.1, 1e10])
    array([ True, False, False, False])
    """
    values = np.asarray(values)
    if values.dtype == np.float16:  # which has no number as large as HUGE
        values = values.astype(np.float32)
    good = np.abs(values) < HUGE  # False for NaN
    if mask is not None:
        good &= ~np.asarray(mask, dtype=bool)
    if sigma is None:
        return good & _not_far_below(values, good, axis)
    sigma = np.broadcast_to(np.asarray(sigma, dtype=float), values.shape)
    good &= (sigma > 0) & (sigma < np.inf)
    reference = _typical(sigma, good, axis)
    # Products, not quotients: an error may be as small as the smallest float.
    good &= (sigma <= SIGMA_RANGE * reference) & (sigma * SIGMA_RANGE >= reference)
    with np.errstate(invalid="ignore", over="ignore"):
        return good & (values >= -SIGMA_RANGE * sigma)


def _not_far_below(values, good, axis):
    """Tell False for values without errors that are marks: far below zero, seen from the largest
    one.
    """
    where = True if good.all() else good  # which takes a tenth of the time
    low, high = (
        extreme(values, axis=axis, where=where, initial=0, keepdims=True).astype(float)
        for extreme in (np.min, np.max)
    )
    if not (low < -_BELOW * high).any():
        return True
    # Where most values are negative their own size is what others are compared with.
    size = np.abs(np.where(good, values, np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where nothing is good
        typical = np.nanmedian(size, axis=axis, keepdims=True)
    return values >= -_BELOW * np.maximum(high, np.nan_to_num(typical))


def _typical(sigma, good, axis):
    """Return the low quantile of the errors of usable samples along `axis`, kept as axes of length
    one.
    """
    axes = {index % sigma.ndim for index in np.atleast_1d(axis)} if sigma.ndim else set()
    typical = np.ones([1 if i in axes else n for i, n in enumerate(sigma.shape)])
    for index in np.ndindex(typical.shape):
        group = tuple(slice(None) if i in axes else n for i, n in enumerate(index))
        errors = sigma[group][good[group]]
        if errors.size:
            k = int(_QUANTILE * (errors.size - 1))
            typical[index] = np.partition(errors, k)[k]
    return typical


def plain_numbers(values, unit=None, equivalencies=()):
    """Turn numbers of any make into an array, without losing what they say of themselves.

    Parameters
    ----------
    values : array_like, Quantity, Column, or a masked form of these
        Numbers without a unit are taken to be in `unit`.
    unit : Unit, optional
        Wanted.
    equivalencies : list
        Of astropy, for the conversion.

    Returns
    -------
    ndarray
        NaN where values are masked. Types of floats are kept; a copy is made only where needed.

    Raises
    ------
    UnitConversionError
        If the unit is of another kind.
    TypeError, ValueError
        If they are no numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from photospec.utils.validity import plain_numbers
    >>> plain_numbers(np.ma.array([1.0, 2.0], mask=[False, True]))
    array([ 1., nan])
    >>> plain_numbers([400.0] * u.nm, u.AA)
    array([4000.])
    """
    own = getattr(values, "unit", None)
    bare = getattr(values, "value", values) if isinstance(values, u.Quantity) else values
    if isinstance(bare, Masked):
        bare = np.ma.array(bare.unmasked, mask=bare.mask)
    if bare is np.ma.masked or np.ma.is_masked(bare):
        bare = np.ma.filled(np.ma.asarray(bare).astype(float), np.nan)
    bare = np.asarray(bare)
    if own is None or unit is None:
        return bare
    return u.Quantity(bare, own).to_value(unit, equivalencies)


def to_sigma(values, kind):
    """Turn any kind of uncertainty into standard deviations.

    Parameters
    ----------
    values : array_like
        Uncertainties.
    kind : str
        ``"std"``, ``"var"`` (variance) or ``"ivar"`` (inverse variance).

    Returns
    -------
    ndarray of float
        Standard deviations; NaN for a variance or inverse variance that is negative, and for
        an inverse variance of zero. A standard deviation keeps its sign: `usable` refuses
        negative ones.

    Examples
    --------
    >>> from photospec.utils.validity import to_sigma
    >>> to_sigma([4.0, 0.0, -1.0], "ivar")
    array([0.5, nan, nan])
    """
    values = np.asarray(values, dtype=float)
    if kind == "std":
        return values
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if kind == "var":
            return np.sqrt(values)
        if kind == "ivar":
            return np.where(values > 0, 1 / np.sqrt(values), np.nan)
    raise ValueError(f"kind: expected 'std', 'var' or 'ivar', got {kind!r}")


def standard_deviation(uncertainty):
    """Read the standard deviations of an NDUncertainty, and the unit they are in.

    astropy's own ``represent_as`` squares and takes the root, so that a negative standard
    deviation, a mark of a bad sample, comes out positive.

    Parameters
    ----------
    uncertainty : astropy.nddata.NDUncertainty
        A standard deviation, variance or inverse variance.

    Returns
    -------
    sigma : ndarray of float
        As from `to_sigma`.
    unit : astropy.units.Unit or None
        None where the uncertainty has no unit of its own: then it is that of the data.

    Raises
    ------
    TypeError
        If it is of another kind.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.nddata import InverseVariance
    >>> from photospec.utils.validity import standard_deviation
    >>> standard_deviation(InverseVariance([4.0, 0.0], unit=u.Jy**-2))
    (array([0.5, nan]), Unit("Jy"))
    """
    kinds = {StdDevUncertainty: ("std", 1), VarianceUncertainty: ("var", 2)}
    kinds[InverseVariance] = ("ivar", -2)
    for cls, (kind, power) in kinds.items():
        if isinstance(uncertainty, cls):
            unit = None if uncertainty.unit is None else uncertainty.unit ** (1 / power)
            return to_sigma(uncertainty.array, kind), unit
    raise TypeError(
        "uncertainty: expected a standard deviation, variance or inverse variance, got "
        f"{type(uncertainty).__name__}"
    )
