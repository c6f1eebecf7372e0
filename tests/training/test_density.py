"""Fitting the redshift density alone, after the base stage."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from photospec.errors import InputError
from photospec.networks.sizes import build
from photospec.pairs import PairsWriter
from photospec.spectrum import WAVELENGTH
from photospec.training.data import PairsStream
from photospec.training.density import adapt_density, density_features, refine_density


@pytest.fixture(scope="module")
def pairs_with_redshift(tmp_path_factory, make_galaxies):
    """Pairs whose colours tell the redshift."""
    path = tmp_path_factory.mktemp("density") / "pairs.h5"
    image, flux, slope = make_galaxies(160)
    with PairsWriter(path, "ugriz", 0.396, WAVELENGTH, {}) as writer:
        writer.append(
            image,
            flux,
            np.ones_like(flux),
            object={"redshift": 0.15 + 0.1 * slope},
            truth={"redshift": 0.15 + 0.1 * slope},
            truth_flux=flux,
        )
    return path


@pytest.fixture
def stream(pairs_with_redshift, settings):
    config = settings("base", validation_pairs=32)
    config = replace(config, diffusion=replace(config.diffusion, redshift=True))
    with closing(PairsStream(pairs_with_redshift, config)) as stream:
        yield stream


def make_stage(stream):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stage = build("base", stream.config.diffusion, n_bands=5, image_size=64, pixel_scale=0.396)
    batch = stream.read(np.arange(stream.n_train))
    stage.encoder.fit_scaling(batch.image)
    stage.density.fit_scaling(batch.redshift)
    return stage


def test_learns_the_redshifts_and_nothing_else(stream):
    stage = make_stage(stream)
    before = {name: tensor.clone() for name, tensor in stage.state_dict().items()}
    found = refine_density(stage, stream, batch_size=16, max_epochs=60, learning_rate=5e-3)
    # Of the standardised redshift: 1.2 knowing nothing; the colours tell nearly all.
    assert found["before"] > 0.9
    assert found["after"] < found["before"] - 1.0
    changed = {k for k, t in stage.state_dict().items() if not torch.equal(t, before[k])}
    assert changed
    assert all(name.startswith("density.mix.") for name in changed)
    batch = stream.validation()
    with torch.no_grad():
        context = stage.encode(batch.image)
        median = stage.draw_redshift(batch.image, context, torch.full((len(context), 1), 0.5))
    assert (median - batch.redshift).abs().median() < 0.02


def test_same_seed_same_numbers_and_never_worse(stream):
    first, second = make_stage(stream), make_stage(stream)
    found = [refine_density(s, stream, max_epochs=2, batch_size=16) for s in (first, second)]
    assert found[0] == found[1]
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    stays = refine_density(first, stream, max_epochs=3, learning_rate=10.0, patience=2)
    assert stays["after"] <= stays["before"]
    assert stays["epochs"] <= 3


def test_shares_decide_where_samples_disagree(stream):
    """Of the same images at two redshifts, the density believes either as often as it counts."""
    batch = stream.read(np.arange(stream.n_train))
    stage = make_stage(stream)
    refine_density(stage, stream, batch_size=16, max_epochs=30, learning_rate=5e-3)
    features = density_features(stage.eval(), batch.image.split(64))
    other = (features, batch.redshift + 0.2, 3.0)
    # Of another size: what counts is the share.
    few = tuple(part[:64] for part in features), batch.redshift[:64], 1.0
    before = {k: t.clone() for k, t in stage.state_dict().items() if "density" not in k}
    adapt_density(stage, [few, other], n_epochs=150, batch_size=32, learning_rate=3e-3)
    middle = torch.log1p(batch.redshift.double() + 0.1)
    weight, centre, _ = stage.density.mixture(*features)
    above = (weight * (centre > middle[:, None])).sum(dim=1).mean().item()
    assert above == pytest.approx(0.75, abs=0.05)
    assert all(torch.equal(t, stage.state_dict()[k]) for k, t in before.items())
    assert not any(p.requires_grad for p in stage.density.parameters())


def test_samples_without_galaxies_or_share_are_refused(stream):
    stage = make_stage(stream)
    features = torch.zeros(0, stage.encoder.sizes[0]), torch.zeros(0, 1, stage.encoder.sizes[1])
    for parts in ([], [(features, torch.zeros(0), 1.0)]):
        with pytest.raises(InputError, match="parts: expected samples with some galaxies"):
            adapt_density(stage, parts)


def test_refuses_what_has_no_redshifts(stream, pairs, settings):
    stage = make_stage(stream)
    plain = settings("base", validation_pairs=32)
    with pytest.raises(InputError, match="stage: expected one that draws redshifts"):
        refine_density(
            build("base", plain.diffusion, n_bands=5, image_size=64, pixel_scale=0.396), stream
        )
    with (
        closing(PairsStream(pairs, plain)) as without,  # negative ones: no redshifts
        pytest.raises(InputError, match="pairs: expected redshifts"),
    ):
        refine_density(stage, without)
