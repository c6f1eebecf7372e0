"""Where weights come from: settings, software, code and pairs, for the run and the weights."""

import hashlib
import json
import os
import subprocess
import time
from pathlib import Path

import torch

from photospec.errors import InputError
from photospec.training.distributed import world_size
from photospec.training.pack import software

__all__ = [
    "NAME",
    "Log",
    "describe_run",
    "load_checkpoint",
    "save_checkpoint",
    "weights_metadata",
    "write_aside",
    "write_provenance",
]


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


class Log:
    """Adds lines to a file, ``log(step, loss=...)``.

    Parameters
    ----------
    path : pathlib.Path
    after : int
        Step that the run goes on from: what a killed run logged beyond it, or wrote in part,
        is taken out.

    Raises
    ------
    InputError
        It cannot be written, here or when a line is added.
    """

    def __init__(self, path, *, after=0):
        self.path = path
        self._started = time.monotonic()
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if _step(line) <= after]
        text = "".join(f"{line}\n" for line in kept)
        write_aside(path, lambda temporary: temporary.write_text(text))

    def __call__(self, step, **entry):
        """Add a line about a step."""
        entry |= {"step": step, "seconds": round(time.monotonic() - self._started, 1)}
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise InputError(
                f"output: expected room to write {self.path}, got {error.strerror}; is the disk "
                "full? The last good checkpoint is kept"
            ) from None


def _step(line):
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


NAME = "provenance.json"


def _file_hash(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_changed():
    """Whether the code differs from its commit; None where there is none."""
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "status", "--porcelain", "--", "."],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return bool(found.stdout.strip())


def describe_run(config, stream, device):
    """What a run was made of, but for its settings.

    Parameters
    ----------
    config : TrainConfig
    stream : PairsStream
    device : str

    Returns
    -------
    dict
        Of plain types: ``software`` (versions and, in a checkout, ``commit`` and whether the
        code was ``changed`` since), ``pairs`` (name, number and SHA-256 of each file, in
        full), ``processes``, ``device``.
    """
    found = software()
    if "commit" in found:
        found["changed"] = _is_changed()
    return {
        "software": found,
        "pairs": [
            {"file": file.path.name, "n_pairs": len(file), "sha256": _file_hash(file.path)}
            for file in stream.files
        ],
        "processes": world_size(),
        "device": str(device),
    }


def write_provenance(output, config, stream, device):
    """Write `describe_run` into a run folder, unless it is there already.

    Raises
    ------
    InputError
        It cannot be written.
    """
    path = output / NAME
    if not path.exists():
        text = json.dumps(describe_run(config, stream, device), indent=1)
        write_aside(path, lambda temporary: temporary.write_text(text + "\n"))


def weights_metadata(output, step):
    """What goes into a run's weights file: text by name.

    Parameters
    ----------
    output : pathlib.Path
        Run folder.
    step : int
        After which step the weights are as they are.
    """
    try:
        settings = (output / "config.toml").read_text()
        origin = json.loads((output / NAME).read_text())
    except (OSError, ValueError):
        raise InputError(
            f"output: expected config.toml and {NAME} in {output}, got none that can be read; "
            "were they deleted?"
        ) from None
    return {
        "config": settings,
        "step": str(step),
        **{name: json.dumps(value) for name, value in origin.items()},
    }
