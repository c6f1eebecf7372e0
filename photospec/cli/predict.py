"""``photospec predict``: images in; spectra, properties and a figure out."""

from pathlib import Path

from photospec.cli.arguments import add_overwrite, add_seed, bounded_float, bounded_int
from photospec.cli.console import BAD_INPUT, PARTIAL, error, progress, say

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
Predict the optical spectrum (4000-8500 Angstrom, vacuum, observed frame) of the
galaxy in each image, measure its properties, and draw image and spectrum.

An image is a FITS cube or a multi-extension file of the bands u, g, r, i, z with
flux units. Five SDSS frame-<band>-*.fits files together are one image; they need
the galaxy's position by --ra and --dec. Without any file, --ra and --dec fetch
the image from the SDSS archive.
"""
_EPILOG = """\
Measuring takes longer than predicting; leave --table away where it is not needed.
The exit status is 1 if some of the images failed; the others are written.
"""

# Images that are read and predicted together: large enough to keep a processor
# busy, small enough that memory does not grow with the number of images.
_CHUNK = 8


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
        "predict",
        parents=parents,
        help="predict spectra from images",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGES", help="FITS files")
    out = parser.add_argument_group("output (at least one)")
    out.add_argument(
        "-o", "--output", type=Path, metavar="SPECTRA.fits", help="predicted spectra, one per image"
    )
    out.add_argument(
        "--table", type=Path, metavar="TABLE.ecsv", help="properties measured from the spectra"
    )
    out.add_argument(
        "--figure", type=Path, metavar="FIGURE.png", help="image beside spectrum; .pdf makes pages"
    )
    add_overwrite(out)
    how = parser.add_argument_group("how")
    how.add_argument(
        "--weights", type=Path, metavar="W", help="folder of trained weights (default: bundled)"
    )
    how.add_argument(
        "--n-candidates",
        type=bounded_int(1, 100_000),
        metavar="N",
        help="spectra drawn per galaxy, of which the best is kept (default: set by the weights)",
    )
    add_seed(how)
    how.add_argument("--device", metavar="D", help="cpu, cuda or cuda:N (default: cpu)")
    where = parser.add_argument_group("target, if it is not at the centre of the image")
    where.add_argument(
        "--ra", type=bounded_float(0, 360), metavar="DEG", help="right ascension, degrees, ICRS"
    )
    where.add_argument(
        "--dec", type=bounded_float(-90, 90), metavar="DEG", help="declination, degrees, ICRS"
    )
    parser.set_defaults(run=run)


def run(args):
    """Predict, measure, draw, and write what was asked for.

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
    from photospec.cli.tables import FIGURE_SUFFIXES, TABLE_SUFFIXES
    from photospec.errors import InputError

    outputs = {"-o": args.output, "--table": args.table, "--figure": args.figure}
    if not any(outputs.values()):
        raise InputError("nothing to write: give at least one of -o, --table, --figure")
    if (args.ra is None) != (args.dec is None):
        raise InputError("--ra and --dec go together: expected both or neither")
    check_outputs(
        outputs,
        suffixes={
            "-o": (".fits",),
            "--table": TABLE_SUFFIXES,
            "--figure": FIGURE_SUFFIXES,
        },
        overwrite=args.overwrite,
        inputs=args.images,
    )
    sources = image_sources(args.images, args.ra, args.dec)
    names, spectra, pictures = _predict_all(args, sources)
    n_failed = len(sources) - len(names)
    if not names:
        if len(sources) > 1:
            error(f"none of the {len(sources)} images could be used; nothing was written")
        return BAD_INPUT
    spectra.meta["images"] = names
    _write(args, names, spectra, pictures)
    if n_failed:
        error(f"{n_failed} of {len(sources)} images failed (named above); the rest is written")
        return PARTIAL
    return 0


