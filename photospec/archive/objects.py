"""What every reader of an archive gives: one object, with its image, its spectrum, or both."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike

import numpy as np
from astropy.nddata import NDData

from photospec.errors import InputError, PhotospecError
from photospec.image import band_names, prepare_image
from photospec.pairs import PairsWriter
from photospec.spectrum import WAVELENGTH, to_arrays, to_training_grid

__all__ = ["ArchiveObject", "join", "write_objects"]

BATCH = 64  # objects per append: what a stopped run has to fetch again


@dataclass(frozen=True, eq=False)
class ArchiveObject:
    """One object of an archive.

    Attributes
    ----------
    identifier : str
        Its name in the archive, never its place in a file.
    ra, dec : float
        ICRS position, degrees.
    redshift : float
        NaN where the archive has none.
    image : NDData or None
        (n_bands, ny, nx) in nanomaggies.
    spectrum : Spectrum or None
        A specutils spectrum, vacuum wavelengths.
    columns : dict
        More numbers about it.
    """

    identifier: str
    ra: float
    dec: float
    redshift: float = np.nan
    image: NDData | None = None
    spectrum: object = None
    columns: dict = field(default_factory=dict)

    def __repr__(self):
        has = [name for name in ("image", "spectrum") if getattr(self, name) is not None]
        return f"<ArchiveObject {self.identifier}: {' and '.join(has) or 'position only'}>"


def join(
    images: Iterable[ArchiveObject], spectra: Iterable[ArchiveObject]
) -> Iterator[ArchiveObject]:
    """Join images and spectra of the same objects by identifier.

    Parameters
    ----------
    images : iterable of ArchiveObject
        With images; held in memory, so give one partition of a catalogue at a time.
    spectra : iterable of ArchiveObject
        With spectra; read one after another.

    Yields
    ------
    ArchiveObject
        The objects of `spectra` that have an image, in their order.
    """
    by_identifier = {}
    for item in images:
        if item.identifier in by_identifier:
            raise InputError(f"images: expected different identifiers, got {item.identifier} twice")
        by_identifier[item.identifier] = item
    for item in spectra:
        other = by_identifier.get(item.identifier)
        if other is not None:
            columns = other.columns | item.columns
            yield replace(item, image=other.image, columns=columns)


def write_objects(
    objects: Iterable[ArchiveObject],
    path: str | PathLike,
    *,
    bands: str | Sequence[str],
    size: int = 64,
    pixel_scale: float = 0.396,
    image: Callable[[ArchiveObject], NDData] | None = None,
    provenance: dict | None = None,
    overwrite: bool = False,
) -> tuple[int, dict[str, str]]:
    """Write objects as pairs of image and spectrum.

    Parameters
    ----------
    objects : iterable of ArchiveObject
        Read one after another, so there may be any number.
    path : path-like
        Pairs file.
    bands : str or sequence of str
        Bands to write.
    size : int
        Side of the images, pixels.
    pixel_scale : float
        Arcsec per pixel; images of another scale are resampled, flux conserved.
    image : callable, optional
        Makes the image of an object that has none, such as
        ``lambda item: legacy_image((item.ra, item.dec))``.
    provenance : dict, optional
        Where the objects come from.
    overwrite : bool
        Whether to replace an existing file.

    Returns
    -------
    n_pairs : int
        Pairs written.
    failures : dict
        Identifier -> reason (str), for the objects left out.
    """
    failures, batch, bands = {}, [], band_names(bands)
    with PairsWriter(
        path, bands, pixel_scale, WAVELENGTH, provenance or {}, overwrite=overwrite
    ) as writer:
        for item in objects:
            try:
                batch.append(_pair(item, image, bands, size, pixel_scale))
            except PhotospecError as error:
                failures[item.identifier] = str(error)
            if len(batch) == BATCH:
                _append(writer, batch)
                batch = []
        if batch:
            _append(writer, batch)
        return writer.n_pairs, failures


def _pair(item, make_image, bands, size, pixel_scale):
    from photospec.image.prepare import EBV_ASSUMED

    picture = item.image if item.image is not None or make_image is None else make_image(item)
    if picture is None or item.spectrum is None:
        missing = "image" if picture is None else "spectrum"
        raise InputError(f"{item.identifier}: expected image and spectrum, got no {missing}")
    array = prepare_image(picture, bands=bands, pixel_scale=pixel_scale, size=size)
    # Pairs hold images as observed, and beside them what there is to correct.
    array = array.with_extinction(array.galactic_ebv)
    known = EBV_ASSUMED not in array.flags
    arrays = to_arrays(item.spectrum)
    sigma = np.full(arrays.flux.shape, np.inf) if arrays.sigma is None else arrays.sigma
    ivar = np.where(arrays.mask, 0.0, sigma**-2.0)
    flux, ivar = to_training_grid(arrays.wavelength, arrays.flux[0], ivar[0])
    values = {"ra": item.ra, "dec": item.dec, "redshift": item.redshift}
    values["galactic_ebv"] = array.galactic_ebv if known else np.nan
    return array.data, flux, ivar, {"identifier": item.identifier} | values | item.columns


def _append(writer, batch):
    images, fluxes, ivars, values = zip(*batch)
    names = list(values[0])
    columns = {name: np.array([value.get(name, np.nan) for value in values]) for name in names}
    writer.append(np.array(images), np.array(fluxes), np.array(ivars), object=columns)


def wanted(identifiers) -> Callable[[str], bool]:
    """Return a test for membership in a list of identifiers; None takes everything."""
    if identifiers is None:
        return lambda identifier: True
    chosen = {str(identifier).strip() for identifier in identifiers}
    return chosen.__contains__


Objects = Iterator[ArchiveObject]
