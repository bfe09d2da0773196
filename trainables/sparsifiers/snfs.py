"""Sparse momentum ("sparse networks from scratch"): grow weights where the momentum is largest.

Dettmers & Zettlemoyer, "Sparse Networks from Scratch: Faster Training without Losing Performance", 2019
(arXiv:1907.04840). Once per epoch each layer drops a share of its smallest weights. All dropped weights are divided
among the layers in proportion to the mean momentum magnitude of their active weights. Each layer grows its weights
where the momentum of masked weights is largest. This momentum needs dense gradients in every step: 2 f_S + f_D
operations per image instead of 3 f_S. Layer densities start equal. The dropped share follows a half cosine.

Departures from the authors' code:

- Counts are exact (authors: counts deviate and are corrected later).
- A dropped weight does not grow back in the same update (``regrow_dropped``).
- If all layers together have too few masked positions for the weights to drop, all layers drop less by the same factor.
- The surplus of a full layer goes to the others in proportion to their momentum (authors: equally, up to 99 % of the
  positions).
- The momentum of masked weights does not change at an update (authors: set to its layer's mean).
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
    num_to_drop,
    scale_to_capacity,
    top_k_within,
)
from sparsweep.trainables.sparsifiers.layer_budget import BY_LAYER, LayerDistribution
from sparsweep.trainables.sparsifiers.masked_params import Tensors
from sparsweep.trainables.sparsifiers.masks import Masks
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.trial import TrialSpec


@sparsifiers.register
class SNFS(DropAndGrow):
    """Sparse momentum: drop the smallest weights, grow by momentum, within and between layers."""

    name: Literal["snfs"] = "snfs"
    distribution: LayerDistribution = Field(default="uniform", description=f"at the start: {BY_LAYER}")
    update_every: float = Field(default=1.0, gt=0, description="epochs between two updates (authors: 1)")
    prune_rate: float = Field(default=0.5, gt=0, lt=1, description="initial share of the weights replaced per update")
    final_prune_rate: float = Field(default=0.005, ge=0, lt=1, description="share at the end of the decay")
    dense_gradients: Literal[True] = Field(default=True, description="the method needs the momenta of masked weights")

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        if spec.recipe.optimizer == "sgd" and spec.recipe.momentum == 0:
            raise SpecError("recipe.momentum", "snfs needs momentum above 0 (got 0). Set recipe.momentum.")

    def drop_masks(self, masks: Masks, context: UpdateContext) -> Tensors:
        rate, importance = self.rate(context), self.drop_scores(context)
        capacity = torch.stack(
            [torch.as_tensor(self.capacity(mask), device=mask.device) for mask in masks.values()]
        ).sum()
        counts = scale_to_capacity([num_to_drop(mask, rate) for mask in masks.values()], capacity)
        return {
            name: top_k_within(-importance[name], mask, count)
            for (name, mask), count in zip(masks.items(), counts, strict=True)
        }

    def grow_counts(
        self, kept: Masks, removed: Tensors, candidates: Tensors, context: UpdateContext
    ) -> Mapping[str, Count]:
        momenta = context.momenta()
        means = [mean_magnitude(momenta[name], kept[name] | removed[name]) for name in kept]
        totals = [torch.stack([part.sum() for part in parts.values()]) for parts in (removed, candidates)]
        # Two device-to-host transfers for all layers: the host divides the dropped weights among them.
        dropped, capacity = torch.stack(totals).tolist()
        counts = allocate_proportionally(sum(dropped), torch.stack(means).tolist(), capacity)
        return dict(zip(kept, counts, strict=True))

    def grow_scores(self, context: UpdateContext) -> Tensors:
        return {name: momentum.abs() for name, momentum in context.momenta().items()}


def mean_magnitude(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of |values| where ``mask`` is true, or 0 if it is false everywhere. NaN counts as 0.

    Args:
        values: Tensor of numbers.
        mask: Boolean tensor with the shape of ``values``.
    """
    return (values.abs() * mask).nan_to_num().sum() / mask.sum().clamp(min=1)
