"""Templates on one rest-frame lattice, broadened once and interpolated for every spectrum.

A spectrum is its template convolved by a Gaussian of variance

    kappa^2 = sigma_d^2 - sigma_t^2 + sigma^2   (km/s),

with the line-spread functions of data and templates and the dispersion of the galaxy
(`photospec.analysis.populations.resolution`). Only that sum matters at a pixel. So the templates
are convolved once with a series of widths (the nodes), on pixels that are the same for all
redshifts; a row of the templates for any redshift, line-spread function and dispersion is the
cubic through the four nodes around its kappa. That costs four multiplications per number instead
of a convolution.
"""

import numpy as np
from astropy.cosmology import Planck18
from scipy.sparse import csr_array

from photospec.analysis.populations.log_spectrum import SDSS_STEP
from photospec.analysis.populations.resolution import resampling_matrix
from photospec.analysis.populations.weights import AGE_SLACK, near_lines, polynomials
from photospec.dust import calzetti00
from photospec.spectrum.wavelengths import pixel_edges
from photospec.utils.constants import SPEED_OF_LIGHT

__all__ = ["DEGREE", "Library", "library_of"]

# Nodes are even in ln(kappa^2 + SOFTENING^2): templates change with kappa by the same share from
# node to node where kappa is large, and by the same amount where it is small.
SOFTENING = 90.0  # km/s
NODE_STEP = 0.25  # cubics between such nodes miss less than 1e-5 of the flux
KAPPA_MAX = 900.0  # km/s; dispersions reach 600, line-spread functions add to them
DEGREE = 15  # of the additive polynomials of the kinematic fit, as in `fit_populations`
N_KEPT = 2  # template sets in memory, some 40 MB each


def _cubic(u):
    """Return weights (4, n) of values at 0, 1, 2, 3 for Lagrange's cubic at `u`."""
    a, b, c, d = u, u - 1, u - 2, u - 3
    return np.array([-b * c * d / 6, a * c * d / 2, -a * b * d / 2, a * b * c / 6])


def _cubic_slopes(u):
    """Return the derivative of `_cubic` by `u`."""
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
        self.coefficients = templates.coefficients.reshape(len(templates.coefficients), -1)
        self.wavelength = np.exp(ln_wave)
        self.edges = pixel_edges(self.wavelength)
        self.polynomials = polynomials(n_pixels, DEGREE)
        self.near_lines = near_lines(self.wavelength)
        self.attenuation = calzetti00(self.wavelength)
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
        """Return the template set without those older than the universe was."""
        oldest = np.interp(redshift, self._redshift, self._age)
        n_ages = max(int(np.sum(self.templates.age <= oldest)), 2)
        if n_ages not in self._aged:
            self._aged[n_ages] = self.templates.until(oldest)
        return self._aged[n_ages]

    def attenuation_at(self, pixels):
        """Return the attenuation over E(B-V) at the centres of pixels, beyond the last too."""
        return calzetti00(self.wavelength[0] * np.exp(SDSS_STEP * pixels))

    def broadened(self, square, pixels, scale, derivative=False):
        """Return the basis convolved by a width of its own at every pixel.

        Parameters
        ----------
        square : ndarray (n, n_chosen)
            kappa^2, (km/s)^2.
        pixels : ndarray of int (n_chosen,)
        scale : ndarray (n, n_chosen)
            Factor on every pixel.
        derivative : bool
            Give the derivative by kappa^2 instead.

        Returns
        -------
        ndarray (n, n_chosen, n_basis) of float32
            Spectra lie beside each other in memory, pixel by pixel: all of them take the same
            numbers of the nodes, which then stay near the processor.
        """
        n_nodes, n_pixels, n_basis = self.nodes.shape
        place = (np.log(square + SOFTENING**2) - 2 * np.log(SOFTENING)) / NODE_STEP
        first = np.clip(place.astype(np.int32) - 1, 0, n_nodes - 4)
        if derivative:
            weight = _cubic_slopes(place - first)
            scale = scale / (square + SOFTENING**2) / NODE_STEP
        else:
            weight = _cubic(place - first)
        data = np.empty((*square.T.shape, 4), np.float32)
        index = np.empty((*square.T.shape, 4), np.int32)
        for k in range(4):
            np.multiply(weight[k], scale, out=data[..., k].T, casting="same_kind")
            np.add((first + k) * n_pixels, pixels, out=index[..., k].T, casting="same_kind")
        rows = np.arange(0, data.size + 1, 4, dtype=np.int32)
        matrix = csr_array(
            (data.ravel(), index.ravel(), rows), shape=(square.size, n_nodes * n_pixels)
        )
        found = matrix @ self.nodes.reshape(-1, n_basis)
        return found.reshape(*square.T.shape, n_basis).swapaxes(0, 1)


_libraries = []


def library_of(templates):
    """Return the library of a template set, made once and kept.

    Parameters
    ----------
    templates : TemplateSet
        As `load_templates` returns it: one object per source.

    Returns
    -------
    Library
    """
    for library in _libraries:
        if library.templates is templates or _same(library.templates, templates):
            return library
    del _libraries[: -N_KEPT + 1]
    _libraries.append(Library(templates))
    return _libraries[-1]


def _same(one, other):
    """Tell whether two template sets hold the same numbers, as copies sent to a process do."""
    return (
        one.basis.shape == other.basis.shape
        and one.coefficients.shape == other.coefficients.shape
        and np.array_equal(one.coefficients, other.coefficients)
        and np.array_equal(one.basis, other.basis)
    )
