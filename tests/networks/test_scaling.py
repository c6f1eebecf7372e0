import numpy as np
import pytest
import torch

from photospec.networks.scaling import (
    FLOOR,
    N_BASE,
    N_FINE,
    NORMALISATION,
    SpectrumScaling,
    to_base,
    upsample,
)
from photospec.spectrum import BASE_WAVELENGTH, WAVELENGTH, to_base_grid


@pytest.fixture(scope="module")
def flux():
    """Positive spectra with slopes, lines and noise, of very different brightness."""
    rng = np.random.default_rng(0)
    slope = rng.normal(0, 1e-4, (20, 1)) * (WAVELENGTH - 6000)
    line = 3 * np.exp(-0.5 * ((WAVELENGTH - rng.uniform(6900, 7500, (20, 1))) / 4) ** 2)
    level = 10 ** rng.uniform(-2, 3, (20, 1))
    flux = level * (np.exp(slope) + line + 0.05 * rng.normal(size=(20, N_FINE)))
    return torch.tensor(flux, dtype=torch.float32)


@pytest.fixture(scope="module")
def scaling(flux):
    scaling = SpectrumScaling()
    scaling.fit(flux)
    return scaling


def test_grids_are_those_of_the_package(flux):
    assert (WAVELENGTH.size, BASE_WAVELENGTH.size) == (N_FINE, N_BASE)
    window = WAVELENGTH[NORMALISATION]
    assert (window[0], window[-1]) == (5600, 6899)
    np.testing.assert_allclose(to_base(flux).numpy(), to_base_grid(flux.numpy()), rtol=1e-6)


def test_upsample_gives_a_straight_line_back():
    line = 2.0 - 0.003 * torch.arange(N_FINE, dtype=torch.float64)
    found = upsample(to_base(line))
    centres = (torch.arange(N_BASE) * 8 + 3.5).double()
    inside = slice(4, int(centres[-2]))  # the last block has half the bins, another centre
    torch.testing.assert_close(found[inside], line[inside], atol=1e-9, rtol=0)
    # before the first centre the value is held
    torch.testing.assert_close(found[:4], to_base(line)[:1].expand(4))
    at = upsample(torch.arange(float(N_BASE)))
    torch.testing.assert_close(at[[3, 4, 8]], torch.tensor([0.0, 0.0625, 0.5625]))


def test_upsample_keeps_leading_axes_and_gradients():
    base = torch.zeros(2, 3, N_BASE, requires_grad=True)
    upsample(base).sum().backward()
    assert base.grad.shape == base.shape
    # every fine bin shares one weight out among its two neighbours
    torch.testing.assert_close(base.grad.sum(), torch.tensor(2.0 * 3 * N_FINE))


def test_training_spectra_are_standardised(scaling, flux):
    base = scaling.base(flux)
    torch.testing.assert_close(base.mean(dim=0), torch.zeros(N_BASE), atol=1e-4, rtol=0)
    torch.testing.assert_close(base.square().mean(), torch.tensor(1.0), atol=1e-4, rtol=0)
    low = upsample((to_base(scaling.normalise(flux)).log() - scaling.mean) / scaling.std)
    detail = scaling.detail(scaling.fine(flux), low)
    torch.testing.assert_close(detail.square().mean(), torch.tensor(1.0), atol=1e-3, rtol=0)


def test_flux_comes_back(scaling, flux):
    relative = flux / flux[:, NORMALISATION].mean(dim=1, keepdim=True)
    torch.testing.assert_close(scaling.flux(scaling.fine(flux)), relative, rtol=1e-4, atol=0)
    low = upsample(scaling.base(flux))
    fine = scaling.add_detail(scaling.detail(scaling.fine(flux), low), low)
    torch.testing.assert_close(fine, scaling.fine(flux), rtol=1e-4, atol=1e-4)


def test_brightness_leaves_no_trace(scaling, flux):
    torch.testing.assert_close(scaling.fine(1e-3 * flux), scaling.fine(flux), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scaling.base(1e4 * flux), scaling.base(flux), rtol=1e-4, atol=1e-4)


def test_dark_bins_have_a_floor(scaling):
    flux = torch.ones(1, N_FINE)
    flux[:, 100:200] = -5.0
    flux[:, 300] = 0.0
    normal = SpectrumScaling.normalise(flux)
    assert normal[0, 150].item() == pytest.approx(FLOOR)
    assert normal[0, 300].item() == pytest.approx(FLOOR)
    assert torch.isfinite(scaling.fine(flux)).all()
    assert torch.isfinite(scaling.base(flux)).all()
