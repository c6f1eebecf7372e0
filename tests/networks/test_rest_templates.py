"""Templates over rest wavelength under the patches of an observed spectrum."""

import pytest
import torch

from photospec.errors import InputError
from photospec.networks.rest_templates import RestTemplates
from photospec.networks.scaling import N_FINE, WAVELENGTH_RANGE
from photospec.networks.sizes import EncoderSize, StageSize, TransformerSize
from photospec.networks.spectrum_transformer import SpectrumTransformer

WIDTH, PATCH = 16, 60
REDSHIFT = torch.tensor([0.0, 0.1, 0.25])
LOW, HIGH = WAVELENGTH_RANGE
WAVELENGTH = LOW + (HIGH - LOW) / N_FINE * (torch.arange(N_FINE) + 0.5)


@pytest.fixture
def templates():
    torch.manual_seed(0)
    return RestTemplates(N_FINE, 0, PATCH, WIDTH, 2, 1)


def rest_wavelengths(made):
    """Of the rows of the table, from where its places say that samples lie at redshift zero."""
    first = WAVELENGTH[0].log() - made.place[0] * made.step
    return torch.exp(first + made.step * torch.arange(len(made.table)))


def test_a_line_of_the_rest_frame_is_seen_at_its_observed_wavelength(templates):
    line = 5175.0
    with torch.no_grad():
        away = (rest_wavelengths(templates) - line) / 5.0
        templates.table[:, 0] = torch.exp(-0.5 * away**2)
        found = templates.under(REDSHIFT)
    assert found.shape == (3, N_FINE // PATCH, 2, PATCH)
    spectrum = found[:, :, 0].flatten(1)
    for row, z in zip(spectrum, REDSHIFT, strict=True):
        rest = WAVELENGTH / (1 + z)
        torch.testing.assert_close(
            row, torch.exp(-0.5 * ((rest - line) / 5.0) ** 2), atol=2e-3, rtol=0
        )


def test_all_redshifts_have_rows(templates):
    for z in (-0.01, 0.0, 0.3, 0.6, 0.9):  # beyond the last they are repeated
        assert torch.isfinite(templates.under(torch.tensor([z]))).all()


def test_a_token_measures_what_a_template_has_in_common_with_the_spectrum(templates):
    under = templates.under(REDSHIFT)
    patches = under[:, :, :1].transpose(2, 3)  # a spectrum that is the first template
    torch.nn.init.eye_(templates.measure.weight)
    with torch.no_grad():
        told = templates.tokens(under, patches)
    torch.testing.assert_close(told[..., 0], under[:, :, 0].square().sum(-1))
    torch.testing.assert_close(told[..., 1], (under[:, :, 0] * under[:, :, 1]).sum(-1))


def test_answers_are_sums_of_templates(templates):
    under = templates.under(REDSHIFT)
    with torch.no_grad():
        assert not templates.patches(under, torch.randn(3, N_FINE // PATCH, WIDTH)).any()
        templates.answer.bias.copy_(torch.tensor([2.0, -1.0]))
        answer = templates.patches(under, torch.zeros(3, N_FINE // PATCH, WIDTH))
    torch.testing.assert_close(answer, 2 * under[:, :, 0] - under[:, :, 1])


@pytest.mark.parametrize("low_resolution", [False, True])
@pytest.mark.parametrize("length", [563, N_FINE])
def test_a_network_begins_without_them_and_learns_them(length, low_resolution):
    options = {
        "patch_size": PATCH, "halo": 4, "width": WIDTH, "depth": 1, "n_heads": 2,
        "redshift": True, "low_resolution": low_resolution,
    }  # fmt: skip
    torch.manual_seed(1)
    plain = SpectrumTransformer(length, **options)
    network = SpectrumTransformer(length, n_templates=3, **options)
    torch.nn.init.normal_(plain.head.weight)
    missing = network.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert all(name.startswith("templates.") for name in missing)
    x, context = torch.randn(3, length), torch.randn(3, 2, WIDTH)
    low = (torch.randn(3, length), torch.zeros(3)) if low_resolution else ()
    answers = [
        n(x, torch.zeros(3), n.condition(context, *low, redshift=REDSHIFT))
        for n in (plain, network)
    ]
    torch.testing.assert_close(*answers)
    answers[1].square().mean().backward()
    assert network.templates.answer.weight.grad.abs().sum() > 0
    torch.nn.init.normal_(network.templates.answer.weight)
    torch.nn.init.normal_(network.templates.measure.weight)
    condition = network.condition(context, *low, redshift=REDSHIFT)
    answer = network(x, torch.zeros(3), condition)
    assert not torch.allclose(answer, answers[0])
    answer.square().mean().backward()
    assert network.templates.table.grad.abs().sum() > 0


def test_they_need_redshifts():
    image = EncoderSize(width=16, n_heads=2)
    with pytest.raises(InputError, match="n_templates: expected 0 without redshift, got 4"):
        StageSize(image, TransformerSize(width=16, n_heads=2), n_templates=4)
