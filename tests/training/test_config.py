from dataclasses import replace

import pytest

from photospec.config import read_toml, write_toml
from photospec.errors import InputError
from photospec.networks.sizes import DEFAULT_SIZES, STAGES
from photospec.training.optimisers import ema_decay, learning_rate
from photospec.training.settings import Optimisation, TrainConfig


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", ["small", "tiny"])
def test_presets_survive_toml(name, stage, tmp_path):
    config = TrainConfig.preset(name, stage)
    assert config.stage == stage
    write_toml(config, tmp_path / "train.toml")
    assert TrainConfig.read(tmp_path / "train.toml") == config
    text = (tmp_path / "train.toml").read_text()
    assert "# Galaxies per step (published: 2048 contrastive, 512 otherwise). (at least 1)" in text


def test_small_preset_has_the_default_sizes():
    for stage in STAGES:
        assert TrainConfig.preset("small", stage).size == DEFAULT_SIZES[stage]


def test_keys_left_out_take_their_default(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text('stage = "contrastive"\n[optimisation]\nlearning_rate = 1e-4\n')
    config = read_toml(TrainConfig, path)
    assert config == TrainConfig(stage="contrastive", optimisation=Optimisation(learning_rate=1e-4))
    assert config.size is config.contrastive


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_sise = 3", "line 1: .*'batch_sise'; is it misspelt"),
        ("\nbatch_size = 0", "line 2: batch_size: expected at least 1, got 0"),
        ("batch_size = 3.5", "line 1: batch_size: expected a whole number, got 3.5"),
        ("seed = -1", "seed: expected 0 to .*, got -1"),
        ("augment = 1", "augment: expected true or false, got 1"),
        ('stage = "middle"', "stage: expected one of contrastive, base, super-resolution"),
        ('target = "both"', "target: expected one of truth, observed"),
        ("temperature = 0.0", "temperature: expected a positive number"),
        ("[optimisation]\nlearning_rate = -1.0", "line 2: learning_rate: expected a positive"),
        ("[optimisation]\ndecay_fraction = 2.0", "line 2: .*expected 0 to 1"),
        ("[optimisation]\nema_decay = 1.0", "ema_decay: expected 0 to 1, 1 excluded"),
        ("[diffusion.image]\nn_heads = 5", "line 2: n_heads: expected a divisor of the width 224"),
        ("[diffusion.image]\nwidth = 448", "got 448 and 224"),
        ("batch_size = ", "expected TOML"),
        # each makes sense, but not together
        ('[data]\n\nweights = "ivar"', r"line 3: data\.weights: .* with target truth"),
        (
            'stage = "contrastive"\ntarget = "observed"\n[data]\nweights = "ivar"',
            r"line 4: data\.weights: .* for the contrastive network",
        ),
        (
            'stage = "contrastive"\n[diffusion.process]\ncondition_dropout = 0.1',
            r"line 3: diffusion\.process\.condition_dropout: expected 0 for the contrastive",
        ),
        ('architecture = "resnet"', "line 1: architecture: expected one of .*transformer"),
        ('[fine_tuning]\nfrozen = ["head"]', "line 2: frozen: expected no frozen parts without"),
        (
            '[fine_tuning]\ninit = "x"\nfrozen = ["tail"]',
            r"line 3: fine_tuning\.frozen: expected parts among encoder, .*got 'tail'",
        ),
        ('[optimisation]\nschedule = "piecewise"', "line 1: milestones: expected some with"),
        ("[optimisation]\nmilestones = [0.5]", "line 2: milestones: expected some with"),
        (
            '[optimisation]\nschedule = "piecewise"\nmilestones = [0.5, 0.2]',
            "line 3: milestones: expected increasing",
        ),
        ('[optimisation]\nschedule = "exponential"', "final_learning_rate: expected a positive"),
        ("[optimisation]\nfinal_learning_rate = 1.0", "line 2: .*at most the learning rate"),
        ("[optimisation]\nn_cycles = 2", "line 2: n_cycles: expected 1 with the trapezoid"),
        ("[optimisation]\nbetas = [0.9, 1.0]", "line 2: betas: expected 0 to 1"),
        ("[diffusion.process]\nschedule = 'sine'", "line 2: .*expected one of edm, cosine, linear"),
        (
            "[diffusion.process]\nmax_augmentation = 0.0",
            "line 1: inference_augmentation: expected at most max_augmentation = 0.0",
        ),
    ],
)
def test_bad_settings_name_file_and_line(text, message, tmp_path):
    path = tmp_path / "train.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_toml(TrainConfig, path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_of_before_the_newer_settings_mean_the_same(tmp_path):
    """A run folder of the first release holds none of the newer tables."""
    path = tmp_path / "config.toml"
    path.write_text(
        'stage = "base"\nseed = 0\nmax_steps = 4000\nbatch_size = 32\nn_draws = 4\n'
        'target = "truth"\naugment = true\nvalidation_pairs = 512\nvalidate_every = 500\n'
        "checkpoint_every = 200\ntemperature = 0.05\nmixed_precision = true\n[optimisation]\n"
        "learning_rate = 0.0007\nwarmup_steps = 200\ndecay_fraction = 0.3\nweight_decay = 0.01\n"
        "gradient_clip = 1.0\nema_decay = 0.998\n"
    )
    assert read_toml(TrainConfig, path) == TrainConfig()


def test_changes():
    config = TrainConfig(max_epochs=3)
    assert config.change(seed=4, max_steps=None) == replace(config, seed=4)
    changed = config.change(max_steps=5)
    assert (changed.max_steps, changed.max_epochs) == (5, 0)
    with pytest.raises(InputError, match="max_steps: expected at least 1, got 0; Optimiser steps"):
        config.change(max_steps=0)
    with pytest.raises(InputError, match=r"maxsteps: expected one of stage, .*, got 3"):
        config.change(maxsteps=3)


def test_bad_names():
    with pytest.raises(InputError, match=r"preset: expected one of .*small, tiny.*, got 'huge'"):
        TrainConfig.preset("huge", "base")
    with pytest.raises(InputError, match="stage: expected contrastive or base"):
        TrainConfig.preset("tiny", "all")


def test_learning_rate_is_a_trapezoid():
    config = TrainConfig(
        max_steps=100,
        optimisation=Optimisation(learning_rate=2.0, warmup_steps=10, decay_fraction=0.25),
    )
    rates = [learning_rate(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[4] == pytest.approx(1.0)
    assert rates[9:76] == pytest.approx([2.0] * 67)
    assert rates[80] == pytest.approx(2.0 * 20 / 25)
    assert rates[99] == pytest.approx(2.0 / 25)
    assert rates[100] == 0
    assert max(rates) == 2.0


def test_learning_rate_without_warm_up_or_decay():
    flat = TrainConfig(max_steps=10, optimisation=Optimisation(warmup_steps=0, decay_fraction=0.0))
    assert {learning_rate(step, flat) for step in range(10)} == {7e-4}
    # warm-up that meets the decay: the lower of both
    short = replace(flat, optimisation=Optimisation(warmup_steps=10, decay_fraction=1.0))
    assert learning_rate(1, short) == pytest.approx(7e-4 * 0.2)
    assert learning_rate(8, short) == pytest.approx(7e-4 * 0.2)


def test_moving_average_forgets_faster_early_on():
    config = TrainConfig(optimisation=Optimisation(ema_decay=0.99))
    assert ema_decay(0, config) == pytest.approx(0.1)
    assert ema_decay(90, config) == pytest.approx(0.91)
    assert ema_decay(10_000, config) == 0.99
