"""An SDSS on loopback: SkyServer's queries and the file server, with faults on demand."""

import io
import json
import re
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np

PAGE = b"<!DOCTYPE html><html><head><title>Service Temporarily Unavailable</title></head></html>"


@dataclass(frozen=True)
class Faults:
    """Fractions of requests that go wrong, and how long a stall lasts."""

    busy: float = 0.0  # 503
    stall: float = 0.0  # half the body, then silence
    cut: float = 0.0  # half the body, then the end of the connection
    damage: float = 0.0  # truncated, changed, another file, or HTML, with status 200
    stall_seconds: float = 1.5

    def draw(self, rng):
        kinds = ["busy", "stall", "cut", "damage"]
        rates = [getattr(self, kind) for kind in kinds]
        kind = rng.choice([*kinds, "ok"], p=[*rates, 1 - sum(rates)])
        if kind == "damage":
            kind = rng.choice(["truncated", "changed", "html", "another"])
        return str(kind)


class LocalSDSS:
    """Serves a sky; a context manager.

    `log` counts what happened to each path; `fault_of` may force a fault: path -> kind.
    """

    def __init__(self, sky, faults=None, seed=0, rate=None, fault_of=None, latency=0.0, port=0):
        self.sky = sky
        self.faults = faults or Faults()
        self.fault_of = fault_of or (lambda path: None)
        self.rate = rate
        self.latency = latency
        self.port = port
        self.retry_after = None
        self.log = defaultdict(Counter)
        self.queries = []
        self._rng = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._busy_until = 0.0
        self._db = sky.database()

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"sdss": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._db.close()

    def fate(self, path):
        with self._lock:
            kind = self.fault_of(path) or self.faults.draw(self._rng)
            self.log[path][kind] += 1
            return kind

    def number(self, n):
        with self._lock:
            return int(self._rng.integers(n))

    def throttle(self, n_bytes):
        """Wait until a server of `rate` bytes per second would have sent so many."""
        if self.rate is None:
            return
        with self._lock:
            now = time.monotonic()
            self._busy_until = max(self._busy_until, now) + n_bytes / self.rate
            pause = self._busy_until - now
        time.sleep(pause)

    def n_whole(self, path):
        """How often a file was sent whole and right."""
        return self.log[path]["ok"]

    def query(self, sql):
        """Answer a query as CSV, in the way of SkyServer."""
        with self._lock:
            self.queries.append(sql)
            cursor = self._db.execute(to_sqlite(sql))
            rows = cursor.fetchall()
        out = io.StringIO()
        out.write("#Table1\n" + ",".join(c[0] for c in cursor.description) + "\n")
        for row in rows:
            out.write(",".join("null" if v is None else str(v) for v in row) + "\n")
        return out.getvalue()


def to_sqlite(sql):
    """The few things in which SkyServer's dialect differs."""
    limit = re.match(r"\s*SELECT TOP (\d+) ", sql)
    if limit:
        sql = sql.replace(f"TOP {limit[1]} ", "", 1) + f" LIMIT {limit[1]}"
    near = re.search(r"dbo\.fGetNearbyObjEq\(([^,]+),([^,]+),([^)]+)\)", sql)
    if near:
        ra, dec, radius = (float(v) for v in near.groups())
        angle = f"angle(ra, dec, {ra}, {dec})"
        where = f"FROM PhotoObj WHERE {angle} < {radius}"
        sql = sql.replace(near[0], f"(SELECT objID, {angle} AS distance {where})")
    return sql


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a client that went away is what the tests are about


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sdss = None

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        address = urlsplit(self.path)
        time.sleep(self.sdss.latency)
        is_query = address.path.endswith("x_results.aspx")
        key = "query" if is_query else address.path
        kind = self.sdss.fate(key)
        if kind == "busy":
            return self._send(503, PAGE, "text/html", retry_after=self.sdss.retry_after)
        if is_query:
            sql = parse_qs(address.query)["cmd"][0]
            try:
                body = self.sdss.query(sql).encode()
            except Exception as error:
                message = json.dumps([{"error_message": f"SQL: {error}"}])
                return self._send(200, message.encode(), "application/json")
            body = PAGE if kind in ("html", "changed", "another") else body
            return self._deliver(kind, body, "text/plain")
        if address.path not in self.sdss.sky.makers:
            return self._send(404, PAGE, "text/html")
        body = self.sdss.sky.body(address.path)
        if kind == "html":
            body = PAGE
        elif kind == "changed":
            body = bytearray(body)
            body[self.sdss.number(len(body))] ^= 1 << self.sdss.number(8)
            body = bytes(body)
        elif kind == "another":
            paths = sorted(self.sdss.sky.makers)
            body = self.sdss.sky.body(paths[self.sdss.number(len(paths))])
        return self._deliver(kind, body, "application/fits")

    def _deliver(self, kind, body, content_type):
        if kind == "truncated":
            body = body[: len(body) // 2 + 7]
        if kind in ("stall", "cut"):
            self._head(200, len(body), content_type)
            with suppress(OSError):
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                if kind == "stall":
                    time.sleep(self.sdss.faults.stall_seconds)
            self.close_connection = True
            return None
        return self._send(200, body, content_type)

    def _head(self, status, length, content_type, retry_after=None):
        self.send_response(status)
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, status, body, content_type, retry_after=None):
        with suppress(OSError):
            self._head(status, len(body), content_type, retry_after)
            for i in range(0, len(body), 1 << 16):
                chunk = body[i : i + (1 << 16)]
                self.sdss.throttle(len(chunk))
                self.wfile.write(chunk)
