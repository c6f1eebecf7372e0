"""The log of a run: one JSON object per line."""

import json
import time

__all__ = ["Log"]


class Log:
    """Adds lines to a file, ``log(step, loss=...)``.

    Parameters
    ----------
    path : pathlib.Path
    after : int
        Step that the run goes on from: what a killed run logged beyond it, or wrote in part,
        is taken out.
    """

    def __init__(self, path, *, after=0):
        self.path = path
        self._started = time.monotonic()
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if _step(line) <= after]
        path.write_text("".join(f"{line}\n" for line in kept))

    def __call__(self, step, **entry):
        """Add a line about a step."""
        entry |= {"step": step, "seconds": round(time.monotonic() - self._started, 1)}
        with open(self.path, "a") as file:
            file.write(json.dumps(entry) + "\n")


def _step(line):
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
