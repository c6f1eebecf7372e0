"""The command line as its own process: what it answers, and to whom."""

import subprocess
import sys

import photospec


def run_photospec(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "photospec", *arguments], capture_output=True, text=True, **kwargs
    )


def test_version_and_help_answer(tmp_path):
    version = run_photospec("--version", cwd=tmp_path)
    assert version.stdout.strip() == f"photospec {photospec.__version__}"
    help_ = run_photospec("--help", cwd=tmp_path)
    assert help_.returncode == 0
    for verb in (
        "predict",
        "measure",
        "demo",
        "simulate",
        "download",
        "train",
        "evaluate",
        "survey",
    ):
        assert f"\n    {verb} " in help_.stdout


SAY_A_LOT = """
import sys, argparse
from photospec.cli.console import run_command, say
def run(args):
    for _ in range(100000):
        say(args, "line")
sys.exit(run_command(run, argparse.Namespace(quiet=False, debug=False)))
"""


def test_closed_pipe_is_quiet(tmp_path):
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", SAY_A_LOT]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, cwd=tmp_path) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141
