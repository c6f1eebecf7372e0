"""Patterns at fixed rest wavelengths, learnt, that tokens measure and put into a spectrum.

Absorption lines lie where the redshift says, to a sample. A token that knows the rest
wavelength of its centre would have to remember the pattern of lines for every place that
its patch can have. Here the patterns lie in a table over rest wavelength, which is laid
under each patch at the redshift drawn: the token learns how much of each template is in the
spectrum, and answers with how much there should be.
"""

import math

import torch
from torch import nn

from photospec.networks.redshift_density import MAX_REDSHIFT
from photospec.networks.scaling import WAVELENGTH_RANGE

__all__ = ["RestTemplates"]


class RestTemplates(nn.Module):
    """Templates over rest wavelength, seen by tokens.

    Parameters
    ----------
    length, padding, patch_size : int
        Samples of the spectrum, those added at its end, and samples per token.
    width : int
        Of the tokens.
    n_templates : int
    n_channels : int
        Spectra that are measured.
    max_redshift : float
        Up to which the table reaches.
    """

    def __init__(
        self,
        length,
        padding,
        patch_size,
        width,
        n_templates,
        n_channels,
        max_redshift=MAX_REDSHIFT,
    ):
        super().__init__()
        self.patch_size = patch_size
        low, high = WAVELENGTH_RANGE
        sample = (high - low) / length
        wavelength = low + sample * (torch.arange(length + padding) + 0.5)
        # In ln(wavelength): that of the samples at the red end, where they are closest.
        self.step = sample / high
        self.first = first = math.log(low) - math.log1p(max_redshift)
        n_rows = math.ceil((math.log(float(wavelength[-1])) - first) / self.step) + 2
        self.register_buffer("place", (wavelength.log() - first) / self.step, persistent=False)
        self.table = nn.Parameter(torch.randn(n_rows, n_templates) / math.sqrt(patch_size))
        self.measure = nn.Linear(n_channels * n_templates, width, bias=False)
        self.answer = nn.Linear(width, n_templates)
        for layer in (self.measure, self.answer):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.answer.bias)

    def under(self, redshift):
        """Return the templates ``(n, n_tokens, n_templates, patch_size)`` under the patches."""
        place = self.place - (torch.log1p(redshift.float()) / self.step)[:, None]
        place = place.clamp(0, len(self.table) - 1.001)
        left = place.long()
        part = (place - left)[..., None]
        rows = torch.lerp(self.table[left], self.table[left + 1], part)
        return rows.unflatten(1, (-1, self.patch_size)).transpose(2, 3)

    def tokens(self, templates, patches):
        """Project patches without halo on the templates, as tokens ``(n, n_tokens, width)``.

        Parameters
        ----------
        templates : tensor (n, n_tokens, n_templates, patch_size)
        patches : tensor (n, n_tokens, patch_size, n_channels)
        """
        return self.measure((templates @ patches.to(templates)).flatten(2))

    def patches(self, templates, tokens):
        """Return patches ``(n, n_tokens, patch_size)`` of templates as tokens want them."""
        return (self.answer(tokens)[:, :, None].to(templates) @ templates)[:, :, 0]
