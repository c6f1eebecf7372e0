"""How far a survey is: galaxies, their rate, the time left."""

import sys
import time

__all__ = ["Progress", "to_stderr"]

_TERMINAL, _LOG = 1.0, 30.0  # seconds between two states
_CLEAR = "\r\x1b[K"


def to_stderr(line, *, passing=False):
    """Print a line to stderr; on a terminal one that is passing gives way to the next.

    Parameters
    ----------
    line : str
    passing : bool
    """
    terminal = sys.stderr.isatty()
    end = "" if terminal and passing else "\n"
    print(f"{_CLEAR if terminal else ''}{line}", end=end, file=sys.stderr, flush=True)  # noqa: T201


class Progress:
    """Galaxies done, rate, time left: rewritten on a terminal, seldom lines in a log.

    Parameters
    ----------
    say : callable
        Takes a line.
    total : int
        Galaxies.
    before : int
        Of them done by an earlier start.
    """

    def __init__(self, say, total, before=0):
        self.say, self.total, self.before = say, total, before
        self.n, self.running = 0, {}
        self.start = self.last = time.monotonic()
        self.on_terminal = say is to_stderr and sys.stderr.isatty()
        if before:
            say(f"{before} of {total} galaxies are done already")

    def hear(self, event):
        """Take the message of a worker: key of its task, and rows done in it so far."""
        _, (key, count) = event
        self.running[key] = count
        self.maybe()

    def ended(self, key):
        """Forget what a task said: it is done, or begins anew."""
        self.running.pop(key, None)

    def add(self, n):
        """Count galaxies whose partition or piece is written."""
        self.n += n

    def maybe(self, last=False):
        """Say how far it is, if it is time.

        Parameters
        ----------
        last : bool
            It is the end.
        """
        now = time.monotonic()
        if not last and now - self.last < (_TERMINAL if self.on_terminal else _LOG):
            return
        self.last = now
        text = self.text(now - self.start, last)
        if self.on_terminal and not last:
            self.say(text, passing=True)
        else:
            self.say(text)

    def text(self, seconds, last=False):
        """Return the line.

        Parameters
        ----------
        seconds : float
            Since the start.
        last : bool

        Returns
        -------
        str
        """
        n = self.n + (0 if last else sum(list(self.running.values())))
        rate = n / max(seconds, 1e-9)
        text = f"{self.before + n} of {self.total} galaxies, {rate:.3g} per second"
        if not last and rate:
            text += f", {duration((self.total - self.before - n) / rate)} left"
        return text


def duration(seconds):
    """Say seconds as a person does."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
