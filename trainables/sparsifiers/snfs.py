"""Sparse momentum ("sparse networks from scratch"): weights go where the momentum is.

Dettmers & Zettlemoyer, "Sparse Networks from Scratch: Faster Training without Losing Performance", 2019
(arXiv:1907.04840). Once an epoch each layer drops a share of its smallest weights; all that was dropped is divided
among the layers in proportion to the mean momentum magnitude of their active weights, and grows in each where the
momentum of absent weights is largest. That momentum needs dense gradients in every step: 2 f_S + f_D operations an
image instead of 3 f_S. Equal layer densities at the start, the share falls along a half cosine.

Departures from the authors' code: counts are exact (there they drift and are steered back); what was just dropped
does not grow back in the same update (``regrow_dropped``), and where all layers together have too few places for
what should be dropped, all drop less alike; what does not fit into a layer goes to the others in proportion to their
momentum again (there: to all alike, up to 99 % of the places); the momentum of absent weights is left as it is (there
it is set to its layer's mean after every update).
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
    prune_rate: float = Field(default=0.5, gt=0, lt=1, description="share of the weights replaced at first")
    final_prune_rate: float = Field(default=0.005, ge=0, lt=1, description="the same share at the end of its decay")
    dense_gradients: Literal[True] = Field(default=True, description="the method needs the momenta of absent weights")

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        if spec.recipe.momentum == 0:
            raise SpecError("recipe.momentum", "snfs grows where the momentum is largest, so it must be above 0")

    def drop_masks(self, masks: Masks, moment: UpdateContext) -> Tensors:
        rate, importance = self.rate(moment), self.drop_scores(moment)
        room = torch.stack([torch.as_tensor(self.capacity(mask), device=mask.device) for mask in masks.values()]).sum()
        counts = scale_to_capacity([num_to_drop(mask, rate) for mask in masks.values()], room)
        return {
            name: top_k_within(-importance[name], mask, count)
            for (name, mask), count in zip(masks.items(), counts, strict=True)
        }

    def grow_counts(self, kept: Masks, removed: Tensors, places: Tensors, moment: UpdateContext) -> Mapping[str, Count]:
        momenta = moment.momenta()
        means = [mean_magnitude(momenta[name], kept[name] | removed[name]) for name in kept]
        whole = [torch.stack([part.sum() for part in parts.values()]) for parts in (removed, places)]
        # Two transfers for all layers: how the dropped weights are divided is settled on the host.
        lost, room = torch.stack(whole).tolist()
        return dict(zip(kept, allocate_proportionally(sum(lost), torch.stack(means).tolist(), room), strict=True))

    def grow_scores(self, moment: UpdateContext) -> Tensors:
        return {name: momentum.abs() for name, momentum in moment.momenta().items()}


def mean_magnitude(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of |values| where ``mask`` is true, 0 where it never is; a number that is none counts as 0."""
    return (values.abs() * mask).nan_to_num().sum() / mask.sum().clamp(min=1)
