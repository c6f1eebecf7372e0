"""How good the candidates of a stage are, from held-out pairs alone.

No measurement of redshifts or lines enters: the energy score (Gneiting & Raftery 2007,
JASA 102, 359, eq. 20) is least, on average, for the true distribution, and ranks of the truth
among candidates (PIT) are uniform where that is calibrated.
"""

import math

import numpy as np
import torch

from photospec.utils.stats import ks_distance, pit

__all__ = ["draw_candidates", "energy_score", "scores"]

# Mean fluxes of this many parts of the spectrum are ranked: broad bands, whose errors differ.
_PARTS = 12


def draw_candidates(training, batch, n_candidates, *, n_steps, seed=0):
    """Draw candidates of a diffusion stage for held-out pairs, beside the truth.

    Parameters
    ----------
    training : photospec.training.stages.StageTraining
        Of a diffusion stage.
    batch : PairsBatch
    n_candidates, n_steps : int
    seed : int

    Returns
    -------
    candidates : tensor (n_galaxies, n_candidates, n_wave)
        Standardised logarithmic spectra on the stage's grid.
    truth : tensor (n_galaxies, n_wave)
    """
    generator = torch.Generator().manual_seed(seed)
    return training.candidates(batch, n_candidates, n_steps=n_steps, generator=generator)


def energy_score(candidates, truth):
    """Return the energy score of each galaxy, per square root of the number of samples.

    Without bias for few candidates: a candidate is not compared with itself.

    Parameters
    ----------
    candidates : tensor (n_galaxies, n_candidates, n_wave)
        Two candidates or more.
    truth : tensor (n_galaxies, n_wave)

    Returns
    -------
    tensor (n_galaxies,)
    """
    n = candidates.shape[1]
    error = (candidates - truth[:, None]).norm(dim=-1).mean(dim=1)
    spread = torch.cdist(candidates, candidates).sum(dim=(1, 2)) / (n * (n - 1))
    return (error - spread / 2) / math.sqrt(truth.shape[-1])


def scores(trainer):
    """Return the energy score and calibration of the moving average on held-out pairs.

    Parameters
    ----------
    trainer : Trainer

    Returns
    -------
    dict of float
        ``energy_score``, in standard deviations of the training spectra; ``ks``, the
        Kolmogorov-Smirnov distance of the ranks of mean fluxes from uniform ones (0 is best).
    """
    run = trainer.config.run
    batch = trainer.stream.validation(run.score_pairs).to(trainer.device)
    candidates, truth = draw_candidates(
        trainer.ema, batch, run.score_candidates, n_steps=run.score_steps, seed=trainer.config.seed
    )
    drawn = _part_means(candidates).transpose(1, 2).flatten(0, 1)
    ranks = pit(drawn.cpu(), _part_means(truth).flatten().cpu(), seed=trainer.config.seed)
    return {
        "energy_score": energy_score(candidates, truth).mean().item(),
        "ks": ks_distance(np.asarray(ranks)),
    }


def _part_means(spectra):
    """Average over equal parts of the spectrum, ``(..., n_wave) -> (..., _PARTS)``."""
    return torch.stack([part.mean(dim=-1) for part in spectra.tensor_split(_PARTS, -1)], dim=-1)
