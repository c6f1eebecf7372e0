"""``photospec photoz``: images in; photometric redshifts and their densities out."""

from pathlib import Path

from photospec.cli.arguments import add_galactic_ebv, add_overwrite, bounded_float
from photospec.cli.console import BAD_INPUT, PARTIAL, error, say

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Photometric redshifts of the galaxies in images: the density that the spectra of
'photospec predict' draw their redshifts from, without drawing any, hundreds of
images a second.

An image is what 'photospec predict' takes. The table has one row per image:
redshift (mean of the density), redshift_error (its standard deviation),
redshift_median, redshift_mode, the quantiles redshift_q025, _q16, _q84 and _q975,
galactic_ebv and the image's flags.
"""
_EPILOG = """\
The exit status is 1 if some of the images failed; the others are written.
"""
# Images that are read together: enough for the networks, few enough to hold.
_CHUNK = 64
_QUANTILES = {"q025": 0.025, "q16": 0.16, "q84": 0.84, "q975": 0.975}
_QP_SUFFIXES = (".hdf5", ".fits", ".pq")


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
        "photoz",
        parents=parents,
        help="photometric redshifts and their densities",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGES", help="FITS files")
    out = parser.add_argument_group("output (at least one)")
    out.add_argument(
        "-o", "--output", type=Path, metavar="TABLE.ecsv", help="redshifts, one row per image"
    )
    out.add_argument(
        "--qp",
        type=Path,
        metavar="DENSITIES.hdf5",
        help="densities as a qp ensemble, for the tools of RAIL",
    )
    add_overwrite(out)
    how = parser.add_argument_group("how")
    how.add_argument(
        "--weights", type=Path, metavar="W", help="folder of trained weights (default: bundled)"
    )
    how.add_argument("--device", metavar="D", help="cpu, cuda or cuda:N (default: cpu)")
    add_galactic_ebv(how)
    where = parser.add_argument_group("target, if it is not at the centre of the image")
    where.add_argument(
        "--ra", type=bounded_float(0, 360), metavar="DEG", help="right ascension, degrees, ICRS"
    )
    where.add_argument(
        "--dec", type=bounded_float(-90, 90), metavar="DEG", help="declination, degrees, ICRS"
    )
    parser.set_defaults(run=run)


def run(args):
    """Estimate the redshifts and write them.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.

    Returns
    -------
    int
        0, or 1 if some images failed, or 2 if all did.
    """
    from photospec.cli._images import image_sources
    from photospec.cli.outputs import check_outputs
    from photospec.cli.tables import TABLE_SUFFIXES, write_table
    from photospec.errors import InputError
    from photospec.utils.files import replacing

    outputs = {"-o": args.output, "--qp": args.qp}
    if not any(outputs.values()):
        raise InputError("nothing to write: give at least one of -o, --qp")
    if (args.ra is None) != (args.dec is None):
        raise InputError("--ra and --dec go together: expected both or neither")
    suffixes = {"-o": TABLE_SUFFIXES, "--qp": _QP_SUFFIXES}
    check_outputs(outputs, suffixes=suffixes, overwrite=args.overwrite, inputs=args.images)
    sources = image_sources(args.images, args.ra, args.dec, args.galactic_ebv)
    names, ebv, density = _densities(args, sources)
    if not names:
        if len(sources) > 1:
            error(f"none of the {len(sources)} images could be used; nothing was written")
        return BAD_INPUT
    if args.output:
        with replacing(args.output) as path:
            write_table(_table(names, ebv, density), path)
        say(args, f"{args.output}: redshifts of {len(names)} galaxies")
    if args.qp:
        ensemble = density.to_qp()
        with replacing(args.qp) as path:
            ensemble.write_to(str(path))
        say(args, f"{args.qp}: densities of {len(names)} redshifts")
    if len(names) < len(sources):
        n_failed = len(sources) - len(names)
        error(f"{n_failed} of {len(sources)} images failed (named above); the rest is written")
        return PARTIAL
    return 0


def _densities(args, sources):
    """Names, E(B-V) and densities of the images that can be used."""
    from photospec import PhotoSpectrograph
    from photospec.cli._predictions import read_images, report
    from photospec.cli.console import progress
    from photospec.errors import PhotospecError
    from photospec.redshift_density import ImageRedshiftDensity

    spectrograph = PhotoSpectrograph.load(args.weights, device=args.device)
    names, ebv, parts = [], [], []
    with progress(args, len(sources), "photoz") as bar:
        for start in range(0, len(sources), _CHUNK):
            chunk, prepared = sources[start : start + _CHUNK], []
            for source, image in read_images(chunk):
                try:
                    prepared.append(spectrograph.prepare(image))
                    names.append(source.name)
                except PhotospecError as exception:
                    report(source, exception)
            if prepared:
                parts.append(spectrograph.redshift_density(prepared))
                ebv += [image.galactic_ebv for image in prepared]
            bar.update(len(chunk))
    return names, ebv, ImageRedshiftDensity.concatenate(parts) if parts else None


def _table(names, ebv, density):
    from astropy.table import QTable

    table = QTable(
        {
            "image": names,
            "redshift": density.mean,
            "redshift_error": density.std,
            "redshift_median": density.median,
            "redshift_mode": density.mode,
        }
    )
    for name, values in zip(_QUANTILES, density.quantile(list(_QUANTILES.values())).T, strict=True):
        table[f"redshift_{name}"] = values
    for column in table.colnames[1:]:
        table[column].info.format = ".5f"
    table["galactic_ebv"] = ebv
    table["image_flags"] = ["; ".join(flags) for flags in density.flags]
    return table
