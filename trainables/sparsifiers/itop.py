"""In-time over-parameterisation: rewiring slow enough to judge what it tries, and for so long that it tries all.

Liu et al., "Do We Actually Need Dense Over-Parameterization? In-Time Over-Parameterization in Sparse Training", ICML
2021. SET (``growth: random``) or RigL (``growth: gradient``) with a large share, a long interval and updates almost
to the end. The paper's explanation of dynamic sparsity is the exploration rate R_s, the fraction of the weights that
was ever active (the column ``explored`` of the layers, ``exploration_rate`` of the trials): sparse training matches
dense once R_s is high, provided that a grown weight is trained long enough before it is judged. Short training with a
long interval has few updates and a low R_s; a short interval reaches a high one that is not reliable.

The intervals of the paper, for batches of 128 of 50,000 images: 1500 steps with random growth (about 4 epochs, the
default), 4000 with growth by gradient (about 10 epochs). Departures: as for SET and RigL; the last update comes at 98
% of training at the latest, so that what it grows is trained.
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
    """In-time over-parameterisation: SET or RigL with long intervals, to the end of training."""

    name: Literal["itop"] = "itop"
    growth: Literal["random", "gradient"] = Field(default="random", description="as SET or as RigL (then 10 epochs)")
    prune_rate: float = Field(default=0.5, gt=0, lt=1, description="share of the weights replaced at first")
    final_prune_rate: float = Field(default=0.005, ge=0, lt=1, description="the same share at the end of its decay")
    stop_fraction: float = Field(default=0.98, gt=0, le=1, description="no update after this share of training")

    def grow_scores(self, moment: UpdateContext) -> Tensors:
        return GROWTH[self.growth](moment)


GROWTH: Mapping[str, Callable[[UpdateContext], Tensors]] = {"random": random_scores, "gradient": gradient_scores}
