"""Point spread functions: one elliptical Moffat per band and galaxy."""

from dataclasses import dataclass

import numpy as np

from photospec.config import setting, validate
from photospec.simulation.instrument.profiles import moffat_table

__all__ = ["PsfConfig", "PsfSet", "draw_psf"]


@dataclass(frozen=True)
class PsfConfig:
    """Distribution of seeing, by band.

    The SDSS numbers are Moffat fits to unsaturated stars of the frames 001043-5-0025 and
    001992-1-0087 and to stars in 35 cutouts of five runs (script
    benchmarks/simulation_images.py): good seeing for the survey, whose median is 1.3 arcsec in r.

    Ellipticities are e = (a^2 - b^2) / (a^2 + b^2); e1 is positive for elongation along +x.
    `Survey.write` writes each field with its meaning.
    """

    fwhm: tuple[float, ...] = setting(
        (1.31, 1.25, 1.16, 1.11, 1.10), "median FWHM of each band, arcsec", min=0.2, max=10
    )
    fwhm_scatter: float = setting(
        0.09, "scatter of ln FWHM, all bands of an image alike", min=0, max=1
    )
    band_scatter: float = setting(0.035, "further scatter of ln FWHM, each band", min=0, max=1)
    beta: float = setting(3.2, "median Moffat exponent", min=1.9, max=5.9)
    beta_scatter: float = setting(0.10, "scatter of its logarithm, each band", min=0, max=1)
    ellipticity_mean: float = setting(-0.09, "mean e1", min=-0.4, max=0.4)
    ellipticity_scatter: float = setting(
        0.05, "scatter of e1 and e2 between images", min=0, max=0.3
    )
    ellipticity_band_scatter: float = setting(0.05, "further scatter, each band", min=0, max=0.3)

    def __post_init__(self):
        validate(self)


@dataclass(frozen=True)
class PsfSet:
    """Point spread functions of n images; every array has shape (n, n_bands).

    Attributes
    ----------
    fwhm : ndarray
        Full width at half maximum, geometric mean of the axes, arcsec.
    beta : ndarray
        Moffat exponent.
    e1, e2 : ndarray
        Ellipticity components.
    """

    fwhm: np.ndarray
    beta: np.ndarray
    e1: np.ndarray
    e2: np.ndarray

    def __getitem__(self, index):
        return PsfSet(self.fwhm[index], self.beta[index], self.e1[index], self.e2[index])

    def transform(self, kx, ky):
        """Return the Fourier transforms of one image's functions.

        Parameters
        ----------
        kx, ky : ndarray of float32
            Shapes (n_x,) and (n_y,), radian per arcsec.

        Returns
        -------
        ndarray of float32
            Shape (n_bands, n_y, n_x); 1 at the origin.
        """
        table = moffat_table()
        beta = np.asarray(table.parameters)[table.rows(self.beta)]
        radius2 = (self.fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))) ** 2
        # Second-moment matrix of unit determinant: a^2 and b^2 along the axes.
        norm = radius2 / np.sqrt(1 - self.e1**2 - self.e2**2)
        xx, yy, xy = norm * (1 + self.e1), norm * (1 - self.e1), 2 * norm * self.e2
        return table.look_up(table.rows(self.beta), quadratic_form(kx, ky, xx, yy, xy))


def quadratic_form(kx, ky, xx, yy, xy):
    """Return the array (n, n_y, n_x) of xx kx^2 + yy ky^2 + xy kx ky; coefficients (n,)."""
    kx, ky = kx[None, None, :], ky[None, :, None]
    xx, yy, xy = (np.asarray(c, np.float32)[:, None, None] for c in (xx, yy, xy))
    result = (xy * ky) * kx
    result += xx * kx**2
    result += yy * ky**2
    return np.maximum(result, np.float32(1e-30), out=result)


def draw_psf(config, rng, n):
    """Draw n sets of point spread functions.

    Parameters
    ----------
    config : PsfConfig
    rng : numpy.random.Generator
    n : int

    Returns
    -------
    PsfSet
    """
    shape = (n, len(config.fwhm))
    log_fwhm = config.fwhm_scatter * rng.standard_normal((n, 1))
    log_fwhm = log_fwhm + config.band_scatter * rng.standard_normal(shape)
    beta = config.beta * np.exp(config.beta_scatter * rng.standard_normal(shape))
    shared = config.ellipticity_scatter * rng.standard_normal((2, n, 1))
    e1, e2 = shared + config.ellipticity_band_scatter * rng.standard_normal((2, *shape))
    size = np.hypot(e1 + config.ellipticity_mean, e2)
    shrink = np.minimum(1.0, 0.4 / np.maximum(size, 1e-9))
    return PsfSet(
        fwhm=np.asarray(config.fwhm) * np.exp(log_fwhm),
        beta=np.clip(beta, 1.9, 5.9),
        e1=(e1 + config.ellipticity_mean) * shrink,
        e2=e2 * shrink,
    )
