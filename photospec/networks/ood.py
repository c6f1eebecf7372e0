"""Is an image like those that the networks were trained on?

A network answers any image with some galaxy's spectrum. Three numbers, each from the image's
aperture photometry, tell when that answer is worth nothing:

- how unlikely its brightness, profile and colours are among the training images, which a mixture
  of Gaussians describes: that finds what is too bright, too faint or spoilt;
- how unlikely profile and colours are at its brightness, from the same mixture: faint and bright
  galaxies are rare without being outliers, and outliers must not hide among them;
- which redshift a quadratic form of the photometry gives it: galaxies just beyond the training
  have colours just beyond too, and no mixture is sharp enough to see that.

Only the inner apertures count: the outer ones have every galaxy's neighbours in them.
"""

import math
import warnings

import torch
from torch import nn

from photospec.utils.optional import optional_imports

__all__ = ["ImageDomain"]

N_COMPONENTS = 32  # of the mixture of Gaussians
# Apertures whose brightness in the middle band is used (the profile), and whose colours are.
_PROFILE = (0, 1, 2, 3)
_COLOURS = (1, 2)
# Which of the profile's brightnesses stands for the image's.
_BRIGHTNESS = 2
# Part of the training images that lies outside by definition.
_OUTSIDE = 0.015
# Variance added to every feature (they have unit variance): no direction is known better.
_FLOOR = 1e-3
# Features this far from the mean are as bad as any, and their squares must stay finite.
_REACH = 6.0
_RIDGE = 3.0  # of the ridge regression of redshift on squared features, in galaxies
_LOG_2PI = math.log(2 * math.pi)


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
    brightness_variance, brightness_log_weight : tensor (N_COMPONENTS,)
        The mixture of the brightness alone.
    edge : tensor (n_terms,)
        Coefficients of the redshift in `_quadratic`; zero where it was not fitted.
    middle, limit : tensor (3,)
        Of the three numbers: median of the training images, and what few exceed.
    outside : tensor ()
        Of the largest of them, so scaled: what all but 1.5 % of the training images stay below.
    median : tensor ()
        Its median.
    """

    def __init__(self, n_bands, n_apertures):
        super().__init__()
        profile = torch.tensor([a * n_bands + n_bands // 2 for a in _PROFILE])
        colours = n_bands * n_apertures + torch.tensor(
            [a * (n_bands - 1) + c for a in _COLOURS for c in range(n_bands - 1)], dtype=torch.long
        )
        self.register_buffer("used", torch.cat([profile, colours]), persistent=False)
        n = len(self.used)
        pairs = torch.triu_indices(n, n)
        self.register_buffer("pairs", pairs, persistent=False)
        self.register_buffer("mean", torch.zeros(N_COMPONENTS, n))
        self.register_buffer("whitening", torch.eye(n).repeat(N_COMPONENTS, 1, 1))
        self.register_buffer("log_weight", torch.zeros(N_COMPONENTS))
        self.register_buffer("brightness_variance", torch.ones(N_COMPONENTS))
        self.register_buffer("brightness_log_weight", torch.zeros(N_COMPONENTS))
        self.register_buffer("edge", torch.zeros(1 + n + pairs.shape[1]))
        self.register_buffer("middle", torch.zeros(3))
        self.register_buffer("limit", torch.ones(3))
        self.register_buffer("outside", torch.ones(()))
        self.register_buffer("median", torch.zeros(()))

    @classmethod
    def like(cls, encoder):
        """Make an empty domain for the features of an `ImageEncoder`."""
        return cls(len(encoder.softening), encoder.apertures.shape[1])

    @torch.no_grad()
    def fit(self, features, redshift=None, *, seed=0):
        """Describe training features; needs scikit-learn.

        Parameters
        ----------
        features : tensor (n, n_features)
        redshift : tensor (n,), optional
            Of the same galaxies; without it redshifts beyond the training are not looked for.
        seed : int
        """
        with optional_imports():
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.mixture import GaussianMixture

        # A few pairs, as in trials, are no reason to fail: what is left over weighs nothing.
        k = max(1, min(N_COMPONENTS, len(features) // 4))
        mixture = GaussianMixture(k, reg_covar=_FLOOR, random_state=seed, max_iter=60)
        with warnings.catch_warnings():
            # Close to converged is good enough.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(features[:, self.used].double().numpy())
        whitening = torch.from_numpy(mixture.precisions_cholesky_)
        log_det = whitening.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        log_share = torch.from_numpy(mixture.weights_).log()
        variance = torch.from_numpy(mixture.covariances_[:, _BRIGHTNESS, _BRIGHTNESS])
        self.log_weight.fill_(-1e4)
        self.brightness_log_weight.fill_(-1e4)
        self.mean[:k] = torch.from_numpy(mixture.means_)
        self.whitening[:k] = whitening
        self.log_weight[:k] = log_share + log_det - 0.5 * len(self.used) * _LOG_2PI
        self.brightness_variance[:k] = variance
        self.brightness_log_weight[:k] = log_share - 0.5 * variance.log() - 0.5 * _LOG_2PI
        if redshift is not None:
            terms = self._quadratic(features).double()
            gram = terms.T @ terms + _RIDGE * torch.eye(terms.shape[1], dtype=terms.dtype)
            self.edge.copy_(torch.linalg.solve(gram, terms.T @ redshift.double()))
        numbers = self._numbers(features)
        self.middle.copy_(numbers.median(dim=0).values)
        limit = numbers.quantile(1 - _OUTSIDE / 2, dim=0)
        # A number that is the same for all images tells nothing: its score stays the lowest.
        self.limit.copy_(torch.where(limit > self.middle, limit, 1e9))
        largest = self._largest(features)
        self.outside.copy_(largest.quantile(1 - _OUTSIDE))
        self.median.copy_(largest.median())

    def _quadratic(self, features):
        """Return one, the features and their products, ``(n, n_terms)``."""
        x = features[:, self.used].clamp(-_REACH, _REACH)
        one, (i, j) = torch.ones_like(x[:, :1]), self.pairs
        return torch.cat([one, x, x[:, i] * x[:, j]], dim=1)

    def _numbers(self, features):
        """Return three numbers of each image ``(n, 3)``: the larger, the less like the training."""
        deviation = features[:, None, self.used] - self.mean
        distance2 = torch.einsum("nkf,kfg->nkg", deviation, self.whitening).square().sum(-1)
        log_joint = torch.logsumexp(self.log_weight - 0.5 * distance2, dim=1)
        distance2 = deviation[:, :, _BRIGHTNESS].square() / self.brightness_variance
        log_bright = torch.logsumexp(self.brightness_log_weight - 0.5 * distance2, dim=1)
        edge = self._quadratic(features) @ self.edge
        return torch.stack([-log_joint, log_bright - log_joint, edge], dim=1)

    def _largest(self, features):
        scaled = (self._numbers(features) - self.middle) / (self.limit - self.middle)
        return scaled.amax(dim=1)

    def forward(self, features):
        """Return scores of images ``(n,)``: 0 as the median training image, above 1 unlike them."""
        return (self._largest(features) - self.median) / (self.outside - self.median)
