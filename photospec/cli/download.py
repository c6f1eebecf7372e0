"""``photospec download``: galaxies from the archive, as pairs of image and spectrum.

What it takes and does is `photospec.cli.download_command`; settings are declared once, there.
"""

__all__ = ["add_parser", "run"]


def add_parser(verbs, parents=()):
    """Declare the verb; its arguments follow when it is used.

    Parameters
    ----------
    verbs : argparse subparsers
        Where to add the verb.
    parents : sequence of argparse.ArgumentParser
        Parsers with the arguments of all verbs.
    """
    parser = verbs.add_parser(
        "download", parents=parents, help="download galaxies from the SDSS as pairs"
    )
    parser.declare = _declare
    parser.set_defaults(run=run)


def _declare(parser):
    import argparse

    from photospec.cli.download_command import DESCRIPTION, add_arguments

    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_arguments(parser)


def run(args):
    """Download.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.

    Returns
    -------
    int
        0, or 1 if some galaxies did not arrive.
    """
    from photospec.cli.download_command import run as run_download

    return run_download(args)
