import pytest
import torch

from photospec.networks.spectrum_transformer import SpectrumTransformer

LENGTH, WIDTH = 100, 16


def make(**options):
    """A small transformer whose zero-initialised layers are filled, so that it answers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SpectrumTransformer(
            LENGTH, patch_size=12, halo=5, width=WIDTH, depth=2, n_heads=2, **options
        )
        for layer in (network.head, network.modulation):
            torch.nn.init.normal_(layer.weight, std=0.3)
    return network.requires_grad_(False)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_begins_at_zero():
    with torch.random.fork_rng():
        network = SpectrumTransformer(LENGTH, width=WIDTH, depth=1, n_heads=2)
    condition = network.condition(random(2, 5, WIDTH))
    assert (network(random(2, LENGTH), torch.zeros(2), condition) == 0).all()


def test_length_need_not_be_a_number_of_patches():
    network = make()
    assert network.padding == 8
    out = network(random(3, LENGTH), torch.zeros(3), network.condition(random(3, 5, WIDTH)))
    assert out.shape == (3, LENGTH)
    assert out.std() > 0.01


def test_each_input_matters_and_examples_do_not_mix():
    network = make(low_resolution=True)
    x, level, context = random(4, LENGTH), torch.linspace(-1, 1, 4), random(4, 5, WIDTH, seed=1)
    low, noise = random(4, LENGTH, seed=2), torch.linspace(0, 1, 4)

    def answer(x=x, level=level, context=context, low=low, noise=noise):
        return network(x, level, network.condition(context, low, noise))

    plain = answer()
    for name, value in (
        ("x", x),
        ("level", level),
        ("context", context),
        ("low", low),
        ("noise", noise),
    ):
        changed = value.clone()
        changed[2] += 0.5
        difference = (answer(**{name: changed}) - plain).abs().amax(dim=1)
        assert difference[2] > 1e-3, name
        assert difference[[0, 1, 3]].max() < 1e-5, name


@pytest.mark.parametrize("low_resolution", [False, True])
def test_folded_candidates_equal_one_by_one_with_repeated_context(low_resolution):
    network = make(low_resolution=low_resolution)
    n_galaxies, n_candidates = 3, 4
    n = n_galaxies * n_candidates
    x, level = random(n, LENGTH), torch.linspace(-1, 1, n)
    context = random(n_galaxies, 5, WIDTH, seed=1)
    extra = (random(n, LENGTH, seed=2), torch.linspace(0, 1, n)) if low_resolution else ()
    folded = network(x, level, network.condition(context, *extra))
    for i in range(n):
        one = [part[i : i + 1] for part in extra]
        condition = network.condition(context[i // n_candidates][None], *one)
        alone = network(x[i : i + 1], level[i : i + 1], condition)
        torch.testing.assert_close(alone[0], folded[i], atol=1e-4, rtol=1e-4)


def test_patches_see_their_neighbours_before_attention():
    """A change within the halo of a patch changes what the patch is embedded from."""
    network = make()
    x = random(1, LENGTH)
    changed = x.clone()
    changed[0, 12 + 3] += 1  # in the second patch, 3 samples from the first
    embedded = (network._patches(changed) - network._patches(x)).abs().sum(dim=-1)[0]
    assert torch.nonzero(embedded).flatten().tolist() == [0, 1]
