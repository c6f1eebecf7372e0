"""The program ``photospec``, and ``python -m photospec``."""

import os
import signal
import sys

__all__ = ["main"]

# As `photospec.cli.console`, which is not imported yet when it is needed.
_INTERRUPTED = 130


def main() -> int:
    """Run the command line, with Ctrl-C as one line from the first import on.

    Returns
    -------
    int
        Exit status, see `photospec.cli`.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from photospec.cli import main as run

    status = run()
    if status == _INTERRUPTED:
        # At once: the interpreter remembers interruptions that libraries met while they were
        # imported, and would end with another status and with words of its own.
        sys.stdout.flush()
        os._exit(status)
    return status


def _leave(*_):
    os.write(2, b"photospec: error: interrupted\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
