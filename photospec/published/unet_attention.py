"""The transformer of the published U-Net: spectrum pixels that look at image tokens."""

from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention

__all__ = ["SpectrumTransformerBlock"]

HEAD_WIDTH = 32


class _Attention(nn.Module):
    """Multi-head attention of x (n, length, width) on a context, or on itself."""

    def __init__(self, width, context_width):
        super().__init__()
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, x, context):
        heads = (self.to_q(x), self.to_k(context), self.to_v(context))
        query, key, value = (y.unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2) for y in heads)
        mixed = scaled_dot_product_attention(query, key, value)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class _GatedGELU(nn.Module):
    """GEGLU (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, width, hidden):
        super().__init__()
        self.proj = nn.Linear(width, 2 * hidden)

    def forward(self, x):
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * gelu(gate)


class _FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        # the middle place is that of a dropout which the published settings leave at zero
        self.net = nn.Sequential(
            _GatedGELU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        return self.net(x)


class _Block(nn.Module):
    """Self-attention, cross-attention and feed-forward, each normalised and residual."""

    def __init__(self, width, context_width):
        super().__init__()
        self.attn1 = _Attention(width, width)
        self.ff = _FeedForward(width)
        self.attn2 = _Attention(width, context_width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x, context):
        y = self.norm1(x)
        x = x + self.attn1(y, y)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpectrumTransformerBlock(nn.Module):
    """A transformer block on the channels of a convolutional network.

    Parameters
    ----------
    width : int
        Channels, a multiple of 32.
    context_width : int
        Width of the image tokens.
    """

    def __init__(self, width, context_width):
        super().__init__()
        self.norm = nn.GroupNorm(32, width, eps=1e-6)
        self.proj_in = nn.Conv1d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([_Block(width, context_width)])
        self.proj_out = nn.Conv1d(width, width, 1)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x, context):
        """Add to x (n, width, length) what it finds in context (n, n_tokens, context_width)."""
        y = self.proj_in(self.norm(x)).transpose(1, 2).contiguous()
        for block in self.transformer_blocks:
            y = block(y, context)
        return x + self.proj_out(y.transpose(1, 2))
