"""Rows through a network in batches of one fixed shape, so that a row's bits are its own.

Libraries choose how to add up a matrix product by its shape: a row of a product of 8 rows and
the same row among 128 differ in the last digits, and in bfloat16 by up to a per cent of a
spectrum. Where every product has the same shape, whatever number of images comes, the same row
gives the same bits. The last batch is filled up, and what fills it is thrown away.
"""

import torch

__all__ = ["fill", "in_batches"]


def fill(rows, size):
    """Repeat the last of ``(n, ...)`` rows until there are `size`; n is not above it."""
    missing = size - len(rows)
    if not missing:
        return rows.contiguous()
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])


def in_batches(function, size, *rows):
    """Apply a function to exactly `size` rows at a time.

    Parameters
    ----------
    function : callable
        Takes tensors ``(size, ...)`` and returns one such tensor, or None.
    size : int
    *rows : tensor (n, ...)
        All of the same n, at least one.

    Returns
    -------
    tensor (n, ...) or None
        None if the function returns it.
    """
    found = []
    for start in range(0, len(rows[0]), size):
        part = [tensor[start : start + size] for tensor in rows]
        answer = function(*(fill(tensor, size) for tensor in part))
        if answer is None:
            return None
        found.append(answer[: len(part[0])])
    return torch.cat(found)
