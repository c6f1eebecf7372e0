"""How far the work has come: a bar on a terminal, plain lines in a log file."""

import sys
import time

__all__ = ["LineProgress", "progress_bar", "write_line"]

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.4g}/{total_fmt} [{elapsed}<{remaining}]{postfix}"
# Of work that takes hours: often enough to see that it goes on, seldom enough for a log file.
_SECONDS_BETWEEN_LINES = 10.0


def progress_bar(total, description, *, done=0, show=True):
    """Make a progress bar on stderr; where that is no terminal, lines.

    Parameters
    ----------
    total : int
        Number of steps.
    description : str
        Name of the work, before the bar.
    done : int
        Steps done by an earlier run.
    show : bool
        Whether anything is to be seen.

    Returns
    -------
    tqdm.tqdm or LineProgress
        A context manager; call ``update(n)``, where n may be a part of a step.

    Examples
    --------
    >>> from photospec.utils.progress import progress_bar
    >>> with progress_bar(3, "squares", show=False) as bar:
    ...     for i in range(3):
    ...         bar.update()
    """
    if show and not sys.stderr.isatty():
        return LineProgress(total, description, done=done)
    from tqdm import tqdm

    return tqdm(
        total=total,
        desc=description,
        initial=done,
        file=sys.stderr,
        disable=not show,
        bar_format=_BAR,
    )


class LineProgress:
    """Progress as plain lines, one every ten seconds at most, for log files.

    Parameters
    ----------
    total : int
        Number of steps.
    description : str
        Name of the work.
    done : int
        Steps done by an earlier run.
    """

    def __init__(self, total, description, done=0):
        self.total, self.n = total, float(done)
        self._description, self._done = description, done
        self._begin = self._last = time.monotonic()
        self._said = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def set_description(self, description):
        """Name what is done now."""
        self._description = description

    def update(self, n=1):
        """Count `n` more steps."""
        self.n += n
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            self._say(now)

    def close(self):
        """Say how far it came, unless that is said already."""
        if self._said != self.n:
            self._say(time.monotonic())

    def _say(self, now):
        self._said = self.n
        # A step is counted in parts, whose sum is a little off.
        share = min(round(self.n / self.total, 6), 1.0) if self.total else 1.0
        text = f"photospec: {self._description}: {share:.0%}, {self.n:.4g}/{self.total}"
        passed, steps = now - self._begin, self.n - self._done
        text += f", {_duration(passed)}"
        if steps > 0 and share < 1:
            text += f", {_duration(passed * (self.total - self.n) / steps)} to go"
        write_line(text)


def _duration(seconds):
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def write_line(text):
    """Write one line to stderr without tearing a progress bar.

    Parameters
    ----------
    text : str
    """
    line = " ".join(str(text).split())
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 (what this function is for)
