"""Residual networks for small images (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016).

``resnet18`` and ``resnet34`` are the networks of the paper: no max pooling, four stages of basic blocks with 1x1
projection shortcuts, and a classifier without bias. The stem is a field. The paper uses ``3x3`` with stride 1 for
images of 32 pixels, and ``7x7`` with stride 2 for the 64 pixels of TinyImageNet. ``resnet8`` is the smallest network of
He et al.'s CIFAR family (6n + 2 layers with n = 1), for gray images. One CPU core trains it on the digits in seconds.
``resnet8_rgb`` is the same network for RGB images.

Departure from the authors' code: the mean is over the complete last feature map, not over windows of 4x4. Both are
equal for the paper's images. For larger images, the output of the authors' pooling does not fit their classifier; here
any size works. The ``3x3`` stem therefore accepts 64 pixels too, at four times the FLOPs of the ``7x7`` stem.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from sparsweep.trainables.lazy import nn
from sparsweep.trainables.models.base import ScaledModel, models
from sparsweep.trainables.pipeline.device_data import model_input_shape
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.layers import Layer, Size, convolution, linear, strided
from sparsweep.trainables.specs.trial import TrialSpec

Stem = Literal["3x3", "7x7"]
STEMS: dict[Stem, tuple[int, int]] = {"3x3": (3, 1), "7x7": (7, 2)}
"""Kernel size and stride of the first convolution."""
LARGE_IMAGES = 64
"""Minimum image side in pixels for the 7x7 stem: the last of four stages then has a map of at least 4x4."""


class ResidualModel(ScaledModel):
    """Base class of the residual networks: stages of ``blocks`` basic blocks with ``widths`` channels."""

    blocks: ClassVar[tuple[int, ...]]
    widths: ClassVar[tuple[int, ...]]
    stem: Stem = Field(
        default="3x3", description="first convolution; 7x7 (images of 64 pixels or more) halves the resolution"
    )

    def check(self, spec: TrialSpec) -> None:
        shape = model_input_shape(spec.dataset.image_shape, self.channels, self.min_size)
        if self.stem == "7x7" and min(shape[1:]) < LARGE_IMAGES:
            raise SpecError(
                "model.stem",
                f"7x7 needs images of {LARGE_IMAGES} pixels or more, those of {spec.dataset.name} "
                f"have {min(shape[1:])}. Use 3x3.",
            )

    def build(self, classes: int, statistics: tuple[Sequence[float], Sequence[float]]) -> nn.Module:
        from sparsweep.trainables.models.modules import ResNet

        widths = [self.scaled(channels) for channels in self.widths]
        return ResNet(statistics, self.blocks, widths, classes, STEMS[self.stem])

    def layers(self, classes: int, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
        kernel, stride = STEMS[self.stem]
        channels, size = self.channels, strided(shape[1:], stride)
        width = self.scaled(self.widths[0])
        layers = [convolution("conv1", channels, width, kernel, size)]
        for stage, (count, outputs) in enumerate(zip(self.blocks, map(self.scaled, self.widths), strict=True), 1):
            for block in range(count):
                step = 2 if stage > 1 and block == 0 else 1
                size = strided(size, step)
                layers += _block(f"layer{stage}.{block}", width, outputs, step, size)
                width = outputs
        return (*layers, linear("linear", width, classes))


def _block(name: str, inputs: int, outputs: int, stride: int, size: Size) -> list[Layer]:
    """Return the layers of a basic block with output ``size``."""
    layers = [
        convolution(f"{name}.conv1", inputs, outputs, 3, size),
        convolution(f"{name}.conv2", outputs, outputs, 3, size),
    ]
    if stride != 1 or inputs != outputs:
        layers.append(convolution(f"{name}.shortcut.0", inputs, outputs, 1, size))
    return layers


@models.register
class ResNet8(ResidualModel):
    """Residual network of 8 layers for gray images of 8x8 or more: 77,072 maskable weights at 10 classes."""

    name: Literal["resnet8"] = "resnet8"
    channels = 1
    min_size = 8
    blocks = (1, 1, 1)
    widths = (16, 32, 64)


@models.register
class ResNet8RGB(ResNet8):
    """Residual network of 8 layers for RGB images of 8x8 or more: 77,360 maskable weights at 10 classes."""

    name: Literal["resnet8_rgb"] = "resnet8_rgb"  # type: ignore[assignment]
    channels = 3


@models.register
class ResNet18(ResidualModel):
    """ResNet18 of the paper for RGB images of 32x32 or more: 11,210,432 maskable weights at 100 classes."""

    name: Literal["resnet18"] = "resnet18"
    channels = 3
    min_size = 32
    auto_precision = "bf16"
    blocks = (2, 2, 2, 2)
    widths = (64, 128, 256, 512)


@models.register
class ResNet34(ResidualModel):
    """ResNet34 of the paper for RGB images of 32x32 or more: 21,370,048 maskable weights at 200 classes, stem 7x7."""

    name: Literal["resnet34"] = "resnet34"
    channels = 3
    min_size = 32
    auto_precision = "bf16"
    blocks = (3, 4, 6, 3)
    widths = (64, 128, 256, 512)
