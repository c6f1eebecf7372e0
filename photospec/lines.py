"""Spectral lines: short names and rest wavelengths in vacuum.

Forbidden and helium lines: NIST Atomic Spectra Database (Ritz values); Balmer lines:
NIST, mean over the fine structure. Wavelengths are in Angstrom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = [
    "ABSORPTION",
    "BALMER",
    "EMISSION",
    "LINES",
    "SIDE_BANDS",
    "Line",
    "continuum_beside",
    "near_centres",
]


@dataclass(frozen=True)
class Line:
    """One spectral line.

    Attributes
    ----------
    name : str
        Short name, as in column names (``halpha``, ``oiii_5007``).
    wavelength : float
        Rest wavelength in vacuum, Angstrom.
    label : str
        Text for figures.
    kind : str
        ``"balmer"``, ``"helium"``, ``"forbidden"`` or ``"absorption"``.
    cloudy : str
        Label of the line in the nebular grids, empty when it is not there.
    """

    name: str
    wavelength: float
    label: str
    kind: str
    cloudy: str = ""


_TABLE = (
    Line("nev_3426", 3426.85, "[Ne V]", "forbidden"),
    Line("oii_3726", 3727.092, "[O II]", "forbidden", "O  2  3726.03A"),
    Line("oii_3729", 3729.875, "[O II]", "forbidden", "O  2  3728.81A"),
    Line("h_theta", 3798.979, r"H$\theta$", "balmer", "H  1  3797.90A"),
    Line("h_eta", 3836.475, r"H$\eta$", "balmer", "H  1  3835.38A"),
    Line("neiii_3869", 3869.86, "[Ne III]", "forbidden", "Ne 3  3868.76A"),
    Line("hei_3889", 3889.75, "He I", "helium", "He 1  3888.64A"),
    Line("h_zeta", 3890.158, r"H$\zeta$", "balmer", "H  1  3889.05A"),
    Line("neiii_3968", 3968.59, "[Ne III]", "forbidden", "Ne 3  3967.47A"),
    Line("h_epsilon", 3971.198, r"H$\epsilon$", "balmer", "H  1  3970.07A"),
    Line("sii_4069", 4069.75, "[S II]", "forbidden", "S  2  4068.60A"),
    Line("hdelta", 4102.892, r"H$\delta$", "balmer", "H  1  4101.73A"),
    Line("hgamma", 4341.684, r"H$\gamma$", "balmer", "H  1  4340.46A"),
    Line("oiii_4363", 4364.436, "[O III]", "forbidden", "O  3  4363.21A"),
    Line("hei_4472", 4472.735, "He I", "helium", "Blnd  4471.50A"),
    Line("heii_4686", 4687.015, "He II", "helium", "He 2  4685.68A"),
    Line("hbeta", 4862.683, r"H$\beta$", "balmer", "H  1  4861.32A"),
    Line("oiii_4959", 4960.295, "[O III]", "forbidden", "O  3  4958.91A"),
    Line("oiii_5007", 5008.240, "[O III]", "forbidden", "O  3  5006.84A"),
    Line("ni_5200", 5201.705, "[N I]", "forbidden", "N  1  5200.26A"),
    Line("nii_5755", 5756.19, "[N II]", "forbidden", "N  2  5754.59A"),
    Line("hei_5876", 5877.249, "He I", "helium", "Blnd  5875.66A"),
    Line("oi_6300", 6302.046, "[O I]", "forbidden", "O  1  6300.30A"),
    Line("siii_6312", 6313.81, "[S III]", "forbidden", "S  3  6312.06A"),
    Line("oi_6364", 6365.536, "[O I]", "forbidden", "O  1  6363.78A"),
    Line("nii_6548", 6549.86, "[N II]", "forbidden", "N  2  6548.05A"),
    Line("halpha", 6564.614, r"H$\alpha$", "balmer", "H  1  6562.80A"),
    Line("nii_6584", 6585.27, "[N II]", "forbidden", "N  2  6583.45A"),
    Line("hei_6678", 6679.995, "He I", "helium", "He 1  6678.15A"),
    Line("sii_6716", 6718.294, "[S II]", "forbidden", "S  2  6716.44A"),
    Line("sii_6731", 6732.674, "[S II]", "forbidden", "S  2  6730.82A"),
    Line("hei_7065", 7067.138, "He I", "helium", "He 1  7065.22A"),
    Line("ariii_7136", 7137.757, "[Ar III]", "forbidden", "Ar 3  7135.79A"),
    Line("oii_7320", 7322.01, "[O II]", "forbidden", "Blnd  7323.00A"),
    Line("oii_7330", 7332.21, "[O II]", "forbidden", "Blnd  7332.00A"),
    Line("ariii_7751", 7753.24, "[Ar III]", "forbidden", "Ar 3  7751.11A"),
    Line("siii_9069", 9071.1, "[S III]", "forbidden", "S  3  9068.62A"),
    Line("siii_9531", 9533.2, "[S III]", "forbidden", "S  3  9530.62A"),
    Line("ca_k", 3934.777, "Ca K", "absorption"),
    Line("ca_h", 3969.591, "Ca H", "absorption"),
    Line("g_band", 4305.61, "G", "absorption"),
    Line("mg_b", 5176.63, "Mg b", "absorption"),
    Line("na_d1", 5897.558, "Na D", "absorption"),
    Line("na_d2", 5891.583, "Na D", "absorption"),
    Line("ca_8500", 8500.35, "Ca T", "absorption"),
    Line("ca_8544", 8544.44, "Ca T", "absorption"),
    Line("ca_8665", 8664.52, "Ca T", "absorption"),
)

#: All lines by short name (read only).
LINES = MappingProxyType({line.name: line for line in _TABLE})
#: Names of the emission lines, blue to red.
EMISSION = tuple(line.name for line in _TABLE if line.kind != "absorption")
#: Names of the stellar absorption features.
ABSORPTION = tuple(line.name for line in _TABLE if line.kind == "absorption")
#: Names of the Balmer lines, blue to red.
BALMER = tuple(line.name for line in _TABLE if line.kind == "balmer")

#: Side bands of equivalent widths: from and to so many km/s from the line. 20 to 60 pixels of
#: SDSS (at Hbeta 23 to 66 Angstrom): outside of the core of the absorption even in A stars
#: and of [N II] beside Halpha, near enough to be the continuum at the line.
SIDE_BANDS = (1380.0, 4140.0)


def near_centres(wavelength: np.ndarray, centres: Sequence[float], zone: float) -> np.ndarray:
    """Tell which wavelengths lie within some km/s of any line.

    Parameters
    ----------
    wavelength : ndarray, shape (n_wave,)
        Angstrom, in the frame of `centres`.
    centres : sequence of float
        Angstrom.
    zone : float
        On either side, km/s.

    Returns
    -------
    ndarray of bool, shape (n_wave,)
    """
    near = np.zeros(np.shape(wavelength), bool)
    for centre in centres:
        near |= np.abs(np.log(wavelength / centre)) < zone / SPEED_OF_LIGHT
    return near


def continuum_beside(wavelength: np.ndarray, flux: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the mean continuum in the side bands of lines, over which equivalent widths are taken.

    Parameters
    ----------
    wavelength : ndarray, shape (n_wave,)
        Increasing, Angstrom.
    flux : ndarray, shape (n_wave,) or (n, n_wave)
        Stars alone, without emission lines; per Angstrom; NaN where they are not known.
    centre : ndarray, shape (n_lines,) or (n, n_lines)
        Of the lines in the same frame, Angstrom.

    Returns
    -------
    ndarray, shape of `centre`
        Mean of the pixels in the two bands `SIDE_BANDS`, or in the one that has any; NaN where
        neither has.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.lines import LINES, continuum_beside
    >>> wavelength = np.arange(6300.0, 6800.0)
    >>> depth = 0.5 * np.exp(-0.5 * ((wavelength - LINES["halpha"].wavelength) / 6) ** 2)
    >>> beside = continuum_beside(
    ...     wavelength, 2.0 * (1 - depth), np.array([LINES["halpha"].wavelength])
    ... )
    >>> np.round(beside, 3)
    array([2.])
    """
    flux, centre = np.asarray(flux), np.asarray(centre, float)
    known = np.isfinite(flux)
    rows = flux.shape[:-1]
    running = np.zeros((2, *rows, flux.shape[-1] + 1))
    np.cumsum(np.where(known, flux, 0.0), axis=-1, dtype=float, out=running[0, ..., 1:])
    np.cumsum(known, axis=-1, dtype=float, out=running[1, ..., 1:])
    near, far = np.array(SIDE_BANDS) / SPEED_OF_LIGHT
    mean = []
    for low, high in ((-far, -near), (near, far)):
        first = np.searchsorted(wavelength, centre * np.exp(low))
        last = np.searchsorted(wavelength, centre * np.exp(high))
        total, count = (
            np.take_along_axis(part, last, -1) - np.take_along_axis(part, first, -1)
            for part in running
        )
        mean.append(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))
    blue, red = mean
    both = 0.5 * (blue + red)
    return np.where(np.isnan(blue), red, np.where(np.isnan(red), blue, both))
