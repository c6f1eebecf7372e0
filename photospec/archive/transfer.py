"""Fetch files over HTTP: few at a time, retried when that fails, complete or not at all.

A file appears under its own name only after `check` has accepted its bytes. What fails the
check goes to a quarantine folder.
"""

import errno
import hashlib
import os
import random
import re
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import requests
import urllib3

from photospec.errors import InputError, PhotospecError
from photospec.utils.files import replacing

__all__ = [
    "Client",
    "Fetched",
    "FileRefused",
    "GiveUp",
    "Missing",
    "Stopped",
    "html_summary",
    "is_unreachable",
    "short_reason",
]

CHUNK = 1 << 16  # bytes read at a time: a progress bar moves, and memory stays small


class GiveUp(PhotospecError):
    """A file did not arrive in the attempts allowed; later may be better."""


class Missing(GiveUp):
    """The server says that there is no such file."""


class FileRefused(PhotospecError):
    """Bytes arrived, but they are not the file that was asked for."""


class Stopped(PhotospecError):
    """The download was interrupted."""


class _Unconfirmed(Exception):
    """A file without a checksum arrived for the first time."""


@dataclass(frozen=True)
class Fetched:
    """A file that arrived and was accepted; `content` is what its check made of it."""

    url: str
    path: Path
    size: int
    sha256: str
    date: str
    n_attempts: int
    content: object


