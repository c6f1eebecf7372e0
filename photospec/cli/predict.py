"""``photospec predict``: images in; spectra, properties and a figure out."""

from pathlib import Path

from photospec.cli.arguments import (
    add_galactic_ebv,
    add_images,
    add_method,
    add_n_candidates,
    add_overwrite,
    add_seed,
    add_target,
    add_verb,
    add_weights,
)
from photospec.cli.console import BAD_INPUT, PARTIAL, counted, error, progress, say

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Predict the optical spectrum (4000-8500 Angstrom, vacuum, observed frame) of the
galaxy in each image, measure its properties, and draw image and spectrum.

An image is a FITS cube or a multi-extension file of the bands u, g, r, i, z with
flux units; a folder stands for all FITS files in it, @LIST for those that a text
file names, one in a line. Five SDSS frame-<band>-*.fits files together are one
image, and so are the legacysurvey-<brick>-image-<band>.fits.fz of a brick (with
--weights legacy); they need the galaxy's position by --ra and --dec, or a table of
galaxies by --positions. Without any file, --ra and --dec fetch the image from the
SDSS archive.
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
    parser = add_verb(
        verbs,
        parents,
        "predict",
        run,
        summary="predict spectra from images",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_images(parser)
    out = parser.add_argument_group("output (at least one)")
    out.add_argument(
        "-o", "--output", type=Path, metavar="SPECTRA.fits", help="predicted spectra, one per image"
    )
    out.add_argument(
        "--table",
        type=Path,
        metavar="TABLE.ecsv",
        help="properties measured from the spectra (.ecsv, .fits, .vot, .csv or .parquet)",
    )
    out.add_argument(
        "--figure", type=Path, metavar="FIGURE.png", help="image beside spectrum; .pdf makes pages"
    )
    out.add_argument(
        "--candidates",
        type=Path,
        metavar="ALL.fits",
        help="all spectra drawn, in a file like that of -o",
    )
    out.add_argument(
        "--products",
        type=Path,
        metavar="FOLDER",
        help="a file for each image, with the extensions of the published study's products",
    )
    out.add_argument(
        "--observed",
        nargs="+",
        type=Path,
        default=[],
        metavar="SPECTRUM",
        help="observed spectra, to go into those products whose position is theirs (2 arcsec)",
    )
    add_overwrite(out)
    how = parser.add_argument_group("how")
    add_weights(how)
    add_n_candidates(how)
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
    add_galactic_ebv(how)
    add_target(parser)


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
    from photospec.cli._images import sources_of
    from photospec.cli._predictions import predict_all
    from photospec.cli.outputs import check_outputs
    from photospec.cli.tables import FIGURE_SUFFIXES, TABLE_SUFFIXES
    from photospec.errors import InputError

    outputs = {
        "-o": args.output,
        "--table": args.table,
        "--figure": args.figure,
        "--candidates": args.candidates,
    }
    if not any(outputs.values()) and not args.products:
        raise InputError(
            "nothing to write: give at least one of -o, --table, --figure, --candidates, --products"
        )
    if args.observed and not args.products:
        raise InputError("--observed: expected --products FOLDER with it, got none")
    suffixes = {
        "-o": (".fits",),
        "--table": TABLE_SUFFIXES,
        "--figure": FIGURE_SUFFIXES,
        "--candidates": (".fits",),
    }
    sources = sources_of(args)
    inputs = [path for source in sources for path in source.paths] + [*args.observed]
    check_outputs(outputs, suffixes=suffixes, overwrite=args.overwrite, inputs=inputs)
    products = _products(args, sources)
    found = predict_all(args, sources)
    n_failed = len(sources) - len(found.names)
    if not found.names:
        if len(sources) > 1:
            error(f"none of the {len(sources)} images could be used; nothing was written")
        return BAD_INPUT
    _write(args, found)
    if products:
        products.write(found)
        galaxies = counted(len(found.names), "galaxy", "galaxies")
        say(args, f"{args.products}: products of {galaxies}")
    if n_failed:
        error(f"{n_failed} of {len(sources)} images failed (named above); the rest is written")
        return PARTIAL
    return 0


def _products(args, sources):
    """Tell where products go, if any are wanted; refused before the work starts."""
    if not args.products:
        return None
    from photospec.cli._products import Products

    return Products(args.products, sources, args.observed, overwrite=args.overwrite)


def _write(args, found):
    """Write the spectra, then the table, then the figure, as far as asked for."""
    from photospec.candidates import write_candidates
    from photospec.cli.tables import add_origin, draw, write
    from photospec.spectrum import write_spectra
    from photospec.utils.files import naming

    names, spectra = found.names, found.spectra
    galaxies = counted(len(names), "galaxy", "galaxies")
    if args.output:
        with naming(args.output):
            write_spectra(args.output, spectra, overwrite=args.overwrite)
        say(args, f"{args.output}: {counted(len(names), 'spectrum', 'spectra')}")
    if args.candidates:
        with naming(args.candidates):
            write_candidates(
                args.candidates, found.candidates, images=names, overwrite=args.overwrite
            )
        n_spectra = sum(map(len, found.candidates))
        say(args, f"{args.candidates}: {n_spectra} spectra of {galaxies}")
    if not (args.table or args.figure):
        return
    table = _quick_table(args, spectra) if found.table is None else found.table
    add_origin(table, spectra)
    if args.table:
        write(args.table, table)
        say(args, f"{args.table}: properties of {galaxies}")
    if args.figure:
        from photospec.figures import galaxy_rows

        draw(args.figure, galaxy_rows(spectra, table, found.pictures))
        say(args, f"{args.figure}: image and spectrum of {galaxies}")


def _quick_table(args, spectra):
    """Measure the predicted spectra alone; the table then says that its errors are too small."""
    from photospec.analysis import combine_candidates, measure_properties

    with progress(args, len(spectra.flux), "measure") as bar:
        table = measure_properties(spectra, method=args.method, progress=bar.update)
    return combine_candidates(table, [0] * len(table))
