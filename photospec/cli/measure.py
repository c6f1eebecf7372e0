"""``photospec measure``: spectra in, a table of properties out."""

from itertools import accumulate
from pathlib import Path

from photospec.cli.arguments import add_method, add_overwrite, bounded_float
from photospec.cli.console import BAD_INPUT, PARTIAL, error, say

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Measure redshift, stellar populations, kinematics, indices and emission lines of
spectra: those that photospec predicted, SDSS spec-*.fits files, and whatever else
specutils reads. What cannot be measured is masked, with the reason in 'flags'.
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
        0, or 1 if some files failed, or 2 if all did.
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
    spectra = [spectrum for _, spectrum in read]
    counts = [spectrum.flux[..., 0].size for spectrum in spectra]
    table = measure_properties(
        spectra, redshift=args.redshift, method=args.method, progress=not args.quiet
    )
    files = [str(path) for (path, _), count in zip(read, counts) for _ in range(count)]
    table.add_column(files, name="file", index=0)
    with replacing(args.output) as path:
        write_table(table, path)
    say(args, f"{args.output}: properties of {len(table)} spectra")
    if args.figure:
        from photospec.figures import galaxy_rows

        ends = list(accumulate(counts))
        rows = [
            row
            for spectrum, count, end in zip(spectra, counts, ends)
            for row in galaxy_rows(spectrum, table[end - count : end])
        ]
        draw(args.figure, rows)
        say(args, f"{args.figure}: {len(rows)} spectra")
    n_failed = len(args.spectra) - len(read)
    if n_failed:
        error(f"{n_failed} of {len(args.spectra)} files failed (named above); the rest is written")
        return PARTIAL
    return 0


def _read(paths):
    """Read spectra, naming the files that cannot be read; return (path, Spectrum) pairs."""
    from photospec.errors import PhotospecError
    from photospec.spectrum import read_spectrum

    pairs = []
    for path in paths:
        try:
            pairs.append((path, read_spectrum(path)))
        except (PhotospecError, OSError) as exception:
            text = str(exception)
            error(text if str(path) in text else f"{path}: {text}")
    return pairs
