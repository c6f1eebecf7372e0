"""The log of a run: one JSON object per line."""

import json
import time

from photospec.errors import InputError
from photospec.training.checkpoint import write_aside

__all__ = ["Log"]


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
