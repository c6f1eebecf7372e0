"""Files that are damaged or made to do harm end in one line, in time, within memory.

Some dozens a room run by default; ``pytest -m slow tests/fuzz`` reads 2,000 a room.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

import mutators
import pytest

PROGRAM = Path(__file__).parent / "reading.py"
SEED = 20261126


def read_mutants(room, n, sound):
    """Faults of the first n mutants: raw exceptions, hangs, crashes."""
    faults, start = [], 0
    while start < n:
        command = [sys.executable, PROGRAM, room, str(SEED), str(start), str(n), str(sound)]
        done = subprocess.run(command, capture_output=True, text=True)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        faults += [line for line in lines if "fault" in line]
        if lines and lines[-1]["number"] is None:
            break
        assert lines, done.stderr[-2000:]
        # It died at its last file: say how, and go on behind it.
        last = lines[-1]["number"]
        hangs = -done.returncode in (signal.SIGPROF, signal.SIGALRM)
        how = "hangs" if hangs else f"status {done.returncode}"
        faults.append({"number": last, "fault": how})
        start = last + 1
    return faults


@pytest.fixture
def sound(room, tmp_path, tiny_weights):
    if room == "weights":
        return tiny_weights
    folder = tmp_path / "sound"
    folder.mkdir()
    mutators.SOUND[room](folder)
    return folder


@pytest.mark.parametrize("room", sorted(mutators.MUTATE))
def test_sound_files_are_read(room, sound):
    for path in sorted(sound.iterdir()):
        mutators.read(room, path, sound)


@pytest.mark.parametrize("room", sorted(mutators.MUTATE))
def test_some_dozens(room, sound):
    assert read_mutants(room, 36, sound) == []


@pytest.mark.slow
@pytest.mark.parametrize("room", sorted(mutators.MUTATE))
def test_thousands(room, sound):
    assert read_mutants(room, 2000, sound) == []


def test_faults_are_seen(tmp_path, monkeypatch):
    """The test can fail: a reader that raises, hangs or dies is reported."""
    program = tmp_path / "reading.py"
    program.write_text(
        "import json, os, signal, sys\n"
        "start = int(sys.argv[3])\n"
        "print(json.dumps({'number': start}), flush=True)\n"
        "if start == 0: print(json.dumps({'number': 0, 'fault': 'KeyError'}), flush=True)\n"
        "os.kill(os.getpid(), [signal.SIGPROF, signal.SIGALRM, signal.SIGSEGV][start])\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "PROGRAM", program)
    faults = read_mutants("image", 3, tmp_path)
    assert [fault["fault"] for fault in faults] == ["KeyError", "hangs", "hangs", "status -11"]
