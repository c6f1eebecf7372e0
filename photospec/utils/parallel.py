"""Work in several processes, and one numerical thread where more would only wait.

Each worker is a fresh interpreter with one numerical thread that takes one chunk at a
time over a pipe. It never imports the caller's script, so a script needs no
``if __name__ == "__main__"`` guard. Only a few chunks are ever in flight or waiting to be taken:
memory stays bounded, also when the results are taken slowly.

Why not loky: there a worker that dies (short of memory, a crash in compiled code) breaks the
executor and takes all chunks in flight with it, where here it costs its own chunk; and its
workers share the terminal's process group, so that Ctrl-C makes each of them print a traceback.
"""

import os
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue

from threadpoolctl import ThreadpoolController

__all__ = ["map_in_processes", "n_cores", "one_thread", "serve"]

# Chunks per worker that are asked for ahead: enough that a slow one does not leave others idle.
_AHEAD = 4

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@lru_cache(maxsize=1)
def _controller():
    return ThreadpoolController()  # looks through all loaded libraries: slow, so once


def n_cores():
    """Count the cores that this process may use, which a cluster may limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_thread():
    """Return a context in which BLAS runs on one thread.

    With more, the products of small matrices mostly wait for each other.
    """
    return _controller().limit(limits=1, user_api="blas")


class _Worker:
    """One worker process and the connection to it."""

    def __init__(self):
        self.connection, theirs = Pipe()
        environment = {
            **os.environ,
            **dict.fromkeys(ONE_THREAD, "1"),
            "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path),
        }
        command = "import sys; from photospec.utils.parallel import serve; serve(sys.argv[1])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, str(theirs.fileno())],
            env=environment,
            pass_fds=[theirs.fileno()],
            process_group=0,  # Ctrl-C reaches the caller only, which then ends its workers
        )
        theirs.close()  # so that the death of the worker ends the connection

    def __call__(self, task):
        self.connection.send(task)
        return self.connection.recv()

    def kill(self):
        self.process.kill()  # whoever waits for its answer then gets EOFError

    def stop(self):
        self.connection.close()  # the worker's recv then raises EOFError, and it leaves
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def serve(descriptor):
    """Answer tasks ``(function, arguments)``, which never raise, until the connection closes."""
    with Connection(int(descriptor)) as connection:
        while True:
            try:
                function, arguments = connection.recv()
                connection.send(function(*arguments))
            except (EOFError, ConnectionError):  # the caller has ended
                return


def map_in_processes(function, tasks, n_processes, on_death):
    """Apply a function to every task, in order, in `n_processes` processes (POSIX systems).

    Parameters
    ----------
    function : callable
        Importable by name; must not raise.
    tasks : iterable of tuple
        Arguments of each call.
    n_processes : int
    on_death : callable
        Given the arguments of a call whose worker died, returns the result to put there, or raises.

    Yields
    ------
    object
        Results, in the order of `tasks`.

    Notes
    -----
    Whatever ends the work early (an error, Ctrl-C, a caller that takes no more results) ends the
    workers at once: a chunk may take half a minute, and nobody wants its result.
    """
    idle = SimpleQueue()
    for _ in range(n_processes):
        idle.put(None)
    workers = []
    given_up = threading.Event()

    def run(task):
        worker = idle.get()
        try:
            if worker is None:
                worker = _Worker()
                workers.append(worker)
                if given_up.is_set():  # while it was made
                    worker.kill()
            return worker((function, task))
        except (EOFError, OSError):
            if worker is not None:
                worker.stop()
            worker = None
            return on_death(*task)
        finally:
            idle.put(worker)

    pool = ThreadPoolExecutor(n_processes)
    try:
        waiting = deque()
        for task in tasks:
            waiting.append(pool.submit(run, task))
            if len(waiting) >= _AHEAD * n_processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        given_up.set()
        for worker in workers:
            worker.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for worker in workers:
            worker.stop()
