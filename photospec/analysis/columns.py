"""What the columns of a table of properties mean, in a sentence each."""

from types import MappingProxyType

from photospec.analysis.emission.model import line_groups
from photospec.lines import LINES

__all__ = ["describe"]

_LABELS = {
    "redshift": "redshift",
    "age_light_weighted": "mean age of the stars, weighted by light",
    "age_mass_weighted": "mean age of the stars, weighted by mass",
    "metallicity_light_weighted": "mean metallicity [M/H] of the stars, weighted by light",
    "metallicity_mass_weighted": "mean metallicity [M/H] of the stars, weighted by mass",
    "ebv": "E(B-V) of the galaxy's own dust",
    "velocity_dispersion": "velocity dispersion of the stars",
    "broad_width": "width (sigma) of the broad lines",
    "broad_line": "whether lines have a broad component",
    "log_nii_ha": "log10 [N II] 6584 / H alpha",
    "log_oiii_hb": "log10 [O III] 5007 / H beta",
    "log_sii_ha": "log10 [S II] 6716, 6731 / H alpha",
    "log_oi_ha": "log10 [O I] 6300 / H alpha",
    "bpt_class": "class by the lines of the diagram of Baldwin, Phillips & Terlevich",
    "bpt_class_probability": "fraction of the candidates with a class that have this one",
    "agn_score": "log odds of an AGN; height of lines above the SDSS curve with some weights",
    "agn": "whether agn_score is above the threshold of the weights",
    "agn_probability": "probability of an AGN among all galaxies, where the weights tell it",
    "n_candidates": "number of spectra that the errors come from",
    "flags": "what was odd, and why columns are masked",
}
_GREEK = {"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"}


def describe(table, indices=MappingProxyType({}), lines=()):
    """Give the columns of a table of properties their descriptions.

    Parameters
    ----------
    table : astropy.table.QTable
        As of `photospec.analysis.measure_properties`; columns that have a description keep it.
    indices : mapping of str to Index, optional
        By column name.
    lines : sequence of str or Line, optional
        As of `photospec.analysis.measure_properties`.
    """
    labels = dict(_LABELS)
    for name, index in indices.items():
        labels[name] = _index_label(index)
    for name, line in _lines(lines).items():
        text = _line_label(line)
        labels[f"{name}_flux"] = f"flux of {text}"
        labels[f"{name}_ew"] = f"equivalent width of {text}, rest frame, emission positive"
        labels[f"{name}_broad_flux"] = f"flux of the broad component of {text}"
    for name in table.colnames:
        info = table[name].info
        if info.description:
            continue
        if name in labels:
            info.description = labels[name]
        elif name.endswith("_error") and name.removesuffix("_error") in labels:
            # Short, so that 68 letters, which a card of FITS takes, do for most.
            info.description = f"error (1 sigma) of {name.removesuffix('_error')}"


def _lines(lines):
    """Return the Line of each name that columns begin with."""
    own = {line.name: line for line in lines if not isinstance(line, str | type(...))}
    return {name: own.get(name) or LINES.get(name) for name in line_groups(lines)[1]}


def _line_label(line):
    """Say which line, in plain text: "[O III] 5008.2", "H alpha"."""
    for letter in _GREEK:
        if line.label == rf"H$\{letter}$":
            return f"H {letter}"
    return f"{line.label} {line.wavelength:.1f} (vacuum)"


def _index_label(index):
    source = f"; {index.source.split(',')[0]}" if index.source else ""
    if index.kind == "break":
        return f"break: mean flux in {_band(index.red)} over that in {_band(index.blue)} A{source}"
    return f"Lick index {index.name}: {_band(index.band)} A (air, rest frame){source}"


def _band(limits):
    return "-".join(f"{value:g}" for value in limits)
