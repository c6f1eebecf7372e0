"""Figures of images and spectra, for people to look at.

Figures are made without pyplot: no display, no global state, safe in any process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import median_filter

from photospec.errors import InputError
from photospec.lines import LINES
from photospec.spectrum import FLUX_UNIT, to_arrays
from photospec.utils.stats import MAD_TO_STD

if TYPE_CHECKING:
    from astropy.nddata import NDData
    from astropy.table import Table
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from specutils import Spectrum

__all__ = [
    "GalaxyRow",
    "galaxy_figures",
    "galaxy_rows",
    "plot_spectrum",
    "rgb_image",
    "save_figure",
]

#: Lines that are marked: enough to recognise a galaxy, few enough to read.
MARKED = (
    "oii_3729", "ca_k", "ca_h", "hdelta", "g_band", "hgamma", "hbeta", "oiii_5007", "mg_b",
    "na_d2", "oi_6300", "halpha", "sii_6716",
)  # fmt: skip
_ROWS_PER_PAGE = 6  # more on a page of 11 inches are too flat to read
# Samples; noise is estimated in blocks, and peaks of the band that are narrower are cut.
_BLOCK, _PEAK = 100, 61
# Between the parts of a title.
_GAP = "   "
# In two lines, that it fits beside a flat spectrum.
_FLUX_LABEL = "Flux [$10^{-17}$ erg\ns$^{-1}$ cm$^{-2}$ Å$^{-1}$]"
# Share of the height kept free for what is written above and below the spectrum.
_NAMES_ROOM, _LEGEND_ROOM = 0.17, 0.13
# Their names stand to the right of the line; to the left is a close neighbour's.
_NAMED_RIGHT = ("ca_h", "hdelta", "hgamma")
_EMISSION_COLOR, _ABSORPTION_COLOR = "#b2182b", "#2166ac"


def rgb_image(image: NDData, *, stretch: float | None = None, q: float = 8) -> np.ndarray:
    """Make a colour picture by the recipe of Lupton et al. (2004, PASP 116, 133).

    Parameters
    ----------
    image : astropy.nddata.NDData
        Data (n_bands, ny, nx), y up, with ``meta["bands"]``.
    stretch : float, optional
        Linear scale of the arcsinh, in the image's unit; by default from the noise.
    q : float
        Softening of the bright end.

    Returns
    -------
    numpy.ndarray
        (ny, nx, 3), uint8, y up; red, green and blue are i, r and g where the image
        has them, otherwise its reddest three bands.
    """
    from astropy.visualization import make_lupton_rgb

    data = np.ma.filled(np.ma.masked_invalid(np.asarray(image.data, dtype=float)), 0.0)
    bands = list(image.meta.get("bands", ())) if image.meta else []
    if all(band in bands for band in "irg"):
        order = [bands.index(band) for band in "irg"]
    else:
        n_bands = len(data)
        order = [n_bands - 1, max(n_bands - 2, 0), max(n_bands - 3, 0)]
    red, green, blue = data[order]
    # Colours of a typical galaxy come out neutral: AB fluxes rise to the red.
    red, blue = red / 1.3, blue * 1.5
    mean = (red + green + blue) / 3
    # Noise from the differences of neighbours: blind to the galaxy itself.
    noise = MAD_TO_STD * np.median(np.abs(np.diff(mean, axis=1))) / np.sqrt(2)
    if stretch is None:
        stretch = max(16 * noise, 1e-3 * np.max(np.abs(mean)), np.finfo(float).tiny)
    # A dark grey sky: cut at zero, its noise would show as coloured dots.
    return make_lupton_rgb(red, green, blue, minimum=-3 * noise, stretch=stretch, Q=q)


def plot_spectrum(
    axes: Axes,
    wavelength: np.ndarray,
    flux: np.ndarray,
    *,
    redshift: float | None = None,
    truth: np.ndarray | None = None,
    spread: np.ndarray | None = None,
    sigma: np.ndarray | None = None,
    label: str = "predicted",
    legend: bool = True,
) -> None:
    """Draw a spectrum and mark its lines.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    wavelength : array, (n_wave,)
        Observed, vacuum, Angstrom.
    flux : array, (n_wave,)
        In 1e-17 erg / (s cm2 Angstrom).
    redshift : float, optional
        Where the lines are; none are marked if absent or not finite.
    truth : array, (n_wave,), optional
        The true flux, drawn under the spectrum, with a legend.
    spread : array, (n_wave,), optional
        Standard deviation over the candidates, drawn as a band around the spectrum, with a
        legend.
    sigma : array, (n_wave,), optional
        Standard deviation of the noise, which the axes leave out of account; estimated from
        neighbouring samples if not given.
    label : str
        What the spectrum is, for the legend.
    legend : bool
        Whether to draw the legend.
    """
    shown = [(flux, sigma)]
    if truth is not None:
        axes.plot(wavelength, truth, color="tab:orange", linewidth=0.9, label="truth")
        shown.append((truth, None))
    if spread is not None:
        low, high = flux - spread, flux + spread
        axes.fill_between(
            wavelength, low, high, color="tab:blue", alpha=0.3, linewidth=0,
            label="± 1 σ of the candidates",
        )  # fmt: skip
        # Where lines of the candidates do not coincide the band has peaks; these may be cut.
        shown += [(median_filter(edge, _PEAK, mode="nearest"), None) for edge in (low, high)]
    axes.plot(wavelength, flux, color="black", linewidth=0.7, label=label)
    legend = legend and (truth is not None or spread is not None)
    if legend:
        # In one line, which takes little room; the band's cut peaks may reach behind it.
        axes.legend(
            loc="lower right", ncols=3, fontsize=8, edgecolor="none", borderpad=0.2,
            columnspacing=1.2, handlelength=1.6,
        )  # fmt: skip
    axes.set_xlim(wavelength[0], wavelength[-1])
    limits = _limits(shown)
    if limits is not None:
        low, high = limits
        span = (high - low) or abs(high) or 1.0
        # The names of the lines stand above the spectrum, the legend below it.
        top = high + span * _NAMES_ROOM / (1 - _NAMES_ROOM)
        bottom = low - 0.05 * span
        if legend:
            bottom = low - (top - low) * _LEGEND_ROOM / (1 - _LEGEND_ROOM)
        axes.set_ylim(min(0.0, bottom), top)
    axes.tick_params(direction="in", top=True, right=True, labelsize=9)
    if redshift is not None and np.isfinite(redshift):
        _mark_lines(axes, redshift)


def _limits(shown):
    """Return the lowest and highest flux of spectra, three sigma of noise being no flux; None
    without any.
    """
    lows, highs = [], []
    for flux, sigma in shown:
        flux = np.asarray(flux, float)
        sigma = _noise(flux) if sigma is None else np.asarray(sigma, float)
        good = np.isfinite(flux) & np.isfinite(sigma)
        if good.any():
            noise = 3 * sigma[good]
            lows.append(np.min(flux[good] + noise))
            highs.append(np.max(flux[good] - noise))
    if not lows:
        return None
    low, high = min(lows), max(highs)
    return (low, high) if low < high else (high, low)


def _noise(flux):
    """Return standard deviation of the noise (n_wave,), from differences of neighbouring samples.

    Lines are few among the samples of a block, so that a median does not see them.
    """
    noise = np.zeros(flux.size)
    for start in range(0, flux.size, _BLOCK):
        # Second differences: a slope is no noise.
        change = np.abs(np.diff(flux[start : start + _BLOCK], n=2))
        change = change[np.isfinite(change)]
        if change.size:
            noise[start : start + _BLOCK] = MAD_TO_STD * np.median(change) / np.sqrt(6)
    return noise


def _mark_lines(axes, redshift):
    """Draw a thin line and a name at each marked line in view."""
    low, high = axes.get_xlim()
    for name in MARKED:
        line = LINES[name]
        position = line.wavelength * (1 + redshift)
        # At the very edge a name would stand over the numbers of the axis.
        if not low + 0.015 * (high - low) < position < high:
            continue
        color = _ABSORPTION_COLOR if line.kind == "absorption" else _EMISSION_COLOR
        axes.axvline(position, color=color, linewidth=0.5, alpha=0.6, zorder=0)
        axes.annotate(
            line.label, (position, 0.985), (1.5 if name in _NAMED_RIGHT else -1.5, 0),
            xycoords=axes.get_xaxis_transform(), textcoords="offset points", rotation=90,
            color=color, fontsize=8, ha="left" if name in _NAMED_RIGHT else "right", va="top",
        )  # fmt: skip


@dataclass(frozen=True)
class GalaxyRow:
    """One galaxy of a figure.

    Attributes
    ----------
    wavelength : array, (n_wave,)
        Observed, vacuum, Angstrom.
    flux : array, (n_wave,)
        In 1e-17 erg / (s cm2 Angstrom).
    title : str
        What was found, in one line.
    redshift : float
        Where the lines are marked; NaN marks none.
    picture : array or None
        Colour picture (ny, nx, 3), y up.
    truth : array or None
        True flux (n_wave,), drawn under the other where it is known.
    spread : array or None
        Standard deviation (n_wave,) over the candidates.
    sigma : array or None
        Standard deviation (n_wave,) of the noise.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    title: str = ""
    redshift: float = np.nan
    picture: np.ndarray | None = None
    truth: np.ndarray | None = None
    spread: np.ndarray | None = None
    sigma: np.ndarray | None = None


