"""Convert data folders of the published code to a pairs file.

``images/<n>.npy`` (64, 64, 5) in nanomaggies, ``spectra/<n>.npy`` in 1e-17 erg/s/cm2/A on one
shared array of log10 wavelengths, ``indices/<n>.npy`` with specObjID and redshift
(arXiv:2406.18175). Arrays are read without running anything in them.
"""

import warnings
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import numpy as np

from photospec.errors import InputError, PhotospecWarning
from photospec.pairs import PairsWriter
from photospec.spectrum import WAVELENGTH, to_training_grid
from photospec.utils.files import replacing
from photospec.utils.stats import MAD_TO_STD

__all__ = ["convert_published"]

BANDS = ("u", "g", "r", "i", "z")
PIXEL_SCALE = 0.396  # arcsec
_PARTS = ("images", "spectra", "indices")
_AT_ONCE = 256  # galaxies converted together: their images take 20 MB


def convert_published(
    folder: str | PathLike,
    output: str | PathLike,
    *,
    wavelength: str | PathLike | None = None,
    note: Callable[[str], object] | None = None,
) -> int:
    """Write the galaxies of a data folder of the published code as pairs.

    Their spectra come without errors: the inverse variance is one number for each, from the
    scatter of neighbouring bins.

    Parameters
    ----------
    folder : path-like
        Holds ``images``, ``spectra`` and ``indices``.
    output : path-like
        Pairs file to write; it appears when it is complete.
    wavelength : path-like, optional
        The shared log10 wavelengths (``.npy``); by default the only ``.npy`` file beside the
        three folders.
    note : callable, optional
        Called with one line at the end.

    Returns
    -------
    int
        Pairs written.

    Raises
    ------
    InputError
        Not such a folder; an array that is damaged, pickled or of another shape; spectra that
        do not cover the training grid; an output that exists.

    Warns
    -----
    PhotospecWarning
        When galaxies lack one of the three files; they are left out.
    """
    folder, output = Path(folder), Path(output)
    if output.exists():
        raise InputError(f"output: expected a new file, got {output} which exists")
    numbers = _numbers(folder)
    grid = _wavelength(folder, wavelength)
    provenance = {
        "source": "data folder of the published code",
        "spectra": "inverse variances from the scatter of neighbouring bins",
    }
    with (
        replacing(output) as temporary,
        PairsWriter(
            temporary, BANDS, PIXEL_SCALE, WAVELENGTH, provenance, overwrite=True
        ) as writer,
    ):
        for start in range(0, len(numbers), _AT_ONCE):
            _append(writer, folder, numbers[start : start + _AT_ONCE], grid)
    if note is not None:
        note(f"{output}: {len(numbers)} pairs")
    return len(numbers)


def _numbers(folder):
    """Return names of the galaxies that all three folders have, in the order of their numbers."""
    names = []
    for part in _PARTS:
        if not (folder / part).is_dir():
            raise InputError(f"folder: expected {', '.join(_PARTS)} in {folder}, got no {part}")
        names.append({path.stem for path in (folder / part).glob("*.npy")})
    whole, some = set.intersection(*names), set.union(*names)
    if not whole:
        raise InputError(
            f"folder: expected <n>.npy with the same n in {', '.join(_PARTS)} of {folder}, got none"
        )
    if whole != some:
        first = min(some - whole, key=_order)
        warnings.warn(
            f"folder: left out {len(some - whole)} galaxies of {folder} of which images, spectra "
            f"or indices are missing; the first is {first}",
            PhotospecWarning,
            stacklevel=3,
        )
    return sorted(whole, key=_order)


def _order(name):
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _load(path):
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise InputError(f"folder: expected a plain array, got {path} ({reason})") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"folder: expected one array in {path}, got an archive of them")
    return array


def _wavelength(folder, path):
    if path is None:
        found = sorted(folder.glob("*.npy"))
        if len(found) != 1:
            raise InputError(
                f"wavelength: expected one .npy file of log10 wavelengths in {folder}, got "
                f"{len(found)}; name it"
            )
        path = found[0]
    log_wavelength = _load(path)
    if (
        log_wavelength.ndim != 1
        or log_wavelength.dtype.kind != "f"
        or log_wavelength.size < 2
        or not (np.diff(log_wavelength) > 0).all()
        or not 3 < log_wavelength[0] < log_wavelength[-1] < 4.5
    ):
        raise InputError(
            f"wavelength: expected increasing log10 of Angstrom, 3 to 4.5, in {path}, got shape "
            f"{log_wavelength.shape}; are they not logarithms?"
        )
    return 10.0 ** log_wavelength.astype(float)


def _append(writer, folder, names, grid):
    images, fluxes, indices = (
        [_load(folder / part / f"{name}.npy") for name in names] for part in _PARTS
    )
    for name, image, flux, index in zip(names, images, fluxes, indices, strict=True):
        for part, array, wanted in (
            ("images", image, (64, 64, len(BANDS))),
            ("spectra", flux, grid.shape),
            ("indices", index, (2,)),
        ):
            if array.shape != wanted or array.dtype.kind not in "fiu":
                raise InputError(
                    f"folder: expected numbers of shape {wanted} in {folder / part / name}.npy, "
                    f"got {array.dtype} {array.shape}"
                )
        if not (np.isfinite(flux).any() and np.isfinite(index).all() and index[0] >= 0):
            raise InputError(
                f"folder: expected a spectrum, a specObjID and a redshift for galaxy {name} in "
                f"{folder}, got some that are no numbers"
            )
    flux = np.array(fluxes, dtype=float)
    flux, ivar = to_training_grid(grid, flux, _inverse_variance(flux))
    specobjid, redshift = zip(*(index.tolist() for index in indices))
    writer.append(
        np.array(images, dtype=np.float32).transpose(0, 3, 1, 2),
        flux,
        ivar,
        object={
            "specobjid": np.array([int(number) for number in specobjid], dtype=np.uint64),
            "redshift": np.array(redshift, dtype=float),
        },
    )


def _inverse_variance(flux):
    """Estimate inverse variances (n, n_wave) from second differences (Stoehr et al. 2008)."""
    second = 2 * flux[:, 2:-2] - flux[:, :-4] - flux[:, 4:]
    noise = MAD_TO_STD / np.sqrt(6) * np.nanmedian(np.abs(second), axis=1)
    # Without scatter, or without finite samples, there is no estimate of the noise: ivar is zero.
    ivar = np.divide(1, noise**2, out=np.zeros_like(noise), where=noise > 0)
    return np.where(np.isfinite(flux), ivar[:, None], 0)
