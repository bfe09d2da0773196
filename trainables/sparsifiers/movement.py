"""Movement pruning: keep the weights that move away from zero.

Sanh et al., "Movement Pruning: Adaptive Sparsity by Fine-Tuning", NeurIPS 2020. Every weight has a score, the sum
over the steps of - w dL/dw: it rises while a descent step makes |w| larger. The mask keeps the weights with the
largest scores, of the whole network, and fewer and fewer along the cubic of gradual pruning. Gradients pass the mask
straight to the scores, so a weight that is masked keeps its value and its score moves on: it can come back.

Departures: the paper fine-tunes a pretrained language model and renews the mask in every step; here training starts
from scratch, and masks are renewed on the schedule of ``gmp``, then stay. The learning rate of the scores is left out,
for it scales all of them alike and ranks nothing differently. Scores need the gradients of all weights in every step:
2 f_S + f_D operations an image.
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
    """Gradual pruning of the weights that move towards zero; they can come back."""

    needs_every_gradient: ClassVar[bool] = True

    name: Literal["movement"] = "movement"  # type: ignore[assignment]
    dense_gradients: Literal[False] = Field(default=False, description="scores, not momenta, see masked weights")

    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        return LatentParams(weights, optimizer, masks, reached=lambda values, masks: masks)

    def init_state(self, start: InitContext) -> Tensors:
        return {name: torch.zeros_like(weight) for name, weight in start.weights.items()}

    @no_grad
    def on_gradients(self, moment: UpdateContext, gradients: Tensors) -> None:
        weights = [moment.weights[name] for name in gradients]
        scores = [moment.state[name] for name in gradients]
        torch._foreach_addcmul_(scores, weights, list(gradients.values()), value=-1.0)

    def update(self, masks: Masks, moment: UpdateContext) -> Masks:
        kept = self.num_active_at(masks.size, moment.step, moment.spec, moment.timeline)
        return self.top_k({name: moment.state[name] for name in masks}, kept)
