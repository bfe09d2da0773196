"""What a network is: a description that builds a module, and the part of it that can be masked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn
from torch.nn import init

from trainables.values import Named, Registry


class Model(Named):
    """A network architecture; a subclass registers under its name and builds the module."""

    channels: ClassVar[int]
    """Channels of the images it takes (1: grey, 3: RGB)."""
    min_size: ClassVar[int]
    """Smallest side of an image in pixels; smaller images are enlarged to it."""

    def build(self, classes: int, statistics: tuple[Sequence[float], Sequence[float]]) -> nn.Module:
        """The module for images in [0, 1] with channel mean and deviation ``statistics``, its weights torch's own."""
        raise NotImplementedError


models: Registry[Model] = Registry("model")


class Normalize(nn.Module):
    """Standardise channels inside the network, so that its input space is [0, 1] (where attacks are defined)."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.std


def maskable(module: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters that a mask applies to, by name: all convolution and linear weights, no biases, no norms."""
    return {
        f"{name}.weight": layer.weight
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }


@torch.no_grad()
def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights of ``module`` (on the CPU) from ``generator``, in the order of its layers.

    Convolutions: Kaiming normal, fan in (He et al. 2015), as in the paper's networks. Linear layers: PyTorch's own
    default. Norms: scale 1, shift 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear):
            init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
            if layer.bias is not None:
                bound = 1 / math.sqrt(layer.in_features)
                init.uniform_(layer.bias, -bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.reset_parameters()
