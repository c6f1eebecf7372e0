"""``photospec survey``: predictions for catalogues larger than one machine."""

from pathlib import Path

from photospec.cli.arguments import (
    add_n_candidates,
    add_seed,
    add_verb,
    add_weights,
    bounded_float,
    bounded_int,
)
from photospec.cli.console import PARTIAL, error, say

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Photometric redshifts, spectra and properties for all images of a catalogue, on Dask,
written as a HATS catalogue that LSDB opens.

CATALOGUE is a HATS catalogue, a Parquet file or folder, a pairs file, a Zarr group laid out as
one, a file or folder of the Multimodal Universe (HDF5), or a folder of FITS cutouts; with
--positions, a folder of SDSS frames, bricks of the Legacy Surveys, or cutouts, and a table of
positions.
"""
_EPILOG = """\
The same command again goes on where it was interrupted. An image that cannot be read or
used keeps its row, with NaN and the reason in 'flags'. The noise of an image follows from
its identifier and the seed: the result does not depend on the number of workers, on the
order or on the sizes of partitions. Needs photospec[survey].
The exit status is 1 if some partitions failed three times; the others are written, and the
same command tries those again.
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
        "survey",
        run,
        summary="predict for catalogues larger than one machine",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "catalogue",
        type=Path,
        metavar="CATALOGUE",
        help="catalogue, pairs file or folder of images",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the result"
    )
    given = parser.add_argument_group("input")
    given.add_argument(
        "--positions", type=Path, metavar="TABLE", help="columns ra, dec (degrees), image"
    )
    given.add_argument("--identifier", metavar="COLUMN", help="column of identifiers")
    given.add_argument(
        "--images",
        metavar="COLUMN_OR_PLACE",
        help="column of images (default: pixels), or what they come from by identifier: a folder "
        "of FITS files or frames, a pairs file, Zarr, the Multimodal Universe",
    )
    given.add_argument(
        "--bands", metavar="BANDS", help="of a column of images whose metadata do not tell: ugriz"
    )
    given.add_argument("--unit", metavar="UNIT", help="of its pixels: nanomaggy, uJy ...")
    given.add_argument(
        "--pixel-scale", type=bounded_float(1e-3, 100), metavar="S", help="of its pixels, arcsec"
    )
    given.add_argument(
        "--keep", nargs="*", default=[], metavar="COLUMN", help="further columns for the output"
    )
    given.add_argument(
        "--partition-rows",
        type=bounded_int(1),
        metavar="N",
        help="most rows of a piece of work (default: 1000); HATS catalogues keep their partitions, "
        "which are worked on in pieces",
    )
    how = parser.add_argument_group("what and how")
    how.add_argument(
        "--what",
        choices=("photoz", "predict", "measure"),
        default="predict",
        help="redshift densities; with spectra; with properties of all candidates "
        "(default: predict)",
    )
    how.add_argument(
        "--spectra",
        choices=("none", "best", "all"),
        help="spectra to write (default: best for predict, otherwise none)",
    )
    how.add_argument(
        "--precision",
        type=bounded_float(0, 0.09),
        default=1e-3,
        metavar="P",
        help="largest relative error of written spectra; 0 for all digits (default: 0.001)",
    )
    add_n_candidates(how)
    add_seed(how)
    add_weights(how)
    where = parser.add_argument_group("where").add_mutually_exclusive_group()
    where.add_argument(
        "--scheduler", metavar="tcp://HOST:PORT", help="a Dask scheduler that is running"
    )
    where.add_argument(
        "--workers",
        type=bounded_int(1, 4096),
        metavar="N",
        help="worker processes here, one thread each (default: one per core)",
    )


def run(args):
    """Run the survey.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.

    Returns
    -------
    int
        0, or 1 if some partitions failed.
    """
    import warnings

    from photospec import PhotoSpectrograph
    from photospec.cli.outputs import check_folder
    from photospec.survey import open_catalogue, run_survey

    check_folder(args.output.parent, "-o")
    # What LSDB and Dask say to their developers.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    _hush()
    spectrograph = PhotoSpectrograph.load(args.weights, device=args.device, dtype=args.dtype)
    catalogue = open_catalogue(
        args.catalogue,
        positions=args.positions,
        identifier=args.identifier,
        images=args.images,
        partition_rows=args.partition_rows,
        bands=args.bands,
        unit=args.unit,
        pixel_scale=args.pixel_scale,
    )
    report = run_survey(
        catalogue,
        args.output,
        spectrograph=spectrograph,
        scheduler=args.scheduler,
        n_workers=args.workers,
        say=(lambda line: None) if args.quiet else None,
        what=args.what,
        spectra=args.spectra,
        precision=args.precision,
        n_candidates=args.n_candidates,
        seed=args.seed,
        keep=tuple(args.keep),
    )
    say(args, f"{args.output}: {report.n_rows} galaxies in {report.seconds:.0f} s")
    if report.failed:
        error(
            f"{len(report.failed)} of {report.n_partitions} partitions failed (named above); the "
            "rest is written, and the same command tries them again"
        )
        return PARTIAL
    return 0


def _hush():
    """Leave what Dask logs when processes end out of the terminal: errors are told in a line."""
    import logging

    import distributed  # noqa: F401 - sets up its loggers

    for name in logging.root.manager.loggerDict:
        if name.split(".")[0] in ("distributed", "tornado", "bokeh"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
