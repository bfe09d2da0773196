"""Sparse Evolutionary Training (SET): drop the smallest weights, grow as many at random.

Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by network
science", Nature Communications 2018. As the paper uses the method (appendix A.1): an ERK mask at the start and an
update every four epochs. The smallest positive and the smallest negative weights of a layer are dropped separately.
Layer densities stay constant. The dropped share follows a half cosine from ``prune_rate`` (the authors' code: 0.2).

Departures from the authors' code, all as the paper's text says, each a field:

- counts by rank instead of by threshold (``drop``);
- a dropped weight cannot grow back in the same update (``regrow_dropped``);
- grown weights start at zero with zero momentum (``dense_gradients``);
- updates stop at ``stop_fraction`` of training: the final network is trained before its evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from pydantic import Field

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.sparsifiers.base import sparsifiers
from sparsweep.trainables.sparsifiers.drop_grow import DropAndGrow, DropGroup, num_to_drop


@sparsifiers.register
class SET(DropAndGrow):
    """Sparse evolutionary training: drop the smallest weights, grow random ones, at regular intervals."""

    name: Literal["set"] = "set"
    update_every: float = Field(default=4.0, gt=0, description="epochs between two updates (paper: 4)")
    prune_rate: float = Field(
        default=0.2, gt=0, lt=1, description="initial share of a layer's weights replaced per update"
    )
    final_prune_rate: float = Field(default=0.001, ge=0, lt=1, description="share at the end of training")
    drop: Literal["sign", "magnitude", "sign_threshold"] = Field(
        default="sign", description="weights ranked for the drop: each sign separately, both together, or as in D21"
    )

    def drop_groups(self, weights: torch.Tensor, mask: torch.Tensor, rate: float) -> Sequence[DropGroup]:
        return SIDES[self.drop](weights, mask, rate)


def of_each_sign(weights: torch.Tensor, mask: torch.Tensor, rate: float) -> Sequence[DropGroup]:
    """Drop the same share of the positive and of the negative weights. A zero weight counts as negative.

    Args:
        weights: Weights of a layer.
        mask: Current mask of the layer.
        rate: Share of the weights to drop.
    """
    return [(side, num_to_drop(side, rate)) for side in (mask & (weights > 0), mask & (weights <= 0))]


def of_both_signs(weights: torch.Tensor, mask: torch.Tensor, rate: float) -> Sequence[DropGroup]:
    """Drop a share of all weights of the layer.

    Args:
        weights: Weights of a layer.
        mask: Current mask of the layer.
        rate: Share of the weights to drop.
    """
    return [(mask, num_to_drop(mask, rate))]


def beyond_thresholds(weights: torch.Tensor, mask: torch.Tensor, rate: float) -> Sequence[DropGroup]:
    """Drop the weights that the authors' code drops (defect D21).

    The authors' code keeps weights strictly beyond a threshold on either side. The thresholds are weights: those at the
    share ``rate`` of the positive and of the negative ones in order of magnitude. Of the positive weights one more than
    the share rounded down is dropped, of the negative ones the share rounded up, and every zero weight.

    Args:
        weights: Weights of a layer.
        mask: Current mask of the layer.
        rate: Share of the weights to drop.
    """
    positive, zero, negative = mask & (weights > 0), mask & (weights == 0), mask & (weights < 0)
    num_positive, num_negative = positive.sum(), negative.sum()
    return [
        (positive, torch.minimum((rate * num_positive).floor().long() + 1, num_positive)),
        (zero, zero.sum()),
        (negative, num_negative - ((1 - rate) * num_negative).floor().long()),
    ]


SIDES: Mapping[str, Callable[[torch.Tensor, torch.Tensor, float], Sequence[DropGroup]]] = {
    "sign": of_each_sign,
    "magnitude": of_both_signs,
    "sign_threshold": beyond_thresholds,
}
"""Functions that return the separately ranked groups of a layer's weights, and the number of each to drop."""
