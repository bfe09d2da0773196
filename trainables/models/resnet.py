"""Residual networks for small images (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016).

``resnet18`` is the paper's: 3x3 stem with stride 1, no max-pooling, four stages of basic blocks with 1x1 projection
shortcuts, and a classifier without bias. ``resnet8`` is the smallest of He et al.'s CIFAR family (6n + 2 layers with
n = 1), here for grey images; a CPU core trains it on the digits in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from trainables.models.base import Model, Normalize, models


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 projection where the shape changes."""

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
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """A 3x3 stem, stages of basic blocks (each but the first halves the resolution), mean pooling, one linear layer."""

    def __init__(
        self,
        statistics: tuple[Sequence[float], Sequence[float]],
        blocks: Sequence[int],
        widths: Sequence[int],
        classes: int,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(*statistics)
        self.conv1 = convolution(len(statistics[0]), widths[0], 3)
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
        x = functional.relu(self.bn1(self.conv1(self.normalize(x))))
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.linear(x.mean((2, 3)))


class ResidualModel(Model):
    """Shared by the residual networks: stages of ``blocks`` with ``widths`` channels, times ``width``."""

    blocks: ClassVar[tuple[int, ...]]
    widths: ClassVar[tuple[int, ...]]
    width: float = Field(default=1.0, gt=0, le=8, description="multiplier on the number of channels")

    def build(self, classes: int, statistics: tuple[Sequence[float], Sequence[float]]) -> nn.Module:
        widths = [max(1, round(self.width * channels)) for channels in self.widths]
        return ResNet(statistics, self.blocks, widths, classes)


@models.register
class ResNet8(ResidualModel):
    """Residual network of 8 layers for grey images from 8x8: 77,072 weights at 10 classes."""

    name: Literal["resnet8"] = "resnet8"
    channels = 1
    min_size = 8
    blocks = (1, 1, 1)
    widths = (16, 32, 64)


@models.register
class ResNet18(ResidualModel):
    """The paper's ResNet18 for RGB images from 32x32: 11,210,432 maskable weights at 100 classes."""

    name: Literal["resnet18"] = "resnet18"
    channels = 3
    min_size = 32
    blocks = (2, 2, 2, 2)
    widths = (64, 128, 256, 512)
