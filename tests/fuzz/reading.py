"""Read mutants ``start`` to ``stop`` of a room; a program of its own, because some kill or hang.

Prints a line of JSON before each mutant and one after those that went wrong.
"""

import json
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path

# Seconds of processor time for one file; a reader that takes longer hangs, and SIGPROF ends the
# program. Whoever waits without computing is ended by SIGALRM.
TIME_BOUND, WAIT_BOUND = 20, 300
# A reader that takes more memory than this believes what a file claims.
MEMORY = 6 * 2**30


def say(**report):
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


def main(room, seed, start, stop, sound):
    sys.path.insert(0, str(Path(__file__).parent))
    import mutators

    from photospec.errors import PhotospecError

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    folder = Path(tempfile.mkdtemp())
    for number in range(start, stop):
        for path in folder.iterdir():
            path.unlink()
        path = mutators.make_mutant(room, seed, number, sound, folder)
        say(number=number)
        signal.setitimer(signal.ITIMER_PROF, TIME_BOUND)
        signal.alarm(WAIT_BOUND)
        try:
            mutators.read(room, path, sound)
        except PhotospecError as error:
            if "\n" in str(error) or len(str(error)) > 600:
                say(number=number, file=path.name, fault=f"long: {error}"[:300])
        except BaseException as error:
            kind = f"{type(error).__name__}: {error}"[:300]
            place = error.__traceback__
            while place.tb_next:
                place = place.tb_next
            where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
            say(number=number, file=path.name, fault=kind, where=where)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    shutil.rmtree(folder)
    say(number=None)


if __name__ == "__main__":
    room, seed, start, stop, sound = sys.argv[1:]
    main(room, int(seed), int(start), int(stop), Path(sound))
