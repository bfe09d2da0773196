"""Hard samples by prediction depth: how many layers a network needs before it has made up its mind.

Baldock et al., "Deep Learning Through the Lens of Example Difficulty", NeurIPS 2021. After each layer a probe, the
commonest label among the k = 30 nearest training samples (Euclidean), classifies every sample from its representation
there. The depth is the number of the first layer from which on all probes say what the network says in the end: 0 if
already the probe of the input does, the number of probes if not even that of the softmax does. The networks are fully
trained; depths are averaged over networks (10, theirs over up to 250).

Representations are what enters each block, and the softmax. A block is a module that holds convolutions or linear
layers and is no mere container of others: in this package's networks the stem, each residual block (or convolution)
and each linear layer, so that the first representation is the normalised image.

A training sample is not a neighbour of its own (leave-one-out). Distances are exact: queries stay in memory in blocks
of ``CHUNK`` numbers (1 GiB), and the network is run again over the whole set for each block, up to the layer at hand.
N samples with D features in all layers take 2 N^2 D operations besides: for ResNet18 and the 50,000 images of CIFAR
with D = 306,812 as many as nine epochs of training.
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
"""Representations of queries, in numbers, that are in memory at once."""
BATCH = 500
"""Samples that are compared with the queries at a time."""


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules within ``module`` that hold maskable weights and are no containers, in their order."""
    for child in module.children():
        if isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            yield from blocks(child)
        elif maskable(child):
            yield child


class Reached(Exception):
    """The network was run as far as it was needed."""


@no_grad
def representation(network: AutocastNetwork, block: nn.Module | None, images: torch.Tensor) -> torch.Tensor:
    """What enters ``block`` (None: the softmax) for float32 ``images``: float32 [B, features]."""
    entered: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        entered.append(inputs[0].flatten(1).float())
        raise Reached

    if block is None:
        return network(images).softmax(1)
    with block.register_forward_pre_hook(keep), contextlib.suppress(Reached):
        network(images)
    return entered[0]


def nearest_vote(
    queries: torch.Tensor, first: int, samples: Iterable[tuple[torch.Tensor, torch.Tensor]], classes: int, k: int
) -> torch.Tensor:
    """The commonest label among the ``k`` samples nearest to each query, itself excepted; of equals the lowest.

    ``queries``: [Q, features], samples ``first`` to ``first + Q``; ``samples``: all of them in order, as parts of
    ([B, features], int64 [B]). The result is int64 [Q]. Where there are not k others, all others vote.
    """
    own = torch.arange(first, first + len(queries), device=queries.device)
    distances, labels = queries.new_empty(len(queries), 0), own.new_empty(len(queries), 0)
    seen = 0
    for features, their_labels in samples:
        found = torch.cdist(queries, features)
        found[own[:, None] == torch.arange(seen, seen + len(features), device=own.device)] = torch.inf
        distances = torch.cat([distances, found], 1)
        distances, nearest = distances.topk(min(k, distances.shape[1]), largest=False)
        labels = torch.cat([labels, their_labels.expand(len(queries), -1)], 1).gather(1, nearest)
        seen += len(features)
    votes = queries.new_zeros(len(queries), classes)
    return votes.scatter_add_(1, labels, distances.isfinite().to(votes.dtype)).argmax(1)


def prediction_depth(votes: torch.Tensor, predictions: torch.Tensor) -> torch.Tensor:
    """The number of the first probe from which on all agree with the prediction: float64 [N] in [0, probes].

    ``votes``: int64 [probes, N] from the input on; ``predictions``: int64 [N].
    """
    agreeing_at_the_end = (votes == predictions).flip(0).long().cumprod(0).sum(0)
    return (len(votes) - agreeing_at_the_end).double()


def probe(view: ScoringContext, block: nn.Module | None) -> torch.Tensor:
    """What the probe before ``block`` says of every training sample: int64 [N]."""
    network = view.network

    def represented(size: int, start: int = 0, stop: int | None = None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for images, labels in view.batches(size, start, stop):
            yield representation(network, block, images), labels

    width = next(represented(1))[0].shape[1]
    rows, classes, votes = max(1, CHUNK // width), view.data.classes, []
    for start in range(0, len(view.labels), rows):
        queries = torch.cat([features for features, _ in represented(BATCH, start, start + rows)])
        votes.append(nearest_vote(queries, start, represented(BATCH), classes, NEIGHBOURS))
    return torch.cat(votes)


def prediction_depth_of(view: ScoringContext) -> torch.Tensor:
    """The prediction depth of all training samples: float64 [N]."""
    votes = [probe(view, block) for block in [*blocks(view.network.module), None]]
    return prediction_depth(torch.stack(votes), view.logits.argmax(1))


register_final_score("prediction_depth", prediction_depth_of)


@difficulties.register
class PredictionDepth(ScoreSelection):
    """The samples on which trained networks make up their mind in the deepest layers."""

    name: Literal["prediction_depth"] = "prediction_depth"
    epoch: int | None = Field(default=None, ge=1, description="epochs that each network is trained; null: all")
