"""Maskable layers of a network (names, shapes, FLOPs) without building the network.

FLOPs follow RigL (Evci et al., ICML 2020, appendix H). A multiply-add is two operations. Only convolutions and linear
layers count. A layer of density d costs d times its dense FLOPs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

Size = tuple[int, int]
"""Height and width in pixels."""


class Layer(NamedTuple):
    """One maskable weight of a network.

    Attributes:
        name: Name of the parameter in ``state_dict``.
        shape: Shape of the weight: (outputs, inputs per group, *kernel).
        flops: Dense forward FLOPs per image.
    """

    name: str
    shape: tuple[int, ...]
    flops: int


def layer(name: str, shape: tuple[int, ...], positions: int = 1) -> Layer:
    """Return a layer.

    Args:
        name: Name of the parameter in ``state_dict``.
        shape: Shape of the weight.
        positions: Number of output positions per image that use each weight.
    """
    return Layer(name, shape, 2 * math.prod(shape) * positions)


def convolution(name: str, inputs: int, outputs: int, kernel: int, output: Size) -> Layer:
    """Return a convolution layer with a square kernel and without groups.

    Args:
        name: Name of the module.
        inputs: Number of input channels.
        outputs: Number of output channels.
        kernel: Side of the kernel in pixels.
        output: Height and width of the output.
    """
    return layer(f"{name}.weight", (outputs, inputs, kernel, kernel), math.prod(output))


def linear(name: str, inputs: int, outputs: int) -> Layer:
    """Return a linear layer that runs once per image."""
    return layer(f"{name}.weight", (outputs, inputs))


def strided(size: Size, stride: int) -> Size:
    """Return the output size of a strided convolution with an odd kernel k and padding k // 2."""
    height, width = size
    return (height - 1) // stride + 1, (width - 1) // stride + 1


def pooled(size: Size) -> Size:
    """Return the output size of 2x2 max pooling."""
    height, width = size
    return height // 2, width // 2
