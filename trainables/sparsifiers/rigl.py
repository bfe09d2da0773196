"""RigL: drop the smallest weights, grow where the gradient is largest.

Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020. Every ``update_every`` epochs each layer
drops the share f(t) of its weights with the smallest |w| and grows as many where |dL/dw| of one batch is largest;
f(t) = prune_rate / 2 (1 + cos(pi t / T_end)), and T_end, after which the mask stays, is three quarters of training.
ERK layer densities; grown weights start at zero, with zero momentum.

Departures. The paper states the interval in steps (100); here it is in epochs, a quarter of one, which is 98 steps of
128 of 50,000 images, so that training on little data sees as many updates. The paper's algorithm and code let a
weight that was just dropped grow back at once, with its old value: a field, ``regrow_dropped``, off by default, so
that every update explores. The paper skips the weight update of a step that changes masks; here the batch whose dense
gradient is taken is trained on, too. An image then costs f_D + 2 f_S operations more where masks change, on top of
the 3 f_S of every step: (3 f_S dT + 2 f_S + f_D) / dT on average, where appendix H divides by dT + 1.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparsweep.trainables.sparsifiers.base import UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.drop_grow import DropAndGrow, gradient_scores
from sparsweep.trainables.sparsifiers.masked_params import Tensors


@sparsifiers.register
class RigL(DropAndGrow):
    """Drop the smallest weights, grow those with the largest gradients, again and again."""

    name: Literal["rigl"] = "rigl"
    update_every: float = Field(default=0.25, gt=0, description="epochs between two updates (paper: 100 steps)")
    decay_fraction: float = Field(default=0.75, gt=0, le=1, description="share of training at which the decay ends")

    def grow_scores(self, moment: UpdateContext) -> Tensors:
        return gradient_scores(moment)
