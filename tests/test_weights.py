"""Spectrographs on disk: what is written is read again, and nothing else is."""

import os
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from photospec.errors import InputError
from photospec.networks.samplers import FittedSteps
from photospec.weights import (
    FILES,
    Sampling,
    SpectrographConfig,
    load_cascade,
    load_module,
    read_config,
    save_cascade,
    save_module,
)


@pytest.fixture
def folder(tiny_weights, tmp_path):
    return shutil.copytree(tiny_weights, tmp_path / "w")


def change(path, edit):
    state = load_file(path)
    edit(state)
    save_file(state, path)


def one_line(error):
    assert "\n" not in str(error.value)


def test_folder_holds_toml_and_safetensors_only(tiny_weights):
    assert {path.name for path in tiny_weights.iterdir()} == {"config.toml", *FILES.values()}
    text = (tiny_weights / "config.toml").read_text()
    assert "# Bands of the images, in order." in text
    assert 'bands = ["u", "g", "r", "i", "z"]' in text


def test_round_trip(tiny_weights, tmp_path):
    cascade, config = load_cascade(tiny_weights)
    save_cascade(tmp_path / "again", cascade, config)
    for name in (*FILES.values(), "config.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (tiny_weights / name).read_bytes()
    assert config.provenance == {"trained": "never"}
    assert cascade.n_steps_base == 3
    assert not cascade.training
    assert not [p for p in cascade.parameters() if p.requires_grad or p.dtype != torch.float32]


def test_large_matrices_in_half_precision_and_vectors_exact(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torch.nn.Linear(100, 70)
    save_module(module, tmp_path / "m.safetensors")
    state = load_file(tmp_path / "m.safetensors")
    assert state["weight"].dtype == torch.float16
    assert torch.equal(state["bias"], module.bias)
    other = load_module(torch.nn.Linear(100, 70), tmp_path / "m.safetensors")
    torch.testing.assert_close(other.weight, module.weight, rtol=1e-3, atol=1e-6)
    save_module(module, tmp_path / "m.safetensors", half=False)
    load_module(other, tmp_path / "m.safetensors")
    assert torch.equal(other.weight, module.weight)


def test_existing_spectrograph_is_kept(tiny_weights, folder):
    cascade, config = load_cascade(tiny_weights)
    with pytest.raises(InputError, match="overwrite it"):
        save_cascade(folder, cascade, config)
    save_cascade(folder, cascade, config, overwrite=True)
    load_cascade(folder)


def test_interrupted_overwrite_leaves_no_mixture(tiny_weights, folder, monkeypatch):
    cascade, config = load_cascade(tiny_weights)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("photospec.weights.save", stop)
    with pytest.raises(KeyboardInterrupt):
        save_cascade(folder, cascade, config, overwrite=True)
    with pytest.raises(InputError, match=r"config\.toml which does not exist"):
        load_cascade(folder)


def test_unwritable_folder(tiny_weights, tmp_path):
    cascade, config = load_cascade(tiny_weights)
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="expected a writable folder") as error:
            save_cascade(path, cascade, config)
        one_line(error)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match=r"expected a folder with config\.toml, got .*nowhere"):
        load_cascade(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"config\.toml which does not exist"):
        load_cascade(tmp_path)


@pytest.mark.parametrize("name", FILES.values())
def test_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"expected the file {name}") as error:
        load_cascade(folder)
    one_line(error)


@pytest.mark.parametrize("content", [b"", b"no tensors here", None])
def test_broken_file(folder, content):
    path = folder / "base.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content is None else content)
    with pytest.raises(InputError, match="is it truncated") as error:
        load_cascade(folder)
    one_line(error)


def drop(state):
    del state["encoder.norm.weight"]


def add(state):
    state["encoder.extra"] = torch.zeros(3)


def reshape(state):
    state["encoder.norm.weight"] = torch.zeros(3)


def spoil(state):
    state["encoder.norm.weight"][2] = float("nan")


def overflow(state):
    state["network.position"] = torch.full_like(state["network.position"], float("inf"))


