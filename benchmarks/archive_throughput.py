"""Is the download as fast as the server? Measured against one on loopback.

Run ``python benchmarks/archive_throughput.py``. The server sends no more than a given number
of bytes per second, all connections together; what arrives, divided by that, is the part of
the server's rate that the download uses, from the first file to the last.
"""

import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "archive"))

from local_sdss import LocalSDSS
from simulated_sky import Sky

from photospec.archive.sdss.download import download

SETTINGS = {
    "size": 64,
    "n_connections": 6,
    "requests_per_second": 10000.0,
    "queries_per_minute": 1e6,
    "page_size": 1000,
    "read_timeout": 30.0,
    "progress": False,
}


def measure(sky, rate, n_connections=6):
    """Return bytes, seconds of transfer, and galaxies of one download."""
    for path in sky.makers:
        sky.body(path)  # made before the clock runs
    with LocalSDSS(sky, rate=rate) as server, tempfile.TemporaryDirectory() as folder:
        urls = {"skyserver_url": server.url, "sas_url": server.url + "/sas"}
        settings = SETTINGS | {"n_connections": n_connections} | urls
        clock = _Clock(server)
        clock.start()
        report = download(Path(folder), **settings)
        clock.finish()
        sent = sum(
            len(sky.body(path)) * counts["ok"]
            for path, counts in server.log.items()
            if "/sas" in path
        )
        assert report.n_failed == 0
        return sent, clock.seconds, report.n_done


class _Clock(threading.Thread):
    """Times from the first request for a file to the last one."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self._server = server
        self._end = threading.Event()
        self.seconds = 0.0

    def run(self):
        first = last = None
        known = 0
        while not self._end.wait(0.01):
            total = sum(c.total() for p, c in list(self._server.log.items()) if "/sas" in p)
            if total > known:
                known, last = total, time.monotonic()
                first = first or last
        self.seconds = max(last - first, 1e-3)

    def finish(self):
        self._end.set()
        self.join()


class Throughput:
    """For asv: the part of the server's rate that the download reaches."""

    params = (1e6, 2e6, 4e6)
    param_names = ("bytes_per_second",)
    timeout = 600

    def setup(self, rate):
        self.sky = Sky.simulated(n_fields=6, n_per_field=4, seed=1, shape=(300, 400))

    def track_fraction_of_server_rate(self, rate):
        sent, seconds, _ = measure(self.sky, rate)
        return sent / seconds / rate


def main():
    sky = Sky.simulated(n_fields=6, n_per_field=4, seed=1, shape=(300, 400))
    volume = sum(len(sky.body(path)) for path in sky.makers)
    print(f"{len(sky.galaxies)} galaxies on 6 fields, {volume / 1e6:.1f} MB")
    for rate in (0.5e6, 1e6, 2e6, 4e6, None):
        cpu = time.process_time()
        sent, seconds, n = measure(sky, rate)
        cpu = time.process_time() - cpu
        reached = sent / seconds
        limit = "no limit" if rate is None else f"{rate / 1e6:4.1f} MB/s"
        part = "" if rate is None else f", {100 * reached / rate:.0f} % of it"
        print(
            f"server {limit}: {reached / 1e6:5.2f} MB/s{part}, {n / seconds:.1f} galaxies/s,"
            f" {seconds:.1f} s, CPU {1e6 * cpu / sent:.2f} s per MB (server and pairs included)",
            flush=True,
        )


if __name__ == "__main__":
    main()
