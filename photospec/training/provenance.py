"""Where weights come from: settings, software, code and pairs, for the run and the weights."""

import hashlib
import json
import subprocess
from pathlib import Path

from photospec.errors import InputError
from photospec.training.checkpoint import write_aside
from photospec.training.distributed import world_size
from photospec.training.pack import software

__all__ = ["NAME", "describe_run", "weights_metadata", "write_provenance"]

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
