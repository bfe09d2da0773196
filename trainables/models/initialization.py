"""Initial weights: rules for single layers, and a function that initializes a network from one generator.

A rule initializes one convolution or linear layer in place. Batch norms start with scale 1 and shift 0 in all networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from sparsweep.trainables.lazy import init, nn, no_grad, torch

Layer: TypeAlias = "nn.Conv2d | nn.Linear"
Rule: TypeAlias = "Callable[[Layer, torch.Generator], None]"


@no_grad
def draw(module: nn.Module, generator: torch.Generator, convolution: Rule, linear: Rule) -> None:
    """Draw all weights of a module, in the order of its layers.

    Args:
        module: Module on the CPU.
        generator: Generator of the weights.
        convolution: Rule for convolutions.
        linear: Rule for linear layers.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            convolution(layer, generator)
        elif isinstance(layer, nn.Linear):
            linear(layer, generator)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.reset_parameters()


def kaiming_fan_in(layer: Layer, generator: torch.Generator) -> None:
    """Draw Kaiming normal weights by fan in (He et al., ICCV 2015), bias 0. Keeps the variance of activations."""
    init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu", generator=generator)
    _zero_bias(layer)


def kaiming_fan_out(layer: Layer, generator: torch.Generator) -> None:
    """Draw Kaiming normal weights by fan out, bias 0. Keeps the variance of gradients."""
    init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    _zero_bias(layer)


def small_normal(layer: Layer, generator: torch.Generator) -> None:
    """Draw normal weights with standard deviation 0.01, bias 0."""
    init.normal_(layer.weight, 0.0, 0.01, generator=generator)
    _zero_bias(layer)


def torch_default(layer: Layer, generator: torch.Generator) -> None:
    """Draw PyTorch's default: weights and biases uniform in +-1/sqrt(fan in)."""
    init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    if layer.bias is not None:
        bound = 1 / math.sqrt(layer.weight[0].numel())
        init.uniform_(layer.bias, -bound, bound, generator=generator)


def _zero_bias(layer: Layer) -> None:
    if layer.bias is not None:
        init.zeros_(layer.bias)
