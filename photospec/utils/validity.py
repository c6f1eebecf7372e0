"""Which samples hold information: one rule, for spectra and images alike.

Pipelines mark a sample without information in many ways: a mask, NaN, an inverse variance of
zero, an error that is negative, zero, infinite, or absurdly large. `usable` knows all of
them, so that each reader and each gate agrees on what a bad sample is.
"""

import numpy as np
from astropy.nddata import InverseVariance, StdDevUncertainty, VarianceUncertainty

__all__ = ["HUGE", "SIGMA_RANGE", "standard_deviation", "to_sigma", "usable"]

#: Numbers as large as this are fill values (1e20, 1e30, the largest float32), no fluxes: in
#: nanomaggies it is brighter than the Sun, and no unit in use has fluxes as large.
HUGE = 1e20
#: Errors further than this factor from those of the other samples are marks, no errors: the
#: weight of such a sample would be a millionth, or a million times, that of its neighbours.
#: Errors within one real SDSS spectrum differ by a factor of at most 31.
SIGMA_RANGE = 1e3
# The error that others are compared with is a low quantile of the sample errors, not their
# median: marks of bad samples are nearly always too large, and may be the majority (a dead arm).
_QUANTILE = 0.1


def usable(values, sigma=None, mask=None, *, axis=-1):
    """Tell which samples hold information.

    Parameters
    ----------
    values : array_like
        Fluxes, in the unit in which they came: fill values are known by their size.
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
        return good
    sigma = np.broadcast_to(np.asarray(sigma, dtype=float), values.shape)
    good &= (sigma > 0) & (sigma < np.inf)
    reference = _typical(sigma, good, axis)
    # Products, not quotients: an error may be as small as the smallest float.
    return good & (sigma <= SIGMA_RANGE * reference) & (sigma * SIGMA_RANGE >= reference)


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
