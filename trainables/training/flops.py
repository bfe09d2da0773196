"""Floating-point operations of sparse training, by the rules of RigL (Evci et al., ICML 2020, appendix H).

A multiply-add counts as two operations; the backward pass as twice the forward pass; only convolutions and linear
layers count; a layer of density d costs d times its dense operations. Theoretical figures: on a GPU an unstructured
mask saves no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sparsweep.trainables.data import Dataset
from sparsweep.trainables.lazy import nn
from sparsweep.trainables.models import Model, layers_of
from sparsweep.trainables.models.measured import count_layers

PASSES = 3
"""Forward passes that one training step of a sample costs: one forward, and a backward that costs two."""


def forward_flops(dense: Mapping[str, int], densities: Mapping[str, float]) -> float:
    """Forward operations of one image at the given layer densities."""
    return sum(flops * densities[name] for name, flops in dense.items())


def layer_flops(network: nn.Module, shape: tuple[int, int, int]) -> dict[str, int]:
    """Return the dense forward operations of one image for every maskable weight of a built ``network``, by name."""
    return {layer.name: layer.flops for layer in count_layers(network, shape)}


@cache
def dense_flops(model: Model, dataset: Dataset) -> int:
    """Forward operations of one image through the dense network, known without data and without building it."""
    return sum(layer.flops for layer in layers_of(model, dataset))
