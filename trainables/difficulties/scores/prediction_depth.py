"""Hard samples by prediction depth: the number of layers after which a network's prediction no longer changes.

Baldock et al., "Deep Learning Through the Lens of Example Difficulty", NeurIPS 2021. After each layer a probe
classifies every sample from its representation there: the most common label among the k = 30 nearest training samples
(Euclidean). The depth is the index of the first layer from which on all probes agree with the final prediction. It is 0
if the probe of the input already agrees, and the number of probes if even that of the softmax does not. The networks
are fully trained. Depths are averaged over networks (10 here, up to 250 in the paper).

Representations are the inputs of each block, and the softmax. A block is a module with convolutions or linear layers
that is not only a container. In this package's networks, blocks are the stem, each residual block (or convolution) and
each linear layer. The first representation is therefore the normalized image.

A training sample is not its own neighbor (leave-one-out). Distances are exact. Queries stay in memory in chunks of
``CHUNK`` numbers (1 GiB). For each chunk the network runs again over the full set, up to the current layer. N samples
with D features in all layers cost 2 N^2 D additional operations: for ResNet18 and the 50,000 images of CIFAR with D =
306,812, as many as nine epochs of training.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import ScoringContext, register_final_score
from sparsweep.trainables.difficulties.selection import ScoreSelection
from sparsweep.trainables.lazy import nn, no_grad, torch
from sparsweep.trainables.models import maskable
from sparsweep.trainables.pipeline.network import AutocastNetwork

NEIGHBOURS = 30
CHUNK = 2**28
"""Maximum number of query values in memory."""
BATCH = 500
"""Samples compared with the queries at once."""


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost modules in ``module`` with maskable weights that are not containers, in order."""
    for child in module.children():
        if isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            yield from blocks(child)
        elif maskable(child):
            yield child


class Reached(Exception):
    """The network has reached the required layer."""


@no_grad
def representation(network: AutocastNetwork, block: nn.Module | None, images: torch.Tensor) -> torch.Tensor:
    """Return the input of ``block``, or the softmax, as float32 ``(B, features)``.

    Args:
        network: Network in evaluation mode.
        block: Module of the network, or None for the softmax.
        images: float32 ``(B, C, H, W)`` in [0, 1].
    """
    inputs_of_block: list[torch.Tensor] = []

    def keep_input(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        inputs_of_block.append(inputs[0].flatten(1).float())
        raise Reached

    if block is None:
        return network(images).softmax(1)
    with block.register_forward_pre_hook(keep_input), contextlib.suppress(Reached):
        network(images)
    return inputs_of_block[0]


def nearest_vote(
    queries: torch.Tensor, first: int, samples: Iterable[tuple[torch.Tensor, torch.Tensor]], classes: int, k: int
) -> torch.Tensor:
    """Return the most common label among the ``k`` samples nearest to each query.

    Of equal counts the lowest label wins. A query is not its own neighbor. With fewer than k other samples, all of them
    vote.

    Args:
        queries: ``(Q, features)``, representations of the samples ``first`` to ``first + Q``.
        first: Index of the first query.
        samples: All samples in order, as batches of representations ``(B, features)`` and labels int64 ``(B,)``.
        classes: Number of classes.
        k: Number of neighbors.

    Returns:
        int64 ``(Q,)``.
    """
    query_indices = torch.arange(first, first + len(queries), device=queries.device)
    distances, labels = queries.new_empty(len(queries), 0), query_indices.new_empty(len(queries), 0)
    offset = 0
    for features, batch_labels in samples:
        batch_distances = torch.cdist(queries, features)
        sample_indices = torch.arange(offset, offset + len(features), device=query_indices.device)
        batch_distances[query_indices[:, None] == sample_indices] = torch.inf
        distances = torch.cat([distances, batch_distances], 1)
        distances, nearest = distances.topk(min(k, distances.shape[1]), largest=False)
        labels = torch.cat([labels, batch_labels.expand(len(queries), -1)], 1).gather(1, nearest)
        offset += len(features)
    votes = queries.new_zeros(len(queries), classes)
    return votes.scatter_add_(1, labels, distances.isfinite().to(votes.dtype)).argmax(1)


def prediction_depth(votes: torch.Tensor, predictions: torch.Tensor) -> torch.Tensor:
    """Return the index of the first probe from which on all probes agree with the prediction.

    Args:
        votes: int64 ``(probes, N)``, from the input on.
        predictions: int64 ``(N,)``.

    Returns:
        float64 ``(N,)`` in [0, probes].
    """
    num_agreeing = (votes == predictions).flip(0).long().cumprod(0).sum(0)
    return (len(votes) - num_agreeing).double()


def probe(context: ScoringContext, block: nn.Module | None) -> torch.Tensor:
    """Return the classification of every training sample by the probe before ``block``, int64 ``(N,)``.

    Args:
        context: Trained network and training set.
        block: Module of the network, or None for the softmax.
    """
    network = context.network

    def representations(
        size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for images, labels in context.batches(size, start, stop):
            yield representation(network, block, images), labels

    width = next(representations(1))[0].shape[1]
    rows, classes, votes = max(1, CHUNK // width), context.data.classes, []
    for start in range(0, len(context.labels), rows):
        queries = torch.cat([features for features, _ in representations(BATCH, start, start + rows)])
        votes.append(nearest_vote(queries, start, representations(BATCH), classes, NEIGHBOURS))
    return torch.cat(votes)


def prediction_depth_of(context: ScoringContext) -> torch.Tensor:
    """Return the prediction depth of all training samples, float64 ``(N,)``."""
    votes = [probe(context, block) for block in [*blocks(context.network.module), None]]
    return prediction_depth(torch.stack(votes), context.logits.argmax(1))


register_final_score("prediction_depth", prediction_depth_of)


@difficulties.register
class PredictionDepth(ScoreSelection):
    """Samples whose prediction settles in the deepest layers of trained networks."""

    name: Literal["prediction_depth"] = "prediction_depth"
    epoch: int | None = Field(default=None, ge=1, description="epochs of each network; null: all")
