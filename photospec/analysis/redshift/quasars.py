"""Quasars among galaxies: broad lines on a smooth continuum, as rivals of the galaxy templates.

The redshift search knows galaxies only. Where they fit badly, a mix of broad emission lines
is tried at all redshifts to 4.5; where it fits better, the redshift of the galaxy templates
means nothing. (SDSS and redrock compare classes of templates in the same way.)
"""

from functools import lru_cache

import numpy as np

from photospec.analysis.redshift.scan import (
    LogSpectra,
    normal_equations,
    polynomial_terms,
    solve_equations,
    window,
)
from photospec.analysis.redshift.templates import LOG_STEP, TEMPLATE_RANGE
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["quasar_chi2"]

REDSHIFT_MAX = 4.5  # Lyman-alpha lies at 6700 Angstrom there: below it is forest
FACTOR = 15  # template pixels per pixel here: 1035 km/s
# Vacuum wavelength and standard deviation, both in Angstrom at rest: the stronger lines and
# the humps of iron and the Balmer continuum (Vanden Berk et al. 2001, AJ 122, 549, table 2).
_BROAD = 2100.0 / SPEED_OF_LIGHT  # 5000 km/s wide at half maximum
_LINES = {
    "lya": (1216.25, 1216 * _BROAD), "nv": (1239.9, 1240 * _BROAD),
    "siiv": (1398.3, 1398 * _BROAD), "civ": (1546.2, 1546 * _BROAD),
    "ciii": (1905.7, 1906 * _BROAD), "feii_2080": (2080.0, 40.0), "feii_2500": (2500.0, 110.0),
    "mgii": (2800.3, 2800 * _BROAD), "balmer_continuum": (3150.0, 200.0),
    "hdelta": (4102.9, 4103 * _BROAD), "hgamma": (4341.7, 4342 * _BROAD),
    "feii_4570": (4570.0, 60.0), "hbeta": (4862.7, 4863 * _BROAD), "oiii": (5008.2, 8.0),
    "feii_5250": (5250.0, 90.0), "hei": (5877.2, 5877 * _BROAD), "halpha": (6564.6, 6565 * _BROAD),
}  # fmt: skip


@lru_cache(maxsize=1)
def _templates():
    """Return lines (n_lines, n_wave) on the pixels of the galaxy templates, begun further in the
    blue.

    Returns
    -------
    flux : ndarray
    n_before : int
        Pixels here before the first pixel of the galaxy templates, in units of `FACTOR`.
    """
    start = np.log(TEMPLATE_RANGE[0])
    n_before = int((start - np.log(1000.0)) / LOG_STEP / FACTOR)
    n_after = int((np.log(TEMPLATE_RANGE[1]) - start) / LOG_STEP / FACTOR)
    centre = (np.arange(-n_before, n_after) + 0.5) * FACTOR - 0.5
    wavelength = np.exp(start + LOG_STEP * centre)
    lines = [np.exp(-0.5 * ((wavelength - at) / width) ** 2) for at, width in _LINES.values()]
    return np.array(lines), n_before


def quasar_chi2(fine, row):
    """Return the lowest chi-square of broad lines and a cubic, and its redshift.

    Parameters
    ----------
    fine : LogSpectra
        With a factor of one.
    row : int

    Returns
    -------
    chi2 : float
        Comparable to that of the galaxy templates on the same pixels: what is lost in the
        coarse pixels is added, as if the model had no structure inside them.
    redshift : float
    """
    coarse, inside = _binned(fine, row)
    templates, n_before = _templates()
    flux, weight = coarse.flux[0], coarse.weight[0]
    polynomials = polynomial_terms(flux.size)
    first, best = coarse.first + n_before, (np.inf, np.nan)
    shifts = np.arange(0, int(np.log1p(REDSHIFT_MAX) / LOG_STEP / FACTOR))
    for some in np.array_split(shifts, 8):  # keeps memory flat
        design = np.stack([window(templates, first - s, first - s + flux.size) for s in some])
        chi2, _ = solve_equations(normal_equations(design, flux, weight, polynomials), 0)
        lowest = int(np.argmin(chi2))
        if chi2[lowest] < best[0]:
            best = float(chi2[lowest]), float(np.expm1(some[lowest] * FACTOR * LOG_STEP))
    return best[0] + inside, best[1]


def _binned(fine, row):
    """Return the spectrum in pixels of `FACTOR`, and its chi-square about their means."""
    lead = fine.first % FACTOR
    pad = (lead, -(lead + fine.flux.shape[1]) % FACTOR)
    flux, weight = (np.pad(a[row], pad).reshape(-1, FACTOR) for a in (fine.flux, fine.weight))
    total = weight.sum(axis=1)
    mean = np.divide((weight * flux).sum(axis=1), total, out=np.zeros(len(total)), where=total > 0)
    inside = float(np.sum(weight * (flux - mean[:, None]) ** 2))
    first = (fine.first - lead) // FACTOR
    return LogSpectra(first, FACTOR, mean[None], total[None]), inside
