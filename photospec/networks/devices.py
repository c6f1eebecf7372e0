"""Where networks run, and in which precision."""

from contextlib import contextmanager

import torch

from photospec.errors import InputError

__all__ = ["DTYPES", "check_device", "check_dtype", "network_threads"]

#: Type that networks run in, by the name users give; None is that of the weights. Integers are for
#: the products of the denoising networks alone (`photospec.networks.linear`).
DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "int8": torch.int8}


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
    """Return the `torch.device` of a name, or refuse one that this machine has not."""
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
    known = tuple(DTYPES) if device.type == "cpu" else ("float32", "bfloat16")
    if dtype not in known:
        raise InputError(
            f"dtype: expected one of {', '.join(known)} on {device.type}, got {dtype!r}"
        )
    return dtype


def _has_fast_bfloat16():
    """Tell whether the processor multiplies matrices faster in bfloat16 than in single precision.

    Matrix units (AMX) do. Instructions alone (AVX512-BF16) do on AMD's processors; on Intel's,
    without the matrix units, products ran at 0.6 of the rate of single precision, and candidates
    were drawn at two thirds.
    """
    try:
        has = torch.cpu.get_capabilities()
    except AttributeError:  # torch < 2.8 does not tell the maker
        return torch.cpu._is_amx_tile_supported()
    instructions = has.get("avx512_bf16") and "Intel" not in has.get("cpu_name", "Intel")
    return bool(has.get("amx_tile") or instructions)
