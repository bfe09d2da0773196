"""Movement pruning: keep the weights that move away from zero.

Sanh et al., "Movement Pruning: Adaptive Sparsity by Fine-Tuning", NeurIPS 2020. The score of a weight is the sum over
all steps of - w dL/dw. The score rises while descent steps increase |w|. The masks keep the largest scores of the whole
network, with the cubic schedule of gradual pruning. Gradients reach the scores through the mask (straight-through). A
masked weight therefore keeps its value, its score still changes, and it can grow again.

Departures:

- Training starts from random weights (paper: fine-tunes a pretrained language model).
- Masks change on the schedule of ``gmp``, then stay (paper: in every step).
- The learning rate of the scores is left out: it scales all scores equally and does not change their ranking.

Scores need the gradients of all weights in every step: 2 f_S + f_D operations per image.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from sparsweep.trainables.lazy import no_grad, torch
from sparsweep.trainables.sparsifiers.base import InitContext, UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.gmp import GMP
from sparsweep.trainables.sparsifiers.masked_params import LatentParams, MaskedParams, Tensors
from sparsweep.trainables.sparsifiers.masks import Masks


@sparsifiers.register
class Movement(GMP):
    """Movement pruning: gradually prune the weights that move towards zero. They can grow again."""

    needs_every_gradient: ClassVar[bool] = True

    name: Literal["movement"] = "movement"  # type: ignore[assignment]
    dense_gradients: Literal[False] = Field(
        default=False, description="gradients of masked weights change their scores, not their momenta"
    )

    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        return LatentParams(weights, optimizer, masks, reached=lambda values, masks: masks)

    def init_state(self, start: InitContext) -> Tensors:
        return {name: torch.zeros_like(weight) for name, weight in start.weights.items()}

    @no_grad
    def on_gradients(self, context: UpdateContext, gradients: Tensors) -> None:
        weights = [context.weights[name] for name in gradients]
        scores = [context.state[name] for name in gradients]
        torch._foreach_addcmul_(scores, weights, list(gradients.values()), value=-1.0)

    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        kept = self.num_active_at(masks.size, context.step, context.spec, context.timeline)
        return self.top_k({name: context.state[name] for name in masks}, kept)
