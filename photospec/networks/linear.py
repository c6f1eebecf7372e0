"""Linear layers that can multiply in 8-bit integers.

Processors with instructions for it (AVX512-VNNI) multiply matrices of 8-bit integers at four times
the rate of single precision. Here every row, of what comes in and of the weights, has a scale of
its own, so that a row's answer does not depend on the rows beside it; and sums of integers are
exact in whatever order.
"""

import torch
from torch import nn

__all__ = ["Linear", "use_integers"]

_LARGEST = 127


def _to_integers(rows):
    """Round rows ``(n, m)`` to 127ths of their largest; return these numbers and scales (n, 1)."""
    largest = rows.abs().amax(1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
    return (rows * (_LARGEST / largest)).round_().to(torch.int8), largest / _LARGEST


class Linear(nn.Linear):
    """A linear layer in single precision, or with products of 8-bit integers; see `use_integers`.

    Gradients are always those of single precision. Parameters are those of `torch.nn.Linear`.
    """

    _integers = None  # weights (in_features, out_features) and their scales (out_features,)

    def use_integers(self, on):
        """Round the weights as they are now, or go back to single precision."""
        self._integers = None
        if on:
            weight, scale = _to_integers(self.weight.detach())
            self._integers = weight.T.contiguous(), scale[:, 0]

    def forward(self, x):
        """Return ``x`` (..., in_features) times the weights, plus the bias."""
        if self._integers is None or torch.is_grad_enabled():
            return super().forward(x)
        weight, scale = self._integers
        rows, row_scale = _to_integers(x.reshape(-1, x.shape[-1]))
        product = torch._int_mm(rows, weight).to(x.dtype).mul_(row_scale)
        if self.bias is None:
            product.mul_(scale)
        else:
            torch.addcmul(self.bias, product, scale, out=product)
        return product.view(*x.shape[:-1], -1)


def use_integers(network, on):
    """Let all `Linear` of a network multiply in 8-bit integers, or none of them.

    Parameters
    ----------
    network : torch.nn.Module
    on : bool
    """
    for layer in network.modules():
        if isinstance(layer, Linear):
            layer.use_integers(on)
