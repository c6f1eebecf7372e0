"""Figures of measurements. Each draws into the Axes it is given and returns it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from photospec.analysis.bpt import ABSCISSA, kauffmann03, kewley01, kewley06, schawinski07
from photospec.errors import InputError
from photospec.lines import EMISSION, LINES, MARKED

if TYPE_CHECKING:
    from astropy.table import QTable
    from matplotlib.axes import Axes

    from photospec.analysis.populations.result import PopulationFit

__all__ = ["plot_bpt", "plot_fit", "plot_mass_metallicity", "plot_star_formation_history"]

FLUX_LABEL = r"Flux [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$]"
DATA, STARS, GAS = "0.25", "#c0392b", "#2471a3"
RATIO_LABELS = {
    "nii": r"log [N II] 6584 / H$\alpha$",
    "sii": r"log [S II] 6716, 6731 / H$\alpha$",
    "oi": r"log [O I] 6300 / H$\alpha$",
}
RATIO_COLUMNS = {"nii": "log_nii_ha", "sii": "log_sii_ha", "oi": "log_oi_ha"}


def plot_fit(fit: PopulationFit, ax: Axes) -> Axes:
    """Draw spectrum, best fit and gas alone; residuals below.

    Parameters
    ----------
    fit : PopulationFit
    ax : matplotlib.axes.Axes
        Its lower quarter becomes the panel of residuals (``ax.child_axes[0]``).

    Returns
    -------
    matplotlib.axes.Axes
    """
    rest = fit.wavelength / (1 + fit.redshift)
    seen = np.where(fit.mask, np.nan, fit.flux)
    ax.plot(rest, seen, color=DATA, lw=0.6, label="observed")
    ax.plot(rest, fit.best_fit, color=STARS, lw=1.0, label="stars and gas")
    with_gas = np.where(fit.gas_fit > 1e-3 * np.nanmedian(seen), fit.gas_fit, np.nan)
    ax.plot(rest, with_gas, color=GAS, lw=1.0, label="gas")
    top = np.nanpercentile(np.where(fit.fitted, fit.best_fit, np.nan), 99)
    ax.set(xlim=(rest[0], rest[-1]), ylim=(0, 1.6 * top), ylabel=FLUX_LABEL)
    ax.tick_params(labelbottom=False)
    # Lines may be as high as the legend.
    frame = {"framealpha": 0.85, "edgecolor": "none"}
    ax.legend(loc="upper right", bbox_to_anchor=(1, 0.93), ncols=3, **frame)
    _mark_lines(ax, rest)
    lower = ax.inset_axes([0, -0.33, 1, 0.3], sharex=ax)
    residual = fit.flux - fit.best_fit
    lower.plot(rest, np.where(fit.fitted, residual, np.nan), color=DATA, lw=0.5)
    lower.plot(rest, np.where(fit.fitted, np.nan, residual), color=STARS, lw=0.5, alpha=0.5)
    if np.isfinite(fit.sigma[fit.fitted]).any():
        sigma = np.where(fit.fitted, fit.sigma, np.nan)
        lower.fill_between(rest, -sigma, sigma, color="0.8", lw=0, zorder=0, label="± error")
        lower.legend(loc="upper right", frameon=False, fontsize="x-small")
    spread = 4 * np.nanstd(residual[fit.fitted])
    lower.set(ylim=(-spread, spread), xlabel="Rest wavelength in vacuum [Å]", ylabel="Residual")
    return ax


def _mark_lines(ax, rest):
    for name in (name for name in MARKED if name in EMISSION):
        centre = LINES[name].wavelength
        if rest[0] < centre < rest[-1]:
            ax.axvline(centre, color="0.85", lw=0.8, zorder=0)
            ax.text(
                centre, 0.99, LINES[name].label, fontsize="x-small", color="0.4", rotation=90,
                ha="right", va="top", transform=ax.get_xaxis_transform(),
            )  # fmt: skip


def plot_star_formation_history(fit: PopulationFit, ax: Axes, *, weights: str = "mass") -> Axes:
    """Draw the fraction formed per age bin, stacked by metallicity.

    Parameters
    ----------
    fit : PopulationFit
    ax : matplotlib.axes.Axes
    weights : {"mass", "light"}
        Mass formed, or V-band light now.

    Returns
    -------
    matplotlib.axes.Axes
    """
    from matplotlib import colormaps

    if weights not in ("mass", "light"):
        raise InputError(f"weights: expected 'mass' or 'light', got {weights!r}")
    values = fit.mass_weights if weights == "mass" else fit.light_weights
    values = values / values.sum()
    log_age = np.log10(np.asarray(fit.age) * 1e9)
    middle = 0.5 * (log_age[1:] + log_age[:-1])
    edges = np.concatenate([[2 * log_age[0] - middle[0]], middle, [2 * log_age[-1] - middle[-1]]])
    colors = colormaps["viridis"](np.linspace(0, 0.95, fit.metallicity.size))
    bottom = np.zeros(log_age.size)
    for column, (metallicity, color) in enumerate(zip(fit.metallicity, colors, strict=True)):
        ax.bar(
            log_age, values[:, column], np.diff(edges), bottom, color=color, lw=0,
            label=f"{metallicity:+.1f}",
        )  # fmt: skip
        bottom = bottom + values[:, column]
    mean = fit.age_mass_weighted if weights == "mass" else fit.age_light_weighted
    ax.axvline(np.log10(mean * 1e9), color=STARS, ls="--", lw=1, label="mean age")
    label = "mass formed" if weights == "mass" else "V-band light"
    ax.set(xlabel="log age [yr]", ylabel=f"Fraction of {label}")
    ax.legend(title="[M/H]", frameon=False, fontsize="x-small")
    return ax


def plot_bpt(table: QTable, ax: Axes, *, diagram: str = "nii") -> Axes:
    """Draw the diagnostic diagram of Baldwin, Phillips & Terlevich (1981) with its dividing lines.

    Parameters
    ----------
    table : QTable
        As from `measure_properties`, or with its ratio columns.
    ax : matplotlib.axes.Axes
    diagram : {"nii", "sii", "oi"}

    Returns
    -------
    matplotlib.axes.Axes
    """
    if diagram not in ABSCISSA:
        raise InputError(f"diagram: expected one of {', '.join(ABSCISSA)}, got {diagram!r}")
    x, dx = _column(table, RATIO_COLUMNS[diagram])
    y, dy = _column(table, "log_oiii_hb")
    crowd = np.count_nonzero(np.isfinite(x + y)) > 100
    style = {"ms": 2, "elinewidth": 0} if crowd else {"ms": 4, "elinewidth": 0.6}
    ax.errorbar(x, y, dy, dx, fmt="o", color=DATA, ecolor="0.6", **style)
    grid = np.linspace(-2.6, 1.0, 500)
    ax.plot(grid, kewley01(grid, diagram), color=STARS, lw=1.2, label="Kewley+01")
    if diagram == "nii":
        ax.plot(grid, kauffmann03(grid), color=STARS, ls="--", lw=1.2, label="Kauffmann+03")
        divider, name = schawinski07(grid), "Schawinski+07"
    else:
        divider, name = kewley06(grid, diagram), "Kewley+06"
    above = ~(divider < np.nan_to_num(kewley01(grid, diagram), nan=-9))
    ax.plot(grid[above], divider[above], color=GAS, ls=":", lw=1.4, label=name)
    limits = {"nii": (-1.6, 0.7), "sii": (-1.3, 0.6), "oi": (-2.4, 0.2)}[diagram]
    ax.set(
        xlim=limits, ylim=(-1.3, 1.4), xlabel=RATIO_LABELS[diagram],
        ylabel=r"log [O III] 5007 / H$\beta$",
    )  # fmt: skip
    ax.legend(frameon=False, fontsize="small", loc="lower left")
    return ax


def _column(table, name):
    """Return values and errors of a column, NaN where masked."""
    pair = []
    for column in (table[name], table[f"{name}_error"]):
        column = getattr(column, "value", column)
        pair.append(np.ma.filled(np.ma.asarray(_filled(column), float), np.nan))
    return pair


def _filled(column):
    return column.filled(np.nan) if hasattr(column, "filled") else column


def plot_mass_metallicity(
    stellar_mass: ArrayLike,
    metallicity: ArrayLike,
    ax: Axes,
    *,
    metallicity_error: ArrayLike | None = None,
    n_bins: int = 8,
) -> Axes:
    """Draw metallicity against stellar mass, with the running median and 16 to 84 per cent.

    Parameters
    ----------
    stellar_mass : array_like (n,)
        log10 of solar masses.
    metallicity : array_like (n,)
        [M/H], dex.
    ax : matplotlib.axes.Axes
    metallicity_error : array_like (n,), optional
        dex.
    n_bins : int
        Bins of equal numbers; those with fewer than five galaxies are not drawn.

    Returns
    -------
    matplotlib.axes.Axes
    """
    mass, metal = (
        np.ma.filled(np.ma.asarray(_filled(getattr(v, "value", v)), float), np.nan)
        for v in (stellar_mass, metallicity)
    )
    if mass.shape != metal.shape or mass.ndim != 1:
        raise InputError(
            f"metallicity: expected one per stellar mass, got shapes {mass.shape} and {metal.shape}"
        )
    good = np.isfinite(mass + metal)
    style = {"ms": 2 if good.sum() > 100 else 4, "alpha": 0.5, "elinewidth": 0.4}
    ax.errorbar(mass, metal, metallicity_error, fmt="o", color="0.5", ecolor="0.8", **style)
    order = np.flatnonzero(good)[np.argsort(mass[good])]
    bins = [part for part in np.array_split(order, n_bins) if part.size >= 5]
    if bins:
        centre = [np.median(mass[part]) for part in bins]
        low, middle, high = np.array([np.percentile(metal[p], [16, 50, 84]) for p in bins]).T
        ax.plot(centre, middle, color=STARS, lw=1.5, label="median")
        ax.fill_between(centre, low, high, color=STARS, alpha=0.2, lw=0, label="16-84 %")
        ax.legend(frameon=False, loc="lower right")
    ax.set(xlabel=r"log stellar mass [M$_\odot$]", ylabel="[M/H]")
    return ax
