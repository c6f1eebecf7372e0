"""The published networks trained by us: losses by hand, all variants, to a spectrograph."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.nddata import NDData

from photospec.errors import InputError
from photospec.image import NANOMAGGY
from photospec.pairs import PairsFile
from photospec.published.cascade import prepare_images
from photospec.published.config import PublishedSize, PublishedTrainConfig
from photospec.published.denoiser import load_denoiser
from photospec.published.training import PublishedDiffusionStage, build_published
from photospec.training import DataSettings, train, train_all
from photospec.training.extensions import PRESETS
from photospec.training.loop import run
from photospec.training.packing import pack

STAGES = ("base", "super-resolution", "contrastive")


@pytest.fixture
def published(settings):
    """``published(stage, **changes)``: published networks as small as they go."""
    ours = settings(
        data=DataSettings(split="random", weights="none", crop=4, each_image=True, rotations=False),
        max_steps=3,
        n_draws=1,
    )
    size = PublishedSize(
        widths=(8, 8, 8, 32, 32),
        attention_depths=(4,),
        time_width=16,
        image_width=4,
        n_times=20,
        embedding_size=8,
        spectrum_widths=(8, 8),
    )
    config = PublishedTrainConfig(**vars(ours) | {"architecture": "published", "published": size})
    return lambda stage="base", **changes: replace(config, stage=stage, **changes)


@pytest.fixture
def some(pairs):
    with PairsFile(pairs) as file:
        return torch.from_numpy(file.image(slice(4))), torch.from_numpy(file.truth_flux(slice(4)))


def test_loss_is_that_of_the_papers(published, some):
    """By hand: k uniform, x_k = sqrt(a) x + sqrt(1 - a) eps, mean square error of eps."""
    image, flux = some
    size = replace(published().published, schedule="linear")
    stage = build_published("base", size, n_bands=5).eval()
    stage.fit_scaling(image)
    found = stage.loss(image, flux, generator=torch.Generator().manual_seed(3))
    g = torch.Generator().manual_seed(3)
    k = (torch.rand(4, generator=g) * 20).long()
    eps = torch.randn(4, 1, 563, generator=g)
    log = (flux / flux[:, 2900:2950].mean(1, keepdim=True)).log()[:, None, ::8]
    a = torch.cumprod(1 - torch.linspace(1e-2, 0.2, 20), 0)[k][:, None, None]
    seen = prepare_images(image, stage.image_mean, stage.image_std)
    assert seen.mean((0, 2, 3)).abs().max() < 1e-4
    assert (seen.std((0, 2, 3)) - 1).abs().max() < 1e-3
    answer = stage.denoiser(a.sqrt() * log + (1 - a).sqrt() * eps, k.float(), seen)
    torch.testing.assert_close(found, (answer - eps).square().mean((1, 2)))


def test_weights_of_bins(published, some):
    """A bin without weight may hold anything; equal weights change nothing."""
    image, flux = some
    stage = build_published("super-resolution", published().published, n_bands=5).eval()

    def loss(flux, ivar=None):
        return stage.loss(image, flux, generator=torch.Generator().manual_seed(1), ivar=ivar)

    everywhere = torch.full_like(flux, torch.inf)
    torch.testing.assert_close(loss(flux, everywhere), loss(flux))
    ivar = torch.ones_like(flux)
    weight = stage.weight(flux, ivar)
    noise = 1e-3 * torch.randn(4, 4500, generator=torch.Generator().manual_seed(0))
    scatter = (stage.fine(flux + noise) - stage.fine(flux)).std(dim=0).mean() / 1e-3
    assert (1 / weight - 1).sqrt().mean().item() == pytest.approx(scatter.item(), rel=0.15)
    assert stage.weight(flux, torch.zeros_like(flux)).eq(0).all()


@pytest.mark.parametrize("conditioning", ["cross-attention", "concatenation", "none"])
@pytest.mark.parametrize("stage", ["base", "super-resolution"])
def test_all_conditionings_train(stage, conditioning, published, pairs, tmp_path):
    config = published(stage)
    config = replace(config, published=replace(config.published, conditioning=conditioning))
    network = run(config, pairs, tmp_path)
    assert isinstance(network, PublishedDiffusionStage)
    # The weights are those of a published checkpoint, and tell what they are.
    again = load_denoiser(network.denoiser.state_dict())
    assert again.unet.conditioning == conditioning
    first = next(iter(network.denoiser.parameters()))
    assert torch.equal(next(iter(again.parameters())), first)


def test_a_denoiser_learns(published, pairs, tmp_path):
    from photospec.training.data import PairsStream
    from photospec.training.stages import make_training

    config = published(mixed_precision=False, batch_size=16)
    stream = PairsStream(pairs, config)
    training = make_training(config, stream)
    optimiser = torch.optim.Adam(training.parameters(), lr=3e-3)
    losses = []
    for step in range(25):
        loss = training.loss(stream.batch(step), torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.75 * losses[0]
    drawn, truth = training.eval().candidates(
        stream.validation(3), 2, n_steps=4, generator=torch.Generator().manual_seed(0)
    )
    assert drawn.shape == (3, 2, 563)
    assert truth.shape == (3, 563)
    assert drawn.isfinite().all()
    stream.close()


def test_resuming_equals_never_killed(published, pairs, tmp_path):
    """Also the batch statistics of the image encoder, which are no parameters."""
    # A static rate is the same however long the run.
    config = published(max_steps=4, checkpoint_every=2)
    constant = replace(config.optimisation, schedule="static", warmup_steps=0)
    config = replace(config, optimisation=constant)
    whole = run(config, pairs, tmp_path / "whole").state_dict()
    run(replace(config, max_steps=2), pairs, tmp_path / "run")
    again = run(config, pairs, tmp_path / "run", resume=True).state_dict()
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []
    means = [name for name in whole if "running_mean" in name]
    assert all(whole[name].abs().sum() > 0 for name in means)
    assert means


def test_all_stages_make_a_published_spectrograph(
    published, settings, pairs, tmp_path, monkeypatch
):
    from photospec.spectrograph import PhotoSpectrograph

    def mini(stage):
        config = published(stage, max_steps=2)
        # Noise, as untrained networks draw it, has an exponential beyond all bounds.
        return replace(config, published=replace(config.published, spectral_scaling="none"))

    monkeypatch.setitem(PRESETS._objects, "mini", mini)
    made = train_all("mini", [pairs], tmp_path / "run")
    spectrograph = PhotoSpectrograph.load(made)
    with PairsFile(pairs) as file:
        meta = {"bands": file.bands, "pixel_scale": file.pixel_scale * u.arcsec}
        image = NDData(file.image(0), unit=NANOMAGGY, meta=meta)
    candidates = spectrograph.sample(image, n_candidates=2, seed=0)
    assert candidates.spectra.flux.shape == (2, 4500)
    assert np.isfinite(candidates.similarity).all()
    runs = {stage: tmp_path / "run" / stage for stage in STAGES}
    train(settings("base", max_steps=1), [pairs], tmp_path / "ours")
    with pytest.raises(InputError, match="stages of one architecture, got published and transf"):
        pack(runs | {"base": tmp_path / "ours"}, tmp_path / "w", pairs=pairs)


def test_other_bands_are_refused_before_the_work(published, write_pairs, tmp_path):
    path = write_pairs(tmp_path / "p.h5", 60, bands="gri")
    with pytest.raises(InputError, match="images of 5 bands for published networks, got 3"):
        run(published(), path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_epochs_instead_of_steps(published, pairs, tmp_path):
    from photospec.training.run_folder import load_checkpoint

    run(published(max_epochs=1, batch_size=16), pairs, tmp_path)
    # 72 pairs but for 16 and a tenth: three batches of 16
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 3
