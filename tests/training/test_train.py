"""The function and the command that train, and runs that are killed from outside."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.nddata import NDData
from safetensors.torch import load_file

from photospec.cli import main
from photospec.config import read_toml, write_toml
from photospec.errors import InputError, PhotospecWarning
from photospec.image import NANOMAGGY
from photospec.pairs import PairsFile
from photospec.training import TrainConfig, train, train_all
from photospec.training.extensions import PRESETS
from photospec.training.packing import describe, pack

STAGES = ("base", "super-resolution", "contrastive")


@pytest.fixture(autouse=True)
def mini(settings, monkeypatch):
    """A preset for runs of a few steps."""
    monkeypatch.setitem(PRESETS._objects, "mini", lambda stage: settings(stage, max_steps=2))


@pytest.fixture
def toml(settings, tmp_path):
    path = tmp_path / "train.toml"
    write_toml(settings(max_steps=20, checkpoint_every=1), path)
    return path


def of_all(name, **changes):
    return {stage: TrainConfig.preset(name, stage, **changes) for stage in STAGES}


def command(*arguments):
    return [sys.executable, "-m", "photospec", "train", *map(str, arguments), "--quiet"]


def assert_same_weights(a, b):
    a, b = load_file(a / "weights.safetensors"), load_file(b / "weights.safetensors")
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_all_stages_make_a_spectrograph(pairs, tmp_path):
    from photospec.spectrograph import PhotoSpectrograph

    train_all(of_all("mini", seed=4), [pairs], tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {*STAGES, "spectrograph"}
    spectrograph = PhotoSpectrograph.load(tmp_path / "run" / "spectrograph", dtype="float32")
    assert spectrograph.config.base == TrainConfig.preset("mini", "base").diffusion
    notes = spectrograph.config.provenance
    assert notes["base"] == "2 steps of 8, seed 4"
    assert notes["torch"].split("+")[0] == torch.__version__.split("+")[0]  # labels may lack
    with PairsFile(pairs) as file:
        meta = {"bands": file.bands, "pixel_scale": file.pixel_scale * u.arcsec}
        image = NDData(file.image(0), unit=NANOMAGGY, meta=meta)
    spectrum = spectrograph.predict(image, n_candidates=1)
    assert np.isfinite(spectrum.flux.value).all()
    # a second time is an error, but resuming leaves it as it is
    before = (tmp_path / "run" / "spectrograph" / "base.safetensors").read_bytes()
    with pytest.raises(InputError, match="expected a new or empty folder"):
        train_all(of_all("mini", seed=4), [pairs], tmp_path / "run")
    train_all(of_all("mini", seed=4), [pairs], tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "spectrograph" / "base.safetensors").read_bytes() == before
    with pytest.raises(InputError, match="expected the settings of"):
        train_all(of_all("mini", seed=5), [pairs], tmp_path / "run", resume=True)


def test_all_finds_bands_without_r_before_the_work(write_pairs, tmp_path):
    path = write_pairs(tmp_path / "p.h5", 30, bands="ugiz")
    with pytest.raises(InputError, match="bands: expected r among them"):
        train_all("mini", path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_of_the_call_and_of_the_file(pairs, toml, tmp_path):
    train(TrainConfig.read(toml).change(seed=9, max_steps=1), pairs, tmp_path / "run")
    written = read_toml(TrainConfig, tmp_path / "run" / "config.toml")
    assert (written.seed, written.max_steps, written.batch_size) == (9, 1, 8)
    state = load_file(tmp_path / "run" / "weights.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}


def test_run_folders(pairs, toml, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "notes.txt").write_text("mine")
    for resume, expected in ((False, "a new or empty folder"), (True, "a run")):
        with pytest.raises(InputError, match=f"output: expected {expected}") as error:
            train(TrainConfig.preset("mini", "base"), pairs, run, resume=resume)
        assert "\n" not in str(error.value)
    assert [path.name for path in run.iterdir()] == ["notes.txt"]

    train(TrainConfig.preset("mini", "base"), pairs, tmp_path / "first")
    for other in (
        TrainConfig.preset("mini", "base", seed=1),
        TrainConfig.preset("small", "base"),
        TrainConfig.read(toml),
    ):
        with pytest.raises(InputError, match="resume: expected the settings of"):
            train(other, pairs, tmp_path / "first", resume=True)
    train(TrainConfig.preset("mini", "base", max_steps=3), pairs, tmp_path / "first", resume=True)

    with pytest.warns(PhotospecWarning, match="got none; it starts from the beginning"):
        train(TrainConfig.preset("mini", "base"), pairs, tmp_path / "nothing", resume=True)
    # killed while the folder was made
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "config.toml.partial").write_text("# One tra")
    train(TrainConfig.preset("mini", "base"), pairs, tmp_path / "early")
    assert_same_weights(tmp_path / "nothing", tmp_path / "early")


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ("mini", {"device": "cuda:9"}, "device: expected one that is available"),
        ("mini", {"processes": 0}, "processes: expected 1 or more, got 0"),
        (None, {}, "config: expected a TrainConfig, got str; TrainConfig.preset and .read make"),
    ],
)
def test_bad_arguments(config, options, message, pairs, tmp_path):
    config = TrainConfig.preset(config, "base") if config else "base"
    with pytest.raises(InputError, match=message) as error:
        train(config, pairs, tmp_path / "run", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_bad_settings_of_all_stages(pairs, tmp_path):
    configs = of_all("mini")
    swapped = configs | {"base": configs["contrastive"]}
    for bad, message in (
        ("huge", "preset: expected one of .*small, tiny"),
        ({"base": configs["base"]}, "of each of contrastive, base, super-resolution .* got"),
        (swapped, "by its name, got those of contrastive"),
        ({}, "configs: expected a preset"),
    ):
        with pytest.raises(InputError, match=message) as error:
            train_all(bad, pairs, tmp_path / "run")
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="pairs: expected at least one file"):
        train_all(configs, [], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bad_pairs_leave_no_folder(write_pairs, tmp_path):
    with pytest.raises(InputError, match="at least 8 pairs"):
        train(
            TrainConfig.preset("mini", "base"),
            write_pairs(tmp_path / "p.h5", 3),
            tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()


def test_packing(pairs, write_pairs, settings, tmp_path):
    runs = {stage: tmp_path / stage for stage in STAGES}
    for stage in STAGES[:2]:
        train(TrainConfig.preset("mini", stage), pairs, runs[stage])
    with pytest.raises(InputError, match=r"weights\.safetensors of the contrastive stage"):
        pack(runs, tmp_path / "w", pairs=pairs)
    with pytest.raises(InputError, match=r"expected a contrastive run in .*base, got base"):
        pack(runs | {"contrastive": runs["base"]}, tmp_path / "w", pairs=pairs)
    with pytest.raises(InputError, match="expected pairs to train on, got none"):
        describe(write_pairs(tmp_path / "none.h5", 0))


def test_line_spread_function_of_simulated_pairs(write_pairs, tmp_path):
    spectrograph = {"lsf_wavelength": [3800.0, 9200.0], "lsf_sigma": [60.0, 60.0]}
    for number, provenance in enumerate(
        ({"survey": {"spectrograph": spectrograph}}, {"spectrograph": spectrograph})
    ):
        path = write_pairs(tmp_path / f"{number}.h5", 1, provenance=provenance)
        config = describe(path)
        expected = np.hypot(np.array(config.lsf_wavelength) * 60 / 299792.458, 2.0)
        np.testing.assert_allclose(config.lsf_sigma, expected, atol=1e-4)
    observed = describe(write_pairs(tmp_path / "o.h5", 1, provenance={"survey": "SDSS"}))
    assert len(observed.lsf_sigma) == 2


def test_command(pairs, tmp_path, capsys):
    run = tmp_path / "run"
    common = ["train", "base", "--preset", "mini", "--pairs", str(pairs), "-o", str(run)]
    assert main([*common, "--seed", "3", "--max-steps", "1"]) == 0
    printed = capsys.readouterr()
    assert f"{run / 'weights.safetensors'}: trained on 1 file(s)" in printed.out
    assert "base, loss" in printed.err
    assert ": 100%, 1/1" in printed.err
    assert read_toml(TrainConfig, run / "config.toml").seed == 3
    assert main([*common, "--seed", "3", "--resume", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(common) == 2
    assert "expected a new or empty folder" in capsys.readouterr().err


def test_command_writes_settings(tmp_path, capsys):
    path = tmp_path / "train.toml"
    write = ["train", "contrastive", "--preset", "tiny", "--write-config", str(path)]
    assert main([*write, "--seed", "5"]) == 0
    assert read_toml(TrainConfig, path).seed == 5
    assert "# Of the contrastive loss" in path.read_text()
    assert main(write) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["base", "-o", "run"], "--pairs: expected"),
        (["base", "--pairs", "PAIRS"], "-o: expected"),
        (["base", "--config", "TOML", "--preset", "tiny"], "--config and --preset"),
        (
            ["contrastive", "--config", "TOML", "--pairs", "PAIRS", "-o", "run"],
            "expected stage 'contrastive', got 'base'",
        ),
        (["base", "--preset", "huge", "--pairs", "PAIRS", "-o", "run"], "preset: expected one of"),
        (["convert-other", "--from", ".", "-o", "x.h5"], "data of: expected one of"),
        (["all", "--config", "TOML", "--pairs", "PAIRS", "-o", "run"], "'all'"),
        (["all", "--write-config", "new.toml"], "'all'"),
        (["base", "--write-config", "no/new.toml"], "does not exist"),
        (["base", "--pairs", "PAIRS", "-o", "run", "--device", "cuda:7"], "CUDA devices"),
        (["base", "--pairs", "PAIRS", "-o", "TOML/run"], "is a file"),
    ],
)
def test_command_with_bad_arguments(arguments, message, pairs, toml, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"PAIRS": str(pairs), "TOML": str(toml), "TOML/run": f"{toml}/run"}
    assert main(["train", *(names.get(argument, argument) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert message in error
    assert not Path("run").exists()


def test_command_with_an_unknown_stage(capsys):
    with pytest.raises(SystemExit):
        main(["train", "middle", "-o", "run"])
    assert "STAGE: expected one of contrastive, base, super-resol" in capsys.readouterr().err


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, "ended before it was killed"
        time.sleep(0.002)


def test_sigkill_and_resume(pairs, toml, tmp_path):
    arguments = ("base", "--config", toml, "--pairs", pairs, "-o")
    process = subprocess.Popen(command(*arguments, tmp_path / "killed"))
    wait_for(tmp_path / "killed" / "checkpoint.pt", process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "weights.safetensors").exists()
    train(TrainConfig.read(toml), pairs, tmp_path / "killed", resume=True)
    train(TrainConfig.read(toml), pairs, tmp_path / "whole")
    assert_same_weights(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
def test_twenty_kills_at_random_moments(pairs, settings, tmp_path):
    toml = tmp_path / "train.toml"
    write_toml(settings(max_steps=400, checkpoint_every=1), toml)
    arguments = ("base", "--config", toml, "--pairs", pairs, "-o")
    start = time.monotonic()
    train(TrainConfig.read(toml), pairs, tmp_path / "whole")
    whole = time.monotonic() - start
    rng = np.random.default_rng(1)
    folder = tmp_path / "killed"
    log = folder / "log.jsonl"

    def written():
        return log.stat().st_mtime_ns if log.exists() else 0

    for _ in range(20):
        resume = ["--resume"] if folder.exists() else []
        before = written()
        process = subprocess.Popen(command(*arguments, folder, *resume), stderr=subprocess.DEVNULL)
        if rng.random() < 0.7:  # the rest die while they start
            while process.poll() is None and written() == before:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, whole / 20))
        else:
            time.sleep(rng.uniform(0, 3))
        process.kill()
        assert process.wait() in (-signal.SIGKILL, 0)
    train(TrainConfig.read(toml), pairs, folder, resume=True)
    assert_same_weights(folder, tmp_path / "whole")


@pytest.mark.slow
def test_tiny_preset_on_500_pairs(write_pairs, tmp_path):
    path = write_pairs(tmp_path / "p.h5", 500)
    for stage in STAGES:
        assert main(["train", stage, "--preset", "tiny", "--pairs", str(path), "-o",
                     str(tmp_path / stage), "--seed", "0", "--quiet"]) == 0  # fmt: skip
        assert (tmp_path / stage / "weights.safetensors").is_file()
    assert pack({stage: tmp_path / stage for stage in STAGES}, tmp_path / "w", pairs=path)
