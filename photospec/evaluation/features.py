"""What a catalogue would say of an image: aperture fluxes, colours, sizes and shapes."""

import numpy as np

from photospec.errors import InputError
from photospec.photometry.apertures import aperture_weights

__all__ = ["RADII", "Photometry", "measure_photometry"]

#: Apertures, arcsec: those of the networks' image encoder.
RADII = (0.8, 1.5, 2.5, 4.0, 6.5, 10.0)
# The curve of growth, arcsec.
_GROWTH = np.arange(0.6, 11.6, 0.6)
# Largest aperture, and a little, arcsec.
_REACH = 11.5
_SHARES = (0.2, 0.5, 0.8)  # of the light: size and concentration
_BATCH = 256  # images held in memory at a time


class Photometry:
    """Photometry of n images.

    Attributes
    ----------
    features : ndarray (n, n_features)
        For trees: arcsinh magnitudes and colours in each aperture, radii, axis ratio, angle-free.
    compact : ndarray (n, 6)
        For neighbours: four colours within 2.5 arcsec, r magnitude within 6.5 arcsec, and the
        logarithm of the half-light radius in r.
    """

    def __init__(self, features, compact):
        self.features, self.compact = features, compact

    def __len__(self):
        return len(self.features)

    @classmethod
    def concatenate(cls, parts):
        """Join photometries."""
        return cls(
            np.concatenate([p.features for p in parts]), np.concatenate([p.compact for p in parts])
        )


def measure_photometry(read, n, *, bands=tuple("ugriz"), pixel_scale=0.396):
    """Measure images.

    Parameters
    ----------
    read : callable
        Slice of numbers -> images (n, n_bands, ny, nx), nanomaggies, target at the centre.
    n : int
        Images 0 to n - 1.
    bands : sequence of str
        Must have r.
    pixel_scale : float
        Arcsec.

    Returns
    -------
    Photometry
        Apertures were chosen for cutouts of the SDSS: all shrink where the largest would not fit
        into the images.
    """
    if "r" not in bands:
        raise InputError(f"bands: expected r among them, got {','.join(bands)}")
    parts = []
    for i in range(0, n, _BATCH):
        image = np.asarray(read(slice(i, min(i + _BATCH, n))), np.float32)
        scale = max(pixel_scale, _REACH / (min(image.shape[-2:]) // 2 - 1))
        parts.append(_measure(image, bands, scale))
    return Photometry.concatenate(parts)


def _sums(image, radii, pixel_scale):
    """Return the flux (n, n_bands, n_radii) within circles."""
    weights = [aperture_weights(image.shape[-2:], float(r) / pixel_scale) for r in radii]
    weights = np.stack([w.ravel() for w in weights], axis=1).astype(np.float32)
    return image.reshape(*image.shape[:2], -1) @ weights


def _measure(image, bands, pixel_scale):
    r = list(bands).index("r")
    flux = _sums(image, RADII, pixel_scale)
    magnitude = _asinh_magnitude(flux)
    colour = magnitude[:, :-1] - magnitude[:, 1:]
    around_r = image[:, max(r - 1, 0) : r + 2]
    radius = _radii(_sums(around_r, _GROWTH, pixel_scale))
    features = np.concatenate(
        [
            magnitude.reshape(len(image), -1),
            colour.reshape(len(image), -1),
            radius.reshape(len(image), -1),
            _axis_ratio(image[:, r], pixel_scale)[:, None],
        ],
        axis=1,
    )
    half_light = radius[:, min(r, 1), _SHARES.index(0.5)]
    compact = np.concatenate(
        [colour[:, :, 2], magnitude[:, r, 4][:, None], np.log10(half_light)[:, None]], axis=1
    )
    return Photometry(features.astype(np.float32), compact.astype(np.float32))


def _asinh_magnitude(flux):
    """Return arcsinh magnitudes (Lupton, Gunn & Szalay 1999, AJ 118, 1406), softened at 24 mag."""
    softening = 10 ** (0.4 * (22.5 - 24.0))
    return 22.5 - 2.5 / np.log(10) * (np.arcsinh(flux / (2 * softening)) + np.log(softening))


def _radii(growth):
    """Return the radii (n, n_bands, 3) that hold 20, 50 and 80 % of the flux within the largest
    circle.
    """
    total = growth[..., -1:]
    share = np.maximum.accumulate(growth / np.where(total > 0, total, np.inf), axis=-1)
    share = np.concatenate([np.zeros((*share.shape[:-1], 1)), share], axis=-1)
    radius = np.concatenate([[0.0], _GROWTH])
    found = []
    for wanted in _SHARES:
        i = np.argmax(share >= wanted, axis=-1).clip(1)
        low, high = (np.take_along_axis(share, (i + d)[..., None], -1)[..., 0] for d in (-1, 0))
        part = np.clip((wanted - low) / np.where(high > low, high - low, 1), 0, 1)
        found.append(radius[i - 1] + part * (radius[i] - radius[i - 1]))
    return np.stack(found, axis=-1).clip(0.1)


def _axis_ratio(image, pixel_scale):
    """Return the axis ratio (n,) from moments under a round Gaussian weight of 2 arcsec."""
    y, x = (np.indices(image.shape[-2:]) - image.shape[-1] // 2) * pixel_scale
    weight = image * np.exp(-0.5 * (x**2 + y**2) / 2.0**2)
    total = weight.sum(axis=(1, 2))
    xx, yy, xy = ((weight * m).sum(axis=(1, 2)) / total for m in (x * x, y * y, x * y))
    spread = np.hypot(xx - yy, 2 * xy)
    return np.sqrt(np.clip((xx + yy - spread) / np.maximum(xx + yy + spread, 1e-6), 0, 1))
