"""Other processes than the default: they learn, are guided, and count noisy bins less."""

import math

import pytest
import torch

from photospec.errors import InputError
from photospec.networks.process import Process
from photospec.networks.scaling import N_BASE, N_FINE, SPECTRAL_SCALINGS, SpectrumScaling, to_base
from photospec.networks.stage import BaseStage, SuperResolutionStage

IMAGE = {"width": 16, "depth": 0, "n_heads": 2, "patch_size": 32, "n_summary": 2}
NETWORK = {"width": 16, "depth": 1, "n_heads": 2, "patch_size": 60}


def stage(kind=BaseStage, **process):
    torch.manual_seed(0)
    return kind(image=IMAGE, network=NETWORK, process=process)


def galaxies(n, seed=0, wrong=0.0):
    """Images whose brightness tells, but for a part of them, whether spectra are blue or red."""
    g = torch.Generator().manual_seed(seed)
    red = (torch.rand(n, generator=g) < 0.5).float()
    bright = torch.where(torch.rand(n, generator=g) < wrong, 1 - red, red)
    image = (0.1 + bright)[:, None, None, None] * torch.ones(n, 5, 64, 64)
    image = image + 0.05 * torch.randn(n, 5, 64, 64, generator=g)
    slope = (2 * red - 1)[:, None] * torch.linspace(-1, 1, N_FINE)
    return image, slope.exp(), red


def trained(process, steps, *, wrong=0.0, n=32, n_draws=2):
    image, flux, _ = galaxies(64, wrong=wrong)
    network = stage(**process)
    network.encoder.fit_scaling(image)
    network.scaling.fit(flux)
    optimiser = torch.optim.Adam(network.parameters(), lr=4e-3)
    g = torch.Generator().manual_seed(1)
    losses = []
    for step in range(steps):
        image, flux, _ = galaxies(n, seed=step, wrong=wrong)
        loss = network.loss(image, flux, n_draws=n_draws, generator=g).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return network.eval(), losses


