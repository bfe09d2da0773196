"""RigL: drop the smallest weights, grow where the gradient is largest.

Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020. Every ``update_every`` epochs each layer
drops the share f(t) of its weights with the smallest |w| and grows as many where |dL/dw| of one batch is largest:

        f(t) = prune_rate / 2 (1 + cos(pi t / T_end)).

T_end is three quarters of training. The masks stay fixed afterwards. Layer densities are ERK. Grown weights start at
zero, with zero momentum.

Departures:

- The interval is a quarter of an epoch: 98 steps of 128 of 50,000 images (paper: 100 steps). A training on little data
  then has as many updates.
- A dropped weight does not grow back in the same update: every update explores. In the paper's algorithm and code it
  may grow back with its old value (field ``regrow_dropped``, off by default).
- The batch of the dense gradient is also trained on (paper: the step that changes masks has no weight update). An image
  then costs f_D + 2 f_S more operations where masks change, beside the 3 f_S of every step. The average is (3 f_S dT +
  2 f_S + f_D) / dT, where appendix H divides by dT + 1.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparsweep.trainables.sparsifiers.base import UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.drop_grow import DropAndGrow, gradient_scores
from sparsweep.trainables.sparsifiers.masked_params import Tensors


@sparsifiers.register
class RigL(DropAndGrow):
    """RigL: drop the smallest weights, grow those with the largest gradients, at regular intervals."""

    name: Literal["rigl"] = "rigl"
    update_every: float = Field(default=0.25, gt=0, description="epochs between two updates (paper: 100 steps)")
    decay_fraction: float = Field(default=0.75, gt=0, le=1, description="share of training at which the decay ends")

    def grow_scores(self, context: UpdateContext) -> Tensors:
        return gradient_scores(context)
