"""Floating-point operations of sparse training, by the rules of RigL (Evci et al., ICML 2020, appendix H).

A multiply-add counts as two operations; the backward pass as twice the forward pass; only convolutions and linear
layers count; a layer of density d costs d times its dense operations. Theoretical figures: on a GPU an unstructured
mask saves no time.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    """Dense forward operations of one image for every maskable weight of ``model`` (counted on an empty one).

    A weight that is used several times counts as often. Of attention its projections count, not its products.

    Raises:
        ValueError: A weight is used by no call of its layer, so that its operations are not known.
    """
    probe = copy.deepcopy(model).eval()
    weights, flops = maskable(probe), defaultdict[str, int](int)
    for name in weights:
        layer = probe.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, nn.MultiheadAttention):
            layer.register_forward_hook(partial(_count_projection, name, weights, flops), with_kwargs=True)
        else:
            layer.register_forward_hook(partial(_count_layer, name, weights, flops))
    with torch.no_grad(), _layer_by_layer():
        probe(torch.zeros(1, *image_shape, device=next(probe.parameters()).device))
    if unused := [name for name in weights if name not in flops]:
        raise ValueError(f"model: {unused[0]} is used by no call of its layer, so its operations cannot be counted")
    return {name: flops[name] for name in weights}


def _count_layer(
    name: str,
    weights: Mapping[str, torch.Tensor],
    flops: dict[str, int],
    layer: nn.Module,
    _: tuple[torch.Tensor, ...],
    output: torch.Tensor,
) -> None:
    # Every output position of a channel uses each weight of that channel once; a linear layer has one, or one a token.
    positions = output[0, 0].numel() if isinstance(layer, nn.Conv2d) else output.numel() // output.shape[-1]
    flops[name] += 2 * weights[name].numel() * positions


def _count_projection(
    name: str,
    weights: Mapping[str, torch.Tensor],
    flops: dict[str, int],
    layer: nn.MultiheadAttention,
    inputs: tuple[torch.Tensor, ...],
    named: Mapping[str, torch.Tensor],
    _: object,
) -> None:
    """Count the projections of attention, whose output layer is never called by itself."""
    given = {**dict(zip(("query", "key", "value"), inputs, strict=False)), **named}
    tokens = {part: given[part].numel() // given[part].shape[-1] for part in ("query", "key", "value")}
    path, _, weight = name.rpartition(".")
    if weight == "in_proj_weight":
        flops[name] += 2 * weights[name].numel() // 3 * sum(tokens.values())
    else:
        flops[name] += 2 * weights[name].numel() * tokens[PARTS_OF_ATTENTION[weight]]
    if weight in ("in_proj_weight", "q_proj_weight"):
        output = f"{path}.out_proj.weight" if path else "out_proj.weight"
        flops[output] += 2 * weights[output].numel() * tokens["query"]


PARTS_OF_ATTENTION = {"q_proj_weight": "query", "k_proj_weight": "key", "v_proj_weight": "value"}


@contextmanager
def _layer_by_layer() -> Iterator[None]:
    """Let transformers call their layers one by one: a fused kernel would pass them by."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


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
