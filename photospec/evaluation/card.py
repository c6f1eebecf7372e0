"""The numbers of a model card: a spectrograph against pairs whose truth is known."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from photospec.analysis import measure_indices
from photospec.evaluation.draws import arrays_of, draw_images, pair_images
from photospec.evaluation.redshift import RedshiftQuality, redshift_quality
from photospec.utils.stats import ks_distance, pit

__all__ = ["Card", "evaluate"]


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
        KS distance of the PIT from uniform: redshift, pixels, and the best candidate's rank.
    pixel_error : dict of str to float
        Median abs(predicted / true - 1) per pixel, of spectra of equal r-band flux.
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


def evaluate(spectrograph, pairs, *, n_galaxies=500, n_candidates=16, seed=0, progress=False):
    """Compare candidates with the truth of simulated pairs.

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
    index = np.arange(min(n_galaxies, len(pairs)))
    draws = draw_images(
        spectrograph,
        pair_images(pairs),
        len(index),
        n_candidates,
        seed=seed,
        progress=progress,
    )
    flux, redshift, best = draws.flux, draws.redshift, draws.best
    true_flux = pairs.truth_flux(index)
    true_redshift = np.asarray(pairs.object["redshift"][index], float)
    rows = np.arange(len(index))
    lsf = spectrograph.line_spread()
    # Spectra are compared at equal mean flux: absolute flux is the image's affair.
    level = true_flux.mean(axis=1, keepdims=True)
    relative = flux / flux.mean(axis=2, keepdims=True) * level[:, None]
    pixels = np.random.default_rng(seed).choice(true_flux.shape[1], 64, replace=False)
    dn4000 = {
        name: _dn4000(spectrum, z, lsf)
        for name, spectrum, z in (
            ("true", true_flux, true_redshift),
            ("best", flux[rows, best], redshift[rows, best]),
        )
    }
    good = np.isfinite(dn4000["true"]) & np.isfinite(dn4000["best"])
    return Card(
        n_galaxies=len(index),
        n_candidates=n_candidates,
        redshift={
            "best candidate": redshift_quality(redshift[rows, best], true_redshift),
            "one candidate": redshift_quality(redshift[:, 0], true_redshift),
            "median of candidates": redshift_quality(np.median(redshift, axis=1), true_redshift),
        },
        pit_distance={
            "redshift": ks_distance(pit(redshift, true_redshift, seed=seed)),
            "pixels": ks_distance(
                [pit(relative[:, :, p], true_flux[:, p], seed=seed) for p in pixels]
            ),
        },
        pixel_error={
            "best candidate": _error(relative[rows, best], true_flux),
            "one candidate": _error(relative[:, 0], true_flux),
            "mean of candidates": _error(relative.mean(axis=1), true_flux),
        },
        dn4000_scatter=float(np.std((dn4000["best"] - dn4000["true"])[good])),
        dn4000_correlation=float(spearmanr(dn4000["best"][good], dn4000["true"][good])[0]),
    )


def _dn4000(flux, redshift, lsf):
    table = measure_indices(arrays_of(flux, lsf), redshift=redshift, indices=("dn4000",)).to_table()
    return np.ma.filled(np.ma.asarray(table["dn4000"], float), np.nan)


def _error(flux, truth):
    return float(np.median(np.abs(flux / truth - 1)))
