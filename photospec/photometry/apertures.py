"""Flux within circles, exact at the pixel edges."""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from photutils.geometry import circular_overlap_grid

from photospec.errors import InputError

__all__ = ["aperture_flux", "aperture_weights"]


@lru_cache(maxsize=64)
def aperture_weights(
    shape: tuple[int, int], radius: float, center: tuple[float, float] | None = None
) -> np.ndarray:
    """Return the fraction of each pixel that lies within a circle.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx).
    radius : float
        Pixels.
    center : tuple of float, optional
        (x, y) in pixels, 0 at the centre of the first pixel. Default: the centre of
        pixel ``(nx // 2, ny // 2)``, where targets lie in this package.

    Returns
    -------
    ndarray (ny, nx)
        Read-only; sums to the area of the circle in pixels.

    Raises
    ------
    InputError
        If the circle reaches beyond the image.
    """
    ny, nx = shape
    x, y = center if center is not None else (nx // 2, ny // 2)
    inside = radius <= min(x, y) + 0.5 and x + radius <= nx - 0.5 and y + radius <= ny - 0.5
    if not (radius > 0 and inside):
        raise InputError(
            f"radius: expected an aperture within the {nx} x {ny} image, got {radius:.2f} pixels "
            f"around ({x:.1f}, {y:.1f}); is the image too small or the radius in another unit?"
        )
    weights = circular_overlap_grid(
        -0.5 - x, nx - 0.5 - x, -0.5 - y, ny - 0.5 - y, nx, ny, radius, 1, 1
    )
    weights.flags.writeable = False
    return weights


def aperture_flux(
    data: ArrayLike,
    radius: float,
    *,
    pixel_scale: float = 0.396,
    center: tuple[float, float] | None = None,
) -> float | np.ndarray:
    """Sum images over a circular aperture, with exact weights at its edge.

    Parameters
    ----------
    data : array_like (..., n_bands, ny, nx)
        Flux per pixel.
    radius : float
        Arcsec.
    pixel_scale : float
        Arcsec per pixel.
    center : tuple of float, optional
        (x, y) in pixels; default the centre of pixel ``(nx // 2, ny // 2)``.

    Returns
    -------
    ndarray (..., n_bands)
        In the unit of `data`.

    Raises
    ------
    InputError
        If the circle reaches beyond the image.
    """
    data = np.asarray(data)
    if data.ndim < 2:
        raise InputError(f"data: expected (..., n_bands, ny, nx), got shape {data.shape}")
    center = None if center is None else (float(center[0]), float(center[1]))
    weights = aperture_weights(data.shape[-2:], float(radius) / float(pixel_scale), center)
    rows = np.flatnonzero(weights.any(axis=1))
    columns = np.flatnonzero(weights.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    weights = weights[box].astype(data.dtype if data.dtype.kind == "f" else float)
    return np.einsum("...yx,yx->...", data[(..., *box)], weights)
