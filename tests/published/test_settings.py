"""Settings files of the published code: every key mapped, ignored or refused."""

from dataclasses import replace

import pytest
import yaml

from photospec.cli import main
from photospec.config import read_toml
from photospec.errors import InputError
from photospec.published.settings import IGNORED, MAPPED, read_published
from photospec.training.settings import TrainConfig

# Every key that the files are known to hold (shared reference), with the published values.
GENERATIVE = """
output_path: $SCRATCH/runs
dataset_file: datasets.lr_5band
multigpu: false
distributed: true
mp_loaders: 4
batch_size: 512
max_epochs: 1000
beta_schedule: cosine
polyak_alpha: 0.9999
preprocessing: log
reduction: subsample
backbone: spectrumunet
spectrumunet:
  pretrained_encoder: true
  encoder_size: 512
  dim: 64
  attention_depths: [3, 4]
  dim_mults: [1, 2, 4, 8, 16]
conditioning: x-attention
time_steps: 250
img_res: 64
use_logger: false
optim:
  learning_rate: 1e-4
  lr_function: linear
  lr_params: {power: 1, min_lr: 1e-6}
con_backbone: resnet
latent_dimensionality: 128
resnet: {pretrained: false, base_channels: 64, channel_mults: [1, 2, 4, 8, 16]}
load_from: null
load_con_from: con.pt
num_eval_samples: 64
num_eval_predictions: 3
num_shown: 8
load_lr_gen_from: a
load_lr_con_from: b
load_sr_gen_from: c
load_sr_con_from: d
num_lr_to_save: 3
num_sr_to_save: 3
"""
CONTRASTIVE = """
output_path: out
dataset_file: datasets.sr_5band
batch_size: 2048
learning_rate: 1e-4
weight_decay: 1.0e-3
max_epochs: 500
con_backbone: resnet
latent_dimensionality: 256
resnet: {pretrained: false, base_channels: 32, channel_mults: [1, 2]}
preprocessing: log
"""


@pytest.fixture
def yml(tmp_path):
    """``yml(text, **changes)``: a file with some keys changed, by dotted name; None removes."""

    def write(text, **changes):
        content = yaml.safe_load(text)
        for name, value in changes.items():
            table = content
            *above, last = name.split("__")
            for key in above:
                table = table[key]
            if value is None:
                del table[last]
            else:
                table[last] = value
        path = tmp_path / "params.yml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def test_published_values_are_the_published_preset(yml):
    path = yml(GENERATIVE)
    path.write_text(GENERATIVE)  # as typed: YAML reads 1e-4 as a text
    found = read_published(path, "base")
    expected = TrainConfig.preset("published", "base")
    run = replace(expected.run, workers=4, score_candidates=3, pictures=8)
    assert found.config == replace(expected, run=run)
    assert repr(found) == "<PublishedSettings: base, 25 keys mapped, 16 ignored>"
    assert len(found.notes) == len(IGNORED | MAPPED) - 2  # two keys of the other file
    assert found.notes["output_path"].startswith("ignored: ")
    assert found.notes["batch_size"] == "batch_size = 512"


def test_contrastive_file(yml):
    config = read_published(yml(CONTRASTIVE), "contrastive").config
    expected = TrainConfig.preset("published", "contrastive")
    size = replace(
        expected.published, embedding_size=256, spectrum_widths=(32, 64), contrastive_spectra="fine"
    )
    assert config == replace(expected, published=size)


