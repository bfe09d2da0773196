"""PyTorch modules of the networks in this package. The descriptions of the networks do not import PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional


class Normalize(nn.Module):
    """Channel normalization inside the network, so that its inputs are in [0, 1] (where attacks are defined)."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalize images (N, C, H, W) in [0, 1]."""
        return (images - self.mean) / self.std


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias and with "same" padding.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        size: Side of the kernel, odd.
        stride: Stride in pixels.
    """
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut. The shortcut is a 1x1 projection if the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs, 3)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the feature maps (N, outputs, H / stride, W / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Residual network: stem, stages of basic blocks, mean pooling, one linear layer without bias.

    Every stage except the first halves the resolution. ``stem`` is (kernel size, stride) of the first convolution.
    """

    def __init__(
        self,
        statistics: tuple[Sequence[float], Sequence[float]],
        blocks: Sequence[int],
        widths: Sequence[int],
        classes: int,
        stem: tuple[int, int],
    ) -> None:
        super().__init__()
        self.normalize = Normalize(*statistics)
        self.conv1 = convolution(len(statistics[0]), widths[0], *stem)
        self.bn1 = nn.BatchNorm2d(widths[0])
        width = widths[0]
        for stage, (count, outputs) in enumerate(zip(blocks, widths, strict=True), start=1):
            layers = []
            for block in range(count):
                stride = 2 if stage > 1 and block == 0 else 1
                layers.append(BasicBlock(width, outputs, stride))
                width = outputs
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.stages = len(blocks)
        self.linear = nn.Linear(width, classes, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, classes) of images (N, C, H, W) in [0, 1]."""
        x = functional.relu(self.bn1(self.conv1(self.normalize(x))))
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.linear(x.mean((2, 3)))


def conv_stage(widths: Iterable[int], bias: bool) -> list[nn.Module]:
    """Return 3x3 convolutions, each with batch norm and ReLU.

    Args:
        widths: Number of channels before, between and after the convolutions.
        bias: Whether the convolutions have a bias.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return layers


class VGG(nn.Module):
    """VGG network: convolutions, mean over the last feature map, classifier."""

    def __init__(
        self,
        statistics: tuple[Sequence[float], Sequence[float]],
        features: Sequence[nn.Module],
        classifier: Sequence[nn.Module],
    ) -> None:
        super().__init__()
        self.normalize = Normalize(*statistics)
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(*classifier)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, classes) of images (N, C, H, W) in [0, 1]."""
        return self.classifier(self.features(self.normalize(x)).mean((2, 3)))
