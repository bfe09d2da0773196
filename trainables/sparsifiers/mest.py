"""MEST: memory-economic sparse training with elastic mutation.

Yuan et al., "MEST: Accurate and Fast Memory-Economic Sparse Training Framework on the Edge", NeurIPS 2021, variant
MEST+EM. Every ``update_every`` epochs each layer drops the weights with the smallest importance |w| + lambda |dL/dw|
and grows as many at random. A weight with a large gradient will soon change and stays. The share falls in steps, as in
the authors' code at 90 % sparsity over 160 epochs: 20 % of the active weights, 10 % from epoch 90, none from epoch 120.

Departures:

- Shares refer to active weights and mean the same at every sparsity (authors: shares of all weights, 2 %, 1 %, 0).
- The gradient is that of the next batch and costs an extra pass (authors' code: that of the last step, without a pass).
- The authors' code has lambda 0 (``--sp-lmd`` in ``prune_utils/retrain.py``) and no released script sets it. By default
  importance is therefore magnitude alone.
- The soft memory bound (MEST+EM&S), which has more active weights between updates, and the removal of data are not
  implemented.
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
    """Drop the weights with the smallest magnitude and gradient, grow random ones, fewer during training."""

    name: Literal["mest"] = "mest"
    update_every: float = Field(default=5.0, gt=0, description="epochs between two updates (authors' code: 5)")
    prune_rate: float = Field(default=0.2, gt=0, lt=1, description="initial share of the weights replaced per update")
    decay: Decay = Field(default="steps", description="decay of prune_rate")
    decay_fraction: float = Field(default=0.75, gt=0, le=1, description="share of training at which the decay ends")
    gradient_weight: float = Field(
        default=0.0, ge=0, description="lambda in the importance |w| + lambda |dL/dw| (authors' code: 0)"
    )

    def drop_scores(self, context: UpdateContext) -> Tensors:
        magnitudes = super().drop_scores(context)
        if self.gradient_weight == 0:
            return magnitudes
        gradients = gradient_scores(context)
        return {name: magnitudes[name] + self.gradient_weight * gradients[name] for name in magnitudes}
