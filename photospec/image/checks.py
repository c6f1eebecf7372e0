"""Checks of the image gate: what cannot be used is refused in one line."""

import numpy as np
from astropy.nddata import NDData, StdDevUncertainty

from photospec.errors import InputError
from photospec.image.units import band_names

__all__ = ["check_values", "choose_bands", "image_arrays"]

# Least part of the crop that must be on the image, and of each band that must be good.
_LEAST_COVERED = 0.5
_LEAST_GOOD = 0.5


def image_arrays(image):
    """Take data, mask and uncertainty out of an NDData.

    Parameters
    ----------
    image : NDData

    Returns
    -------
    data : ndarray (n_bands, ny, nx)
        Floating point, native byte order.
    mask : ndarray of bool, same shape
    uncertainty : ndarray or None
        Standard deviations in the unit of the image.

    Raises
    ------
    InputError
        If it is no NDData or has another shape.
    """
    if not isinstance(image, NDData):
        raise InputError(
            f"image: expected an astropy NDData, got {type(image).__name__}; "
            "wrap arrays as NDData(data, unit='nmgy', meta={'bands': 'ugriz', 'pixel_scale': ...})"
        )
    data = np.asarray(image.data)
    if data.dtype.kind not in "fiu":
        raise InputError(f"image: expected real numbers, got {data.dtype}")
    if data.ndim != 3 or 0 in data.shape:
        cause = "is it a single band?" if data.ndim == 2 else "give one galaxy at a time"
        raise InputError(f"image: expected shape (n_bands, ny, nx), got {data.shape}; {cause}")
    if data.dtype.kind != "f" or not data.dtype.isnative:
        data = data.astype(data.dtype.newbyteorder("=") if data.dtype.kind == "f" else float)
    mask = np.zeros(data.shape, bool)
    if image.mask is not None:
        try:
            mask |= np.asarray(image.mask, dtype=bool)
        except ValueError:
            raise InputError(
                f"image.mask: expected shape {data.shape}, got {np.shape(image.mask)}"
            ) from None
    uncertainty = None
    if image.uncertainty is not None:
        try:
            with np.errstate(divide="ignore", invalid="ignore"):
                deviation = image.uncertainty.represent_as(StdDevUncertainty)
            unit = deviation.unit or image.unit
            uncertainty = np.asarray(deviation.array, dtype=float)
            if unit is not None and unit != image.unit:
                uncertainty = uncertainty * unit.to(image.unit)
            uncertainty = np.broadcast_to(uncertainty, data.shape)
        except (TypeError, AttributeError, ValueError):
            raise InputError(
                "image.uncertainty: expected a standard deviation, variance or inverse variance "
                f"of shape {data.shape} in the unit of the image, got "
                f"{type(image.uncertainty).__name__}"
            ) from None
    return data, mask, uncertainty


def choose_bands(image, data, mask, uncertainty, bands):
    """Put the bands of an image in order.

    Parameters
    ----------
    image : NDData
        Says its bands in ``meta["bands"]``.
    data, mask, uncertainty : ndarray
        As from `image_arrays`.
    bands : tuple of str
        Bands wanted.

    Returns
    -------
    data, mask, uncertainty : ndarray
        With the bands wanted.
    name : str
        Name of the image for messages, with a space in front, or nothing.

    Raises
    ------
    InputError
        If bands are not named, unknown, too many or too few.
    """
    there = image.meta.get("bands") if image.meta is not None else None
    if there is None:
        raise InputError(
            f"meta['bands']: expected the names of the {len(data)} bands, got none; "
            "set it, for example to ('u', 'g', 'r', 'i', 'z')"
        )
    there = band_names(there, "meta['bands']")
    if len(there) != len(data):
        last = " (bands come first, not last)" if data.shape[-1] == len(there) else ""
        raise InputError(
            f"image: expected {len(there)} bands ({', '.join(there)}) along the first axis, got "
            f"shape {data.shape}{last}"
        )
    missing = [band for band in bands if band not in there]
    if missing:
        raise InputError(
            f"image: expected bands {', '.join(bands)}, got {', '.join(there)}: no "
            f"{', '.join(missing)}; predictions need all bands that the weights were trained on"
        )
    name = image.meta.get("name")
    name = f" {name}" if isinstance(name, str) else ""
    if there == bands:
        return data, mask, uncertainty, name
    order = [there.index(band) for band in bands]
    return data[order], mask[order], None if uncertainty is None else uncertainty[order], name


def check_values(data, bad, outside, bands):
    """Refuse an image that has too little to see.

    Parameters
    ----------
    data : ndarray (n_bands, ny, nx)
    bad : ndarray of bool, same shape
    outside : ndarray (ny, nx) of bool
        Pixels that are not on the image.
    bands : tuple of str

    Raises
    ------
    InputError
        If too much is outside or bad, or a band is constant.
    """
    size = outside.size
    covered = 1 - np.count_nonzero(outside) / size
    if covered < _LEAST_COVERED:
        raise InputError(
            f"image: expected at least {_LEAST_COVERED:.0%} of the crop on the image, got "
            f"{covered:.0%} of {outside.shape[0]} x {outside.shape[1]} pixels; is the image too "
            "small or the target at its edge?"
        )
    good_fraction = 1 - np.count_nonzero(bad & ~outside, axis=(1, 2)) / (size * covered)
    for band, values, hidden, good in zip(bands, data, bad, good_fraction):
        if good < 1e-9:
            raise InputError(
                f"image: expected numbers, got none in band {band} (all NaN or masked); "
                "is the target outside the survey, or the band missing?"
            )
        if good < _LEAST_GOOD:
            raise InputError(
                f"image: expected at least {_LEAST_GOOD:.0%} good pixels, got {good:.0%} in band "
                f"{band}; is the target at the edge of the survey?"
            )
        use = values[~hidden] if hidden.any() else values
        if use.min() == use.max():
            raise InputError(
                f"image: expected a signal, got {use.flat[0]:g} in every pixel of band {band}; "
                "is the band missing?"
            )
