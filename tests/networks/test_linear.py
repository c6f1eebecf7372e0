import pytest
import torch
from torch.nn.functional import linear

from photospec.networks.linear import Linear, use_integers


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=[True, False], ids=["bias", "no bias"])
def layer(request):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = Linear(48, 33, bias=request.param)
    return made


def rounded(rows):
    """Rows as 255 steps of their largest number can have them, by another way."""
    step = rows.double().abs().max(dim=1, keepdim=True).values / 127
    return (rows.double() / step).round() * step


@torch.no_grad()
def test_integers_are_products_of_rounded_rows(layer):
    x = random(3, 7, 48) * torch.logspace(-4, 4, 21).view(3, 7, 1)
    plain = layer(x)
    torch.testing.assert_close(plain, linear(x, layer.weight, layer.bias))
    use_integers(torch.nn.Sequential(layer), True)
    wanted = rounded(x.flatten(0, 1)) @ rounded(layer.weight).T
    wanted = wanted if layer.bias is None else wanted + layer.bias
    found = layer(x)
    assert found.shape == (3, 7, 33)
    torch.testing.assert_close(found.flatten(0, 1).double(), wanted, rtol=1e-5, atol=1e-5)
    error = (found - plain).norm(dim=-1) / linear(x, layer.weight).norm(dim=-1)
    assert 1e-4 < error.max() < 0.02
    use_integers(torch.nn.Sequential(layer), False)
    assert torch.equal(layer(x), plain)


@torch.no_grad()
def test_a_row_of_integers_is_its_own(layer):
    x = random(100, 48) * torch.logspace(-2, 2, 100)[:, None]
    layer.use_integers(True)
    together = layer(x)
    for rows in (slice(3, 4), slice(10, 17), slice(40, 100)):
        assert torch.equal(layer(x[rows]), together[rows])


@torch.no_grad()
def test_rows_of_nothing(layer):
    layer.use_integers(True)
    x = random(4, 48)
    x[1] = 0
    x[2, 5] = torch.nan
    found = layer(x)
    wanted = torch.zeros(33) if layer.bias is None else layer.bias
    torch.testing.assert_close(found[1], wanted)
    assert found[2].isnan().all()
    assert found[[0, 3]].isfinite().all()


def test_gradients_are_of_single_precision(layer):
    x = random(5, 48).requires_grad_()
    wanted = torch.autograd.grad(layer(x).square().sum(), [x, layer.weight])
    layer.use_integers(True)
    found = torch.autograd.grad(layer(x).square().sum(), [x, layer.weight])
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b)


def test_parameters_are_those_of_any_linear_layer(layer):
    layer.use_integers(True)
    kept = torch.nn.Linear(48, 33, bias=layer.bias is not None)
    kept.load_state_dict(layer.state_dict())
    assert torch.equal(kept.weight, layer.weight)
