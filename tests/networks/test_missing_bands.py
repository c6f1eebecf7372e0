"""Bands that are not there: the encoder fills their photometry and tells its tokens."""

import numpy as np
import pytest
import torch

from photospec.networks.image_encoder import ImageEncoder, missing_bands


@pytest.fixture(scope="module")
def images(make_galaxies):
    return torch.from_numpy(make_galaxies(64, n_bands=4)[0])


def encoder_of(images, masked_bands=True):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = {"width": 16, "depth": 1, "n_heads": 2, "pixel_scale": 0.396}
        encoder = ImageEncoder(4, masked_bands=masked_bands, **options)
    encoder.fit_scaling(images)
    return encoder.requires_grad_(False)


def without(images, *bands):
    images = images.clone()
    images[:, list(bands)] = torch.nan
    return images


def test_nothing_missing_changes_nothing(images):
    with_setting, plain = encoder_of(images), encoder_of(images, masked_bands=False)
    with_setting.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(with_setting(images), plain(images))


def test_which_are_missing(images):
    found = missing_bands(without(images[:2], 1, 3))
    assert found.tolist() == [[False, True, False, True]] * 2


@pytest.mark.parametrize("gone", [(0,), (2,), (3,), (0, 1), (1, 2), (0, 2, 3)])
def test_photometry_is_filled_from_the_bands_beside(images, gone):
    encoder = encoder_of(images)
    whole = encoder.standardised(images)
    filled = encoder.standardised(without(images, *gone))
    assert filled.isfinite().all()
    n = 4 * encoder.apertures.shape[1]
    flux = filled[:, :n].view(len(images), -1, 4)
    there = [band for band in range(4) if band not in gone]
    torch.testing.assert_close(flux[..., there], whole[:, :n].view(flux.shape)[..., there])
    for band in gone:
        left = [b for b in there if b < band][-1:]
        right = [b for b in there if b > band][:1]
        torch.testing.assert_close(flux[..., band], flux[..., left + right].mean(dim=-1))


def test_pixels_of_a_missing_band_do_not_matter_and_it_is_told(images):
    encoder = encoder_of(images)
    tokens = encoder(without(images, 2))
    assert tokens.isfinite().all()
    zero = images.clone()
    zero[:, 2] = 0.0
    assert not torch.allclose(tokens, encoder(zero), atol=1e-3)
    encoder.missing[2] = 0.5 * torch.randn(16, generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(encoder(without(images, 2)), tokens, atol=1e-3)
    assert torch.equal(encoder(images), encoder_of(images)(images))


def test_each_image_by_itself(images):
    encoder = encoder_of(images)
    mixed = images[:3].clone()
    mixed[1, 0] = torch.nan
    alone = torch.cat([encoder(one[None]) for one in mixed])
    np.testing.assert_allclose(encoder(mixed), alone, atol=1e-5)
