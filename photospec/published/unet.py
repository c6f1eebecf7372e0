"""The one-dimensional U-Net of the published method (arXiv:2406.18175), all its variants.

Module names are those of the published checkpoints, so that these load as they are.
"""

import math

import torch
from torch import nn
from torch.nn.functional import gelu, pad, scaled_dot_product_attention

from photospec.published.resnet import resnet18

__all__ = ["CONDITIONINGS", "SpectrumTransformerBlock", "UNet", "published_frequencies"]

HEAD_WIDTH = 32  # of an attention head, whatever the level, as published


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


CONDITIONINGS = ("cross-attention", "concatenation", "none")
CONCATENATION_LENGTH = 3598  # samples of the spectra of the method's first version


def published_frequencies(n):
    """Return the angular frequencies 2^k pi as published: 64-bit integers overflow at k = 63."""
    powers = [2.0**k if k < 63 else -(2.0**63) if k == 63 else 0.0 for k in range(n)]
    return torch.tensor([power * math.pi for power in powers])


class _TimeFeatures(nn.Module):
    """Sines, then cosines, of a time in [-1, 1]; the frequencies come with the weights."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("freqs", published_frequencies(width // 2))

    def forward(self, time):
        phase = self.freqs * time[:, None]
        return torch.cat([phase.sin(), phase.cos()], dim=1)


def _convolution(n_in, n_out):
    return nn.Sequential(nn.Conv1d(n_in, n_out, 3, padding=1), nn.GroupNorm(8, n_out), nn.ReLU())


class _ResidualBlock(nn.Module):
    """Two convolutions, the time added between them, and a shortcut."""

    def __init__(self, n_in, n_mid, n_out, time_width):
        super().__init__()
        self.block1 = _convolution(n_in, n_mid)
        self.block2 = _convolution(n_mid, n_out)
        self.time_mlp = nn.Sequential(nn.ReLU(), nn.Linear(time_width, n_mid))
        self.res_conv = nn.Identity() if n_in == n_out else nn.Conv1d(n_in, n_out, 1)

    def forward(self, x, time):
        y = self.block1(x) + self.time_mlp(time)[:, :, None]
        return self.block2(y) + self.res_conv(x)


class _DownBlock(_ResidualBlock):
    def __init__(self, n_in, n_out, time_width):
        super().__init__(n_in, n_out, n_out, time_width)
        self.down = nn.Conv1d(n_out, n_out, 3, stride=2)


class _UpBlock(_ResidualBlock):
    def __init__(self, width, n_out, time_width):
        super().__init__(2 * width, width, n_out, time_width)
        self.upsample = nn.ConvTranspose1d(width, width, 4, stride=2, padding=1)

    def forward(self, x, skip, time):
        x = self.upsample(x)
        missing = skip.shape[-1] - x.shape[-1]
        x = pad(x, (missing // 2, missing - missing // 2))
        return super().forward(torch.cat([x, skip], dim=1), time)


class _Tokens(nn.Module):
    """A ResNet-18 under the name that the published checkpoints give it."""

    def __init__(self, n_bands, width):
        super().__init__()
        self.model = resnet18(n_bands=n_bands, width=width)

    def forward(self, image):
        return self.model.tokens(image)


class UNet(nn.Module):
    """Predicts the noise in spectra from their image and the time.

    Parameters
    ----------
    n_channels : int
        Channels of the spectrum: 1, or 2 with a low-resolution spectrum as condition.
    conditioning : {"cross-attention", "concatenation", "none"}
        How the image enters: tokens looked at by transformers, one more channel, not at all.
    widths : tuple of int
        Channels of the down blocks; the bottom has those of the last.
    attention_depths : tuple of int
        Down blocks that end in a transformer, and their counterparts on the way up.
    time_width : int
    n_times : int
        Number of discrete times; time t in 0 ... n_times - 1 enters as 2 t / n_times - 1.
    n_bands, image_width : int
        Bands of the image; channels of the first group of its ResNet-18.
    length : int
        Samples of the spectra, which "concatenation" fixes.
    """

    def __init__(
        self,
        n_channels=1,
        conditioning="cross-attention",
        *,
        widths=(64, 128, 256, 512),
        attention_depths=(3,),
        time_width=256,
        n_times=250,
        n_bands=5,
        image_width=64,
        length=CONCATENATION_LENGTH,
    ):
        super().__init__()
        if conditioning not in CONDITIONINGS:
            names = ", ".join(CONDITIONINGS)
            raise ValueError(f"conditioning: expected one of {names}, got {conditioning!r}")
        self.conditioning, self.n_times, self.n_channels = conditioning, n_times, n_channels
        self.encoder = _TimeFeatures(time_width)
        self.first_layer_t = nn.Sequential(
            nn.Linear(time_width, 4 * time_width), nn.ReLU(), nn.Linear(4 * time_width, time_width)
        )
        context_width = 8 * image_width
        if conditioning == "cross-attention":
            self.condition_encoder = _Tokens(n_bands, image_width)
        elif conditioning == "concatenation":
            self.condition_encoder = resnet18(n_bands=n_bands, width=image_width)
            self.first_layer_image_enc = nn.Linear(context_width, length)
            n_channels += 1
        attends = conditioning == "cross-attention"

        def transformer(width, depth):
            if not (attends and depth in attention_depths):
                return []
            return [SpectrumTransformerBlock(width, context_width)]

        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        n_in = n_channels
        for depth, width in enumerate(widths):
            block = _DownBlock(n_in, width, time_width)
            self.down_blocks.append(nn.ModuleList([block, *transformer(width, depth)]))
            n_in = width
        if attends:
            blocks = [_ResidualBlock(n_in, n_in, n_in, time_width) for _ in range(2)]
            middle = SpectrumTransformerBlock(n_in, context_width)
            self.bottom_block = nn.ModuleList([blocks[0], middle, blocks[1]])
        else:
            self.bottom_block = _ResidualBlock(n_in, 2 * n_in, n_in, time_width)
        for depth in reversed(range(len(widths))):
            n_out = widths[max(depth - 1, 0)]
            block = _UpBlock(widths[depth], n_out, time_width)
            self.up_blocks.append(nn.ModuleList([block, *transformer(n_out, depth)]))
        self.conv_cls = nn.Conv1d(widths[0], 1, 1)

    def encode(self, image):
        """Return what the network wants to know of images (n, n_bands, ny, nx); once per galaxy.

        Tokens (n, n_tokens, 8 image_width), a channel (n, 1, length), or None.
        """
        if self.conditioning == "none":
            return None
        code = self.condition_encoder(image)
        if self.conditioning == "concatenation":
            return self.first_layer_image_enc(code[:, None])
        return code

    def forward(self, x, t, context=None):
        """Predict the noise.

        Parameters
        ----------
        x : Tensor (n, n_channels, length)
        t : Tensor (n,)
            Discrete times, 0 ... n_times - 1.
        context
            From `encode`, for n images.

        Returns
        -------
        Tensor (n, 1, length)
        """
        if self.conditioning == "concatenation":
            x = torch.cat([x, context], dim=1)
        time = self.first_layer_t(self.encoder(2.0 * t / self.n_times - 1.0))
        skips = []
        for block, *transformers in self.down_blocks:
            skips.append(block(x, time))
            x = block.down(skips[-1])
            for transformer in transformers:
                x = transformer(x, context)
        if self.conditioning == "cross-attention":
            first, transformer, last = self.bottom_block
            x = last(transformer(first(x, time), context), time)
        else:
            x = self.bottom_block(x, time)
        for block, *transformers in self.up_blocks:
            x = block(x, skips.pop(), time)
            for transformer in transformers:
                x = transformer(x, context)
        return self.conv_cls(x)
