"""The image domain against a mixture that is known."""

import math

import pytest
import torch

pytest.importorskip("sklearn")

from photospec.networks.domain import ImageDomain
from photospec.networks.image_encoder import ImageEncoder


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return ImageEncoder(width=32, n_heads=1, depth=0)


@pytest.fixture(scope="module")
def features(encoder):
    generator = torch.Generator().manual_seed(1)
    n_features = len(encoder.feature_mean)
    noise = torch.randn(4000, n_features, generator=generator)
    # Two clouds, so that the mixture is no single Gaussian.
    noise[::2] += 4.0
    return noise


@pytest.fixture(scope="module")
def domain(encoder, features):
    domain = ImageDomain.like(encoder)
    domain.fit(features)
    return domain


def test_one_per_cent_of_the_training_images_lie_outside(domain, features):
    strange = domain(features)
    assert (strange > 1).float().mean().item() == pytest.approx(0.01, abs=0.001)
    assert strange.median().item() == pytest.approx(0.0, abs=1e-4)


def test_what_lies_between_and_beyond_the_clouds_is_outside(domain, features):
    n_features = features.shape[1]
    inside = torch.zeros(1, n_features), torch.full((1, n_features), 4.0)
    outside = torch.full((1, n_features), 2.0), torch.full((1, n_features), -8.0)
    assert all(domain(x).item() < 1 for x in inside)
    assert all(domain(x).item() > 1 for x in outside)


def test_only_inner_apertures_count(encoder, domain, features):
    changed = features[:8].clone()
    n_bands, n_apertures = 5, encoder.apertures.shape[1]
    changed[:, n_bands * 3 : n_bands * n_apertures] += 100.0
    torch.testing.assert_close(domain(changed), domain(features[:8]))


def test_surprise_is_the_negative_log_likelihood(encoder):
    # All components alike and of unit variance: a standard normal distribution.
    domain = ImageDomain.like(encoder)
    n = len(domain.used)
    domain.log_weight += -math.log(len(domain.log_weight)) - 0.5 * n * math.log(2 * math.pi)
    x = torch.randn(5, len(encoder.feature_mean), generator=torch.Generator().manual_seed(2))
    wanted = -torch.distributions.Normal(0.0, 1.0).log_prob(x[:, domain.used]).sum(dim=1)
    torch.testing.assert_close(domain(x), 1 + wanted)
