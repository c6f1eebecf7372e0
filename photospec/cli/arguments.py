"""Argument types shared by the verbs, with errors that say what was expected."""

import argparse
import itertools
import textwrap
from pathlib import Path

__all__ = [
    "HelpFormatter",
    "add_galactic_ebv",
    "add_images",
    "add_method",
    "add_n_candidates",
    "add_overwrite",
    "add_seed",
    "add_target",
    "add_verb",
    "add_weights",
    "bounded_float",
    "bounded_int",
    "existing_file",
    "weights_folder",
]


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Fill paragraphs to the width of the terminal; lines that are indented stay as they are."""

    def _fill_text(self, text, width, indent):
        filled = []
        for kept, group in itertools.groupby(
            text.splitlines(), key=lambda line: not line or line.startswith(" ")
        ):
            lines = list(group)
            if not kept:
                lines = textwrap.wrap(" ".join(lines), width, break_on_hyphens=False)
            filled += lines
        return "".join(f"{indent}{line}\n" for line in filled)


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


def add_verb(verbs, parents, name, run, *, summary, description, epilog=None):
    """Add a verb.

    Parameters
    ----------
    verbs : argparse subparsers
        Where to add it.
    parents : sequence of argparse.ArgumentParser
        Parsers with the arguments of all verbs.
    name : str
        The verb.
    run : callable
        Does the work: parsed arguments -> exit status.
    summary, description, epilog : str
        In the list of verbs; above and below its arguments, see `HelpFormatter`.

    Returns
    -------
    argparse.ArgumentParser
    """
    parser = verbs.add_parser(
        name,
        parents=list(parents),
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_images(parser):
    """Add the images: files, folders and lists of files.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of a verb.
    """
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGES",
        help="FITS files, folders of them, or @LIST: a text file with a name in each line",
    )


def add_target(parser):
    """Add ``--ra``, ``--dec`` and ``--positions``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of a verb.
    """
    where = parser.add_argument_group("target, if it is not at the centre of the image")
    where.add_argument(
        "--ra", type=bounded_float(0, 360), metavar="DEG", help="right ascension, degrees, ICRS"
    )
    where.add_argument(
        "--dec", type=bounded_float(-90, 90), metavar="DEG", help="declination, degrees, ICRS"
    )
    where.add_argument(
        "--positions",
        type=Path,
        metavar="TABLE",
        help="columns ra, dec (degrees), image: one galaxy each on the SDSS frames or the "
        "bricks IMAGES (files or their folder)",
    )


def weights_folder(text):
    """Return weights as typed: a name, or a folder of weights or of the training run that made
    them.

    Parameters
    ----------
    text : str
        As typed.

    Returns
    -------
    str
        The finished spectrograph where it is the folder of a run; otherwise the same text, for
        `PhotoSpectrograph.load` to understand or refuse.
    """
    path = Path(text)
    finished = path / "spectrograph"
    if not (path / "config.toml").is_file() and (finished / "config.toml").is_file():
        return str(finished)
    return text


def add_weights(parser):
    """Add ``--weights``, ``--device`` and ``--dtype``.

    Parameters
    ----------
    parser : argparse.ArgumentParser or group
        Of a verb that uses networks.
    """
    parser.add_argument(
        "--weights",
        type=weights_folder,
        metavar="W",
        help="folder of trained weights or of the run that trained them; legacy: those for the "
        "DESI Legacy Surveys; or hf://OWNER/NAME on the Hugging Face hub (default: those for SDSS)",
    )
    parser.add_argument("--device", metavar="D", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument(
        "--dtype",
        metavar="T",
        help="precision of the networks: float32, bfloat16 or int8 (default: bfloat16 on GPUs and "
        "processors with matrix units for it, else float32)",
    )


def add_n_candidates(parser):
    """Add ``--n-candidates``.

    Parameters
    ----------
    parser : argparse.ArgumentParser or group
        Of a verb that draws spectra.
    """
    parser.add_argument(
        "--n-candidates",
        type=bounded_int(1, 100_000),
        metavar="N",
        help="spectra drawn per galaxy, of which one stands for all (default: set by the weights)",
    )


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