def galaxy_rows(
    spectra: Spectrum, table: Table, pictures: Sequence[np.ndarray] | None = None
) -> list[GalaxyRow]:
    """Pair spectra with their measurements and pictures.

    Parameters
    ----------
    spectra : specutils.Spectrum
        Flux (n, n_wave) or (n_wave,); ``meta["spread"]``, where it is there, is drawn.
    table : astropy.table.Table
        One row per spectrum, with ``redshift`` and, for the titles, whatever it has
        of ``image``, ``file``, ``redshift_error``, ``dn4000``, ``bpt_class``,
        ``bpt_class_probability``, ``image_flags``; where ``n_candidates`` is 1, the error of the
        redshift is said to be the measurement's.
    pictures : sequence of array, optional
        Colour pictures (ny, nx, 3), y up.

    Returns
    -------
    list of GalaxyRow
        In the order of the spectra.
    """
    arrays = to_arrays(spectra)
    flux = np.where(arrays.mask, np.nan, arrays.flux)
    pictures = [None] * len(arrays) if pictures is None else pictures
    spread = spectra.meta.get("spread")
    if spread is not None and np.shape(spread) == spectra.flux.shape:
        spread = np.atleast_2d(spread.to_value(FLUX_UNIT))
    else:
        spread = [None] * len(arrays)
    sigma = [None] * len(arrays) if arrays.sigma is None else arrays.sigma
    return [
        GalaxyRow(
            arrays.wavelength,
            flux[i],
            _title(table, i),
            _number(table, "redshift", i),
            picture,
            spread=spread[i],
            sigma=sigma[i],
        )
        for i, picture in enumerate(pictures)
    ]