class Limiter:
    """Spaces the requests of all threads, and holds them all back when a server asks to."""

    def __init__(self, per_second):
        self._interval = 1.0 / per_second
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self, sleep):
        with self._lock:
            now = time.monotonic()
            start = max(self._next, now)
            self._next = start + self._interval
        if start > now:
            sleep(start - now)

    def hold(self, seconds):
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class Client:
    """Fetches files for many threads under one limit.

    Parameters
    ----------
    config : DownloadConfig
        Limits, time-outs and numbers of attempts.
    quarantine : Path or None
        Folder for bytes that failed their check; None drops them.
    """

    def __init__(self, config, quarantine=None):
        self.config = config
        self.stop = threading.Event()
        self.n_bytes = 0
        self.n_requests = 0
        self._quarantine = quarantine
        self._limiter = Limiter(config.requests_per_second)
        self._local = threading.local()
        self._count = threading.Lock()
        self._rng = random.Random(os.getpid())  # noqa: S311 - spreads retries, no secret

    def fetch(self, url, path, check):
        """Fetch one file and return it as `Fetched`.

        Parameters
        ----------
        url : str
            Address.
        path : Path
            Where the file goes; folders are made.
        check : callable
            ``check(path) -> (content, proven)``; raises `FileRefused` when the file is not
            right; `proven` says that a checksum inside vouches for its bytes.

        Returns
        -------
        Fetched
            The file and the content that `check` returned.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_remains(path)
        seen, reason, n_failed, n_attempts = set(), "", 0, 0
        while n_failed < self.config.n_attempts:
            n_attempts += 1
            try:
                with replacing(path) as partial:
                    size, sha256, content, proven = self._attempt(url, partial, path.name, check)
                    # No checksum to verify against: accept a file once two downloads have
                    # the same SHA-256.
                    if not proven and self.config.confirm and sha256 not in seen:
                        raise _Unconfirmed
                date = datetime.now(UTC).isoformat(timespec="seconds")
                return Fetched(url, path, size, sha256, date, n_attempts, content)
            except Missing:
                raise
            except _Unconfirmed:
                seen.add(sha256)
                if len(seen) == 1:
                    continue
                reason = "two transfers of the same file differ"
            except FileRefused as error:
                reason = str(error)
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                if is_unreachable(error):
                    self._wait_for_network(url)
                    continue
                reason = short_reason(error)
            except OSError as error:
                raise _no_space(error, path) from None
            n_failed += 1
            self.sleep(self._pause(n_failed))
        raise GiveUp(f"{url}: {reason} ({n_attempts} attempts)")

    def sleep(self, seconds):
        """Wait, but wake up at once and raise `Stopped` when the download is interrupted."""
        if self.stop.wait(seconds):
            raise Stopped("interrupted")

    def reach(self, url):
        """Raise `InputError` at once when the host of `url` cannot be reached."""
        try:
            self._session().head(url, timeout=self.config.connect_timeout)
        except requests.RequestException as error:
            if is_unreachable(error):
                raise InputError(
                    f"network: expected to reach {_host(url)}, got {short_reason(error)};"
                    " no network, a wrong address, or the server is down"
                ) from None

    def _transfer(self, url, partial):
        """Write the body of one response to `partial`; returns its size and SHA-256."""
        self._limiter.wait(self.sleep)
        config, started = self.config, time.monotonic()
        timeout = (config.connect_timeout, config.read_timeout)
        with self._session().get(url, timeout=timeout, stream=True) as response:
            with self._count:
                self.n_requests += 1
            self._refuse_status(response, url)
            expected = response.headers.get("Content-Length")
            digest, size = hashlib.sha256(), 0
            with open(partial, "wb") as file:
                for chunk in response.iter_content(CHUNK):
                    if self.stop.is_set():
                        raise Stopped("interrupted")
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    slow = time.monotonic() - started - config.read_timeout
                    if slow > 0 and size < slow * config.min_rate:
                        raise requests.Timeout(f"slower than {config.min_rate:g} bytes/s")
        with self._count:
            self.n_bytes += size
        if expected is not None and int(expected) != size:
            raise FileRefused(f"{size} bytes arrived, {expected} were announced")
        return size, digest.hexdigest()

    def _refuse_status(self, response, url):
        status = response.status_code
        if status in (404, 410):
            raise Missing(f"{url}: not on the server (HTTP {status})")
        if status >= 400:
            pause = response.headers.get("Retry-After", "")
            if pause.isdigit():
                self._limiter.hold(min(float(pause), self.config.max_backoff))
            raise requests.HTTPError(f"HTTP {status}")

    def _pause(self, n_failed):
        """Return the seconds of an exponential back-off with jitter: threads do not return all at
        once.
        """
        pause = min(self.config.backoff * 2.0 ** (n_failed - 1), self.config.max_backoff)
        return pause * self._rng.uniform(0.5, 1.0)

    def _wait_for_network(self, url):
        """Hold this thread while nothing answers; an outage costs a file none of its attempts."""
        deadline, pause = time.monotonic() + self.config.max_outage, self.config.backoff
        while True:
            self.sleep(pause)
            try:
                self._session().head(url, timeout=self.config.connect_timeout)
                return
            except requests.RequestException as error:
                if not is_unreachable(error):
                    return
            if time.monotonic() > deadline:
                raise InputError(
                    f"network: {_host(url)} could not be reached for"
                    f" {self.config.max_outage:g} s; run the same command again to go on"
                )
            pause = min(2 * pause + 0.1, self.config.max_backoff)

    def _attempt(self, url, partial, name, check):
        """Transfer and check; what fails goes to quarantine, where the last copy is kept."""
        try:
            return *self._transfer(url, partial), *check(partial)
        except FileRefused:
            if self._quarantine is not None and partial.exists():
                self._quarantine.mkdir(parents=True, exist_ok=True)
                os.replace(partial, self._quarantine / name)
            raise

    def _session(self):
        if not hasattr(self._local, "session"):
            session = requests.Session()
            # Sizes are compared with what the server announced, so no encoding on the way.
            session.headers["Accept-Encoding"] = "identity"
            session.headers["User-Agent"] = f"photospec {requests.utils.default_user_agent()}"
            self._local.session = session
        return self._local.session


def html_summary(text):
    """Return the title or first words of an HTML page (str), '' when `text` is none.

    Parameters
    ----------
    text : str
        Beginning of a document.

    Returns
    -------
    str
        At most 80 characters.
    """
    if not text.lstrip("\ufeff \r\n\t").startswith("<"):
        return ""
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    words = title.group(1) if title and title.group(1).strip() else re.sub(r"<[^>]*>", " ", text)
    return " ".join(words.split())[:80] or "no text"


def is_unreachable(error):
    """Tell whether a failure says that no connection could be made at all."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(
        reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
    )


def short_reason(error):
    """Return one line about a network failure, without the objects that requests puts in."""
    inner = error.args[0] if error.args else error
    inner = getattr(inner, "reason", inner) or inner
    text = " ".join(str(inner).split())
    text = re.sub(r"<[^>]*object at [^>]*>:?\s*|HTTPS?Connection\([^)]*\):\s*", "", text)
    return text[:120] or type(error).__name__


def _remove_remains(path):
    """Remove what a killed download left of this file."""
    for remains in path.parent.glob(f".partial-*-{path.name}"):
        remains.unlink(missing_ok=True)


def _host(url):
    return "/".join(url.split("/")[:3])


def _no_space(error, path):
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(
            f"folder: no space left for {path.name}; free some on that disk and run the same"
            " command again to go on"
        )
    return InputError(f"folder: cannot write {path.name}: {error.strerror or error}")
