import numpy as np
import pytest
import torch

from photospec.networks.image_encoder import APERTURE_RADII, ImageEncoder, aperture_weights
from photospec.photometry import apertures

SCALE = 0.396


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:64, :64] - 32
    light = np.exp(-np.hypot(x, y) / rng.uniform(3, 8, (40, 1, 1, 1)))
    noise = np.array([0.3, 0.02, 0.03, 0.05, 0.2])[:, None, None]
    images = rng.uniform(1, 5, (40, 5, 1, 1)) * light + noise * rng.normal(size=(40, 5, 64, 64))
    return torch.tensor(images, dtype=torch.float32)


def encoder_of(seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ImageEncoder(width=16, n_heads=2, **options).requires_grad_(False)


@pytest.mark.parametrize("size", [64, 65])
def test_apertures_are_those_of_the_ground_floor(size):
    found = aperture_weights(size, APERTURE_RADII, SCALE)
    for weights, radius in zip(found, APERTURE_RADII):
        exact = apertures.aperture_weights((size, size), radius / SCALE)
        # both sum to the area of the circle; single pixels on the edge differ by sub-sampling
        assert weights.sum().item() == pytest.approx(exact.sum(), rel=3e-3)
        assert np.abs(weights.view(size, size).numpy() - exact).max() < 0.06
        assert np.abs(weights.view(size, size).numpy() - exact).mean() < 1e-3


def test_aperture_fluxes_of_a_galaxy_are_exact_to_two_thousandths():
    y, x = np.mgrid[:64, :64] - 32
    galaxy = np.exp(-np.hypot(x, 1.3 * y) / 5)
    weights = aperture_weights(64, APERTURE_RADII, SCALE).view(-1, 64, 64).numpy()
    for weight, radius in zip(weights, APERTURE_RADII):
        exact = apertures.aperture_flux(galaxy[None], radius, pixel_scale=SCALE)[0]
        assert np.sum(weight * galaxy) == pytest.approx(exact, rel=2e-3)


def test_finer_subsampling_approaches_the_exact_weights():
    exact = apertures.aperture_weights((64, 64), 4.0 / SCALE)
    fine = aperture_weights(64, (4.0,), SCALE, oversampling=60).view(64, 64)
    np.testing.assert_allclose(fine.numpy(), exact, atol=5e-3)


def test_photometry_is_aperture_photometry(images):
    encoder = encoder_of()
    encoder.softening.copy_(torch.tensor([0.3, 0.02, 0.03, 0.05, 0.2]))
    found = encoder.photometry(images)
    flux = np.stack(
        [apertures.aperture_flux(images.numpy(), r, pixel_scale=SCALE) for r in APERTURE_RADII], 1
    )
    area = [np.pi * (r / SCALE) ** 2 for r in APERTURE_RADII]
    softening = encoder.softening.numpy() * np.sqrt(area)[:, None]
    expected = np.arcsinh(flux / (2 * softening)) + np.log(softening)
    n = expected[0].size
    np.testing.assert_allclose(found[:, :n].numpy(), expected.reshape(40, n), atol=0.02)
    colour = np.diff(expected, axis=-1)
    np.testing.assert_allclose(found[:, n:].numpy(), colour.reshape(40, -1), atol=0.02)


def test_bright_fluxes_are_magnitudes(images):
    """Far above the noise arcsinh is a logarithm: colours do not depend on brightness."""
    encoder = encoder_of()
    bright = images.clamp_min(0) * 1e4
    twice = encoder.photometry(2 * bright) - encoder.photometry(bright)
    n = 5 * len(APERTURE_RADII)
    torch.testing.assert_close(
        twice[:, :n], torch.full((40, n), float(np.log(2))), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(twice[:, n:], torch.zeros(40, twice.shape[1] - n), atol=1e-4, rtol=0)


def test_scaling_is_fitted_to_the_images(images):
    encoder = encoder_of()
    encoder.fit_scaling(images)
    np.testing.assert_allclose(encoder.softening.numpy(), [0.3, 0.02, 0.03, 0.05, 0.2], rtol=0.1)
    standard = (encoder.photometry(images) - encoder.feature_mean) / encoder.feature_std
    torch.testing.assert_close(
        standard.mean(dim=0), torch.zeros(standard.shape[1]), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        standard.std(dim=0), torch.ones(standard.shape[1]), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize(
    ("options", "n_tokens"),
    [
        ({}, 4 + 64),
        ({"n_summary": 0}, 64),
        ({"use_patches": False}, 4),
        ({"patch_size": 16, "n_summary": 1}, 17),
    ],
)
def test_tokens(images, options, n_tokens):
    encoder = encoder_of(depth=1, **options)
    encoder.fit_scaling(images)
    tokens = encoder(images[:6])
    assert tokens.shape == (6, n_tokens, 16)
    assert torch.isfinite(tokens).all()
    alone = torch.cat([encoder(image[None]) for image in images[:6]])
    torch.testing.assert_close(tokens, alone, atol=1e-5, rtol=1e-5)


def test_patches_are_cut_in_order(images):
    """With an identity in place of the linear layer the tokens are the patches themselves."""
    encoder = encoder_of(depth=0, n_summary=0, n_bands=1, patch_size=4)
    encoder.patch = torch.nn.Identity()
    encoder.position.zero_()
    encoder.norm = torch.nn.Identity()
    encoder.softening.fill_(0.5)
    image = images[:2, 2:3]
    tokens = encoder(image)
    for number in (0, 15, 16, 255):
        row, column = divmod(number, 16)
        patch = image[:, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        torch.testing.assert_close(tokens[:, number], torch.asinh(patch.flatten(1)) / 3)


def test_turned_images_have_the_same_photometry(images):
    from photospec.training.data import turn

    encoder = encoder_of()
    for swap, flip_x, flip_y in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)):
        turned = turn(images, swap, flip_x, flip_y)
        torch.testing.assert_close(
            encoder.photometry(turned), encoder.photometry(images), atol=2e-3, rtol=2e-3
        )


def test_fast_asinh_is_the_exact_one():
    from photospec.networks.image_encoder import _asinh

    x = torch.cat([torch.linspace(-300, 300, 10001), torch.logspace(-9, 12, 200)])
    torch.testing.assert_close(_asinh(x), torch.asinh(x), rtol=1e-6, atol=3e-7)
