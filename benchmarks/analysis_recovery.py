"""What the analysis finds in simulated spectra, against what was put in.

Run: ``python benchmarks/analysis_recovery.py [--n 1000] [--write docs]``. Prints, for
every property at a signal-to-noise of 10, 20 and 50 per pixel, the bias (median), the
scatter (1.4826 MAD) and the share of galaxies within one standard error; with ``--write``
the table and the figure of the documentation are made from the same run.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from astropy.table import Table
from recovery_sample import make_sample

from photospec.analysis import measure_indices, measure_properties
from photospec.analysis.indices.definitions import LICK
from photospec.spectrum import from_arrays

SIGNAL_TO_NOISE = (10, 20, 50)
INDICES = ("dn4000", *LICK)
# Compared as a ratio: ages in dex, dispersion and line fluxes as a fraction.
DEX = ("age_light_weighted", "age_mass_weighted")
FRACTION = ("velocity_dispersion",)
LINES = ("hbeta", "oiii_5007", "halpha", "nii_6584", "sii_6716")
SHOWN = (
    "redshift", "age_light_weighted", "metallicity_light_weighted", "ebv", "velocity_dispersion",
    "dn4000", "lick_hbeta", "lick_mgb", "halpha_flux",
)  # fmt: skip


def _values(table, name):
    columns = []
    for column in (table[name], table[f"{name}_error"]):
        values = getattr(column, "value", column)
        columns.append(np.asarray(values.filled(np.nan), float))
    return columns


def compare(table, truth):
    """Rows ``(name, difference (n,), error (n,), true (n,))`` of every property with a truth."""
    rows = []
    for name, true in truth.items():
        if name not in table.colnames:
            continue
        found, error = _values(table, name)
        with np.errstate(divide="ignore", invalid="ignore"):
            if name in DEX:
                rows.append((name, np.log10(found / true), error / found / np.log(10), true))
            elif name in FRACTION:
                rows.append((name, found / true - 1, error / true, true))
            elif name.endswith("_flux"):
                seen = true > 3 * error  # of the rest, zero is a good answer
                difference = np.where(seen, found / true - 1, np.nan)
                rows.append((name, difference, error / true, true))
            else:
                rows.append((name, found - true, error, true))
    return rows


def measure(n, signal_to_noise, seed=0, n_processes=None):
    """Property table and truth of n simulated galaxies, and the seconds it took."""
    wavelength, clean, sigma, lsf, truth = make_sample(n, np.inf, seed=seed)
    sigma = sigma * 1000 / signal_to_noise  # noiseless spectra say 1000
    noise = np.random.default_rng([seed, signal_to_noise]).standard_normal(clean.shape)
    exact = measure_indices(from_arrays(wavelength, clean), redshift=truth["redshift"])
    for name in INDICES:
        column = name if name == "dn4000" else f"lick_{name}"
        truth[column] = exact[name]
    start = time.perf_counter()
    spectra = from_arrays(wavelength, clean + sigma * noise, sigma=sigma, lsf=lsf)
    table = measure_properties(spectra, n_processes=n_processes, progress=True)
    return table, truth, time.perf_counter() - start


def summarise(results):
    """Table of bias, scatter and coverage from ``{signal_to_noise: rows}``, as text."""
    summary = {}
    for rows in results.values():
        for name, difference, error, _ in rows:
            good = np.isfinite(difference) & np.isfinite(error)
            delta, error = difference[good], error[good]
            if delta.size < 0.05 * good.size:
                numbers = ["--"] * 4
            else:
                bias = np.median(delta)
                scatter = 1.4826 * np.median(np.abs(delta - bias))
                inside = 100 * np.mean(np.abs(delta) < error)
                numbers = [f"{bias:+.2g}", f"{scatter:.2g}", f"{inside:.0f}"]
                numbers.append(f"{100 * good.mean():.0f}")
            summary.setdefault(name, []).append(numbers)
    labels = ("bias", "scatter", "within 1 sigma [%]", "compared [%]")
    table = Table({"property": list(summary)})
    for column, label in enumerate(labels):
        table[label] = [" / ".join(row[column] for row in rows) for rows in summary.values()]
    return table


def write_page(summary, n, path):
    """Table and figure as a piece of reStructuredText that the documentation includes."""
    rows = [f"   {', '.join(row)}" for row in summary if set(row["bias"]) - set("-/ ")]
    text = f"""What is recovered
-----------------

{n} simulated galaxies (bulge and disk with star-formation histories, dust and dispersions of
their own, from the same BC03-MILES models) at a signal-to-noise of 10 / 20 / 50 per pixel,
measured without knowing the redshift. Bias is the median of measured less true, scatter
1.4826 times the median absolute deviation; ages in dex, dispersion and line fluxes as fractions of
the truth, everything else in its unit. Lines are compared where the true flux is above three
sigma. E(B-V) is the mean over the stars seen, by their V-band light. A third of the galaxies
has the Milky Way's extinction curve, where the fit knows Calzetti's: there it finds two thirds of
the E(B-V), in the others nine tenths, and the errors hold that. The reddening of the light as
a whole is larger, because young stars hide in birth clouds: the stars that are seen cannot
tell. Made by ``benchmarks/analysis_recovery.py``.

.. csv-table::
   :header: {", ".join(summary.colnames)}
   :widths: auto

{chr(10).join(rows)}

.. figure:: analysis_recovery.png

   Measured less true against truth, at signal-to-noise 10 (grey), 20 (blue), 50 (red).
"""
    path.write_text(text)


def figure(results, path):
    """Difference against truth for the properties in `SHOWN`, one colour per signal-to-noise."""
    from matplotlib.figure import Figure

    sheet = Figure(figsize=(10, 9), layout="constrained")
    axes = sheet.subplots(3, 3).ravel()
    for (snr, rows), color in zip(results.items(), ("0.7", "#2471a3", "#c0392b"), strict=True):
        by_name = {row[0]: row for row in rows}
        for ax, name in zip(axes, SHOWN, strict=True):
            _, difference, _, true = by_name[name]
            ax.plot(true, difference, ".", ms=2, color=color, label=f"S/N {snr}")
            ax.set(title=name)
            if name == "halpha_flux" or name in DEX:
                ax.set_xscale("log")
    for ax in axes:
        middle = np.concatenate([line.get_ydata() for line in ax.lines])
        reach = np.nanpercentile(np.abs(middle), 98)
        ax.set_ylim(-1.1 * reach, 1.1 * reach)
        ax.axhline(0, color="k", lw=0.8)
    sheet.supxlabel("truth")
    sheet.supylabel("measured - truth (ages: dex; dispersion, flux: fraction)")
    axes[0].legend(markerscale=4, fontsize="small")
    sheet.savefig(path, dpi=90)


def main():
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--write", type=Path, help="folder of the documentation")
    options = parser.parse_args()
    results = {}
    for snr in SIGNAL_TO_NOISE:
        table, truth, seconds = measure(options.n, snr, options.seed, options.processes)
        results[snr] = compare(table, truth)
        print(f"S/N {snr}: {seconds:.0f} s, {seconds / options.n:.2f} s per spectrum")
    summary = summarise(results)
    summary.pprint(max_lines=-1, max_width=-1)
    if options.write:
        write_page(summary, options.n, options.write / "analysis_recovery.inc")
        figure(results, options.write / "analysis_recovery.png")


if __name__ == "__main__":
    main()
