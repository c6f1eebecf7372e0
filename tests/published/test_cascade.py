"""The published cascade at toy sizes: who is kept, who is refined, and which noise is drawn."""

import numpy as np
import pytest
import torch

from photospec.errors import InputError
from photospec.published.cascade import PublishedCascade, prepare_images
from photospec.published.denoiser import PublishedContrastive, PublishedDenoiser

SMALL = {"widths": (32, 32), "attention_depths": (1,), "time_width": 32, "image_width": 4}
LENGTHS = (29, 141)


@pytest.fixture(scope="module")
def state_dicts():
    state = torch.get_rng_state()
    torch.manual_seed(0)
    networks = {
        "base": PublishedDenoiser("linear", n_times=4, **SMALL),
        "super_resolution": PublishedDenoiser("linear", n_times=6, n_channels=2, **SMALL),
        "contrastive": PublishedContrastive(16, widths=(8, 16), image_width=4),
    }
    torch.set_rng_state(state)
    return {name: network.state_dict() for name, network in networks.items()}


@pytest.fixture(scope="module")
def cascade(state_dicts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, weights in state_dicts.items():
        torch.save({"model": {}, "average_model": weights}, folder / f"{name}.pt")
    return PublishedCascade.from_checkpoints(
        *(folder / f"{name}.pt" for name in ("base", "super_resolution", "contrastive"))
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(3, 5, 64, 64))


def test_candidates(cascade, images):
    found = cascade.sample(images, 5, seed=3, n_keep=2, lengths=LENGTHS)
    assert found.flux.shape == (3, 5, 141)
    assert found.base_flux.shape == (3, 5, 29)
    assert (found.flux > 0).all()
    assert found.nfe == 4 + 6
    assert "3 images, 5 candidates" in repr(found)
    for i in range(3):
        order = np.argsort(-found.base_similarity[i])
        assert set(found.parent[i]) == set(order[:2])
        assert np.bincount(found.parent[i]).max() == 3  # five draws shared by two
        np.testing.assert_array_equal(found.best[i], found.flux[i, found.similarity[i].argmax()])
    embedded = cascade.contrastive.embed_spectrum(torch.as_tensor(np.log(found.flux[1])))
    image = cascade.contrastive.embed_image(prepare_images(images[1:2]))
    np.testing.assert_allclose(found.similarity[1], (embedded @ image.T)[:, 0], atol=1e-5)


def test_alone_in_a_batch_and_in_other_chunks(cascade, images):
    together = cascade.sample(images, 5, seed=3, lengths=LENGTHS)
    again = cascade.sample(images, 5, seed=3, lengths=LENGTHS)
    alone = cascade.sample(images[1:2], 5, seed=3, batch_size=2, lengths=LENGTHS)
    np.testing.assert_array_equal(again.flux, together.flux)
    np.testing.assert_allclose(alone.flux[0], together.flux[1], rtol=1e-4)
    np.testing.assert_allclose(alone.similarity[0], together.similarity[1], atol=1e-4)
    other = cascade.sample(images[1:2], 5, seed=4, lengths=LENGTHS)
    assert np.abs(other.flux / alone.flux - 1).max() > 0.1


def test_state_dicts_give_the_cascade_back(cascade, images):
    again = PublishedCascade.from_checkpoints(**cascade.state_dicts())
    a, b = (one.sample(images[:1], 2, seed=1, lengths=LENGTHS) for one in (cascade, again))
    np.testing.assert_array_equal(a.flux, b.flux)


def test_the_stages_match_the_denoiser_called_as_published(cascade, images):
    """Encoding the image once changes nothing."""
    image, t = prepare_images(images), torch.tensor([3.0, 3.0, 3.0])
    x = torch.as_tensor(np.random.default_rng(1).normal(size=(3, 1, 29)), dtype=torch.float32)
    with_tokens = cascade.base.predict_noise(x, t, cascade.base.tokens(image))
    torch.testing.assert_close(cascade.base(x, t, image), with_tokens)


def test_images_are_prepared_as_published():
    mean, std = np.arange(5.0), np.arange(1.0, 6.0)
    flat = np.broadcast_to(mean[:, None, None] + 2 * std[:, None, None], (1, 5, 64, 64))
    prepared = prepare_images(flat.copy(), mean, std)
    assert prepared.shape == (1, 5, 64, 64)
    torch.testing.assert_close(prepared, torch.full((1, 5, 64, 64), 2.0))
    # a gradient keeps its slope per resized pixel
    ramp = np.broadcast_to(np.arange(64.0), (1, 5, 64, 64)).copy()
    step = prepare_images(ramp)[0, 0, 30, 10:50].diff()
    torch.testing.assert_close(step, torch.full((39,), 64 / 71), atol=1e-4, rtol=0)


def test_wrong_parts(state_dicts, cascade, images):
    base, fine, contrastive = (
        state_dicts[name] for name in ("base", "super_resolution", "contrastive")
    )
    with pytest.raises(InputError, match="base and super_resolution may be swapped"):
        PublishedCascade.from_checkpoints(fine, base, contrastive)
    with pytest.raises(InputError, match="super_resolution: expected a denoiser, got"):
        PublishedCascade.from_checkpoints(base, contrastive, contrastive)
    larger = PublishedContrastive(32, widths=(8, 16), image_width=4).state_dict()
    with pytest.raises(InputError, match=r"base_contrastive: .* 32, .*expected 16.*128 and 256"):
        PublishedCascade.from_checkpoints(base, fine, contrastive, base_contrastive=larger)
    with pytest.raises(InputError, match="expected both or neither"):
        PublishedCascade.from_checkpoints(base, fine, contrastive, image_mean=np.zeros(5))
    with pytest.raises(InputError, match="n_keep: expected 1 to n_candidates = 3, got 4"):
        cascade.sample(images, 3, n_keep=4)
