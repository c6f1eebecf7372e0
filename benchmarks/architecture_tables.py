"""What `architectures` found, as the tables of docs/networks.rst."""

from architecture_variants import BEFORE, FINE, VARIANTS
from rst_tables import simple_table


def _seconds(name, results):
    """Of training; of a second stage those of the base stage before it, too."""
    seconds = f"{results[name]['seconds']:.0f}"
    if name not in BEFORE:
        return seconds
    return f"{results[BEFORE[name]]['seconds']:.0f} + {seconds}"


def tables(results):
    """Base stages and fine spectra, one reStructuredText table each; errors in last digits."""
    header = [
        "",
        "seconds",
        "GFLOP",
        "steps",
        "loss",
        "CRPS",
        "pixel error",
        "σ(z)",
        "outliers",
        "Hα + [N II]",
    ]
    parts = []
    groups = {"Base spectra": [n for n in VARIANTS if n not in FINE], "Fine spectra": FINE}
    for header[0], names in groups.items():
        rows = []
        for name in names:
            if name not in results:
                continue
            r = results[name]
            levels = list(r["loss"].values())
            rows.append(
                [
                    VARIANTS[name][2],
                    _seconds(name, results),
                    f"{r['gflop']:.2f}",
                    f"{r['steps']}",
                    f"{sum(levels) / len(levels):.3f}" if levels else "",
                    f"{r['crps']:.4f} ± {10000 * r['crps_error']:.0f}",
                    f"{100 * r['pixel_error']:.1f} %",
                    f"{r['sigma_mad']:.3f} ± {1000 * r['sigma_mad_error']:.0f}",
                    f"{100 * r['outliers']:.0f} %",
                    f"{r['line_error']:.2f} ± {100 * r['line_error_error']:.0f}",
                ]
            )
        if rows:
            parts.append(simple_table(header, rows))
    return "\n\n".join(parts)
