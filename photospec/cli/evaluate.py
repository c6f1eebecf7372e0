"""``photospec evaluate``: how good are the predictions?"""

from pathlib import Path

from photospec.cli.arguments import add_seed, bounded_float, bounded_int, existing_file

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Measure how good a spectrograph is.

  pairs       against simulated pairs whose truth is known: redshift, spectrum, calibration
  images      colours of predicted spectra against those of the images themselves
  card        the whole model card: the pairs beside baselines trained on --training, images unlike
              the training, real images (--images) and real photometry (--catalogue)
  photometry  a catalogue of real fluxes and redshifts, rendered as images

A card and a photometry run again after a stop go on where they were (in OUTPUT/cache).
"""
_CHOICES = ("pairs", "images", "card", "photometry")


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
    parser.add_argument("what", choices=_CHOICES, help="against what")
    parser.add_argument(
        "files", nargs="+", type=existing_file, help="a pairs file, images, or a catalogue"
    )
    parser.add_argument("--weights", type=Path, metavar="W", help="folder (default: bundled)")
    parser.add_argument(
        "-n", type=bounded_int(1), default=None, metavar="N",
        help="galaxies used (default: 500; of a card 5000, of photometry 1000)",
    )  # fmt: skip
    parser.add_argument(
        "--n-candidates",
        type=bounded_int(2, 10_000),
        default=16,
        metavar="N",
        help="spectra drawn per galaxy (default: 16)",
    )
    parser.add_argument("--device", metavar="D", help="cpu, cuda or cuda:N (default: cpu)")
    add_seed(parser)
    card = parser.add_argument_group("card and photometry")
    card.add_argument(
        "-o", "--output", type=Path, default=Path("card"), metavar="FOLDER",
        help="tables, figures and what a later run goes on with (default: card)",
    )  # fmt: skip
    card.add_argument(
        "--training", nargs="+", type=existing_file, default=(), metavar="H5",
        help="pairs that the weights were trained on; the baselines learn from them",
    )  # fmt: skip
    card.add_argument(
        "--images", nargs="+", type=existing_file, default=(), metavar="FITS",
        help="real images for the card",
    )  # fmt: skip
    card.add_argument(
        "--catalogue", type=existing_file, metavar="FITS",
        help="table with u_maggies to z_maggies (nanomaggies) and redshift for the card",
    )  # fmt: skip
    card.add_argument(
        "--redshift-range", nargs=2, type=bounded_float(0, 2), default=(0.05, 0.15),
        metavar=("LOW", "HIGH"), help="of the galaxies used (default: 0.05 0.15)",
    )  # fmt: skip
    card.add_argument(
        "--r-limit", type=bounded_float(10, 30), default=17.77, metavar="R",
        help="faintest r magnitude used (default: 17.77)",
    )  # fmt: skip
    card.add_argument(
        "--n-measured", type=bounded_int(3), default=500, metavar="N",
        help="galaxies whose spectra are measured in full, two seconds each (default: 500)",
    )  # fmt: skip
    card.add_argument(
        "--n-set", type=bounded_int(1), default=4, metavar="N",
        help="candidates of each that are measured in full (default: 4)",
    )  # fmt: skip
    card.add_argument(
        "--n-training-measured", type=bounded_int(50), default=2000, metavar="N",
        help="training spectra measured in full for the direct regression (default: 2000)",
    )  # fmt: skip
    card.add_argument(
        "--processes", type=bounded_int(1), default=1, metavar="N",
        help="processes that measure (default: 1)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args):
    """Evaluate and print.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.
    """
    from photospec import PhotoSpectrograph
    from photospec.errors import InputError

    if args.what != "images" and len(args.files) != 1:
        kind = "catalogue" if args.what == "photometry" else "pairs file"
        raise InputError(f"files: expected one {kind}, got {len(args.files)}")
    if args.what in ("card", "photometry") and not args.training:
        raise InputError(
            "--training: expected the pairs files that the weights were trained on, got none; "
            "the baselines learn from them"
        )
    spectrograph = PhotoSpectrograph.load(args.weights, device=args.device)
    _RUNS[args.what](args, spectrograph)


def _evaluate_pairs(args, spectrograph):
    from photospec.evaluation import evaluate
    from photospec.pairs import PairsFile

    with PairsFile(args.files[0], bands=spectrograph.config.bands) as pairs:
        card = evaluate(
            spectrograph,
            pairs,
            n_galaxies=args.n or 500,
            n_candidates=args.n_candidates,
            seed=args.seed,
            progress=not args.quiet,
        )
    print(card)


def _settings(args, n):
    from photospec.evaluation import Settings

    return Settings(
        n_galaxies=args.n or n,
        n_candidates=args.n_candidates,
        n_measured=args.n_measured,
        n_set=min(args.n_set, args.n_candidates),
        n_training_measured=args.n_training_measured,
        redshift_range=tuple(args.redshift_range),
        r_limit=args.r_limit,
        seed=args.seed,
        n_processes=args.processes,
        progress=not args.quiet,
    )


def _evaluate_card(args, spectrograph):
    from photospec.evaluation import model_card

    model_card(
        spectrograph,
        args.files[0],
        args.training,
        args.output,
        images=args.images,
        catalogue=args.catalogue,
        settings=_settings(args, 5000),
        report=lambda text: print(text, flush=True),
    )


def _evaluate_photometry(args, spectrograph):
    from photospec.evaluation import photometry_card, read_catalogue, write_sections

    settings = _settings(args, 1000)
    catalogue = read_catalogue(
        args.files[0], redshift_range=settings.redshift_range, r_limit=settings.r_limit
    )
    section = photometry_card(
        spectrograph, catalogue, args.training, settings, folder=args.output / "cache"
    )
    write_sections([section], args.output)
    print(section)


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
    table["flags"] = [", ".join(flags) for flags in spectra.meta["flags"]]
    table.pprint(max_lines=-1, max_width=-1)
    for name in ("g_r", "r_i"):
        difference = np.asarray(table[f"d_{name}"], float)
        print(
            f"{name}: median |spectrum - image| {np.nanmedian(np.abs(difference)):.4f} mag, "
            f"median {np.nanmedian(difference):+.4f} mag"
        )


_RUNS = {
    "pairs": _evaluate_pairs,
    "images": _evaluate_images,
    "card": _evaluate_card,
    "photometry": _evaluate_photometry,
}
