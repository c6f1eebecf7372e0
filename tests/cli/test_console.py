"""Progress, interruptions, details and completion."""

import argparse
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import photospec
from photospec.cli import main
from photospec.cli.console import note, progress, run_command
from photospec.utils.progress import LineProgress

ARGS = argparse.Namespace(quiet=False, debug=False, verbose=False)


def test_progress_in_a_log_file_is_plain_lines(capsys):
    with progress(ARGS, 8, "predict") as bar:
        assert isinstance(bar, LineProgress)
        for _ in range(8):
            bar.update(0.5)
            bar.update(0.5)
    error = capsys.readouterr().err
    assert error == "photospec: predict: 100%, 8/8, 0 s\n"
    assert not {"\r", "\x1b", "█"} & set(error)


def test_lines_come_at_intervals_and_say_how_long_it_takes(capsys, monkeypatch):
    now = iter([0.0, 5.0, 11.0, 12.0, 30.0, 30.0])
    monkeypatch.setattr("photospec.utils.progress.time.monotonic", lambda: next(now))
    bar = LineProgress(4, "measure")
    for _ in range(4):
        bar.update()
    bar.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "photospec: measure: 50%, 2/4, 11 s, 11 s to go",
        "photospec: measure: 100%, 4/4, 30 s",
    ]


def test_quiet_says_nothing(capsys):
    quiet = argparse.Namespace(quiet=True, debug=False, verbose=False)
    with progress(quiet, 3, "predict") as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""


def test_verbose_tells_details_through_the_logger_of_astropy(capsys):
    from astropy import log

    def run(args):
        note(args, "a.fits: 8 candidates")
        log.info("something of astropy")

    before = list(log.handlers), log.level
    verbose = argparse.Namespace(quiet=False, debug=False, verbose=True)
    assert run_command(run, verbose) == 0
    assert capsys.readouterr().err.splitlines() == [
        "photospec: info: a.fits: 8 candidates",
        "photospec: info: something of astropy",
    ]
    assert (list(log.handlers), log.level) == before
    note(ARGS, "not told")
    assert capsys.readouterr().err == ""
    assert isinstance(log, logging.Logger)


def test_warnings_are_our_lines_though_astropy_is_imported_late():
    """astropy replaces the way in which warnings are shown when it is imported."""
    code = """
import argparse, warnings
from photospec.cli.console import run_command

def run(args):
    import astropy.units
    warnings.warn("odd")

args = argparse.Namespace(debug=False, verbose=False, quiet=True)
raise SystemExit(run_command(run, args))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "photospec: warning: odd\n")


@pytest.mark.parametrize("became", [KeyboardInterrupt(), ImportError("half imported")])
def test_an_interruption_is_one_line_whatever_becomes_of_it(became, capsys):
    def run(args):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(5)
        except KeyboardInterrupt:
            # A thread that finds things half done.
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join()
            raise became from None

    assert run_command(run, ARGS) == 130
    assert capsys.readouterr().err == "photospec: error: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interruption_while_modules_are_imported(tmp_path):
    code = """
import os, signal, sys, threading
sys.argv = ["photospec", "--version"]
import photospec.__main__ as program
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "photospec.cli":
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(10)
sys.meta_path.insert(0, Slow())
sys.exit(program.main())
"""
    environment = os.environ | {"PYTHONPATH": str(Path(photospec.__file__).parents[1])}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert (found.returncode, found.stderr) == (130, "photospec: error: interrupted\n")


def test_completion_of_shells(capsys):
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as caught:
        main(["--print-completion", "bash"])
    assert caught.value.code == 0
    script = capsys.readouterr().out
    assert "complete -o" in script
    assert "photospec" in script
    for word in ("predict", "--candidates", "--products", "--pairs"):  # --pairs comes by `declare`
        assert word in script
    for name in ("hsc_wide", "super-resolution", "tiny", "photometry", "cuda"):
        assert re.search(rf"[( \"']{name}[) \"']", script), name
    with pytest.raises(SystemExit) as caught:
        main(["--print-completion", "fish"])
    assert caught.value.code == 2
    assert "expected bash, zsh or tcsh, got 'fish'" in capsys.readouterr().err


def test_help_fits_a_terminal(monkeypatch):
    from photospec.cli import build_parser

    monkeypatch.setenv("COLUMNS", "80")
    parser = build_parser()
    verbs = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices
    assert len(verbs) == 10
    for each in (parser, *verbs.values()):
        text = each.format_help()
        # Commands of the examples are to be copied, in one line.
        wide = [line for line in text.splitlines() if len(line) > 80]
        assert not [line for line in wide if not line.startswith("  photospec ")]
        # Blank lines between paragraphs are kept.
        assert "\n\n" in text
