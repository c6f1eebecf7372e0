"""E(B-V) of the Milky Way before galaxies: from a catalogue's extinctions, or from a map."""

import warnings
from importlib import import_module

import numpy as np

from photospec.dust import BAND_EXTINCTION
from photospec.errors import InputError

__all__ = ["ebv_from_extinction", "galactic_ebv_at"]

# What the extinctions of SDSS catalogues are multiples of: the coefficients of Schlafly &
# Finkbeiner (2011) since data release 13, those of Stoughton et al. (2002, AJ 123, 485,
# table 22) before. g over r tells which: 1.446 and 1.379.
_COEFFICIENTS = np.array(
    [
        list(BAND_EXTINCTION["sdss"].values()),
        [5.155, 3.793, 2.751, 2.086, 1.479],
    ]
)


def ebv_from_extinction(extinction):
    """Return E(B-V) that extinctions of an SDSS catalogue were computed from.

    Parameters
    ----------
    extinction : array_like (..., 5)
        In u, g, r, i, z, mag.

    Returns
    -------
    ndarray (...)
        Mag, on the scale of the SFD map; NaN where extinctions are missing or negative.

    Examples
    --------
    >>> from photospec.archive.galactic_dust import ebv_from_extinction
    >>> ebv_from_extinction([0.5155, 0.3793, 0.2751, 0.2086, 0.1479]).round(3)
    np.float64(0.1)
    """
    extinction = np.asarray(extinction, float)
    good = np.isfinite(extinction).all(axis=-1) & (extinction >= 0).all(axis=-1)
    safe = np.where(good[..., None], extinction, 0.0)
    ebv = safe.sum(axis=-1)[..., None] / _COEFFICIENTS.sum(axis=1)
    residual = np.abs(ebv[..., None] * _COEFFICIENTS - safe[..., None, :]).sum(axis=-1)
    best = np.take_along_axis(ebv, residual.argmin(axis=-1)[..., None], axis=-1)[..., 0]
    return np.where(good, best, np.nan)[()]


def galactic_ebv_at(ra, dec):
    """Return E(B-V) at positions from the map of Schlegel, Finkbeiner & Davis (1998).

    Of `dustmaps` or `sfdmap2`, whichever is installed and finds its files; neither is needed
    otherwise, and so none is a dependency.

    Parameters
    ----------
    ra, dec : float or array_like (n,)
        Degrees, ICRS.

    Returns
    -------
    float or ndarray (n,)
        Mag.

    Raises
    ------
    InputError
        Neither package is installed with its map, or a position is none.
    """
    ra, dec = np.asarray(ra, float), np.asarray(dec, float)
    if not (np.isfinite(ra).all() and (np.abs(dec) <= 90).all()):
        raise InputError(f"ra, dec: expected degrees, got {ra!s:.40} and {dec!s:.40}")
    reasons = []
    for read in (_dustmaps, _sfdmap2):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about configuration files
                ebv = read(ra, dec)
        except ImportError:
            continue
        except Exception as error:  # a map that is not there raises what its reader likes
            reasons.append(f"{read.__name__[1:]}: {str(error).splitlines()[0]:.60}")
            continue
        return float(ebv) if np.ndim(ebv) == 0 else np.asarray(ebv, float)
    raise InputError(
        "galactic_ebv: expected a dust map, got none; install dustmaps or sfdmap2 and fetch the "
        f"map of Schlegel et al. (1998) ({'; '.join(reasons) or 'neither package is installed'})"
    )


def _dustmaps(ra, dec):
    from astropy.coordinates import SkyCoord

    return import_module("dustmaps.sfd").SFDQuery()(SkyCoord(ra, dec, unit="deg"))


def _sfdmap2(ra, dec):
    return import_module("sfdmap2.sfdmap").SFDMap(scaling=1.0).ebv(ra, dec)
