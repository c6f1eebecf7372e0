"""The image domain against a mixture that is known."""

import math

import pytest
import torch

pytest.importorskip("sklearn")

from photospec.networks import ood as module
from photospec.networks.image_encoder import ImageEncoder
from photospec.networks.ood import ImageDomain


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return ImageEncoder(width=32, n_heads=1, depth=0)


@pytest.fixture(scope="module")
def features(encoder):
    generator = torch.Generator().manual_seed(1)
    n_features = len(encoder.feature_mean)
    noise = 0.3 * torch.randn(4000, n_features, generator=generator)
    # Two clouds, so that the mixture is no single Gaussian.
    noise[::2] += 2.0
    return noise


@pytest.fixture(scope="module")
def domain(encoder, features):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "N_COMPONENTS", 4)
        domain = ImageDomain.like(encoder)
        domain.fit(features)
    return domain


def test_one_and_a_half_per_cent_of_the_training_images_lie_outside(domain, features):
    strange = domain(features)
    assert (strange > 1).float().mean().item() == pytest.approx(0.015, abs=0.001)
    assert strange.median().item() == pytest.approx(0.0, abs=1e-4)


def test_what_lies_between_and_beyond_the_clouds_is_outside(domain, features):
    n_features = features.shape[1]
    inside = torch.zeros(1, n_features), torch.full((1, n_features), 2.0)
    outside = torch.full((1, n_features), 1.0), torch.full((1, n_features), -4.0)
    assert all(domain(x).item() < 1 for x in inside)
    assert all(domain(x).item() > 1 for x in outside)


def test_only_inner_apertures_count(encoder, domain, features):
    changed = features[:8].clone()
    n_bands, n_apertures = 5, encoder.apertures.shape[1]
    changed[:, n_bands * 4 : n_bands * n_apertures] += 100.0
    torch.testing.assert_close(domain(changed), domain(features[:8]))


def test_numbers_are_those_of_the_mixture(encoder, features):
    # All components alike and of unit variance: a standard normal distribution.
    domain = ImageDomain.like(encoder)
    n, k = len(domain.used), len(domain.log_weight)
    domain.log_weight += -math.log(k) - 0.5 * n * math.log(2 * math.pi)
    domain.brightness_log_weight += -math.log(k) - 0.5 * math.log(2 * math.pi)
    normal = torch.distributions.Normal(0.0, 1.0)
    each = normal.log_prob(features[:5, domain.used])
    joint, conditional, edge = domain._numbers(features[:5]).T
    torch.testing.assert_close(joint, -each.sum(dim=1))
    others = [i for i in range(n) if i != module._BRIGHTNESS]
    torch.testing.assert_close(conditional, -each[:, others].sum(dim=1))
    assert not edge.any()


def test_strange_colours_do_not_hide_among_rare_brightnesses(encoder, domain):
    """Conditional: at a brightness that few have, an ordinary profile is ordinary."""
    generator = torch.Generator().manual_seed(3)
    x = 0.3 * torch.randn(500, len(encoder.feature_mean), generator=generator)
    brightness = domain.used[module._BRIGHTNESS]
    joint_only = x.clone()
    joint_only[:, brightness] = -1.2
    before, after = domain._numbers(x), domain._numbers(joint_only)
    assert (after[:, 0] - before[:, 0]).median() > 5
    assert (after[:, 1] - before[:, 1]).median().abs() < 1


def test_redshifts_beyond_the_training_are_outside(encoder):
    """Photometry that varies smoothly with redshift and goes on as it did beyond the edge."""
    generator = torch.Generator().manual_seed(4)
    n_features = len(encoder.feature_mean)
    direction = torch.randn(n_features, generator=generator)

    def photometry(z):
        noise = 0.3 * torch.randn(len(z), n_features, generator=generator)
        return (10 * (z - 0.15))[:, None] * direction + noise

    z = 0.3 * torch.rand(4000, generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "N_COMPONENTS", 4)
        domain, blind = ImageDomain.like(encoder), ImageDomain.like(encoder)
        domain.fit(photometry(z), z)
        blind.fit(photometry(z))
    beyond = photometry(torch.full((300,), 0.36))
    assert (domain(beyond) > 1).float().mean() > 0.7
    assert (domain(beyond) > 1).sum() > (blind(beyond) > 1).sum()
    assert (domain(photometry(torch.full((300,), 0.2))) > 1).float().mean() < 0.05
