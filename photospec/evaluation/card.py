"""The numbers of a model card: a spectrograph against pairs whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from photospec.errors import InputError
from photospec.evaluation.draws import ResultStore
from photospec.evaluation.observed import check_pairs, measure_observed
from photospec.evaluation.on_pairs import Settings
from photospec.evaluation.predicted import measure_predictions
from photospec.evaluation.redshift import RedshiftQuality, redshift_quality
from photospec.utils.stats import ks_distance

if TYPE_CHECKING:
    from photospec.pairs import PairsFile
    from photospec.spectrograph import PhotoSpectrograph

__all__ = ["Card", "card_of", "evaluate"]


@dataclass(frozen=True)
class Card:
    """What `evaluate` found; print it.

    Attributes
    ----------
    n_galaxies, n_candidates : int
    redshift : dict of str to RedshiftQuality
        From the candidate that `PhotoSpectrograph.predict` returns, a random one, and the
        median over candidates.
    pit_distance : dict of str to float
        KS distance of the PIT from uniform: redshift, pixels.
    pixel_error : dict of str to float
        Median over galaxies of each one's median abs(predicted / true - 1) per pixel, of spectra
        of equal mean flux.
    dn4000_scatter, dn4000_correlation : float
        Standard deviation of the difference and Spearman correlation, best candidate.
    """

    n_galaxies: int
    n_candidates: int
    redshift: dict[str, RedshiftQuality]
    pit_distance: dict[str, float]
    pixel_error: dict[str, float]
    dn4000_scatter: float
    dn4000_correlation: float

    def __str__(self):
        lines = [f"{self.n_galaxies} galaxies, {self.n_candidates} candidates each"]
        lines += [f"redshift, {name}: {quality}" for name, quality in self.redshift.items()]
        lines += [f"pixel error, {name}: {value:.4f}" for name, value in self.pixel_error.items()]
        lines += [
            f"PIT of {name}: {value:.3f} from uniform" for name, value in self.pit_distance.items()
        ]
        lines.append(
            f"Dn4000: scatter {self.dn4000_scatter:.3f}, Spearman {self.dn4000_correlation:.3f}"
        )
        return "\n".join(lines)


def evaluate(
    spectrograph: PhotoSpectrograph,
    pairs: PairsFile,
    *,
    n_galaxies: int = 500,
    n_candidates: int = 16,
    seed: int = 0,
    progress: bool = False,
) -> Card:
    """Compare candidates with the truth of simulated pairs.

    The numbers one looks at first; `photospec.evaluation.report` has all, beside baselines.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph
    pairs : PairsFile
        With noiseless spectra, never trained on.
    n_galaxies : int
        The first so many pairs.
    n_candidates : int
        Spectra drawn per galaxy.
    seed : int
    progress : bool

    Returns
    -------
    Card
    """
    settings = Settings(n_candidates=n_candidates, n_measured=0, seed=seed, progress=progress)
    check_pairs(pairs)
    index = np.arange(min(n_galaxies, len(pairs)))
    if not len(index):
        raise InputError(f"pairs: expected at least one galaxy, got none in {pairs.path}")
    lsf = spectrograph.line_spread()
    observed = measure_observed(pairs, index, lsf, settings, ResultStore())
    found = measure_predictions(spectrograph, pairs, index, settings, ResultStore())
    return card_of(found, observed["dn4000"], np.asarray(pairs.object["redshift"], float)[index])


def card_of(found, true_dn4000, true_redshift):
    """Return the card of one spectrograph, from what was kept of each pair.

    Parameters
    ----------
    found : dict of ndarray
        From ``photospec.evaluation.predicted.measure_predictions``.
    true_dn4000, true_redshift : ndarray (n,)

    Returns
    -------
    Card
    """
    usable = np.asarray(found["usable"], bool)
    found = {name: values[usable] for name, values in found.items() if len(values) == len(usable)}
    true_redshift, true_dn4000 = true_redshift[usable], true_dn4000[usable]
    redshift = found["redshift"]
    of_best = redshift[np.arange(len(redshift)), found["best"].astype(int)]
    good = np.isfinite(true_dn4000) & np.isfinite(found["best_dn4000"])
    dn4000 = found["best_dn4000"][good], true_dn4000[good]
    return Card(
        n_galaxies=len(redshift),
        n_candidates=redshift.shape[1],
        redshift={
            "best candidate": redshift_quality(of_best, true_redshift),
            "one candidate": redshift_quality(redshift[:, 0], true_redshift),
            "median of candidates": redshift_quality(np.median(redshift, axis=1), true_redshift),
        },
        pit_distance={
            "redshift": ks_distance(found["all_pit_redshift"]),
            "pixels": ks_distance(found["all_pit_pixels"]),
        },
        pixel_error={
            name: float(np.median(found[f"{key}_errors"][:, 0]))
            for name, key in (
                ("best candidate", "best"),
                ("one candidate", "one"),
                ("mean of candidates", "mean"),
            )
        },
        dn4000_scatter=float(np.std(dn4000[0] - dn4000[1])),
        dn4000_correlation=float(spearmanr(*dn4000)[0]) if good.sum() > 2 else float("nan"),
    )
