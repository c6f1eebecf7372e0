"""Two processes that train together do what one with the doubled batch does."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from photospec.config import write_toml
from photospec.errors import InputError
from photospec.networks.contrastive import nt_xent
from photospec.training import train
from photospec.training.data import PairsStream
from photospec.training.distributed import (
    average_gradients,
    draw_local_rows,
    gather,
    is_rank_zero,
    process_group,
    run_on_rank_zero,
    world_size,
)
from photospec.training.launch import launch
from photospec.training.loop import TrainingFailed, run
from photospec.training.run_folder import load_checkpoint

# From 3.12 on, Python warns of forks; these have one thread and start in no time.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes by fork"),
]
FORK = multiprocessing.get_context("fork")
N = 2


def _slurm(rank, port):
    return {
        "SLURM_JOB_ID": port,
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
        "SLURM_NTASKS": str(N),
        "SLURM_STEP_NUM_TASKS": str(N),
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_JOB_NUM_NODES": "1",
    }


def _torchrun(rank, port):
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(N),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }


def _work(rank, environment, function, results):
    os.environ.update(environment)
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    try:
        with process_group("cpu"):
            results.put((rank, function(rank)))
    except BaseException as error:
        results.put((rank, error))
        raise


def together(function, *, environment=_torchrun):
    """Results of ``function(rank)`` in two processes."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = str(listening.getsockname()[1])
    results = FORK.Queue()
    children = [
        FORK.Process(target=_work, args=(rank, environment(rank, port), function, results))
        for rank in range(N)
    ]
    for child in children:
        child.start()
    found = dict(results.get(timeout=120) for _ in children)
    for child in children:
        child.join(20)
        child.kill()
    return [found[rank] for rank in range(N)]


def test_sums_gradients_and_rows():
    """All of it against one process that does everything itself."""
    torch.manual_seed(5)
    a, b = torch.randn(2, 8, 4)
    weight = torch.randn(4, 4, requires_grad=True)
    unused = torch.zeros(3, requires_grad=True)

    def loss_of(rows, everything=lambda x: x):
        left, right = (torch.nn.functional.normalize(x[rows] @ weight) for x in (a, b))
        return nt_xent(everything(left), everything(right), 0.1)

    whole = loss_of(slice(None))
    whole.backward()
    expected = weight.grad.clone()
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(8, 5, generator=generator), torch.rand(8, generator=generator)

    def work(rank):
        weight.grad = None
        loss = loss_of(slice(4 * rank, 4 * rank + 4), gather)
        loss.backward()
        numbers = average_gradients([weight, unused], loss.item(), float(rank))
        generator = torch.Generator().manual_seed(3)
        with draw_local_rows(generator):
            drawn = torch.randn((4, 5), generator=generator), torch.rand(4, generator=generator)
        said = run_on_rank_zero(lambda: {"by": rank})
        return weight.grad.numpy(), unused.grad is None, numbers, [x.numpy() for x in drawn], said

    for rank, (gradient, none, numbers, drawn, said) in enumerate(together(work)):
        np.testing.assert_allclose(gradient, expected.numpy(), atol=1e-6)
        assert none
        assert numbers == pytest.approx([whole.item(), 0.5])
        for mine, all_of_it in zip(drawn, noise):
            np.testing.assert_array_equal(mine, all_of_it[4 * rank : 4 * rank + 4].numpy())
        assert said == {"by": 0}
    assert world_size() == 1
    assert is_rank_zero()


def test_one_process_alone_is_not_changed():
    rows = torch.ones(2, 2)
    assert gather(rows) is rows
    assert average_gradients([], 3.0) == [3.0]
    with process_group("cpu") as device:
        assert device == "cpu"


def test_the_first_says_why_and_the_others_end():
    def work(rank):
        def fail():
            raise InputError("disk: expected room")

        try:
            run_on_rank_zero(fail)
        except (InputError, SystemExit) as error:
            return repr(error)

    assert together(work) == ["InputError('disk: expected room')", "SystemExit(2)"]


def losses(folder):
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [line["train_loss"] for line in lines if "train_loss" in line]


def writes_nothing(folder):
    """End this process at once should it write below a folder."""

    def hook(event, arguments):
        if event == "open" and str(arguments[0]).startswith(str(folder)):
            mode, flags = arguments[1:3]
            if (mode and mode != "rb" and mode != "r") or flags & (os.O_WRONLY | os.O_RDWR):
                os._exit(9)

    sys.addaudithook(hook)


