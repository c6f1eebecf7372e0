"""``photospec train``: pairs in, trained networks out."""

from pathlib import Path

from photospec.cli.arguments import add_verb, bounded_int, existing_file
from photospec.cli.console import say

__all__ = ["add_parser", "run"]

STAGES = ("contrastive", "base", "super-resolution")
CONVERT = "convert-"

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

  convert-published makes a pairs file of a data folder of the published code
                    (images, spectra and indices as .npy):
                    --from FOLDER -o PAIRS.h5

--published reads a settings file of that code; with --write-config it becomes one of ours.
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
        "train",
        run,
        summary="train the networks on pairs",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "stage",
        type=_stage,
        metavar="STAGE",
        help="contrastive, base, super-resolution, all or convert-published",
    )
    parser.add_argument(
        "--pairs", type=existing_file, nargs="+", metavar="PAIRS.h5", help="training pairs"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="RUN/", help="run folder")
    parser.add_argument(
        "--config", type=existing_file, metavar="TRAIN.toml", help="settings, instead of a preset"
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="named settings: 'small' (default), 'tiny' for trials, 'published'",
    )
    parser.add_argument(
        "--published",
        type=existing_file,
        metavar="PARAMS.yml",
        help="settings file of the published code, instead of a preset",
    )
    parser.add_argument(
        "--write-config",
        type=Path,
        metavar="TRAIN.toml",
        help="write the settings and train nothing",
    )
    parser.add_argument(
        "--init",
        type=Path,
        metavar="WEIGHTS/",
        help="begin with the weights of a spectrograph or a finished run",
    )
    parser.add_argument(
        "--freeze",
        nargs="+",
        default=(),
        metavar="PART",
        help="parts that keep those weights: encoder, transformer, ... (see the settings)",
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
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FOLDER/", help="convert-...: its data"
    )
    parser.add_argument(
        "--wavelength",
        type=existing_file,
        metavar="FILE.npy",
        help="convert-...: shared log10 wavelengths (default: the .npy in FOLDER)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")


def _stage(text):
    import argparse

    if text in (*STAGES, "all") or text.startswith(CONVERT):
        return text
    raise argparse.ArgumentTypeError(
        f"expected one of {', '.join(STAGES)}, all or {CONVERT}..., got {text!r}"
    )


def run(args):
    """Train.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.
    """
    from photospec.cli.outputs import check_folder
    from photospec.errors import InputError

    _check_options(args)
    if args.stage.startswith(CONVERT):
        _convert(args)
        return
    if args.write_config:
        _write_config(args)
        return
    for option, value in (("--pairs", args.pairs), ("-o", args.output)):
        if value is None:
            raise InputError(f"{option}: expected in order to train, got none")
    folder = args.output
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    check_folder(folder, "-o")

    from photospec.training import train, train_all

    options = {
        "resume": args.resume,
        "device": args.device,
        "progress": not args.quiet,
        "processes": args.processes,
    }
    if args.stage == "all":
        configs = {stage: _settings(args, stage) for stage in STAGES}
        made = train_all(configs, args.pairs, args.output, **options)
    else:
        made = train(_settings(args, args.stage), args.pairs, args.output, **options)
    if made:
        say(args, f"{made}: trained on {len(args.pairs)} file(s) of pairs")


def _settings(args, stage):
    """Return the `TrainConfig` that the arguments ask for."""
    from photospec.errors import InputError
    from photospec.training import TrainConfig

    changes = {"seed": args.seed, "max_steps": args.max_steps}
    if args.config:
        config = TrainConfig.read(args.config)
        if config.stage != stage:
            raise InputError(
                f"--config: expected stage {stage!r}, got {config.stage!r} in {args.config}"
            )
    elif args.published:
        config = TrainConfig.from_published(args.published, stage)
    else:
        config = TrainConfig.preset(args.preset or "small", stage)
    if args.init and not args.config:
        return TrainConfig.fine_tune(args.init, stage, frozen=args.freeze, preset=config, **changes)
    return _begin_with(config, args.init, args.freeze).change(**changes)


def _begin_with(config, init, frozen):
    """Read the settings of a file that begin with weights of the network that they describe."""
    from dataclasses import replace

    tuning = config.fine_tuning
    tuning = replace(
        tuning,
        init=str(init) if init else tuning.init,
        frozen=tuple(frozen) or tuning.frozen,
    )
    return replace(config, fine_tuning=tuning)


def _check_options(args):
    from photospec.errors import InputError

    given = [name for name in ("config", "preset", "published") if getattr(args, name)]
    if len(given) > 1:
        names = " and ".join(f"--{name}" for name in given)
        raise InputError(f"{names}: expected at most one of them")
    for option, value in (
        ("--config", args.config),
        ("--published", args.published),
        ("--freeze", args.freeze),
        ("--write-config", args.write_config),
    ):
        if value and args.stage == "all":
            raise InputError(
                f"{option}: expected one network, got 'all', whose networks differ; train one"
            )
    for option, value in (("--from", args.source), ("--wavelength", args.wavelength)):
        if value and not args.stage.startswith(CONVERT):
            raise InputError(f"{option}: expected with {CONVERT}... only, got {args.stage}")


def _convert(args):
    from photospec.cli.outputs import check_outputs
    from photospec.errors import InputError
    from photospec.training.extensions import CONVERTERS

    convert = CONVERTERS.get(args.stage.removeprefix(CONVERT))
    for option, value in (("--from", args.source), ("-o", args.output)):
        if value is None:
            raise InputError(f"{option}: expected in order to convert, got none")
    check_outputs({"-o": args.output}, suffixes={"-o": (".h5", ".hdf5")})
    convert(args.source, args.output, wavelength=args.wavelength, note=lambda text: say(args, text))


def _write_config(args):
    from photospec.cli.outputs import check_outputs
    from photospec.config import write_toml
    from photospec.errors import InputError

    if args.config:
        raise InputError("--write-config: expected a preset, got --config")
    check_outputs({"--write-config": args.write_config})
    write_toml(_settings(args, args.stage), args.write_config)
    if args.published:
        _write_notes(args)
    name = args.published or args.preset or "small"
    say(args, f"{args.write_config}: the settings of {name} for {args.stage}")


def _write_notes(args):
    """Say on top of the settings what became of each key of the published ones."""
    from photospec.training.extensions import SETTINGS_READERS

    notes = SETTINGS_READERS.get("published")(args.published, args.stage).notes
    lines = [f"# {key}: {note}\n" for key, note in notes.items()]
    text = args.write_config.read_text(encoding="utf-8")
    head = f"# From {args.published.name} of the published code, key by key:\n"
    args.write_config.write_text(f"{head}{''.join(lines)}\n{text}", encoding="utf-8")
    for line in lines:
        say(args, line[2:].rstrip())
