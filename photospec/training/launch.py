"""Several training processes on this machine, without another launcher.

They are told what to do through their standard input, and by its end that the process that
started them is gone: then, even if that was SIGKILL, they end too and write no more.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings

import torch

from photospec import errors
from photospec.errors import PhotospecError, PhotospecWarning
from photospec.training.distributed import joined
from photospec.training.loop import TERMINATED, TrainingFailed, termination
from photospec.training.runs import run_stage

__all__ = ["launch", "worker"]

# Seconds that the others may take once one has ended with an error.
_GRACE = 20
_FAILED = 2
_CODE = "from photospec.training.launch import worker; worker()"


def launch(n_processes, task):
    """Run `photospec.training.runs.run_stage` in several processes; return when all are done.

    Parameters
    ----------
    n_processes : int
    task : dict
        Its keyword arguments, of plain types.

    Raises
    ------
    PhotospecError
        What the first process raised, or that one died.
    SystemExit
        With status 143, after SIGTERM and a last checkpoint.
    """
    environment = _environment(n_processes, cuda=task["device"].startswith("cuda"))
    with termination() as received, contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(_child(environment | {"RANK": str(i), "LOCAL_RANK": str(i)}))
            for i in range(n_processes)
        ]
        for child in children:
            child.stdin.write(json.dumps(task) + "\n")
            child.stdin.flush()
        _wait(children, received)
        report = children[0].stdout.read()
    _tell(json.loads(report or "{}"), [child.returncode for child in children], received)


def _environment(n_processes, *, cuda):
    # What a cluster says is about the processes it started, not about these.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    environment |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(n_processes),
    }
    environment.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // n_processes)))
    if sys.platform == "linux":  # elsewhere the name differs; a host name may lead nowhere
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if not cuda:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


@contextlib.contextmanager
def _child(environment):
    child = subprocess.Popen(
        [sys.executable, "-c", _CODE],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        child.stdout.close()


def _wait(children, received):
    told, deadline = False, None
    while any(child.poll() is None for child in children):
        if received and not told:
            told = True
            for child in children:
                child.terminate()
        if deadline is None and any(child.returncode for child in children):
            deadline = time.monotonic() + _GRACE
        if deadline is not None and time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _tell(report, statuses, received):
    for text in report.get("warnings", ()):
        warnings.warn(text, PhotospecWarning, stacklevel=3)
    if "error" in report:
        kinds = {"TrainingFailed": TrainingFailed, **vars(errors)}
        raise kinds.get(report["error"], PhotospecError)(report["message"])
    if TERMINATED in statuses or received:
        raise SystemExit(TERMINATED)
    if any(statuses):
        rank = next(i for i, status in enumerate(statuses) if status)
        raise PhotospecError(
            f"processes: expected all {len(statuses)} to finish, got status {statuses[rank]} from "
            f"number {rank} (short of memory?); go on from the last checkpoint by resuming"
        )


def _end_with_parent():
    while os.read(0, 1):  # not sys.stdin, whose lock Python wants when it ends
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def worker():
    """What each process does: read its task, run it, report as the last thing."""
    line = sys.stdin.readline()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if not line:
        return
    # Only the report goes to standard output; whatever else is printed goes to the other.
    report, status = os.fdopen(os.dup(1), "w"), 0
    os.dup2(2, 1)
    answer = {}
    with report, warnings.catch_warnings(record=True) as caught:
        try:
            task = json.loads(line)
            with joined(task["device"]) as device:
                run_stage(**task | {"device": device})
        except PhotospecError as error:
            answer, status = {"error": type(error).__name__, "message": str(error)}, _FAILED
        except SystemExit as error:
            status = error.code
        answer["warnings"] = []
        for item in caught:
            if item.category is PhotospecWarning:
                answer["warnings"].append(str(item.message))
            else:
                message = item.message, item.category, item.filename, item.lineno
                sys.stderr.write(warnings.formatwarning(*message))
        report.write(json.dumps(answer))
    sys.exit(status)
