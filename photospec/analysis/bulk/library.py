"""Templates on one rest-frame lattice, broadened once and interpolated for every spectrum.

A spectrum is its template convolved by a Gaussian of variance

    kappa^2 = sigma_d^2 - sigma_t^2 + sigma^2   (km/s),

with the line-spread functions of data and templates and the dispersion of the galaxy
(`photospec.analysis.resolution`). Only that sum matters at a pixel. So the templates are convolved
once with a series of widths (the nodes), on pixels that are the same for all redshifts; a row of
the templates for any redshift, line-spread function and dispersion is the cubic through the four
nodes around its kappa. That costs four multiplications per number instead of a convolution.
"""

from dataclasses import dataclass

import numpy as np
from astropy.cosmology import Planck18
from scipy.sparse import csr_array

from photospec.analysis.populations.log_spectrum import SDSS_STEP
from photospec.analysis.populations.resolution import MatchedTemplates, resampling_matrix
from photospec.analysis.populations.steps import AGE_SLACK, near_lines, polynomials
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["Library", "Matched", "library_of"]

# Nodes are even in ln(kappa^2 + SOFTENING^2): templates change with kappa by the same share from
# node to node where kappa is large, and by the same amount where it is small.
SOFTENING = 90.0  # km/s
NODE_STEP = 0.25  # cubics between such nodes miss less than 1e-5 of the flux
KAPPA_MAX = 900.0  # km/s; dispersions reach 600, line-spread functions add to them
DEGREE = 15  # of the additive polynomials of the kinematic fit, as in `fit_populations`
N_KEPT = 2  # template sets in memory, some 40 MB each


@dataclass(frozen=True, eq=False)
class Matched:
    """Templates for one spectrum at all dispersions.

    Attributes
    ----------
    library : Library
    difference : ndarray (n_pixels,)
        sigma_d^2 - sigma_t^2 on the pixels of the lattice, (km/s)^2.
    floor : float
        See `photospec.analysis.resolution`, km/s.
    """

    library: "Library"
    difference: np.ndarray
    floor: float

    def basis(self, dispersion, pixels, derivative=False):
        """Convolved basis (n, n_basis) on some pixels of the lattice.

        Parameters
        ----------
        dispersion : float
            km/s.
        pixels : ndarray of int (n,)
        derivative : bool
            Give the derivative by the square of the dispersion instead.
        """
        nodes = self.library.nodes
        wide = max(dispersion**2 - self.floor**2, 1.0)
        square = (self.difference[pixels] + self.floor**2).clip(0) + wide
        place = (np.log(square + SOFTENING**2) - 2 * np.log(SOFTENING)) / NODE_STEP
        first = np.clip(place.astype(int) - 1, 0, len(nodes) - 4)
        u = place - first
        if derivative:
            slope = 1 / (square + SOFTENING**2) / NODE_STEP
            weight = _cubic_slopes(u) * slope
        else:
            weight = _cubic(u)
        n_pixels = nodes.shape[1]
        index = (first + np.arange(4)[:, None]) * n_pixels + pixels
        matrix = csr_array(
            (
                weight.T.ravel().astype(np.float32),
                index.T.ravel().astype(np.int32),
                np.arange(0, 4 * pixels.size + 1, 4, dtype=np.int32),
            ),
            shape=(pixels.size, len(nodes) * n_pixels),
        )
        return (matrix @ nodes.reshape(-1, nodes.shape[2])).astype(float)


def _cubic(u):
    """Weights (4, n) of values at 0, 1, 2, 3 for Lagrange's cubic at `u`."""
    a, b, c, d = u, u - 1, u - 2, u - 3
    return np.array([-b * c * d / 6, a * c * d / 2, -a * b * d / 2, a * b * c / 6])


def _cubic_slopes(u):
    """Derivative of `_cubic` by `u`."""
    a, b, c, d = u, u - 1, u - 2, u - 3
    return np.array(
        [
            -(c * d + b * d + b * c) / 6,
            (c * d + a * d + a * c) / 2,
            -(b * d + a * d + a * b) / 2,
            (b * c + a * c + a * b) / 6,
        ]
    )


class Library:
    """A template set with its nodes.

    Parameters
    ----------
    templates : TemplateSet

    Attributes
    ----------
    wavelength : ndarray (n_pixels,)
        Rest vacuum Angstrom, even in the logarithm: the SDSS step within the range of the fit.
    nodes : ndarray (n_nodes, n_pixels, n_basis)
    """

    def __init__(self, templates):
        low, high = np.log(templates.fit_range)
        # A border would count as a pixel outside the range of the fit.
        n_pixels = int((high - low) / SDSS_STEP - 1e-6)
        ln_wave = low + SDSS_STEP * (0.5 + np.arange(n_pixels))
        self.templates = templates
        self.wavelength = np.exp(ln_wave)
        self.polynomials = polynomials(n_pixels, DEGREE)
        self.near_lines = near_lines(self.wavelength)
        self.own = np.interp(self.wavelength, templates.wavelength, templates.lsf_sigma)
        n_nodes = int(np.log(1 + (KAPPA_MAX / SOFTENING) ** 2) / NODE_STEP) + 3
        square = SOFTENING**2 * np.expm1(NODE_STEP * np.arange(n_nodes))
        nodes = [
            resampling_matrix(
                ln_wave, SDSS_STEP, np.full(n_pixels, kappa / SPEED_OF_LIGHT), templates.wavelength
            )
            @ templates.basis
            for kappa in np.sqrt(square)
        ]
        # Single precision: what is rounded is the templates, once, by far less than they differ
        # from galaxies. Sums over their pixels are in double precision.
        self.nodes = np.array(nodes, np.float32)
        self._aged = {}
        # Ages of the universe, falling; a template set changes where one passes a template.
        self._redshift = np.linspace(0, 2.0, 401)
        self._age = AGE_SLACK * Planck18.age(self._redshift).value

    def until(self, redshift):
        """The template set without those older than the universe was."""
        oldest = np.interp(redshift, self._redshift, self._age)
        n_ages = max(int(np.sum(self.templates.age <= oldest)), 2)
        if n_ages not in self._aged:
            self._aged[n_ages] = self.templates.until(oldest)
        return self._aged[n_ages]

    def match(self, lsf_sigma, good):
        """Templates for one spectrum.

        Parameters
        ----------
        lsf_sigma : ndarray (n_pixels,)
            Rest-frame Angstrom, on the lattice.
        good : ndarray (n_pixels,) of bool
            Pixels whose resolution counts for the floor.
        """
        difference = (lsf_sigma**2 - self.own**2) * (SPEED_OF_LIGHT / self.wavelength) ** 2
        floor = np.sqrt(max(0.0, -difference[good].min()))
        return Matched(self, difference, float(floor))

    def matched_templates(self, part, matched):
        """`MatchedTemplates` as the exact path has them, without their basis."""
        return MatchedTemplates(part, self.wavelength, np.zeros((0, 0)), matched.floor)


_libraries = {}


def library_of(templates):
    """Library of a template set, made once and kept.

    Parameters
    ----------
    templates : TemplateSet
        As `load_templates` returns it: one object per source.

    Returns
    -------
    Library
    """
    found = _libraries.get(id(templates))
    if found is None or found.templates is not templates:
        while len(_libraries) >= N_KEPT:
            _libraries.pop(next(iter(_libraries)))
        found = _libraries[id(templates)] = Library(templates)
    return found
