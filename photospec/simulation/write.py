"""Stream simulated pairs to disk, in parallel and in order."""

import shutil
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from photospec.config import to_dict, whole_number
from photospec.errors import InputError
from photospec.pairs import PairsWriter
from photospec.simulation.pairs import BLOCK, simulate_block
from photospec.simulation.survey import Survey
from photospec.spectrum.wavelengths import WAVELENGTH
from photospec.utils.parallel import map_in_processes

__all__ = ["simulate_pairs"]

_GROUP = 4  # blocks per append: writing a hundred columns costs the same for any length


def _work(survey, block, indices):
    """Simulate a block in a worker, which must not raise: return the error instead."""
    try:
        return _pack(simulate_block(survey, block, indices))
    except InputError as error:
        return error


def _pack(batch):
    """Return what goes through the pipe and to disk."""
    return {
        "image": batch.image,
        "flux": batch.flux,
        "ivar": batch.ivar,
        "object": batch.object,
        "truth": batch.truth,
        "truth_flux": batch.truth_flux,
    }


def _join(parts):
    if len(parts) == 1:
        return parts[0]
    return {
        key: {k: np.concatenate([part[key][k] for part in parts]) for k in value}
        if isinstance(value, dict)
        else np.concatenate([part[key] for part in parts])
        for key, value in parts[0].items()
    }


def _cut(packed, first, last):
    return {
        key: {k: v[first:last] for k, v in value.items()}
        if isinstance(value, dict)
        else value[first:last]
        for key, value in packed.items()
    }


def _blocks(survey, indices, blocks, n_processes):
    """Yield packed blocks in order; from this process or from others."""
    n_processes = min(n_processes, len(blocks))
    if n_processes <= 1:
        for block in blocks:
            yield _pack(simulate_block(survey, block, indices))
        return

    def died(_, block, __):
        raise InputError(
            f"n_processes: expected {n_processes} worker processes to live, got one that died in "
            f"block {block}; this happens when memory runs out: use fewer processes, and resume"
        )

    tasks = ((survey, block, indices) for block in blocks)
    for packed in map_in_processes(_work, tasks, n_processes, died):
        if isinstance(packed, InputError):
            raise packed
        yield packed


def _pair_bytes(survey):
    return 4 * (len(survey.bands) * survey.size**2 + 3 * len(WAVELENGTH) + 300)


def simulate_pairs(
    n: int,
    path: str | PathLike,
    survey: Survey | None = None,
    n_processes: int = 2,
    *,
    indices: Sequence = (),
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Simulate n pairs into a pairs file.

    Parameters
    ----------
    n : int
        Number of pairs.
    path : path-like
        Pairs file to write, see `photospec.pairs`.
    survey : Survey, optional
        Default `Survey.sdss_main()`.
    n_processes : int
        Worker processes. The result does not depend on it.
    indices : sequence, optional
        Spectral indices for the truth table, see `Survey.simulate`.
    resume : bool
        Go on with a file that an earlier, interrupted run of the same survey left.
    overwrite : bool
        Replace an existing file.
    progress : callable, optional
        Called as ``progress(n_done, n)`` whenever pairs have reached the disk.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InputError
        If the output exists, cannot be resumed, does not fit on the disk, or a number is
        impossible.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from photospec.pairs import PairsFile
    >>> from photospec.simulation import Survey, simulate_pairs
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = simulate_pairs(2, Path(folder) / "pairs.h5", Survey.sdss_main(1), n_processes=1)
    ...     with PairsFile(path) as pairs:
    ...         len(pairs), pairs.bands
    (2, ('u', 'g', 'r', 'i', 'z'))
    """
    survey = Survey.sdss_main() if survey is None else survey
    path = Path(path)
    for name, value in (("n", n), ("n_processes", n_processes)):
        whole_number(name, value, 1)
    if resume and overwrite:
        raise InputError("resume, overwrite: expected at most one of them; they contradict")
    if not path.parent.is_dir():
        raise InputError(f"path: expected an existing folder, got {str(path.parent)!r}")
    if path.exists() and not (resume or overwrite):
        raise InputError(
            f"path: expected a new file, got {str(path)!r} which exists; "
            "pass resume to go on with it or overwrite to replace it"
        )
    provenance = {"program": "photospec.simulation", "survey": to_dict(survey)}
    if indices:
        provenance["indices"] = [index.name for index in indices]
    with PairsWriter(
        path,
        survey.bands,
        survey.pixel_scale,
        WAVELENGTH,
        provenance,
        resume=resume,
        overwrite=overwrite,
    ) as writer:
        done = writer.n_pairs
        _check_space(path, (n - done) * _pair_bytes(survey))
        blocks = range(done // BLOCK, -(-n // BLOCK))
        waiting = []
        for number, packed in zip(
            blocks, _blocks(survey, indices, blocks, n_processes), strict=True
        ):
            start = number * BLOCK
            waiting.append(_cut(packed, max(done - start, 0), min(n - start, BLOCK)))
            # Groups end at the same pairs whatever the first block: a resumed file is the same.
            if (number + 1) % _GROUP and number != blocks[-1]:
                continue
            _append(writer, _join(waiting))
            waiting, done = [], writer.n_pairs
            if progress is not None:
                progress(done, n)
    return path


def _append(writer, packed):
    try:
        writer.append(**packed)
    except OSError as error:
        raise InputError(
            f"path: expected room for more pairs after {writer.n_pairs}, got "
            f"{error.strerror or error!s:.80}; free disk space and resume, those written are safe"
        ) from error


def _check_space(path, needed):
    free = shutil.disk_usage(path.parent).free
    # Compression saves little on noise; ask for what the numbers take.
    if needed > free:
        raise InputError(
            f"path: expected {needed / 1e9:.2g} GB of free disk space, got {free / 1e9:.2g} GB; "
            "simulate fewer pairs or write to another disk"
        )
