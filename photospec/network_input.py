"""What enters the networks: spectra put in order, prepared images and numbers checked."""

import hashlib
from collections.abc import Iterable
from copy import copy
from dataclasses import replace

import numpy as np
from astropy.nddata import NDData

from photospec.dust import ASSUMED_EBV, galactic_extinction
from photospec.errors import InputError
from photospec.image import ImageArray
from photospec.image.extinction import check_ebv
from photospec.image.units import band_names
from photospec.spectrum import WAVELENGTH, SpectrumArrays, to_arrays, to_training_grid

__all__ = [
    "MAX_RESAMPLING",
    "as_list",
    "check_draws",
    "check_image",
    "check_survey",
    "identified",
    "identifier_bytes",
    "image_seed",
    "parts",
    "spectra_for_networks",
]


#: Factor by which pixels of an image may be larger or smaller than those of the training.
MAX_RESAMPLING = 2.0


def as_list(image):
    """Images as a list, and whether it was one image; what is neither is left to the gate."""
    many = isinstance(image, Iterable) and not isinstance(image, NDData | np.ndarray | str)
    return (list(image), False) if many else ([image], True)


def parts(items, size):
    """Slices of at most `size` items."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _is_whole(value):
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_draws(n_candidates, seed, default):
    """Number of candidates to draw, `default` for None; refuse what is no seed."""
    if n_candidates is None:
        n_candidates = default
    if not _is_whole(n_candidates) or n_candidates < 1:
        raise InputError(f"n_candidates: expected a positive whole number, got {n_candidates!r}")
    if not _is_whole(seed) or seed < 0:
        raise InputError(f"seed: expected a whole number, zero or positive, got {seed!r}")
    return int(n_candidates)


# Steps in which an image's sums of pixels are counted, relative. Another flux unit, or single
# for double precision, moves these sums by about 4e-9, so that one image in some 10,000 lies
# close enough to the edge of a step to get another seed.
_STEP = 1e-3


def image_seed(seed, image):
    """Seed of an image's noise, of `seed` and of what the image is, not of where it stands.

    Parameters
    ----------
    seed : int
    image : ImageArray
        Its ``meta["identifier"]``, text or a whole number, decides where there is one. Without
        it the pixels do: the sum of their absolute values in each band, and the x and y of their
        centre of light, all coarsely rounded, so that the same image in another flux unit has
        the same seed.

    Returns
    -------
    int
        For `torch.Generator.manual_seed`.

    Raises
    ------
    InputError
        For an identifier that is neither text nor a whole number.
    """
    said = identifier_bytes(image)
    said = _pixel_digest(image.data) if said is None else said
    words = np.frombuffer(hashlib.blake2b(said, digest_size=16).digest(), "<u4")
    state = np.random.SeedSequence((int(seed), *words.tolist()))
    return int(state.generate_state(1, np.uint64)[0] >> np.uint64(1))


def identifier_bytes(image):
    """Bytes of an image's identifier, None without one; refuse what is none.

    The number 12 and the text "12" are the same.
    """
    identifier = image.meta.get("identifier")
    if identifier is None or isinstance(identifier, bytes):
        return identifier
    if not (isinstance(identifier, str) or _is_whole(identifier)):
        raise InputError(
            f"identifier: expected text or a whole number, got {identifier!r}; floating-point "
            "numbers do not hold the identifiers of surveys"
        )
    return str(identifier).encode()


def _pixel_digest(data):
    """Few coarse numbers of an image (n_bands, ny, nx), as bytes."""
    # Absolute values, because their sums never come near zero, where nothing is relative.
    light = np.nan_to_num(np.abs(data.astype(float)))  # missing bands have no light
    bands = light.sum(axis=(1, 2))
    total = light.sum(axis=0)
    x, y = np.arange(1, total.shape[1] + 1), np.arange(1, total.shape[0] + 1)
    sums = np.array([*bands, total.sum(axis=0) @ x, total.sum(axis=1) @ y])
    steps = np.log(np.maximum(sums, np.finfo(float).tiny)) / _STEP
    return np.floor(steps).astype("<i8").tobytes()


def identified(images, identifiers):
    """Images with their identifiers in ``meta["identifier"]``, copies where there are any.

    Parameters
    ----------
    images : list of NDData or ImageArray
    identifiers : sequence of str or int, optional
        One per image.

    Returns
    -------
    list
    """
    if identifiers is None:
        return images
    identifiers = [identifiers] if isinstance(identifiers, str | bytes) else identifiers
    identifiers = np.atleast_1d(np.asarray(identifiers, object)).tolist()
    if len(identifiers) != len(images):
        raise InputError(
            f"identifiers: expected one for each of {len(images)} images, got {len(identifiers)}"
        )
    named = []
    for image, identifier in zip(images, identifiers, strict=True):
        meta = {**image.meta, "identifier": identifier} if hasattr(image, "meta") else None
        if isinstance(image, ImageArray):
            image = replace(image, meta=meta)
        elif meta is not None:  # anything else is refused later
            image = copy(image)
            image.meta = meta
        named.append(image)
    return named


def check_image(image, bands, pixel_scale, size, may_miss=()):
    """Make sure that a prepared image was prepared for these networks.

    Parameters
    ----------
    image : ImageArray
    bands : tuple of str
    pixel_scale : float
        Arcsec.
    size : int
        Pixels.
    may_miss : sequence of str
        Bands without which the networks can do.

    Raises
    ------
    InputError
        If bands, shape or pixel scale differ, or pixels are not finite.
    """
    shape = (len(bands), size, size)
    if tuple(image.bands) != tuple(bands) or image.data.shape != shape:
        raise InputError(
            f"image: expected bands {','.join(bands)} and shape {shape}, got "
            f"{','.join(image.bands)} and {image.data.shape}; was it prepared for other weights?"
        )
    if not np.isclose(image.pixel_scale, pixel_scale, rtol=0.005):
        raise InputError(
            f"image: expected {pixel_scale} arcsec per pixel, got {image.pixel_scale}; was it "
            "prepared for other weights?"
        )
    refused = [band for band in image.missing if band not in may_miss]
    if refused:
        raise InputError(
            f"image: expected bands {','.join(bands)}, got one without {','.join(refused)}; was it "
            "prepared for other weights?"
        )
    there = [band not in image.missing for band in bands]
    if not np.isfinite(image.data[there]).all():
        raise InputError("image: expected bad pixels to be filled, got some that are not")


def check_survey(image, config):
    """Refuse an image that says that it is of another survey, or lacks a band of the weights.

    Parameters
    ----------
    image : NDData
        What is none is left to the gate.
    config : photospec.weights.WeightsConfig
    """
    meta = getattr(image, "meta", None) or {}
    camera = str(meta.get("camera") or config.camera).lower()
    if config.camera and camera != config.camera.lower():
        raise InputError(
            f"image: expected one of the camera {config.camera}, on which the weights "
            f"({config.survey}) were trained, got {camera}; load the weights of its survey"
        )
    bands = meta.get("bands")
    if bands is None:
        return
    there = band_names(bands, "meta['bands']")
    lacking = [b for b in config.bands if b not in there and b not in config.may_miss]
    if lacking:
        able = ", ".join(config.may_miss) or "none"
        raise InputError(
            f"image: expected bands {', '.join(config.bands)}, got {', '.join(there)}: no "
            f"{', '.join(lacking)}; predictions need all bands that the weights "
            f"({config.survey}) were trained on, but those trained without at times ({able})"
        )


def spectra_for_networks(spectrum, *, galactic_ebv=None):
    """Put spectra on the training grid, bad samples bridged, divided by their mean.

    Parameters
    ----------
    spectrum : specutils.Spectrum or SpectrumArrays
        One or n spectra that cover 4000 to 8499 Angstrom in the observed frame. On another
        grid than `photospec.spectrum.WAVELENGTH` they are smoothed as the training spectra.
    galactic_ebv : float, optional
        E(B-V) of the Milky Way, mag, that the spectra are brought to; as they are by default.

    Returns
    -------
    ndarray (n, 4500) of float32

    Raises
    ------
    InputError
        If spectra do not cover the grid or have no light.
    """
    arrays = spectrum if isinstance(spectrum, SpectrumArrays) else to_arrays(spectrum)
    flux, wavelength = arrays.flux, arrays.wavelength
    bad = arrays.mask | ~np.isfinite(flux)
    if bad.any():
        flux = flux.astype(float)
        for row, hidden in zip(flux, bad):
            if not hidden.all():
                row[hidden] = np.interp(wavelength[hidden], wavelength[~hidden], row[~hidden])
    if not np.array_equal(wavelength, WAVELENGTH):
        flux = to_training_grid(wavelength, flux)
    if galactic_ebv is not None:
        added = galactic_ebv - _spectrum_ebv(getattr(spectrum, "meta", None) or {}, len(flux))
        flux = flux * 10 ** (-0.4 * added[:, None] * galactic_extinction(WAVELENGTH))
    level = flux.mean(axis=-1)
    if not np.all(level > 0):
        worst = int(np.flatnonzero(~(level > 0))[0])
        raise InputError(
            f"spectrum: expected light, got a mean flux of {level[worst]:.3g} in spectrum "
            f"number {worst} of {len(flux)}; is all of it masked?"
        )
    return np.ascontiguousarray(flux / level[:, None], dtype=np.float32)


def _spectrum_ebv(meta, n):
    """E(B-V) (n,) whose dust spectra come with, by what they say of themselves."""
    if meta.get("galactic_extinction") == "removed":
        return np.zeros(n)
    ebv = meta.get("galactic_ebv")
    if ebv is None:
        return np.full(n, ASSUMED_EBV)
    values = [check_ebv(value) for value in (ebv if np.ndim(ebv) else [ebv])]
    if len(values) not in (1, n):
        raise InputError(
            f'meta["galactic_ebv"]: expected one number or one for each of {n} spectra, got '
            f"{len(values)}"
        )
    return np.broadcast_to(np.array(values, float), n)
