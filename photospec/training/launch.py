"""Several training processes on this machine, started without torchrun.

Each reads its task from its standard input. When that ends, the process that started it is gone,
even if by SIGKILL, and it ends too.

Why not the launcher of torchrun (``torch.distributed.launcher.elastic_launch``), tried with
PyTorch 2.6 and later: workers outlive a launcher that is killed, and go on writing into a run
folder that a resumed run then writes too; a function as entry point imports the caller's script
again in every worker, which starts the training anew unless the script is guarded by
``if __name__ == "__main__"``; and errors come back as a table of exit codes, not as our exceptions
in one line.
"""

import contextlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings

import torch

from photospec.errors import PhotospecError, PhotospecWarning
from photospec.training.distributed import TERMINATED, process_group, termination

__all__ = ["launch", "worker"]

# Seconds that the others may take once one has ended with an error.
_GRACE = 20
_FAILED = 2  # exit status of a worker that has written down its error
_CODE = "from photospec.training.launch import worker; worker()"


def launch(n_processes, function, device, options):
    """Call a function in several processes that form a group; return when all are done.

    Parameters
    ----------
    n_processes : int
    function : str
        Where to import it from, ``"module:name"``.
    device : str
    options : dict
        Its keyword arguments, of plain types; ``device``, that of the process, is added.

    Raises
    ------
    PhotospecError
        What rank 0 raised, or that a process died.
    SystemExit
        With status 143, after SIGTERM and a last checkpoint.
    """
    task = json.dumps({"function": function, "device": device, "options": options})
    environment = _environment(n_processes, cuda=device.startswith("cuda"))
    with termination() as received, contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(_child(environment | {"RANK": str(i), "LOCAL_RANK": str(i)}))
            for i in range(n_processes)
        ]
        for child in children:
            child.stdin.write(task + "\n")
            child.stdin.flush()
        _wait(children, received)
        report = children[0].stdout.read()
    _raise_reported(json.loads(report or "{}"), [c.returncode for c in children], received)


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
    forwarded, deadline = False, None
    while any(child.poll() is None for child in children):
        if received and not forwarded:
            forwarded = True
            for child in children:
                child.terminate()
        if deadline is None and any(child.returncode for child in children):
            deadline = time.monotonic() + _GRACE
        if deadline is not None and time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _raise_reported(report, statuses, received):
    """Give the warnings and the error that rank 0 reported, or say that a process died."""
    for text in report.get("warnings", ()):
        warnings.warn(text, PhotospecWarning, stacklevel=3)
    if "error" in report:
        raise _errors().get(report["error"], PhotospecError)(report["message"])
    if TERMINATED in statuses or received:
        raise SystemExit(TERMINATED)
    if any(statuses):
        rank = next(i for i, status in enumerate(statuses) if status)
        raise PhotospecError(
            f"processes: expected all {len(statuses)} to finish, got status {statuses[rank]} from "
            f"number {rank} (short of memory?); go on from the last checkpoint by resuming"
        )


def _errors(kind=PhotospecError):
    """Return `PhotospecError` and its subclasses by name."""
    found = {kind.__name__: kind}
    for child in kind.__subclasses__():
        found |= _errors(child)
    return found


def _end_with_parent():
    while os.read(0, 1):  # not sys.stdin, whose lock Python wants when it ends
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def worker():
    """Do what each process does: read its task, run it, report as the last thing."""
    line = sys.stdin.readline()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if not line:
        return
    # Only the report goes to standard output; whatever else is printed goes to the other.
    report, status = os.fdopen(os.dup(1), "w"), 0
    os.dup2(2, 1)
    content = {}
    with report, warnings.catch_warnings(record=True) as caught:
        try:
            task = json.loads(line)
            function = pkgutil.resolve_name(task["function"])
            with process_group(task["device"]) as device:
                function(**task["options"], device=device)
        except PhotospecError as error:
            content, status = {"error": type(error).__name__, "message": str(error)}, _FAILED
        except SystemExit as error:
            status = error.code
        content["warnings"] = []
        for item in caught:
            if item.category is PhotospecWarning:
                content["warnings"].append(str(item.message))
            else:
                message = item.message, item.category, item.filename, item.lineno
                sys.stderr.write(warnings.formatwarning(*message))
        report.write(json.dumps(content))
    sys.exit(status)
