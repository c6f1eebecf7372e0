"""``photospec train``: pairs in, trained networks out."""

from pathlib import Path

from photospec.cli.arguments import bounded_int, existing_file
from photospec.cli.console import say

__all__ = ["add_parser", "run"]

STAGES = ("contrastive", "base", "super-resolution")

_DESCRIPTION = """\
Train one network on pairs of image and spectrum, or all three one after the other.

  contrastive       which spectrum belongs to which image: ranks the candidates
  base              image to spectrum in 8 Angstrom steps
  super-resolution  base spectrum to 1 Angstrom steps

The run folder holds the configuration, a checkpoint, a log and, when finished,
weights.safetensors; that of 'all' has one for each network and the finished
spectrograph, which 'photospec predict --weights' takes. A run that was stopped goes
on with --resume. --write-config writes the settings of a preset, explained, to a
file that --config takes after you have changed it.
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
        "--pairs", type=existing_file, nargs="+", metavar="PAIRS.h5", help="training pairs"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="RUN/", help="run folder")
    parser.add_argument(
        "--config", type=existing_file, metavar="TRAIN.toml", help="settings, instead of a preset"
    )
    parser.add_argument(
        "--preset", metavar="NAME", help="named settings: 'small' (default) or, for trials, 'tiny'"
    )
    parser.add_argument(
        "--write-config", type=Path, metavar="TRAIN.toml", help="write the preset and train nothing"
    )
    for option, metavar, high, text in (
        ("--seed", "S", 2**40, "seed of the random numbers: same seed, same weights"),
        ("--max-steps", "N", None, "optimiser steps"),
    ):
        parser.add_argument(
            option,
            type=bounded_int(0 if option == "--seed" else 1, high),
            metavar=metavar,
            help=f"{text} (default: as in the settings)",
        )
    parser.add_argument("--device", default="cpu", metavar="D", help="cpu (default) or cuda")
    parser.add_argument(
        "--processes",
        type=bounded_int(1),
        default=1,
        metavar="N",
        help="processes that train together, on cuda each with its GPU (default: 1)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
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

    if args.config and args.preset:
        raise InputError("--config and --preset: expected at most one of them")
    if args.write_config:
        _write_config(args)
        return
    for option, value in (("--pairs", args.pairs), ("-o", args.output)):
        if value is None:
            raise InputError(f"{option}: expected in order to train, got none")
    if args.config and args.stage == "all":
        raise InputError("--config: expected none with 'all', whose networks differ; train one")
    folder = args.output
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    check_folder(folder, "-o")

    from photospec.training import train

    made = train(
        args.stage,
        args.pairs,
        args.output,
        config=args.config,
        preset=args.preset or "small",
        seed=args.seed,
        max_steps=args.max_steps,
        resume=args.resume,
        device=args.device,
        progress=not args.quiet,
        processes=args.processes,
    )
    if made:
        say(args, f"{made}: trained on {len(args.pairs)} file(s) of pairs")


def _write_config(args):
    from dataclasses import replace

    from photospec.cli.outputs import check_outputs
    from photospec.config import write_toml
    from photospec.errors import InputError
    from photospec.training.presets import preset

    if args.stage == "all":
        raise InputError("--write-config: expected one network, got 'all', whose networks differ")
    if args.config:
        raise InputError("--write-config: expected a preset, got --config")
    check_outputs({"--write-config": args.write_config})
    settings = preset(args.preset or "small", args.stage)
    for name in ("seed", "max_steps"):
        if getattr(args, name) is not None:
            settings = replace(settings, **{name: getattr(args, name)})
    write_toml(settings, args.write_config)
    say(args, f"{args.write_config}: the settings of {args.preset or 'small'} for {args.stage}")
