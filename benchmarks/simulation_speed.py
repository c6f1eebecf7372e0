"""Time and memory of `simulate_pairs`.

    python benchmarks/simulation_speed.py [-n 500 3000] [--processes 1]

Each number of pairs is simulated in a process of its own. Processor time rather than the clock's
tells what a busy machine would do when idle; pairs per second of n cores is n over it, less what
the one process that writes the file does alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

from photospec.simulation import Survey, simulate_pairs


def _measure(n, processes, queue):
    with tempfile.TemporaryDirectory() as folder:
        clock = time.perf_counter()
        simulate_pairs(n, Path(folder) / "pairs.h5", Survey.sdss_main(), n_processes=processes)
        clock = time.perf_counter() - clock
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(w) for w in who]
    processor = sum(u.ru_utime + u.ru_stime for u in used)
    queue.put((clock, processor, max(u.ru_maxrss for u in used) / 1024))


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, nargs="+", default=[500, 3000])
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    print("pairs  seconds  processor seconds  peak MiB of the largest process")
    found = {}
    for n in arguments.n:
        queue = context.Queue()
        process = context.Process(target=_measure, args=(n, arguments.processes, queue))
        process.start()
        clock, processor, memory = queue.get()
        process.join()
        found[n] = processor
        print(f"{n:5d} {clock:8.1f} {processor:18.1f} {memory:10.0f}", flush=True)
    if len(found) > 1:
        (few, start), (many, end) = min(found.items()), max(found.items())
        each = (end - start) / (many - few)
        print(
            f"{1e3 * each:.2f} ms of processor time per pair after starting: {1 / each:.0f} pairs"
        )
        print("per second and core")


if __name__ == "__main__":
    main()