@pytest.mark.parametrize("scaling", SPECTRAL_SCALINGS)
def test_scalings_are_undone(scaling):
    g = torch.Generator().manual_seed(0)
    flux = torch.rand(20, N_FINE, generator=g) + 0.2
    if scaling != "log":
        flux[:, ::7] -= 0.4  # negative here and there
    fitted = SpectrumScaling(scaling)
    fitted.fit(flux)
    torch.testing.assert_close(
        fitted.flux(fitted.fine(flux)), flux / flux[:, 1600:2900].mean(1, keepdim=True),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    base = fitted.base(flux)
    assert base.square().mean().item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("scaling", SPECTRAL_SCALINGS)
def test_variances_are_those_of_noisy_spectra(scaling):
    """First-order propagation against the scatter of many noisy copies of one spectrum."""
    g = torch.Generator().manual_seed(2)
    flux = 5 + 3 * torch.sin(torch.linspace(0, 9, N_FINE))[None]
    fitted = SpectrumScaling(scaling)
    fitted.fit(flux * (1 + 0.1 * torch.randn(20, 1, generator=g)) + torch.rand(20, N_FINE))
    sigma = 0.05 * (1 + torch.linspace(0, 1, N_FINE))[None]
    noisy = flux + sigma * torch.randn(400, N_FINE, generator=g)
    # all with the level of the clean one: its noise, a few per cent here, is not in the formula
    noisy *= flux[:, 1600:2900].mean() / noisy[:, 1600:2900].mean(1, keepdim=True)
    for found, scaled in (
        (fitted.fine_variance(flux, sigma**-2), fitted.fine(noisy)),
        (fitted.base_variance(flux, sigma**-2), fitted.base(noisy)),
    ):
        ratio = scaled.var(dim=0) / found[0]
        assert ratio.mean().item() == pytest.approx(1, abs=0.06)


def test_blocks_without_a_good_bin_have_no_weight():
    fitted = SpectrumScaling()
    flux, ivar = torch.ones(1, N_FINE), torch.full((1, N_FINE), 4.0)
    ivar[:, 80:88] = 0
    ivar[:, 100:102] = 0
    variance = fitted.base_variance(flux, ivar)
    assert variance[0, 10].isinf()
    assert variance[0, 0].item() == pytest.approx(1 / 4 / 8)
    assert variance[0, 12].item() == pytest.approx(1 / 4 / 6)
    assert variance[0, -1].item() == pytest.approx(1 / 4 / 4)  # the last block is half as long
    assert fitted.fine_variance(flux, ivar)[0, 80].isinf()


@pytest.mark.parametrize("kind", [BaseStage, SuperResolutionStage])
def test_bins_without_weight_may_hold_anything(kind):
    """The loss does not see what they hold, but for what the network is shown of them."""
    image, flux, _ = galaxies(4)
    network = stage(kind)
    torch.nn.init.zeros_(network.network.head.weight)  # answers nothing, whatever it is shown
    ivar = torch.full_like(flux, torch.inf)
    ivar[:, 3200:3264] = 0
    other = flux.clone()
    other[:, 3200:3264] *= 7

    def loss(flux, ivar=None):
        g = torch.Generator().manual_seed(5)
        return network.loss(image, flux, generator=g, ivar=ivar)

    if kind is BaseStage:  # whose bins do not feel their neighbours
        torch.testing.assert_close(loss(other, ivar), loss(flux, ivar))
    assert (loss(other) - loss(flux)).abs().max() > 1e-4
    everywhere = torch.full_like(flux, torch.inf)
    torch.testing.assert_close(loss(flux, everywhere), loss(flux))


@pytest.mark.parametrize(
    "process",
    [
        {"parametrisation": "v", "schedule": "cosine"},
        {"parametrisation": "epsilon", "schedule": "cosine"},
        {"parametrisation": "epsilon", "schedule": "linear"},
        {"parametrisation": "v", "schedule": "edm"},
        {"parametrisation": "edm", "schedule": "linear", "spectral_scaling": "arcsinh"},
    ],
    ids=lambda process: "-".join(process.values()),
)
def test_other_processes_learn_and_sample(process):
    network, losses = trained(process, steps=30)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    image, _, _ = galaxies(2, seed=3)
    with torch.no_grad():
        drawn, _ = network.sample(network.encode(image), torch.randn(4, N_BASE), n_steps=6)
    assert drawn.isfinite().all()


@pytest.mark.slow
def test_guidance_works_with_weights_trained_for_it():
    """An image that is right in six of seven cases: guidance takes it for surer than it is."""
    network, _ = trained({"condition_dropout": 0.2}, steps=300, wrong=0.15, n_draws=4)
    image, flux, red = galaxies(128, seed=4)
    truth = network.scaling.base(flux)
    direction = truth[red == 1].mean(0) - truth[red == 0].mean(0)
    noise = torch.randn(128, N_BASE, generator=torch.Generator().manual_seed(0))

    def contrast(guidance):
        network.guidance = guidance
        with torch.no_grad():
            drawn, nfe = network.sample(network.encode(image), noise, n_steps=8)
        along = drawn @ direction / direction.square().sum()
        return (along[red == 1].mean() - along[red == 0].mean()).item(), nfe

    (without, _), (plain, n_plain), (strong, n_strong) = contrast(0.0), contrast(1.0), contrast(2.5)
    assert plain == pytest.approx(0.7, abs=0.25)  # of six sevenths less one
    assert abs(without) < 0.25
    assert strong > plain + 0.08
    assert n_strong == 2 * n_plain


def test_what_is_hidden_is_what_training_hid():
    """Guidance 0 draws as if the image were the zeros that stand for a hidden one."""
    network = stage(condition_dropout=0.3).eval()
    torch.nn.init.normal_(network.network.modulation.weight, std=0.3)
    torch.nn.init.normal_(network.network.head.weight, std=0.3)
    image, _, _ = galaxies(3)
    context, noise = network.encode(image), torch.randn(6, N_BASE)
    with torch.no_grad():
        hidden, _ = network.sample(torch.zeros_like(context), noise, n_steps=3)
        plain, n_plain = network.sample(context, noise, n_steps=3)
        network.guidance = 0.0
        torch.testing.assert_close(network.sample(context, noise, n_steps=3)[0], hidden)
        network.guidance = 2.0
        guided, n_guided = network.sample(context, noise, n_steps=3)
    assert (plain - hidden).abs().max() > 1e-3
    assert (guided - plain).abs().max() > 1e-3
    assert n_guided == 2 * n_plain


def test_images_are_hidden_in_training_only():
    network = stage(condition_dropout=0.5)
    context = torch.ones(400, 3, 16)
    shown = network._hide(context, torch.Generator().manual_seed(0))
    part = (shown == 0).all(dim=2).all(dim=1).float().mean().item()
    assert part == pytest.approx(0.5, abs=0.1)
    assert ((shown == 0) | (shown == 1)).all()
    assert network.eval()._hide(context, None) is context
    assert stage()._hide(context, None) is context


def test_super_resolution_without_augmentation():
    network = stage(SuperResolutionStage, max_augmentation=0.0, inference_augmentation=0.0)
    image, flux, _ = galaxies(2)
    assert network.loss(image, flux, generator=torch.Generator().manual_seed(0)).isfinite().all()
    with torch.no_grad():
        base = network.scaling.base(flux)
        drawn, _ = network.sample(
            network.encode(image), base, torch.randn(2, N_FINE), torch.randn(2, N_BASE), n_steps=2
        )
    assert drawn.isfinite().all()


def test_times_are_uniform_or_log_normal():
    g = torch.Generator().manual_seed(0)
    uniform = Process(schedule="cosine").draw_times(20_000, g, (0, 1))
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.01)
    assert uniform.var().item() == pytest.approx(1 / 12, abs=0.003)
    edm = Process()
    sigma = edm.noise_schedule().sigma(edm.draw_times(20_000, g, (0.5, 1.8))).log()
    assert sigma.mean().item() == pytest.approx(0.5, abs=0.05)
    assert math.isclose(sigma.std().item(), 1.8, abs_tol=0.05)


def test_bad_processes():
    for options, message in (
        ({"schedule": "sine"}, 'schedule: expected one of edm, cosine, linear, got "sine"'),
        ({"parametrisation": "x"}, "parametrisation: expected one of epsilon, v, edm"),
        ({"inference_augmentation": 0.2}, "inference_augmentation: expected at most"),
    ):
        with pytest.raises(InputError, match=message):
            Process(**options)


def test_blocks_are_means():
    assert to_base(torch.arange(N_FINE).float())[0].item() == 3.5
