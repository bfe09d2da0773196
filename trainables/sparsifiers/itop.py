"""In-time over-parameterization (ITOP): drop and grow at long intervals, almost to the end of training.

Liu et al., "Do We Actually Need Dense Over-Parameterization? In-Time Over-Parameterization in Sparse Training", ICML
2021. ITOP is SET (``growth: random``) or RigL (``growth: gradient``) with a large ``prune_rate`` and a long interval.

The paper explains dynamic sparsity by the exploration rate R_s: the fraction of the weights that was ever active. The
layer table has it as ``explored``, the trial table as ``exploration_rate``. Sparse training matches dense training once
R_s is high, provided that grown weights are trained long enough before the next drop. A short training with a long
interval has few updates and a low R_s. A short interval reaches a high R_s that is not reliable.

Intervals of the paper, for batches of 128 of 50,000 images: 1500 steps with random growth (about 4 epochs, the
default), 4000 steps with gradient growth (about 10 epochs).

Departures: those of SET and RigL. The last update comes at 98 % of training at the latest: its grown weights are
trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import Field

from sparsweep.trainables.sparsifiers.base import UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.drop_grow import DropAndGrow, gradient_scores, random_scores
from sparsweep.trainables.sparsifiers.masked_params import Tensors


@sparsifiers.register
class ITOP(DropAndGrow):
    """In-time over-parameterization: SET or RigL with long intervals, almost to the end of training."""

    name: Literal["itop"] = "itop"
    growth: Literal["random", "gradient"] = Field(
        default="random", description="as SET, or as RigL (paper: every 10 epochs)"
    )
    prune_rate: float = Field(default=0.5, gt=0, lt=1, description="initial share of the weights replaced per update")
    final_prune_rate: float = Field(default=0.005, ge=0, lt=1, description="share at the end of the decay")
    stop_fraction: float = Field(default=0.98, gt=0, le=1, description="no update after this share of training")

    def grow_scores(self, context: UpdateContext) -> Tensors:
        return GROWTH[self.growth](context)


GROWTH: Mapping[str, Callable[[UpdateContext], Tensors]] = {"random": random_scores, "gradient": gradient_scores}
