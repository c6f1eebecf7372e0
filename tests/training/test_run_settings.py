"""What goes on around the steps: scores, pictures, trackers, stopping early, what is kept."""

import json
import multiprocessing
import os
import signal
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from photospec.config import read_toml, write_toml
from photospec.errors import InputError
from photospec.networks.process import Process
from photospec.networks.sizes import StageSize
from photospec.training import TrainConfig, run_folder, train
from photospec.training.loop import run
from photospec.training.packing import default_sampling, pack
from photospec.training.run_folder import load_checkpoint
from photospec.training.trainer import Trainer
from photospec.training.validation import energy_score
from photospec.weights import Sampling


@pytest.fixture
def config_of(settings):
    """``config_of(stage, max_steps=..., patience=...)``: of the run, or of its table."""

    def make(stage="base", **changes):
        config = settings(stage)
        names = config.run.__dataclass_fields__
        run_changes = {k: v for k, v in changes.items() if k in names}
        rest = {k: v for k, v in changes.items() if k not in names}
        return replace(config, run=replace(config.run, **run_changes), **rest)

    return make


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_energy_score_of_gaussians():
    """For a Gaussian in one dimension it is known: Gneiting & Raftery 2007, eq. 5."""
    generator = torch.Generator().manual_seed(0)
    candidates = torch.randn(4000, 16, 1, generator=generator)
    y = torch.tensor([0.0, 1.5])
    expected = [(2 / np.pi) ** 0.5 - 1 / np.pi**0.5, None]
    normal = torch.distributions.Normal(0.0, 1.0)
    density = normal.log_prob(y[1]).exp()
    expected[1] = float(y[1] * (2 * normal.cdf(y[1]) - 1) + 2 * density - 1 / np.pi**0.5)
    for value, known in zip(y, expected, strict=True):
        found = energy_score(candidates, value.expand(4000, 1)).mean().item()
        assert found == pytest.approx(known, abs=0.01)
    # and it is least for the distribution that the truth comes from
    truth = torch.randn(4000, 1, generator=generator)
    best, wide, off = (
        energy_score(x, truth).mean() for x in (candidates, 2 * candidates, candidates + 0.7)
    )
    assert best < wide
    assert best < off


