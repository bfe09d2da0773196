"""VGG networks with batch normalization (Simonyan & Zisserman, "Very Deep Convolutional Networks", ICLR 2015).

``vgg16`` is configuration D as in SNIP and ITOP (Lee et al., ICLR 2019): convolutions with bias, five max-pooling
layers, and a classifier of three linear layers with batch normalization instead of dropout. It needs training batches
of two images or more, because the batch norms of its classifier have one value per image.
``vgg19`` has convolutions without bias, four max-pooling layers, and one linear layer.

Departure from the authors' code: the mean is over the complete last feature map, for any size. For the paper's images
of 32 pixels this changes nothing: the map is 1x1 (``vgg16``), or the authors' code averages it too (``vgg19``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.models.base import ScaledModel, models
from sparsweep.trainables.models.initialization import draw, kaiming_fan_out, small_normal, torch_default
from sparsweep.trainables.specs.layers import Layer, convolution, linear, pooled

MODULES_OF_A_CONVOLUTION = 3
"""A convolution, its batch norm and its ReLU."""


class VGGModel(ScaledModel):
    """Base class of the VGG networks: stages of convolutions with max pooling between them."""

    channels = 3
    min_size = 32
    auto_precision = "bf16"
    convolutions: ClassVar[tuple[int, ...]]
    """Number of convolutions in each of the five stages."""
    bias: ClassVar[bool]
    widths: ClassVar[tuple[int, ...]] = (64, 128, 256, 512, 512)
    pooled: ClassVar[bool]
    """Whether max pooling also follows the last stage."""

    def build(self, classes: int, statistics: tuple[Sequence[float], Sequence[float]]) -> nn.Module:
        from sparsweep.trainables.models.modules import VGG, conv_stage

        features: list[nn.Module] = []
        inputs = self.channels
        for count, channels in zip(self.convolutions, self.widths, strict=True):
            if features:
                features.append(nn.MaxPool2d(2))
            outputs = self.scaled(channels)
            features += conv_stage([inputs, *[outputs] * count], self.bias)
            inputs = outputs
        if self.pooled:
            features.append(nn.MaxPool2d(2))
        return VGG(statistics, features, self.classifier(inputs, classes))

    def layers(self, classes: int, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
        layers: list[Layer] = []
        inputs, index, size = self.channels, 0, shape[1:]
        for count, outputs in zip(self.convolutions, map(self.scaled, self.widths), strict=True):
            if layers:
                index, size = index + 1, pooled(size)
            for _ in range(count):
                layers.append(convolution(f"features.{index}", inputs, outputs, 3, size))
                inputs, index = outputs, index + MODULES_OF_A_CONVOLUTION
        hidden = [linear(f"classifier.{index}", inputs, inputs) for index in self.hidden]
        return (*layers, *hidden, linear(f"classifier.{self.last}", inputs, classes))

    hidden: ClassVar[tuple[int, ...]] = ()
    """Indices of the hidden linear layers in the classifier."""
    last: ClassVar[int] = 0
    """Index of the last linear layer in the classifier."""

    def classifier(self, width: int, classes: int) -> list[nn.Module]:
        """Return the modules of the classifier.

        Args:
            width: Number of input features.
            classes: Number of classes.
        """
        raise NotImplementedError


@models.register
class VGG16(VGGModel):
    """VGG16 of the paper (configuration D) for RGB images of 32x32 or more: 15,239,872 maskable weights, 10 classes."""

    name: Literal["vgg16"] = "vgg16"
    min_batch = 2
    convolutions = (2, 2, 3, 3, 3)
    bias = True
    pooled = True
    hidden = (0, 3)
    last = 6

    def classifier(self, width: int, classes: int) -> list[nn.Module]:
        hidden = [nn.Linear(width, width), nn.ReLU(inplace=True), nn.BatchNorm1d(width)]
        again = [nn.Linear(width, width), nn.ReLU(inplace=True), nn.BatchNorm1d(width)]
        return [*hidden, *again, nn.Linear(width, classes)]

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        draw(module, generator, convolution=torch_default, linear=torch_default)


@models.register
class VGG19(VGGModel):
    """VGG19 of the paper for RGB images of 32x32 or more: 20,070,080 maskable weights at 100 classes."""

    name: Literal["vgg19"] = "vgg19"
    convolutions = (2, 2, 4, 4, 4)
    bias = False
    pooled = False

    def classifier(self, width: int, classes: int) -> list[nn.Module]:
        return [nn.Linear(width, classes)]

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        draw(module, generator, convolution=kaiming_fan_out, linear=small_normal)
