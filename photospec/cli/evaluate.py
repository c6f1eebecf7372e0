"""``photospec evaluate``: how good are the predictions?"""

from pathlib import Path

from photospec.cli.arguments import add_seed, bounded_int, existing_file

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Measure how good a spectrograph is.

  pairs    against simulated pairs whose truth is known: redshift, spectrum, calibration
  images   colours of predicted spectra against those of the images themselves
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
        "evaluate",
        parents=parents,
        help="measure how good predictions are",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("pairs", "images"), help="against what")
    parser.add_argument("files", nargs="+", type=existing_file, help="a pairs file, or images")
    parser.add_argument("--weights", type=Path, metavar="W", help="folder (default: bundled)")
    parser.add_argument("-n", type=bounded_int(1), default=500, metavar="N", help="pairs used")
    parser.add_argument(
        "--n-candidates",
        type=bounded_int(2, 10_000),
        default=16,
        metavar="N",
        help="spectra drawn per galaxy (default: 16)",
    )
    parser.add_argument("--device", metavar="D", help="cpu, cuda or cuda:N (default: cpu)")
    add_seed(parser)
    parser.set_defaults(run=run)


def run(args):
    """Evaluate and print.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.
    """
    from photospec import PhotoSpectrograph

    spectrograph = PhotoSpectrograph.load(args.weights, device=args.device)
    (_evaluate_pairs if args.what == "pairs" else _evaluate_images)(args, spectrograph)


def _evaluate_pairs(args, spectrograph):
    from photospec.errors import InputError
    from photospec.evaluation import evaluate
    from photospec.pairs import PairsFile

    if len(args.files) != 1:
        raise InputError(f"files: expected one pairs file, got {len(args.files)}")
    with PairsFile(args.files[0], bands=spectrograph.config.bands) as pairs:
        card = evaluate(
            spectrograph,
            pairs,
            n_galaxies=args.n,
            n_candidates=args.n_candidates,
            seed=args.seed,
            progress=not args.quiet,
        )
    print(card)


def _evaluate_images(args, spectrograph):
    import numpy as np

    from photospec.evaluation import compare_colours
    from photospec.image import read_image

    images = [spectrograph.prepare(read_image(path)) for path in args.files]
    spectra = spectrograph.predict(images, seed=args.seed)
    table = compare_colours(images, spectra)
    table.add_column([path.name for path in args.files], name="image", index=0)
    for name in table.colnames[1:]:
        table[name].format = ".3f"
    table.pprint(max_lines=-1, max_width=-1)
    for name in ("g_r", "r_i"):
        difference = np.asarray(table[f"d_{name}"], float)
        print(
            f"{name}: median |spectrum - image| {np.nanmedian(np.abs(difference)):.4f} mag, "
            f"median {np.nanmedian(difference):+.4f} mag"
        )
