"""Gaussian emission lines on the pixels of a spectrum, with the doublets that nature ties."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import erf

from photospec.lines import LINES
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["GROUPS", "LineGroup", "group_profiles", "line_windows", "members", "pixel_edges"]


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


# Ratios: [O III] and [N II], Storey & Zeippen 2000, MNRAS 312, 813; [O I], [Ne III], NIST.
GROUPS = (
    LineGroup(("oii_3726",)),
    LineGroup(("oii_3729",)),
    LineGroup(("h_theta",), balmer=True),
    LineGroup(("h_eta",), balmer=True),
    LineGroup(("neiii_3869", "neiii_3968"), (1.0, 0.304)),
    LineGroup(("h_zeta",), balmer=True),
    LineGroup(("h_epsilon",), balmer=True),
    LineGroup(("hdelta",), balmer=True),
    LineGroup(("hgamma",), balmer=True),
    LineGroup(("oiii_4363",)),
    LineGroup(("heii_4686",)),
    LineGroup(("hbeta",), balmer=True),
    LineGroup(("oiii_5007", "oiii_4959"), (1.0, 0.335)),
    LineGroup(("hei_5876",), balmer=True),
    LineGroup(("oi_6300", "oi_6364"), (1.0, 0.320)),
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


def line_windows(edges, centre, sigma, derivatives=False):
    """Gaussians of unit area averaged over the pixels around them.

    Parameters
    ----------
    edges : ndarray, shape (n_pixels + 1,)
        Pixel borders, Angstrom, uniform in the logarithm.
    centre, sigma : ndarray, shape (n_lines,)
        Angstrom.
    derivatives : bool
        Add the derivatives by centre and sigma.

    Returns
    -------
    pixel : ndarray of int, shape (n_lines, n_window)
        Pixel numbers, clipped to the spectrum.
    value : ndarray, shape (n_lines, n_window), or (3, n_lines, n_window) with derivatives
        Per Angstrom; 0 outside the spectrum.
    """
    n_pixels = edges.size - 1
    step = np.log(edges[-1] / edges[0]) / n_pixels
    middle = np.floor(np.log(centre / edges[0]) / step).astype(int)
    reach = int(np.ceil(6 * np.max(sigma / centre) / step)) + 1
    pixel = middle[:, None] + np.arange(-reach, reach + 1)
    inside = (pixel >= 0) & (pixel < n_pixels)
    border = edges[0] * np.exp(step * np.arange(-reach, reach + 2)) * np.exp(step * middle)[:, None]
    x = (border - centre[:, None]) / sigma[:, None]
    cumulative = 0.5 * erf(x / np.sqrt(2))
    if derivatives:
        by_centre = -np.exp(-0.5 * x**2) / (np.sqrt(2 * np.pi) * sigma[:, None])
        cumulative = np.array([cumulative, by_centre, by_centre * x])
    value = np.diff(cumulative, axis=-1) / np.diff(border, axis=1)
    return pixel.clip(0, n_pixels - 1), np.where(inside, value, 0.0)


def group_profiles(
    wavelength, lsf_sigma, velocity, dispersion, groups=GROUPS, derivatives=False, pixels=None
):
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
    derivatives : bool
        Add the derivatives by velocity and dispersion, per km/s.
    pixels : ndarray of bool, shape (n_pixels,), optional
        The pixels wanted.

    Returns
    -------
    ndarray, shape (n_wanted, n_groups), or (3, n_wanted, n_groups) with derivatives
        Per Angstrom; the first line of a group has unit area.
    """
    n_wanted = wavelength.size if pixels is None else np.count_nonzero(pixels)
    shape = (n_wanted, len(groups))
    columns = np.zeros((3, *shape) if derivatives else shape)
    if not len(groups):
        return columns
    column, rest, ratio, balmer = members(tuple(groups))
    dispersion = np.asarray(dispersion, float)[balmer]
    centre = rest * np.exp(np.asarray(velocity)[balmer] / SPEED_OF_LIGHT)
    lsf = 0.0 if lsf_sigma is None else np.interp(centre, wavelength, lsf_sigma)
    sigma = np.hypot(lsf, centre * dispersion / SPEED_OF_LIGHT)
    pixel, value = line_windows(pixel_edges(wavelength), centre, sigma, derivatives)
    value = value * ratio[:, None]
    if pixels is not None:
        value = value * pixels[pixel]
        pixel = (np.cumsum(pixels) - 1)[pixel].clip(0)
    if derivatives:
        # The line-spread function hardly changes over a line: sigma moves with the dispersion only.
        value[1] *= (centre / SPEED_OF_LIGHT)[:, None]
        value[2] *= ((centre / SPEED_OF_LIGHT) ** 2 * dispersion / sigma)[:, None]
        for target, part in zip(columns, value, strict=True):
            np.add.at(target, (pixel, column[:, None]), part)
    else:
        np.add.at(columns, (pixel, column[:, None]), value)
    return columns


@lru_cache(maxsize=256)
def members(groups):
    """Column, rest wavelength, ratio and kind of every line of some groups."""
    members = [
        (column, LINES[name].wavelength, ratio, int(group.balmer))
        for column, group in enumerate(groups)
        for name, ratio in zip(group.names, group.ratios, strict=True)
    ]
    return tuple(np.array(part) for part in zip(*members, strict=True))
