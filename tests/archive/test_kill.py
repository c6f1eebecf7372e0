"""Killed at any moment, a download loses the files in flight and nothing else."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from simulated_sky import Sky
from test_download import assert_complete

from photospec.archive import download

PROGRAM = "import sys, json; from photospec.archive import download; "
PROGRAM += "download(sys.argv[1], **json.loads(sys.argv[2]))"


def run(folder, settings, kill_after=None):
    """Run the download in a process; SIGKILL it so many seconds after it got its first file."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), json.dumps(settings)])
    try:
        if kill_after is not None:
            # Importing takes most of the time; what counts is the time of the download.
            while process.poll() is None and not (folder / ".lock").exists():
                time.sleep(0.02)
            time.sleep(kill_after)
            process.send_signal(signal.SIGKILL)
        return process.wait(timeout=300)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def kill_and_finish(sky, serve, tmp_path, n_kills, longest, seed):
    server, settings = serve(sky, latency=0.02)
    folder = tmp_path / "download"
    rng = np.random.default_rng(seed)
    n_killed = 0
    for _ in range(n_kills):
        if (folder / ".lock").exists():
            os.unlink(folder / ".lock")  # its return shows that the process has begun
        n_killed += run(folder, settings, rng.uniform(0, longest)) == -signal.SIGKILL
    assert n_killed
    report = download(folder, **settings)
    assert_complete(report, sky, server, folder)
    frames = [path for path in server.log if "frame-" in path]
    # A file is fetched again only if a kill met it in flight; spectra are fetched twice each.
    extra = sum(server.n_whole(path) - 1 for path in frames)
    extra += sum(server.n_whole(p) - 2 for p in server.log if "/spec-" in p)
    # The frames of a field in work are kept until its galaxies are noted.
    assert extra <= n_killed * 2 * settings["n_connections"]


def test_killed_once(serve, tmp_path):
    sky = Sky.simulated(n_fields=8, n_per_field=2, seed=21)
    kill_and_finish(sky, serve, tmp_path, n_kills=1, longest=1.5, seed=1)


@pytest.mark.slow
def test_killed_at_ten_random_moments(serve, tmp_path):
    sky = Sky.simulated(n_fields=40, n_per_field=4, seed=22)
    kill_and_finish(sky, serve, tmp_path, n_kills=10, longest=4.0, seed=2)
