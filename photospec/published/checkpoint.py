"""Checkpoints of the published code: read without running anything, and checked."""

import pickle
import re
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from photospec.errors import InputError

__all__ = ["load_checked", "read_checkpoint", "select_weights"]

# What NumPy needs to rebuild a plain array; learning-rate schedules are saved with them.
_FLOATS = [np.dtype(kind) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1")]
_RECONSTRUCT = np.zeros(1).__reduce__()[0]
_SCALAR = np.float64(1).__reduce__()[0]
NUMPY_ARRAYS = [
    np.ndarray,
    np.dtype,
    *{type(dtype) for dtype in _FLOATS},
    # under the names of NumPy 2 and of NumPy 1
    (_RECONSTRUCT, "numpy._core.multiarray._reconstruct"),
    (_RECONSTRUCT, "numpy.core.multiarray._reconstruct"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),
]


def read_checkpoint(path: str | PathLike) -> dict[str, torch.Tensor]:
    """Read the weights out of a checkpoint of the published code.

    Parameters
    ----------
    path : str or path-like
        A file of ``torch.save``: a state dict, or a dict with ``average_model`` (the moving
        average of the weights, preferred) or ``model``.

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    InputError
        When there is no such file, it is damaged, holds anything but tensors, numbers and
        plain arrays (nothing in it is run), or no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"checkpoint: expected a file, got {str(path)!r}, which is not there")
    try:
        with torch.serialization.safe_globals(NUMPY_ARRAYS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"checkpoint {path.name}: {_refusal(str(error))}") from None
    except Exception as error:  # torch raises what it meets: RuntimeError, EOFError, KeyError ...
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else "no content"
        raise InputError(
            f"checkpoint {path.name}: expected a file of torch.save, got one that cannot be read "
            f"({type(error).__name__}: {reason}); it may be cut short"
        ) from None
    return select_weights(content, path.name)


def _refusal(message):
    found = re.search(
        r"GLOBAL ([\w.]+)|unsupported class: ([\w.]+)|trying to load ([\w.]+)", message
    )
    name = next((group for group in found.groups() if group), None) if found else None
    if name is None:
        return (
            "expected a file of torch.save with tensors only, got one that is damaged or holds "
            "something else; nothing in it was run"
        )
    return (
        f"expected tensors, numbers and plain arrays only, got pickled code ({name}), which is "
        "refused; nothing in it was run"
    )


def select_weights(content, name="state_dict"):
    """Return the weights in what a checkpoint holds; see `read_checkpoint`.

    Parameters
    ----------
    content : dict
    name : str
        What errors call it.
    """
    if not isinstance(content, dict):
        raise InputError(f"{name}: expected a dict of weights, got {type(content).__name__}")
    for part in ("average_model", "model"):
        if isinstance(content.get(part), dict):
            content = content[part]
            break
    if not content:
        raise InputError(f"{name}: expected weights, got an empty dict")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, (torch.Tensor, np.ndarray)):
            raise InputError(
                f"{name}: expected tensors by name, or a dict with 'model' or 'average_model', "
                f"got {type(value).__name__} at {key!r}"
            )
    if all(key.startswith("module.") for key in content):  # saved from several devices
        content = {key.removeprefix("module."): value for key, value in content.items()}
    return {key: torch.as_tensor(value) for key, value in content.items()}


def load_checked(module, state_dict, name):
    """Load `state_dict` into `module`, or say in one line what does not fit.

    Raises
    ------
    InputError
        Missing, extra or misshapen keys; values that are not finite.
    """
    expected = module.state_dict()
    missing = [key for key in expected if key not in state_dict]
    extra = [key for key in state_dict if key not in expected]
    shapes = [
        f"{key} {tuple(state_dict[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state_dict and state_dict[key].shape != value.shape
    ]
    for what, keys in (("without", missing), ("with unknown", extra), ("with shape", shapes)):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise InputError(
                f"{name}: expected the {len(expected)} entries of its network, got "
                f"{len(state_dict)}, {what} {keys[0]}{more}; it may come from other settings"
            )
    for key, value in state_dict.items():
        if not torch.isfinite(value).all():
            raise InputError(
                f"{name}: expected finite weights, got NaN or infinity in {key}; "
                "the training may have diverged"
            )
    # copies in the expected types: the module may be on the meta device, without values
    state_dict = {
        key: state_dict[key].to(value.dtype, copy=True) for key, value in expected.items()
    }
    module.load_state_dict(state_dict, assign=True)
    return module.eval().requires_grad_(False)
