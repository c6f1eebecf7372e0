"""What the command line says, and how it ends.

Everything a user may have caused is one line on stderr: ``photospec: error:``,
what was expected, what came, the likely cause. A traceback is shown only on
``--debug``.
"""

import contextlib
import errno
import os
import signal
import sys
import threading
import warnings

from photospec.utils.progress import progress_bar, write_line

__all__ = [
    "BAD_INPUT",
    "DEFECT",
    "INTERRUPTED",
    "PARTIAL",
    "counted",
    "error",
    "note",
    "progress",
    "run_command",
    "say",
]

# The last two are what shells give for SIGINT and SIGPIPE: 128 and the number of the signal.
PARTIAL, BAD_INPUT, DEFECT, INTERRUPTED, PIPE_CLOSED = 1, 2, 3, 130, 141


def error(text):
    """Report an error as one line on stderr.

    Parameters
    ----------
    text : str or Exception
        What was expected, what came, the likely cause.
    """
    write_line(f"photospec: error: {text}")


def say(args, text):
    """Tell the user on stdout what was done, unless ``--quiet``.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments; ``args.quiet`` is heeded.
    text : str
        The message.
    """
    if not args.quiet:
        print(text, flush=True)


def counted(n, one, many):
    """Put a number before a word: ``counted(1, "spectrum", "spectra")`` is "1 spectrum".

    Parameters
    ----------
    n : int
    one, many : str
        The word for one, and for any other number.

    Returns
    -------
    str
    """
    return f"{n} {one if n == 1 else many}"


def note(args, text):
    """Tell a detail on stderr, with ``--verbose``.

    It goes through astropy's logger, as the details that astropy itself tells.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments; ``args.verbose`` is heeded.
    text : str
        The message.
    """
    if getattr(args, "verbose", False):
        from astropy import log

        log.info(text)


def progress(args, total, description):
    """Make a progress bar on stderr; in a log file, lines.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments; ``args.quiet`` turns it off.
    total : int
        Number of steps.
    description : str
        Name of the work, before the bar.

    Returns
    -------
    tqdm.tqdm or LineProgress
        A context manager; call ``update(n)``, where n may be a part of a step.
    """
    return progress_bar(total, description, show=not args.quiet)


def _show_warning(message, category, filename, lineno, file=None, line=None):
    write_line(f"photospec: warning: {message}")


class _Interruption:
    """Makes Ctrl-C one line, wherever it arrives.

    Python raises KeyboardInterrupt wherever the program is, also in the middle of an import or in
    a callback, where it is printed, swallowed or becomes another error; threads and destructors
    that find things half done print tracebacks of their own. After the first Ctrl-C, the program
    says nothing of that kind any more. After the second it ends at once.
    """

    def __init__(self):
        self.came = False

    @contextlib.contextmanager
    def watched(self):
        """Notice Ctrl-C within a context."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        hooks = threading.excepthook, sys.unraisablehook
        before = signal.getsignal(signal.SIGINT)  # of `photospec.__main__`, as a rule
        if callable(before):  # neither ignored nor left to the system
            signal.signal(signal.SIGINT, self._handle)
        threading.excepthook = self._quiet(hooks[0])
        sys.unraisablehook = self._quiet(hooks[1])
        try:
            yield
        finally:
            if callable(before):
                signal.signal(signal.SIGINT, before)
            if not self.came:  # the interpreter ends next, and must not complain either
                threading.excepthook, sys.unraisablehook = hooks

    def _handle(self, *_):
        if self.came:
            os._exit(INTERRUPTED)
        self.came = True
        raise KeyboardInterrupt

    def _quiet(self, hook):
        return lambda details: None if self.came else hook(details)


def run_command(run, args):
    """Call ``run(args)`` and turn every way it can fail into one line and a status.

    Parameters
    ----------
    run : callable
        Function of a verb; returns an exit status or None.
    args : argparse.Namespace
        Parsed arguments.

    Returns
    -------
    int
        Exit status.
    """
    interruption = _Interruption()
    with interruption.watched(), warnings.catch_warnings():
        try:
            with _lines(args):
                status = run(args) or 0
            sys.stdout.flush()
        except KeyboardInterrupt:
            interruption.came = True
            error("interrupted")
            return INTERRUPTED
        except BrokenPipeError:
            # The reader of our output has gone. Nothing may be written to it when
            # the interpreter flushes at exit, or it would complain again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return PIPE_CLOSED
        except Exception as exception:
            if args.debug:
                raise
            if interruption.came:  # what became of it on its way
                error("interrupted")
                return INTERRUPTED
            return _failed(exception)
    return status


def _failed(exception):
    """Say in one line what went wrong; return the exit status."""
    from photospec.errors import PhotospecError

    if isinstance(exception, PhotospecError):
        error(exception)
        return BAD_INPUT
    if isinstance(exception, OSError):
        error(_describe_os_error(exception))
        return BAD_INPUT
    if isinstance(exception, ModuleNotFoundError) and not _is_ours(exception):
        error(_describe_missing_module(exception))
        return BAD_INPUT
    error(
        f"unexpected {type(exception).__name__}: {exception} "
        "(a defect of photospec; --debug shows the traceback)"
    )
    return DEFECT


@contextlib.contextmanager
def _lines(args):
    """Put warnings, and with ``--verbose`` what astropy's logger is told, on stderr as lines.

    astropy puts its own way to show warnings in the place of any other when it is imported, so
    that it is imported before.
    """
    import logging

    from astropy import log

    warnings.showwarning = _show_warning
    if not getattr(args, "verbose", False):
        yield
        return

    class Lines(logging.Handler):
        def emit(self, record):
            write_line(f"photospec: {record.levelname.lower()}: {record.getMessage()}")

    ours, theirs, level = Lines(), log.handlers[:], log.level
    log.handlers[:] = [ours]
    log.setLevel("INFO")
    try:
        yield
    finally:
        log.handlers[:] = theirs
        log.setLevel(level)


def _describe_os_error(exception):
    """Say which file, what happened, and for a full disk what to do."""
    what = exception.strerror or " ".join(map(str, exception.args))
    hint = ""
    # astropy finds out by itself that the disk is full, and sets no number.
    if exception.errno in (errno.ENOSPC, errno.EDQUOT) or "Not enough space" in what:
        what = "No space left on device"
        hint = " (free some space or choose another folder; nothing half-written was left)"
    where = f"{exception.filename}: " if exception.filename else ""
    return f"{where}{what}{hint}"


def _is_ours(exception):
    return (exception.name or "").split(".")[0] == "photospec"


def _describe_missing_module(exception):
    """Name the extra that installs the module."""
    from photospec.utils.optional import EXTRAS, missing

    name = (exception.name or "").split(".")[0]
    if name in EXTRAS:
        return missing(name)
    return f"needs the package {name or exception}, which is not installed"
