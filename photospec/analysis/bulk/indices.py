"""Spectral indices of many spectra on one wavelength grid.

The integrals are those of `photospec.analysis.indices.bands`, over the pixels between the first
and the last limit of an index: as many for every spectrum as the grid can ask for, with weight
zero beyond the limits.
"""

import numpy as np

from photospec.analysis.gate import good_pixels, take
from photospec.analysis.indices.bands import BAD_SHARE, vacuum_bands
from photospec.spectrum.wavelengths import pixel_edges

__all__ = ["indices_of_block"]


def indices_of_block(arrays, redshift, definitions):
    """Measure indices as observed; `photospec.analysis.indices.measure.indices_of_row` for n
    spectra.

    Parameters
    ----------
    arrays : SpectrumArrays
        n spectra that are usable, with or without errors.
    redshift : ndarray (n,)
        Finite.
    definitions : sequence of Index

    Returns
    -------
    value, error : ndarray (n, n_indices)
        NaN where not measured; errors also where there are none.
    reason : ndarray (n, n_indices) of str
    """
    n, wavelength = len(arrays.flux), np.asarray(arrays.wavelength, float)
    bad = ~np.concatenate([good_pixels(take(arrays, slice(i, i + 1))) for i in range(n)])
    flux = _bridged(arrays.flux, wavelength, bad)
    sigma = None if arrays.sigma is None else _bridged(arrays.sigma, wavelength, bad)
    shape = (n, len(definitions))
    value, error = np.full(shape, np.nan), np.full(shape, np.nan)
    reason = np.full(shape, "", dtype=object)
    grid = _Grid(pixel_edges(wavelength), flux, bad, sigma, 1 + np.asarray(redshift, float))
    for column, index in enumerate(definitions):
        value[:, column], error[:, column], reason[:, column] = grid.measure(index)
    return value, error, reason.astype(str)


def _bridged(values, wavelength, bad):
    """Return values (n, n_wave) with bad samples interpolated between good ones."""
    values = np.array(values, float)
    for one, wrong in zip(values, bad, strict=True):
        if wrong.any():
            one[wrong] = np.interp(wavelength[wrong], wavelength[~wrong], one[~wrong])
    return values


class _Grid:
    def __init__(self, edges, flux, bad, sigma, stretch):
        self.edges, self.flux, self.bad, self.sigma = edges, flux, bad, sigma
        self.stretch = stretch[:, None]
        self.narrowest = np.diff(edges).min()

    def measure(self, index):
        """Measure one index: its values, errors and reasons (n,)."""
        bands = vacuum_bands(index)
        used = [band for band in bands if band is not None]
        low, high = min(band[0] for band in used), max(band[1] for band in used)
        edges, stretch = self.edges, self.stretch
        # The largest redshift at which the index is on the grid decides how many pixels it takes.
        n_window = int(np.ceil((high - low) * edges[-1] / high / self.narrowest)) + 2
        first = np.searchsorted(edges, low * stretch[:, 0], side="right") - 1
        pixel = first[:, None] + np.arange(n_window)
        pixel = pixel.clip(0, edges.size - 2)
        left, right = edges[pixel], edges[pixel + 1]
        last = first[:, None] + np.arange(n_window) > edges.size - 2
        widths, bad = [], np.take_along_axis(self.bad, pixel, 1)
        outside = ((low * stretch < edges[0]) | (high * stretch > edges[-1]))[:, 0]
        broken = np.zeros(len(stretch), bool)
        for band in bands:
            if band is None:
                widths.append(None)
                continue
            start, end = band[0] * stretch, band[1] * stretch
            width = np.clip(right, start, end) - np.clip(left, start, end)
            width[last] = 0.0
            widths.append(width)
            broken |= (width * bad).sum(1) > BAD_SHARE * (end - start)[:, 0]
        flux = np.take_along_axis(self.flux, pixel, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            if bands[1] is None:
                value, gradient, wrong = _break(flux, 0.5 * (left + right), widths)
                why = "mean flux not positive"
            else:
                value, gradient, wrong, why = self._absorption(
                    index, bands, flux, left, right, widths
                )
        reason = np.where(wrong, why, "").astype(object)
        reason[broken] = "bad pixels"
        reason[outside] = "outside the spectrum"
        measured = reason == ""
        error = np.full(len(stretch), np.nan)
        if self.sigma is not None:
            noise = gradient * np.take_along_axis(self.sigma, pixel, 1)
            error = np.where(measured, np.sqrt((noise**2).sum(1)), np.nan)
        return np.where(measured, value, np.nan), error, reason

    def _absorption(self, index, bands, flux, left, right, widths):
        """Return the atomic or molecular index (Worthey et al. 1994, eq. 1 to 3)."""
        blue, band, red = bands
        stretch = self.stretch
        blue_weight, red_weight = (
            width / width.sum(1, keepdims=True) for width in (widths[0], widths[2])
        )
        level_blue, level_red = (
            (weight * flux).sum(1, keepdims=True) for weight in (blue_weight, red_weight)
        )
        at_blue, at_red = (0.5 * stretch * (item[0] + item[1]) for item in (blue, red))
        slope = (level_red - level_blue) / (at_red - at_blue)
        start, end = band[0] * stretch, band[1] * stretch
        width = widths[1]
        middle = 0.5 * (np.clip(left, start, end) + np.clip(right, start, end))
        along = (middle - at_blue) / (at_red - at_blue)
        continuum = level_blue + slope * (middle - at_blue)
        below = ((continuum <= 0) & (width > 0)).any(1) | ~np.isfinite(slope[:, 0])
        x = slope * width / continuum
        share = width / continuum * (1 + x**2 / 12 + x**4 / 80)
        ratio = flux * share
        total, full = ratio.sum(1), (end - start)[:, 0]
        gradient = share - (ratio / continuum * (1 - along)).sum(1, keepdims=True) * blue_weight
        gradient -= (ratio / continuum * along).sum(1, keepdims=True) * red_weight
        if index.kind == "angstrom":
            value = (full - total) / stretch[:, 0]
            return value, gradient / -stretch, below, "continuum not positive"
        dark = ~(total > 0)
        why = np.where(below, "continuum not positive", "flux in the band not positive")
        value = -2.5 * np.log10(total / full)
        gradient = gradient * (-2.5 / np.log(10) / total[:, None])
        return value, gradient, below | dark, why


def _break(flux, middle, widths):
    """Return ratio of the mean F_nu, red over blue (Bruzual 1983, eq. 1: means over wavelength)."""
    blue_weight, red_weight = (
        width / width.sum(1, keepdims=True) * middle**2 for width in (widths[0], widths[2])
    )
    level_blue, level_red = (
        (weight * flux).sum(1, keepdims=True) for weight in (blue_weight, red_weight)
    )
    value = level_red / level_blue
    gradient = red_weight / level_blue - value * blue_weight / level_blue
    return value[:, 0], gradient, ~((level_blue > 0) & (level_red > 0))[:, 0]
