"""Images become spectra and rows of a table: read, predicted and measured in parts."""

from dataclasses import dataclass

from photospec.cli.console import error, progress

__all__ = ["Predictions", "predict_all", "read_images", "report"]

# Images that are read and predicted together: large enough to keep a processor
# busy, small enough that memory does not grow with the number of images.
_CHUNK = 8


@dataclass(frozen=True)
class Predictions:
    """What became of the images that could be used.

    Attributes
    ----------
    names : list of str
        Of the images.
    spectra : specutils.Spectrum or None
        Flux (n, n_wave); None without any.
    pictures : list of array
        Colour pictures, if a figure is wanted.
    table : astropy.table.QTable or None
        Their properties, if all candidates were measured.
    """

    names: list
    spectra: object
    pictures: list
    table: object


def predict_all(args, sources):
    """Read, predict and, unless quick, measure part by part; report what fails and go on.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments of ``photospec predict``.
    sources : sequence of photospec.cli._images.ImageSource

    Returns
    -------
    Predictions
    """
    names, parts, pictures = [], [], []
    spectrograph = bar = rows = None
    for start in range(0, len(sources), _CHUNK):
        chunk = sources[start : start + _CHUNK]
        good = read_images(chunk)
        if good and spectrograph is None:
            from photospec import PhotoSpectrograph

            spectrograph = PhotoSpectrograph.load(args.weights, device=args.device)
            bar = progress(args, len(sources), "predict")
            bar.update(start)
            rows = _table_of_candidates(args, bar)
        n_used = len(names)
        for pairs, spectrum in _predicted(args, spectrograph, good, rows):
            parts.append(spectrum)
            names.extend(source.name for source, _ in pairs)
            if args.figure:
                from photospec.figures import rgb_image

                pictures.extend(rgb_image(image) for _, image in pairs)
        if bar is not None:
            # The rows count those that wait for being measured themselves.
            bar.update(len(chunk) - (len(names) - n_used if rows else 0))
    table = rows.table() if rows and names else None
    if bar is not None:
        bar.close()
    return Predictions(names, _join(parts), pictures, table)


def _table_of_candidates(args, bar):
    """Where candidates are measured, or None if none are wanted."""
    if args.quick or not (args.table or args.figure):
        return None
    from photospec.cli._candidates import CandidateTable

    return CandidateTable(bar, args.method)


def _predicted(args, spectrograph, pairs, rows):
    """Yield (pairs, Spectrum with one flux row per pair), leaving out what fails."""
    if rows is None:
        yield from _predict_together(args, spectrograph, pairs)
    else:
        yield from _predict_with_candidates(args, spectrograph, pairs, rows)


def _predict_with_candidates(args, spectrograph, pairs, rows):
    """Draw the candidates of each image, give them away to be measured, and yield the best."""
    from photospec.cli._candidates import best_row
    from photospec.errors import PhotospecError

    for source, image in pairs:
        try:
            candidates = spectrograph.sample(
                image, args.n_candidates, seed=args.seed, **_options(args)
            )
        except PhotospecError as exception:
            report(source, exception)
            continue
        yield [(source, image)], best_row(candidates)
        rows.add(candidates)


def read_images(sources):
    """Read images, naming those that cannot be read; return (source, image) pairs."""
    from photospec.errors import PhotospecError

    pairs = []
    for source in sources:
        try:
            pairs.append((source, source.read()))
        except (PhotospecError, OSError) as exception:
            report(source, exception)
    return pairs


def _predict_together(args, spectrograph, pairs):
    """Predict images in one call; if that is refused, one by one.

    Yields (pairs, Spectrum with one flux row per pair), leaving out what fails.
    """
    from photospec.errors import PhotospecError

    if not pairs:
        return
    settings = _options(args)
    if args.n_candidates is not None:
        settings["n_candidates"] = args.n_candidates
    try:
        images = [image for _, image in pairs]
        yield pairs, spectrograph.predict(images, seed=args.seed, **settings)
    except PhotospecError as exception:
        if len(pairs) == 1:
            report(pairs[0][0], exception)
            return
        for pair in pairs:
            yield from _predict_together(args, spectrograph, [pair])


def _options(args):
    return {"intrinsic": True} if getattr(args, "intrinsic", False) else {}


def report(source, exception):
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
