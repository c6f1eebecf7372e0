"""Is an image like those that the networks were trained on?

A network answers any image with some galaxy's spectrum. How unlikely the image's aperture
fluxes and colours are among the training images, described by a mixture of Gaussians,
tells when that answer is worth nothing. Only the inner apertures count: the outer ones
have every galaxy's neighbours in them.
"""

import math

import torch
from torch import nn

__all__ = ["ImageDomain"]

N_COMPONENTS = 8
_N_APERTURES = 3
# Part of the training images that lies outside by definition.
_OUTSIDE = 0.01
# Variance added to every feature (they have unit variance): no direction is known better.
_FLOOR = 1e-3


class ImageDomain(nn.Module):
    """Distribution of the training images in the space of standardised photometry.

    Parameters
    ----------
    n_bands, n_apertures : int
        Features are ``n_bands`` fluxes and ``n_bands - 1`` colours in each aperture, as
        `ImageEncoder.standardised` gives them.

    Attributes
    ----------
    mean : tensor (N_COMPONENTS, n_used)
    whitening : tensor (N_COMPONENTS, n_used, n_used)
        Turns deviations from a mean into independent ones of unit variance.
    log_weight : tensor (N_COMPONENTS,)
        Logarithm of weight and normalisation.
    limit : tensor ()
        Negative log-likelihood below which all but 1 % of the training images lie.
    scale : tensor ()
        How far below it their median lies.
    """

    def __init__(self, n_bands, n_apertures):
        super().__init__()
        fluxes = torch.arange(n_bands * _N_APERTURES)
        colours = n_bands * n_apertures + torch.arange((n_bands - 1) * _N_APERTURES)
        self.register_buffer("used", torch.cat([fluxes, colours]), persistent=False)
        n = len(self.used)
        self.register_buffer("mean", torch.zeros(N_COMPONENTS, n))
        self.register_buffer("whitening", torch.eye(n).repeat(N_COMPONENTS, 1, 1))
        self.register_buffer("log_weight", torch.zeros(N_COMPONENTS))
        self.register_buffer("limit", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    @classmethod
    def like(cls, encoder):
        """An empty domain for the features of an `ImageEncoder`."""
        return cls(len(encoder.softening), encoder.apertures.shape[1])

    @torch.no_grad()
    def fit(self, features, *, seed=0):
        """Describe training features ``(n, n_features)``; needs scikit-learn."""
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(N_COMPONENTS, reg_covar=_FLOOR, random_state=seed)
        mixture.fit(features[:, self.used].double().numpy())
        whitening = torch.from_numpy(mixture.precisions_cholesky_)
        log_det = whitening.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        self.mean.copy_(torch.from_numpy(mixture.means_))
        self.whitening.copy_(whitening)
        normalisation = 0.5 * len(self.used) * math.log(2 * math.pi)
        self.log_weight.copy_(torch.from_numpy(mixture.weights_).log() + log_det - normalisation)
        surprise = self._surprise(features)
        self.limit.copy_(surprise.quantile(1 - _OUTSIDE))
        self.scale.copy_(self.limit - surprise.median())

    def _surprise(self, features):
        deviation = features[:, None, self.used] - self.mean
        distance2 = torch.einsum("nkf,kfg->nkg", deviation, self.whitening).square().sum(-1)
        return -torch.logsumexp(self.log_weight - 0.5 * distance2, dim=1)

    def forward(self, features):
        """How unlikely images are ``(n,)``: 0 as the median training image, above 1 outside."""
        return 1 + (self._surprise(features) - self.limit) / self.scale
