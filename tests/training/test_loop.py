"""Runs that are killed, stopped, or fail: what is left, and that they end as if nothing was."""

import json
import os
import re
import resource
import signal
from dataclasses import replace

import pytest
import torch
from ignite.engine import Engine

from photospec.errors import InputError
from photospec.networks.contrastive import ContrastiveNetwork
from photospec.training import DataSettings, loop
from photospec.training.data import PairsStream, batches
from photospec.training.loop import TrainingFailed, run
from photospec.training.run_folder import load_checkpoint, save_checkpoint
from photospec.training.stages import DiffusionTraining
from photospec.training.trainer import Trainer

STAGES = ("base", "super-resolution", "contrastive")
NAMES = {"config.toml", "provenance.json", "checkpoint.pt", "best.pt", "log.jsonl"}


def weights(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_same_bits(a, b):
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(settings, pairs, tmp_path_factory):
    """Weights of runs that nothing disturbed."""
    return {
        stage: weights(run(settings(stage), pairs, tmp_path_factory.mktemp(stage)))
        for stage in STAGES
    }


@pytest.fixture
def at_step(monkeypatch):
    """``at_step(k, action)``: do something when the batch of step k is read."""

    def install(step, action):
        batch = PairsStream.batch

        def read(self, number):
            if number == step:
                action()
            return batch(self, number)

        monkeypatch.setattr(PairsStream, "batch", read)
        return monkeypatch.undo

    return install


def die():
    raise KeyboardInterrupt


def test_a_run_leaves_config_checkpoint_and_log(settings, pairs, tmp_path):
    network = run(settings(), pairs, tmp_path / "new" / "run")
    folder = tmp_path / "new" / "run"
    assert {path.name for path in folder.iterdir()} == NAMES
    state = load_checkpoint(folder / "checkpoint.pt")
    assert state["step"] == 10
    assert_same_bits(
        {k.removeprefix("network."): v for k, v in state["ema"].items()}, weights(network)
    )
    assert [entry["step"] for entry in log_of(folder)] == [5, 10]
    assert all(entry["validation_loss"] > 0 for entry in log_of(folder))


@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_resumed_equals_never_killed(stage, settings, pairs, tmp_path, whole, at_step):
    undo = at_step(6, die)  # two steps after the checkpoint of step 4
    with pytest.raises(KeyboardInterrupt):
        run(settings(stage), pairs, tmp_path)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 4
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"validation_loss": 0.')  # killed while it wrote the log
    undo()
    found = run(settings(stage), pairs, tmp_path, resume=True)
    assert_same_bits(weights(found), whole[stage])
    assert [entry["step"] for entry in log_of(tmp_path)] == [5, 10]


def test_progress_in_a_log_file_is_plain_lines(settings, pairs, tmp_path, at_step, capsys):
    undo = at_step(6, die)
    with pytest.raises(KeyboardInterrupt):
        run(settings("contrastive"), pairs, tmp_path, progress=True)
    undo()
    run(settings("contrastive"), pairs, tmp_path, resume=True, progress=True)
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"photospec: contrastive, loss [\d.]+: 60%, 6/10, .* to go", first)
    assert re.fullmatch(r"photospec: contrastive, loss [\d.]+: 100%, 10/10, \d+ s", second)


