"""``photospec simulate``: mock galaxies, as pairs of image and spectrum."""

import os
from pathlib import Path

from photospec.cli.arguments import add_overwrite, add_seed, bounded_int
from photospec.cli.console import progress, say

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Simulate galaxies of the SDSS Main Galaxy Sample as pairs of five-band image and
fibre spectrum, with the truth beside them, into one HDF5 file.

A killed run goes on with --resume and ends with the same file.
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
        "simulate",
        parents=parents,
        help="simulate pairs of image and spectrum",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-n", type=bounded_int(1), required=True, metavar="N", help="number of galaxies"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="PAIRS.h5", help="file of pairs"
    )
    add_seed(parser)
    parser.add_argument(
        "--processes",
        type=bounded_int(1, 4096),
        metavar="P",
        help="processes side by side; the result does not depend on it (default: all cores)",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume", action="store_true", help="go on with a file that was not finished"
    )
    add_overwrite(existing)
    parser.set_defaults(run=run)


def run(args):
    """Simulate and write.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.
    """
    from photospec.cli.outputs import check_outputs
    from photospec.simulation import Survey, simulate_pairs

    check_outputs(
        {"-o": args.output},
        suffixes={"-o": (".h5", ".hdf5")},
        overwrite=args.overwrite or args.resume,
    )
    with progress(args, args.n, "simulate") as bar:
        simulate_pairs(
            args.n,
            args.output,
            survey=Survey.sdss_main(seed=args.seed),
            n_processes=args.processes or _n_cores(),
            resume=args.resume,
            overwrite=args.overwrite,
            progress=lambda n_done, _: bar.update(n_done - bar.n),
        )
    say(args, f"{args.output}: {args.n} pairs")


def _n_cores():
    """Count the cores that this process may use, which a cluster may limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
