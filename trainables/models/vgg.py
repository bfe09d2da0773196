"""VGG networks with batch normalisation (Simonyan & Zisserman, "Very Deep Convolutional Networks", ICLR 2015).

``vgg16`` is configuration D as SNIP and ITOP have it (Lee et al., ICLR 2019): convolutions with bias, five
max-poolings, and a classifier of three linear layers in which batch normalisation stands in place of dropout. It
needs batches of two images or more to train: the norms of its classifier have one value an image.
``vgg19`` has convolutions without bias, four max-poolings, and one linear layer.

Departure from the authors' code: the mean is taken over the whole last map, whatever its size. On the paper's images
of 32 pixels that map is 1x1 (``vgg16``) or is averaged there too (``vgg19``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import nn

from trainables.models.base import Normalize, ScaledModel, models
from trainables.models.initialisation import draw, kaiming_fan_out, small_normal, torch_default


def stage(widths: Iterable[int], bias: bool) -> list[nn.Module]:
    """3x3 convolutions from each width to the next, each with its norm and ReLU."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return layers


class VGG(nn.Module):
    """Convolutions, the mean over what is left of the image, and a classifier."""

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
        return self.classifier(self.features(self.normalize(x)).mean((2, 3)))


class VGGModel(ScaledModel):
    """Shared by the VGG networks: stages of convolutions with a max-pooling between them."""

    channels = 3
    min_size = 32
    auto_precision = "bf16"
    convolutions: ClassVar[tuple[int, ...]]
    """Convolutions in each of the five stages."""
    bias: ClassVar[bool]
    widths: ClassVar[tuple[int, ...]] = (64, 128, 256, 512, 512)

    def features(self) -> list[nn.Module]:
        layers: list[nn.Module] = []
        inputs = self.channels
        for count, channels in zip(self.convolutions, self.widths, strict=True):
            if layers:
                layers.append(nn.MaxPool2d(2))
            outputs = self.scaled(channels)
            layers += stage([inputs, *[outputs] * count], self.bias)
            inputs = outputs
        return layers


@models.register
class VGG16(VGGModel):
    """The paper's VGG16 (configuration D) for RGB images from 32x32: 15,239,872 maskable weights at 10 classes."""

    name: Literal["vgg16"] = "vgg16"
    min_batch = 2
    convolutions = (2, 2, 3, 3, 3)
    bias = True

    def build(self, classes: int, statistics: tuple[Sequence[float], Sequence[float]]) -> nn.Module:
        width = self.scaled(self.widths[-1])
        hidden = [nn.Linear(width, width), nn.ReLU(inplace=True), nn.BatchNorm1d(width)]
        again = [nn.Linear(width, width), nn.ReLU(inplace=True), nn.BatchNorm1d(width)]
        features = [*self.features(), nn.MaxPool2d(2)]
        return VGG(statistics, features, [*hidden, *again, nn.Linear(width, classes)])

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        draw(module, generator, convolution=torch_default, linear=torch_default)


@models.register
class VGG19(VGGModel):
    """The paper's VGG19 for RGB images from 32x32: 20,070,080 maskable weights at 100 classes."""

    name: Literal["vgg19"] = "vgg19"
    convolutions = (2, 2, 4, 4, 4)
    bias = False

    def build(self, classes: int, statistics: tuple[Sequence[float], Sequence[float]]) -> nn.Module:
        return VGG(statistics, self.features(), [nn.Linear(self.scaled(self.widths[-1]), classes)])

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        draw(module, generator, convolution=kaiming_fan_out, linear=small_normal)
