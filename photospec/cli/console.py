"""What the command line says, and how it ends.

Everything a user may have caused is one line on stderr: ``photospec: error:``,
what was expected, what came, the likely cause. A traceback is shown only on
``--debug``.
"""

import errno
import os
import sys
import warnings

__all__ = ["BAD_INPUT", "DEFECT", "INTERRUPTED", "PARTIAL", "error", "guarded", "progress", "say"]

PARTIAL, BAD_INPUT, DEFECT, INTERRUPTED, PIPE_CLOSED = 1, 2, 3, 130, 141

# Which extra of the package brings a module that is not always installed.
_EXTRAS = {
    "ignite": "train",
    "galsim": "simulate",
    "qp": "qp",
    "jinja2": "report",
    "huggingface_hub": "hub",
    "faiss": "search",
    "dask": "survey",
    "lsdb": "survey",
    "distributed": "survey",
}


def _write_line(text):
    """Write one line to stderr without tearing a progress bar."""
    line = " ".join(str(text).split())
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr, flush=True)


def error(text):
    """Report an error as one line on stderr.

    Parameters
    ----------
    text : str or Exception
        What was expected, what came, the likely cause.
    """
    _write_line(f"photospec: error: {text}")


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


def progress(args, total, description):
    """Make a progress bar on stderr.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments; ``args.quiet`` turns the bar off.
    total : int
        Number of steps.
    description : str
        Name of the work, before the bar.

    Returns
    -------
    tqdm.tqdm
        The bar; call ``update(n)``.
    """
    from tqdm import tqdm

    # In a log file each redraw is a line: draw seldom there.
    interval = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(
        total=total, desc=description, file=sys.stderr, disable=args.quiet, mininterval=interval
    )


def _show_warning(message, category, filename, lineno, file=None, line=None):
    _write_line(f"photospec: warning: {message}")


def guarded(run, args):
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
    from photospec.errors import PhotospecError

    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            status = run(args) or 0
            sys.stdout.flush()
        except KeyboardInterrupt:
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
    return status


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
    name = (exception.name or "").split(".")[0]
    if name in _EXTRAS:
        return f"needs the package {name}: pip install 'photospec[{_EXTRAS[name]}]'"
    return f"needs the package {name or exception}, which is not installed"
