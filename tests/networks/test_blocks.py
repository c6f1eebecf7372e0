import math

import pytest
import torch
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from photospec.networks.blocks import Attention, Block, fourier_features, split_patches

WIDTH, HEADS = 24, 3


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def make():
    """Modules with random weights, the global generator left as it was."""

    def build(cls, *args, **kwargs):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            module = cls(*args, **kwargs)
            for parameter in module.parameters():
                torch.nn.init.normal_(parameter, std=0.2)  # nothing left at zero
        return module.requires_grad_(False)

    return build


def heads(x):
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def joined(x):
    return x.transpose(1, 2).flatten(2)


def test_self_attention_is_scaled_dot_product_attention(make):
    attention, x = make(Attention, WIDTH, HEADS), random(4, 7, WIDTH)
    query, key, value = (heads(part) for part in attention.query(x).chunk(3, dim=-1))
    wanted = attention.out(joined(scaled_dot_product_attention(query, key, value)))
    torch.testing.assert_close(attention(x), wanted, atol=1e-5, rtol=1e-5)


def test_cross_attention_is_scaled_dot_product_attention(make):
    attention = make(Attention, WIDTH, HEADS, cross=True)
    x, context = random(4, 7, WIDTH), random(4, 5, WIDTH, seed=2)
    key, value = (heads(part) for part in attention.key_value(context).chunk(2, dim=-1))
    query = heads(attention.query(x))
    wanted = attention.out(joined(scaled_dot_product_attention(query, key, value)))
    found = attention(x, attention.project(context))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n_candidates", [2, 5])
def test_candidates_that_share_keys_equal_repeated_context(make, n_candidates):
    attention = make(Attention, WIDTH, HEADS, cross=True)
    x, context = random(3 * n_candidates, 7, WIDTH), random(3, 5, WIDTH, seed=2)
    shared = attention(x, attention.project(context))
    repeated = context.repeat_interleave(n_candidates, dim=0)
    torch.testing.assert_close(
        shared, attention(x, attention.project(repeated)), atol=1e-5, rtol=1e-5
    )
    # and galaxies do not see each other's context
    other = context.clone()
    other[1:] += 1
    changed = attention(x, attention.project(other))
    torch.testing.assert_close(changed[:n_candidates], shared[:n_candidates])
    assert (changed[n_candidates:] - shared[n_candidates:]).abs().max() > 0.01


@pytest.mark.parametrize("n_contexts", [6, 2, 1])
def test_attention_without_gradients_is_the_same(make, n_contexts):
    x, context = random(6, 7, WIDTH), random(n_contexts, 5, WIDTH, seed=2)
    alone, across = make(Attention, WIDTH, HEADS), make(Attention, WIDTH, HEADS, cross=True)
    with torch.no_grad():
        fused = alone(x), across(x, across.project(context))
    plain = alone(x), across(x, across.project(context))
    torch.testing.assert_close(fused, plain, atol=1e-5, rtol=1e-5)


def test_attention_ignores_the_order_of_the_context(make):
    attention = make(Attention, WIDTH, HEADS, cross=True)
    x, context = random(2, 7, WIDTH), random(2, 5, WIDTH, seed=2)
    torch.testing.assert_close(
        attention(x, attention.project(context)),
        attention(x, attention.project(context[:, [3, 0, 4, 1, 2]])),
        atol=1e-5,
        rtol=1e-5,
    )


def test_plain_block_is_two_residual_branches(make):
    block, x = make(Block, WIDTH, HEADS), random(2, 7, WIDTH)
    first, second = block.norms
    y = x + block.attention(layer_norm(x, (WIDTH,), first.weight, first.bias))
    y = y + block.feed_forward(layer_norm(y, (WIDTH,), second.weight, second.bias))
    torch.testing.assert_close(block(x), y)


def test_modulated_block_shifts_scales_and_gates(make):
    block = make(Block, WIDTH, HEADS, cross=True, modulated=True)
    x, context = random(2, 7, WIDTH), random(2, 5, WIDTH, seed=2)
    modulation = random(2, 9, WIDTH, seed=3)
    key_value = block.cross_attention.project(context)
    parts = (modulation + block.table)[:, :, None]
    y = x
    branches = (
        block.attention,
        lambda h: block.cross_attention(h, key_value),
        block.feed_forward,
    )
    for i, branch in enumerate(branches):
        shift, scale, gate = parts[:, 3 * i], parts[:, 3 * i + 1], parts[:, 3 * i + 2]
        y = y + gate * branch(layer_norm(y, (WIDTH,)) * (1 + scale) + shift)
    found = block(x, modulation=modulation, key_value=key_value)
    torch.testing.assert_close(found, y, atol=1e-5, rtol=1e-5)


def test_modulated_block_begins_as_the_identity():
    with torch.random.fork_rng():
        block = Block(WIDTH, HEADS, cross=True, modulated=True)
    x, context = random(2, 7, WIDTH), random(2, 5, WIDTH, seed=2)
    key_value = block.cross_attention.project(context)
    found = block(x, modulation=torch.zeros(2, 9, WIDTH), key_value=key_value)
    torch.testing.assert_close(found, x)


def test_patches_overlap_by_their_halo():
    x = torch.arange(24.0).expand(2, 24)
    patches = split_patches(x, 6, 2)
    assert patches.shape == (2, 4, 10)
    assert patches[0, 1].tolist() == list(range(4, 14))
    assert patches[0, 0].tolist() == [0, 0, *range(8)]  # ends are repeated
    assert patches[0, -1].tolist() == [*range(16, 24), 23, 23]
    torch.testing.assert_close(split_patches(x, 6, 0).flatten(1), x)


def test_fourier_features():
    x = torch.tensor([0.0, 0.3, 2.0])
    features = fourier_features(x, 6)
    for i, frequency in enumerate((0.25, 2.0, 16.0)):
        for row, value in zip(features, x.tolist()):
            angle = 2 * math.pi * frequency * value
            assert row[i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert row[3 + i].item() == pytest.approx(math.cos(angle), abs=1e-5)
