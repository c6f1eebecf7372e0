"""Images mirrored, turned and shifted, as the settings say."""

import numpy as np
import torch
from torch.nn.functional import pad

__all__ = ["augment", "shift", "turn"]


def turn(image, swap, flip_x, flip_y):
    """One of the eight symmetries of the square about pixel ``(size // 2, size // 2)``."""
    if swap:
        image = image.transpose(-2, -1)
    for wanted, axis in ((flip_x, -1), (flip_y, -2)):
        if wanted:
            # A flip of an even number of pixels moves that pixel by one; rolling puts it back.
            image = image.flip(axis).roll(1 - image.shape[axis] % 2, dims=axis)
    return image


def shift(image, y, x):
    """A crop of the same size whose centre lies (y, x) pixels off, the edge continued."""
    ny, nx = image.shape[-2:]
    most = max(abs(y), abs(x))
    padded = pad(image, (most,) * 4, mode="replicate")
    return padded[..., most + y : most + y + ny, most + x : most + x + nx]


def augment(image, rng, config):
    """Mirror, turn and shift images at random.

    Parameters
    ----------
    image : tensor (n, n_bands, ny, nx)
    rng : numpy.random.Generator
    config : TrainConfig
        Its ``data`` says what of this is done, and whether to every image by itself.

    Returns
    -------
    tensor (n, n_bands, ny, nx)
    """
    data, n = config.data, len(image)
    n_ways = n if data.each_image else 1
    ways = rng.integers(2, size=3) if n_ways == 1 else rng.integers(2, size=(n, 3))
    ways = ways.reshape(n_ways, 3)
    if not data.flips:
        # of the eight symmetries those four that are rotations
        ways[:, 0] = ways[:, 1] ^ ways[:, 2]
    if not data.rotations:
        ways[:, 0] = 0
    if not (data.flips or data.rotations):
        ways[:] = 0
    image = _by_group(image, ways, lambda part, way: turn(part, *way))
    # Published networks crop themselves, from images that they enlarge.
    if data.crop and config.architecture != "published":
        places = rng.integers(-data.crop, data.crop + 1, size=(n_ways, 2))
        image = _by_group(image, places, lambda part, place: shift(part, *map(int, place)))
    return image


def _by_group(image, ways, change):
    """Change images, those alike together."""
    if len(ways) == 1:
        return change(image, ways[0])
    result = torch.empty_like(image)
    for way in np.unique(ways, axis=0):
        chosen = torch.from_numpy((ways == way).all(axis=1))
        result[chosen] = change(image[chosen], way)
    return result
