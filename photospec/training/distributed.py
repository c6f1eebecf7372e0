"""Several processes train one network: what they share, and what only rank 0 does.

Every process computes the rows of the batch that are its share; gradients are averaged, so
that all take the same step. W processes with batches of n do what one does with W n: the
random numbers are those of the whole batch, of which each process uses its own rows.
"""

import contextlib
import json
import os
import signal
import threading

import ignite.distributed as idist
import torch
from torch.overrides import TorchFunctionMode

from photospec.errors import InputError, PhotospecError

__all__ = [
    "TERMINATED",
    "any_process",
    "average_gradients",
    "broadcast_state",
    "draw_local_rows",
    "gather",
    "is_rank_zero",
    "local_rows",
    "process_group",
    "run_on_rank_zero",
    "termination",
    "world_size",
]

#: Exit status of a run that was asked to stop, as the shell reports SIGTERM.
TERMINATED = 143
# Status of the processes that end because rank 0 failed, which says why.
_FAILED = 2
world_size = idist.get_world_size


def is_rank_zero():
    """Tell whether this process is the one that writes files and prints."""
    return idist.get_rank() == 0


def _launcher():
    """Return what started several processes: torchrun (or `photospec.training.launch`), SLURM,
    None.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return "torchrun"
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "SLURM_PROCID" in os.environ:
        return "SLURM"
    return None


@contextlib.contextmanager
def process_group(device):
    """Enter the group of processes that a launcher started, where there is one.

    Parameters
    ----------
    device : str
        ``"cpu"`` (gloo) or ``"cuda"`` (NCCL; each process of a node takes its own).

    Yields
    ------
    str
        Device of this process.
    """
    device = str(device)
    launcher = None if world_size() > 1 else _launcher()
    if launcher is None:
        yield device
        return
    cuda = device.startswith("cuda")
    local = int(os.environ["LOCAL_RANK" if launcher == "torchrun" else "SLURM_LOCALID"])
    if cuda and local >= torch.cuda.device_count():
        raise InputError(
            f"processes: expected one GPU each on this machine, got process {local} and "
            f"{torch.cuda.device_count()} GPUs"
        )
    idist.initialize("nccl" if cuda else "gloo")
    try:
        yield f"cuda:{local}" if cuda else device
    finally:
        idist.finalize()


def run_on_rank_zero(action, *args):
    """Call a function on rank 0 only, and broadcast what it returns.

    Parameters
    ----------
    action : callable
        Returns plain numbers and text.
    *args
        Its arguments.

    Returns
    -------
    object
        The same in all processes.

    Raises
    ------
    PhotospecError
        What the function raised, on rank 0.
    SystemExit
        In the other processes, when it raised.
    """
    if world_size() == 1:
        return action(*args)
    answer, failure = {}, None
    if is_rank_zero():
        try:
            answer["result"] = action(*args)
        except PhotospecError as error:
            failure = error
    answer = json.loads(idist.broadcast(json.dumps(answer), src=0))
    if failure is not None:
        raise failure
    if "result" not in answer:
        raise SystemExit(_FAILED)
    return answer["result"]


def any_process(flag):
    """Tell whether `flag` is true in any process."""
    return bool(flag) if world_size() == 1 else idist.all_reduce(float(bool(flag))) > 0


@contextlib.contextmanager
def termination():
    """Collect SIGTERM instead of dying from it; only the main thread may.

    Yields
    ------
    list
        Of signals, as they come.
    """
    received = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


def local_rows(n):
    """Return the share of this process in `n` rows of a batch, a slice."""
    share, rank = n // world_size(), idist.get_rank()
    return slice(rank * share, (rank + 1) * share)


class _Gather(torch.autograd.Function):
    """Rows of all processes; the gradient of each row returns to where it came from."""

    @staticmethod
    def forward(ctx, rows):
        ctx.n = len(rows)
        return idist.all_gather(rows.contiguous())

    @staticmethod
    def backward(ctx, gradient):
        # Every process has a part of the gradient of every row.
        return idist.all_reduce(gradient.contiguous())[local_rows(len(gradient))]


def gather(rows):
    """Gather the rows ``(n, ...)`` of all processes ``(world size * n, ...)``, with gradient.

    `average_gradients` divides by their number what each of them adds for its own copy of
    a loss over all rows.
    """
    return rows if world_size() == 1 else _Gather.apply(rows)


@torch.no_grad()
def average_gradients(parameters, *numbers):
    """Average gradients, and numbers, over processes, in one message of constant order.

    Unlike buckets that fill as gradients arrive, it always sums in the same order, so that
    a run that was killed and resumed ends with the same bits.

    Parameters
    ----------
    parameters : list of Parameter
    *numbers : float

    Returns
    -------
    list of float
        Their means.
    """
    if world_size() == 1:
        return list(numbers)
    used = [float(p.grad is not None) for p in parameters]
    first = parameters[0]
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    parts.append(torch.tensor([*used, *numbers], dtype=first.dtype, device=first.device))
    flat = idist.all_reduce(torch.cat([part.reshape(-1) for part in parts])) / world_size()
    *parts, rest = flat.split([part.numel() for part in parts])
    rest = rest.tolist()
    for parameter, part, use in zip(parameters, parts, rest[: len(used)], strict=True):
        parameter.grad = part.view_as(parameter).clone() if use else None
    return rest[len(used) :]


@torch.no_grad()
def broadcast_state(module):
    """Give all processes the tensors of rank 0: machines may round differently."""
    if world_size() > 1:
        for tensor in module.state_dict().values():
            tensor.copy_(idist.broadcast(tensor.contiguous(), src=0))


class _LocalRows(TorchFunctionMode):
    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func not in (torch.rand, torch.randn) or kwargs.get("generator") is not self.generator:
            return func(*args, **kwargs)
        size = args if isinstance(args[0], int) else tuple(args[0])
        everything = func((size[0] * world_size(), *size[1:]), **kwargs)
        return everything[local_rows(len(everything))]


def draw_local_rows(generator):
    """Return a context in which ``torch.rand`` and ``randn`` with this generator draw for all
    processes.

    The first axis asked for counts rows of this process' share.
    """
    return contextlib.nullcontext() if world_size() == 1 else _LocalRows(generator)
