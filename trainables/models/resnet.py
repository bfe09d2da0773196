"""Residual networks for small images (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016).

``resnet18`` and ``resnet34`` are the paper's: no max-pooling, four stages of basic blocks with 1x1 projection
shortcuts, and a classifier without bias. The stem is a field: ``3x3`` with stride 1 is the paper's for 32 pixels,
``7x7`` with stride 2 its own for the 64 pixels of TinyImageNet. ``resnet8`` is the smallest of He et al.'s CIFAR family
(6n + 2 layers with n = 1), for grey images; a CPU core trains it on the digits in seconds. ``resnet8_rgb`` is the same
for RGB images.

Departure from the authors' code: the mean is taken over the whole last map and not over windows of 4x4. On the paper's
images these are the same; on larger ones theirs does not fit its classifier, and here any size does (so the ``3x3``
stem takes 64 pixels too, at four times the operations of the ``7x7`` one).
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
"""Pixels from which on the 7x7 stem leaves a map of 4x4 and more to the last of four stages."""


class ResidualModel(ScaledModel):
    """Shared by the residual networks: stages of ``blocks`` with ``widths`` channels."""

    blocks: ClassVar[tuple[int, ...]]
    widths: ClassVar[tuple[int, ...]]
    stem: Stem = Field(
        default="3x3", description="first convolution; 7x7 halves the resolution, for images of 64 pixels or more"
    )

    def check(self, spec: TrialSpec) -> None:
        shape = model_input_shape(spec.dataset.image_shape, self.channels, self.min_size)
        if self.stem == "7x7" and min(shape[1:]) < LARGE_IMAGES:
            raise SpecError(
                "model.stem",
                f"7x7 is for images of {LARGE_IMAGES} pixels or more, those of {spec.dataset.name} "
                f"have {min(shape[1:])}; choose 3x3",
            )

    def build(self, classes: int, statistics: tuple[Sequence[float], Sequence[float]]) -> nn.Module:
        from sparsweep.trainables.models.modules import ResNet

        widths = [self.scaled(channels) for channels in self.widths]
        return ResNet(statistics, self.blocks, widths, classes, STEMS[self.stem])

    def layers(self, classes: int, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
        kernel, stride = STEMS[self.stem]
        channels, size = self.channels, strided(shape[1:], stride)
        width = self.scaled(self.widths[0])
        found = [convolution("conv1", channels, width, kernel, size)]
        for stage, (count, outputs) in enumerate(zip(self.blocks, map(self.scaled, self.widths), strict=True), 1):
            for block in range(count):
                step = 2 if stage > 1 and block == 0 else 1
                size = strided(size, step)
                found += _block(f"layer{stage}.{block}", width, outputs, step, size)
                width = outputs
        return (*found, linear("linear", width, classes))


def _block(name: str, inputs: int, outputs: int, stride: int, size: Size) -> list[Layer]:
    """Return the layers of a basic block whose output has that ``size``."""
    found = [
        convolution(f"{name}.conv1", inputs, outputs, 3, size),
        convolution(f"{name}.conv2", outputs, outputs, 3, size),
    ]
    if stride != 1 or inputs != outputs:
        found.append(convolution(f"{name}.shortcut.0", inputs, outputs, 1, size))
    return found


@models.register
class ResNet8(ResidualModel):
    """Residual network of 8 layers for grey images from 8x8: 77,072 weights at 10 classes."""

    name: Literal["resnet8"] = "resnet8"
    channels = 1
    min_size = 8
    blocks = (1, 1, 1)
    widths = (16, 32, 64)


@models.register
class ResNet8RGB(ResNet8):
    """Residual network of 8 layers for RGB images from 8x8: 77,360 weights at 10 classes."""

    name: Literal["resnet8_rgb"] = "resnet8_rgb"  # type: ignore[assignment]
    channels = 3


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
