"""Settings of the published networks and of their training."""

from dataclasses import replace

import pytest

from photospec.config import from_dict, to_dict, write_toml
from photospec.errors import InputError
from photospec.published.config import PublishedSize, PublishedTrainConfig
from photospec.training import DataSettings, TrainConfig
from photospec.training.data import augment
from photospec.training.optimisers import ema_decay, learning_rate
from photospec.training.settings import STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_preset_survives_toml(stage, tmp_path):
    config = TrainConfig.preset("published", stage)
    assert config.stage == stage
    write_toml(config, tmp_path / "train.toml")
    assert TrainConfig.read(tmp_path / "train.toml") == config
    assert from_dict(TrainConfig, to_dict(config)) == config
    assert "[published]" in (tmp_path / "train.toml").read_text()


def test_preset_says_what_it_is():
    config = TrainConfig.preset("published", "super-resolution")
    assert (config.architecture, config.size) == ("published", PublishedSize())
    assert (config.max_epochs, config.batch_size, config.target) == (1000, 512, "observed")
    contrastive = TrainConfig.preset("published", "contrastive")
    assert (contrastive.max_epochs, contrastive.batch_size) == (500, 2048)
    assert contrastive.optimisation.weight_decay == 1e-3
    assert contrastive.temperature == 0.05
    assert set(contrastive.parts) == {"image_encoder", "spectrum_encoder"}
    assert "bottom" in config.parts


def test_learning_rate_and_average():
    config = replace(TrainConfig.preset("published", "base"), max_steps=1000)
    assert learning_rate(0, config) == 1e-4
    assert learning_rate(500, config) == pytest.approx((1e-4 + 1e-6) / 2)
    assert learning_rate(1000, config) == pytest.approx(1e-6)
    assert ema_decay(0, config) == ema_decay(999, config) == 0.9999


PUBLISHED = 'architecture = "published"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            PUBLISHED + '[diffusion.process]\nschedule = "linear"',
            r"line 2: diffusion\.process: expected the defaults for published .*got 'schedule'",
        ),
        (PUBLISHED + "line_weight = 2.0", "line_weight: expected 1 for published networks"),
        (PUBLISHED + "[published]\nwidths = [64, 100]", "line 3: widths: expected multiples of 8"),
        (
            PUBLISHED + "[published]\nwidths = [64, 72]\nattention_depths = [1]",
            "widths: expected multiples of",
        ),
        (
            PUBLISHED + "[published]\nattention_depths = [4]",
            "line 3: attention_depths: expected numbers below",
        ),
        (PUBLISHED + "[published]\nwidht = 3", "line 3: .*'published.widht'; is it misspelt"),
    ],
)
def test_bad_settings_name_file_and_line(text, message, tmp_path):
    path = tmp_path / "train.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        TrainConfig.read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_from_before_hold_the_table_of_either_architecture(tmp_path):
    """Run folders of older versions have [published] in the settings of our networks too."""
    path = tmp_path / "config.toml"
    write_toml(TrainConfig.preset("tiny", "base"), path)
    path.write_text(path.read_text() + "\n[published]\nn_times = 250\n")
    assert TrainConfig.read(path) == TrainConfig.preset("tiny", "base")
    path.write_text(path.read_text().replace("[published]", "[publisched]"))
    with pytest.raises(InputError, match="got the key 'publisched'; is it misspelt"):
        TrainConfig.read(path)


def test_class_and_architecture_belong_together():
    with pytest.raises(InputError, match="of the class PublishedTrainConfig for 'published'"):
        TrainConfig(architecture="published")
    with pytest.raises(InputError, match="of the class TrainConfig for 'transformer'"):
        PublishedTrainConfig(architecture="transformer")


def test_images_are_cropped_by_the_networks_only():
    import numpy as np
    import torch

    image = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    data = DataSettings(flips=False, rotations=False, crop=3)
    ours, theirs = (
        augment(image, np.random.default_rng(1), kind(data=data))
        for kind in (TrainConfig, PublishedTrainConfig)
    )
    assert torch.equal(theirs, image)
    assert not torch.equal(ours, image)
