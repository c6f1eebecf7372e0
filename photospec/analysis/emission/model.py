"""Gaussian emission lines on the pixels of a spectrum, with doublets of fixed ratio."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import erf

from photospec.errors import InputError
from photospec.lines import EMISSION, LINES, Line
from photospec.spectrum.wavelengths import pixel_edges
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = [
    "BROAD_GROUPS",
    "GROUPS",
    "LINE_NAMES",
    "WIDE_STEP",
    "LineGroup",
    "group_profiles",
    "line_groups",
    "line_windows",
    "members",
]

#: Step in ln(wavelength) of pixels that do not sample lines: 104 km/s.
WIDE_STEP = 1.5e-4 * np.log(10)


@dataclass(frozen=True)
class LineGroup:
    """Lines whose flux ratios are fixed.

    Attributes
    ----------
    names : tuple of str
        The first is the strongest.
    ratios : tuple of float
        Flux over that of the first.
    balmer : bool
        Moves with the Balmer lines where two kinematic components are fitted.
    wavelengths : tuple of float
        Rest, vacuum, Angstrom; by default those of `photospec.lines.LINES`.
    """

    names: tuple
    ratios: tuple = (1.0,)
    balmer: bool = False
    wavelengths: tuple = ()

    def __post_init__(self):
        if not self.wavelengths:
            known = tuple(LINES[name].wavelength for name in self.names)
            object.__setattr__(self, "wavelengths", known)


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
#: Lines of the broad-line region that are fitted, strongest first.
BROAD_GROUPS = tuple(
    LineGroup((name,), balmer=True) for name in ("halpha", "hbeta", "hgamma", "hdelta")
)
#: Lines measured by default, by wavelength.
LINE_NAMES = tuple(
    sorted((name for group in GROUPS for name in group.names), key=lambda n: LINES[n].wavelength)
)


def line_groups(lines):
    """Return groups to fit and names to report for the lines asked for.

    The default lines are fitted in any case, since a blend needs all of its lines.

    Parameters
    ----------
    lines : sequence of str or Line, or None
        Names of `photospec.lines.LINES`, or `photospec.lines.Line` objects of your own; an
        Ellipsis among them stands for the default lines. None for these alone.

    Returns
    -------
    groups : tuple of LineGroup
    names : tuple of str
        By wavelength.

    Raises
    ------
    InputError
        If a line is not known.
    """
    groups = list(GROUPS)
    at = {n: w for group in groups for n, w in zip(group.names, group.wavelengths, strict=True)}
    names = []
    lines = (...,) if lines is None else (lines,) if isinstance(lines, (str, Line)) else lines
    for item in lines:
        if item is ...:
            names += LINE_NAMES
            continue
        line = item if isinstance(item, Line) else LINES.get(item)
        if line is None or line.kind == "absorption":
            raise InputError(
                f"lines: expected emission lines among {', '.join(EMISSION)}, or Line(...), got "
                f"{item!r}"
            )
        if at.get(line.name, line.wavelength) != line.wavelength:
            raise InputError(
                f"lines: expected a new name, got {line.name!r}, which is the line at "
                f"{at[line.name]} Angstrom"
            )
        if line.name not in at:
            balmer = line.kind == "balmer"
            groups.append(LineGroup((line.name,), (1.0,), balmer, (line.wavelength,)))
            at[line.name] = line.wavelength
        names.append(line.name)
    return tuple(groups), tuple(sorted(dict.fromkeys(names), key=at.get))


def line_windows(edges, centre, sigma):
    """Return Gaussians of unit area averaged over the pixels around them.

    Parameters
    ----------
    edges : ndarray, shape (n_pixels + 1,)
        Pixel borders, Angstrom.
    centre, sigma : ndarray, shape (n_lines,)
        Angstrom.

    Returns
    -------
    pixel : ndarray of int, shape (n_lines, n_window)
        Pixel numbers, clipped to the spectrum.
    value : ndarray, shape (n_lines, n_window)
        Per Angstrom; 0 outside the spectrum.
    """
    n_pixels = edges.size - 1
    middle = np.searchsorted(edges, centre) - 1
    width = np.diff(edges)[middle.clip(0, n_pixels - 1)]
    reach = int(np.ceil(6 * np.max(sigma / width))) + 1
    pixel = middle[:, None] + np.arange(-reach, reach + 1)
    inside = (pixel >= 0) & (pixel < n_pixels)
    border = edges[(middle[:, None] + np.arange(-reach, reach + 2)).clip(0, n_pixels)]
    cumulative = 0.5 * erf((border - centre[:, None]) / (np.sqrt(2) * sigma[:, None]))
    value = np.diff(cumulative, axis=1) / np.where(inside, np.diff(border, axis=1), 1.0)
    return pixel.clip(0, n_pixels - 1), np.where(inside, value, 0.0)


def group_profiles(wavelength, lsf_sigma, velocity, dispersion, groups=GROUPS, component=None):
    """Return one column per line group.

    Parameters
    ----------
    wavelength : ndarray, shape (n_pixels,)
        Rest vacuum, Angstrom.
    lsf_sigma : ndarray, shape (n_pixels,) or None
        Angstrom.
    velocity, dispersion : tuple of float
        Of each kinematic component, km/s, V = c ln(1 + z).
    groups : tuple of LineGroup
    component : sequence of int, optional
        Of each group; by default 1 for Balmer lines and 0 for the others.

    Returns
    -------
    ndarray, shape (n_pixels, n_groups)
        Per Angstrom; the first line of a group has unit area.
    """
    columns = np.zeros((wavelength.size, len(groups)))
    if not len(groups):
        return columns
    if component is None:
        component = [int(group.balmer) for group in groups]
    column, centre, ratio = members(tuple(groups))
    which = np.asarray(component)[column]
    centre = centre * np.exp(np.asarray(velocity)[which] / SPEED_OF_LIGHT)
    lsf = 0.0 if lsf_sigma is None else np.interp(centre, wavelength, lsf_sigma)
    sigma = np.hypot(lsf, centre * np.asarray(dispersion)[which] / SPEED_OF_LIGHT)
    pixel, value = line_windows(pixel_edges(wavelength), centre, sigma)
    np.add.at(columns, (pixel, column[:, None]), value * ratio[:, None])
    return columns


@lru_cache(maxsize=64)
def members(groups):
    """Return the column, rest wavelength and ratio (n_lines,) of every line of some groups."""
    lines = [
        (column, at, ratio)
        for column, group in enumerate(groups)
        for at, ratio in zip(group.wavelengths, group.ratios, strict=True)
    ]
    return tuple(np.array(part) for part in zip(*lines, strict=True))
