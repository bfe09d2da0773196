"""Linear networks, whose optimal attack is known in closed form."""

from __future__ import annotations

import torch
from torch import nn

from sparsweep.trainables.pipeline.network import AutocastNetwork

SHAPE = (1, 5, 6)
"""Channels, height and width of the input images."""
PIXELS = 30


def wrapped(module: nn.Module, precision: str = "fp32") -> AutocastNetwork:
    return AutocastNetwork(module, torch.device("cpu"), precision)


def linear(weight: torch.Tensor, bias: torch.Tensor | None = None) -> AutocastNetwork:
    """Return a network with logits ``weight @ pixels + bias``, with ``weight`` (classes, 30)."""
    layer = nn.Linear(PIXELS, len(weight))
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.zeros(len(weight)) if bias is None else bias)
    return wrapped(nn.Sequential(nn.Flatten(), layer))


def random_linear(classes: int, seed: int = 0) -> AutocastNetwork:
    return linear(torch.randn(classes, PIXELS, generator=torch.Generator().manual_seed(seed)))


def weights(network: AutocastNetwork) -> torch.Tensor:
    return network.module.get_submodule("1").get_parameter("weight").detach()


def random_images(samples: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    """Return random images with pixels in [low, high]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(samples, *SHAPE, generator=generator) * (high - low) + low
