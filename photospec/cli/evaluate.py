"""``photospec evaluate``: how good are the predictions?"""

from argparse import ArgumentTypeError
from pathlib import Path

from photospec.cli.arguments import (
    add_method,
    add_seed,
    add_verb,
    add_weights,
    bounded_float,
    bounded_int,
    existing_file,
    weights_folder,
)

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Measure how good a spectrograph is.

  pairs       against simulated pairs whose truth is known, or observed ones:
              redshift, spectrum, calibration; with --report or -o everything,
              beside baselines, as a page
  images      colours of predicted spectra against those of the images
  card        the whole model card: the pairs beside baselines trained on
              --training, images unlike the training, real images (--images)
              and real photometry (--catalogue)
  photometry  a catalogue of real fluxes and redshifts, rendered as images

A file instead of these words is a pairs file. Reports, cards and photometry that run again after
a stop go on where they were (in OUTPUT/cache).
"""
_EPILOG = """\
examples:
  photospec evaluate pairs test.h5
  photospec evaluate test.h5 --report report.html --subsets quiescent,agn_type
  photospec evaluate test.h5 --weights run/spectrograph --compare old/spectrograph -o comparison
"""
CHOICES = ("pairs", "images", "card", "photometry")


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
        "evaluate",
        run,
        summary="measure how good predictions are",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "what", metavar="{" + ",".join(CHOICES) + "}", help="against what; may be left out"
    )
    parser.add_argument(
        "files", nargs="*", type=existing_file, help="a pairs file, images, or a catalogue"
    )
    parser.add_argument(
        "-n", type=bounded_int(1), default=None, metavar="N",
        help="galaxies used (default: 500; of a report all, of a card 5000, of photometry 1000)",
    )  # fmt: skip
    parser.add_argument(
        "--n-candidates",
        type=bounded_int(2, 10_000),
        default=16,
        metavar="N",
        help="spectra drawn per galaxy (default: 16)",
    )
    add_weights(parser)
    add_seed(parser)
    report = parser.add_argument_group("report")
    report.add_argument(
        "--report", type=Path, metavar="HTML",
        help="one page with all tables and figures (default with -o: FOLDER/report.html)",
    )  # fmt: skip
    report.add_argument(
        "--compare", nargs="+", type=weights_folder, default=(), metavar="W",
        help="further weights, beside --weights",
    )  # fmt: skip
    report.add_argument(
        "--subsets", type=_names, default=(), metavar="COLUMNS",
        help="columns of the pairs, separated by commas, by which the main numbers are given",
    )  # fmt: skip
    report.add_argument("--overwrite", action="store_true", help="replace a page of that name")
    card = parser.add_argument_group("report, card and photometry")
    card.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER",
        help="tables, figures and what a later run goes on with (default: the page's name without "
        "its ending; of card and photometry: card)",
    )  # fmt: skip
    card.add_argument(
        "--training", nargs="+", type=existing_file, default=(), metavar="H5",
        help="pairs that the weights were trained on; the baselines learn from them (a report "
        "without: from other galaxies of the pairs)",
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
        "--redshift-range", nargs=2, type=bounded_float(0, 2), metavar=("LOW", "HIGH"),
        help="of the galaxies used (default: all; of card and photometry 0.05 0.15)",
    )  # fmt: skip
    card.add_argument(
        "--r-limit", type=bounded_float(10, 30), metavar="R",
        help="faintest r magnitude used (default: all; of card and photometry 17.77)",
    )  # fmt: skip
    card.add_argument(
        "--n-measured", type=bounded_int(3), default=500, metavar="N",
        help="galaxies whose spectra are measured in full (default: 500)",
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
    add_method(card)


def _names(text):
    return tuple(name.strip() for name in text.split(",") if name.strip())


def run(args):
    """Evaluate and print.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.
    """
    from photospec import PhotoSpectrograph
    from photospec.errors import InputError

    if args.what not in CHOICES:
        try:
            args.files.insert(0, existing_file(args.what))
        except ArgumentTypeError as error:
            raise InputError(
                f"what: expected {', '.join(CHOICES)}, or a pairs file; {error}"
            ) from None
        args.what = "pairs"
    if not args.files or (args.what != "images" and len(args.files) != 1):
        kind = {"photometry": "catalogue", "images": "or more images"}.get(args.what, "pairs file")
        raise InputError(f"files: expected one {kind}, got {len(args.files)}")
    if args.what in ("card", "photometry"):
        args.output = args.output or Path("card")
        if not args.training:
            raise InputError(
                "--training: expected the pairs files that the weights were trained on, got none; "
                "the baselines learn from them"
            )
    if args.what == "pairs":
        _check_report(args)
    elif args.report or args.compare or args.subsets:
        raise InputError(f"--report, --compare, --subsets: expected pairs, got {args.what}")
    spectrograph = PhotoSpectrograph.load(args.weights, device=args.device, dtype=args.dtype)
    _RUNS[args.what](args, spectrograph)


def _check_report(args):
    """Settle where the page goes, before any work is done."""
    from photospec.cli.outputs import check_folder, check_outputs
    from photospec.errors import InputError

    if not (args.report or args.output):
        if args.compare or args.subsets:
            raise InputError("--compare, --subsets: expected --report or -o with them, got neither")
        return
    if args.output is not None:
        if args.output.is_file():
            raise InputError(f"--output: expected a folder, got the file {args.output}")
        check_folder(args.output.absolute().parent, "--output")
    if args.report is None:
        args.report = args.output / "report.html"
        if args.output.is_dir():
            check_outputs({"--output": args.report}, overwrite=args.overwrite)
    else:
        check_outputs(
            {"--report": args.report},
            suffixes={"--report": (".html", ".htm")},
            overwrite=args.overwrite,
            inputs=args.files,
        )


def _evaluate_pairs(args, spectrograph):
    from photospec.evaluation import evaluate
    from photospec.pairs import PairsFile

    if args.report:
        _report(args, spectrograph)
        return
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


def _report(args, spectrograph):
    from photospec import PhotoSpectrograph
    from photospec.cli.console import say
    from photospec.evaluation import Settings, report
    from photospec.evaluation.card import card_of

    spectrographs = {}
    for path in (args.weights, *args.compare):
        one = (
            PhotoSpectrograph.load(path, device=args.device, dtype=args.dtype)
            if spectrographs
            else spectrograph
        )
        name = Path(one.name).name
        if name == "spectrograph":  # the folder of a run has a name that tells more
            name = Path(one.name).parent.name
        while name in spectrographs:
            name += "'"
        spectrographs[name] = one
    folder = args.output or args.report.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    comparison = report(
        spectrographs,
        args.files[0],
        args.report,
        training=args.training,
        subsets=args.subsets,
        settings=Settings(**_options(args)),
        folder=folder,
    )
    for name, found in comparison.predicted.items():
        if len(spectrographs) > 1:
            print(f"{name}:")
        print(card_of(found, comparison.observed["dn4000"], comparison.redshift))
    say(args, f"{args.report} is written, tables and figures are in {folder}")


def _options(args):
    """Return settings that were asked for, for what has defaults of its own."""
    options = {
        "n_galaxies": args.n,
        "redshift_range": tuple(args.redshift_range) if args.redshift_range else None,
        "r_limit": args.r_limit,
    }
    return {name: value for name, value in options.items() if value is not None} | {
        "n_candidates": args.n_candidates,
        "n_measured": args.n_measured,
        "n_set": min(args.n_set, args.n_candidates),
        "n_training_measured": args.n_training_measured,
        "method": args.method,
        "seed": args.seed,
        "n_processes": args.processes,
        "progress": not args.quiet,
    }


def _settings(args, **defaults):
    from photospec.evaluation import Settings

    return Settings.of_card(**(defaults | _options(args)))


def _evaluate_card(args, spectrograph):
    from photospec.evaluation import model_card

    model_card(
        spectrograph,
        args.files[0],
        args.training,
        args.output,
        images=args.images,
        catalogue=args.catalogue,
        settings=_settings(args),
        report=lambda text: print(text, flush=True),
    )


def _evaluate_photometry(args, spectrograph):
    from photospec.evaluation import photometry_card, read_catalogue, write_sections

    settings = _settings(args, n_galaxies=1000)
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
