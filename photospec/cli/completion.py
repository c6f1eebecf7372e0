"""Completion of verbs, arguments and file names in shells, as scripts made from the parser.

Made once and read by the shell, they cost nothing while one types, unlike programs that run
Python at each TAB.
"""

from pathlib import Path

from photospec.cli.arguments import existing_file, weights_folder
from photospec.utils.optional import optional_imports

__all__ = ["completion"]


def completion(parser, shell):
    """Return the script that completes the command line in a shell.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Of `photospec.cli.build_parser`.
    shell : {"bash", "zsh", "tcsh"}

    Returns
    -------
    str

    Raises
    ------
    MissingPackageError
        Without the package shtab.
    """
    with optional_imports():
        import shtab

    for one in _parsers(parser):
        if getattr(one, "declare", None):
            declare, one.declare = one.declare, None
            declare(one)
        for action in one._actions:
            # Images have no type, because @LIST is no path.
            if action.type in (Path, existing_file, weights_folder) or action.dest == "images":
                action.complete = shtab.FILE
    return shtab.complete(parser, shell=shell, root_prefix="photospec")


def _parsers(parser):
    """Yield a parser and those of its verbs."""
    yield parser
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for one in action.choices.values():
                yield from _parsers(one)
