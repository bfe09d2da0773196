"""What a network is: a description that builds a module, and the part of it that can be masked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sparsweep.trainables.data import Dataset
from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.models.initialization import draw, kaiming_fan_in, torch_default
from sparsweep.trainables.models.measured import measured_layers
from sparsweep.trainables.pipeline.device_data import fitted_shape
from sparsweep.trainables.specs.base import Named, Registry
from sparsweep.trainables.specs.layers import Layer

if TYPE_CHECKING:
    from sparsweep.trainables.specs.trial import TrialSpec


class Model(Named):
    """A network architecture; a subclass registers under its name and builds the module."""

    channels: ClassVar[int]
    """Channels of the images it takes (1: grey, 3: RGB)."""
    min_size: ClassVar[int]
    """Smallest side of an image in pixels; smaller images are enlarged to it."""
    min_batch: ClassVar[int] = 1
    """Fewest images that it can train on at once: 2 where a norm has one value an image, whose variance it needs."""

    auto_precision: ClassVar[Literal["fp32", "bf16"]] = "fp32"
    """What ``precision: auto`` means for it: bf16 where it is large enough to be trained on tensor cores."""

    def check(self, spec: TrialSpec) -> None:
        """ValueError if it does not suit ``spec``'s images."""

    def build(self, classes: int, statistics: tuple[Sequence[float], Sequence[float]]) -> nn.Module:
        """The module for images in [0, 1] with channel mean and deviation ``statistics``, its weights torch's own."""
        raise NotImplementedError

    def layers(self, classes: int, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
        """Return the maskable layers, in the order of the network, for images of ``shape`` (channels, height, width).

        Networks of this package state them in closed form. By default they are counted on the built network.
        """
        return measured_layers(self, classes, shape)

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Draw the initial weights of ``module``, which :meth:`build` made, on the CPU.

        By default convolutions are Kaiming normal by fan in and linear layers PyTorch's own, as in the paper's ResNets.
        """
        draw(module, generator, convolution=kaiming_fan_in, linear=torch_default)


class ScaledModel(Model):
    """A network whose numbers of channels can be multiplied."""

    width: float = Field(default=1.0, gt=0, le=8, description="multiplier on the number of channels")

    def scaled(self, channels: int) -> int:
        """``channels`` times the width, at least 1."""
        return max(1, round(self.width * channels))


models: Registry[Model] = Registry("model")


@cache
def layers_of(model: Model, dataset: Dataset) -> tuple[Layer, ...]:
    """Return the maskable layers of ``model`` on the images of ``dataset``, known without building it."""
    return model.layers(dataset.classes, fitted_shape(dataset.image_shape, model.channels, model.min_size))
