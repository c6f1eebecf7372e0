"""Where a survey runs: a scheduler far away or workers on this machine, all of one kind."""

import contextlib
import hashlib
import os
import signal
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import resource_tracker

from photospec.errors import InputError, PhotospecError
from photospec.utils.memory import keep_freed_memory

__all__ = [
    "Connected",
    "check_state",
    "check_threads",
    "check_workers",
    "weights_digest",
    "worker_state",
]

_CONNECT = 20  # seconds to wait for a scheduler
# Dask looks after its workers every 10 to 100 ms, in the thread that would compute: with tasks of
# seconds once a second is enough, and its profile of them is not looked at.
_SELDOM = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "60s",
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.admin.system-monitor.disk": False,
    # What waits goes to the worker that is ready first, not to one that may have long work.
    "distributed.scheduler.worker-saturation": 1.0,
}


def weights_digest(spectrograph):
    """Return the SHA-256 over the files of the weights, the first 16 digits.

    Parameters
    ----------
    spectrograph : PhotoSpectrograph

    Returns
    -------
    str
    """
    folder = spectrograph.folder
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix in (".toml", ".safetensors"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Connected:
    """Context of a client of a scheduler, given, far away, or made here."""

    def __init__(self, client, scheduler, n_workers, say):
        self.given, self.scheduler, self.n_workers, self.say = client, scheduler, n_workers, say
        self.cluster = self.client = None

    def __enter__(self):
        import dask
        from distributed import Client, LocalCluster

        if self.given is not None:
            return self.given
        if self.scheduler is not None:
            try:
                self.client = Client(self.scheduler, timeout=_CONNECT)
            except (OSError, ValueError, TimeoutError) as error:
                text = " ".join(str(error).split())[:120]
                raise InputError(
                    f"scheduler: expected one that answers, got {self.scheduler} ({text}); is it "
                    "running, and its port open?"
                ) from None
        else:
            n = self.n_workers or len(os.sched_getaffinity(0))
            # One thread each: numbers depend on how many threads add them up, and images are
            # many, so that nothing is gained by sharing one among threads.
            try:
                with dask.config.set(_SELDOM), _ctrl_c_later():
                    self.cluster = LocalCluster(
                        n_workers=n,
                        threads_per_worker=1,
                        host="127.0.0.1",
                        dashboard_address="127.0.0.1:0",
                        silence_logs=50,
                    )
            except KeyboardInterrupt:
                self.__exit__()
                raise
            except RuntimeError as error:
                text = " ".join(str(error).split())[:120]
                raise InputError(
                    f"workers: expected {n} processes to start on this machine, got: {text}; is "
                    "there memory for them?"
                ) from None
            self.client = Client(self.cluster)
        bokeh = "" if find_spec("bokeh") else " (pip install bokeh to see more there)"
        self.say(f"dashboard: {self.client.dashboard_link}{bokeh}")
        return self.client

    def __exit__(self, *exception):
        for one in (self.client, self.cluster):
            if one is not None:
                try:
                    one.close(timeout=10)
                except (OSError, TimeoutError):
                    pass


@contextlib.contextmanager
def _ctrl_c_later():
    """Context at whose end Ctrl-C arrives, when workers that began to start are there to close.

    A terminal sends it to them too, and each would print a traceback. What signals a thread blocks,
    the threads and processes that it starts block from their first instruction.
    """
    # What starts it unblocks the signal in the thread that does.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def worker_state(read, arguments):
    """Make a worker ready; version of photospec in it, and whether it finds the weights.

    Parameters
    ----------
    read : callable
        Reads the weights, with the arguments; once in a process.
    arguments : tuple

    Returns
    -------
    dict
    """
    import lsdb  # noqa: F401 - takes seconds: now, rather than within the first task

    keep_freed_memory()
    try:
        digest = weights_digest(read(*arguments))
    except PhotospecError as error:
        return {"photospec": version("photospec"), "problem": str(error)}
    return {"photospec": version("photospec"), "weights": digest}


def check_workers(client, spectrograph, run, *, wait=True):
    """Make sure that workers are there, of this version, and find the same weights.

    Parameters
    ----------
    client : distributed.Client
    spectrograph : PhotoSpectrograph
    run : dict
        What the run is: ``photospec``, the version, and ``weights``, their digest.
    wait : bool
        Whether there must be a worker; clusters that grow have none before there is work.

    Returns
    -------
    int
        Workers.

    Raises
    ------
    InputError
    """
    if not wait and not client.scheduler_info()["workers"]:
        return 0
    try:
        client.wait_for_workers(1, timeout=60)
    except TimeoutError:
        raise InputError("scheduler: expected at least one worker within 60 s, got none") from None
    # As it pickles: a worker without the weights can then say so.
    states = client.run(worker_state, *spectrograph.__reduce__(), on_error="return")
    for address, found in states.items():
        check_state(address, found, run["photospec"], run["weights"])
    for address, worker in client.scheduler_info(n_workers=-1)["workers"].items():
        check_threads(address, worker["nthreads"])
    return len(states)


def check_threads(address, n):
    """Refuse a worker that works on several tasks at once: they change each other's threads.

    Parameters
    ----------
    address : str
        How it is called.
    n : int
        Threads of the worker.

    Raises
    ------
    InputError
    """
    if n != 1:
        raise InputError(
            f"workers: expected one thread in each, got {n} on {address}; start more processes "
            "with --nthreads 1"
        )


def check_state(address, found, photospec, weights):
    """Refuse a worker of another version or with other weights.

    Parameters
    ----------
    address : str
        How it is called.
    found : dict or object
        Of `worker_state`; anything else is why it could not answer.
    photospec, weights : str
        Version and digest that are expected.

    Raises
    ------
    InputError
    """
    if not isinstance(found, dict):
        text = " ".join(str(found).split())[:150]
        raise InputError(f"workers: expected photospec on {address}, got {text}")
    if "problem" in found:
        raise InputError(f"workers: expected the weights on {address}, got: {found['problem']}")
    for key, wanted in (("photospec", photospec), ("weights", weights)):
        if found[key] != wanted:
            raise InputError(
                f"workers: expected {key} {wanted} on {address}, got {found[key]}; install the "
                "same everywhere"
            )
