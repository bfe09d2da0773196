"""SynFlow: prune before training without data, in many small rounds, hence no layer is ever cut off.

Tanaka, Kunin, Yamins & Ganguli, "Pruning neural networks without any data by iteratively conserving synaptic flow",
NeurIPS 2020. The flow R runs from an all-ones image to the logits, with the absolute values of all weights. The score
of a weight is its share |w dR/dw| of R. Each of 100 rounds scores the remaining weights and prunes. The density falls
by a constant factor per round to its target. The ranking is global and the mask fixed.

Departures from the authors' code: float64, in which the flow of no network overflows. Masked weights never grow again
(authors: weights with the score of the threshold may).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.sparsifiers.base import InitContext, sparsifiers
from sparsweep.trainables.sparsifiers.layer_budget import SaliencyPruning
from sparsweep.trainables.sparsifiers.masks import Masks, num_active
from sparsweep.trainables.sparsifiers.saliency import abs_network, synaptic_flow
from sparsweep.trainables.specs.timeline import RAMPS, SparsitySchedule


@sparsifiers.register
class SynFlow(SaliencyPruning):
    """Synaptic flow: keep the weights on the strongest paths, found in rounds and without data before training."""

    name: Literal["synflow"] = "synflow"
    iterations: int = Field(default=100, ge=1, description="rounds of scoring and pruning (SynFlow: 100)")
    schedule: SparsitySchedule = Field(default="exponential", description="curve of the sparsity over the rounds")

    def prune(self, start: InitContext) -> Masks:
        probe, masks = abs_network(start.model), Masks.full(start.weights)
        image_shape = start.mask_batch()[0].shape[1:]  # the only use of data: its shape
        for iteration in range(1, self.iterations + 1):
            sparsity = RAMPS[self.schedule](iteration / self.iterations, start.spec.sparsity)
            flow = synaptic_flow(probe, image_shape, masks)
            # Masked weights rank below every active weight, active weights without a path included.
            scores = {name: torch.where(masks[name], score, -1.0) for name, score in flow.items()}
            masks = self.top_k(scores, num_active(masks.size, sparsity), masks)
        return masks

    def initial_flops(self, dense: float, batch_size: int) -> float:
        return 3 * dense * self.iterations  # one image per round
