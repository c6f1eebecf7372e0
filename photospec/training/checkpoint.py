"""Checkpoints that survive a kill at any moment: written aside, then renamed."""

import os

import torch

from photospec.errors import InputError

__all__ = ["load_checkpoint", "save_checkpoint", "write_aside"]


def write_aside(path, write):
    """Call ``write(temporary_path)`` and rename the result to `path` once it is on disk.

    Raises
    ------
    InputError
        If it cannot be written; a file of that name is then as it was.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as the latter
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"output: expected room to write {path}, got {str(error).splitlines()[0]}; is the disk "
            "full? The last good checkpoint is kept"
        ) from None


def save_checkpoint(path, state):
    """Write tensors, numbers and text in nested dicts."""
    write_aside(path, lambda temporary: torch.save(state, temporary))


def load_checkpoint(path):
    """Read a checkpoint without running anything in it (``weights_only=True``)."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(
            f"resume: expected a checkpoint at {path}, got none; start without resuming"
        ) from None
    except Exception as error:
        raise InputError(
            f"resume: expected a checkpoint at {path}, got {type(error).__name__}; "
            "the file is damaged"
        ) from None