def _predict_all(args, sources):
    """Read and predict chunk by chunk; report what fails and go on.

    Returns the names of the images that went well, their spectra (Spectrum, flux
    (n, n_wave), or None) and, if a figure is wanted, their pictures.
    """
    names, parts, pictures = [], [], []
    spectrograph = bar = None
    for start in range(0, len(sources), _CHUNK):
        chunk = sources[start : start + _CHUNK]
        good = _read(chunk)
        if good and spectrograph is None:
            from photospec import PhotoSpectrograph

            spectrograph = PhotoSpectrograph.load(args.weights, device=args.device)
            bar = progress(args, len(sources), "predict")
            bar.update(start)
        for pairs, spectrum in _predict_together(args, spectrograph, good):
            parts.append(spectrum)
            names.extend(source.name for source, _ in pairs)
            if args.figure:
                from photospec.figures import rgb_image

                pictures.extend(rgb_image(image) for _, image in pairs)
        if bar is not None:
            bar.update(len(chunk))
    if bar is not None:
        bar.close()
    return names, _join(parts), pictures


def _read(sources):
    """Read images, naming those that cannot be read; return (source, image) pairs."""
    from photospec.errors import PhotospecError

    pairs = []
    for source in sources:
        try:
            pairs.append((source, source.read()))
        except (PhotospecError, OSError) as exception:
            _report(source, exception)
    return pairs


def _predict_together(args, spectrograph, pairs):
    """Predict images in one call; if that is refused, one by one.

    Yields (pairs, Spectrum with one flux row per pair), leaving out what fails.
    """
    from photospec.errors import PhotospecError

    if not pairs:
        return
    settings = {} if args.n_candidates is None else {"n_candidates": args.n_candidates}
    try:
        images = [image for _, image in pairs]
        yield pairs, spectrograph.predict(images, seed=args.seed, **settings)
    except PhotospecError as exception:
        if len(pairs) == 1:
            _report(pairs[0][0], exception)
            return
        for pair in pairs:
            yield from _predict_together(args, spectrograph, [pair])


def _report(source, exception):
    """Name the image that failed, once, and say why."""
    text = str(exception)
    error(text if source.name in text else f"{source.name}: {text}")


def _join(parts):
    """Join spectra on the same wavelengths into one Spectrum with flux (n, n_wave)."""
    if len(parts) < 2:
        return parts[0] if parts else None
    import numpy as np
    from specutils import Spectrum

    first = parts[0]
    optional = {}
    if first.uncertainty is not None:
        arrays = np.concatenate([part.uncertainty.array for part in parts])
        optional["uncertainty"] = type(first.uncertainty)(arrays, unit=first.uncertainty.unit)
    if first.mask is not None:
        optional["mask"] = np.concatenate([part.mask for part in parts])
    meta = {key: _join_meta(key, parts) for key in first.meta}
    flux = np.concatenate([part.flux for part in parts])
    return Spectrum(flux=flux, spectral_axis=first.spectral_axis, meta=meta, **optional)


def _join_meta(key, parts):
    """Join an entry that has one value per spectrum; keep the first of any other."""
    import numpy as np

    values = [part.meta[key] for part in parts]
    if all(isinstance(v, list) and len(v) == len(p.flux) for v, p in zip(values, parts)):
        return [item for value in values for item in value]
    if all(np.ndim(v) and len(v) == len(p.flux) for v, p in zip(values, parts)):
        return np.concatenate(values)
    return values[0]


def _write(args, names, spectra, pictures):
    """Write the spectra at once, then measure and draw if asked for."""
    from photospec.cli.outputs import naming, replacing
    from photospec.cli.tables import draw, write_table
    from photospec.spectrum import write_spectra

    if args.output:
        with naming(args.output):
            write_spectra(args.output, spectra, overwrite=args.overwrite)
        say(args, f"{args.output}: {len(names)} spectra")
    if not (args.table or args.figure):
        return
    from photospec.analysis import measure_properties

    table = measure_properties(spectra, progress=not args.quiet)
    table.add_column(names, name="image", index=0)
    # What the image and the prediction say of themselves, beside what is measured.
    if "flags" in spectra.meta:
        table["image_flags"] = ["; ".join(flags) for flags in spectra.meta["flags"]]
    if "similarity" in spectra.meta:
        table["similarity"] = spectra.meta["similarity"]
    if args.table:
        with replacing(args.table) as path:
            write_table(table, path)
        say(args, f"{args.table}: properties of {len(table)} galaxies")
    if args.figure:
        from photospec.figures import galaxy_rows

        draw(args.figure, galaxy_rows(spectra, table, pictures))
        say(args, f"{args.figure}: image and spectrum of {len(names)} galaxies")
