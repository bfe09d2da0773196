"""VGG networks with batch normalisation (Simonyan & Zisserman, "Very Deep Convolutional Networks", ICLR 2015).

``vgg16`` is configuration D as SNIP and ITOP have it (Lee et al., ICLR 2019): convolutions with bias, five
max-poolings, and a classifier of three linear layers in which batch normalisation stands in place of dropout. It
needs batches of two images or more to train: the norms of its classifier have one value an image.
``vgg19`` has convolutions without bias, four max-poolings, and one linear layer.

Departure from the authors' code: the mean is taken over the whole last map, whatever its size. On the paper's images
of 32 pixels that map is 1x1 (``vgg16``) or is averaged there too (``vgg19``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.models.base import ScaledModel, models
from sparsweep.trainables.models.initialization import draw, kaiming_fan_out, small_normal, torch_default
from sparsweep.trainables.specs.layers import Layer, convolution, linear, pooled

MODULES_OF_A_CONVOLUTION = 3
"""The convolution, its norm and its ReLU."""


class VGGModel(ScaledModel):
    """Shared by the VGG networks: stages of convolutions with a max-pooling between them."""

    channels = 3
    min_size = 32
    auto_precision = "bf16"
    convolutions: ClassVar[tuple[int, ...]]
    """Convolutions in each of the five stages."""
    bias: ClassVar[bool]
    widths: ClassVar[tuple[int, ...]] = (64, 128, 256, 512, 512)
    pooled: ClassVar[bool]
    """Whether a max-pooling follows the last stage, too."""

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
        found: list[Layer] = []
        inputs, place, size = self.channels, 0, shape[1:]
        for count, outputs in zip(self.convolutions, map(self.scaled, self.widths), strict=True):
            if found:
                place, size = place + 1, pooled(size)
            for _ in range(count):
                found.append(convolution(f"features.{place}", inputs, outputs, 3, size))
                inputs, place = outputs, place + MODULES_OF_A_CONVOLUTION
        hidden = [linear(f"classifier.{place}", inputs, inputs) for place in self.hidden]
        return (*found, *hidden, linear(f"classifier.{self.last}", inputs, classes))

    hidden: ClassVar[tuple[int, ...]] = ()
    """Places of the hidden linear layers in the classifier."""
    last: ClassVar[int] = 0
    """Place of its last layer."""

    def classifier(self, width: int, classes: int) -> list[nn.Module]:
        """The layers from the last ``width`` channels to the logits."""
        raise NotImplementedError


@models.register
class VGG16(VGGModel):
    """The paper's VGG16 (configuration D) for RGB images from 32x32: 15,239,872 maskable weights at 10 classes."""

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
    """The paper's VGG19 for RGB images from 32x32: 20,070,080 maskable weights at 100 classes."""

    name: Literal["vgg19"] = "vgg19"
    convolutions = (2, 2, 4, 4, 4)
    bias = False
    pooled = False

    def classifier(self, width: int, classes: int) -> list[nn.Module]:
        return [nn.Linear(width, classes)]

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        draw(module, generator, convolution=kaiming_fan_out, linear=small_normal)
