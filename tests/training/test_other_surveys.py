"""Training without some bands, and with weights of another survey to begin with."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from photospec.errors import InputError
from photospec.networks.sizes import build
from photospec.pairs import PairsWriter
from photospec.spectrum import WAVELENGTH
from photospec.training import pack, train
from photospec.training.data import PairsStream, hide_bands
from photospec.training.density import refine_density
from photospec.training.other_survey import take_over
from photospec.training.settings import DataSettings, FineTuning, TrainConfig
from photospec.weights import FILES

OFTEN = (0.2, 0.0, 0.6, 0.2)


def masked(config, **changes):
    """Settings whose networks can do without bands."""
    name = "contrastive" if config.stage == "contrastive" else "diffusion"
    size = getattr(config, name)
    size = replace(size, image=replace(size.image, masked_bands=True))
    data = replace(config.data, missing_bands=OFTEN, correct_extinction=False)
    return replace(config, **{name: size, "data": data} | changes)


@pytest.fixture(scope="module")
def griz(write_pairs, tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("griz") / "pairs.h5", 72, bands="griz", scale=0.262)


def test_bands_are_missing_as_often_as_asked_and_never_all():
    image = torch.ones(4000, 4, 2, 2)
    hidden = hide_bands(image, OFTEN, np.random.default_rng(0)).isnan()
    assert torch.equal(hidden.all(dim=(2, 3)), hidden.any(dim=(2, 3)))
    np.testing.assert_allclose(hidden[..., 0, 0].float().mean(dim=0), OFTEN, atol=0.03)
    always = hide_bands(image, (0.95,) * 4, np.random.default_rng(0))[..., 0, 0]
    assert not always.isnan().all(dim=1).any()


def test_seed_decides_what_is_missing(settings, griz):
    config = masked(settings(augment=False))
    streams = [PairsStream(griz, config), PairsStream(griz, config)]
    for stream in streams:
        first, again = stream.batch(3).image, stream.batch(3).image
        assert torch.equal(first.isnan(), again.isnan())
        assert first.isnan().any()
        assert torch.equal(stream.validation().image.isnan(), stream.validation().image.isnan())
        assert not stream.read(np.arange(8)).image.isnan().any()  # what scalings are fitted to
    assert torch.equal(*(stream.batch(5).image.isnan() for stream in streams))
    other = PairsStream(griz, replace(config, seed=1))
    assert not torch.equal(other.validation().image.isnan(), streams[0].validation().image.isnan())
    for stream in (*streams, other):
        stream.close()


def test_settings_that_do_not_agree(settings, griz):
    with pytest.raises(InputError, match=r"missing_bands: expected none for a network without"):
        settings(data=DataSettings(missing_bands=OFTEN))
    config = masked(settings(), data=DataSettings(missing_bands=(0.1, 0.2)))
    with pytest.raises(InputError, match=r"expected one number for each of g, r, i, z, got 2"):
        PairsStream(griz, config)
    with pytest.raises(InputError, match="missing_bands"):
        DataSettings(missing_bands=(0.1, 1.0))
    with pytest.raises(InputError, match="other_survey: expected false without weights"):
        FineTuning(other_survey=True)


@pytest.mark.parametrize("stage", list(FILES))
def test_what_two_surveys_share_is_taken_over(stage, settings, make_galaxies):
    image = torch.from_numpy(make_galaxies(32)[0])  # ugriz
    sizes = settings(stage).size
    if stage != "contrastive":
        sizes = replace(sizes, redshift=True, n_templates=3)
    shape = {"image_size": 64, "pixel_scale": 0.396}
    theirs = build(stage, sizes, n_bands=5, **shape)
    larger = sizes if stage == "contrastive" else replace(sizes, max_redshift=0.9)
    larger = replace(larger, image=replace(larger.image, masked_bands=True))
    ours = build(stage, larger, n_bands=4, **shape)
    left = take_over(ours, theirs, tuple("griz"), tuple("ugriz"))
    assert left == [name for name, _ in ours.named_parameters() if name.endswith("missing")]
    encoders = [getattr(n, "encoder", None) or n.image_encoder for n in (ours, theirs)]
    # Where u has no light and photometry nothing to say of it, both see the same.
    image[:, 0] = 0
    for encoder in encoders:
        encoder.feature_mean.zero_()
        encoder.softening.fill_(0.1)
    n = encoders[1].apertures.shape[1]
    mean = encoders[1].photometry(image).mean(dim=0)
    scale = torch.ones_like(mean)
    scale[[a * 5 for a in range(n)] + [5 * n + a * 4 for a in range(n)]] = 1e9  # u, and u - g
    encoders[1].feature_std.copy_(scale)
    torch.testing.assert_close(encoders[0](image[:, 1:]), encoders[1](image), atol=1e-4, rtol=1e-4)
    if stage != "contrastive":
        old, new = theirs.network.templates, ours.network.templates
        assert len(new.table) > len(old.table)
        redshift = torch.tensor([0.0, 0.5])
        gap = (new.under(redshift) - old.under(redshift)).abs().mean()
        assert gap < 0.5 * (old.under(redshift) - old.under(redshift + 0.01)).abs().mean()


def test_weights_of_another_survey_from_pairs_to_spectra(
    settings, tiny_weights, griz, tmp_path, make_galaxies
):
    from photospec import PhotoSpectrograph
    from photospec.evaluation.draws import image_of

    runs = {}
    for stage in FILES:
        config = TrainConfig.fine_tune(tiny_weights, stage, preset=settings(stage))
        tuning = replace(config.fine_tuning, other_survey=True)
        config = masked(config, max_steps=3, fine_tuning=tuning)
        runs[stage] = tmp_path / stage
        train(config, griz, runs[stage])
    config = pack(runs, tmp_path / "spectrograph", pairs=griz)
    assert config.trained_without == ("g", "i", "z")
    assert config.may_miss == ("g", "i", "z")
    spectrograph = PhotoSpectrograph.load(tmp_path / "spectrograph")
    image = make_galaxies(1, n_bands=4)[0][0]
    whole = image_of(image, "griz", 0.262, 0.0)
    part = image_of(image[[0, 1, 3]], "grz", 0.262, 0.0)
    both = spectrograph.predict([whole, part], n_candidates=2)
    assert np.isfinite(both.flux.value).all()
    assert both.meta["flags"][1][0] == "missing_band_i"
    assert not any(flag.startswith("missing") for flag in both.meta["flags"][0])
    with pytest.raises(InputError, match=r"no r; .* trained on, except g, i, z$"):
        spectrograph.predict(image_of(image[[0, 3]], "gz", 0.262, 0.0))


def test_a_run_is_no_spectrograph_of_another_survey(settings, griz, pairs, tmp_path):
    train(settings(max_steps=2, data=DataSettings(correct_extinction=False)), pairs, tmp_path / "a")
    config = TrainConfig.fine_tune(tmp_path / "a", "base", preset=settings())
    config = replace(config, fine_tuning=replace(config.fine_tuning, other_survey=True))
    with pytest.raises(InputError, match="expected the spectrograph of another survey, got a run"):
        train(config, griz, tmp_path / "b")


def test_the_density_is_refined_with_bands_missing(settings, make_galaxies, tmp_path):
    image, flux, slope = make_galaxies(72, n_bands=4)
    griz = tmp_path / "pairs.h5"
    with PairsWriter(griz, "griz", 0.262, WAVELENGTH, {}) as writer:
        columns = {"redshift": 0.3 + 0.2 * slope}
        writer.append(image, flux, np.ones_like(flux), object=columns, truth_flux=flux)
    size = settings().diffusion
    size = replace(size, redshift=True, image=replace(size.image, masked_bands=True))
    config = masked(settings(), diffusion=size)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stage = build("base", size, n_bands=4, image_size=64, pixel_scale=0.262)
    stream = PairsStream(griz, config)
    seen = []
    encode = stage.encode
    stage.encode = lambda image: seen.append(image.isnan().any().item()) or encode(image)
    found = refine_density(stage, stream, max_epochs=2)
    stream.close()
    assert np.isfinite([found["before"], found["after"]]).all()
    assert all(seen)
