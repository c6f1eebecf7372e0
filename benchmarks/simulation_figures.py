"""Figures of benchmarks/simulation_calibration.py."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np

STYLE = {"histtype": "step", "density": True, "lw": 1.3}


def draw_figures(folder, **results):
    """Write simulation_<name>.png for each of the results: colours, lines, shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update({"font.size": 8, "figure.dpi": 90, "savefig.bbox": "tight"})
    drawings = {"colours": _draw_colours, "lines": _draw_lines, "shapes": _draw_shapes}
    for name, result in results.items():
        figure = drawings[name](*result)
        figure.tight_layout()
        figure.savefig(folder / f"simulation_{name}.png")
        plt.close(figure)


def _draw_colours(z, real, fake):
    figure, axes = plt.subplots(2, 4, figsize=(9, 4.2))
    names, tops = ("u - g", "g - r", "r - i", "i - z"), (2.5, 1.4, 0.7, 0.6)
    for k, (name, top) in enumerate(zip(names, tops, strict=True)):
        grid = np.linspace(-0.1 if k else 0.4, top, 50)
        axes[0, k].hist(real[:, k], grid, color="k", label="SDSS", **STYLE)
        axes[0, k].hist(fake[:, k], grid, color="C3", label="simulated", **STYLE)
        axes[0, k].set(xlabel=name, yticks=[])
        axes[1, k].plot(z, real[:, k], "k.", ms=1, alpha=0.4)
        axes[1, k].plot(z, fake[:, k], "C3.", ms=1, alpha=0.4)
        axes[1, k].set(xlabel="redshift", ylabel=name, ylim=(grid[0], top))
    axes[0, 0].legend(loc="upper left", frameon=False)
    return figure


def _draw_lines(real, fake, seen, also, diagrams):
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.6))
    for axis, k, name in zip(axes, (4, 2), (r"H$\alpha$", "[O III] 5007"), strict=False):
        grid = np.linspace(-1, 2.5, 40)
        axis.hist(np.log10(real[seen[:, k], k]), grid, color="k", label="DESI", **STYLE)
        axis.hist(np.log10(fake[also[:, k], k]), grid, color="C3", label="simulated", **STYLE)
        axis.set(xlabel=f"log EW {name} / Å", yticks=[])
    axes[0].legend(loc="upper left", frameon=False)
    curve = np.linspace(-1.3, -0.05, 100)
    for axis, (x, y), name in zip(axes[2:], diagrams, ("DESI", "simulated"), strict=True):
        axis.hexbin(x, y, extent=(-1.3, 0.5, -1.1, 1.3), gridsize=30, cmap="Greys", bins="log")
        axis.plot(curve, 0.61 / (curve - 0.05) + 1.3, "C0", lw=1)
        axis.set(xlabel=r"log [N II]/H$\alpha$", title=name, xlim=(-1.3, 0.5), ylim=(-1.1, 1.3))
    axes[2].set_ylabel(r"log [O III]/H$\beta$")
    return figure


def _draw_shapes(mass, real, fake):
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.5))
    axes[0].plot(mass, np.log10(real[0]), "k.", ms=1.5, alpha=0.5, label="NSA")
    axes[0].plot(mass, np.log10(fake[0]), "C3.", ms=1.5, alpha=0.5, label="simulated")
    axes[0].set(xlabel="log stellar mass", ylabel="log half-light radius / kpc")
    axes[0].legend(frameon=False)
    ranges = ((-0.3, 1.7, "log half-light radius / kpc"), (0, 6.3, "Sérsic index"))
    ranges = (*ranges, (0, 1, "axis ratio"))
    for axis, a, b, (low, high, name) in zip(axes[1:], real, fake, ranges, strict=True):
        if low < 0:
            a, b = np.log10(a), np.log10(b)
        axis.hist(a, np.linspace(low, high, 30), color="k", **STYLE)
        axis.hist(b, np.linspace(low, high, 30), color="C3", **STYLE)
        axis.set(xlabel=name, yticks=[])
    return figure
