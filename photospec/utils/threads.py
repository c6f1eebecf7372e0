"""One thread for the linear algebra of small matrices."""

from functools import lru_cache

from threadpoolctl import ThreadpoolController

__all__ = ["one_thread"]


@lru_cache(maxsize=1)
def _controller():
    return ThreadpoolController()  # looks through all loaded libraries: slow, so once


def one_thread():
    """Context in which BLAS runs on one thread: with more, small products wait for each other."""
    return _controller().limit(limits=1, user_api="blas")
