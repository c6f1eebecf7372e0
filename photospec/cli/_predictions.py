"""Images become spectra and rows of a table: read, predicted and measured in parts."""

from dataclasses import dataclass, field

from photospec.cli.console import error, note, progress

__all__ = ["Predictions", "best_row", "place_of", "predict_all", "prepared_images", "read_images"]

# Images that are read and predicted together: large enough to keep a processor
# busy, small enough that memory does not grow with the number of images.
_CHUNK = 8
# Entries of a prediction's ``meta`` with one value per spectrum.
_PER_SPECTRUM = (
    "similarity",
    "flags",
    "galactic_ebv",
    "drawn_redshift",
    "expected_redshift",
    "agn_score",
    "agn_probability",
    "spread",
)


@dataclass
class Predictions:
    """What became of the images that could be used.

    Attributes
    ----------
    names : list of str
        Of the images.
    spectra : specutils.Spectrum or None
        Flux (n, n_wave); ``meta["images"]``, ``meta["ra"]`` and ``meta["dec"]`` (degrees, None
        where it is not known) say of what. None without any.
    pictures : list of array
        Colour pictures, if a figure is wanted.
    candidates : list of CandidateSpectra
        If they are to be written.
    sources : list of ImageSource
        That could be used.
    table : astropy.table.QTable or None
        Their properties, if all candidates were measured.
    """

    names: list = field(default_factory=list)
    spectra: object = None
    pictures: list = field(default_factory=list)
    candidates: list = field(default_factory=list)
    sources: list = field(default_factory=list)
    table: object = None


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
    from photospec import PhotoSpectrograph

    found, parts, places = Predictions(), [], []
    measured = bool(args.table or args.figure) and not args.quick
    spectrograph = rows = None
    with progress(args, len(sources), "predict") as bar:
        for start in range(0, len(sources), _CHUNK):
            chunk = sources[start : start + _CHUNK]
            images = read_images(chunk)
            if images and spectrograph is None:
                spectrograph = PhotoSpectrograph.load(
                    args.weights, device=args.device, dtype=args.dtype
                )
            good = prepared_images(spectrograph, images)
            bar.update(len(chunk) - len(good))
            for source, image, candidates in _drawn(args, spectrograph, good):
                found.names.append(source.name)
                found.sources.append(source)
                parts.append(best_row(candidates))
                places.append(place_of(image, source))
                note(args, _summary(source, candidates))
                if args.candidates:
                    found.candidates.append(candidates)
                if measured:
                    if rows is None:
                        rows = _table(args, bar, len(candidates))
                    rows.add(candidates)
                bar.update(0.5 if measured else 1)
            if args.figure:
                from photospec.figures import rgb_image

                used = [id(source) for source, _ in good]
                found.pictures += [rgb_image(one) for source, one in images if id(source) in used]
        if rows is not None:
            found.table = rows.table()
    found.spectra = _join(parts)
    if parts:
        ra, dec = zip(*places, strict=True)
        found.spectra.meta |= {"images": found.names, "ra": list(ra), "dec": list(dec)}
    return found


def _table(args, bar, n_candidates):
    """Measure candidates; each moves the bar by its part of half a galaxy."""
    from photospec.cli._candidates import CandidateTable

    return CandidateTable(lambda n: bar.update(0.5 * n / n_candidates), args.method)


def _drawn(args, spectrograph, good):
    """Yield source, prepared image and candidates of each."""
    if not good:
        return
    options = {"intrinsic": True} if args.intrinsic else {}
    images = [image for _, image in good]
    drawn = spectrograph.sample_each(images, args.n_candidates, seed=args.seed, **options)
    for (source, image), candidates in zip(good, drawn, strict=True):
        yield source, image, candidates


def read_images(sources):
    """Read images, naming those that cannot be read; return (source, image) pairs."""
    from photospec.errors import PhotospecError

    pairs = []
    for source in sources:
        try:
            pairs.append((source, source.read()))
        except (PhotospecError, OSError) as exception:
            _report(source, exception)
    return pairs


def prepared_images(spectrograph, pairs):
    """Prepare images for the networks, naming those that cannot be used; (source, image) pairs."""
    from photospec.errors import PhotospecError

    good = []
    for source, image in pairs:
        try:
            good.append((source, spectrograph.prepare(image)))
        except PhotospecError as exception:
            _report(source, exception)
    return good


def _report(source, exception):
    """Name the image that failed, once, and say why."""
    text = str(exception)
    error(text if source.name in text else f"{source.name}: {text}")


def best_row(candidates):
    """Return the candidate that stands for all, as a prediction for a sequence of one image.

    Parameters
    ----------
    candidates : CandidateSpectra
        Of one image.

    Returns
    -------
    specutils.Spectrum
        Flux (1, n_wave); what ``meta`` says of each spectrum in lists of one.
    """
    from specutils import Spectrum

    best = candidates.best
    lists = {name: [best.meta[name]] for name in _PER_SPECTRUM if name in best.meta}
    if "spread" in lists:
        lists["spread"] = best.meta["spread"][None]
    return Spectrum(
        flux=best.flux[None],
        spectral_axis=best.spectral_axis,
        spectral_axis_index=-1,
        meta=dict(best.meta) | lists,
    )


def place_of(image, source):
    """Return the right ascension and declination of the target, degrees; None where they are not
    known.
    """
    from photospec.image.wcs import pixel_to_sky

    if source.position is not None:
        place = source.position.icrs
        return float(place.ra.deg), float(place.dec.deg)
    if getattr(image, "wcs", None) is None:
        return None, None
    ra, dec = pixel_to_sky(image.wcs, *image.center)
    return float(ra), float(dec)


def _summary(source, candidates):
    """Return what is said of an image with ``--verbose``."""
    meta = candidates.best.meta
    parts = [f"{source.name}: {len(candidates)} candidates"]
    if meta.get("expected_redshift") is not None:
        parts.append(f"z = {meta['expected_redshift']:.3f}")
    parts.append(f"flags: {', '.join(meta.get('flags', ())) or 'none'}")
    return ", ".join(parts)


def _join(parts):
    """Join spectra on the same wavelengths into one Spectrum with flux (n, n_wave)."""
    if len(parts) < 2:
        return parts[0] if parts else None
    import numpy as np
    from specutils import Spectrum

    first = parts[0]
    meta = dict(first.meta)
    for name in _PER_SPECTRUM:
        if name == "spread" and name in meta:
            meta[name] = np.concatenate([part.meta[name] for part in parts])
        elif name in meta:
            meta[name] = [part.meta[name][0] for part in parts]
    flux = np.concatenate([part.flux for part in parts])
    return Spectrum(flux=flux, spectral_axis=first.spectral_axis, spectral_axis_index=-1, meta=meta)
