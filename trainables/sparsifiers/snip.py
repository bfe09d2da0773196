"""SNIP: prune once before training, by the effect of each connection on the loss.

Lee et al., "SNIP: Single-shot Network Pruning based on Connection Sensitivity", ICLR 2019. The score of a weight is |w
dL/dw| (equation 6). One mini-batch of the trial's own training set, global ranking, fixed mask (paper, appendix A.1).

Departures from the authors' code, all as the paper's text says:

- the loss is the cross-entropy of logits (authors: negative log-likelihood of raw logits, D1);
- the scored weights are those that are then trained (authors: newly drawn ones, D2);
- the mask itself is used (authors: only its layer densities, with positions drawn again, D3).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparsweep.trainables.sparsifiers.base import InitContext, sparsifiers
from sparsweep.trainables.sparsifiers.layer_budget import SaliencyPruning
from sparsweep.trainables.sparsifiers.masked_params import Tensors
from sparsweep.trainables.sparsifiers.saliency import LOSSES, LossName, connection_sensitivity, reinitialized


@sparsifiers.register
class SNIP(SaliencyPruning):
    """Connection sensitivity on one batch before training, with a global ranking and a fixed mask."""

    name: Literal["snip"] = "snip"
    batches: int = Field(default=1, ge=1, description="batches whose gradients are summed (paper: 1)")
    loss: LossName = Field(default="cross_entropy", description="nll: of raw logits, without softmax (D1)")
    weights: Literal["initial", "redrawn"] = Field(
        default="initial", description="redrawn: score newly drawn weights, not those that are trained (D2)"
    )

    def scores(self, start: InitContext) -> Tensors:
        model = reinitialized(start.model, start.generator) if self.weights == "redrawn" else start.model
        batches = [start.mask_batch(number) for number in range(self.batches)]
        return connection_sensitivity(model, batches, LOSSES[self.loss])

    def initial_flops(self, dense: float, batch_size: int) -> float:
        return 3 * dense * batch_size * self.batches
