"""One small simulated batch that several test files look at."""

import pytest

from photospec.simulation import Survey


@pytest.fixture(scope="session")
def batch():
    """Two blocks and a bit of the default survey."""
    return Survey.sdss_main(seed=11).simulate(144)