def galaxy_figures(rows: Sequence[GalaxyRow], *, paged: bool = False) -> list[Figure]:
    """Draw each galaxy in a row: its image beside its spectrum with marked lines.

    Parameters
    ----------
    rows : sequence of GalaxyRow
        The galaxies.
    paged : bool
        Whether the output has pages; otherwise all galaxies go into one figure.

    Returns
    -------
    list of matplotlib.figure.Figure
        One, or as many as there are pages.
    """
    per_figure = _ROWS_PER_PAGE if paged else max(len(rows), 1)
    return [_figure_of(rows[i : i + per_figure]) for i in range(0, len(rows), per_figure)]


def _figure_of(rows):
    """Draw some galaxies into one figure, in two columns if they are many."""
    from matplotlib.figure import Figure

    n_columns = 1 if len(rows) <= _ROWS_PER_PAGE else 2
    n_lines = -(-len(rows) // n_columns)
    # Narrow columns: a large figure is made small to be looked at, and its letters with it.
    width = 10 if n_columns == 1 else 8
    figure = Figure(figsize=(width * n_columns, 0.8 + 2.5 * n_lines), dpi=120, layout="constrained")
    ratios = [1, 3.2] if any(row.picture is not None for row in rows) else [3.2]
    grid = figure.add_gridspec(n_lines, len(ratios) * n_columns, width_ratios=ratios * n_columns)
    for position, row in enumerate(rows):
        # Down the first column, then down the second.
        line, last = position % n_lines, len(ratios) * (position // n_lines + 1) - 1
        if row.picture is not None:
            axes = figure.add_subplot(grid[line, last - 1])
            axes.imshow(row.picture, origin="lower", interpolation="nearest")
            axes.set_axis_off()
        axes = figure.add_subplot(grid[line, last])
        plot_spectrum(
            axes,
            row.wavelength,
            row.flux,
            redshift=row.redshift,
            truth=row.truth,
            spread=row.spread,
            sigma=row.sigma,
        )
        axes.set_ylabel(_FLUX_LABEL, fontsize=8)
        if line == n_lines - 1 or position == len(rows) - 1:
            axes.set_xlabel("Observed wavelength in vacuum [Å]", fontsize=10)
        axes.set_title(_wrapped(row.title, 88 if n_columns == 1 else 66), fontsize=10, loc="left")
    return figure


def _wrapped(title, width):
    """Break a title into lines of at most `width` letters, between its parts."""
    lines = [""]
    for part in title.split(_GAP):
        longer = f"{lines[-1]}{_GAP}{part}" if lines[-1] else part
        if len(longer) > width and lines[-1]:
            lines.append(part)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _number(table, column, row):
    """Read a cell as a float, NaN where it is masked or absent."""
    if column not in table.colnames:
        return np.nan
    value = table[column][row]
    return np.nan if np.ma.is_masked(value) else float(getattr(value, "value", value))


def _title(table, row):
    """Say in one line what was found."""
    named = [column for column in ("image", "file") if column in table.colnames]
    parts = [Path(str(table[column][row])).name for column in named]
    redshift, redshift_error = (_number(table, c, row) for c in ("redshift", "redshift_error"))
    if np.isfinite(redshift):
        digits = 4 if not redshift_error < 5e-4 else 5
        of_one = np.isfinite(redshift_error) and _number(table, "n_candidates", row) == 1
        parts.append(
            f"z = {redshift:.{digits}f}{_error(redshift_error, digits)}"
            f"{' (measurement only)' * bool(of_one)}"
        )
    else:
        parts.append("no redshift")
    if np.isfinite(dn4000 := _number(table, "dn4000", row)):
        parts.append(f"Dn4000 = {dn4000:.2f}")
    if "bpt_class" in table.colnames and not np.ma.is_masked(table["bpt_class"][row]):
        probability = _number(table, "bpt_class_probability", row)
        share = f" ({probability:.0%})" if np.isfinite(probability) else ""
        parts.append(f"{str(table['bpt_class'][row]).replace('_', ' ').lower()}{share}")
    if flags := _flags(table, row):
        parts.append(f"[{flags}]")
    return _GAP.join(parts)


def _error(error, digits):
    """Write an error; one that would be written as zero, as smaller than the last digit."""
    if not np.isfinite(error):
        return ""
    smallest = 10.0**-digits
    return f" ± {error:.{digits}f}" if error >= smallest / 2 else f" ± <{smallest:.{digits}f}"


def _flags(table, row):
    """Return what was odd about the image, without underscores."""
    if "image_flags" not in table.colnames or np.ma.is_masked(table["image_flags"][row]):
        return ""
    return str(table["image_flags"][row]).replace("_", " ").replace("; ", ", ")


def save_figure(figures: Sequence[Figure], path: str | PathLike, **kwargs: object) -> None:
    """Write figures to one file.

    Parameters
    ----------
    figures : sequence of matplotlib.figure.Figure
        One, or several where the format has pages (PDF).
    path : path
        The ending chooses the format.
    **kwargs
        For ``Figure.savefig``.

    Raises
    ------
    InputError
        If several figures are to go into a format without pages.
    """
    figures = list(figures)
    if str(path).lower().endswith(".pdf"):
        from matplotlib.backends.backend_pdf import PdfPages

        with PdfPages(path) as pages:
            for figure in figures:
                pages.savefig(figure, **kwargs)
    elif len(figures) == 1:
        figures[0].savefig(path, **kwargs)
    else:
        raise InputError(f"figure: expected a .pdf for {len(figures)} pages, got {path}")
