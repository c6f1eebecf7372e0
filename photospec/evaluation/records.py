"""What is kept of each pair: a few numbers, measured chunk by chunk.

Candidates of 100,000 images would fill the memory of any machine. A chunk of pairs is drawn,
measured, reduced to columns with one row per pair, and written; the spectra are forgotten. Each
chunk is a file that is there in full or not at all, so a run that was stopped goes on with the
first one that is missing, and a second run computes nothing.
"""

import numpy as np

from photospec.utils.progress import progress_bar

__all__ = ["CHUNK", "collect", "scattered"]

#: Pairs that are in memory at once.
CHUNK = 32


def collect(measure, n, store, *, chunk=CHUNK, progress=False, description=""):
    """Measure rows 0 to n - 1, or read what was measured before.

    Parameters
    ----------
    measure : callable
        Rows (ndarray of int) -> dict of ndarray (n_rows, ...). A column that only some chunks
        have holds the rows of those.
    n : int
    store : photospec.evaluation.draws.ResultStore
        Keeps the chunks, if it has a folder.
    chunk : int
    progress : bool
    description : str
        Beside the progress bar.

    Returns
    -------
    dict of str to ndarray (n, ...)

    Examples
    --------
    >>> from photospec.evaluation.draws import ResultStore
    >>> from photospec.evaluation.records import collect
    >>> collect(lambda rows: {"square": rows**2}, 5, ResultStore(), chunk=2)["square"]
    array([ 0,  1,  4,  9, 16])
    """
    parts = []
    with progress_bar(n, description, show=progress) as bar:
        for start in range(0, n, chunk):
            rows = np.arange(start, min(start + chunk, n))
            parts.append(store.get(f"{start:06d}-{len(rows)}", lambda rows=rows: measure(rows)))
            bar.update(len(rows))
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: np.concatenate([part[name] for part in parts if name in part]) for name in names}


def scattered(columns, rows, n):
    """Return columns of n rows, NaN but for some.

    Parameters
    ----------
    columns : dict of ndarray (n_some, ...)
    rows : ndarray of int (n_some,)
    n : int

    Returns
    -------
    dict of ndarray (n, ...)
    """
    if len(rows) == n:
        return columns
    full = {}
    for name, values in columns.items():
        full[name] = np.full((n, *values.shape[1:]), np.nan, np.result_type(values, np.float32))
        full[name][rows] = values
    return full
