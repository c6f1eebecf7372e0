"""Galactic extinction of images: how much an image says there is."""

import numbers

import numpy as np
from astropy import units as u

from photospec.dust import ASSUMED_EBV, MAX_EBV
from photospec.errors import InputError

__all__ = ["EBV_ASSUMED", "check_ebv", "image_ebv"]

#: Flag of images that do not say how much dust of the Milky Way lies before them.
EBV_ASSUMED = "galactic_ebv_assumed"


def check_ebv(value, name="galactic_ebv"):
    """E(B-V) as a float, mag.

    Parameters
    ----------
    value : float or Quantity
        Mag, on the scale of the map of Schlegel, Finkbeiner & Davis (1998).
    name : str
        What to call it in an error.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If it is not one number from 0 to 5.

    Examples
    --------
    >>> from photospec.image.extinction import check_ebv
    >>> check_ebv(0.12)
    0.12
    """
    given = value
    if isinstance(value, u.Quantity):
        try:
            value = value.to_value(u.mag)
        except u.UnitConversionError:
            raise InputError(f"{name}: expected E(B-V) in mag, got {given}") from None
    if isinstance(value, np.ndarray) and value.ndim == 0 and not np.ma.is_masked(value):
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise InputError(
            f"{name}: expected one number, E(B-V) in mag, got {given!r}; give one per image"
        )
    if not 0 <= value <= MAX_EBV:
        raise InputError(
            f"{name}: expected E(B-V) from 0 to {MAX_EBV:g} mag, got {value:g}; is it another "
            "quantity, or a mark for a missing one?"
        )
    return float(value)


def image_ebv(meta):
    """E(B-V) (mag) of ``meta["galactic_ebv"]``, and whether it is only assumed.

    Parameters
    ----------
    meta : mapping

    Returns
    -------
    ebv : float
    assumed : bool
        True where there is none: then it is `photospec.dust.ASSUMED_EBV`.
    """
    value = meta.get("galactic_ebv")
    if value is None:
        return ASSUMED_EBV, True
    return check_ebv(value, 'meta["galactic_ebv"]'), False
