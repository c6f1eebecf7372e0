"""Synthetic photometry through the bands of any survey.

A band flux is the photon-weighted mean of the spectrum through the response R,
in units of the flux of the AB reference source (Fukugita et al. 1996, eq. 7):

    maggies = int lambda f_lambda R dlambda / int lambda f_AB R dlambda,
    f_AB = 3631 Jy c / lambda^2.

It is linear in the spectrum, so `band_weights` gives it as a matrix and
everything else is a product with that matrix.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import speclite.filters
from astropy import units as u
from numpy.typing import ArrayLike

from photospec.errors import InputError

__all__ = [
    "AB_FACTOR",
    "RESPONSES",
    "SDSS_BANDS",
    "band_coverage",
    "band_flux",
    "band_weights",
    "effective_wavelength",
    "load_band",
]

#: The bands of the SDSS, in the order of wavelength.
SDSS_BANDS = ("u", "g", "r", "i", "z")

#: Response curve (name in speclite) of each band that has a short name. Bands of the same name
#: differ between surveys by some percent: give the full name, such as "decam2014-g", where
#: that matters.
RESPONSES = {
    **{band: f"sdss2010-{band}" for band in SDSS_BANDS},
    "y": "lsst2016-y", "Y": "decam2014-Y", "VIS": "Euclid-VIS",
    "FUV": "galex-fuv", "NUV": "galex-nuv",
    "B": "bessell-B", "V": "bessell-V",
    "J": "twomass-J", "H": "twomass-H", "K": "twomass-Ks", "Ks": "twomass-Ks",
    **{f"W{number}": f"wise2010-W{number}" for number in (1, 2, 3, 4)},
}  # fmt: skip

#: f_AB lambda^2 in 1e-17 erg/s/cm2/A times Angstrom^2, for a source of one nanomaggy.
AB_FACTOR = (
    (u.nmgy.to(u.mgy) * 3631 * u.Jy)
    .to(
        1e-17 * u.erg / (u.s * u.cm**2 * u.AA),
        u.spectral_density(1 * u.AA),
    )
    .value
)
# Response curves end in tabulated zeros and 1e-6 tails: this much may be missing from "full".
_FULL = 0.9999
# A band of which less is seen has no partial flux worth the name.
_LEAST = 0.01


@lru_cache(maxsize=64)
def load_band(name: str) -> speclite.filters.FilterResponse:
    """Load the response curve of one band.

    Parameters
    ----------
    name : str
        A key of `RESPONSES`, or any ``group-band`` name that speclite knows.

    Returns
    -------
    speclite.filters.FilterResponse
        Total response (with atmosphere at airmass 1.3) of Doi et al. (2010) for SDSS.

    Raises
    ------
    InputError
        If there is no such band.

    Examples
    --------
    >>> load_band("W1").name
    'wise2010-W1'
    """
    try:
        return speclite.filters.load_filter(RESPONSES.get(name, name))
    except Exception:  # of names that are no file names: it raises many kinds
        raise InputError(
            f"bands: expected names out of {', '.join(RESPONSES)} (or a "
            f"'group-band' of speclite), got {name!r}; is it a misspelt band name?"
        ) from None


def effective_wavelength(name: str) -> float:
    """Return the effective wavelength of a band for the AB source, in Angstrom (vacuum).

    Parameters
    ----------
    name : str
        Band name as in `load_band`.

    Returns
    -------
    float
    """
    return float(load_band(name).effective_wavelength.to_value(u.AA))


def band_weights(
    wavelength: ArrayLike, bands: Sequence[str] = SDSS_BANDS
) -> tuple[np.ndarray, np.ndarray]:
    """Return a matrix that turns a spectrum into band fluxes, and the part of each band it sees.

    The spectrum is taken as linear between its samples and the response as linear
    between its own; the product is integrated on the union of both grids.

    Parameters
    ----------
    wavelength : array_like (n_wave,)
        Increasing, Angstrom, vacuum, observed.
    bands : str or sequence of str
        Band names; a string is read letter by letter.

    Returns
    -------
    weights : ndarray (n_wave, n_bands)
        Nanomaggies per 1e-17 erg/s/cm2/A. NaN where less than 1 % of a band is covered.
    coverage : ndarray (n_bands,)
        Covered fraction of each band's AB-weighted response, 0 to 1.
    """
    wavelength = np.asarray(wavelength, dtype=float)
    if wavelength.ndim != 1 or wavelength.size < 2 or not np.all(np.diff(wavelength) > 0):
        raise InputError(
            "wavelength: expected a one-dimensional increasing array, got shape "
            f"{wavelength.shape}; are the spectra in descending order or two-dimensional?"
        )
    weights, coverage = _weights(wavelength.tobytes(), tuple(bands))
    return weights.copy(), coverage.copy()


@lru_cache(maxsize=16)
def _weights(wavelength, bands):
    wavelength = np.frombuffer(wavelength)
    weights = np.zeros((wavelength.size, len(bands)))
    coverage = np.zeros(len(bands))
    for column, name in enumerate(bands):
        band = load_band(name)
        nodes, response = band.wavelength, band.response
        inside = (wavelength > nodes[0]) & (wavelength < nodes[-1])
        grid = np.union1d(nodes, wavelength[inside])
        whole = np.trapezoid(np.interp(grid, nodes, response) / grid, grid)
        grid = grid[(grid >= wavelength[0]) & (grid <= wavelength[-1])]
        if grid.size < 2:
            weights[:, column] = np.nan
            continue
        step = np.zeros(grid.size)  # trapezoid rule: half of both neighbouring intervals
        step[1:] += np.diff(grid) / 2
        step[:-1] += np.diff(grid) / 2
        seen = step * np.interp(grid, nodes, response)
        covered = np.sum(seen / grid)
        coverage[column] = min(covered / whole, 1.0)
        if coverage[column] < _LEAST:
            weights[:, column] = np.nan
            continue
        # Linear interpolation of the spectrum onto the union grid, transposed.
        left = np.clip(np.searchsorted(wavelength, grid, side="right") - 1, 0, wavelength.size - 2)
        fraction = (grid - wavelength[left]) / (wavelength[left + 1] - wavelength[left])
        weight = seen * grid / (AB_FACTOR * covered)
        np.add.at(weights[:, column], left, weight * (1 - fraction))
        np.add.at(weights[:, column], left + 1, weight * fraction)
    return weights, coverage


def band_coverage(wavelength: ArrayLike, bands: Sequence[str] = SDSS_BANDS) -> np.ndarray:
    """Return the fraction of each band's response that a wavelength grid covers.

    Parameters
    ----------
    wavelength : array_like (n_wave,)
        Increasing, Angstrom.
    bands : str or sequence of str
        Band names.

    Returns
    -------
    ndarray (n_bands,)
    """
    return band_weights(wavelength, bands)[1]


def band_flux(
    wavelength: ArrayLike,
    flux: ArrayLike,
    bands: Sequence[str] = SDSS_BANDS,
    *,
    partial: bool = False,
) -> np.ndarray:
    """Return the flux of spectra through photometric bands (AB; Fukugita et al. 1996, eq. 7).

    Parameters
    ----------
    wavelength : array_like (n_wave,)
        Increasing, Angstrom, vacuum, observed frame.
    flux : array_like (..., n_wave)
        In 1e-17 erg/s/cm2/A.
    bands : str or sequence of str
        Band names; ``"gri"`` is read as ``("g", "r", "i")``.
    partial : bool
        Integrate over the covered part of a band only (spectrum and reference alike)
        instead of asking for all of it. A band less than 1 % covered gives NaN.

    Returns
    -------
    ndarray (..., n_bands)
        In nanomaggies.

    Raises
    ------
    InputError
        If a band is not covered in full and `partial` is false.
    """
    flux = np.asarray(flux)
    weights, coverage = band_weights(wavelength, bands)
    if flux.ndim == 0 or flux.shape[-1] != weights.shape[0]:
        raise InputError(
            f"flux: expected {weights.shape[0]} samples on the last axis, got shape {flux.shape}; "
            "do wavelength and flux belong together?"
        )
    if not partial and np.any(coverage < _FULL):
        worst = int(np.argmin(coverage))
        raise InputError(
            f"wavelength: expected full coverage of band {tuple(bands)[worst]!r}, got "
            f"{100 * coverage[worst]:.1f} % of it; pass partial=True to use the covered part"
        )
    if flux.dtype.kind != "f":
        flux = flux.astype(float)
    return flux @ weights.astype(flux.dtype)
