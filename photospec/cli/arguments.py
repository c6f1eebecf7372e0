"""Argument types shared by the verbs, with errors that say what was expected."""

import argparse
from pathlib import Path

__all__ = [
    "add_galactic_ebv",
    "add_method",
    "add_overwrite",
    "add_seed",
    "bounded_float",
    "bounded_int",
    "existing_file",
]


def bounded_int(low, high=None):
    """Make an argument type for whole numbers in a range.

    Parameters
    ----------
    low : int
        Smallest accepted value.
    high : int, optional
        Largest accepted value.

    Returns
    -------
    callable
        str -> int.
    """
    expected = f"a whole number of at least {low}" + (f" and at most {high}" if high else "")
    return _bounded(int, low, high, expected)


def bounded_float(low, high):
    """Make an argument type for numbers in a range, both ends included.

    Parameters
    ----------
    low, high : float
        Smallest and largest accepted value.

    Returns
    -------
    callable
        str -> float.
    """
    return _bounded(float, low, high, f"a number from {low:g} to {high:g}")


def _bounded(kind, low, high, expected):
    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        # Written so that NaN, which compares false with everything, is refused too.
        if value is None or not (value >= low and (high is None or value <= high)):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return convert


def existing_file(text):
    """Accept the path of a file that is there.

    Parameters
    ----------
    text : str
        Path as typed.

    Returns
    -------
    pathlib.Path
        The same path.
    """
    path = Path(text)
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise argparse.ArgumentTypeError(f"expected a file, but {text} {state}")
    return path


def add_seed(parser):
    """Add ``--seed``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of a verb.
    """
    parser.add_argument(
        "--seed",
        type=bounded_int(0, 2**63 - 1),
        default=0,
        metavar="S",
        help="seed of the random numbers: the same seed gives the same result (default: 0)",
    )


def add_galactic_ebv(parser):
    """Add ``--galactic-ebv``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of a verb.
    """
    parser.add_argument(
        "--galactic-ebv",
        type=bounded_float(0, 5),
        metavar="MAG",
        help="E(B-V) of the Milky Way before the galaxies, mag, on the scale of the SFD map "
        "(default: what the image says; else 0.03 is assumed and flagged)",
    )


def add_method(parser):
    """Add ``--method``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of a verb that measures spectra.
    """
    parser.add_argument(
        "--method",
        choices=("auto", "bulk", "ppxf"),
        default="auto",
        help="how spectra are measured: ppxf, exactly; bulk, faster, without"
        " uncertainties only; auto, in bulk what can be (default)",
    )


def add_overwrite(parser):
    """Add ``--overwrite``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of a verb.
    """
    parser.add_argument(
        "--overwrite", action="store_true", help="replace output files that exist already"
    )
