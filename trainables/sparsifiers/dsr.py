"""Dynamic sparse reparameterisation: drop globally, grow where much survived.

Mostafa & Wang, "Parameter Efficient Training of Deep Convolutional Neural Networks by Dynamic Sparse
Reparameterization", ICML 2019. At every update the smallest weights of the whole network go; they are divided among
the layers in proportion to how many weights survived there, K_l = K R_l / sum R, and grow at random places in each.
Equal layer densities at the start; the number that moves stays the same to 95 % of training.

Departures. The number is exact; the authors adapt a threshold by factors of two until the number that it removes
comes near the target, which in their code is 1 % of all weights, so 10 % of the active ones at sparsity .9 (here the
latter, ``prune_rate``). They lengthen the interval along training (from 100 to 800 batches for their CIFAR networks);
here it is one epoch throughout. What was just dropped does not grow back in the same update (``regrow_dropped``), and
what does not fit into a layer goes to the others in proportion to their survivors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.sparsifiers.base import UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.drop_grow import (
    Count,
    DropAndGrow,
    allocate_proportionally,
    bottom_k_within,
    num_to_drop,
)
from sparsweep.trainables.sparsifiers.layer_budget import BY_LAYER, LayerDistribution
from sparsweep.trainables.sparsifiers.masked_params import Tensors
from sparsweep.trainables.sparsifiers.masks import Masks
from sparsweep.trainables.specs.timeline import Decay


@sparsifiers.register
class DSR(DropAndGrow):
    """Dynamic sparse reparameterisation: drop the smallest of the network, grow at random where most survived."""

    name: Literal["dsr"] = "dsr"
    distribution: LayerDistribution = Field(default="uniform", description=f"at the start: {BY_LAYER}")
    update_every: float = Field(default=1.0, gt=0, description="epochs between two updates (paper: 100 to 800 steps)")
    prune_rate: float = Field(default=0.1, gt=0, lt=1, description="share of the network's weights replaced")
    decay: Decay = Field(default="constant", description="how it falls")
    stop_fraction: float = Field(default=0.95, gt=0, le=1, description="no update after this share of training")

    def drop_masks(self, masks: Masks, moment: UpdateContext) -> Tensors:
        importance = torch.cat([value.flatten() for value in self.drop_scores(moment).values()])
        there = torch.cat([mask.flatten() for mask in masks.values()])
        removed = bottom_k_within(importance, [(there, num_to_drop(there, self.rate(moment)))], self.capacity(there))
        parts = removed.split([mask.numel() for mask in masks.values()])
        return {name: part.view_as(masks[name]) for name, part in zip(masks, parts, strict=True)}

    def grow_counts(self, kept: Masks, removed: Tensors, places: Tensors, moment: UpdateContext) -> Mapping[str, Count]:
        found = [torch.stack([part.sum() for part in parts.values()]) for parts in (removed, places, kept)]
        # One transfer for all layers: how the dropped weights are divided is settled on the host.
        lost, room, survivors = torch.stack(found).tolist()
        return dict(zip(kept, allocate_proportionally(sum(lost), survivors, room), strict=True))