@pytest.mark.parametrize("stage", ["base", "super-resolution"])
def test_scores_and_pictures_at_their_intervals(stage, config_of, pairs, tmp_path):
    config = config_of(
        stage, max_steps=4, score_every=2, score_pairs=6, score_candidates=3, score_steps=2,
        picture_every=3, pictures=2, log_every=1,
    )  # fmt: skip
    watched = run(config, pairs, tmp_path / "a")
    log = log_of(tmp_path / "a")
    assert [entry["step"] for entry in log if "validation_ks" in entry] == [2, 4]
    assert all(0 < e["validation_ks"] <= 1 for e in log if "validation_ks" in e)
    assert all(e["validation_energy_score"] > 0 for e in log if "validation_ks" in e)
    assert [entry["step"] for entry in log if "train_loss" in entry] == [1, 2, 3, 4]
    pictures = sorted((tmp_path / "a" / "pictures").iterdir())
    assert [path.name for path in pictures] == ["step_0000003.png", "step_0000004.png"]
    assert pictures[0].read_bytes().startswith(b"\x89PNG")
    # looking on changes nothing
    plain = run(config_of(stage, max_steps=4), pairs, tmp_path / "b")
    for x, y in zip(watched.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(x, y)


def test_picture_of_similarities(config_of, pairs, tmp_path):
    run(config_of("contrastive", max_steps=1, picture_every=1, score_every=1), pairs, tmp_path)
    assert (tmp_path / "pictures" / "step_0000001.png").stat().st_size > 1000
    assert not any("validation_ks" in entry for entry in log_of(tmp_path))


@pytest.fixture
def losses(monkeypatch):
    """``losses(a, b, ...)``: what validations find, one after the other."""

    def install(*values):
        left = list(values)
        monkeypatch.setattr(Trainer, "validate", lambda self, limit=None: {"loss": left.pop(0)})

    return install


def test_early_stopping_and_the_best_weights(config_of, pairs, tmp_path, losses):
    config = config_of(max_steps=20, validate_every=1, patience=3, keep="best")
    losses(5.0, 4.0, 4.5, 4.2, 4.0, 9.0)
    network = run(config, pairs, tmp_path)
    assert [entry["step"] for entry in log_of(tmp_path)] == [1, 2, 3, 4, 5]
    best = load_checkpoint(tmp_path / "best.pt")
    assert best["step"] == 2
    for name, tensor in network.state_dict().items():
        assert torch.equal(best["network"][name], tensor)
    # it is finished: resuming does not go on, unless more patience is asked for
    run(config, pairs, tmp_path, resume=True)
    assert log_of(tmp_path)[-1]["step"] == 5
    losses(*[9.0] * 9)
    run(replace(config, run=replace(config.run, patience=5)), pairs, tmp_path, resume=True)
    assert log_of(tmp_path)[-1]["step"] > 5


def test_small_improvements_count_together(config_of, pairs, tmp_path, losses):
    config = config_of(max_steps=9, validate_every=1, patience=2, min_improvement=0.1)
    losses(1.0, 0.95, 0.85, 0.80, 0.79, 0.78)
    run(config, pairs, tmp_path)
    # 0.85 is a tenth better than 1.0; neither 0.80 nor 0.79 is than 0.85
    assert log_of(tmp_path)[-1]["step"] == 5


def test_stopping_is_as_if_never_killed(config_of, pairs, tmp_path, losses, monkeypatch):
    config = config_of(max_steps=9, validate_every=1, checkpoint_every=2, patience=3)
    losses(5.0, 4.0, 4.5)
    batch = "photospec.training.data.PairsStream.batch"
    from photospec.training.data import PairsStream

    read = PairsStream.batch

    def die(self, step):
        if step == 3:
            raise KeyboardInterrupt
        return read(self, step)

    monkeypatch.setattr(batch, die)
    with pytest.raises(KeyboardInterrupt):
        run(config, pairs, tmp_path)
    monkeypatch.setattr(batch, read)
    losses(4.5, 4.2, 4.1, 9.0)  # of steps 3, 4, 5
    run(config, pairs, tmp_path, resume=True)
    assert log_of(tmp_path)[-1]["step"] == 5
    assert load_checkpoint(tmp_path / "best.pt")["step"] == 2


def test_validation_that_is_no_number_is_not_the_best(config_of, pairs, tmp_path, losses):
    losses(float("nan"), 3.0, float("nan"))
    run(config_of(max_steps=3, validate_every=1), pairs, tmp_path)
    assert load_checkpoint(tmp_path / "best.pt")["step"] == 2


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_tracker_that_is_not_installed(name, config_of, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("photospec.training.handlers.find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"trackers: .*pip install {name}") as error:
        run(config_of(trackers=(name,)), pairs, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_tensorboard(config_of, pairs, tmp_path):
    pytest.importorskip("tensorboard")
    run(config_of(max_steps=2, log_every=1, trackers=("tensorboard",)), pairs, tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2]
    found = events.Scalars("validation/loss")[0]
    assert found.value == pytest.approx(log_of(tmp_path)[-1]["validation_loss"], abs=1e-5)


def test_weights_and_biases(config_of, pairs, tmp_path, monkeypatch):
    """What the package would be told; it is not needed for that."""
    told = []
    wandb = ModuleType("wandb")
    wandb.init = lambda **options: SimpleNamespace(
        log=lambda numbers, step=None, **_: told.append((step, numbers)), finish=lambda: None
    )
    wandb.log = lambda numbers, step=None, **_: told.append((step, numbers))
    wandb.finish = lambda: told.append("closed")
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr("photospec.training.handlers.find_spec", lambda name: True)
    run(config_of(max_steps=2, log_every=1, trackers=("wandb",)), pairs, tmp_path)
    steps = [entry[0] for entry in told if entry != "closed" and "train/loss" in entry[1]]
    assert steps == [1, 2]
    assert any("validation/loss" in entry[1] for entry in told if entry != "closed")


def test_reading_by_other_processes_changes_nothing(config_of, pairs, tmp_path):
    networks = [
        run(config_of(max_steps=3, workers=n), pairs, tmp_path / str(n)).state_dict()
        for n in (0, 2)
    ]
    for name, tensor in networks[0].items():
        assert torch.equal(tensor, networks[1][name])


def test_sigterm_to_those_who_read_too(config_of, pairs, tmp_path, monkeypatch):
    """As a cluster sends it: to all processes of a job."""
    update = Trainer.update

    def told(self, engine, item):
        if item[0] == 2:
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        return update(self, engine, item)

    monkeypatch.setattr(Trainer, "update", told)
    with pytest.raises(SystemExit) as error:
        run(config_of(max_steps=9, workers=1), pairs, tmp_path)
    assert error.value.code == 143
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 3
    assert not multiprocessing.active_children()


def test_origin_of_runs_and_weights(config_of, pairs, tmp_path, monkeypatch):
    import hashlib

    monkeypatch.setattr(run_folder, "software", lambda: {"torch": "9.9", "commit": "abc"})
    write_toml(config_of(max_steps=2, seed=5), tmp_path / "t.toml")
    folder = tmp_path / "base"
    path = train(TrainConfig.read(tmp_path / "t.toml"), pairs, folder)
    origin = json.loads((folder / "provenance.json").read_text())
    assert origin["software"]["commit"] == "abc"
    assert origin["software"]["changed"] in (True, False, None)
    content = hashlib.sha256(pairs.read_bytes()).hexdigest()
    assert origin["pairs"] == [{"file": "pairs.h5", "n_pairs": 72, "sha256": content}]
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["step"] == "2"
    assert json.loads(metadata["pairs"]) == origin["pairs"]
    assert json.loads(metadata["software"]) == origin["software"]
    (tmp_path / "again.toml").write_text(metadata["config"])
    assert read_toml(TrainConfig, tmp_path / "again.toml") == config_of(max_steps=2, seed=5)
    # and, joined, into the spectrograph
    runs = {"base": folder}
    for stage in ("super-resolution", "contrastive"):
        write_toml(config_of(stage, max_steps=1), tmp_path / "s.toml")
        runs[stage] = tmp_path / stage
        train(TrainConfig.read(tmp_path / "s.toml"), pairs, runs[stage])
    packed = pack(runs, tmp_path / "w", pairs=pairs)
    assert packed.sampling == Sampling()
    notes = packed.provenance
    assert notes["base-pairs"] == f"pairs.h5 sha256:{content}"
    # weights from before that said nothing still join
    from safetensors.torch import save_file

    save_file(load_file(path), path)
    assert "base-pairs" not in pack(runs, tmp_path / "v", pairs=pairs).provenance


def test_other_noise_levels_take_more_steps():
    edm, cosine = StageSize(), StageSize(process=Process(schedule="cosine", parametrisation="v"))
    assert default_sampling({"base": edm, "super_resolution": edm}) == Sampling()
    more = default_sampling({"base": edm, "super_resolution": cosine})
    assert more.n_steps_base > Sampling().n_steps_base
    assert more.n_steps_super_resolution == 100


def test_settings_of_the_run_may_change_on_resuming(config_of, pairs, tmp_path):
    write_toml(config_of(max_steps=1), tmp_path / "a.toml")
    write_toml(config_of(max_steps=2, picture_every=2, pictures=1), tmp_path / "b.toml")
    train(TrainConfig.read(tmp_path / "a.toml"), pairs, tmp_path / "run")
    train(TrainConfig.read(tmp_path / "b.toml"), pairs, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "pictures").is_dir()
