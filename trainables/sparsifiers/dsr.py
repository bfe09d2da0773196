"""Dynamic sparse reparameterization: drop globally, grow in proportion to the surviving weights per layer.

Mostafa & Wang, "Parameter Efficient Training of Deep Convolutional Neural Networks by Dynamic Sparse
Reparameterization", ICML 2019. Every update drops the K smallest weights of the whole network. Each layer l then grows
weights at random positions, in proportion to its number of surviving weights R_l:

        K_l = K R_l / sum R.

Training starts at equal layer densities. The number K stays constant up to 95 % of training.

Departures:

- The number K is exact. The authors change a threshold by factors of two until the number of dropped weights is near
  the target. Their target is 1 % of all weights, hence 10 % of the active weights at sparsity 0.9. ``prune_rate`` is
  the latter share.
- The interval is one epoch throughout. The authors lengthen it during training (from 100 to 800 batches for their CIFAR
  networks).
- A dropped weight does not grow back in the same update (``regrow_dropped``).
- The surplus of a full layer goes to the others in proportion to their surviving weights.
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
    """Dynamic sparse reparameterization: drop the smallest weights globally, grow by surviving weights per layer."""

    name: Literal["dsr"] = "dsr"
    distribution: LayerDistribution = Field(default="uniform", description=f"at the start: {BY_LAYER}")
    update_every: float = Field(default=1.0, gt=0, description="epochs between two updates (paper: 100 to 800 steps)")
    prune_rate: float = Field(default=0.1, gt=0, lt=1, description="share of the active weights replaced per update")
    decay: Decay = Field(default="constant", description="decay of prune_rate")
    stop_fraction: float = Field(default=0.95, gt=0, le=1, description="no update after this share of training")

    def drop_masks(self, masks: Masks, context: UpdateContext) -> Tensors:
        importance = torch.cat([value.flatten() for value in self.drop_scores(context).values()])
        active = torch.cat([mask.flatten() for mask in masks.values()])
        removed = bottom_k_within(
            importance, [(active, num_to_drop(active, self.rate(context)))], self.capacity(active)
        )
        parts = removed.split([mask.numel() for mask in masks.values()])
        return {name: part.view_as(masks[name]) for name, part in zip(masks, parts, strict=True)}

    def grow_counts(
        self, kept: Masks, removed: Tensors, candidates: Tensors, context: UpdateContext
    ) -> Mapping[str, Count]:
        totals = [torch.stack([part.sum() for part in parts.values()]) for parts in (removed, candidates, kept)]
        # One device-to-host transfer for all layers: the host divides the dropped weights among them.
        dropped, capacity, survivors = torch.stack(totals).tolist()
        return dict(zip(kept, allocate_proportionally(sum(dropped), survivors, capacity), strict=True))
