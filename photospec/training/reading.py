"""Batches of coming steps, read ahead by other processes where that is asked for."""

import signal

from torch.utils.data import DataLoader, Dataset

from photospec.training.data import Batch, PairsStream
from photospec.training.distributed import own_rows

__all__ = ["batches"]


def batches(stream, steps):
    """Yield ``(step, Batch)``, the rows that are this process' share.

    Parameters
    ----------
    stream : PairsStream
    steps : range
    """
    workers = stream.config.run.workers
    if not workers:
        for step in steps:
            yield step, _own(stream.batch(step))
        return
    yield from DataLoader(
        _Steps(stream),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_outlive_sigterm,
    )


class _Steps(Dataset):
    """Batch by step; every process that reads opens the files itself."""

    def __init__(self, stream):
        self._paths = [file.path for file in stream.files]
        self._config, self._chosen = stream.config, stream.chosen
        self._stream = None

    def __getitem__(self, step):
        if self._stream is None:
            self._stream = PairsStream(self._paths, self._config, chosen=self._chosen)
        return step, _own(self._stream.batch(step))


def _outlive_sigterm(number):
    """A cluster sends it to all; the training process finishes its step and then ends these."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _as_it_is(item):
    return item


def _own(batch):
    rows = own_rows(len(batch.flux))
    return Batch(*(None if part is None else part[rows] for part in batch))
