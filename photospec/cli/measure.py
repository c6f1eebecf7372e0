"""``photospec measure``: spectra in, a table of properties out."""

from pathlib import Path

from photospec.cli.arguments import add_method, add_overwrite, bounded_float
from photospec.cli.console import BAD_INPUT, PARTIAL, error, say

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Measure redshift, stellar populations, kinematics, indices and emission lines of
spectra: those that photospec predicted, SDSS, LAMOST and DESI files, tables and images
with units in their headers, and whatever else specutils reads. What cannot be measured is
masked, with the reason in 'flags'. A file that cannot be read, or on whose spectra nothing
can be measured, is named on stderr; the others are measured all the same.
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
        "measure",
        parents=parents,
        help="measure the properties of spectra",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("spectra", nargs="+", type=Path, metavar="SPECTRA", help="files of spectra")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="TABLE.ecsv", help="the table"
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FIGURE.png", help="the spectra with their lines marked"
    )
    parser.add_argument(
        "--redshift",
        type=bounded_float(-0.01, 10),
        metavar="Z",
        help="redshift of all spectra, instead of a search",
    )
    add_method(parser)
    add_overwrite(parser)
    parser.set_defaults(run=run)


def run(args):
    """Measure every spectrum of every file and write one table.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.

    Returns
    -------
    int
        0, or 1 if some files could not be read or measured, or 2 if none could.
    """
    from photospec.analysis import measure_properties
    from photospec.cli.outputs import check_outputs
    from photospec.cli.tables import FIGURE_SUFFIXES, TABLE_SUFFIXES, draw, write_table
    from photospec.utils.files import replacing

    check_outputs(
        {"-o": args.output, "--figure": args.figure},
        suffixes={"-o": TABLE_SUFFIXES, "--figure": FIGURE_SUFFIXES},
        overwrite=args.overwrite,
        inputs=args.spectra,
    )
    read = _read(args.spectra)
    if not read:
        return BAD_INPUT
    spectra = [spectrum for _, spectrum, _ in read]
    table = measure_properties(
        spectra, redshift=args.redshift, method=args.method, progress=not args.quiet
    )
    files = [str(path) for path, _, count in read for _ in range(count)]
    table.add_column(files, name="file", index=0)
    with replacing(args.output) as path:
        write_table(table, path)
    say(args, f"{args.output}: properties of {len(table)} spectra")
    if args.figure:
        rows = _figure_rows(read, table)
        draw(args.figure, rows)
        say(args, f"{args.figure}: {len(rows)} spectra")
    measured = _measured(table, given=args.redshift is not None)
    n_failed = len(set(args.spectra)) - len({path for path, *_ in read})
    for path in dict.fromkeys(str(path) for path, *_ in read):
        rows = [i for i, name in enumerate(files) if name == path]
        if not any(measured[i] for i in rows):
            n_failed += 1
            error(f"{path}: nothing could be measured ({table['flags'][rows[0]] or 'no reason'})")
    if not n_failed:
        return 0
    if not any(measured):
        return BAD_INPUT
    n_files = len(set(args.spectra))
    error(f"{n_failed} of {n_files} files failed (named above); the rest is written")
    return PARTIAL


def _measured(table, given):
    """Whether anything was measured, for each row; a redshift that was given does not count."""
    import numpy as np

    found = np.zeros(len(table), bool)
    for name in table.colnames:
        if name not in ("file", "flags", *(("redshift",) if given else ())):
            found |= ~np.broadcast_to(getattr(table[name], "mask", False), len(table))
    return found.tolist()


def _figure_rows(read, table):
    """Rows of the figure, without spectra that cannot be used at all."""
    from photospec.errors import PhotospecError
    from photospec.figures import galaxy_rows

    rows, start = [], 0
    for _, spectrum, count in read:
        part = table[start : start + count]
        start += count
        try:
            rows += galaxy_rows(spectrum, part)
        except PhotospecError:
            continue  # its row of the table gives the reason
    return rows


def _read(paths):
    """Read spectra, naming the files that cannot be read.

    Returns
    -------
    list of tuple
        (path, Spectrum, number of rows that it makes); one per Spectrum of a list.
    """
    from photospec.analysis.gate import gather
    from photospec.errors import PhotospecError
    from photospec.spectrum import read_spectrum

    found = []
    for path in paths:
        try:
            spectra = read_spectrum(path)
        except (PhotospecError, OSError) as exception:
            text = str(exception)
            error(text if str(path) in text else f"{path}: {text}")
            continue
        spectra = spectra if isinstance(spectra, list) else [spectra]
        found += [(path, item, len(gather([item], strict=False))) for item in spectra]
    return found
