"""The density that redshifts of candidates are drawn from."""

import numpy as np
import pytest
import torch

from photospec.networks.redshift_density import MAX_REDSHIFT, RedshiftDensity
from photospec.networks.sizes import EncoderSize, StageSize, TransformerSize, build
from photospec.networks.spectrum_transformer import SpectrumTransformer


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    photometry = torch.randn(5, 7, generator=generator)
    return photometry, torch.randn(5, 3, 8, generator=generator)


def density(seed=0):
    torch.manual_seed(seed)
    made = RedshiftDensity(7, 8, hidden=16)
    made.fit_scaling(torch.tensor([0.05, 0.1, 0.2]))
    return made


def test_moments_are_those_of_the_logarithmic_shift():
    shift = np.log1p([0.05, 0.1, 0.2])
    assert float(density().mean) == pytest.approx(shift.mean(), rel=1e-6)
    assert float(density().std) == pytest.approx(shift.std(ddof=1), rel=1e-6)


def test_loss_is_the_density_that_is_drawn_from(inputs):
    """The derivative of the cumulative probability is the exponential of minus the loss."""
    made = density()
    with torch.no_grad():
        # Well within the range of redshifts.
        made.mix[-1].bias.view(3, -1)[1:] = torch.tensor([[0.0], [-1.0]])
        made.mix[-1].bias.view(3, -1)[1] += torch.linspace(-0.3, 1.0, 6)
        redshift, below = made.cumulative(*inputs)
        at = torch.searchsorted(below, torch.full((5, 1), 0.5, dtype=torch.float64))[:, 0]
        step = torch.log1p(redshift[at + 20]) - torch.log1p(redshift[at - 20])
        rows = torch.arange(5)
        slope = (below[rows, at + 20] - below[rows, at - 20]) / step * made.std
        expected = (-made.loss(*inputs, redshift[at])).exp()
    np.testing.assert_allclose(slope, expected, rtol=0.01)


def test_expectation_is_the_mean_of_many_draws(inputs):
    made = density()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(3)
        drawn = made.draw(*inputs, torch.rand(5, 20000, generator=generator))
        expected = made.expected(*inputs)
    error = drawn.std(dim=1) / 20000**0.5
    assert torch.all((drawn.mean(dim=1) - expected).abs() < 5 * error)


def test_draws_follow_the_quantiles(inputs):
    made = density()
    uniform = torch.rand(5, 400, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        drawn = made.draw(*inputs, uniform)
        redshift, below = made.cumulative(*inputs)
    assert drawn.min() >= 0
    assert drawn.max() <= MAX_REDSHIFT
    for row in range(5):
        back = np.interp(drawn[row].double(), redshift, below[row])
        np.testing.assert_allclose(back, uniform[row], atol=1e-3)


def test_learns_a_known_density():
    """Redshifts that depend on one feature, with known scatter."""
    generator = torch.Generator().manual_seed(4)
    photometry = torch.randn(4000, 7, generator=generator)
    tokens = torch.zeros(4000, 3, 8)
    shift = 0.1 + 0.02 * photometry[:, 0] + 0.005 * torch.randn(4000, generator=generator)
    made = density()
    made.fit_scaling(torch.expm1(shift))
    optimiser = torch.optim.Adam(made.parameters(), 5e-3)
    for _ in range(300):
        loss = made.loss(photometry, tokens, torch.expm1(shift)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        low, middle, high = made.draw(
            photometry[:500], tokens[:500], torch.tensor([[0.16, 0.5, 0.84]]).expand(500, 3)
        ).unbind(dim=1)
    error = torch.log1p(middle) - (0.1 + 0.02 * photometry[:500, 0])
    assert error.abs().median() < 0.0015
    width = (torch.log1p(high) - torch.log1p(low)).median() / 2
    assert float(width) == pytest.approx(0.005, rel=0.15)


def test_rest_wavelengths_tell_redshifts_apart():
    """The same rest wavelength has the same features whatever token it falls on."""
    network = SpectrumTransformer(563, patch_size=16, halo=8, width=16, depth=1, n_heads=2,
                                  redshift=True)  # fmt: skip
    centre = network.log_wavelength
    # A redshift that carries token 3 to where token 10 rests.
    redshift = torch.expm1(centre[10] - centre[3])[None].float()
    features = network._rest_features(torch.cat([torch.zeros(1), redshift]))
    torch.testing.assert_close(features[0, 3], features[1, 10], atol=2e-2, rtol=0)
    assert (features[0, 10] - features[1, 10]).abs().max() > 0.5
    # Not folded: no two tokens look alike.
    distance = torch.cdist(features[0], features[0]) + 10 * torch.eye(len(centre))
    assert distance.min() > 0.3


def test_stage_without_redshifts_refuses_to_guess():
    size = StageSize(
        EncoderSize(width=16, depth=1, n_heads=2),
        TransformerSize(width=16, depth=1, n_heads=2),
        redshift=True,
    )
    stage = build("base", size, n_bands=5, image_size=64, pixel_scale=0.396)
    image, flux = torch.ones(2, 5, 64, 64), torch.ones(2, 4500)
    with pytest.raises(ValueError, match="redshift"):
        stage.loss(image, flux)
    loss = stage.loss(image, flux, redshift=torch.tensor([0.1, 0.2]), n_draws=3)
    assert loss.shape == (6,)
    with pytest.raises(ValueError, match="redshift"):
        stage.sample(stage.encode(image), torch.zeros(2, 563))
