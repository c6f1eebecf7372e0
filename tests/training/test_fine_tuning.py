"""From simulated to real: given weights, frozen parts, kept scalings."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from photospec.config import write_toml
from photospec.errors import InputError
from photospec.training import settings as presets
from photospec.training import train
from photospec.training.fine_tuning import begin_with
from photospec.training.settings import DataSettings, FineTuning, TrainConfig, preset

STAGES = ("base", "super-resolution", "contrastive")


@pytest.fixture(autouse=True)
def mini(settings, monkeypatch):
    monkeypatch.setitem(presets.PRESETS, "mini", lambda stage: settings(stage, max_steps=2))


@pytest.fixture(scope="module")
def made(settings, pairs, tmp_path_factory):
    """A finished run of every stage and their spectrograph."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "mini", lambda stage: settings(stage, max_steps=2))
        train("all", [pairs], folder / "run", preset="mini", seed=3)
    return folder / "run"


def changed(before, after):
    """Names of the tensors that differ."""
    before, after = (load_file(path / "weights.safetensors") for path in (before, after))
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("stage", "frozen", "still"),
    [
        ("base", ("encoder", "transformer"), ("encoder.", "network.blocks.", "network.norm.")),
        ("super-resolution", ("head", "embedding"), ("network.head.", "network.embed.")),
        ("contrastive", ("spectrum_encoder",), ("spectrum_encoder.",)),
    ],
)
def test_frozen_parts_and_scalings_stay(stage, frozen, still, made, write_pairs, tmp_path):
    real = write_pairs(tmp_path / "real.h5", 40, seed=9, truth=False)
    data = DataSettings(weights="mask" if stage == "contrastive" else "ivar")
    config = replace(preset("mini", stage), target="observed", data=data)
    write_toml(config, tmp_path / "train.toml")
    train(
        stage, real, tmp_path / "tuned", config=tmp_path / "train.toml", init=made / stage,
        frozen=frozen,
    )  # fmt: skip
    moved = changed(made / stage, tmp_path / "tuned")
    assert moved
    assert not [name for name in moved if name.startswith(still)]
    assert not [name for name in moved if "scaling" in name or "feature_" in name]


def test_a_spectrograph_is_a_beginning(made, pairs, tmp_path):
    """Its large matrices are in half precision; the network comes with it."""
    config = begin_with(preset("tiny", "base"), made / "spectrograph", ["encoder"])
    assert config.diffusion == preset("mini", "base").diffusion
    assert config.fine_tuning == FineTuning(str(made / "spectrograph"), ("encoder",))
    train("base", pairs, tmp_path / "run", preset="mini", init=made / "spectrograph",
          frozen=("encoder", "embedding", "transformer"))  # fmt: skip
    half = load_file(made / "base" / "weights.safetensors")
    found = load_file(tmp_path / "run" / "weights.safetensors")
    name = "network.embed.weight"
    torch.testing.assert_close(found[name], half[name], rtol=1e-3, atol=1e-4)
    assert not torch.equal(found["network.head.bias"], half["network.head.bias"])


def test_all_stages_begin_with_a_spectrograph(made, pairs, tmp_path):
    train("all", pairs, tmp_path / "run", preset="mini", init=made / "spectrograph", max_steps=1)
    assert (tmp_path / "run" / "spectrograph" / "config.toml").is_file()


def test_scalings_are_fitted_where_asked_for(made, write_pairs, tmp_path):
    other = write_pairs(tmp_path / "other.h5", 40, seed=5)
    config = replace(
        preset("mini", "base"), fine_tuning=FineTuning(str(made / "base"), keep_scaling=False)
    )
    write_toml(config, tmp_path / "train.toml")
    train("base", other, tmp_path / "run", config=tmp_path / "train.toml")
    assert "scaling.mean" in changed(made / "base", tmp_path / "run")


def test_bad_beginnings(made, pairs, write_pairs, settings, tmp_path):
    empty, unfinished = tmp_path / "empty", tmp_path / "unfinished"
    empty.mkdir()
    unfinished.mkdir()
    write_toml(preset("mini", "base"), unfinished / "config.toml")
    (unfinished / "checkpoint.pt").write_bytes(b"")
    wide = write_pairs(tmp_path / "wide.h5", 40, scale=0.2)
    large = tmp_path / "large.toml"
    write_toml(replace(preset("tiny", "base"), validation_pairs=16), large)
    cases = [
        ({"init": empty}, "without config.toml"),
        ({"init": unfinished}, r"without weights\.safetensors; resume it"),
        ({"init": made / "contrastive"}, "expected weights of the stage base, got contrastive"),
        ({"init": made / "base", "config": large}, "network in the settings, got another one"),
        ({"init": made / "spectrograph", "pairs": wide}, "expected weights for pixel_scale 0.2"),
        ({"frozen": ("encoder",)}, "no frozen parts without weights to begin with"),
        ({"init": made / "base", "frozen": ("tail",)}, "parts among encoder, .*, got 'tail'"),
        ({"init": made / "base", "frozen": ("density",)}, "got 'density', which it lacks"),
        ({"init": made / "base", "frozen": ("encoder",) * 2}, "every part once"),
    ]
    for options, message in cases:
        options = {"pairs": pairs, "preset": "mini"} | options
        with pytest.raises(InputError, match=message) as error:
            train("base", output=tmp_path / "run", **options)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "run").exists()
    everything = ("encoder", "density", "embedding", "transformer", "head")
    with pytest.raises(InputError, match="a part that is left to train"):
        TrainConfig(fine_tuning=FineTuning("weights", everything))


def test_compiled_networks_keep_their_names(settings, pairs, tmp_path, monkeypatch):
    """Compiling is for the machine; weights and settings are the same."""
    from photospec.training.loop import run

    compiled = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__)
    )
    network = run(settings(compile=True, max_steps=1), pairs, tmp_path)
    assert compiled == ["ImageEncoder", "SpectrumTransformer"]
    assert "network.head.weight" in network.state_dict()