def test_values_are_taken(yml):
    path = yml(
        GENERATIVE,
        dataset_file="datasets.sr_5band",
        conditioning="concat",
        beta_schedule="linear",
        preprocessing=["arcsinh", "smooth"],
        optim__lr_function="cosine",
        optim__lr_params__min_lr=5e-6,
        spectrumunet__dim=32,
        spectrumunet__dim_mults=[1, 2, 4],
        spectrumunet__attention_depths=[1, 2],
        spectrumunet__encoder_size=256,
        time_steps=100,
        polyak_alpha=0.99,
        use_logger=True,
    )
    config = read_published(path, "super-resolution").config
    size = config.published
    assert (size.conditioning, size.schedule, size.spectral_scaling) == (
        "concatenation", "linear", "arcsinh",
    )  # fmt: skip
    assert (size.widths, size.attention_depths, size.image_width) == ((32, 64), (1,), 32)
    assert size.n_times == 100
    assert config.optimisation.schedule == "cosine"
    assert config.optimisation.final_learning_rate == 5e-6
    assert config.optimisation.ema_decay == 0.99
    assert config.run.trackers == ("wandb",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_sise": 3}, "batch_sise: expected a key of the published settings"),
        ({"batch_size": "many"}, "batch_size: expected a whole number, got 'many'"),
        ({"batch_size": 2.5}, "batch_size: expected a whole number"),
        ({"batch_size": True}, "batch_size: expected a whole number, got True"),
        ({"batch_size": -1}, "batch_size: expected at least 1, got -1"),
        ({"polyak_alpha": 1.0}, "ema_decay: expected 0 to 1, 1 excluded"),
        ({"dataset_file": "datasets.sr_5band"}, "dataset_file: expected that of the stage base"),
        ({"dataset_file": "datasets.mine"}, "dataset_file: expected datasets.lr_5band or"),
        ({"backbone": "dit"}, "backbone: expected spectrumunet"),
        ({"conditioning": "film"}, "conditioning: expected x-attention or concat or none"),
        ({"preprocessing": "sigma"}, "preprocessing: expected log, arcsinh or none"),
        ({"preprocessing": ["log", "arcsinh"]}, "preprocessing: expected log, arcsinh or none"),
        ({"reduction": "mean"}, "reduction: expected subsample or none"),
        ({"img_res": 69}, "img_res: expected 64"),
        ({"load_from": "x.pt"}, "load_from: expected none, got 'x.pt'.*--init"),
        ({"optim__lr_function": "piecewise_static"}, "it needs milestones and step_factor"),
        ({"optim__lr_function": "linear-warmup-polynomial"}, "it needs warmup_steps"),
        ({"optim__lr_function": "sine"}, "lr_function: expected static or exponential"),
        ({"optim__lr_params__warm": 3}, "optim.lr_params.warm: expected a key of"),
        ({"learning_rate": 3.0}, "learning_rate: expected that of optim.learning_rate, 0.0001"),
        ({"spectrumunet__encoder_size": 20}, "encoder_size: expected 18 .layers., or a multiple"),
        ({"spectrumunet__dim_mults": [1, 1.5]}, "dim_mults: expected whole numbers"),
        ({"spectrumunet__dim": 20}, "widths: expected multiples of"),
    ],
)
def test_what_we_cannot_do_is_refused_in_one_line(changes, message, yml):
    path = yml(GENERATIVE, **changes)
    with pytest.raises(InputError, match=message) as error:
        read_published(path, "base")
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "expected YAML"),
        (b"- 1\n", "expected keys and values in .*, got list"),
        (b"", "got NoneType"),
        (b"\xff\xfe\x00", "expected"),
        (b"!!python/object/apply:os.mkdir [never]", "expected YAML"),
    ],
)
def test_files_that_are_something_else(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "p.yml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_published(path, "base")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "never").exists()


def test_the_file_of_the_other_network(yml):
    with pytest.raises(InputError, match=r"stage base, got .*params_contrastive\.yml"):
        read_published(yml(CONTRASTIVE), "base")
    with pytest.raises(InputError, match=r"stage contrastive, got .*params_generative\.yml"):
        read_published(yml(GENERATIVE), "contrastive")


def test_command_writes_our_settings_with_what_became_of_each_key(yml, tmp_path, capsys):
    path, toml = yml(GENERATIVE), tmp_path / "train.toml"
    command = ["train", "base", "--published", str(path), "--write-config", str(toml)]
    assert main([*command, "--seed", "7"]) == 0
    printed = capsys.readouterr().out
    assert "multigpu: ignored: " in printed
    assert read_toml(TrainConfig, toml) == replace(read_published(path, "base").config, seed=7)
    text = toml.read_text()
    assert text.startswith("# From params.yml of the published code, key by key:\n")
    assert "\n# optim.lr_params.min_lr: optimisation.final_learning_rate = 1e-06\n" in text
    assert main([*command, "--preset", "tiny"]) == 2
    assert "--preset and --published: expected at most one" in capsys.readouterr().err
    assert main(["train", "all", "--published", str(path), "--pairs", str(path), "-o", "x"]) == 2
    assert "--published: expected one network, got 'all'" in capsys.readouterr().err
