"""Pixel work on image cubes: filling, cropping, resampling, noise. Arrays only."""

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.ndimage import gaussian_filter

from photospec.utils.stats import MAD_TO_STD

__all__ = ["crop", "fill_bad", "resample", "sky_noise", "sky_noise_limit"]

_LAG = 3  # pixels


def fill_bad(data, mask):
    """Replace bad pixels by a Gaussian-weighted mean of the good ones around them.

    The Gaussian starts with a standard deviation of one pixel and doubles until each hole
    is reached; it is a patch that keeps networks and sums finite, not a measurement.

    Parameters
    ----------
    data : ndarray (n_bands, ny, nx)
        Left alone.
    mask : ndarray of bool, same shape
        True = bad.

    Returns
    -------
    ndarray, same shape and type
    """
    filled = np.where(mask, 0, data)
    for band, bad in enumerate(mask):
        if not bad.any():
            continue
        good = (~bad).astype(data.dtype)
        values, todo, width = filled[band].copy(), bad.copy(), 1.0
        while todo.any() and width <= max(bad.shape):
            weight = gaussian_filter(good, width, mode="constant")
            reached = todo & (weight > 0.05)
            if reached.any():
                mean = gaussian_filter(values, width, mode="constant")
                filled[band][reached] = mean[reached] / weight[reached]
                todo &= ~reached
            width *= 2
        if todo.any():
            filled[band][todo] = np.median(data[band][~bad]) if (~bad).any() else 0
    return filled


def crop(data, start, size, fill):
    """Cut ``size`` x ``size`` pixels out of images, padding what is not there.

    Parameters
    ----------
    data : ndarray (..., ny, nx)
        Images.
    start : tuple of int
        First x and y; may be negative.
    size : int
        Side of the result.
    fill : scalar
        For pixels outside.

    Returns
    -------
    ndarray (..., size, size)
        A copy.
    """
    x, y = start
    ny, nx = data.shape[-2:]
    if x >= 0 and y >= 0 and x + size <= nx and y + size <= ny:
        return data[..., y : y + size, x : x + size].copy()
    result = np.full((*data.shape[:-2], size, size), fill, dtype=data.dtype)
    x0, x1, y0, y1 = max(x, 0), min(x + size, nx), max(y, 0), min(y + size, ny)
    if x0 < x1 and y0 < y1:
        result[..., y0 - y : y1 - y, x0 - x : x1 - x] = data[..., y0:y1, x0:x1]
    return result


def _matrix(n, edges):
    """Return a matrix (n_new, n) from sums over old pixels to sums between `edges` (old pixel
    units).

    The running sum is known at the old pixel edges; a cubic spline through it gives the
    sum between any two positions. It conserves flux exactly and is smooth when pixels
    get smaller.
    """
    old = np.arange(n + 1) - 0.5
    running = np.vstack([np.zeros(n), np.cumsum(np.eye(n), axis=0)])
    degree = 3 if n >= 4 else 1
    spline = make_interp_spline(old, running, k=degree)
    return np.diff(spline(np.clip(edges, old[0], old[-1])), axis=0)


def _overlap(n, edges):
    """Return matrix (n_new, n) of the plain overlap of new pixels with old ones, in old pixels."""
    old = np.arange(n + 1) - 0.5
    low = np.maximum(edges[:-1, None], old[None, :-1])
    high = np.minimum(edges[1:, None], old[None, 1:])
    return np.clip(high - low, 0, None)


def resample(data, mask, uncertainty, center, step, size):
    """Put images on coarser or finer pixels around a target, conserving flux.

    Parameters
    ----------
    data : ndarray (n_bands, ny, nx)
        Flux per pixel, finite.
    mask : ndarray of bool, same shape
        True = bad.
    uncertainty : ndarray or None
        Standard deviations.
    center : tuple of float
        (x, y) of the target; it comes to lie on pixel ``size // 2``.
    step : tuple of float
        Size of a new pixel in old ones, along x and y.
    size : int
        Side of the result.

    Returns
    -------
    data, mask, uncertainty : ndarray (n_bands, size, size)
        Pixels of which more than a tenth was bad, or less than half is on the image, are
        masked. Uncertainties ignore the correlation of neighbours.
    outside : ndarray (size, size) of bool
        Pixels that are not on the image.
    """
    ny, nx = data.shape[-2:]
    offset = np.arange(size + 1) - size // 2 - 0.5
    edges_x, edges_y = center[0] + offset * step[0], center[1] + offset * step[1]
    matrix_x, matrix_y = _matrix(nx, edges_x), _matrix(ny, edges_y)
    overlap_x, overlap_y = _overlap(nx, edges_x), _overlap(ny, edges_y)
    area = step[0] * step[1]
    new = matrix_y @ data @ matrix_x.T
    on_image = np.outer(overlap_y.sum(axis=1), overlap_x.sum(axis=1)) / area
    outside = on_image < 0.5
    bad = (overlap_y @ mask.astype(float) @ overlap_x.T) / area
    new_mask = (bad > 0.1) | outside
    if uncertainty is not None:
        variance = (matrix_y**2) @ uncertainty.astype(float) ** 2 @ (matrix_x**2).T
        uncertainty = np.sqrt(variance)
    new = np.where(outside, 0, new)
    return new, new_mask, uncertainty, outside


def sky_noise(data, mask=None):
    """Return standard deviation of the sky per pixel, from differences of pixels near each other.

    The median absolute difference of pixels three columns apart, scaled for a Gaussian:
    galaxies, being smooth, hardly raise it, and the correlation that interpolation
    brings between neighbours hardly lowers it.

    Parameters
    ----------
    data : ndarray (n_bands, ny, nx)
        Images.
    mask : ndarray of bool, optional
        Bad pixels, left out.

    Returns
    -------
    ndarray (n_bands,)
        0 where nothing is left.
    """
    difference = np.abs(data[..., _LAG:] - data[..., :-_LAG]).reshape(len(data), -1)
    scale = MAD_TO_STD / np.sqrt(2)
    if mask is None or not mask.any():
        return scale * np.median(difference, axis=1)
    good = ~(mask[..., _LAG:] | mask[..., :-_LAG]).reshape(len(data), -1)
    return scale * np.array(
        [np.median(row[use]) if use.any() else 0.0 for row, use in zip(difference, good)]
    )


def sky_noise_limit(data):
    """Return what `sky_noise` of images without a mask cannot exceed, (n_bands,).

    No more than half of all numbers are above their root mean square times the square root of two.
    Masked pixels, being filled from those around them, do not raise it.

    Parameters
    ----------
    data : ndarray (n_bands, ny, nx)

    Returns
    -------
    ndarray (n_bands,)
    """
    difference = (data[..., _LAG:] - data[..., :-_LAG]).reshape(len(data), -1)
    return MAD_TO_STD * np.sqrt(np.einsum("bp,bp->b", difference, difference) / difference.shape[1])
