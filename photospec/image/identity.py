"""What an image is, and the random numbers that follow from it.

The noise of an image's candidates comes from the caller's seed and from the image itself, not from
its place in a batch: the same image has the same spectrum, alone or among others.
"""

import hashlib
from copy import copy
from dataclasses import replace

import numpy as np

from photospec.config import is_whole
from photospec.errors import InputError
from photospec.image.prepare import ImageArray

__all__ = ["identified", "identifier_bytes", "image_seed"]

# Steps in which an image's sums of pixels are counted, relative. Another flux unit, or single
# for double precision, moves these sums by about 4e-9, so that one image in some 10,000 lies
# close enough to the edge of a step to get another seed.
_STEP = 1e-3


def image_seed(seed, image):
    """Return seed of an image's noise, of `seed` and of what the image is, not of where it stands.

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
    """Return the bytes of an image's identifier, None without one; refuse what is none.

    The number 12 and the text "12" are the same.
    """
    identifier = image.meta.get("identifier")
    if identifier is None or isinstance(identifier, bytes):
        return identifier
    if not (isinstance(identifier, str) or is_whole(identifier)):
        raise InputError(
            f"identifier: expected text or a whole number, got {identifier!r}; floating-point "
            "numbers do not hold the identifiers of surveys"
        )
    return str(identifier).encode()


def _pixel_digest(data):
    """Return a few coarse numbers of an image (n_bands, ny, nx), as bytes."""
    # Absolute values, because their sums never come near zero, where nothing is relative.
    light = np.nan_to_num(np.abs(data.astype(float)))  # missing bands have no light
    bands = light.sum(axis=(1, 2))
    total = light.sum(axis=0)
    x, y = np.arange(1, total.shape[1] + 1), np.arange(1, total.shape[0] + 1)
    sums = np.array([*bands, total.sum(axis=0) @ x, total.sum(axis=1) @ y])
    steps = np.log(np.maximum(sums, np.finfo(float).tiny)) / _STEP
    return np.floor(steps).astype("<i8").tobytes()


def identified(images, identifiers):
    """Put identifiers into ``meta["identifier"]`` of images, of copies where there are any.

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
