"""``photospec photoz``: images in; photometric redshifts and their densities out."""

from dataclasses import dataclass
from pathlib import Path

from photospec.cli.arguments import (
    add_galactic_ebv,
    add_images,
    add_overwrite,
    add_target,
    add_verb,
    add_weights,
)
from photospec.cli.console import BAD_INPUT, PARTIAL, counted, error, say

__all__ = ["COLUMNS", "add_parser", "run"]

_DESCRIPTION = """\
Photometric redshifts of the galaxies in images: the density that the spectra of
'photospec predict' draw their redshifts from, without drawing any, hundreds of
images a second.

An image is what 'photospec predict' takes. The table has one row per image:
redshift (mean of the density), redshift_error (its standard deviation),
redshift_median, redshift_mode, the quantiles redshift_q025, _q16, _q84 and _q975,
galactic_ebv and the image's flags.
"""
_EPILOG = """\
The exit status is 1 if some of the images failed; the others are written.
"""
# Images that are read together: enough for the networks, few enough to hold.
_CHUNK = 64
_QUANTILES = {"q025": 0.025, "q16": 0.16, "q84": 0.84, "q975": 0.975}
# Column -> meaning, in the order of the table.
_REDSHIFTS = {
    "redshift": "mean of the density of the redshift",
    "redshift_error": "standard deviation of the density",
    "redshift_median": "median of the density",
    "redshift_mode": "where the density is highest",
    **{
        f"redshift_{name}": f"{q:g} of the probability is below it"
        for name, q in _QUANTILES.items()
    },
}
#: Columns of the table: (name, unit, meaning).
COLUMNS = (
    ("image", "", "name of the image"),
    ("ra", "deg", "right ascension of the target, ICRS"),
    ("dec", "deg", "declination of the target, ICRS"),
    *((name, "", text) for name, text in _REDSHIFTS.items()),
    ("galactic_ebv", "mag", "E(B-V) of the Milky Way before the galaxy, scale of the SFD map"),
    ("image_flags", "", "what was odd about the image"),
)
_QP_SUFFIXES = (".hdf5", ".fits", ".pq")


def add_parser(verbs, parents=()):
    """Declare the verb and its arguments.

    Parameters
    ----------
    verbs : argparse subparsers
        Where to add the verb.
    parents : sequence of argparse.ArgumentParser
        Parsers with the arguments of all verbs.
    """
    parser = add_verb(
        verbs,
        parents,
        "photoz",
        run,
        summary="photometric redshifts and their densities",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_images(parser)
    out = parser.add_argument_group("output (at least one)")
    out.add_argument(
        "-o", "--output", type=Path, metavar="TABLE.ecsv", help="redshifts, one row per image"
    )
    out.add_argument(
        "--qp",
        type=Path,
        metavar="DENSITIES.hdf5",
        help="densities as a qp ensemble, for the tools of RAIL",
    )
    add_overwrite(out)
    how = parser.add_argument_group("how")
    add_weights(how)
    add_galactic_ebv(how)
    add_target(parser)


def run(args):
    """Estimate the redshifts and write them.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.

    Returns
    -------
    int
        0, or 1 if some images failed, or 2 if all did.
    """
    from photospec.cli._images import sources_of
    from photospec.cli.outputs import check_outputs
    from photospec.cli.tables import TABLE_SUFFIXES, write
    from photospec.errors import InputError
    from photospec.utils.files import replacing

    outputs = {"-o": args.output, "--qp": args.qp}
    if not any(outputs.values()):
        raise InputError("nothing to write: give at least one of -o, --qp")
    sources = sources_of(args)
    suffixes = {"-o": TABLE_SUFFIXES, "--qp": _QP_SUFFIXES}
    inputs = [path for source in sources for path in source.paths]
    check_outputs(outputs, suffixes=suffixes, overwrite=args.overwrite, inputs=inputs)
    found = _densities(args, sources)
    names, density = found.names, found.density
    if not names:
        if len(sources) > 1:
            error(f"none of the {len(sources)} images could be used; nothing was written")
        return BAD_INPUT
    if args.output:
        write(args.output, _table(found))
        say(args, f"{args.output}: redshifts of {counted(len(names), 'galaxy', 'galaxies')}")
    if args.qp:
        ensemble = density.to_qp()
        with replacing(args.qp) as path:
            ensemble.write_to(str(path))
        say(args, f"{args.qp}: densities of {counted(len(names), 'redshift', 'redshifts')}")
    if len(names) < len(sources):
        n_failed = len(sources) - len(names)
        error(f"{n_failed} of {len(sources)} images failed (named above); the rest is written")
        return PARTIAL
    return 0


@dataclass
class _Densities:
    """Names, places, E(B-V) and densities of the images that can be used."""

    names: list
    places: list
    ebv: list
    density: object
    weights: str


def _densities(args, sources):
    from photospec import PhotoSpectrograph
    from photospec.cli._predictions import place_of, prepared_images, read_images
    from photospec.cli.console import note, progress
    from photospec.redshift_density import ImageRedshiftDensity

    spectrograph = PhotoSpectrograph.load(args.weights, device=args.device, dtype=args.dtype)
    found = _Densities([], [], [], None, spectrograph.name)
    parts = []
    with progress(args, len(sources), "photoz") as bar:
        for start in range(0, len(sources), _CHUNK):
            chunk = sources[start : start + _CHUNK]
            good = prepared_images(spectrograph, read_images(chunk))
            if good:
                parts.append(spectrograph.redshift_density([image for _, image in good]))
            for number, (source, image) in enumerate(good):
                if args.verbose:
                    note(args, f"{source.name}: {_summary(parts[-1][number])}")
                found.names.append(source.name)
                found.places.append(place_of(image, source))
                found.ebv.append(image.galactic_ebv)
            bar.update(len(chunk))
    if parts:
        found.density = ImageRedshiftDensity.concatenate(parts)
    return found


def _summary(one):
    """Return what is said of an image with ``--verbose``, of the density of its redshift."""
    flags = ", ".join(one.flags[0]) or "none"
    return f"z = {one.mean[0]:.3f} +- {one.std[0]:.3f}, flags: {flags}"


def _table(found):
    """Return a table of one row per image."""
    import numpy as np
    from astropy import units as u
    from astropy.table import QTable

    from photospec.analysis.properties import masked_column

    density, table = found.density, QTable({"image": found.names})
    places = np.array(found.places, float)  # None, where it is not known, becomes NaN
    for name, values in zip(("ra", "dec"), places.T, strict=True):
        if np.isfinite(values).any():
            table[name] = masked_column(values, u.deg)
            table[name].info.format = ".6f"
    quantiles = density.quantile(list(_QUANTILES.values())).T
    values = [density.mean, density.std, density.median, density.mode, *quantiles]
    for name, one in zip(_REDSHIFTS, values, strict=True):
        table[name] = one
        table[name].info.format = ".5f"
    table["galactic_ebv"] = found.ebv * u.mag
    table["image_flags"] = ["; ".join(flags) for flags in density.flags]
    for name, _, text in COLUMNS:
        if name in table.colnames:
            table[name].info.description = text
    table.meta["weights"] = found.weights
    return table
