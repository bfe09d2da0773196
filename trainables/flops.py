"""Floating-point operations of sparse training, by the rules of RigL (Evci et al., ICML 2020, appendix H).

A multiply-add counts as two operations; the backward pass as twice the forward pass; only convolutions and linear
layers count; a layer of density d costs d times its dense operations. Theoretical figures: on a GPU an unstructured
mask saves no time.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache, partial

from trainables.data import Dataset, fitted_shape
from trainables.deferred import nn, torch, with_torch
from trainables.models import Model, maskable

MOST_COMPUTED = 50_000_000
"""Parameters of a network that an image is sent through to count. A larger one is counted on the device "meta", which
takes no memory for weights; but PyTorch loads its compiler for that, in seconds and 100 MB."""
PASSES = 3
"""Forward passes that one training step of a sample costs: one forward, and a backward that costs two."""


def layer_flops(model: nn.Module, image_shape: tuple[int, int, int]) -> dict[str, int]:
    """Dense forward operations of one image for every maskable weight of ``model`` (counted on an empty one)."""
    probe = copy.deepcopy(model).eval()
    weights, flops = maskable(probe), dict[str, int]()

    def count(name: str, layer: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        # Every output position of a channel (a linear layer has one) uses each weight of that channel once.
        flops[name] = 2 * weights[name].numel() * output[0, 0].numel()

    for name in weights:
        layer = probe.get_submodule(name.removesuffix(".weight"))
        layer.register_forward_hook(partial(count, name))
    with torch.no_grad():
        probe(torch.zeros(1, *image_shape, device=next(probe.parameters()).device))
    return {name: flops[name] for name in weights}


def forward_flops(dense: Mapping[str, int], densities: Mapping[str, float]) -> float:
    """Forward operations of one image at the given layer densities."""
    return sum(flops * densities[name] for name, flops in dense.items())


@cache
def dense_flops(model: Model, dataset: Dataset) -> int:
    """Forward operations of one image through the dense network, known without data."""
    return with_torch(_count_dense, model, dataset)


def _count_dense(model: Model, dataset: Dataset) -> int:
    shape = fitted_shape(dataset.image_shape, model.channels, model.min_size)
    statistics = [0.0] * model.channels, [1.0] * model.channels
    with torch.device("meta"):
        network = model.build(dataset.classes, statistics)
    if sum(parameter.numel() for parameter in network.parameters()) <= MOST_COMPUTED:
        network = model.build(dataset.classes, statistics)
    return sum(layer_flops(network, shape).values())
