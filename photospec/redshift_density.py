"""Densities of the redshifts of images: smooth mixtures with closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from photospec.errors import InputError
from photospec.utils.optional import optional_imports

if TYPE_CHECKING:
    import qp

__all__ = ["ImageRedshiftDensity"]

_N_GRID = 601  # of qp's tables: finer than the narrowest component, 0.002 wide
_ROWS_AT_ONCE = 256  # of tables of densities, which bounds the memory
_SQRT_2PI = np.sqrt(2 * np.pi)


@dataclass(frozen=True, eq=False)
class ImageRedshiftDensity:
    """Densities of the redshifts of n images, each a mixture of Gaussians in ``ln(1 + z)``.

    Truncated to redshifts from 0 to `max_redshift`, and normalised there; the probability that the
    candidates of `PhotoSpectrograph.sample` come from.

    Attributes
    ----------
    weight, centre, width : ndarray (n, n_components)
        Weights (sum one), means and standard deviations of the Gaussians in ``ln(1 + z)``.
    max_redshift : float
    flags : list of list of str
        Of each image, as in ``meta["flags"]`` of predicted spectra.
    ood_score : ndarray (n,)
        Of each image, as of `PhotoSpectrograph.ood_score`; None where it was not computed.

    Examples
    --------
    >>> import numpy as np
    >>> from photospec.redshift_density import ImageRedshiftDensity
    >>> one = np.ones((1, 1))
    >>> density = ImageRedshiftDensity(one, np.log1p(0.1 * one), 0.01 * one)
    >>> density.mean.round(3), density.quantile([0.16, 0.84]).round(3)
    (array([0.1]), array([[0.089, 0.111]]))
    """

    weight: np.ndarray
    centre: np.ndarray
    width: np.ndarray
    max_redshift: float = 0.6
    flags: list | None = None
    ood_score: np.ndarray | None = None

    def __post_init__(self):
        parts = [np.asarray(getattr(self, name), float) for name in ("weight", "centre", "width")]
        if len({part.shape for part in parts}) > 1 or parts[0].ndim != 2:
            raise InputError(
                "weight, centre, width: expected one shape (n, n_components), got "
                f"{', '.join(str(part.shape) for part in parts)}"
            )
        if not (parts[2] > 0).all() or not (parts[0] >= 0).all():
            raise InputError("weight, width: expected positive numbers, got others")
        for name, part in zip(("weight", "centre", "width"), parts, strict=True):
            object.__setattr__(self, name, part)

    def __len__(self):
        return len(self.weight)

    def __repr__(self):
        return f"<ImageRedshiftDensity: {len(self)} images, {self.weight.shape[1]} components>"

    def __getitem__(self, index):
        rows = np.arange(len(self))[index]
        rows = np.atleast_1d(rows)
        flags = None if self.flags is None else [self.flags[row] for row in rows]
        score = None if self.ood_score is None else self.ood_score[rows]
        parts = self.weight[rows], self.centre[rows], self.width[rows]
        return ImageRedshiftDensity(*parts, self.max_redshift, flags, score)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join densities of more images, of one range."""
        parts = list(parts)
        arrays = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("weight", "centre", "width")
        )
        flags = None
        if all(part.flags is not None for part in parts):
            flags = [one for part in parts for one in part.flags]
        score = None
        if all(part.ood_score is not None for part in parts):
            score = np.concatenate([part.ood_score for part in parts])
        return cls(*arrays, parts[0].max_redshift, flags, score)

    def _below(self, shift):
        """Return the untruncated probability (n, m) below ``ln(1 + z)`` (n, m) or (m,)."""
        pull = (shift[..., None] - self.centre[:, None]) / self.width[:, None]
        return np.einsum("nk,nmk->nm", self.weight, ndtr(pull))

    @property
    def _ends(self):
        """Untruncated probabilities (n, 1) below both ends of the range."""
        ends = self._below(np.log1p([0.0, self.max_redshift]))
        return ends[:, :1], ends[:, 1:]

    def pdf(self, redshift: ArrayLike) -> np.ndarray:
        """Return the probability per unit redshift.

        Parameters
        ----------
        redshift : array_like (m,)

        Returns
        -------
        ndarray (n, m)
        """
        z, grid = self._grid(redshift)
        low, high = self._ends
        pull = (grid[:, None] - self.centre[:, None]) / self.width[:, None]
        height = self.weight / (self.width * _SQRT_2PI)
        density = np.einsum("nk,nmk->nm", height, np.exp(-0.5 * pull**2))
        inside = (z >= 0) & (z <= self.max_redshift)
        return np.where(inside, density / (1 + np.maximum(z, 0)) / (high - low), 0.0)

    def cdf(self, redshift: ArrayLike) -> np.ndarray:
        """Return the probability below redshifts.

        Parameters
        ----------
        redshift : array_like (m,)

        Returns
        -------
        ndarray (n, m)
        """
        _, grid = self._grid(redshift)
        low, high = self._ends
        return np.clip((self._below(grid) - low) / (high - low), 0.0, 1.0)

    def pit(self, redshift: ArrayLike) -> np.ndarray:
        """Return the probability below each image's own redshift (n,): uniform if densities are
        right.
        """
        redshift = np.asarray(redshift, float)
        if redshift.shape != (len(self),):
            raise InputError(f"redshift: expected shape ({len(self)},), got {redshift.shape}")
        low, high = self._ends
        shift = np.log1p(np.clip(redshift, 0, self.max_redshift))
        return ((self._below(shift[:, None]) - low) / (high - low))[:, 0]

    def pdf_at(self, redshift: ArrayLike) -> np.ndarray:
        """Return the probability per unit redshift (n,) at each image's own redshift."""
        redshift = np.asarray(redshift, float)
        if redshift.shape != (len(self),):
            raise InputError(f"redshift: expected shape ({len(self)},), got {redshift.shape}")
        low, high = self._ends
        pull = (np.log1p(redshift)[:, None] - self.centre) / self.width
        height = self.weight / (self.width * _SQRT_2PI)
        density = (height * np.exp(-0.5 * pull**2)).sum(axis=1) / (1 + redshift)
        inside = (redshift >= 0) & (redshift <= self.max_redshift)
        return np.where(inside, density / (high - low)[:, 0], 0.0)

    def _grid(self, redshift):
        z = np.asarray(redshift, float)
        if z.ndim != 1 or np.isnan(z).any():
            raise InputError(f"redshift: expected numbers of shape (m,), got shape {z.shape}")
        return z, np.log1p(np.clip(z, 0, self.max_redshift))

    def quantile(self, probability: ArrayLike) -> np.ndarray:
        """Return redshifts below which a part of the probability lies.

        Parameters
        ----------
        probability : float or array_like (m,)
            From 0 to 1.

        Returns
        -------
        ndarray (n,) or (n, m)
        """
        q = np.asarray(probability, float)
        if q.ndim > 1 or not ((q >= 0) & (q <= 1)).all():
            raise InputError(f"probability: expected numbers from 0 to 1, got {probability!r}")
        low, high = self._ends
        wanted = low + np.atleast_1d(q) * (high - low)
        # The cumulative probability only rises: halving the interval ends in the float's last
        # digits, whatever the mixture.
        left = np.zeros_like(wanted)
        right = np.full_like(wanted, np.log1p(self.max_redshift))
        for _ in range(40):
            middle = 0.5 * (left + right)
            above = self._below(middle) > wanted
            left, right = np.where(above, left, middle), np.where(above, middle, right)
        redshift = np.expm1(0.5 * (left + right))
        return redshift[:, 0] if q.ndim == 0 else redshift

    def _moment(self, order):
        """Return the mean (n,) of (1 + z)^order: of truncated log-normal distributions."""
        low, high = self._ends
        ends = np.log1p([0.0, self.max_redshift])[:, None, None]
        shifted = self.centre + order * self.width**2
        inside = np.diff(ndtr((ends - shifted) / self.width), axis=0)[0]
        factor = np.exp(order * self.centre + 0.5 * (order * self.width) ** 2)
        return (self.weight * factor * inside).sum(axis=1) / (high - low)[:, 0]

    @property
    def mean(self) -> np.ndarray:
        """Means (n,): least squares estimates."""
        return self._moment(1) - 1

    @property
    def std(self) -> np.ndarray:
        """Standard deviations (n,)."""
        return np.sqrt(np.maximum(self._moment(2) - self._moment(1) ** 2, 0.0))

    @property
    def median(self) -> np.ndarray:
        """Medians (n,)."""
        return self.quantile(0.5)

    @property
    def mode(self) -> np.ndarray:
        """Redshifts (n,) of the highest density."""
        # The mode of a mixture lies between the lowest and the highest mean, near one of them:
        # a coarse table over the range, then one around its highest value, twice.
        top = np.log1p(self.max_redshift)
        low = np.clip(self.centre.min(axis=1) - self.width.max(axis=1), 0, top)
        high = np.clip(self.centre.max(axis=1) + self.width.max(axis=1), 0, top)
        # Spacing of the first table: half of the narrowest component. By powers of two, so that
        # images share tables, and an image's does not depend on the others.
        n_steps = np.clip(2 * (high - low) / self.width.min(axis=1), 16, 2048)
        n_steps = 2 ** np.ceil(np.log2(n_steps)).astype(int)
        found = np.empty(len(self))
        for n in np.unique(n_steps):
            same = np.flatnonzero(n_steps == n)
            for rows in np.array_split(same, -(-len(same) // _ROWS_AT_ONCE)):
                found[rows] = self._highest(rows, low[rows], high[rows], n)
        return np.expm1(found)

    def _highest(self, rows, low, high, n_steps):
        """Return ``ln(1 + z)`` of the highest density of some images between `low` and `high`."""
        centre, width = self.centre[rows, None], self.width[rows, None]
        height = (self.weight / self.width)[rows, None]
        for _ in range(3):
            grid = np.linspace(low, high, n_steps + 1, axis=1)
            value = np.zeros_like(grid)
            # One by one, as the order in which a product of arrays adds depends on their shape.
            for k in range(centre.shape[-1]):
                pull = (grid - centre[..., k]) / width[..., k]
                value += height[..., k] * np.exp(-0.5 * pull**2)
            best = np.take_along_axis(grid, (value * np.exp(-grid)).argmax(axis=1)[:, None], 1)
            best, step = best[:, 0], (high - low) / n_steps
            low = np.maximum(best - step, 0)
            high = np.minimum(best + step, np.log1p(self.max_redshift))
            n_steps = 32
        return best

    def to_qp(self, grid: ArrayLike | None = None) -> qp.Ensemble:
        """Return the densities as a qp ensemble, for the tools of RAIL.

        Parameters
        ----------
        grid : array_like (m,), optional
            Redshifts of its table; 0 to `max_redshift` in steps of 0.001 by default.

        Returns
        -------
        qp.Ensemble
            Of ``qp.interp``, with the means, medians and modes in its ancillary table.

        Raises
        ------
        MissingPackageError
            If qp is not installed.
        InputError
            If the grid is not rising.
        """
        with optional_imports():
            import qp
        if grid is None:
            grid = np.linspace(0.0, self.max_redshift, _N_GRID)
        grid = np.asarray(grid, float)
        if grid.ndim != 1 or len(grid) < 2 or not (np.diff(grid) > 0).all():
            raise InputError(f"grid: expected rising redshifts (m,), got shape {grid.shape}")
        ensemble = qp.Ensemble(qp.interp, {"xvals": grid, "yvals": self.pdf(grid)})
        ensemble.set_ancil({"zmean": self.mean, "zmedian": self.median, "zmode": self.mode})
        return ensemble
