"""MEST: memory-economic sparse training with elastic mutation.

Yuan et al., "MEST: Accurate and Fast Memory-Economic Sparse Training Framework on the Edge", NeurIPS 2021, variant
MEST+EM. Every ``update_every`` epochs each layer drops the weights of least importance |w| + lambda |dL/dw| and grows
as many at random: a weight with a large gradient is about to move and is spared. The share falls in steps, as in the
authors' code at 90 % sparsity over 160 epochs: 20 % of the active weights, half of that from epoch 90, none from 120.

Departures: the authors give shares of all weights (2 %, 1 %, 0); here they are shares of the active ones, so that
they mean the same at every sparsity. The gradient is that of the coming batch, which costs a pass that their code,
with the one of the last step at hand, does not need. Their code has lambda 0 (``--sp-lmd`` in
``prune_utils/retrain.py``) and no released script sets it, so by default importance is magnitude alone. Not here: the
soft memory bound (MEST+EM&S), which holds more weights than asked between updates, and the removal of data.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparsweep.trainables.sparsifiers.base import UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.drop_grow import DropAndGrow, gradient_scores
from sparsweep.trainables.sparsifiers.masked_params import Tensors
from sparsweep.trainables.specs.timeline import Decay


@sparsifiers.register
class MEST(DropAndGrow):
    """Drop the weights of least magnitude and gradient, grow random ones, fewer as training goes on."""

    name: Literal["mest"] = "mest"
    update_every: float = Field(default=5.0, gt=0, description="epochs between two updates (authors' code: 5)")
    prune_rate: float = Field(default=0.2, gt=0, lt=1, description="share of the weights replaced at first")
    decay: Decay = Field(default="steps", description="how it falls")
    decay_fraction: float = Field(default=0.75, gt=0, le=1, description="share of training at which the decay ends")
    gradient_weight: float = Field(
        default=0.0, ge=0, description="lambda in the importance |w| + lambda |dL/dw| (authors' code: 0)"
    )

    def drop_scores(self, moment: UpdateContext) -> Tensors:
        magnitudes = super().drop_scores(moment)
        if self.gradient_weight == 0:
            return magnitudes
        gradients = gradient_scores(moment)
        return {name: magnitudes[name] + self.gradient_weight * gradients[name] for name in magnitudes}