def test_killed_before_the_first_checkpoint(settings, pairs, tmp_path, whole, at_step):
    undo = at_step(2, die)
    with pytest.raises(KeyboardInterrupt):
        run(settings(), pairs, tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()
    undo()
    assert_same_bits(weights(run(settings(), pairs, tmp_path, resume=True)), whole["base"])


def test_killed_while_a_checkpoint_is_written(settings, pairs, tmp_path, whole, monkeypatch):
    save, calls = torch.save, []

    def half(state, path):
        save(state, path)
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        run(settings(), pairs, tmp_path)
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 4
    assert_same_bits(weights(run(settings(), pairs, tmp_path, resume=True)), whole["base"])
    assert not list(tmp_path.glob("*.partial"))


def test_finished_run_resumed_is_left_as_it_is(settings, pairs, tmp_path, whole):
    run(settings(), pairs, tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    assert_same_bits(weights(run(settings(), pairs, tmp_path, resume=True)), whole["base"])
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_same_seed_same_weights_and_another_seed_others(settings, pairs, tmp_path, whole):
    again = weights(run(settings(), pairs, tmp_path / "a"))
    assert_same_bits(again, whole["base"])
    other = weights(run(settings(seed=1), pairs, tmp_path / "b"))
    assert not torch.equal(other["network.position"], again["network.position"])


def test_global_random_state_is_left_alone(settings, pairs, tmp_path, whole):
    torch.randn(3)
    before = torch.get_rng_state()
    again = weights(run(settings(), pairs, tmp_path))
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_bits(again, whole["base"])


def test_sigterm_writes_a_checkpoint_and_exits(settings, pairs, tmp_path, whole, at_step):
    handler = signal.getsignal(signal.SIGTERM)
    undo = at_step(5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as exit_:
        run(settings(), pairs, tmp_path)
    assert exit_.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is handler
    undo()
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 6
    assert_same_bits(weights(run(settings(), pairs, tmp_path, resume=True)), whole["base"])


def test_sigterm_before_the_first_step(settings, pairs, tmp_path, whole, monkeypatch):
    read = PairsStream.read

    def read_and_be_told(self, index):
        os.kill(os.getpid(), signal.SIGTERM)
        return read(self, index)

    monkeypatch.setattr(PairsStream, "read", read_and_be_told)
    with pytest.raises(SystemExit):
        run(settings(), pairs, tmp_path)
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 0
    assert_same_bits(weights(run(settings(), pairs, tmp_path, resume=True)), whole["base"])


def spoil_loss(monkeypatch, spoilt):
    """Of step 6 in seed 3."""
    loss = DiffusionTraining.loss

    def changed(self, batch, generator):
        value = loss(self, batch, generator)
        bad = generator.initial_seed() == 3 * 1_000_003 + 6
        return spoilt(self, value) if bad else value

    monkeypatch.setattr(DiffusionTraining, "loss", changed)


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda training, loss: loss * float("nan"),
        lambda training, loss: loss + float("inf"),
        # a number, whose gradient is none: d sqrt(x) / dx at zero, times zero
        lambda training, loss: loss + (0 * training.network.network.head.weight).abs().sqrt().sum(),
    ],
    ids=["nan", "infinite", "gradient"],
)
def test_loss_that_is_no_number_stops_the_run(
    spoilt, settings, pairs, tmp_path, monkeypatch, capfd
):
    spoil_loss(monkeypatch, spoilt)
    with pytest.raises(TrainingFailed, match=r"at step 6 \(seed 3\)") as error:
        run(settings(seed=3), pairs, tmp_path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""  # nobody else says it too
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state["step"] == 4
    assert all(tensor.isfinite().all() for tensor in state["training"].values())
    last = log_of(tmp_path)[-1]
    assert (last["step"], last["seed"]) == (6, 3)
    assert last["failed"] in ("nan", "inf")


def test_full_disk_keeps_the_last_checkpoint(settings, pairs, tmp_path, at_step):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))

    at_step(6, fill)
    try:
        with pytest.raises(InputError, match=r"room to write .*checkpoint\.pt") as error:
            run(settings(), pairs, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "\n" not in str(error.value)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 4
    assert not list(tmp_path.glob("*.partial"))


def test_unwritable_folder(settings, pairs, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match="expected a writable folder") as error:
            run(settings(), pairs, path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_damaged_checkpoint(content, settings, pairs, tmp_path):
    run(settings(max_steps=4), pairs, tmp_path)
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()[:-5000] if content is None else content
    path.write_bytes(content)
    with pytest.raises(InputError, match="the file is damaged") as error:
        run(settings(), pairs, tmp_path, resume=True)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == content


class Code:
    def __reduce__(self):
        return os.mkdir, ("never",)


def test_checkpoint_with_code_is_not_run(settings, pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"step": Code()}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match="expected a checkpoint"):
        run(settings(), pairs, tmp_path, resume=True)
    assert not (tmp_path / "never").exists()


def test_checkpoint_of_something_else(settings, pairs, write_pairs, tmp_path):
    run(settings(max_steps=4), pairs, tmp_path)
    path = tmp_path / "checkpoint.pt"
    state = load_checkpoint(path)
    other = write_pairs(tmp_path / "other.h5", 72, seed=5)
    cases = [
        ([1, 2], pairs, "of the configured network"),
        ({"step": 3}, pairs, "of the configured network"),
        (state | {"training": {}}, pairs, "of the configured network"),
        (state, other, "expected the pairs that the run began with"),
        (state | {"step": 11}, pairs, "max_steps: expected at least the 11 steps"),
    ]
    for content, file, message in cases:
        save_checkpoint(path, content)
        with pytest.raises(InputError, match=message):
            run(settings(), file, tmp_path, resume=True)
    save_checkpoint(path, state)
    with pytest.raises(InputError, match="of the configured network"):
        run(settings("contrastive"), pairs, tmp_path, resume=True)
    # one from before checkpoints named their pairs
    save_checkpoint(path, {name: state[name] for name in state if name != "pairs"})
    run(settings(), pairs, tmp_path, resume=True)


@pytest.mark.parametrize("spoil", ["image", "flux", "dark"])
def test_pairs_that_spoil_the_scaling_are_named(spoil, settings, pairs, tmp_path, monkeypatch):
    read = PairsStream.read

    def changed(self, index):
        batch = read(self, index)
        image, flux, *_ = batch
        if spoil == "image":
            image[7, 0, 3, 3] = float("nan")
        else:
            flux[7] = float("inf") if spoil == "flux" else 0.0
        return batch

    monkeypatch.setattr(PairsStream, "read", changed)
    with pytest.raises(InputError, match=r"1 others among 56 looked at \(the first is pair 7"):
        run(settings(), pairs, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_loss_falls_and_scaling_fits_the_pairs(stage, settings, pairs, tmp_path):
    steps = {"base": 60, "super-resolution": 40, "contrastive": 60}[stage]
    plain = DataSettings(correct_extinction=False)
    config = settings(
        stage, max_steps=steps, batch_size=16, validate_every=5, n_draws=4, data=plain
    )
    network = run(config, pairs, tmp_path)
    found = [entry["validation_loss"] for entry in log_of(tmp_path) if "validation_loss" in entry]
    assert found[-1] < 0.85 * found[0]
    scaling = network.scaling
    with PairsStream(pairs, config).files[0] as file:
        flux = torch.from_numpy(file.truth_flux(slice(56)))
    assert scaling.base(flux).square().mean().item() == pytest.approx(1, abs=1e-3)
    if isinstance(network, ContrastiveNetwork):
        assert log_of(tmp_path)[-1]["validation_top1"] > 0.3


def test_validation_is_of_the_moving_average(settings, pairs):
    config = settings(max_steps=6)
    stream = PairsStream(pairs, config)
    trainer = Trainer(config, stream, "cpu")
    start = weights(trainer.ema)
    before = trainer.validate()
    assert trainer.validate() == before  # the same noise every time
    engine = Engine(trainer.update)
    trainer.attach(engine)
    engine.run(batches(stream, range(3)), epoch_length=3)
    moved, raw = weights(trainer.ema), weights(trainer.training)
    name = "network.network.position"
    # (1 + step) / (10 + step) of the old one is kept, from the first step on
    expected = start[name]
    assert (moved[name] - expected).abs().max() > 0
    assert not torch.equal(moved[name], raw[name])
    assert trainer.validate() != before
    trainer.ema.load_state_dict(start)
    assert trainer.validate() == before
    stream.close()


def test_mixed_precision_trains_in_float32_weights(settings, pairs, tmp_path):
    network = run(settings(mixed_precision=True, max_steps=3), pairs, tmp_path)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert network.autocast == torch.bfloat16


def test_longer_run_goes_on_from_a_shorter_one(settings, pairs, tmp_path):
    run(settings(max_steps=4), pairs, tmp_path)
    run(settings(max_steps=6), pairs, tmp_path, resume=True)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 6
    assert replace(settings(), max_steps=6) == settings(max_steps=6)


def test_training_outside_the_main_thread(settings, pairs, tmp_path):
    """Signals are for the main thread; elsewhere a run just has none."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(run, settings(max_steps=2), pairs, tmp_path).result()
    assert loop.TERMINATED == 143
