"""Spectra as the networks see them: normalised, logarithmic (or not), standardised.

A fine spectrum has `N_FINE` bins of 1 Angstrom, a base spectrum `N_BASE` means over
eight of them. Absolute flux leaves here and comes back from the image's own photometry.
"""

import torch
from torch import nn

__all__ = [
    "N_BASE",
    "N_FINE",
    "SPECTRAL_SCALINGS",
    "WAVELENGTH_RANGE",
    "SpectrumScaling",
    "to_base",
    "upsample",
]

#: Samples of a fine spectrum.
N_FINE = 4500
BLOCK = 8
#: Samples of a base spectrum: one for eight of a fine one, the last for four.
N_BASE = -(-N_FINE // BLOCK)
#: First and last edge of the fine bins, Angstrom (`photospec.spectrum.WAVELENGTH`).
WAVELENGTH_RANGE = (4000.0, 8500.0)
# 5600-6900 Angstrom on the grid that starts at 4000: about the SDSS r band.
NORMALISATION = slice(1600, 2900)
# A spectrum's darkest bins are this part of its mean at least, so that logarithms exist.
FLOOR = 1e-3
# Relative flux at which the arcsinh turns from linear to logarithmic.
SOFTENING = 0.1
#: Of relative flux: there, back, and the slope there.
SPECTRAL_SCALINGS = {
    "log": (torch.log, torch.exp, torch.reciprocal),
    "arcsinh": (
        lambda flux: torch.asinh(flux / SOFTENING),
        lambda value: SOFTENING * torch.sinh(value),
        lambda flux: (flux**2 + SOFTENING**2).rsqrt(),
    ),
    "none": (torch.clone, torch.clone, torch.ones_like),
}


def to_base(flux):
    """Average over blocks of eight bins, ``(..., N_FINE) -> (..., N_BASE)``; four in the last."""
    whole = flux[..., : (N_BASE - 1) * BLOCK].unflatten(-1, (N_BASE - 1, BLOCK)).mean(-1)
    return torch.cat([whole, flux[..., (N_BASE - 1) * BLOCK :].mean(-1, keepdim=True)], dim=-1)


def upsample(base):
    """Interpolate linearly between block centres, ``(..., N_BASE) -> (..., N_FINE)``."""
    position = (torch.arange(N_FINE, device=base.device) - (BLOCK - 1) / 2) / BLOCK
    position = position.clamp(0, N_BASE - 1)
    left = position.long().clamp(max=N_BASE - 2)
    part = (position - left).to(base.dtype)
    return base[..., left] * (1 - part) + base[..., left + 1] * part


class SpectrumScaling(nn.Module):
    """Moments of the logarithmic training spectra and the way there and back.

    Parameters
    ----------
    kind : {"log", "arcsinh", "none"}
        Of `SPECTRAL_SCALINGS`; "logarithmic" below stands for it.

    Attributes
    ----------
    mean : tensor (N_BASE,)
        Mean logarithmic base spectrum.
    std : tensor ()
        Standard deviation about it, over all bins.
    detail_std : tensor ()
        Standard deviation of what the base spectrum misses of the fine one.
    """

    def __init__(self, kind="log"):
        super().__init__()
        self.kind = kind
        self.register_buffer("mean", torch.zeros(N_BASE))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("detail_std", torch.ones(()))

    @torch.no_grad()
    def fit(self, flux):
        """Set the moments from training spectra ``(n, N_FINE)``, any flux unit."""
        flux = self._relative(flux)
        base = self._transform(to_base(flux))
        self.mean.copy_(base.mean(dim=0))
        self.std.copy_((base - self.mean).square().mean().sqrt())
        self.detail_std.copy_((self._transform(flux) - upsample(base)).square().mean().sqrt())

    @staticmethod
    def normalise(flux):
        """Divide by the mean over the normalisation window; floor what is not positive."""
        flux = flux / flux[..., NORMALISATION].mean(-1, keepdim=True)
        return flux.clamp_min(FLOOR)

    def _relative(self, flux):
        if self.kind == "log":
            return self.normalise(flux)
        return flux / flux[..., NORMALISATION].mean(-1, keepdim=True)

    def _transform(self, relative):
        """Take relative fluxes to the scale that they are standardised on."""
        return SPECTRAL_SCALINGS[self.kind][0](relative)

    def base(self, flux):
        """Standardise fluxes ``(n, N_FINE)`` as base spectra ``(n, N_BASE)``."""
        return (self._transform(to_base(self._relative(flux))) - self.mean) / self.std

    def fine(self, flux):
        """Standardise fluxes ``(n, N_FINE)`` as fine spectra ``(n, N_FINE)``."""
        return (self._transform(self._relative(flux)) - upsample(self.mean)) / self.std

    def detail(self, fine, low_resolution):
        """Return what the super-resolution stage adds to an upsampled base spectrum."""
        return (fine - low_resolution) * (self.std / self.detail_std)

    def add_detail(self, detail, low_resolution):
        """Add the detail to a base spectrum, the inverse of `detail`: standardised fine spectra."""
        return low_resolution + detail * (self.detail_std / self.std)

    def flux(self, fine):
        """Turn standardised fine spectra into fluxes of mean one in the normalisation window."""
        flux = SPECTRAL_SCALINGS[self.kind][1](fine * self.std + upsample(self.mean))
        return flux / flux[..., NORMALISATION].mean(-1, keepdim=True)

    def base_variance(self, flux, ivar):
        """Return the variance ``(n, N_BASE)`` of noisy spectra's `base`; infinite where all is bad.

        First order in the noise, whose bins are taken as independent.
        """
        good = to_base((ivar > 0).to(flux))
        width = flux.new_full((N_BASE,), BLOCK)
        width[-1] = N_FINE - (N_BASE - 1) * BLOCK
        variance = to_base(torch.where(ivar > 0, 1 / ivar, 0)) / width / good**2
        return self._variance(to_base(self._relative(flux)), variance, flux)

    def fine_variance(self, flux, ivar):
        """Return the variance of `fine`, as `base_variance` does for `base`."""
        return self._variance(self._relative(flux), 1 / ivar, flux)

    def _variance(self, relative, variance, flux):
        level = flux[..., NORMALISATION].mean(-1, keepdim=True)
        slope = SPECTRAL_SCALINGS[self.kind][2](relative)
        variance = variance * (slope / level / self.std) ** 2
        return variance.nan_to_num(nan=torch.inf, posinf=torch.inf)
