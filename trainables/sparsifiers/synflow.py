"""SynFlow: prune before training without data, in many small rounds, so that no layer is ever cut off.

Tanaka, Kunin, Yamins & Ganguli, "Pruning neural networks without any data by iteratively conserving synaptic flow",
NeurIPS 2020. The score of a weight is its share |w dR/dw| of the flow R from an all-ones image to the logits through
the absolute values of the weights. 100 rounds, each scores what is left and prunes so that the density falls by a
constant factor to the asked one; the ranking is global, the mask fixed.

Departures from their code: float64, in which the flow of no network overflows; masked weights are never taken back
(there those whose score ties with the threshold may be).
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
    """Synaptic flow: the weights on the strongest paths, found in rounds and without data before training."""

    name: Literal["synflow"] = "synflow"
    iterations: int = Field(default=100, ge=1, description="rounds of scoring and pruning (SynFlow: 100)")
    schedule: SparsitySchedule = Field(default="exponential", description="how sparsity grows from round to round")

    def prune(self, start: InitContext) -> Masks:
        probe, masks = abs_network(start.model), Masks.full(start.weights)
        image_shape = start.mask_batch()[0].shape[1:]  # all that is asked of the data
        for iteration in range(1, self.iterations + 1):
            sparsity = RAMPS[self.schedule](iteration / self.iterations, start.spec.sparsity)
            flow = synaptic_flow(probe, image_shape, masks)
            # What is gone ranks below every weight that is there, one on no path too.
            scores = {name: torch.where(masks[name], score, -1.0) for name, score in flow.items()}
            masks = self.top_k(scores, num_active(masks.size, sparsity), masks)
        return masks

    def initial_flops(self, dense: float, batch_size: int) -> float:
        return 3 * dense * self.iterations  # one image a round
