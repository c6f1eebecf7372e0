"""Which emission lines a galaxy has, told from its image: active nucleus, star formation, none.

A classifier on what the redshift density sees too. The lines of drawn spectra tell the same, but
each candidate's lines are a draw, and simulated ones at that; this head learns from real galaxies
that the SDSS pipeline has classified.
"""

import torch
from torch import nn

__all__ = ["LINE_CLASSES", "LineClasses"]

#: What the SDSS pipeline calls galaxies by their emission lines.
LINE_CLASSES = ("unclassified", "starforming", "starburst", "agn")
_ORDINARY, _AGN = [1, 2], 3
_REACH = 8.0  # as far as the redshift density looks


class LineClasses(nn.Module):
    """Two-layer classifier whose posterior holds for classes that are equally frequent.

    Parameters
    ----------
    n_features : int
        Size of the standardised photometry of `ImageEncoder`.
    width : int
        Width of the encoder's tokens.
    hidden : int
        Width of the hidden layers.

    Attributes
    ----------
    frequency : tensor (n_classes,)
        How frequent classes are on the sky, for probabilities.
    """

    def __init__(self, n_features, width, *, hidden=64):
        super().__init__()
        self.mix = nn.Sequential(
            nn.Linear(n_features + width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, len(LINE_CLASSES)),
        )
        self.register_buffer("frequency", torch.full((len(LINE_CLASSES),), 1 / len(LINE_CLASSES)))

    @classmethod
    def like(cls, encoder):
        """Make one for the features of an `ImageEncoder`, with random weights."""
        return cls(*encoder.sizes)

    def forward(self, photometry, tokens):
        """Return the logarithm of the posterior (n, n_classes) of equally frequent classes."""
        with torch.autocast(tokens.device.type, enabled=False):
            pooled = tokens.float().mean(dim=1)
            features = torch.cat([photometry.float().clamp(-_REACH, _REACH), pooled], dim=1)
            return self.mix(features).log_softmax(dim=1)

    def agn(self, photometry, tokens):
        """Return the score and probability (n, 2) of an active nucleus.

        The score is the natural logarithm of the odds against star-forming and starburst galaxies
        if there were as many of these as of active nuclei; the probability is that among all
        galaxies, of the frequencies on the sky.
        """
        log_posterior, frequency = self(photometry, tokens), self.frequency
        ordinary = (frequency[_ORDINARY] / frequency[_ORDINARY].sum()).log()
        score = log_posterior[:, _AGN] - (log_posterior[:, _ORDINARY] + ordinary).logsumexp(dim=1)
        probability = (log_posterior + frequency.log()).softmax(dim=1)[:, _AGN]
        return torch.stack([score, probability], dim=1)