@pytest.mark.parametrize(
    ("stage", "environment"), [("base", _torchrun), ("contrastive", _slurm)], ids=["base", "slurm"]
)
def test_two_processes_are_one_with_the_doubled_batch(
    stage, environment, settings, pairs, tmp_path
):
    whole = settings(stage, max_steps=5, batch_size=12)
    whole = replace(whole, run=replace(whole.run, log_every=1))
    half = replace(whole, batch_size=6)
    alone = run(whole, pairs, tmp_path / "one")

    def killed():
        raise KeyboardInterrupt

    def work(rank):
        folder = tmp_path / "two"
        if rank:
            writes_nothing(folder)
        batch = PairsStream.batch
        # Killed in the fifth step, after the checkpoint of the fourth
        PairsStream.batch = lambda self, step: killed() if step == 4 else batch(self, step)
        with pytest.raises(KeyboardInterrupt):
            run(half, pairs, folder)
        PairsStream.batch = batch
        resumed = run(half, pairs, folder, resume=True)
        again = run(half, pairs, tmp_path / f"never-{rank}" if rank == 0 else folder)
        assert all(
            torch.equal(x, y)
            for x, y in zip(resumed.state_dict().values(), again.state_dict().values())
        )
        return {name: tensor.numpy() for name, tensor in resumed.state_dict().items()}

    first, second = together(work, environment=environment)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-2)
    assert load_checkpoint(tmp_path / "two" / "checkpoint.pt")["step"] == 5
    with pytest.raises(InputError, match="processes: expected 2, with which the run began, got 1"):
        run(half, pairs, tmp_path / "two", resume=True)
    for name, tensor in alone.state_dict().items():
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], tensor.numpy(), atol=2e-3)


def test_loss_that_is_no_number_anywhere_stops_all(settings, pairs, tmp_path):
    def work(rank):
        batch = PairsStream.batch

        def spoilt(self, step):
            found = batch(self, step)
            if step == 2:
                found.flux[-1] = float("nan")  # in the share of the second
            return found

        PairsStream.batch = spoilt
        try:
            run(settings(batch_size=4), pairs, tmp_path)
        except (TrainingFailed, SystemExit) as error:
            return type(error).__name__, str(error)

    first, second = together(work)
    assert first == second
    assert "at step 2 (seed 0)" in first[1]
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert last["step_seed"] == 2


@pytest.mark.slow
def test_started_by_us(settings, pairs, tmp_path):
    whole = settings(max_steps=6, batch_size=12)
    whole = replace(whole, run=replace(whole.run, log_every=1))
    for name, config in (("one", whole), ("two", replace(whole, batch_size=6))):
        made = train(config, pairs, tmp_path / name, processes=1 + (name == "two"))
        assert made.is_file()
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-2)
    with pytest.raises(InputError, match="new or empty folder"):
        train(config, pairs, tmp_path / "two", processes=2)
    (tmp_path / "broken.h5").write_bytes(b"x")
    with pytest.raises(InputError, match=r"broken\.h5"):
        launch(
            2,
            "photospec.training.runs:run_stage",
            "cpu",
            {
                "config": {"max_steps": 1},
                "pairs": [str(tmp_path / "broken.h5")],
                "output": str(tmp_path / "three"),
            },
        )
    assert not (tmp_path / "three").exists()


def children_of(process):
    return [
        int(n) for n in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_group_that_is_stopped_leaves_nobody_and_resumes(number, settings, pairs, tmp_path):
    config = settings(max_steps=100, batch_size=4, checkpoint_every=1)
    write_toml(config, tmp_path / "t.toml")
    folder = tmp_path / "stopped"
    command = [sys.executable, "-m", "photospec", "train", "base", "--quiet", "--processes", "2"]
    command += ["--config", tmp_path / "t.toml", "--pairs", pairs, "-o", folder]
    process = subprocess.Popen(command)
    while not (folder / "checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    children = children_of(process)
    assert len(children) == 2
    process.send_signal(number)
    assert process.wait(300) == (143 if number == signal.SIGTERM else -9)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "left behind"
        time.sleep(0.05)
    assert not (folder / "weights.safetensors").exists()
    train(config, pairs, folder, resume=True, processes=2)
    train(config, pairs, tmp_path / "whole", processes=2)
    found, expected = (load_file(f / "weights.safetensors") for f in (folder, tmp_path / "whole"))
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
