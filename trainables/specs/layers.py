"""What is known of a network's maskable layers without building it: names, shapes and operations.

Operations follow RigL (Evci et al., ICML 2020, appendix H): a multiply-add counts as two, only convolutions and linear
layers count, and a layer of density d costs d times its dense operations.
"""

from __future__ import annotations

import math
from typing import NamedTuple

Size = tuple[int, int]
"""Height and width in pixels."""


class Layer(NamedTuple):
    """One maskable weight of a network.

    Attributes:
        name: The parameter, as in ``state_dict``.
        shape: Its shape: outputs first, inputs of a group second, a kernel last.
        flops: Dense forward operations of one image.
    """

    name: str
    shape: tuple[int, ...]
    flops: int


def layer(name: str, shape: tuple[int, ...], positions: int = 1) -> Layer:
    """Return a layer each weight of which is used at so many output ``positions`` of an image."""
    return Layer(name, shape, 2 * math.prod(shape) * positions)


def convolution(name: str, inputs: int, outputs: int, kernel: int, output: Size) -> Layer:
    """Return a square convolution without groups, whose ``output`` has that size."""
    return layer(f"{name}.weight", (outputs, inputs, kernel, kernel), math.prod(output))


def linear(name: str, inputs: int, outputs: int) -> Layer:
    """Return a linear layer that sees an image once."""
    return layer(f"{name}.weight", (outputs, inputs))


def strided(size: Size, stride: int) -> Size:
    """Return the output size of a convolution of odd kernel k with padding k // 2."""
    height, width = size
    return (height - 1) // stride + 1, (width - 1) // stride + 1


def pooled(size: Size) -> Size:
    """Return the output size of a max-pooling of 2x2."""
    height, width = size
    return height // 2, width // 2
