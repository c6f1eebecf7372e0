"""What `architectures` found, as the tables of docs/networks.rst."""

from architecture_variants import FINE, VARIANTS, SingleStage


def _rst(header, rows):
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def _seconds(name, results):
    """Of training; of a second stage those of the base stage before it, too."""
    seconds = f"{results[name]['seconds']:.0f}"
    if VARIANTS[name][0] is SingleStage or name not in FINE:
        return seconds
    return f"{results['patch 16']['seconds']:.0f} + {seconds}"


def tables(results):
    """Base stages and fine spectra, one reStructuredText table each; errors in last digits."""
    header = [
        "Network",
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
    for names in ([n for n in VARIANTS if n not in FINE], FINE):
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
        parts.append(_rst(header, rows))
    return "\n\n".join(parts)
