"""``photospec train``: pairs in, trained networks out."""

from pathlib import Path

from photospec.cli.arguments import add_seed, existing_file
from photospec.cli.console import say

__all__ = ["add_parser", "run"]

STAGES = ("contrastive", "base", "super-resolution")

_DESCRIPTION = """\
Train one network on pairs of image and spectrum, or all three one after the other.

  contrastive       which spectrum belongs to which image: ranks the candidates
  base              image to spectrum in 8 Angstrom steps
  super-resolution  base spectrum to 1 Angstrom steps

The run folder holds the configuration, checkpoints and weights.safetensors. A run
that was stopped goes on with --resume.
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
        "train",
        parents=parents,
        help="train the networks on pairs",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", choices=(*STAGES, "all"), help="which network")
    parser.add_argument(
        "--pairs", type=existing_file, required=True, metavar="PAIRS.h5", help="training pairs"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="RUN/", help="run folder"
    )
    parser.add_argument(
        "--config", type=existing_file, metavar="TRAIN.toml", help="settings, instead of a preset"
    )
    parser.add_argument("--preset", metavar="NAME", help="named settings, such as 'tiny'")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    add_seed(parser)
    parser.set_defaults(run=run)


def run(args):
    """Train.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.
    """
    from photospec.cli.outputs import check_folder
    from photospec.errors import InputError
    from photospec.training import train

    if args.config and args.preset:
        raise InputError("--config and --preset: expected at most one of them")
    if args.output.exists():
        check_folder(args.output, "-o")
    else:
        check_folder(args.output.parent, "-o")
    for stage in STAGES if args.stage == "all" else (args.stage,):
        output = args.output / stage if args.stage == "all" else args.output
        train(
            stage,
            config=args.config,
            pairs=args.pairs,
            output=output,
            resume=args.resume,
            seed=args.seed,
            preset=args.preset,
        )
        say(args, f"{output}: trained the {stage} network")
