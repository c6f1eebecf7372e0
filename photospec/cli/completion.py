"""Completion of verbs, arguments and file names in shells, as scripts made from the parser.

Made once and read by the shell, they cost nothing while one types, unlike programs that run
Python at each TAB.
"""

from pathlib import Path

from photospec.cli.arguments import existing_file, weights_folder
from photospec.utils.optional import optional_imports

__all__ = ["completion"]

# Arguments that take one of some names, or a file.
_OR_FILE = ("survey", "what")


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

    named = _named()
    for one in _parsers(parser):
        if getattr(one, "declare", None):
            declare, one.declare = one.declare, None
            declare(one)
        for action in one._actions:
            # Images have no type, because @LIST is no path.
            if action.type in (Path, existing_file, weights_folder) or action.dest == "images":
                action.complete = shtab.FILE
            elif action.choices is not None:
                continue
            elif action.dest in _OR_FILE:
                action.complete = _names_or_files(action.dest, named[action.dest])
            elif action.dest in named:
                action.choices = named[action.dest]
        if one is not parser:
            one.description = None  # of which only the first line would be shown; the summary is
    return shtab.complete(parser, shell=shell, root_prefix="photospec")


def _named():
    """Names that arguments take, by argument, where the parser does not know them as choices."""
    from photospec.cli.evaluate import CHOICES
    from photospec.cli.train import CONVERT, STAGES
    from photospec.simulation import SURVEYS
    from photospec.training.settings import PRESETS

    return {
        "device": ("cpu", "cuda"),
        "dtype": ("float32", "bfloat16", "int8"),
        "preset": PRESETS.names,
        "print_completion": ("bash", "zsh", "tcsh"),
        "stage": (*STAGES, "all", f"{CONVERT}published"),
        "survey": SURVEYS.names,
        "what": CHOICES,
    }


def _names_or_files(argument, names):
    """Return what completes to one of `names` or to a file, in the form that shtab takes."""
    function, words = f"_photospec_{argument}", " ".join(names)
    bash = f'{function}() {{ compgen -W "{words}" -- "$1"; compgen -f -- "$1"; }}'
    return {
        "preamble": {"bash": bash, "zsh": f"{function}() {{ compadd {words}; _files }}"},
        "bash": function,
        "zsh": function,
        "tcsh": "f",
    }


def _parsers(parser):
    """Yield a parser and those of its verbs."""
    yield parser
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for one in action.choices.values():
                yield from _parsers(one)
