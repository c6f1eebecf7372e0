"""``photospec demo``: the whole way of the light on one simulated galaxy, offline."""

from pathlib import Path

from photospec.cli.arguments import add_overwrite, add_seed
from photospec.cli.console import say

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Simulate a galaxy, image it, predict its spectrum from the image with the bundled
weights, measure the spectrum, and set the result beside the truth: a table on the
screen and a figure in the folder. Needs no network and less than a minute.
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
        "demo",
        parents=parents,
        help="simulate, predict and measure one galaxy, beside the truth",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("photospec-demo"),
        metavar="FOLDER",
        help="where the files go (default: photospec-demo)",
    )
    add_seed(parser)
    add_overwrite(parser)
    parser.set_defaults(run=run)


def run(args):
    say(args, "")
