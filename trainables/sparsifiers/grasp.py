"""GraSP: prune once before training and preserve the gradient norm.

Wang, Zhang & Grosse, "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR 2020. The score of a
weight is S = -w (H g): the effect of its removal on the gradient norm. Weights with the highest S are removed, hence
those with the largest w (H g) stay. Logits are divided by a temperature of 200. The ranking is global and the mask
fixed.

Departures from the authors' code:

- The data is a batch of the trial's own recipe (authors: ten images per class, in two halves).
- The classifier keeps the initial weights that are then trained (authors: it is initialized again).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparsweep.trainables.sparsifiers.base import InitContext, sparsifiers
from sparsweep.trainables.sparsifiers.layer_budget import SaliencyPruning
from sparsweep.trainables.sparsifiers.masked_params import Tensors
from sparsweep.trainables.sparsifiers.saliency import grasp_scores


@sparsifiers.register
class GraSP(SaliencyPruning):
    """Gradient signal preservation: keep the weights that carry the gradient norm, from one batch before training."""

    name: Literal["grasp"] = "grasp"
    batches: int = Field(default=1, ge=1, description="batches whose losses are summed")
    temperature: float = Field(default=200.0, gt=0, description="divides the logits (GraSP: 200)")

    def scores(self, start: InitContext) -> Tensors:
        return grasp_scores(start.model, [start.mask_batch(number) for number in range(self.batches)], self.temperature)

    def initial_flops(self, dense: float, batch_size: int) -> float:
        # One gradient (3), one gradient with its graph (3), and one backward pass through both passes of it (2 x 3).
        return 12 * dense * batch_size * self.batches
