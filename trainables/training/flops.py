"""Floating-point operations of sparse training, by the rules of RigL (Evci et al., ICML 2020, appendix H).

A multiply-add counts as two operations, the backward pass as twice the forward pass. Only convolutions and linear
layers count. A layer of density d costs d times its dense operations. These numbers are theoretical: on a GPU an
unstructured mask saves no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sparsweep.trainables.data import Dataset
from sparsweep.trainables.lazy import nn
from sparsweep.trainables.models import Model, layers_of
from sparsweep.trainables.models.measured import count_layers
from sparsweep.trainables.pipeline.losses import TrainingLoss

PASSES = 3
"""Cost of one training step of a sample in forward passes: one forward pass, and a backward pass that costs two."""


def forward_flops(dense: Mapping[str, int], densities: Mapping[str, float]) -> float:
    """Return the operations of one image's forward pass.

    Args:
        dense: Operations of each dense layer, by layer name.
        densities: Density of each layer in [0, 1].
    """
    return sum(flops * densities[name] for name, flops in dense.items())


def loss_flops(loss_fn: TrainingLoss, forward: float, weight_pass: float) -> float:
    """Return the operations of the loss and its gradient on one sample.

    Args:
        loss_fn: Loss of a training step.
        forward: Operations of one forward pass.
        weight_pass: Operations of one pass that computes gradients of weights.
    """
    num_weight_passes = loss_fn.weight_gradient_passes
    return (loss_fn.forward_equivalents - num_weight_passes) * forward + num_weight_passes * weight_pass


def layer_flops(network: nn.Module, shape: tuple[int, int, int]) -> dict[str, int]:
    """Return the operations of one image's dense forward pass, for every maskable weight by name.

    Args:
        network: Network to count.
        shape: (channels, height, width) of the images.
    """
    return {layer.name: layer.flops for layer in count_layers(network, shape)}


@cache
def dense_flops(model: Model, dataset: Dataset) -> int:
    """Return the operations of one image's forward pass through the dense network, without data or a built network.

    Args:
        model: Model to count.
        dataset: Data set that defines the classes and the image size.
    """
    return sum(layer.flops for layer in layers_of(model, dataset))
