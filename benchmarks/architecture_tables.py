"""What `architectures` found, as the tables of docs/networks.rst."""

from architecture_variants import FINE, VARIANTS


def _rst(header, rows):
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def tables(results):
    """Base stages and fine spectra, one reStructuredText table each."""
    header = [
        "Network",
        "Mpar",
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
                    f"{r['parameters'] / 1e6:.1f}",
                    f"{r['gflop']:.2f}",
                    f"{r['steps']}",
                    f"{sum(levels) / len(levels):.3f}" if levels else "",
                    f"{r['crps']:.4f} ± {r['crps_error']:.4f}",
                    f"{100 * r['pixel_error']:.1f} %",
                    f"{r['sigma_mad']:.4f} ± {r['sigma_mad_error']:.4f}",
                    f"{100 * r['outliers']:.0f} %",
                    f"{r['line_error']:.2f} ± {r['line_error_error']:.2f}",
                ]
            )
        parts.append(_rst(header, rows))
    return "\n\n".join(parts)
