"""The folder of a run: what is written there, and when a run can be resumed.

``config.toml`` has the settings, ``provenance.json`` software and pairs, ``log.jsonl`` a line for
every event, ``checkpoint.pt`` the state to go on from, ``best.pt`` the weights of the best
validation. Every file is written beside its place and renamed, so that a kill at any moment leaves
a whole one.
"""

import contextlib
import hashlib
import json
import subprocess
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from photospec.config import write_toml
from photospec.errors import InputError
from photospec.training.distributed import world_size
from photospec.training.settings import WEIGHTS, TrainConfig
from photospec.utils.files import replacing

__all__ = [
    "BEST",
    "CHECKPOINT",
    "LOG",
    "PROVENANCE",
    "SETTINGS",
    "WEIGHTS",
    "Log",
    "check_folder",
    "describe_run",
    "load_checkpoint",
    "save_checkpoint",
    "software",
    "start_folder",
    "weights_metadata",
    "writing",
]

SETTINGS = "config.toml"
PROVENANCE = "provenance.json"
LOG = "log.jsonl"
CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
_PACKAGES = ("photospec", "torch", "numpy", "pytorch-ignite")


@contextlib.contextmanager
def writing(path):
    """Give a temporary name beside `path`, which is renamed once it is on disk.

    Parameters
    ----------
    path : pathlib.Path

    Yields
    ------
    pathlib.Path

    Raises
    ------
    InputError
        If it cannot be written; a file of that name is then as it was.
    """
    try:
        with replacing(path) as temporary:
            yield temporary
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as the latter
        raise InputError(
            f"output: expected room to write {path}, got {str(error).splitlines()[0]}; is the disk "
            "full? The last good checkpoint is kept"
        ) from None


def save_checkpoint(path, state):
    """Write tensors, numbers and text in nested dicts."""
    with writing(path) as temporary:
        torch.save(state, temporary)


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


def check_folder(config, output, *, resume):
    """Refuse a folder with something else in it.

    Parameters
    ----------
    config : TrainConfig
    output : pathlib.Path
    resume : bool

    Returns
    -------
    bool
        Whether there is a run to go on with.

    Raises
    ------
    InputError
        A folder with other files, or with a run of other settings.
    """
    settings = output / SETTINGS
    if resume and settings.is_file():
        before = TrainConfig.read(settings)
        # A run may be made longer or shorter and be looked at in other ways; anything else
        # would be another run.
        length = {"max_steps": config.max_steps, "max_epochs": config.max_epochs}
        if replace(before, **length, run=config.run) != config:
            raise InputError(
                f"resume: expected the settings of {settings}, got others; "
                "use another run folder or the same --config, --preset and --seed"
            )
        return True
    # A run killed early on may leave the beginning of a file, and nothing to lose.
    if output.is_dir() and any(not _is_temporary(path) for path in output.iterdir()):
        expected = "a run" if resume else "a new or empty folder"
        raise InputError(
            f"output: expected {expected}, got {output} with "
            f"{'other ' if resume else ''}files in it; resume that run or choose another folder"
        )
    return False


def _is_temporary(path):
    # As `photospec.utils.files.replacing` names them, and as older versions did.
    return path.name.startswith(".partial-") or path.suffix == ".partial"


def start_folder(output, config, stream, device):
    """Make a run folder and write settings and provenance.

    Parameters
    ----------
    output : pathlib.Path
    config : TrainConfig
    stream : PairsStream
    device : str

    Raises
    ------
    InputError
        It cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_toml(config, output / SETTINGS)
    except OSError as error:
        raise InputError(f"output: expected a writable folder, got {output} ({error})") from None
    path = output / PROVENANCE
    if not path.exists():
        text = json.dumps(describe_run(config, stream, device), indent=1)
        with writing(path) as temporary:
            temporary.write_text(text + "\n")


class Log:
    """The log of a run, one JSON object per line; ``log(step, loss=...)`` adds one.

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
        with writing(path) as temporary:
            temporary.write_text(text)

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


def software():
    """Return versions of what trained, and the commit where it is known, as text."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    try:
        commit = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        found["commit"] = commit.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return found


def _file_hash(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_changed():
    """Tell whether the code differs from its commit; None where there is none."""
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
    """Return what a run was made of, but for its settings.

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


def weights_metadata(output, step):
    """Return what goes into a run's weights file: text by name.

    Parameters
    ----------
    output : pathlib.Path
        Run folder.
    step : int
        After which step the weights are as they are.
    """
    try:
        settings = (output / SETTINGS).read_text()
        origin = json.loads((output / PROVENANCE).read_text())
    except (OSError, ValueError):
        raise InputError(
            f"output: expected {SETTINGS} and {PROVENANCE} in {output}, got none that can be read; "
            "were they deleted?"
        ) from None
    return {
        "config": settings,
        "step": str(step),
        **{name: json.dumps(value) for name, value in origin.items()},
    }
