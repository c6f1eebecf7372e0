"""Transformer blocks shared by all default networks.

Attention is plain matrix products while gradients are wanted: for sequences of under a hundred
tokens on a CPU the fused kernels are slower backward. Forward they save the copies of the heads.
"""

import math

import torch
from torch import nn

from photospec.networks.linear import Linear

__all__ = ["Attention", "Block", "FeedForward", "fourier_features", "split_patches"]


def fourier_features(x, n_features):
    """Return sines and cosines of ``2 pi f x``, f from 1/4 to 16: ``(n,) -> (n, n_features)``.

    The frequencies are spaced geometrically. Noise levels, log(sigma) / 4 from 0.002 to 160, span
    2.8: less than a period of the lowest frequency, so that no two levels look alike.
    """
    half = n_features // 2
    exponent = torch.linspace(0.0, 1.0, half, device=x.device, dtype=torch.float32)
    frequency = 0.25 * 64.0**exponent
    phase = 2.0 * math.pi * x.float()[:, None] * frequency
    return torch.cat([phase.sin(), phase.cos()], dim=-1)


def split_patches(x, patch_size, halo):
    """Cut ``(n, length)`` into overlapping patches ``(n, n_patches, patch_size + 2 halo)``.

    The length must be a multiple of ``patch_size``; ends are padded by repetition, so
    that a line on the border of two patches is seen whole by both.
    """
    padded = nn.functional.pad(x[:, None], (halo, halo), mode="replicate")[:, 0]
    return padded.unfold(-1, patch_size + 2 * halo, patch_size)


class Attention(nn.Module):
    """Multi-head attention of ``x`` on itself or on ``context`` given as keys and values."""

    def __init__(self, width, n_heads, *, cross=False):
        super().__init__()
        self.n_heads = n_heads
        self.cross = cross
        self.query = Linear(width, width if cross else 3 * width)
        self.out = Linear(width, width)
        if cross:
            self.key_value = nn.Linear(width, 2 * width)

    def _heads(self, x):
        n, length, width = x.shape
        return x.view(n, length, self.n_heads, width // self.n_heads).transpose(1, 2)

    def project(self, context):
        """Project context ``(n_context, n_tokens, width)`` to keys and values: once per galaxy."""
        key, value = self.key_value(context).chunk(2, dim=-1)
        return self._heads(key), self._heads(value)

    def forward(self, x, key_value=None):
        """Return ``x`` (n, length, width); a cross-attention gets ``key_value`` from `project`.

        Keys and values may have fewer rows than ``x``, which then come galaxy by galaxy:
        candidates of one galaxy share a row.
        """
        if self.cross:
            query = self._heads(self.query(x))
            key, value = key_value
        else:
            query, key, value = (self._heads(y) for y in self.query(x).chunk(3, dim=-1))
        n, length, width = x.shape
        n_context = key.shape[0]
        if n_context != n:
            # Candidates of one galaxy share its keys: fold them into the query length.
            heads, size = query.shape[1], query.shape[-1]
            query = query.view(n_context, n // n_context, heads, length, size)
            query = query.transpose(1, 2).reshape(n_context, heads, -1, size)
        if torch.is_grad_enabled():
            weight = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
            mixed = weight.softmax(dim=-1).to(value.dtype) @ value
        else:
            mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        if n_context != n:
            mixed = mixed.view(n_context, heads, n // n_context, length, size)
            mixed = mixed.transpose(1, 2).reshape(n, heads, length, size)
        return self.out(mixed.transpose(1, 2).reshape(n, length, width))


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between.

    The weights that come with the package were trained with its approximation by a hyperbolic
    tangent, which is within 5e-4 of it, a quarter of what bfloat16 rounds off at unity, and takes
    five times as long on a processor.
    """

    def __init__(self, width, ratio=4):
        hidden = int(width * ratio)
        super().__init__(Linear(width, hidden), nn.GELU(), Linear(hidden, width))


class Block(nn.Module):
    """Pre-norm transformer block; optional cross-attention and adaptive layer norm.

    With ``modulated`` the noise level shifts and scales every normalised input and gates
    every residual (adaLN-zero, Peebles & Xie 2023, arXiv:2212.09748). One linear map of
    the network makes the modulation for all blocks and each block adds its own table to
    it (adaLN-single, Chen et al. 2023, arXiv:2310.00426): half the parameters.
    """

    def __init__(self, width, n_heads, *, cross=False, modulated=False, ratio=4):
        super().__init__()
        self.n_branches = 3 if cross else 2
        self.norms = nn.ModuleList(
            nn.LayerNorm(width, elementwise_affine=not modulated) for _ in range(self.n_branches)
        )
        self.attention = Attention(width, n_heads)
        self.cross_attention = Attention(width, n_heads, cross=True) if cross else None
        self.feed_forward = FeedForward(width, ratio)
        self.table = nn.Parameter(torch.zeros(3 * self.n_branches, width)) if modulated else None

    def forward(self, x, *, modulation=None, key_value=None):
        """Return ``x`` (n, length, width); ``modulation`` (n or 1, 3 * n_branches, width)."""
        branches = [self.attention]
        if self.cross_attention is not None:
            branches.append(lambda y: self.cross_attention(y, key_value))
        branches.append(self.feed_forward)
        if self.table is None:
            for norm, branch in zip(self.norms, branches, strict=True):
                x = x + branch(norm(x))
            return x
        parts = (modulation + self.table)[:, :, None].unbind(dim=1)
        for i, (norm, branch) in enumerate(zip(self.norms, branches, strict=True)):
            shift, scale, gate = parts[3 * i : 3 * i + 3]
            x = torch.addcmul(x, gate, branch(_modulated(norm, x, shift, scale)).to(x))
        return x


def _modulated(norm, x, shift, scale):
    """Normalise ``x``, scale and shift it: in one pass where all rows share the noise level."""
    if len(scale) > 1:
        return torch.addcmul(shift, norm(x), 1.0 + scale)
    shape = norm.normalized_shape
    return nn.functional.layer_norm(x, shape, 1.0 + scale.view(-1), shift.view(-1), norm.eps)
