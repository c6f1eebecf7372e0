"""Numbers that describe how colours are distributed, for benchmarks/simulation_fit.py."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np

_UNDER_COLOUR = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (4, 0))
"""Powers of g-r and redshift in the loci of the other colours."""


class ColourSpace:
    """Moments up to the third of colours at given redshift, in units of their real scatter.

    The variables are g-r, and u-g, r-i, i-z less their means at given g-r and redshift, each cut
    softly at three standard deviations, with redshift beside them. The difference of two samples'
    moments, made white with the covariance of the real sample, squared and summed, says how well
    a classifier that is cubic in the colours could tell them apart.

    Parameters
    ----------
    colour : ndarray, shape (n, 4)
        Of real galaxies.
    redshift, r : ndarray, shape (n,)
        Of the same.
    """

    def __init__(self, colour, redshift, r):
        terms = self._terms(colour, redshift)
        self._locus = np.zeros((terms.shape[1], 4))
        self._scatter = np.ones(4)
        for k in (0, 2, 3):
            weight = np.ones(len(terms))
            for _ in range(10):  # robust against a few odd colours
                left = (terms * weight[:, None]).T
                square = left @ terms + 1e-3 * np.eye(terms.shape[1])
                self._locus[:, k] = np.linalg.solve(square, left @ colour[:, k])
                rest = abs(colour[:, k] - terms @ self._locus[:, k])
                self._scatter[k] = 1.48 * np.median(rest)
                weight = 1 / np.maximum(1, rest / (1.5 * self._scatter[k]))
        moments = self.moments(colour, redshift, r)
        self._mean = moments.mean(0)
        covariance = np.cov(moments.T)
        covariance += 1e-3 * np.diag(np.diag(covariance))
        value, vector = np.linalg.eigh(covariance)
        self._whiten = vector / np.sqrt(value)

    def difference(self, colour, redshift, r):
        """Return the white difference of a sample's mean moments from the real ones."""
        return (self.moments(colour, redshift, r).mean(0) - self._mean) @ self._whiten

    def moments(self, colour, redshift, r):
        """Return what is averaged, shape (n, n_moments)."""
        rest = (colour - self._terms(colour, redshift) @ self._locus) / self._scatter
        rest[:, 1] = _plain(colour, redshift)
        rest = 3 * np.tanh(rest[:, [1, 0, 2, 3]] / 3)
        variables = [*rest.T, (redshift - 0.1) / 0.03]
        moments = []
        for degree in (1, 2, 3):
            moments += [
                np.prod([variables[i] for i in chosen], axis=0)
                for chosen in combinations_with_replacement(range(5), degree)
                if set(chosen) != {4}  # redshifts are matched
            ]
        brightness = (r - 17) / 0.6
        moments += [brightness * v for v in (*rest.T, rest[:, 0] ** 2)]
        return np.stack(moments, axis=1)

    @staticmethod
    def _terms(colour, redshift):
        g_r, t = np.clip(_plain(colour, redshift), -2.2, 1.6), (redshift - 0.1) / 0.03
        return np.stack([g_r**a * t**b for a, b in _UNDER_COLOUR], axis=1)


def _plain(colour, redshift):
    """g-r without its run with redshift."""
    return (colour[:, 1] - 2.2 * (redshift - 0.1) - 0.65) / 0.25
