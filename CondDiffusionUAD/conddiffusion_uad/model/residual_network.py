"""A residual network of 2D slices (He et al. 2016), with MONAI's names and initial weights.

MONAI's own takes seconds to import, because its package imports all of itself; a detection needs these few layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

GROUPS = 8  # of a group normalization
NORMS: Mapping[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(GROUPS, channels),
    "layer": lambda channels: nn.GroupNorm(1, channels),  # over channels and pixels of a slice: the group of all
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
}
"""Normalizations of so many channels."""
STRIDES = (4, 8, 16, 32)  # of the stages, in pixels of the image


class Residual(nn.Module):
    """What both kinds of blocks have in common: convolutions that are normalized, and a way around them.

    Args:
        inputs: Channels.
        width: Channels of the convolutions.
        stride: By which the block shrinks its maps.
        norm: Makes the normalization of so many channels.
    """

    expansion = 1  # channels of the result as a multiple of the width

    def __init__(self, inputs: int, width: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        outputs = width * self.expansion
        around = None
        if stride != 1 or inputs != outputs:
            around = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))
        self._add_layers(inputs, width, stride, norm)
        self.downsample = around

    def _add_layers(self, inputs: int, width: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        raise NotImplementedError

    def _through(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps (B, inputs, H, W) to (B, width * expansion, H / stride, W / stride)."""
        around = x if self.downsample is None else self.downsample(x)
        return torch.relu(self._through(x) + around)


class BasicBlock(Residual):
    """Two 3x3 convolutions."""

    def _add_layers(self, inputs: int, width: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = norm(width)

    def _through(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))


class Bottleneck(Residual):
    """A 3x3 convolution of few channels between two 1x1 convolutions."""

    expansion = 4

    def _add_layers(self, inputs: int, width: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = norm(width * self.expansion)

    def _through(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.bn1(self.conv1(x)))
        return self.bn3(self.conv3(torch.relu(self.bn2(self.conv2(h)))))


BLOCKS: dict[str, type[Residual]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResidualNetwork(nn.Module):
    """From one channel to a vector of features.

    Args:
        block: "basic" or "bottleneck".
        layers: Blocks of each of the four stages.
        widths: Width of the blocks of each stage.
        features: Length of the vector.
        norm: One of :data:`NORMS`, for all layers.
    """

    fc: nn.Linear | None

    def __init__(
        self, block: str, layers: Sequence[int], widths: Sequence[int], features: int, norm: str = "batch"
    ) -> None:
        super().__init__()
        if block not in BLOCKS:
            raise ValueError(f"There is no block {block!r}; there are {', '.join(BLOCKS)}.")
        kind, channels, normalization = BLOCKS[block], widths[0], NORMS[norm]
        self.conv1 = nn.Conv2d(1, channels, 7, 2, padding=3, bias=False)
        self.bn1 = normalization(channels)
        self.act = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        stages = []
        for index, (count, width) in enumerate(zip(layers, widths, strict=True)):
            blocks = []
            for number in range(count):
                blocks.append(kind(channels, width, 2 if index and not number else 1, normalization))
                channels = width * kind.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, features)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Features of images (B, 1, H, W), shape (B, features); those before the last layer when it was taken away."""
        h = self.maxpool(self.act(self.bn1(self.conv1(image))))
        h = self.avgpool(self.layer4(self.layer3(self.layer2(self.layer1(h))))).flatten(1)
        return h if self.fc is None else self.fc(h)


def fewest_values(norm: str, widths: Sequence[int], height: int, width: int) -> int:
    """Of how many values of one image the network's normalizations take their means, where they are fewest.

    Args:
        norm: One of :data:`NORMS`.
        widths: Of the blocks of each stage.
        height, width: Of the image in pixels.
    """

    def values(stride: int, channels: int) -> int:
        together = {"layer": channels, "group": channels // GROUPS}.get(norm, 1)
        return together * math.ceil(height / stride) * math.ceil(width / stride)

    return min(map(values, STRIDES, widths))
