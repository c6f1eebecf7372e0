"""Where networks run, and in which precision."""

from contextlib import contextmanager

import torch

from photospec.errors import InputError

__all__ = ["DTYPES", "check_device", "check_dtype", "network_threads"]

#: Type that networks run in, by the name users give; None is that of the weights.
DTYPES = {"float32": None, "bfloat16": torch.bfloat16}


@contextmanager
def network_threads(n):
    """Run networks on `n` threads of the processor within the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_device(device):
    """The `torch.device` of a name, if this machine has it."""
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError):
        raise InputError(f"device: expected cpu, cuda or cuda:N, got {device!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device: expected cpu, cuda or cuda:N, got {str(device)!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device: expected one that is available, got {str(device)!r}; this machine and this "
            f"build of torch offer {torch.cuda.device_count()} CUDA devices"
        )
    return device


def check_dtype(dtype, device):
    """Name of a precision; None chooses the one that is fast on the device."""
    if dtype is None:
        return "bfloat16" if device.type == "cuda" or _has_fast_bfloat16() else "float32"
    if dtype not in tuple(DTYPES):
        raise InputError(f"dtype: expected {' or '.join(DTYPES)}, got {dtype!r}")
    return dtype


def _has_fast_bfloat16():
    """Whether the processor has matrix units for bfloat16 (AMX).

    Instructions for it alone (AVX512-BF16) are no gain: on a Xeon without these units products
    ran at half the rate of those in single precision, and candidates at two thirds.
    """
    try:
        return bool(torch.cpu.get_capabilities().get("amx_tile"))
    except AttributeError:  # torch < 2.8
        return torch.cpu._is_amx_tile_supported()
