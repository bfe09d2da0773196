"""What a network is: a description that builds a module, and the part of it that can be masked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from pydantic import Field

from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.models.initialization import draw, kaiming_fan_in, torch_default
from sparsweep.trainables.models.measured import measured_layers
from sparsweep.trainables.pipeline.device_data import model_input_shape
from sparsweep.trainables.specs.base import Registry
from sparsweep.trainables.specs.layers import Layer
from sparsweep.trainables.specs.parts import DatasetSpec, ModelSpec


class Model(ModelSpec):
    """A network architecture; a subclass registers under its name and builds the module."""

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
def layers_of(model: ModelSpec, dataset: DatasetSpec) -> tuple[Layer, ...]:
    """Return the maskable layers of ``model`` on the images of ``dataset``, known without building it."""
    return model.layers(dataset.classes, model_input_shape(dataset.image_shape, model.channels, model.min_size))
