"""Gaussian emission lines on the pixels of a spectrum, with the doublets that nature ties."""

from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from photospec.lines import LINES

__all__ = ["GROUPS", "LineGroup", "line_profiles", "pixel_edges"]


@dataclass(frozen=True)
class LineGroup:
    """Lines whose flux ratios are fixed.

    Attributes
    ----------
    names : tuple of str
        Keys of `photospec.lines.LINES`; the first is the strongest.
    ratios : tuple of float
        Flux over that of the first.
    balmer : bool
        Moves with the Balmer lines where two kinematic components are fitted.
    """

    names: tuple
    ratios: tuple = (1.0,)
    balmer: bool = False


# Ratios: [O III] and [N II], Storey & Zeippen 2000, MNRAS 312, 813; [O I], NIST.
GROUPS = (
    LineGroup(("oii_3726",)),
    LineGroup(("oii_3729",)),
    LineGroup(("h_theta",), balmer=True),
    LineGroup(("h_eta",), balmer=True),
    LineGroup(("neiii_3869", "neiii_3968"), (1.0, 0.301)),
    LineGroup(("h_zeta",), balmer=True),
    LineGroup(("h_epsilon",), balmer=True),
    LineGroup(("hdelta",), balmer=True),
    LineGroup(("hgamma",), balmer=True),
    LineGroup(("oiii_4363",)),
    LineGroup(("heii_4686",)),
    LineGroup(("hbeta",), balmer=True),
    LineGroup(("oiii_5007", "oiii_4959"), (1.0, 0.335)),
    LineGroup(("hei_5876",), balmer=True),
    LineGroup(("oi_6300", "oi_6364"), (1.0, 0.328)),
    LineGroup(("nii_6584", "nii_6548"), (1.0, 0.328)),
    LineGroup(("halpha",), balmer=True),
    LineGroup(("sii_6716",)),
    LineGroup(("sii_6731",)),
    LineGroup(("ariii_7136",)),
)


def pixel_edges(wavelength):
    """Borders of log-uniform pixels, shape (n_pixels + 1,)."""
    half = np.sqrt(wavelength[1] / wavelength[0])
    return np.append(wavelength / half, wavelength[-1] * half)


def line_profiles(edges, centre, sigma):
    """Gaussians of unit area, averaged over pixels.

    Parameters
    ----------
    edges : ndarray, shape (n_pixels + 1,)
        Pixel borders, Angstrom.
    centre, sigma : array_like, shape (n_lines,)
        Angstrom.

    Returns
    -------
    ndarray, shape (n_pixels, n_lines)
        Per Angstrom.
    """
    centre, sigma = np.atleast_1d(centre), np.atleast_1d(sigma)
    profiles = np.zeros((edges.size - 1, centre.size))
    for column, (middle, width) in enumerate(zip(centre, sigma, strict=True)):
        first, last = np.searchsorted(edges, [middle - 6 * width, middle + 6 * width])
        first, last = max(first - 1, 0), min(last + 1, edges.size)
        if last - first < 2:
            continue
        near = edges[first:last]
        cumulative = 0.5 * erf((near - middle) / (np.sqrt(2) * width))
        profiles[first : last - 1, column] = np.diff(cumulative) / np.diff(near)
    return profiles


def group_profiles(wavelength, lsf_sigma, velocity, dispersion, groups=GROUPS):
    """One column per line group.

    Parameters
    ----------
    wavelength : ndarray, shape (n_pixels,)
        Rest vacuum, log-uniform, Angstrom.
    lsf_sigma : ndarray, shape (n_pixels,) or None
        Angstrom.
    velocity, dispersion : tuple of float
        (forbidden, Balmer), km/s, V = c ln(1 + z).
    groups : tuple of LineGroup

    Returns
    -------
    ndarray, shape (n_pixels, n_groups)
        Per Angstrom; the first line of a group has unit area.
    """
    edges = pixel_edges(wavelength)
    columns = np.zeros((wavelength.size, len(groups)))
    for column, group in enumerate(groups):
        v, s = velocity[int(group.balmer)], dispersion[int(group.balmer)]
        centre = np.array([LINES[name].wavelength for name in group.names]) * np.exp(v / 299792.458)
        lsf = 0.0 if lsf_sigma is None else np.interp(centre, wavelength, lsf_sigma)
        sigma = np.hypot(lsf, centre * s / 299792.458)
        columns[:, column] = line_profiles(edges, centre, sigma) @ np.array(group.ratios)
    return columns
