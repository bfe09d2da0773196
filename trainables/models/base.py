"""Base classes of networks: a description that builds a module and lists its maskable layers."""

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
    """Network architecture. A subclass registers under its name and builds the module."""

    def build(self, classes: int, statistics: tuple[Sequence[float], Sequence[float]]) -> nn.Module:
        """Build the module with PyTorch's default weights. Its inputs are images in [0, 1].

        Args:
            classes: Number of classes.
            statistics: Mean and standard deviation per channel, for normalization.
        """
        raise NotImplementedError

    def layers(self, classes: int, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
        """Return the maskable layers in network order.

        Networks of this package compute them in closed form. By default they are counted on the built network.

        Args:
            classes: Number of classes.
            shape: Shape (channels, height, width) of the input images.
        """
        return measured_layers(self, classes, shape)

    def initialise(self, module: nn.Module, generator: torch.Generator) -> None:
        """Draw the initial weights of a module.

        Default, as in the paper's ResNets: Kaiming normal (fan in) for convolutions, PyTorch's default for linear
        layers.

        Args:
            module: Module on the CPU, made by :meth:`build`.
            generator: Generator of the weights.
        """
        draw(module, generator, convolution=kaiming_fan_in, linear=torch_default)


class ScaledModel(Model):
    """Network with a width multiplier."""

    width: float = Field(default=1.0, gt=0, le=8, description="multiplier on the number of channels")

    def scaled(self, channels: int) -> int:
        """Return ``channels`` times the width, rounded, at least 1."""
        return max(1, round(self.width * channels))


models: Registry[Model] = Registry("model")


@cache
def layers_of(model: ModelSpec, dataset: DatasetSpec) -> tuple[Layer, ...]:
    """Return the maskable layers of ``model`` for the images of ``dataset``, in network order."""
    return model.layers(dataset.classes, model_input_shape(dataset.image_shape, model.channels, model.min_size))
