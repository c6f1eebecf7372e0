"""How much freed memory a process keeps for itself."""

import ctypes

__all__ = ["keep_freed_memory"]

# Of malloc.h of the GNU C library.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory(n_bytes=32 * 1024**2):
    """Keep what is freed, up to so much, for what is asked for next.

    Processes that were started with ``MALLOC_TRIM_THRESHOLD_`` in the environment, as Dask's
    workers are (64 kB), give each array back to the system and get it anew, page by page: that
    costs half as much time as the networks themselves. Does nothing with other C libraries than
    GNU's, which do not read that variable.

    Parameters
    ----------
    n_bytes : int
        The library takes at most 32 MB for single arrays.

    Returns
    -------
    bool
        Whether it took effect.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, n_bytes) and mallopt(_M_MMAP_THRESHOLD, n_bytes))
