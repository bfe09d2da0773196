"""Sparse Evolutionary Training: prune the smallest weights, regrow as many at random.

Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by network
science", Nature Communications 2018. As the paper uses it (appendix A.1): an ERK mask at the start, an update every
four epochs, the smallest positive and the smallest negative weights of a layer removed separately, so that layer
densities stay as they are. The share removed falls along a half cosine from ``prune_rate`` (the authors' code: .2).

Departures from the authors' code, all towards the text, and each a field: counts by rank instead of by threshold
(``drop``); what was just dropped cannot grow back in the same update (``regrow_dropped``); grown weights start at
zero with zero momentum (``dense_gradients``); updates stop at ``stop_fraction`` of training, so that the last network
is trained before it is judged.
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
    """Sparse evolutionary training: drop the smallest weights, grow random ones, again and again."""

    name: Literal["set"] = "set"
    update_every: float = Field(default=4.0, gt=0, description="epochs between two updates (paper: 4)")
    prune_rate: float = Field(default=0.2, gt=0, lt=1, description="share of a layer's weights replaced at first")
    final_prune_rate: float = Field(default=0.001, ge=0, lt=1, description="the same share at the end of training")
    drop: Literal["sign", "magnitude", "sign_threshold"] = Field(
        default="sign", description="which weights of a layer go: of each sign apart, of both together, or as in D21"
    )

    def drop_groups(self, weights: torch.Tensor, mask: torch.Tensor, rate: float) -> Sequence[DropGroup]:
        return SIDES[self.drop](weights, mask, rate)


def of_each_sign(weights: torch.Tensor, mask: torch.Tensor, rate: float) -> Sequence[DropGroup]:
    """The same share of the positive and of the negative weights; one that never moved from zero is negative."""
    return [(side, num_to_drop(side, rate)) for side in (mask & (weights > 0), mask & (weights <= 0))]


def of_both_signs(weights: torch.Tensor, mask: torch.Tensor, rate: float) -> Sequence[DropGroup]:
    """A share of all weights of the layer."""
    return [(mask, num_to_drop(mask, rate))]


def beyond_thresholds(weights: torch.Tensor, mask: torch.Tensor, rate: float) -> Sequence[DropGroup]:
    """What the authors' code removes (defect D21), which keeps what lies strictly beyond a threshold on either side.

    The thresholds are weights, at the share ``rate`` of the positive and of the negative ones in order of magnitude;
    so one positive weight more goes than the share rounded down, of the negative ones the share rounded up, and every
    weight that is zero.
    """
    positive, zero, negative = mask & (weights > 0), mask & (weights == 0), mask & (weights < 0)
    ups, downs = positive.sum(), negative.sum()
    return [
        (positive, torch.minimum((rate * ups).floor().long() + 1, ups)),
        (zero, zero.sum()),
        (negative, downs - ((1 - rate) * downs).floor().long()),
    ]


SIDES: Mapping[str, Callable[[torch.Tensor, torch.Tensor, float], Sequence[DropGroup]]] = {
    "sign": of_each_sign,
    "magnitude": of_both_signs,
    "sign_threshold": beyond_thresholds,
}
"""The groups of a layer's weights that are ranked apart, and how many of each go."""
