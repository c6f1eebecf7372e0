"""The density of the redshift given an image, from which candidates draw theirs first.

Where the lines of a spectrum lie follows from one number. Drawing that number first,
from a density that is fitted in closed form, leaves to the diffusion what it is good at,
the spectrum at that redshift, and makes all lines of a candidate agree.
"""

import math

import torch
from torch import nn

__all__ = ["MAX_REDSHIFT", "RedshiftDensity"]

#: Default upper limit of the redshifts that are drawn; the lower one is zero.
MAX_REDSHIFT = 0.6
_N_GRID = 4096  # steps of 1.5e-4 in redshift, far below the width of any component
# Narrowest component, in units of the training redshifts' standard deviation.
_MIN_WIDTH = 0.02


class RedshiftDensity(nn.Module):
    """Mixture of Gaussians in ``ln(1 + redshift)`` (Bishop 1994, mixture density network).

    Parameters
    ----------
    n_features : int
        Size of the standardised photometry of `ImageEncoder`.
    width : int
        Width of the encoder's tokens.
    hidden : int
        Width of the hidden layers.
    n_components : int
        Gaussians.
    max_redshift : float
        The density is that between zero and this.
    """

    def __init__(self, n_features, width, *, hidden=128, n_components=6, max_redshift=MAX_REDSHIFT):
        super().__init__()
        self.max_redshift = max_redshift
        self.mix = nn.Sequential(
            nn.Linear(n_features + width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, 3 * n_components),
        )
        with torch.no_grad():
            start = torch.linspace(-1.5, 1.5, n_components)
            self.mix[-1].bias.view(3, -1)[1] = start
        # Set from the training redshifts by `fit_scaling`.
        self.register_buffer("mean", torch.tensor(0.1))
        self.register_buffer("std", torch.tensor(0.05))

    @torch.no_grad()
    def fit_scaling(self, redshift):
        """Set the moments of ``ln(1 + redshift)``."""
        shift = torch.log1p(redshift.double())
        self.mean.copy_(shift.mean())
        self.std.copy_(shift.std().clamp_min(1e-4))

    def _components(self, photometry, tokens):
        """Return log-weight, mean and width (n, n_components) each, standardised."""
        with torch.autocast(tokens.device.type, enabled=False):
            pooled = tokens.float().mean(dim=1)
            features = torch.cat([photometry.float().clamp(-8.0, 8.0), pooled], dim=1)
            weight, mean, width = self.mix(features).unflatten(1, (3, -1)).unbind(dim=1)
        return weight.log_softmax(dim=1), mean, nn.functional.softplus(width) + _MIN_WIDTH

    def loss(self, photometry, tokens, redshift):
        """Return negative logarithm of the density of ``ln(1 + redshift)``, standardised, (n,)."""
        log_weight, mean, width = self._components(photometry, tokens)
        shift = (torch.log1p(redshift.double()) - self.mean) / self.std
        pull = (shift.float()[:, None] - mean) / width
        log_density = log_weight - 0.5 * pull**2 - width.log() - 0.5 * math.log(2 * math.pi)
        return -log_density.logsumexp(dim=1)

    def mixture(self, photometry, tokens):
        """Return weights, means and deviations (n, n_components) in ``ln(1 + redshift)``."""
        log_weight, mean, width = (p.double() for p in self._components(photometry, tokens))
        return log_weight.exp(), self.mean + self.std * mean, self.std * width

    def cumulative(self, photometry, tokens):
        """Return redshifts (n_grid,) and the cumulative probability (n, n_grid) below them."""
        log_weight, mean, width = (
            part.double()[..., None] for part in self._components(photometry, tokens)
        )
        end = math.log1p(self.max_redshift)
        grid = torch.linspace(0.0, end, _N_GRID, dtype=torch.float64, device=tokens.device)
        pull = ((grid - self.mean) / self.std - mean) / width
        below = (log_weight.exp() * torch.special.ndtr(pull)).sum(dim=1)
        # Truncated to the range, and normalised there.
        below = below - below[:, :1]
        return torch.expm1(grid), below / below[:, -1:]

    def expected(self, photometry, tokens):
        """Return the mean redshift (n,) of each image's density."""
        redshift, below = self.cumulative(photometry, tokens)
        middle = (redshift[1:] + redshift[:-1]) / 2
        return (below.diff(dim=1) * middle).sum(dim=1).float()

    def draw(self, photometry, tokens, uniform):
        """Return redshifts (n, m) at the quantiles ``uniform`` (n, m) of each image's density."""
        redshift, below = self.cumulative(photometry, tokens)
        uniform = uniform.to(below)
        right = torch.searchsorted(below.contiguous(), uniform.contiguous())
        right = right.clamp(1, len(redshift) - 1)
        low, high = below.gather(1, right - 1), below.gather(1, right)
        part = ((uniform - low) / (high - low).clamp_min(1e-12)).clamp(0.0, 1.0)
        return torch.lerp(redshift[right - 1], redshift[right], part).float()
