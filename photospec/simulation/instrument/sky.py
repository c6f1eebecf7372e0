"""Real sky: patches of SDSS frames that take the place of simulated noise and neighbours.

Frames hold what no model has: correlated noise, ghosts, satellite trails, the sky's own
galaxies and stars. Patches come from random places of the user's own frames and are turned
and mirrored when used.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from photospec.errors import InputError
from photospec.image.frames import read_frames
from photospec.image.wcs import header_wcs
from photospec.photometry.apertures import aperture_flux
from photospec.utils.fits import open_fits
from photospec.utils.stats import robust_std

__all__ = ["place_sky", "sky_patches"]

_PER_FIELD = 48  # patches of a field; each also turned and mirrored
_TRIES = 8  # places looked at per patch kept
_BRIGHT = 20.0  # nanomaggies in one pixel: a star that blinds its surroundings


def _frames(folder):
    paths = tuple(sorted(Path(folder).glob("frame-*.fits*")))
    if not paths:
        raise InputError(
            f"sky_frames: expected a folder of SDSS frames (frame-BAND-RUN-CAMCOL-FIELD.fits.bz2), "
            f"got none in {folder}"
        )
    reference = [path for path in paths if path.name.startswith("frame-r-")]
    if not reference:
        raise InputError(f"sky_frames: expected an r frame, got none in {folder}")
    return paths, reference[0]


@lru_cache(maxsize=2)
def sky_patches(folders, bands, size, seed=0):
    """Cut patches without a bright source at their centre out of SDSS fields.

    Parameters
    ----------
    folders : tuple of str
        One folder of frames per field.
    bands : tuple of str
        Bands wanted.
    size : int
        Pixels on a side.
    seed : int

    Returns
    -------
    ndarray of float32
        Shape (n_patches, n_bands, size, size), nanomaggies.

    Raises
    ------
    InputError
        If a folder holds no frames, or no part of them can be used.
    """
    rng = np.random.default_rng(np.random.SeedSequence((seed, 7)))
    patches = []
    for folder in folders:
        paths, reference = _frames(folder)
        with open_fits(reference) as hdus:
            wcs = header_wcs(hdus[0].header)
            ny, nx = hdus[0].shape
        edge = size + 16
        kept = 0
        for _ in range(_TRIES * _PER_FIELD):
            place = rng.uniform(edge, nx - edge), rng.uniform(edge, ny - edge)
            ra, dec = wcs.all_pix2world(*place, 0)
            data = read_frames(paths, (float(ra), float(dec)), bands, size)
            patch = np.asarray(data.data, np.float32)
            if data.mask is None and _usable(patch):
                patches.append(patch)
                kept += 1
            if kept == _PER_FIELD:
                break
    if not patches:
        raise InputError(
            f"sky_frames: expected empty places in {', '.join(map(str, folders))}, got none; "
            "are the frames full of bright stars?"
        )
    return np.stack(patches)


def _usable(patch):
    """Tell whether a patch is finite, has no blinding star and nothing where the target goes."""
    if not np.isfinite(patch).all() or patch.max() > _BRIGHT:
        return False
    middle = patch[len(patch) // 2]
    width = robust_std(middle)
    inside = float(aperture_flux(middle[None], 3.0)[0])
    return abs(inside) < 5 * width * np.sqrt(np.pi) * 3.0 / 0.396


def place_sky(images, survey, rng):
    """Put noiseless images on real sky.

    Parameters
    ----------
    images : ndarray of float32
        Shape (n, n_bands, size, size), nanomaggies.
    survey : Survey
        With `sky_frames`; its `noise.electron` gives the photon noise of the sources.
    rng : numpy.random.Generator

    Returns
    -------
    observed : ndarray of float32
        Same shape as `images`.
    sky_rms : ndarray
        Shape (n, n_bands): standard deviation of a sky pixel.
    """
    pool = sky_patches(
        tuple(map(str, survey.sky_frames)), tuple(survey.bands), survey.size, survey.seed
    )
    electron = np.asarray(survey.noise.electron, np.float32)[:, None, None]
    observed = np.sqrt(np.maximum(images, 0) * electron)
    observed *= rng.standard_normal(images.shape, np.float32)
    observed += images
    sky_rms = np.empty(images.shape[:2])
    turn = rng.integers(0, 8, len(images))
    for i, number in enumerate(rng.integers(0, len(pool), len(images))):
        patch = np.rot90(pool[number], turn[i] % 4, axes=(1, 2))
        patch = patch[:, ::-1] if turn[i] >= 4 else patch
        observed[i] += patch
        sky_rms[i] = robust_std(patch, axis=(1, 2))
    return observed, sky_rms
