"""How far a download is, how fast it goes, how long it will take."""

import time
from collections import deque

__all__ = ["Progress", "clock", "volume"]


def clock(seconds):
    """Return a duration as text, such as '2 d 03:04:05'."""
    seconds = round(seconds)
    days, seconds = divmod(seconds, 86400)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{days} d {text}" if days else text


def volume(n_bytes):
    """Return a number of bytes as text, such as '3.4 GB' (decimal)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(n_bytes) < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


class Progress:
    """Prints one line now and then; on a terminal it is rewritten in place.

    Parameters
    ----------
    total : int
        Galaxies to do.
    stream : file, optional
        Where to print, such as standard error; None for silence.
    """

    def __init__(self, total, stream=None):
        self.total = total
        self.done = 0
        self.failed = 0
        self._stream = stream
        self._live = stream is not None and stream.isatty()
        self._every = 1.0 if self._live else 60.0
        self._started = self._printed = time.monotonic()
        # The rate is that of the last ten minutes: a week has faster and slower hours.
        self._history = deque([(self._started, 0, 0)])

    def update(self, done, failed, n_bytes):
        """Count galaxies that are finished and print when it is time.

        Parameters
        ----------
        done, failed : int
            Galaxies finished well and badly since the last call.
        n_bytes : int
            Bytes received so far.
        """
        self.done += done
        self.failed += failed
        now = time.monotonic()
        self._history.append((now, self.done + self.failed, n_bytes))
        while len(self._history) > 2 and now - self._history[0][0] > 600:
            self._history.popleft()
        if self._stream is not None and now - self._printed >= self._every:
            self._printed = now
            self._print(self.line())

    def rates(self):
        """Return galaxies and bytes per second (float, float)."""
        (t0, n0, b0), (t1, n1, b1) = self._history[0], self._history[-1]
        span = max(t1 - t0, 1e-3)
        return (n1 - n0) / span, (b1 - b0) / span

    def line(self):
        """Return the line that is printed (str)."""
        galaxies, n_bytes = self.rates()
        finished = self.done + self.failed
        left = clock((self.total - finished) / galaxies) if galaxies > 0 else "unknown"
        return (
            f"{finished} of {self.total} galaxies ({100 * finished / max(self.total, 1):.1f} %),"
            f" {self.failed} failed, {galaxies:.2f}/s, {volume(n_bytes)}/s, {left} left"
        )

    def note(self, text):
        """Print one line of its own."""
        if self._stream is not None:
            self._print(text + "\n" if self._live else text)

    def close(self):
        """Print the last line."""
        if self._stream is not None and self.done + self.failed:
            self._print(self.line() + ("\n" if self._live else ""))

    def _print(self, text):
        self._stream.write(f"\r\033[K{text}" if self._live else text + "\n")
        self._stream.flush()
