r"""Top-KAST: use the largest weights in the forward pass, and train some more that may replace them.

Jayakumar et al., "Top-KAST: Top-K Always Sparse Training", NeurIPS 2020. The forward pass uses the set A: the weights
with the largest magnitude, as many as the sparsity allows. The backward pass also trains the next largest, B \ A, with
the gradient of the loss at the weights of A. All other weights keep their last value.

The exploration loss is an L2 penalty on the trained weights, larger by 1/D outside A (D: the density of A). A new
weight stays in B only if its gradient outweighs the penalty, and A can change:

        (c / 2) (sum over A of w^2 + (1 / D) sum over B \ A of w^2),    c: the recipe's weight decay.

Layers are ranked separately, at ERK densities (``distribution``). An image costs 2 forward passes at the density of A
and one pass at that of B.

Departures:

- A and B change every quarter of an epoch (paper: in every step; the paper finds no difference at 100 steps).
- SGD with the momentum of the recipe (paper: none).
- The penalty has the weight decay of the recipe.
- Layer densities are ERK, as for the other methods here (paper: equal).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from sparsweep.trainables.lazy import no_grad, torch
from sparsweep.trainables.sparsifiers.base import InitContext, UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.drop_grow import PeriodicUpdates
from sparsweep.trainables.sparsifiers.layer_budget import BY_RANK, AnyDistribution, LayerBudget
from sparsweep.trainables.sparsifiers.masked_params import LatentParams, MaskedParams, Tensors
from sparsweep.trainables.sparsifiers.masks import Masks
from sparsweep.trainables.sparsifiers.saliency import magnitudes


@sparsifiers.register
class TopKAST(PeriodicUpdates, LayerBudget):
    """Top-KAST: the forward pass uses the largest weights, and some more are trained that may replace them."""

    name: Literal["topkast"] = "topkast"
    update_every: float = Field(default=0.25, gt=0, description="epochs between two updates (paper: 1 to 100 steps)")
    stop_fraction: float = Field(default=1.0, gt=0, le=1, description="no update after this share of training")
    margin: float = Field(default=0.1, ge=0, lt=1, description="density of the trained set minus that of the network")
    distribution: AnyDistribution = Field(default="erk", description=BY_RANK)

    def initialize(self, start: InitContext) -> Masks:
        return self.largest(start.weights, start.num_active)

    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        return ExplorationPenaltyParams(weights, optimizer, masks, self.trained_set)

    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        return self.largest(context.weights, sum(masks.counts().values()))

    def largest(self, weights: Mapping[str, torch.Tensor], count: int) -> Masks:
        """Return the set A: the ``count`` largest weights.

        Args:
            weights: Weights by name, latent values included.
            count: Number of weights in A.
        """
        return self.top_k(magnitudes(weights), count)

    def trained_set(self, values: Mapping[str, torch.Tensor], masks: Masks) -> Masks:
        """Return the set B: the active weights and the next largest, up to ``margin`` of all weights more.

        Args:
            values: Weights by name, latent values included.
            masks: Current masks, the set A.
        """
        count = min(masks.size, sum(masks.counts().values()) + round(self.margin * masks.size))
        return Masks({name: mask | masks[name] for name, mask in self.largest(values, count).items()})


class ExplorationPenaltyParams(LatentParams):
    """Latent parameters whose trained but masked weights decay 1/D times as fast (the exploration loss)."""

    @no_grad
    def step(self) -> None:
        decay = self.optimizer.param_groups[0]["weight_decay"]
        density = sum(self.counts.values()) / self.masks.size
        # The optimizer decays all trained weights once. This term is the rest, and only affects B, as all gradients do.
        torch._foreach_add_(self.gradients(), list(self.latent.values()), alpha=decay * (1 / density - 1))
        super().step()
