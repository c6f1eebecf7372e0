"""Freed memory that a process keeps, in one that starts as Dask's workers do."""

import os
import subprocess
import sys

import pytest

_COUNT = """
import resource
import numpy as np
from photospec.utils.memory import keep_freed_memory

def new_pages():
    np.ones(500_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(500_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(new_pages(), keep_freed_memory(), new_pages())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts pages as Linux does")
def test_freed_memory_is_used_again():
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536", "NUMPY_MADVISE_HUGEPAGE": "0"}
    command = [sys.executable, "-c", _COUNT]
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    before, kept, after = found.stdout.split()
    if kept == "False":
        pytest.skip("another C library than GNU's")
    assert int(before) > 10_000  # 977 pages, 20 times
    assert int(after) < 1_000
