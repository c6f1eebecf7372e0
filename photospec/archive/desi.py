"""Spectra of DESI: coadded spectra of a healpix or tile (``coadd-*.fits``).

How the three spectrographs are joined is in `photospec.spectrum.desi`.
"""

import warnings
from collections.abc import Iterable
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from photospec.archive.objects import ArchiveObject, Objects, wanted
from photospec.errors import InputError
from photospec.spectrum.desi import ARMS, join_arms, read_arms

__all__ = ["read_desi"]

DAMAGE = (OSError, KeyError, TypeError, IndexError, ValueError, AstropyUserWarning)


def read_desi(
    path: str | PathLike,
    *,
    redshifts: str | PathLike | None = None,
    identifiers: Iterable | None = None,
) -> Objects:
    """Read the spectra of a DESI coadd file, one after another.

    Parameters
    ----------
    path : path-like
        ``coadd-<survey>-<program>-<healpix>.fits`` or ``.fits.gz``.
    redshifts : path-like, optional
        The ``redrock-*.fits`` beside it; joined by TARGETID.
    identifiers : iterable, optional
        TARGETIDs to take; all by default.

    Yields
    ------
    ArchiveObject
        With a spectrum in 1e-17 erg/s/cm2/A with uncertainty, mask and
        ``meta["lsf_sigma"]`` (Angstrom), no image; ``columns`` has ``zwarn``.

    Raises
    ------
    InputError
        The file is no DESI coadd, or is damaged.
    """
    path = Path(path)
    found = _redshifts(redshifts)
    take = wanted(identifiers)
    try:
        with _strictly(), fits.open(path, memmap=False) as hdus:
            fibermap = hdus["FIBERMAP"].data
            ids = fibermap["TARGETID"]
            arms = read_arms(hdus)
            if len(arms) < len(ARMS):
                raise KeyError(f"expected spectrographs {', '.join(ARMS)}")
            positions = fibermap["TARGET_RA"], fibermap["TARGET_DEC"]
    except DAMAGE as error:
        raise InputError(
            f"path: expected a DESI coadd file, got {path} ({' '.join(str(error).split())[:80]})"
        ) from None
    for i, target in enumerate(ids):
        if take(str(target)):
            redshift, zwarn = found.get(int(target), (np.nan, -1))
            spectrum = join_arms(
                [arm.row(i) for arm in arms], {"identifier": str(int(target)), "source": "DESI"}
            )
            yield ArchiveObject(
                str(target),
                float(positions[0][i]),
                float(positions[1][i]),
                redshift,
                spectrum=spectrum,
                columns={"targetid": int(target), "zwarn": zwarn},
            )


@contextmanager
def _strictly():
    """Make a truncated file an error, which is a warning for astropy."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", AstropyUserWarning)
        yield


def _redshifts(path):
    if path is None:
        return {}
    try:
        with _strictly(), fits.open(path, memmap=False) as hdus:
            table = hdus["REDSHIFTS"].data
            return {
                int(i): (float(z), int(w))
                for i, z, w in zip(table["TARGETID"], table["Z"], table["ZWARN"])
            }
    except DAMAGE as error:
        raise InputError(
            f"redshifts: expected a DESI redrock file, got {path}"
            f" ({' '.join(str(error).split())[:80]})"
        ) from None
