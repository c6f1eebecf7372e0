"""Tests of the archive run against a server of their own on loopback."""

import os
import sys
from pathlib import Path

import pytest

# A proxy cannot reach the server of a test.
os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1"]))

# The local server is a module of the tests, used by the benchmark too.
sys.path.insert(0, str(Path(__file__).parent))

from local_sdss import LocalSDSS
from simulated_sky import Sky


@pytest.fixture(scope="session")
def small_sky():
    """A simulated sky: 4 fields with 3 galaxies each."""
    return Sky.simulated(n_fields=4, n_per_field=3, seed=1)


@pytest.fixture
def quick():
    """Settings of a download that does not wait long for anything."""
    return {
        "size": 32,
        "n_connections": 4,
        "requests_per_second": 1000.0,
        "queries_per_minute": 60000.0,
        "page_size": 5,
        "connect_timeout": 10.0,
        "read_timeout": 10.0,  # a busy machine is no fault of the server
        "query_timeout": 10.0,
        "n_attempts": 8,
        "backoff": 0.01,
        "max_backoff": 0.1,
        "pass_pause": 0.05,
        "progress": False,
    }


@pytest.fixture
def serve(quick):
    """Start servers; returns the server and settings that point to it."""
    servers = []

    def start(sky, **options):
        server = LocalSDSS(sky, **options).__enter__()
        servers.append(server)
        return server, quick | {"skyserver_url": server.url, "sas_url": server.url + "/sas"}

    yield start
    for server in servers:
        server.__exit__(None, None, None)
