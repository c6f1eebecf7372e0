"""From simulated to real: given weights, frozen parts, kept scalings."""

import pytest
import torch
from safetensors.torch import load_file

from photospec.config import write_toml
from photospec.errors import InputError
from photospec.training import DataSettings, FineTuning, TrainConfig, train, train_all
from photospec.training.extensions import PRESETS

STAGES = ("base", "super-resolution", "contrastive")


@pytest.fixture(autouse=True)
def mini(settings, monkeypatch):
    monkeypatch.setitem(PRESETS._objects, "mini", lambda stage: settings(stage, max_steps=2))


@pytest.fixture(scope="module")
def made(settings, pairs, tmp_path_factory):
    """A finished run of every stage and their spectrograph."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS._objects, "mini", lambda stage: settings(stage, max_steps=2))
        configs = {stage: settings(stage, max_steps=2, seed=3) for stage in STAGES}
        train_all(configs, [pairs], folder / "run")
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
    config = TrainConfig.fine_tune(
        made / stage, stage, frozen=frozen, preset="mini", target="observed", data=data
    )
    train(config, real, tmp_path / "tuned")
    moved = changed(made / stage, tmp_path / "tuned")
    assert moved
    assert not [name for name in moved if name.startswith(still)]
    assert not [name for name in moved if "scaling" in name or "feature_" in name]


def test_a_spectrograph_is_a_beginning(made, pairs, tmp_path):
    """Its large matrices are in half precision; the network comes with it."""
    config = TrainConfig.fine_tune(made / "spectrograph", "base", frozen=["encoder"])
    assert config.diffusion == TrainConfig.preset("mini", "base").diffusion
    assert config.fine_tuning == FineTuning(str(made / "spectrograph"), ("encoder",))
    assert config.max_steps == TrainConfig.preset("small", "base").max_steps
    frozen = ("encoder", "embedding", "transformer")
    config = TrainConfig.fine_tune(made / "spectrograph", "base", frozen=frozen, preset="mini")
    train(config, pairs, tmp_path / "run")
    half = load_file(made / "base" / "weights.safetensors")
    found = load_file(tmp_path / "run" / "weights.safetensors")
    name = "network.embed.weight"
    torch.testing.assert_close(found[name], half[name], rtol=1e-3, atol=1e-4)
    assert not torch.equal(found["network.head.bias"], half["network.head.bias"])


def test_all_stages_begin_with_a_spectrograph(made, pairs, tmp_path):
    begin = made / "spectrograph"
    configs = {
        stage: TrainConfig.fine_tune(begin, stage, preset="mini", max_steps=1) for stage in STAGES
    }
    train_all(configs, pairs, tmp_path / "run")
    assert (tmp_path / "run" / "spectrograph" / "config.toml").is_file()


def test_scalings_are_fitted_where_asked_for(made, write_pairs, tmp_path):
    other = write_pairs(tmp_path / "other.h5", 40, seed=5)
    tuning = FineTuning(str(made / "base"), keep_scaling=False)
    config = TrainConfig.preset("mini", "base", fine_tuning=tuning)
    train(config, other, tmp_path / "run")
    assert "scaling.mean" in changed(made / "base", tmp_path / "run")


def test_bad_beginnings(made, pairs, write_pairs, settings, tmp_path):
    empty, unfinished = tmp_path / "empty", tmp_path / "unfinished"
    empty.mkdir()
    unfinished.mkdir()
    write_toml(TrainConfig.preset("mini", "base"), unfinished / "config.toml")
    (unfinished / "checkpoint.pt").write_bytes(b"")
    wide = write_pairs(tmp_path / "wide.h5", 40, scale=0.2)
    cases = [
        ({"init": empty}, "without config.toml"),
        ({"init": unfinished}, r"without weights\.safetensors; resume it"),
        ({"init": made / "contrastive"}, "expected weights of the stage base, got contrastive"),
        ({"init": made / "spectrograph", "pairs": wide}, "expected weights for pixel_scale 0.2"),
        ({"init": made / "base", "frozen": ("tail",)}, "parts among encoder, .*, got 'tail'"),
        ({"init": made / "base", "frozen": ("density",)}, "got 'density', which it lacks"),
        ({"init": made / "base", "frozen": ("encoder",) * 2}, "every part once"),
    ]

    def begin(output, *, init, frozen=(), pairs=pairs):
        train(TrainConfig.fine_tune(init, "base", frozen=frozen, preset="mini"), pairs, output)

    for options, message in cases:
        with pytest.raises(InputError, match=message) as error:
            begin(tmp_path / "run", **options)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "run").exists()
    large = TrainConfig.preset(
        "tiny", "base", validation_pairs=16, fine_tuning=FineTuning(str(made / "base"))
    )
    with pytest.raises(InputError, match="network in the settings, got another one"):
        train(large, pairs, tmp_path / "run")
    with pytest.raises(InputError, match="no frozen parts without weights to begin with"):
        FineTuning(frozen=("encoder",))
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
