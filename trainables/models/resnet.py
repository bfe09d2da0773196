"""Residual networks for small images (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016).

``resnet18`` and ``resnet34`` are the paper's: no max-pooling, four stages of basic blocks with 1x1 projection
shortcuts, and a classifier without bias. The stem is a field: ``3x3`` with stride 1 is the paper's for 32 pixels,
``7x7`` with stride 2 its own for the 64 pixels of TinyImageNet. ``resnet8`` is the smallest of He et al.'s CIFAR family
(6n + 2 layers with n = 1), here for grey images; a CPU core trains it on the digits in seconds.

Departure from the authors' code: the mean is taken over the whole last map and not over windows of 4x4. On the paper's
images these are the same; on larger ones theirs does not fit its classifier, and here any size does (so the ``3x3``
stem takes 64 pixels too, at four times the operations of the ``7x7`` one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from trainables.data import fitted_shape
from trainables.models.base import Normalize, ScaledModel, models

if TYPE_CHECKING:
    from trainables.spec import TrialSpec

Stem = Literal["3x3", "7x7"]
STEMS: dict[Stem, tuple[int, int]] = {"3x3": (3, 1), "7x7": (7, 2)}
"""Kernel size and stride of the first convolution."""
LARGE_IMAGES = 64
"""Pixels from which on the 7x7 stem leaves a map of 4x4 and more to the last of four stages."""


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
    """A stem, stages of basic blocks (each but the first halves the resolution), mean pooling, one linear layer."""

    def __init__(
        self,
        statistics: tuple[Sequence[float], Sequence[float]],
        blocks: Sequence[int],
        widths: Sequence[int],
        classes: int,
        stem: Stem,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(*statistics)
        self.conv1 = convolution(len(statistics[0]), widths[0], *STEMS[stem])
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


class ResidualModel(ScaledModel):
    """Shared by the residual networks: stages of ``blocks`` with ``widths`` channels."""

    blocks: ClassVar[tuple[int, ...]]
    widths: ClassVar[tuple[int, ...]]
    stem: Stem = Field(
        default="3x3", description="first convolution; 7x7 halves the resolution, for images of 64 pixels or more"
    )

    def check(self, spec: TrialSpec) -> None:
        shape = fitted_shape(spec.dataset.image_shape, self.channels, self.min_size)
        if self.stem == "7x7" and min(shape[1:]) < LARGE_IMAGES:
            raise ValueError(
                f"model.stem: 7x7 is for images of {LARGE_IMAGES} pixels or more, those of {spec.dataset.name} "
                f"have {min(shape[1:])}; choose 3x3"
            )

    def build(self, classes: int, statistics: tuple[Sequence[float], Sequence[float]]) -> nn.Module:
        widths = [self.scaled(channels) for channels in self.widths]
        return ResNet(statistics, self.blocks, widths, classes, self.stem)


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
    auto_precision = "bf16"
    blocks = (2, 2, 2, 2)
    widths = (64, 128, 256, 512)


@models.register
class ResNet34(ResidualModel):
    """The paper's ResNet34 for RGB images from 32x32; 21,370,048 maskable weights on TinyImageNet, with stem 7x7."""

    name: Literal["resnet34"] = "resnet34"
    channels = 3
    min_size = 32
    auto_precision = "bf16"
    blocks = (3, 4, 6, 3)
    widths = (64, 128, 256, 512)
