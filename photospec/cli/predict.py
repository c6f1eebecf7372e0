"""``photospec predict``: images in; spectra, properties and a figure out."""

from pathlib import Path

from photospec.cli.arguments import (
    add_galactic_ebv,
    add_method,
    add_overwrite,
    add_seed,
    bounded_float,
    bounded_int,
)
from photospec.cli.console import BAD_INPUT, PARTIAL, error, say

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Predict the optical spectrum (4000-8500 Angstrom, vacuum, observed frame) of the
galaxy in each image, measure its properties, and draw image and spectrum.

An image is a FITS cube or a multi-extension file of the bands u, g, r, i, z with
flux units. Five SDSS frame-<band>-*.fits files together are one image; they need
the galaxy's position by --ra and --dec. Without any file, --ra and --dec fetch
the image from the SDSS archive.
"""
_EPILOG = """\
For --table and --figure every candidate is measured, some 0.1 s each (8 candidates: a
second per galaxy and core), because only their spread tells how well a galaxy is known:
each <column>_error holds it. Values and spectrum are those of the candidate that
stands for all. --quick measures this one alone; errors are then of the measurement
only, much too small for a prediction, and the table says so in 'flags'.
The exit status is 1 if some of the images failed; the others are written.
"""


def add_parser(verbs, parents=()):
    """Declare the verb and its arguments.

    Parameters
    ----------
    verbs : argparse subparsers
        Where to add the verb.
    parents : sequence of argparse.ArgumentParser
        Parsers with the arguments of all verbs.
    """
    import argparse

    parser = verbs.add_parser(
        "predict",
        parents=parents,
        help="predict spectra from images",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGES", help="FITS files")
    out = parser.add_argument_group("output (at least one)")
    out.add_argument(
        "-o", "--output", type=Path, metavar="SPECTRA.fits", help="predicted spectra, one per image"
    )
    out.add_argument(
        "--table", type=Path, metavar="TABLE.ecsv", help="properties measured from the spectra"
    )
    out.add_argument(
        "--figure", type=Path, metavar="FIGURE.png", help="image beside spectrum; .pdf makes pages"
    )
    add_overwrite(out)
    how = parser.add_argument_group("how")
    how.add_argument(
        "--weights", type=Path, metavar="W", help="folder of trained weights (default: bundled)"
    )
    how.add_argument(
        "--n-candidates",
        type=bounded_int(1, 100_000),
        metavar="N",
        help="spectra drawn per galaxy, of which the best is kept (default: set by the weights)",
    )
    how.add_argument(
        "--quick",
        action="store_true",
        help="measure only the best of them; errors are then of the measurement only",
    )
    add_method(how)
    add_seed(how)
    how.add_argument(
        "--intrinsic",
        action="store_true",
        help="spectra without the Milky Way's dust (default: as observed through it)",
    )
    how.add_argument("--device", metavar="D", help="cpu, cuda or cuda:N (default: cpu)")
    add_galactic_ebv(how)
    where = parser.add_argument_group("target, if it is not at the centre of the image")
    where.add_argument(
        "--ra", type=bounded_float(0, 360), metavar="DEG", help="right ascension, degrees, ICRS"
    )
    where.add_argument(
        "--dec", type=bounded_float(-90, 90), metavar="DEG", help="declination, degrees, ICRS"
    )
    where.add_argument(
        "--positions",
        type=Path,
        metavar="TABLE",
        help="columns ra, dec (degrees), image: one galaxy each on the SDSS frames of the folder "
        "IMAGES",
    )
    parser.set_defaults(run=run)


def run(args):
    """Predict, measure, draw, and write what was asked for.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.

    Returns
    -------
    int
        0, or 1 if some images failed, or 2 if all did.
    """
    from photospec.cli._images import image_sources, sources_at
    from photospec.cli._predictions import predict_all
    from photospec.cli.outputs import check_outputs
    from photospec.cli.tables import FIGURE_SUFFIXES, TABLE_SUFFIXES
    from photospec.errors import InputError

    outputs = {"-o": args.output, "--table": args.table, "--figure": args.figure}
    if not any(outputs.values()):
        raise InputError("nothing to write: give at least one of -o, --table, --figure")
    if (args.ra is None) != (args.dec is None):
        raise InputError("--ra and --dec go together: expected both or neither")
    check_outputs(
        outputs,
        suffixes={
            "-o": (".fits",),
            "--table": TABLE_SUFFIXES,
            "--figure": FIGURE_SUFFIXES,
        },
        overwrite=args.overwrite,
        inputs=args.images,
    )
    if args.positions is not None:
        if args.ra is not None:
            raise InputError("--positions: expected it without --ra and --dec, got both")
        sources = sources_at(args.images, args.positions)
    else:
        sources = image_sources(args.images, args.ra, args.dec, args.galactic_ebv)
    found = predict_all(args, sources)
    n_failed = len(sources) - len(found.names)
    if not found.names:
        if len(sources) > 1:
            error(f"none of the {len(sources)} images could be used; nothing was written")
        return BAD_INPUT
    found.spectra.meta["images"] = found.names
    _write(args, found)
    if n_failed:
        error(f"{n_failed} of {len(sources)} images failed (named above); the rest is written")
        return PARTIAL
    return 0


def _write(args, found):
    """Write the spectra, then the table, then the figure, as far as asked for."""
    from photospec.cli._candidates import PER_SPECTRUM
    from photospec.cli.tables import draw, write_table
    from photospec.spectrum import write_spectra
    from photospec.utils.files import naming, replacing

    names, spectra = found.names, found.spectra
    if args.output:
        with naming(args.output):
            write_spectra(args.output, spectra, overwrite=args.overwrite)
        say(args, f"{args.output}: {len(names)} spectra")
    if not (args.table or args.figure):
        return
    table = _quick_table(args, spectra) if found.table is None else found.table
    table.add_column(names, name="image", index=0)
    # What the image and the prediction say of themselves, beside what is measured.
    if "flags" in spectra.meta:
        table["image_flags"] = ["; ".join(flags) for flags in spectra.meta["flags"]]
    for name in PER_SPECTRUM:
        values = spectra.meta.get(name)
        if name != "flags" and values is not None and None not in values:
            table[name] = values
    if args.table:
        with replacing(args.table) as path:
            write_table(table, path)
        say(args, f"{args.table}: properties of {len(table)} galaxies")
    if args.figure:
        from photospec.figures import galaxy_rows

        draw(args.figure, galaxy_rows(spectra, table, found.pictures))
        say(args, f"{args.figure}: image and spectrum of {len(names)} galaxies")


def _quick_table(args, spectra):
    """Measure the predicted spectra alone; the table then says that its errors are too small."""
    from photospec.analysis import combine_candidates, measure_properties

    table = measure_properties(spectra, method=args.method, progress=not args.quiet)
    return combine_candidates(table, [0] * len(table))
