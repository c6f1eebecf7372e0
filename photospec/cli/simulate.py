"""``photospec simulate``: mock galaxies, as pairs of image and spectrum."""

from pathlib import Path

from photospec.cli.arguments import add_overwrite, add_seed, add_verb, bounded_int
from photospec.cli.console import counted, progress, say

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Simulate galaxies as pairs of image and fibre spectrum, with the truth beside them
(parameters, line fluxes, spectral indices), into one HDF5 file. The survey is the
SDSS Main Galaxy Sample unless another is named; --write-survey writes all its
settings to a file to change and to read again:

  photospec simulate --survey desi_legacy --write-survey mine.toml
  photospec simulate -n 1000 -o pairs.h5 --survey mine.toml

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
    parser = add_verb(
        verbs,
        parents,
        "simulate",
        run,
        summary="simulate pairs of image and spectrum",
        description=_DESCRIPTION,
    )
    parser.add_argument("-n", type=bounded_int(1), metavar="N", help="number of galaxies")
    parser.add_argument("-o", "--output", type=Path, metavar="PAIRS.h5", help="file of pairs")
    parser.add_argument(
        "--survey",
        default="sdss_main",
        metavar="SURVEY",
        help="sdss_main, desi_legacy, lsst, hsc_wide, or a TOML file of settings; what a file "
        "leaves out is as in sdss_main (default: sdss_main)",
    )
    parser.add_argument(
        "--write-survey",
        type=Path,
        metavar="FILE.toml",
        help="write the survey's settings, explained; without -n and -o nothing else is done",
    )
    add_seed(parser)
    parser.set_defaults(seed=None)  # a survey from a file has a seed of its own
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


def run(args):
    """Simulate and write.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.
    """
    from photospec.analysis.indices.definitions import INDICES
    from photospec.cli.outputs import check_outputs
    from photospec.errors import InputError
    from photospec.simulation import simulate_pairs
    from photospec.utils.parallel import n_cores

    if (args.n is None) != (args.output is None) or not (args.output or args.write_survey):
        raise InputError(
            "-n, -o: expected both, or --write-survey alone, got "
            f"{'-n' if args.n else '-o' if args.output else 'neither'}"
        )
    survey = _survey(args)
    from_file = [args.survey] if args.survey.endswith(".toml") else []
    check_outputs(
        {"-o": args.output},
        suffixes={"-o": (".h5", ".hdf5")},
        overwrite=args.overwrite or args.resume,
        inputs=from_file,
    )
    check_outputs(
        {"--write-survey": args.write_survey},
        suffixes={"--write-survey": (".toml",)},
        overwrite=args.overwrite,
        inputs=from_file,
    )
    if args.write_survey:
        survey.write(args.write_survey, overwrite=args.overwrite)
        say(args, f"{args.write_survey}: settings of {survey.name}")
    if not args.output:
        return
    with progress(args, args.n, "simulate") as bar:
        simulate_pairs(
            args.n,
            args.output,
            survey=survey,
            n_processes=args.processes or n_cores(),
            indices=tuple(INDICES.values()),
            resume=args.resume,
            overwrite=args.overwrite,
            progress=lambda n_done, _: bar.update(n_done - bar.n),
        )
    say(args, f"{args.output}: {counted(args.n, 'pair', 'pairs')}")


def _survey(args):
    """Return the named survey; a seed on the command line goes before one in a file."""
    from photospec.errors import InputError
    from photospec.simulation import SURVEYS, Survey

    if not args.survey.endswith(".toml"):
        if args.survey in SURVEYS:
            return Survey.named(args.survey, seed=args.seed or 0)
        raise InputError(
            f"--survey: expected {', '.join(SURVEYS)} or a file ending in .toml, got "
            f"{args.survey!r}; is it misspelt?"
        )
    survey = Survey.read(args.survey)
    return survey if args.seed is None else survey.replace(seed=args.seed)
