"""What all tests share: thread limits and the folder of real data."""

import os
from pathlib import Path

# One numerical thread per process: test processes run side by side, and more
# threads than cores only make them wait for each other. Set before NumPy loads.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared():
    """Folder of observed data (not part of the repository); skips where it is not there."""
    folder = Path(os.environ.get("PHOTOSPEC_SHARED") or REPOSITORY.parent / "shared")
    if not (folder / "real").is_dir():
        pytest.skip(f"no observed data: {folder / 'real'} is not there (PHOTOSPEC_SHARED names it)")
    return folder


@pytest.fixture(scope="session")
def repository():
    """Root of the checkout that the tests come from."""
    return REPOSITORY
