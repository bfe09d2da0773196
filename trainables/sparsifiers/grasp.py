"""GraSP: prune once before training, so that the gradient keeps its norm.

Wang, Zhang & Grosse, "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR 2020. Their score of a
weight is S = -w (H g), by which its removal changes the norm of the gradient; those of the highest S are removed, so
that the largest w (H g) stay. Logits are divided by a temperature of 200, the ranking is global, the mask fixed.

Departures from their code: the data is a batch of the trial's own recipe (there: ten images a class, in two halves),
and the classifier keeps the initial weights that are then trained (there it is drawn anew).
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
    """Gradient signal preservation: the weights that carry the gradient's norm, from one batch before training."""

    name: Literal["grasp"] = "grasp"
    batches: int = Field(default=1, ge=1, description="batches whose losses are added up")
    temperature: float = Field(default=200.0, gt=0, description="divides the logits (GraSP: 200)")

    def scores(self, start: InitContext) -> Tensors:
        return grasp_scores(start.model, [start.mask_batch(number) for number in range(self.batches)], self.temperature)

    def initial_flops(self, dense: float, batch_size: int) -> float:
        # A gradient (3); a gradient with its graph (3), and a backward pass through both its passes (2 x 3).
        return 12 * dense * batch_size * self.batches
