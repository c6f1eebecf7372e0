import math

import pytest
import torch

from photospec.networks.contrastive import ContrastiveNetwork, nt_xent
from photospec.networks.scaling import N_FINE


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ContrastiveNetwork(
            embedding_size=8,
            image={"width": 16, "depth": 1, "n_heads": 2},
            spectrum={"width": 16, "depth": 1, "n_heads": 2},
        ).requires_grad_(False)


def unit(*shape, seed=0):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(x, dim=-1)


def slow_nt_xent(a, b, temperature):
    """Chen et al. 2020, eq. 1, term by term."""
    z, n, total = torch.cat([a, b]), len(a), 0.0
    for i in range(2 * n):
        similarity = [torch.dot(z[i], z[k]).item() / temperature for k in range(2 * n)]
        partner = similarity[(i + n) % (2 * n)]
        total -= partner - math.log(sum(math.exp(s) for k, s in enumerate(similarity) if k != i))
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_loss_against_a_slow_loop(temperature):
    a, b = unit(6, 4), unit(6, 4, seed=1)
    found = nt_xent(a, b, temperature).item()
    assert found == pytest.approx(slow_nt_xent(a, b, temperature), rel=1e-10)


def test_loss_of_known_embeddings():
    """Aligned orthogonal pairs: each finds e^(1/T) at its partner and 2n - 2 ones."""
    aligned = torch.eye(5, dtype=torch.float64)
    expected = math.log(1 + 8 * math.exp(-1 / 0.2))
    assert nt_xent(aligned, aligned, 0.2).item() == pytest.approx(expected)
    all_equal = aligned[:1].expand(5, 5)
    assert nt_xent(all_equal, all_equal, 0.2).item() == pytest.approx(math.log(9))


def test_loss_does_not_depend_on_order():
    a, b = unit(6, 4), unit(6, 4, seed=1)
    order = [3, 1, 5, 0, 2, 4]
    torch.testing.assert_close(nt_xent(a[order], b[order], 0.1), nt_xent(a, b, 0.1))
    torch.testing.assert_close(nt_xent(b, a, 0.1), nt_xent(a, b, 0.1))


def test_embeddings_are_unit_vectors_of_each_alone(network):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(4, 5, 64, 64, generator=generator)
    spectrum = torch.randn(4, N_FINE, generator=generator)
    found = network(image, spectrum)
    for embedding in found:
        assert embedding.shape == (4, 8)
        torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(4))
        assert (embedding[0] - embedding[1]).abs().max() > 1e-3
    torch.testing.assert_close(found[0][2:3], network.embed_image(image[2:3]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        found[1][2:3], network.embed_spectrum(spectrum[2:3]), atol=1e-5, rtol=1e-5
    )
