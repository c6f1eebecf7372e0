"""The candidate spectra drawn for one image."""

from dataclasses import dataclass

import numpy as np
from astropy.nddata import StdDevUncertainty
from astropy.table import QTable
from specutils import Spectrum

__all__ = ["CandidateSpectra"]


@dataclass(frozen=True, eq=False)
class CandidateSpectra:
    """Spectra that one image allows, and how well each agrees with it.

    The candidates are draws from the distribution of spectra given the image: their
    spread is the uncertainty of a prediction, in every quantity measured on them.

    Attributes
    ----------
    spectra : specutils.Spectrum
        Flux (n_candidates, n_wave), erg s-1 cm-2 Angstrom-1.
    similarity : ndarray (n_candidates,)
        Cosine of image and spectrum embeddings, -1 to 1.
    """

    spectra: Spectrum
    similarity: np.ndarray

    def __len__(self):
        return len(self.similarity)

    @property
    def best_index(self):
        """Index of the most similar candidate."""
        return int(np.argmax(self.similarity))

    @property
    def best(self):
        """The most similar candidate, a Spectrum (n_wave,)."""
        meta = dict(self.spectra.meta) | {"similarity": float(self.similarity.max())}
        return Spectrum(
            flux=self.spectra.flux[self.best_index],
            spectral_axis=self.spectra.spectral_axis,
            meta=meta,
        )

    @property
    def mean(self):
        """Mean spectrum with the candidates' standard deviation as uncertainty."""
        return Spectrum(
            flux=self.spectra.flux.mean(axis=0),
            spectral_axis=self.spectra.spectral_axis,
            uncertainty=StdDevUncertainty(self.spread),
            meta=dict(self.spectra.meta),
        )

    @property
    def spread(self):
        """Standard deviation over the candidates, Quantity (n_wave,)."""
        return self.spectra.flux.std(axis=0)

    def to_table(self):
        """One row per candidate, most similar first: ``similarity`` and ``flux``."""
        order = np.argsort(-self.similarity)
        return QTable(
            {
                "candidate": order,
                "similarity": self.similarity[order],
                "flux": self.spectra.flux[order],
            }
        )

    def __repr__(self):
        return (
            f"<CandidateSpectra: {len(self)} candidates of {self.spectra.flux.shape[-1]} samples, "
            f"similarity {self.similarity.min():.3f} to {self.similarity.max():.3f}>"
        )