def make_complex(state):
    state["encoder.norm.weight"] = state["encoder.norm.weight"].to(torch.complex64)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop, r"1 missing \(encoder.norm.weight\) and 0 extra"),
        (add, r"0 missing \(\) and 1 extra \(encoder.extra\)"),
        (reshape, r"shape \(16,\) of encoder.norm.weight in .*, got \(3,\)"),
        (spoil, "finite numbers in encoder.norm.weight"),
        (overflow, "finite numbers in network.position"),
        (make_complex, "finite numbers in encoder.norm.weight"),
    ],
)
def test_wrong_tensors(folder, edit, message):
    change(folder / "base.safetensors", edit)
    with pytest.raises(InputError, match=message) as error:
        load_cascade(folder)
    one_line(error)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("photospec-spectrograph-1", "photospec-spectrograph-9", "another version of photospec"),
        ('format = "photospec-spectrograph-1"', "format = 3", "another version of photospec"),
        ("image_size", "image_sizes", "line .*image_sizes"),
        ("image_size = 64", "image_size = 0", "image_size: expected 1 to 10000, got 0"),
        ("image_size = 64", "image_size = 33", "expected a divisor of the image size 33, got 32"),
        ("pixel_scale = 0.396", "pixel_scale = -1.0", "pixel_scale: expected a positive number"),
        ('["u", "g", "r", "i", "z"]', '["u", "g", "r", "i"]', "do config.toml and weights belong"),
        ('["u", "g", "r", "i", "z"]', '["u", "g", "i", "z", "y"]', "bands: expected r among them"),
        ("lsf_sigma = [2.1, 2.7]", "lsf_sigma = [2.1]", "lsf_sigma: expected as many"),
        ('"dpm-solver++"', '"magic"', "sampler: expected one of ddpm, ddim"),
        ("n_steps_base = 3", "n_steps_base = 0", "n_steps_base: expected at least 1, got 0"),
        ("n_candidates = 3", 'n_candidates = "many"', "expected a whole number"),
        ("n_heads = 2", "n_heads = 5", "n_heads: expected a divisor of the width 16, got 5"),
        ("[base.image]", "[base.image", "expected TOML"),
    ],
)
def test_wrong_configuration(folder, old, new, message):
    path = folder / "config.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as error:
        load_cascade(folder)
    one_line(error)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("width = 16", "width = 1000000000000", "width: expected 1 to 100000"),
        # What fits the limits but not the file takes no memory either: 2 x 3 x 40000^2 numbers.
        ("width = 16", "width = 40000", "9600000000 numbers and more for a file of"),
        ("depth = 1", "depth = 99999999999999999999", "depth: expected [01] to 1000"),
        ("ratio = 3", "ratio = 99999999999999999999", "ratio: expected 1 to 1000"),
        ("embedding_size = 8", "embedding_size = 99999999999999999999", "expected 1 to 100000"),
        ("n_summary = 2", "n_summary = 99999999999999999999", "n_summary: expected 0 to 10000"),
        ("ratio = 3", "ratio = " + "[" * 3000, "expected TOML, got something else"),
    ],
)
def test_networks_that_no_machine_holds(folder, old, new, message):
    path = folder / "config.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message) as error:
        load_cascade(folder)
    one_line(error)


def test_defaults_of_the_configuration_agree_with_each_other():
    config = SpectrographConfig()
    assert config.size("super-resolution") is config.super_resolution
    assert len(config.lsf_sigma) == len(config.lsf_wavelength)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_follow_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        save_module(torch.nn.Linear(2, 2), tmp_path / "a.safetensors", metadata={"seed": "3"})
    finally:
        os.umask(before)
    path = tmp_path / "a.safetensors"
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"seed": "3"}


def test_settings_of_the_sampling_reach_the_cascade(folder):
    path = folder / "config.toml"
    assert load_cascade(folder)[0].n_keep is None
    text = path.read_text()
    assert "n_keep = 0" in text
    path.write_text(text.replace("n_keep = 0", "n_keep = 3").replace('"central"', '"similar"'))
    cascade, config = load_cascade(folder)
    assert cascade.n_keep == 3
    assert config.sampling.choose == "similar"


def test_fitted_steps_of_the_configuration(tiny_weights, tmp_path):
    steps = {
        "noise_base": (100.0, 4.0, 0.3),
        "extrapolation_base": (0.0, 0.6, 0.3),
        "noise_super_resolution": (80.0, 0.5),
        "extrapolation_super_resolution": (0.0, 0.4),
    }
    config = read_config(tiny_weights)
    sampling = replace(config.sampling, sampler="fitted", **steps)
    cascade, _ = load_cascade(tiny_weights)
    save_cascade(tmp_path / "fitted", cascade, replace(config, sampling=sampling))
    found, told = load_cascade(tmp_path / "fitted")
    assert told.sampling == sampling
    assert found.base.steps == FittedSteps(steps["noise_base"], steps["extrapolation_base"])
    assert found.super_resolution.steps.noise == (80.0, 0.5)
    image = torch.rand(1, 5, 64, 64, generator=torch.Generator().manual_seed(0))
    drawn = [one.sample(image, 2, [torch.Generator().manual_seed(1)]) for one in (found, cascade)]
    assert [one.nfe for one in drawn] == [5, 5]
    assert not torch.equal(drawn[0].flux, drawn[1].flux)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sampler": "fitted"}, r"noise_base: expected 3 levels, .*got 0"),
        ({"noise_base": (3.0, 2.0)}, "extrapolation: expected 2 numbers"),
        ({"noise_base": (3.0, 4.0), "extrapolation_base": (0.0, 0.0)}, "noise: expected positive"),
    ],
)
def test_wrong_fitted_steps(changed, message):
    with pytest.raises(InputError, match=message):
        Sampling(**{"n_steps_base": 3, "n_steps_super_resolution": 2} | changed)
