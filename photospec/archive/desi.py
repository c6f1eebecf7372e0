"""Spectra of DESI: coadded spectra of a healpix or tile (``coadd-*.fits``).

The three arms (b, r, z) are sampled every 0.8 Angstrom on one common grid, so they are
joined by the weighted mean of the samples that overlap. Wavelengths are in vacuum. The width
of the line-spread function is the second moment of the columns of the resolution matrix.
"""

import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from photospec.archive.objects import ArchiveObject, Objects, wanted
from photospec.errors import InputError
from photospec.spectrum import from_arrays
from photospec.utils.validity import to_sigma, usable

__all__ = ["read_desi"]

STEP = 0.8  # Angstrom
ARMS = ("B", "R", "Z")
DAMAGE = (OSError, KeyError, TypeError, IndexError, ValueError, AstropyUserWarning)


def read_desi(path, *, redshifts=None, identifiers=None) -> Objects:
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
            arms = [_arm(hdus, arm) for arm in ARMS]
            positions = fibermap["TARGET_RA"], fibermap["TARGET_DEC"]
    except DAMAGE as error:
        raise InputError(
            f"path: expected a DESI coadd file, got {path} ({' '.join(str(error).split())[:80]})"
        ) from None
    for i, target in enumerate(ids):
        if take(str(target)):
            redshift, zwarn = found.get(int(target), (np.nan, -1))
            spectrum = _spectrum([arm.row(i) for arm in arms], int(target))
            yield ArchiveObject(
                str(target),
                float(positions[0][i]),
                float(positions[1][i]),
                redshift,
                spectrum=spectrum,
                columns={"targetid": int(target), "zwarn": zwarn},
            )


class _Arm:
    """Spectra of one arm, on the common grid from sample `first` on."""

    def __init__(self, wavelength, flux, ivar, resolution):
        self.first = round(wavelength[0] / STEP)
        self.flux, self.ivar, self.resolution = flux, ivar, resolution

    def row(self, i):
        """Return first sample, flux, ivar and line-spread sigma (Angstrom) of spectrum `i`."""
        matrix = np.clip(self.resolution[i].astype(float), 0, None)  # (n_diagonals, n_wave)
        half = matrix.shape[0] // 2
        offset = np.arange(half, half - matrix.shape[0], -1)[:, None]
        matrix[~np.isfinite(matrix)] = 0
        total = matrix.sum(axis=0)
        norm = np.where(total > 0, total, 1.0)
        mean = (matrix * offset).sum(axis=0) / norm
        variance = (matrix * (offset - mean) ** 2).sum(axis=0) / norm
        return self.first, self.flux[i], self.ivar[i], np.sqrt(variance) * STEP


def _arm(hdus, name):
    ivar = hdus[f"{name}_IVAR"].data.astype(float)
    if f"{name}_MASK" in hdus:
        ivar[hdus[f"{name}_MASK"].data != 0] = 0.0
    return _Arm(
        hdus[f"{name}_WAVELENGTH"].data,
        hdus[f"{name}_FLUX"].data.astype(float),
        ivar,
        hdus[f"{name}_RESOLUTION"].data,
    )


def _spectrum(rows, target):
    """Join the arms of one object."""
    start = min(first for first, *_ in rows)
    stop = max(first + len(flux) for first, flux, *_ in rows)
    weight, total, plain, count = (np.zeros(stop - start) for _ in range(4))
    # Line-spread functions are averaged over the arms that have data; where none has, over
    # those that have a resolution. The matrix of a dead arm is zero.
    width, n_width = np.zeros((2, 2, stop - start))
    for first, flux, ivar, lsf in rows:
        place = np.s_[first - start : first - start + len(flux)]
        seen = usable(flux, to_sigma(ivar, "ivar"))
        weight[place] += np.where(seen, ivar, 0)
        total[place] += np.where(seen, flux * ivar, 0)
        plain[place] += np.where(np.isfinite(flux), flux, 0)
        count[place] += 1
        for row, use in enumerate((lsf > 0) & np.array([seen, np.ones_like(seen)])):
            width[row][place] += np.where(use, lsf, 0)
            n_width[row][place] += use
    covered = count > 0
    good = weight > 0
    flux = np.where(good, total / np.where(good, weight, 1), plain / np.maximum(count, 1))
    sigma = np.where(good, 1 / np.sqrt(np.where(good, weight, 1)), np.inf)
    lsf = np.where(n_width[0] > 0, width[0], width[1])
    lsf /= np.maximum(np.where(n_width[0] > 0, n_width[0], n_width[1]), 1)
    known = covered & (lsf > 0)
    if known.any():  # a width of zero is no width: bridge samples that no arm has seen
        lsf = np.interp(np.arange(lsf.size), np.flatnonzero(known), lsf[known])
    return from_arrays(
        STEP * np.arange(start, stop)[covered],
        flux[covered],
        sigma=sigma[covered],
        mask=~good[covered],
        lsf=lsf[covered] if known.any() else None,
        meta={"identifier": str(target), "source": "DESI"},
    )


@contextmanager
def _strictly():
    """A truncated file is a warning for astropy; here it is an error."""
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
