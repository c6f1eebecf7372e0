"""The recipe that makes weights: what it asks for, and the whole way in small."""

import importlib.util
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.table import Table

from photospec import PhotoSpectrograph
from photospec.networks.line_classes import LINE_CLASSES
from photospec.simulation import PopulationConfig, Survey, draw_galaxies, simulate_pairs


@pytest.fixture(scope="module")
def recipes(repository):
    path = repository / "recipes" / "default_weights.py"
    spec = importlib.util.spec_from_file_location("default_weights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("stage", ["base", "super-resolution", "contrastive"])
def test_what_a_survey_asks_for(recipes, stage):
    survey = Survey.named("desi_legacy")
    recipe = recipes.recipe_of(survey)
    config = recipes.stage_config(stage, survey, recipe, "default", 1.0)
    assert config.max_steps == recipe.steps[stage]
    assert config.data.missing_bands == (0.06, 0.0, 0.55, 0.06)
    assert config.size.image.masked_bands
    assert config.fine_tuning.other_survey
    if stage != "contrastive":
        assert config.size.max_redshift == 0.8
    sdss = Survey.named("sdss_main")
    config = recipes.stage_config(stage, sdss, recipes.recipe_of(sdss), "", 0.01)
    assert config.data.missing_bands == (0.15, 0.0, 0.0, 0.05, 0.08)
    assert not config.fine_tuning.init
    assert config.max_steps >= 10


def test_a_survey_without_a_recipe(recipes, tmp_path):
    Survey.named("lsst").replace(name="mine").write(tmp_path / "mine.toml")
    survey = recipes.find_survey(str(tmp_path / "mine.toml"))
    recipe = recipes.recipe_of(survey)
    assert set(recipe.pairs) == {"main", "test"}
    assert math.isclose(recipe.max_redshift, 0.8)
    assert recipes.find_survey("lsst") == Survey.named("lsst")


@pytest.mark.slow
def test_the_whole_way_in_small(recipes, tmp_path, monkeypatch):
    """And again, which does nothing over: files and runs are there."""
    monkeypatch.setattr(recipes, "PRESET", "tiny")
    survey = Survey.named("desi_legacy").replace(name="mine")
    survey.write(tmp_path / "mine.toml")
    pairs = {"main": {"n": 1, "seed": 1}, "test": {"n": 1, "seed": 2, "r_limit": 20.0}}
    recipe = recipes.Recipe(pairs=pairs, missing={"i": 0.5}, least=640)
    recipe = replace(recipe, steps=dict.fromkeys(recipes.STAGES, 20))
    for _ in range(2):
        recipes.run(
            tmp_path / "work", "", 1, "cpu", 1.0, survey=str(tmp_path / "mine.toml"), recipe=recipe
        )
    made = PhotoSpectrograph.load(tmp_path / "work" / "spectrograph")
    assert made.config.survey == "mine"
    assert made.config.may_miss == ("i",)
    assert (tmp_path / "work" / "card" / "card.txt").exists()


def test_the_density_alone_fitted_anew(repository, tmp_path, monkeypatch):
    """Better on galaxies held out, pieces kept, everything but the density as it was."""
    from photospec.weights import FILES, read_state

    path = repository / "recipes" / "refit_density.py"
    spec = importlib.util.spec_from_file_location("refit_density", path)
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    monkeypatch.setattr(recipe, "PIECE", 64)
    monkeypatch.setattr(recipe, "EPOCHS", 2)
    monkeypatch.setattr(recipe, "LEARNED", ((19.5, 410),))
    monkeypatch.setattr(recipe, "HELD_OUT", ((19.5, 520),))
    losses = []
    loss_of = recipe.loss_of
    monkeypatch.setattr(
        recipe, "loss_of", lambda *known: losses.append(loss_of(*known)) or losses[-1]
    )
    recipe.run(tmp_path, "legacy", 64)
    assert len(list(tmp_path.glob("*.npz"))) == 2
    assert losses[-1] <= losses[0]
    bundled = PhotoSpectrograph.load("legacy").folder
    old, new = (read_state(f / FILES["base"]) for f in (bundled, tmp_path / "spectrograph"))
    assert set(old) == set(new)
    changed = {name for name in old if not (old[name] == new[name]).all()}
    assert all(name.startswith("density.") for name in changed)


def test_steps_fitted_to_finished_weights(repository, tiny_weights, tmp_path):
    path = repository / "recipes" / "fit_steps.py"
    spec = importlib.util.spec_from_file_location("fit_steps", path)
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    survey, files = Survey.named("sdss_main"), [tmp_path / "main.h5", tmp_path / "deep.h5"]
    for seed, file in enumerate(files):
        simulate_pairs(10, file, survey=survey.replace(seed=seed), n_processes=1)
    folder = shutil.copytree(tiny_weights, tmp_path / "weights")
    sampling = recipe.run(folder, files, (2, 1), n=20, n_iterations=4)
    made = PhotoSpectrograph.load(folder)
    assert made.config.sampling == sampling
    assert sampling.sampler == "fitted"
    images = recipe.images_of(files, made.config.bands, 20)
    assert [len(batch) for batch in images] == [8, 8]
    drawn = made.cascade.sample(images[0][:1], 3, [torch.Generator().manual_seed(0)])
    assert drawn.nfe == 3


@pytest.mark.slow
def test_with_real_galaxies_in_small(recipes, tmp_path, monkeypatch):
    """Catalogues become pairs, the density is adapted, AGN are told; a second run does nothing."""
    monkeypatch.setattr(recipes, "PRESET", "tiny")
    monkeypatch.setattr(recipes, "N_LAST", 64)
    plain = recipes.stage_config

    def stage_config(stage, *args):  # the preset draws no redshifts
        config = plain(stage, *args)
        if stage != "base":
            return config
        return config.change(diffusion=replace(config.diffusion, redshift=True))

    monkeypatch.setattr(recipes, "stage_config", stage_config)
    catalogues = tmp_path / "catalogues"
    catalogues.mkdir()
    rng = np.random.default_rng(0)
    for name, file in recipes.CATALOGUES.items():
        n = 1200 if name == "classes" else 200
        drawn = draw_galaxies(PopulationConfig(r_limit=17.7, redshift_max=0.2), rng, n)
        flux = 10 ** (0.4 * (22.5 - drawn.magnitude)) * rng.normal(1, 0.01, (n, 5))
        table = Table({f"{b}_maggies": flux[:, i] for i, b in enumerate("ugriz")})
        table["redshift"] = drawn.redshift
        if name == "classes":
            table["subclass"] = rng.choice(LINE_CLASSES, n)
        table.write(catalogues / file)
    pairs = {"main": {"n": 1, "seed": 1}, "test": {"n": 1, "seed": 2, "redshift_max": 0.2}}
    recipe = recipes.Recipe(pairs=pairs, least=640, steps=dict.fromkeys(recipes.STAGES, 10))
    monkeypatch.setattr(recipes, "evaluate", lambda *args: None)  # the card has a test of its own
    made = tmp_path / "work" / "spectrograph"
    before = None
    for _ in range(2):
        recipes.run(tmp_path / "work", "", 1, "cpu", 0.02, catalogues, recipe=recipe)
        files = {path.name: path.read_bytes() for path in made.iterdir()}
        assert before in (None, files)
        before = files
    spectrograph = PhotoSpectrograph.load(made)
    assert spectrograph.tells_agn
    assert spectrograph.config.agn_threshold == recipes.AGN_THRESHOLD
    assert {"density", "line-classes"} <= set(spectrograph.config.provenance)
    frequency = spectrograph.cascade.line_classes.frequency
    assert math.isclose(float(frequency.sum()), 1.0, rel_tol=1e-5)
