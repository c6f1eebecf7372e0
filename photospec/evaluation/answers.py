"""Answers of one kind to all pairs: of a spectrograph's best candidate, of a baseline ..."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from photospec.analysis import measure_indices
from photospec.errors import InputError
from photospec.evaluation.draws import arrays_of
from photospec.photometry.filters import band_flux
from photospec.spectrum import WAVELENGTH

__all__ = ["BINS", "BIN_EDGES", "Answer", "Mixture", "binned_errors", "spectrum_numbers"]

#: Edges of the bins of wavelength in which spectra are compared, observed Angstrom.
BIN_EDGES = np.arange(4000.0, 8501.0, 125.0)
#: Middles of those bins.
BINS = 0.5 * (BIN_EDGES[1:] + BIN_EDGES[:-1])
#: Bands that the spectra cover in good part.
COLOUR_BANDS = ("g", "r", "i")


@dataclass(frozen=True, eq=False)
class Mixture:
    """Densities of redshift of n galaxies: mixtures of Gaussians.

    Attributes
    ----------
    weight, centre, width : ndarray (n, n_components)
    logarithmic : bool
        Gaussians in ln(1 + z), as the spectrograph's, and not in z.
    """

    weight: np.ndarray
    centre: np.ndarray
    width: np.ndarray
    logarithmic: bool = False

    def __len__(self):
        return len(self.weight)

    def take(self, rows):
        """Return the answers of some galaxies."""
        return Mixture(self.weight[rows], self.centre[rows], self.width[rows], self.logarithmic)

    def pdf(self, redshift):
        """Return the probability (n, m) per unit redshift at redshifts (m,)."""
        z = np.asarray(redshift, float)
        at = np.log1p(z) if self.logarithmic else z
        density = np.zeros((len(self), len(z)))
        for weight, centre, width in zip(self.weight.T, self.centre.T, self.width.T, strict=True):
            pull = (at - centre[:, None]) / width[:, None]
            height = weight / (width * np.sqrt(2 * np.pi))
            density += height[:, None] * np.exp(-0.5 * pull**2)
        return density / (1 + z) if self.logarithmic else density

    @classmethod
    def of_draws(cls, redshift):
        """Turn draws (n, m) into densities: equal Gaussians as wide as Silverman's rule says.

        No narrower than 0.002; draws that are NaN weigh nothing.
        """
        redshift = np.asarray(redshift, float)
        known = np.isfinite(redshift)
        number = known.sum(axis=1)
        if not (number > 0).all():
            raise InputError("redshift: expected draws of every galaxy, got a row of NaN")
        filled = np.where(known, redshift, np.nanmean(redshift, axis=1, keepdims=True))
        deviation = np.nanstd(redshift, axis=1)
        spread = np.subtract(*np.nanpercentile(redshift, [75, 25], axis=1)) / 1.349
        width = np.maximum(0.9 * np.minimum(deviation, spread) * number**-0.2, 0.002)
        return cls(known / number[:, None], filled, np.repeat(width[:, None], known.shape[1], 1))


@dataclass(frozen=True, eq=False)
class Answer:
    """What was found for n galaxies in one way.

    Attributes
    ----------
    name : str
    source : str
        The spectrograph's name, or ``"baseline"``.
    redshift : ndarray (n,), optional
    errors : dict of ndarray (n,), optional
        ``"all"``, ``"continuum"``, ``"line"``: as of ``photospec.evaluation.spectra.pixel_errors``.
    bins : ndarray (n, n_bins), optional
        The same within bins of wavelength.
    colours : dict of ndarray (n,), optional
        ``g_r``, ``r_i`` (mag) and ``dn4000`` of the spectrum.
    measured : dict of ndarray (n_measured,), optional
        As of ``photospec.evaluation.measured.measure_spectra``, of the first galaxies.
    density : Mixture, optional
    main : bool
        Whether it is drawn in figures that have no room for all.
    """

    name: str
    source: str
    redshift: np.ndarray | None = None
    errors: dict | None = None
    bins: np.ndarray | None = None
    colours: dict = field(default_factory=dict)
    measured: dict | None = None
    density: Mixture | None = None
    main: bool = False


def binned_errors(flux, truth):
    """Return median abs(predicted / true - 1) in bins of wavelength, of spectra of equal mean flux.

    Parameters
    ----------
    flux, truth : ndarray (n, n_wave)
        NaN where bad.

    Returns
    -------
    ndarray (n, n_bins) of float32
    """
    scale = np.nanmean(truth, axis=1) / np.nanmean(flux, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs(flux * scale[:, None] / truth - 1)
    edges = np.searchsorted(WAVELENGTH, BIN_EDGES)
    found = np.full((len(flux), len(BINS)), np.nan, np.float32)
    for i, (low, high) in enumerate(pairwise(edges)):
        part = error[:, low:high]
        usable = np.isfinite(part).any(axis=1)
        found[usable, i] = np.nanmedian(part[usable], axis=1)
    return found


def spectrum_numbers(flux, redshift, lsf):
    """Return cheap numbers of spectra: colours in the fibre (mag) and Dn4000, dict of ndarray (n,).

    Parameters
    ----------
    flux : ndarray (n, n_wave)
    redshift : ndarray (n,)
    lsf : ndarray (n_wave,)
    """
    flux, redshift = np.asarray(flux, float), np.asarray(redshift, float)
    bad = ~np.isfinite(flux)
    filled = np.where(bad, 0.0, flux)
    for one, wrong in zip(filled, bad):
        if wrong.any() and not wrong.all():
            one[wrong] = np.interp(WAVELENGTH[wrong], WAVELENGTH[~wrong], one[~wrong])
    with np.errstate(divide="ignore", invalid="ignore"):
        g, r, i = -2.5 * np.log10(band_flux(WAVELENGTH, filled, COLOUR_BANDS, partial=True)).T
    found = {"g_r": g - r, "r_i": r - i, "dn4000": np.full(len(flux), np.nan)}
    good = np.isfinite(redshift) & (redshift > 0) & (filled > 0).any(axis=1)
    if good.any():
        table = measure_indices(
            arrays_of(filled[good], lsf), redshift=redshift[good], indices=("dn4000",)
        ).to_table()
        found["dn4000"][good] = np.ma.filled(np.ma.asarray(table["dn4000"], float), np.nan)
    return found
