"""The command line: ``photospec VERB ...``.

Each verb has a module with two functions: ``add_parser`` declares its
arguments, ``run`` does the work and returns the exit status. Heavy imports
(torch, specutils, pPXF) happen inside ``run``, so that ``--help`` and
``--version`` answer at once.

Exit status: 0 all done; 1 done, but some inputs failed (each was named);
2 wrong usage, bad input, or an output that cannot be written; 3 a defect of
photospec; 130 interrupted.
"""

import argparse

from photospec.cli import (
    demo,
    download,
    evaluate,
    measure,
    photoz,
    predict,
    search,
    simulate,
    survey,
    train,
)
from photospec.cli.arguments import HelpFormatter
from photospec.cli.console import run_command

__all__ = ["build_parser", "main"]

_DESCRIPTION = "Predict a galaxy's optical spectrum from its broad-band image, and measure it."
_EPILOG = """\
examples:
  photospec demo
  photospec predict cutout.fits -o spectrum.fits --table properties.ecsv --figure figure.png
  photospec photoz cutouts/*.fits -o redshifts.ecsv --qp densities.hdf5
  photospec measure spec-0285-51930-0309.fits -o table.ecsv
  photospec --print-completion bash > ~/.local/share/bash-completion/completions/photospec

'photospec VERB --help' explains the arguments of a verb.
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, like all other errors of photospec.

    Arguments that are costly to declare may be left to ``declare``, a function that is
    called with the parser when its verb is used.
    """

    declare = None

    def parse_known_args(self, args=None, namespace=None):
        if self.declare is not None:
            declare, self.declare = self.declare, None
            declare(self)
        return super().parse_known_args(args, namespace)

    def error(self, message):
        message = " ".join(message.split())
        self.exit(2, f"photospec: error: {message} (see '{self.prog} --help')\n")


class _Version(argparse.Action):
    """Look the version up only when it is asked for."""

    def __call__(self, parser, namespace, values, option_string=None):
        from photospec import __version__

        print(f"photospec {__version__}")
        parser.exit()


class _Completion(argparse.Action):
    """Print the completions of a shell."""

    def __call__(self, parser, namespace, values, option_string=None):
        from photospec.cli.completion import completion
        from photospec.errors import MissingPackageError

        try:
            print(completion(parser, values))
        except MissingPackageError as exception:
            parser.error(str(exception))
        parser.exit()


def _shell(text):
    if text not in ("bash", "zsh", "tcsh"):
        raise argparse.ArgumentTypeError(f"expected bash, zsh or tcsh, got {text!r}")
    return text


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line.

    Returns
    -------
    argparse.ArgumentParser
        Parsed arguments carry ``run``, the function of the chosen verb.
    """
    everywhere = argparse.ArgumentParser(add_help=False)
    for name, text in (
        ("--debug", "show the traceback of an unexpected error"),
        ("--quiet", "no progress bar and no summary"),
        ("--verbose", "tell details on stderr: of each image or spectrum, and what astropy does"),
    ):
        everywhere.add_argument(name, action="store_true", default=argparse.SUPPRESS, help=text)

    parser = _Parser(
        prog="photospec",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
        parents=[everywhere],
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    parser.add_argument(
        "--print-completion",
        action=_Completion,
        metavar="SHELL",
        type=_shell,
        help="print a script that completes verbs and arguments in bash, zsh or tcsh, and exit",
    )
    verbs = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB", required=True)
    for module in (
        *(predict, photoz, survey, measure, search, demo, simulate, download, train, evaluate),
    ):
        module.add_parser(verbs, parents=[everywhere])
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments after the program name; ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        Exit status, see the module's description.
    """
    args = build_parser().parse_args(argv)
    args.debug = getattr(args, "debug", False)
    args.quiet = getattr(args, "quiet", False)
    args.verbose = getattr(args, "verbose", False)
    return run_command(args.run, args)
