"""Emission lines count more than other bins in the denoising loss.

Lines fill a few per cent of the bins, so a mean over all bins hardly notices them; their
fluxes, ratios and widths are much of what is measured on a spectrum. What the best network
answers does not change: it is the mean of the target in each bin, whatever the bin's weight.
"""

import torch

from photospec.lines import LINES
from photospec.spectrum.wavelengths import WAVELENGTH

__all__ = ["WEIGHTED", "line_weights"]

#: The lines of the diagnostic diagrams.
WEIGHTED = (
    "hbeta",
    "oiii_4959",
    "oiii_5007",
    "oi_6300",
    "nii_6548",
    "halpha",
    "nii_6584",
    "sii_6716",
    "sii_6731",
)
# Standard deviation of the extra weight, in ln(wavelength): 450 km/s, which holds a line's wings.
_WIDTH = 1.5e-3


def line_weights(redshift, peak):
    """Return weights of the bins of `photospec.spectrum.WAVELENGTH` for galaxies at given
    redshifts.

    Parameters
    ----------
    redshift : tensor (n,)
    peak : float
        Weight at the centre of a line, at least one; far from lines it is one.

    Returns
    -------
    tensor (n, n_wave)
    """
    wavelength = torch.tensor(WAVELENGTH, dtype=redshift.dtype, device=redshift.device)
    rest = torch.tensor([LINES[name].wavelength for name in WEIGHTED], device=redshift.device)
    centre = torch.log(rest * (1 + redshift[:, None]))
    away = (torch.log(wavelength) - centre[..., None]) / _WIDTH
    return 1 + (peak - 1) * torch.exp(-0.5 * away**2).amax(dim=1)
