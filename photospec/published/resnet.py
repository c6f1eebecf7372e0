"""Residual networks for images (He et al. 2016, arXiv:1512.03385), with any number of bands.

The standard ones: 7x7 stem of stride 2, 3x3 max-pool of stride 2, four groups of blocks;
in bottlenecks the stride sits in the 3x3 convolution. Parameter names are the usual ones.
"""

import torch
from torch import nn

__all__ = ["ResNet", "resnet18", "resnet50"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, n_in, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(n_in, width, stride)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut."""

    expansion = 4

    def __init__(self, n_in, width, stride):
        super().__init__()
        n_out = width * self.expansion
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.downsample = _shortcut(n_in, n_out, stride)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _shortcut(n_in, n_out, stride):
    if stride == 1 and n_in == n_out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))


class ResNet(nn.Module):
    """Images (n, n_bands, ny, nx) to vectors, or to a grid of tokens.

    Parameters
    ----------
    block : {BasicBlock, Bottleneck}
    depths : tuple of int
        Blocks in each group.
    n_bands : int
    width : int
        Channels of the first group; each following one has twice as many.
    n_out : int or None
        Size of a linear head on the pooled features; None leaves it out.
    """

    def __init__(self, block, depths, *, n_bands=5, width=64, n_out=None):
        super().__init__()
        self.conv1 = nn.Conv2d(n_bands, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        n_in, self.n_groups = width, len(depths)
        for group, depth in enumerate(depths):
            blocks = []
            for i in range(depth):
                stride = 2 if group > 0 and i == 0 else 1
                blocks.append(block(n_in, width * 2**group, stride))
                n_in = width * 2**group * block.expansion
            self.add_module(f"layer{group + 1}", nn.Sequential(*blocks))
        self.n_features = n_in
        self.fc = nn.Identity() if n_out is None else nn.Linear(n_in, n_out)

    def features(self, image):
        """Return the last feature map, (n, n_features, ny / 32, nx / 32)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(image))))
        for group in range(self.n_groups):
            x = getattr(self, f"layer{group + 1}")(x)
        return x

    def tokens(self, image):
        """Return the last feature map as tokens, (n, n_tokens, n_features), row by row."""
        return self.features(image).flatten(2).transpose(1, 2)

    def forward(self, image):
        """Return pooled features through the head, (n, n_out)."""
        return self.fc(self.features(image).mean((2, 3)))


def resnet18(**options):
    """Return the 18-layer network, 512 features; `options` as in `ResNet`."""
    return ResNet(BasicBlock, (2, 2, 2, 2), **options)


def resnet50(**options):
    """Return the 50-layer network, 2048 features; `options` as in `ResNet`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), **options)
